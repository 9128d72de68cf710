/**
 * What the daemon tells of the containers with our label, again and again: each time the stream stands, before the first
 * event, the listener is asked to look for itself.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Asked, DaemonFailure, DockerClient } from "./DockerClient.ts"

export interface ContainerEvent {
  readonly containerId: string
  readonly labels: Readonly<Record<string, string>>
}

export interface Listener {
  /** The stream stands: what happened before it is not told. */
  readonly onConnected: Asked<void>
  /** A container with the label ended, or was removed. */
  readonly onEvent: (event: ContainerEvent) => void
}

const again = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("5 seconds")])
/** Of one event; the daemon writes labels into it, and those are bounded by its own limits. */
const eventBytesMax = 1024 * 1024

const actions = ["die", "destroy"]

const decode = (line: string): ContainerEvent | undefined => {
  // Written by the daemon; what is missing or of another shape makes no event.
  const { Actor } = JSON.parse(line) as { Actor?: { ID?: unknown; Attributes?: Record<string, string> } }
  if (typeof Actor?.ID !== "string") return undefined
  return { containerId: Actor.ID, labels: Actor.Attributes ?? {} }
}

/** Never ends by itself. */
export const follow = (
  client: DockerClient,
  labels: ReadonlyArray<string>,
  listener: Listener
): Effect.Effect<never> => {
  const round = Effect.flatMap(client.events(labels, actions), (stream) =>
    Effect.callback<void, DaemonFailure>((resume) => {
      let rest = ""
      const end = () => resume(Effect.void)
      stream.setEncoding("utf8")
      stream.on("data", (text: string) => {
        const lines = (rest + text).split("\n")
        rest = lines.pop() ?? ""
        try {
          for (const line of lines) {
            const event = line.trim() === "" ? undefined : decode(line)
            if (event !== undefined) listener.onEvent(event)
          }
          if (rest.length > eventBytesMax) stream.destroy()
        } catch {
          stream.destroy()
        }
      })
      stream.on("error", end)
      stream.on("close", end)
      return Effect.sync(() => stream.destroy())
    }).pipe((ended) => Effect.all([ended, listener.onConnected], { concurrency: 2, discard: true }))
  )
  return round.pipe(Effect.andThen(Effect.sleep(100)), Effect.retry(again), Effect.orDie, Effect.forever)
}
