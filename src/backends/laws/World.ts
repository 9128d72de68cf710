/**
 * What a law looks at: a backend, everything that it observed and printed since, and facts to wait for.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { InstanceObservation, InstanceSpec, LogLine } from "../ComputeBackend.ts"
import type { Backend, Harness } from "./Harness.ts"
import type { Program } from "./Program.ts"

export type OfInstance = Exclude<InstanceObservation, { readonly _tag: "Gap" }>
export type Exited = Extract<InstanceObservation, { readonly _tag: "Exited" }>

/** In the environment of every instance of a law, so that its processes can be counted. */
export const markVariable = "MILLRACE_LAW_MARK"

const factDeadlineMsDefault = 10_000
const lookEveryMs = 5

/** Looks until `look` answers something; fails after the deadline and says what was seen last. */
const eventually = <A>(
  what: string,
  look: Effect.Effect<A | undefined | false, unknown>,
  options: { readonly deadlineMs: number; readonly seen: () => unknown }
): Effect.Effect<A> =>
  Effect.gen(function* () {
    const untilMs = performance.now() + options.deadlineMs
    for (;;) {
      const found = yield* Effect.orDie(look)
      if (found !== undefined && found !== false) return found
      if (performance.now() > untilMs) {
        const seen = JSON.stringify(options.seen()).slice(0, 4_000)
        return yield* Effect.die(new Error(`waited ${options.deadlineMs} ms for: ${what}; seen: ${seen}`))
      }
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, lookEveryMs)))
    }
  })

export interface World {
  readonly backend: Backend
  /** Unique in the environment of all instances that `spec` of this world makes. */
  readonly mark: string
  readonly spec: (instanceId: string, program: Program, change?: Partial<InstanceSpec>) => InstanceSpec
  readonly observations: ReadonlyArray<InstanceObservation>
  readonly lines: ReadonlyArray<LogLine & { readonly instanceId: string }>
  /** `Started` and `Exited` of an instance, in order. */
  readonly tagsOf: (instanceId: string) => ReadonlyArray<string>
  /** Its `index`-th end, the first one by default. */
  readonly exited: (instanceId: string, index?: number) => Effect.Effect<Exited>
  readonly printed: (instanceId: string, text: string) => Effect.Effect<LogLine>
  readonly eventually: <A>(what: string, look: Effect.Effect<A | undefined | false, unknown>) => Effect.Effect<A>
  /** Ids of what is listed, sorted. */
  readonly listed: Effect.Effect<ReadonlyArray<string>>
  /** Free places of the type of the specs. */
  readonly free: Effect.Effect<number>
  /** Launches a program that prints `up`, and waits until it did. */
  readonly up: (instanceId: string, program?: Program) => Effect.Effect<void>
}

let worlds = 0

export const open = Effect.fnUntraced(function* (
  harness: Harness,
  options: { readonly places?: number; readonly cluster?: string } = {}
) {
  const { places = 4, ...cluster } = options
  const backend = yield* harness.open({ places, ...cluster })
  return yield* around(harness, backend)
})

export const around = Effect.fnUntraced(function* (harness: Harness, backend: Backend) {
  const mark = `millrace-law-${process.pid}-${++worlds}`
  const deadlineMs = harness.factDeadlineMs ?? factDeadlineMsDefault
  const observations: Array<InstanceObservation> = []
  const lines: Array<LogLine & { readonly instanceId: string }> = []
  yield* backend.watch((observation) => observations.push(observation))
  yield* backend.followLogs((instanceId, line) => lines.push({ instanceId, ...line }))
  const seen = () => ({ observations: observations.slice(-20), lines: lines.slice(-20) })
  const wait = <A>(what: string, look: Effect.Effect<A | undefined | false, unknown>) =>
    eventually(what, look, { deadlineMs, seen })
  const spec: World["spec"] = (instanceId, program, change = {}) =>
    harness.spec(instanceId, program, { ...change, environment: { [markVariable]: mark, ...change.environment } })
  const printed: World["printed"] = (instanceId, text) =>
    wait(
      `${instanceId} to print ${text}`,
      Effect.sync(() => lines.find((line) => line.instanceId === instanceId && line.text.includes(text)))
    )
  const world: World = {
    backend,
    mark,
    spec,
    observations,
    lines,
    tagsOf: (instanceId) =>
      observations.flatMap((one) =>
        one._tag === "Gap" || one._tag === "Phase" || one.instanceId !== instanceId ? [] : [one._tag]
      ),
    exited: (instanceId, index = 0) =>
      wait(
        `end ${index + 1} of ${instanceId}`,
        Effect.sync(
          () =>
            observations.filter((one): one is Exited => one._tag === "Exited" && one.instanceId === instanceId)[index]
        )
      ),
    printed,
    eventually: wait,
    listed: Effect.orDie(Effect.map(backend.list, (all) => all.map((one) => one.instanceId).toSorted())),
    free: Effect.orDie(
      Effect.map(backend.capacity, ({ instanceTypes }) => {
        const { instanceType } = spec("any", { kind: "sleeps" })
        return instanceTypes.find((one) => one.name === instanceType)?.free ?? 0
      })
    ),
    up: (instanceId, program = { kind: "sleeps" }) =>
      Effect.orDie(backend.launch(spec(instanceId, program))).pipe(Effect.andThen(printed(instanceId, "up")))
  }
  return world
})
