/**
 * What every backend with instances in or below its own process would write again: one instance per id, refusals, grace,
 * start deadlines, output, secrets, watchers. A maker says what it can do and how one instance starts
 * (`docs/backends.md`).
 *
 * Laws: K1 an id has at most one instance at a time. K2 of one life the observations come in order, and its end once. K3
 * when the scope closes, what runs is killed.
 *
 * @module
 */
import { randomUUID } from "node:crypto"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import {
  type Abilities,
  type Capacity,
  ComputeBackend,
  type Exit,
  type InstanceObservation,
  type InstanceSpec,
  isSecretName,
  type LogLine,
  type RunningInstance,
  secretsVariable
} from "./ComputeBackend.ts"
import * as EndedOutputs from "./EndedOutputs.ts"
import { BackendUnavailable, BadSpec, type LaunchError, NoCapacity, StartDeadlineExceeded } from "./LaunchError.ts"
import * as OutputTail from "./OutputTail.ts"
import { register, teller } from "./Register.ts"
import * as SecretFiles from "./SecretFiles.ts"
import { sidecarRefusal } from "./SidecarRefusal.ts"

/** What a maker tells of an instance that it starts. The launch is over with the first word. */
export interface Life {
  /** It stands in this phase of its start. */
  readonly phase: (name: string) => void
  /** Its process began. */
  readonly started: (pid?: number) => void
  readonly output: (stream: LogLine["stream"], bytes: Uint8Array) => void
  /** It never began, and nothing of it is left; only as the first word. */
  readonly refused: (error: LaunchError) => void
  /** The last word: nothing of it runs any more. */
  readonly ended: (exit: Exit) => void
}

export interface Instance {
  /** Of what is gone: nothing happens. SIGKILL ends it in every phase. */
  readonly signal: (signal: "SIGTERM" | "SIGKILL") => void
}

export interface Maker {
  readonly abilities: Abilities
  readonly instanceTypes: ReadonlyArray<Omit<Capacity["instanceTypes"][number], "free">>
  /** How many more of this type would start now; absent = each instance takes one of its type's `total`. */
  readonly free?: (instanceType: string) => number
  /** Why this spec cannot be had here, beyond what the abilities say; undefined = it can. */
  readonly refusal?: (spec: InstanceSpec) => LaunchError | undefined
  /** Secrets are files already, in the directory that the environment names. */
  readonly start: (spec: InstanceSpec, life: Life) => Instance
}

const closeWaitMs = 2_000

interface Live {
  readonly spec: InstanceSpec
  readonly key: number
  readonly launchedAtMs: number
  /** Undefined: it printed nothing yet. */
  output: OutputTail.OutputTail | undefined
  /** Who waits; undefined = nobody does. */
  onLaunch: Array<(failure: LaunchError | undefined) => void> | undefined
  onGone: Array<() => void> | undefined
  instance: Instance | undefined
  isLaunched: boolean
  launchFailure: LaunchError | undefined
  phase: string
  running: { readonly startedAtMs: number; readonly pid?: number } | undefined
  isLate: boolean
  requested: boolean
  deadline: NodeJS.Timeout | undefined
  kill: { readonly atMs: number; readonly timer: NodeJS.Timeout } | undefined
}

export const make = Effect.fnUntraced(function* (
  maker: Maker
): Effect.fn.Return<ComputeBackend["Service"], never, Scope.Scope> {
  const { abilities, instanceTypes } = maker
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const secretFiles = SecretFiles.make(randomUUID())
  const live = new Map<string, Live>()
  const ended = EndedOutputs.make()
  const observers = new Set<(observation: InstanceObservation) => void>()
  const followers = new Set<(instanceId: string, line: LogLine) => void>()
  let lastKey = 0

  const tell = teller(abilities.name, runFork)

  const free = (name: string): number => {
    if (maker.free !== undefined) return maker.free(name)
    let taken = 0
    for (const { spec } of live.values()) if (spec.instanceType === name) taken++
    return Math.max(0, (instanceTypes.find((type) => type.name === name)?.total ?? 0) - taken)
  }

  const refusal = (spec: InstanceSpec): LaunchError | undefined => {
    const { instanceId, instanceType } = spec
    const refused = badSpec(spec, maker) ?? maker.refusal?.(spec)
    if (refused !== undefined || free(instanceType) > 0) return refused
    return new NoCapacity({ instanceId, detail: `every place for instances of type ${instanceType} is taken` })
  }

  const leave = (one: Live) => {
    clearTimeout(one.deadline)
    clearTimeout(one.kill?.timer)
    live.delete(one.spec.instanceId)
    if (one.spec.secrets !== undefined) secretFiles.remove(one.key)
  }

  const launched = (one: Live, failure: LaunchError | undefined) => {
    if (one.isLaunched) return
    one.isLaunched = true
    one.launchFailure = failure
    const waiting = one.onLaunch ?? []
    one.onLaunch = undefined
    for (const resume of waiting) resume(failure)
  }

  const isLive = (one: Live) => live.get(one.spec.instanceId) === one

  const onEnded = (one: Live, exit: Exit) => {
    if (!isLive(one)) return
    const { instanceId, startDeadlineMs } = one.spec
    const { phase, requested } = one
    const atMs = Date.now()
    if (one.output === undefined) ended.forget(instanceId)
    const lastOutput = one.output === undefined ? "" : ended.keep(instanceId, one.output, atMs)
    leave(one)
    const detail = "its process had not begun"
    const why: Exit = one.isLate
      ? {
          kind: "start-failed",
          error: new StartDeadlineExceeded({ instanceId, phase, startDeadlineMs, detail })
        }
      : exit
    launched(one, undefined)
    tell(observers, { _tag: "Exited", instanceId, atMs, exit: why, phase, lastOutput, requested })
    for (const resume of one.onGone ?? []) resume()
  }

  const onPhase = (one: Live, phase: string) => {
    if (!isLive(one) || one.running !== undefined) return
    one.phase = phase
    launched(one, undefined)
    tell(observers, { _tag: "Phase", instanceId: one.spec.instanceId, phase, atMs: Date.now() })
  }

  const onStarted = (one: Live, pid: number | undefined) => {
    if (!isLive(one) || one.running !== undefined) return
    const { instanceId } = one.spec
    const known = pid === undefined ? {} : { pid }
    one.running = { startedAtMs: Date.now(), ...known }
    one.phase = "running"
    clearTimeout(one.deadline)
    one.deadline = undefined
    ended.forget(instanceId)
    launched(one, undefined)
    tell(observers, { _tag: "Started", instanceId, atMs: one.running.startedAtMs, ...known })
  }

  const onOutput = (one: Live, stream: LogLine["stream"], bytes: Uint8Array) => {
    if (!isLive(one)) return
    one.output ??= OutputTail.make((line) => tell(followers, one.spec.instanceId, line))
    one.output.write(stream, Buffer.from(bytes), Date.now())
  }

  const onRefused = (one: Live, error: LaunchError) => {
    if (!isLive(one)) return
    leave(one)
    launched(one, error)
    for (const resume of one.onGone ?? []) resume()
  }

  const hear: Hear = { onPhase, onStarted, onOutput, onRefused, onEnded }

  const start = (spec: InstanceSpec): Live => {
    const { instanceId } = spec
    const key = ++lastKey
    const secrets = spec.secrets === undefined ? undefined : secretFiles.write(key, spec.secrets)
    const one: Live = {
      spec,
      key,
      launchedAtMs: Date.now(),
      output: undefined,
      onLaunch: undefined,
      onGone: undefined,
      instance: undefined,
      isLaunched: false,
      launchFailure: undefined,
      phase: "process",
      running: undefined,
      isLate: false,
      requested: false,
      deadline: undefined,
      kill: undefined
    }
    live.set(instanceId, one)
    one.deadline = setTimeout(() => {
      one.isLate = true
      one.instance?.signal("SIGKILL")
    }, spec.startDeadlineMs)
    const given =
      secrets === undefined ? spec : { ...spec, environment: { ...spec.environment, [secretsVariable]: secrets } }
    one.instance = maker.start(given, new LifeOf(one, hear))
    return one
  }

  const launch = (spec: InstanceSpec): Effect.Effect<void, LaunchError> =>
    Effect.callback<void, LaunchError>((resume) => {
      const { instanceId } = spec
      const found = live.get(instanceId)
      if (found?.isLaunched === true) return resume(Effect.void)
      const refused = found === undefined ? refusal(spec) : undefined
      if (refused !== undefined) return resume(Effect.fail(refused))
      const known = (failure: LaunchError | undefined) =>
        resume(failure === undefined ? Effect.void : Effect.fail(failure))
      try {
        const one = found ?? start(spec)
        // It may have had its first word while it was started.
        if (one.isLaunched) return known(one.launchFailure)
        one.onLaunch = [...(one.onLaunch ?? []), known]
        return Effect.sync(() => {
          one.onLaunch = one.onLaunch?.filter((other) => other !== known)
        })
      } catch (cause) {
        const one = live.get(instanceId)
        if (one !== undefined) leave(one)
        const detail = String(cause)
        known(new BackendUnavailable({ backend: abilities.name, operation: `launch ${instanceId}`, detail }))
      }
    })

  /** The shortest grace that anybody asked for counts. */
  const end = (one: Live, graceMs: number) => {
    const isFirst = !one.requested
    one.requested = true
    if (graceMs <= 0) return one.instance?.signal("SIGKILL")
    if (isFirst) one.instance?.signal("SIGTERM")
    const atMs = performance.now() + graceMs
    if (one.kill !== undefined && one.kill.atMs <= atMs) return
    clearTimeout(one.kill?.timer)
    if (isLive(one)) one.kill = { atMs, timer: setTimeout(() => one.instance?.signal("SIGKILL"), graceMs) }
  }

  const terminate = (instanceId: string, graceMs: number): Effect.Effect<void> =>
    Effect.callback<void>((resume) => {
      const one = live.get(instanceId)
      if (one === undefined) return resume(Effect.void)
      const gone = () => resume(Effect.void)
      one.onGone = [...(one.onGone ?? []), gone]
      end(one, graceMs)
      return Effect.sync(() => {
        one.onGone = one.onGone?.filter((other) => other !== gone)
      })
    })

  const listed = ({ spec, launchedAtMs, running }: Live): RunningInstance => {
    const { instanceId, versionId, labels = {} } = spec
    return { instanceId, versionId, startedAtMs: launchedAtMs, ...running, labels }
  }

  yield* Effect.addFinalizer(() =>
    Effect.forEach([...live.keys()], (instanceId) => terminate(instanceId, 0), { concurrency: "unbounded" }).pipe(
      Effect.timeoutOption(closeWaitMs),
      Effect.andThen(Effect.sync(secretFiles.close))
    )
  )

  return ComputeBackend.of({
    abilities,
    capacity: Effect.sync(() => ({
      instanceTypes: instanceTypes.map((type) => ({ ...type, free: free(type.name) }))
    })),
    launch,
    terminate,
    list: Effect.sync(() => [...live.values()].filter((one) => one.isLaunched).map(listed)),
    watch: (onObservation) => register(observers, onObservation),
    logs: (instanceId) =>
      Effect.sync(() => {
        const one = live.get(instanceId)
        return (one === undefined ? ended.get(instanceId) : one.output)?.lines() ?? []
      }),
    followLogs: (onLine) => register(followers, onLine)
  })
})

interface Hear {
  readonly onPhase: (one: Live, phase: string) => void
  readonly onStarted: (one: Live, pid: number | undefined) => void
  readonly onOutput: (one: Live, stream: LogLine["stream"], bytes: Uint8Array) => void
  readonly onRefused: (one: Live, error: LaunchError) => void
  readonly onEnded: (one: Live, exit: Exit) => void
}

/** Its functions can be called without it, and are made when they are asked for: most lives need two, for a moment. */
class LifeOf implements Life {
  readonly #one: Live
  readonly #hear: Hear

  constructor(one: Live, hear: Hear) {
    this.#one = one
    this.#hear = hear
  }

  get phase(): Life["phase"] {
    return (name) => this.#hear.onPhase(this.#one, name)
  }

  get started(): Life["started"] {
    return (pid) => this.#hear.onStarted(this.#one, pid)
  }

  get output(): Life["output"] {
    return (stream, bytes) => this.#hear.onOutput(this.#one, stream, bytes)
  }

  get refused(): Life["refused"] {
    return (error) => this.#hear.onRefused(this.#one, error)
  }

  get ended(): Life["ended"] {
    return (exit) => this.#hear.onEnded(this.#one, exit)
  }
}

const badSpec = (spec: InstanceSpec, { abilities, instanceTypes }: Maker): BadSpec | undefined => {
  const { instanceId, command, image, gpu } = spec
  const bad = (field: string, detail: string) => new BadSpec({ instanceId, field, detail })
  const beside = sidecarRefusal(spec, abilities.name)
  if (beside !== undefined) return beside
  const isCommand = command.length > 0 && command[0] !== ""
  if (!isCommand && image === undefined) return bad("command", "neither a command nor an image is given: give one")
  if (image !== undefined && !abilities.image) {
    return bad("image", `the ${abilities.name} backend runs no images: give the version a command`)
  }
  if (image === undefined && !abilities.command) {
    return bad("command", `the ${abilities.name} backend runs images alone: give the version an image`)
  }
  if (gpu.count > 0 && !abilities.gpuKinds.includes(gpu.kind)) {
    const kinds = abilities.gpuKinds.length === 0 ? "none" : abilities.gpuKinds.join(", ")
    return bad("gpu", `there is no ${gpu.kind} here; kinds that can be asked for: ${kinds}`)
  }
  if (!instanceTypes.some((type) => type.name === spec.instanceType)) {
    const names = instanceTypes.map((type) => type.name).join(", ")
    return bad("instance type", `${spec.instanceType} is unknown here: deploy with one of ${names}`)
  }
  const secret = Object.keys(spec.secrets ?? {}).find((name) => !isSecretName(name))
  if (secret === undefined) return undefined
  return bad("secrets", `${JSON.stringify(secret)} is no name of a secret: use letters, digits, ".", "_" and "-"`)
}
