/**
 * Follows what a container prints, through breaks of the connection: the daemon keeps the last of it, and each entry has a
 * time, so that what was read already is left out.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { OutputTail } from "../OutputTail.ts"
import type { DockerClient } from "./DockerClient.ts"
import * as LogFrames from "./LogFrames.ts"

const again = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("5 seconds")])

/** Ends when the container does, or is gone, and all its output is in `output`; never fails. */
export const follow = (client: DockerClient, containerId: string, output: OutputTail): Effect.Effect<void> => {
  const last = { stdout: "", stderr: "" }
  let latest = ""

  const onEntry = ({ stream, time, bytes }: LogFrames.LogEntry) => {
    // All times are UTC with nine decimals or fewer, trailing zeros left out: compare them as numbers would.
    const key = sortable(time)
    if (key <= last[stream]) return
    last[stream] = key
    if (latest === "" || key > sortable(latest)) latest = time
    output.write(stream, bytes, Date.parse(time))
  }

  const since = () => (latest === "" ? "0" : LogFrames.sinceOf(latest))

  const read = Effect.suspend(() => client.follow(containerId, since())).pipe(
    Effect.flatMap((stream) =>
      Effect.callback<void>((resume) => {
        const next = LogFrames.reader(onEntry)
        stream.on("data", (chunk: Buffer) => {
          try {
            next(chunk)
          } catch {
            stream.destroy()
          }
        })
        stream.on("error", () => resume(Effect.void))
        stream.on("close", () => resume(Effect.void))
        return Effect.sync(() => stream.destroy())
      })
    )
  )

  /** A daemon may end the stream of a container that ended before all of it was sent. */
  const readRest = Effect.suspend(() => client.output(containerId, since())).pipe(
    Effect.map((bytes) => LogFrames.reader(onEntry)(bytes)),
    Effect.catch((failure) => (failure.kind === "unavailable" ? Effect.fail(failure) : Effect.void)),
    Effect.retry(again),
    Effect.ignoreCause
  )

  const isRunning = client.inspect(containerId).pipe(
    Effect.map(({ State }) => State.Running),
    Effect.catch((failure) => (failure.kind === "unavailable" ? Effect.fail(failure) : Effect.succeed(false)))
  )

  const round: Effect.Effect<void> = read.pipe(
    Effect.catch((failure) => (failure.kind === "unavailable" ? Effect.fail(failure) : Effect.void)),
    Effect.andThen(isRunning),
    Effect.retry(again),
    Effect.orDie,
    Effect.flatMap((running) =>
      running
        ? Effect.andThen(
            Effect.sleep(100),
            Effect.suspend(() => round)
          )
        : readRest
    )
  )
  return round
}

/** `2026-11-21T20:40:25.27Z` with all nine decimals. */
const sortable = (time: string): string => {
  const [seconds = "", fraction = ""] = time.replace(/Z$/, "").split(".")
  return `${seconds}.${fraction.padEnd(9, "0")}`
}
