/**
 * Output of instances, from the nodes through the API server. Kubernetes does not say which stream a line came from, so
 * all of it is `stdout`; and it forgets the output of a Pod with the Pod, so of what ended the last words are kept here.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { LogLine } from "../ComputeBackend.ts"
import type { Api, ApiFailure } from "./Api.ts"
import * as Names from "./Names.ts"
import { mainContainer } from "./PodOf.ts"

const linesMax = 1_000
const bytesMax = 1024 * 1024
const lineBytesMax = 8 * 1024
const endedMax = 200
/** Each is a connection to the API server. */
const followedMax = 200
const idleMs = 3_600_000
const againMs = 1_000
const drainMs = 2_000

interface Life {
  readonly instanceId: string
  readonly request: string
  told: number
  fiber: Fiber.Fiber<unknown> | undefined
}

type OnLine = (instanceId: string, line: LogLine) => void

export interface PodLogs {
  readonly logs: (instanceId: string, request: string) => Effect.Effect<ReadonlyArray<LogLine>, ApiFailure>
  readonly followLogs: (onLine: OnLine) => Effect.Effect<void, never, Scope.Scope>
  /** Its process has begun. */
  readonly started: (instanceId: string, request: string) => void
  readonly ended: (instanceId: string, request: string, lastOutput: string, atMs: number) => void
}

/** `2026-11-21T20:51:35.123456789Z text`. */
export const lineOf = (text: string): LogLine => {
  const space = text.indexOf(" ")
  const atMs = Date.parse(text.slice(0, space))
  const said = Number.isNaN(atMs) ? text : text.slice(space + 1)
  const bytes = Buffer.from(said.replace(/\r$/, ""), "utf8")
  const cut = bytes.length <= lineBytesMax ? bytes : bytes.subarray(0, lineBytesMax - 4)
  return { atMs: Number.isNaN(atMs) ? 0 : atMs, stream: "stdout", text: cut.toString("utf8") }
}

/** The newest of them, within the bounds of the contract. */
const bounded = (lines: ReadonlyArray<LogLine>): ReadonlyArray<LogLine> => {
  const kept: Array<LogLine> = []
  let bytes = 0
  for (const line of lines.toReversed()) {
    bytes += Buffer.byteLength(line.text)
    if (kept.length === linesMax || bytes > bytesMax) break
    kept.push(line)
  }
  return kept.toReversed()
}

export const make = Effect.fnUntraced(function* (api: Api, paths: Names.Paths) {
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const running = new Map<string, string>()
  const ended = new Map<string, ReadonlyArray<LogLine>>()
  const followers = new Set<OnLine>()
  const follows = new Map<string, Life>()

  const pathOf = (request: string) => `${paths.pods}/${Names.podName(request)}/log`

  const tell = (instanceId: string, line: LogLine) => {
    for (const follower of followers) {
      try {
        follower(instanceId, line)
      } catch (cause) {
        run(Effect.logError("a follower of the output of instances threw", cause))
      }
    }
  }

  const follow = Effect.fnUntraced(function* (life: Life, sinceMs: number | undefined) {
    const { instanceId, request } = life
    let stamp = ""
    /** Of this stamp: a broken connection brings them again. */
    let ofStamp = 0
    let since = sinceMs === undefined ? undefined : new Date(sinceMs).toISOString()
    while (running.get(instanceId) === request && followers.size > 0) {
      let again = ofStamp
      const query = { container: mainContainer, follow: "true", timestamps: "true", sinceTime: since }
      const onLine = (text: string) => {
        const its = text.slice(0, text.indexOf(" "))
        if (its < stamp || (its === stamp && again-- > 0)) return
        ofStamp = its === stamp ? ofStamp + 1 : 1
        stamp = its
        life.told++
        tell(instanceId, lineOf(text))
      }
      yield* Effect.ignore(api.lines({ method: "GET", path: pathOf(request), query }, { idleMs, onLine }))
      if (stamp !== "") since = stamp
      yield* Effect.sleep(againMs)
    }
  })

  const begin = (instanceId: string, request: string, sinceMs: number | undefined) => {
    if (followers.size === 0 || follows.has(request) || follows.size >= followedMax) return
    const life: Life = { instanceId, request, told: 0, fiber: undefined }
    follows.set(request, life)
    life.fiber = run(
      Effect.ensuring(
        follow(life, sinceMs),
        Effect.sync(() => follows.delete(request))
      )
    )
  }

  const stop = (request: string) => {
    const fiber = follows.get(request)?.fiber
    if (fiber !== undefined) run(Fiber.interrupt(fiber))
  }

  /** Its output may still be on the way; of a life too short to be followed its last words are told. */
  const finish = (life: Life, last: ReadonlyArray<LogLine>) => {
    const { fiber, instanceId } = life
    if (fiber === undefined) return
    const over = Effect.sync(() => {
      if (life.told === 0) for (const line of last) tell(instanceId, line)
    })
    run(
      Effect.timeoutOption(Fiber.await(fiber), drainMs).pipe(
        Effect.andThen(Fiber.interrupt(fiber)),
        Effect.andThen(over)
      )
    )
  }

  yield* Effect.addFinalizer(() => Effect.sync(() => [...follows.keys()].forEach(stop)))

  return {
    logs: (instanceId, request) => {
      const old = ended.get(instanceId)
      if (!running.has(instanceId)) return Effect.succeed(old ?? [])
      const query = { container: mainContainer, timestamps: "true", tailLines: linesMax }
      return api.find({ method: "GET", path: pathOf(request), query }).pipe(
        Effect.map((text) => {
          const lines = typeof text === "string" ? text.split("\n").filter((line) => line !== "") : []
          return bounded(lines.map(lineOf))
        })
      )
    },
    followLogs: (onLine) =>
      Effect.asVoid(
        Effect.acquireRelease(
          Effect.sync(() => {
            followers.add(onLine)
            for (const [instanceId, request] of running) begin(instanceId, request, Date.now())
          }),
          () =>
            Effect.sync(() => {
              followers.delete(onLine)
              if (followers.size === 0) [...follows.keys()].forEach(stop)
            })
        )
      ),
    started: (instanceId, request) => {
      running.set(instanceId, request)
      ended.delete(instanceId)
      begin(instanceId, request, undefined)
    },
    ended: (instanceId, request, lastOutput, atMs) => {
      running.delete(instanceId)
      const texts = lastOutput.split("\n").filter((text) => text !== "")
      const last = bounded(texts.map((text) => ({ atMs, stream: "stdout" as const, text: text.slice(0, 2_000) })))
      const life = follows.get(request)
      if (life !== undefined) finish(life, last)
      ended.delete(instanceId)
      ended.set(instanceId, last)
      for (const oldest of ended.keys()) {
        if (ended.size <= endedMax) break
        ended.delete(oldest)
      }
    }
  } satisfies PodLogs
})
