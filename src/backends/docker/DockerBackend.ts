/**
 * Instances as containers of a Docker daemon, each with as little as it needs (`ContainerOptions`).
 *
 * - The daemon knows what runs; what is kept here is a picture of it, made right at each `list`, at each event and
 *   whenever the connection to it was lost. Nothing depends on a single event.
 * - Containers outlive this process. Those that carry our cluster's label are found again; others are not looked at.
 * - Every call has a deadline. A daemon that hangs, fails or is gone makes `BackendUnavailable`, and what was begun is
 *   finished or cleared away when it is back.
 *
 * Laws: `millrace/backend-laws`; those of Docker alone are in `tests/docker`.
 *
 * @module
 */
import { availableParallelism, totalmem } from "node:os"
import type { ContainerInspectInfo } from "dockerode"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import {
  type Abilities,
  type Capacity,
  ComputeBackend,
  type InstanceObservation,
  type InstanceSpec,
  type LogLine
} from "../ComputeBackend.ts"
import * as EndedOutputs from "../EndedOutputs.ts"
import { type BackendUnavailable, BadSpec, type LaunchError, StartDeadlineExceeded } from "../LaunchError.ts"
import * as OutputTail from "../OutputTail.ts"
import { register, teller } from "../Register.ts"
import { type Brought, bring, type Pack } from "./Bring.ts"
import { exitOf } from "./ContainerExit.ts"
import * as ContainerOptions from "./ContainerOptions.ts"
import * as DockerClient from "./DockerClient.ts"
import * as Events from "./Events.ts"
import { refusal, unavailable } from "./LaunchRefusal.ts"
import * as Output from "./Output.ts"

export interface Options {
  /** Whose containers these are: two agents with one name share them. Default: `local`. */
  readonly cluster?: string
  /** Instances at a time, 1 to 10,000. Default: 4 per core, at least 8, at most one per 256 MiB of memory. */
  readonly instancesMax?: number
  /** Path of the daemon's socket. Default: as the `docker` command finds it. */
  readonly socketPath?: string
  /** Each of the daemon's answers comes within so many milliseconds. Default 10,000. */
  readonly callMs?: number
  /** GPUs of this machine that it may hand out, all of one kind. Default: none. */
  readonly gpus?: { readonly kind: string; readonly count: number }
  /** `none`, or a network of the daemon (`bridge`, `host`): then workers connect over it. Default: `none`. */
  readonly network?: string
  /** `user:group` by number. Default: 65532:65532. */
  readonly user?: string
  /** Processes and threads of an instance. Default 256. */
  readonly pidsMax?: number
  /** Default 4,096. */
  readonly openFilesMax?: number
  /** Of `/tmp`, which is memory and counts as such, for specs that say nothing of disk. Default 64 MiB. */
  readonly ephemeralDiskBytes?: number
  /** Folder of this machine that holds the worker socket and nothing else; shown to instances, read-only. */
  readonly workerSocketDirectory?: string
  /** Makes an image for a spec that has none, of a command of this machine. Default: such specs are refused. */
  readonly pack?: Pack
}

export const instanceTypeName = "local"
const gpuInstanceTypeName = "local"

/** The output of a container that ended is waited for so long. */
const lastOutputMs = 2_000
/** While an end is waited for, the daemon is asked so often, should its event be lost. */
const askAgainMs = 1_000
/** A container that nobody here knows and that never ran, or ended so long ago, was left behind. */
const leftBehindMs = 5 * 60_000

const again = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("5 seconds")])

interface Live {
  readonly identity: ContainerOptions.Identity
  readonly gpuCount: number
  readonly launchedAtMs: number
  readonly output: OutputTail.OutputTail
  readonly outputEnded: Deferred.Deferred<void>
  readonly launched: Deferred.Deferred<void, LaunchError>
  readonly gone: Deferred.Deferred<void>
  phase: string
  running: { readonly containerId: string; readonly pid: number; readonly startedAtMs: number } | undefined
  isEnding: boolean
  requested: boolean
  killAtMs: number
}

const instancesMaxDefault = (): number =>
  Math.max(1, Math.min(Math.max(8, 4 * availableParallelism()), Math.floor(totalmem() / (256 * 1024 * 1024))))

const noPack: Pack = ({ instanceId }) =>
  Effect.fail(
    new BadSpec({ instanceId, field: "image", detail: "the Docker backend runs images: give the version one" })
  )

export const abilitiesOf = (options: Options): Abilities => ({
  name: "docker",
  isolation: "container",
  image: true,
  command: options.pack !== undefined,
  gpuKinds: options.gpus === undefined ? [] : [options.gpus.kind],
  preWarm: false,
  tasks: true,
  limits: ["cpu", "memory", "ephemeral-disk"],
  survivesRestart: true
})

export const make = Effect.fnUntraced(function* (options: Options = {}) {
  const cluster = options.cluster ?? "local"
  const total = options.instancesMax ?? instancesMaxDefault()
  const client = DockerClient.make(options)
  const callMs = options.callMs ?? DockerClient.callMsDefault
  const settings: ContainerOptions.Settings = {
    cluster,
    user: options.user ?? "65532:65532",
    network: options.network ?? "none",
    pidsMax: options.pidsMax ?? 256,
    openFilesMax: options.openFilesMax ?? 4_096,
    ephemeralDiskBytes: options.ephemeralDiskBytes ?? 64 * 1024 * 1024,
    workerSocketDirectory: options.workerSocketDirectory
  }
  const clusterLabel = [`${ContainerOptions.labelKeys.cluster}=${cluster}`]
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const scope = yield* Effect.scope
  /** Starts in this turn; ends with the backend. */
  const fork = <A, E>(effect: Effect.Effect<A, E>) => Fiber.runIn(runFork(effect), scope)

  const live = new Map<string, Live>()
  const ended = EndedOutputs.make()
  /** Containers, by name or id, that must not be: removed as soon as the daemon lets us. */
  const unwanted = new Set<string>()
  const observers = new Set<(observation: InstanceObservation) => void>()
  const followers = new Set<(instanceId: string, line: LogLine) => void>()
  let wasConnected = false

  const tell = teller("docker", runFork)

  const gpusTaken = () => [...live.values()].reduce((sum, { gpuCount }) => sum + gpuCount, 0)
  const places = () => ({
    instanceTypeName,
    total,
    free: Math.max(0, total - live.size),
    gpuKind: options.gpus?.kind,
    gpusTotal: options.gpus?.count ?? 0,
    gpusFree: (options.gpus?.count ?? 0) - gpusTaken(),
    runsCommands: options.pack !== undefined
  })

  const enter = (identity: ContainerOptions.Identity, gpuCount: number): Live => {
    const atMs = Date.now()
    const instance: Live = {
      identity,
      gpuCount,
      launchedAtMs: atMs,
      // What an adopted one printed before was told by whoever launched it.
      output: OutputTail.make((line) => line.atMs >= atMs - 1 && tell(followers, identity.instanceId, line)),
      outputEnded: Deferred.makeUnsafe(),
      launched: Deferred.makeUnsafe(),
      gone: Deferred.makeUnsafe(),
      phase: "image",
      running: undefined,
      isEnding: false,
      requested: false,
      killAtMs: Number.POSITIVE_INFINITY
    }
    live.set(identity.instanceId, instance)
    return instance
  }

  const leave = (instance: Live) => {
    const { instanceId } = instance.identity
    if (live.get(instanceId) === instance) live.delete(instanceId)
    Deferred.doneUnsafe(instance.gone, Effect.void)
  }

  const discard = (nameOrId: string) =>
    client.remove(nameOrId).pipe(
      Effect.catch(() => {
        unwanted.add(nameOrId)
        return Effect.void
      })
    )

  /** After a create of which it is not known whether it happened: what is under our name, is ours and never ran. */
  const discardUnstarted = (name: string) =>
    client.inspect(name).pipe(
      Effect.flatMap(({ Id, State, Config }) => {
        const isOurs = ContainerOptions.identityOf(cluster, Config.Labels) !== undefined
        return isOurs && State.Status === "created" ? client.remove(Id) : Effect.void
      }),
      Effect.catch((failure) => {
        if (failure.kind === "unavailable") unwanted.add(name)
        return Effect.void
      })
    )

  const runs = (instance: Live, { containerId, state }: Brought) => {
    const startedAtMs = Date.parse(state.StartedAt)
    instance.running = { containerId, pid: state.Pid, startedAtMs }
    instance.phase = "running"
    const output = Output.follow(client, containerId, instance.output)
    fork(
      Effect.andThen(
        output,
        Effect.sync(() => Deferred.doneUnsafe(instance.outputEnded, Effect.void))
      )
    )
    return startedAtMs
  }

  const begin = (instance: Live, spec: InstanceSpec): Effect.Effect<void> => {
    const { instanceId } = spec
    const { startDeadlineMs } = spec
    const onPhase = (phase: string) => {
      instance.phase = phase
      tell(observers, { _tag: "Phase", instanceId, phase, atMs: Date.now() })
    }
    let created: string | undefined
    const onCreated = (containerId: string) => {
      created = containerId
    }
    return bring(spec, { client, settings, pack: options.pack ?? noPack, onPhase, onCreated }).pipe(
      Effect.timeoutOrElse({
        duration: startDeadlineMs,
        orElse: () => {
          const { phase } = instance
          const detail = "it took too long"
          return Effect.fail(new StartDeadlineExceeded({ instanceId, detail, phase, startDeadlineMs }))
        }
      }),
      Effect.matchCauseEffect({
        onFailure: (cause) =>
          Effect.map(
            created === undefined ? discardUnstarted(ContainerOptions.nameOf(cluster, instanceId)) : discard(created),
            () => {
              leave(instance)
              Deferred.doneUnsafe(instance.launched, Effect.failCause(cause))
            }
          ),
        onSuccess: (brought) =>
          Effect.sync(() => {
            const atMs = runs(instance, brought)
            ended.forget(instanceId)
            tell(observers, { _tag: "Started", instanceId, atMs, pid: brought.state.Pid })
            Deferred.doneUnsafe(instance.launched, Effect.void)
            if (!brought.state.Running) onDead(instance)
          })
      })
    )
  }

  const launch = (spec: InstanceSpec): Effect.Effect<void, LaunchError> =>
    Effect.suspend(() => {
      const found = live.get(spec.instanceId)
      if (found?.isEnding === true) return Effect.andThen(Deferred.await(found.gone), launch(spec))
      if (found !== undefined) return Deferred.await(found.launched)
      const refused = refusal(spec, places())
      if (refused !== undefined) return Effect.fail(refused)
      const { instanceId, versionId, labels = {} } = spec
      const instance = enter({ instanceId, versionId, labels }, spec.gpu.count)
      fork(begin(instance, spec))
      return Deferred.await(instance.launched)
    })

  /** Its process ended: what it said last, then how it ended, and nothing of it is left when that is told. */
  const onDead = (instance: Live) => {
    const { running, identity } = instance
    if (instance.isEnding || running === undefined) return
    instance.isEnding = true
    const { instanceId } = identity
    const state = client.inspect(running.containerId).pipe(
      Effect.map(({ State }): ContainerInspectInfo["State"] | undefined => State),
      Effect.catch((failure) => (failure.kind === "not-found" ? Effect.succeed(undefined) : Effect.fail(failure))),
      Effect.retry(again),
      Effect.orDie
    )
    const finish = Effect.gen(function* () {
      const last = yield* state
      if (last?.Running === true) {
        // It was told too early; the next look will find it.
        instance.isEnding = false
        return
      }
      yield* Effect.timeoutOption(Deferred.await(instance.outputEnded), lastOutputMs)
      yield* discard(running.containerId)
      const atMs = Date.now()
      const lastOutput = ended.keep(instanceId, instance.output, atMs)
      leave(instance)
      const { requested } = instance
      const exit = exitOf(instanceId, last, lastOutput)
      const phase = exit.kind === "start-failed" ? "process" : "running"
      tell(observers, { _tag: "Exited", instanceId, atMs, exit, phase, lastOutput, requested })
    })
    fork(finish)
  }

  /** One that another process launched, or this one in an earlier life. */
  const adopt = (containerId: string) =>
    Effect.map(client.inspect(containerId), ({ Id, State, Config, HostConfig }) => {
      const identity = ContainerOptions.identityOf(cluster, Config.Labels)
      if (identity === undefined || !State.Running || live.has(identity.instanceId)) return
      const gpuCount = HostConfig.DeviceRequests?.reduce((sum, { Count = 0 }) => sum + Count, 0) ?? 0
      const instance = enter(identity, gpuCount)
      runs(instance, { containerId: Id, state: State })
      Deferred.doneUnsafe(instance.launched, Effect.void)
    })

  const isLeftBehind = (containerId: string) =>
    Effect.map(client.inspect(containerId), ({ State, Created }) => {
      const sinceMs = Date.parse(State.Status === "created" ? Created : State.FinishedAt)
      return !State.Running && Date.now() - sinceMs > leftBehindMs
    })

  /** Makes the picture right. */
  const sync = Effect.gen(function* () {
    const known = [...live.values()].filter(({ running }) => running !== undefined)
    const found = yield* client.list(clusterLabel)
    const absent = (effect: DockerClient.Asked<unknown>) =>
      Effect.catch(effect, (failure) => (failure.kind === "unavailable" ? Effect.fail(failure) : Effect.void))
    for (const { Id, Names, State, Labels } of found) {
      const identity = ContainerOptions.identityOf(cluster, Labels)
      if (identity === undefined) continue
      const names = [Id, ...Names.map((name) => name.replace(/^\//, ""))]
      const instance = live.get(identity.instanceId)
      const isOurs = instance?.running?.containerId === Id
      if (isOurs && State !== "running" && State !== "paused") onDead(instance)
      if (instance !== undefined) continue
      if (names.some((name) => unwanted.has(name)) && (State !== "running" || unwanted.has(Id)))
        yield* client.remove(Id)
      else if (State === "running") yield* absent(adopt(Id))
      else if (yield* Effect.catch(isLeftBehind(Id), () => Effect.succeed(false))) yield* absent(client.remove(Id))
    }
    const ids = new Set(found.map(({ Id }) => Id))
    for (const instance of known) if (!ids.has(instance.running?.containerId ?? "")) onDead(instance)
    unwanted.clear()
    return ids
  })

  /** Of those that the daemon knows no more, the end is told before anybody is told that they are gone. */
  const settled = (ids: ReadonlySet<string>) =>
    Effect.forEach(
      [...live.values()].filter(({ isEnding, running }) => isEnding && !ids.has(running?.containerId ?? "")),
      ({ gone }) => Effect.timeoutOption(Deferred.await(gone), 2 * lastOutputMs),
      { concurrency: "unbounded", discard: true }
    )

  const end = (instance: Live, graceMs: number): DockerClient.Asked<void> =>
    Effect.suspend(() => {
      const { running } = instance
      if (running === undefined || instance.isEnding) return Effect.void
      const kill = client.kill(running.containerId, "SIGKILL")
      const first = !instance.requested
      instance.requested = true
      const killAtMs = performance.now() + Math.max(0, graceMs)
      if (graceMs > 0 && killAtMs < instance.killAtMs) {
        instance.killAtMs = killAtMs
        const late = Effect.suspend(() => (instance.isEnding ? Effect.void : kill))
        fork(Effect.andThen(Effect.sleep(graceMs), Effect.retry(late, again)))
      }
      if (graceMs <= 0) return kill
      return first ? client.kill(running.containerId, "SIGTERM") : Effect.void
    })

  const isOver = (instance: Live): DockerClient.Asked<void> =>
    Effect.suspend(() => {
      const { running } = instance
      if (running === undefined || instance.isEnding) return Effect.void
      return client.inspect(running.containerId).pipe(
        Effect.map(({ State }) => State.Running),
        Effect.catch((failure) => (failure.kind === "not-found" ? Effect.succeed(false) : Effect.fail(failure))),
        Effect.map((isRunning) => (isRunning ? undefined : onDead(instance)))
      )
    })

  const terminate = (instanceId: string, graceMs: number): Effect.Effect<void, BackendUnavailable> =>
    Effect.gen(function* () {
      if (live.get(instanceId) === undefined) {
        const name = ContainerOptions.nameOf(cluster, instanceId)
        yield* Effect.catch(adopt(name), (failure) =>
          failure.kind === "not-found" ? Effect.void : Effect.fail(failure)
        )
      }
      const instance = live.get(instanceId)
      if (instance === undefined) return
      yield* Effect.exit(Deferred.await(instance.launched))
      yield* end(instance, graceMs)
      const ask = Effect.andThen(Effect.sleep(askAgainMs), isOver(instance))
      const withinMs = Math.max(0, graceMs) + lastOutputMs + 3 * callMs
      yield* Effect.race(Deferred.await(instance.gone), Effect.forever(ask)).pipe(
        Effect.timeoutOrElse({
          duration: withinMs,
          orElse: () => Effect.fail({ detail: `the container was not gone within ${withinMs} ms` })
        })
      )
    }).pipe(Effect.mapError((failure) => unavailable("terminate", failure)))

  const onEvent = ({ containerId, labels }: Events.ContainerEvent) => {
    const instance = live.get(ContainerOptions.identityOf(cluster, labels)?.instanceId ?? "")
    if (instance?.running?.containerId === containerId) onDead(instance)
  }
  const onConnected = Effect.gen(function* () {
    yield* sync
    if (wasConnected) {
      tell(observers, { _tag: "Gap", atMs: Date.now(), detail: "the connection to the Docker daemon was lost" })
    }
    wasConnected = true
  })
  const firstSync = yield* Effect.exit(sync)
  if (firstSync._tag === "Failure")
    yield* Effect.logWarning("the Docker daemon does not answer; it is asked again", firstSync.cause)
  fork(Events.follow(client, clusterLabel, { onConnected, onEvent }))
  if (settings.network !== "none") {
    yield* Effect.logWarning(
      `instances are on the network ${settings.network} of the Docker daemon and reach what it reaches`
    )
  }

  return ComputeBackend.of({
    abilities: abilitiesOf(options),
    capacity: Effect.sync((): Capacity => {
      const { free, gpusFree, gpusTotal, gpuKind } = places()
      const plain = { name: instanceTypeName, gpuKind: "none", gpuCount: 0, total, free }
      if (gpuKind === undefined) return { instanceTypes: [plain] }
      const withGpu = {
        name: gpuInstanceTypeName,
        gpuKind,
        gpuCount: 1,
        total: gpusTotal,
        free: Math.min(free, gpusFree)
      }
      return { instanceTypes: [plain, withGpu] }
    }),
    launch,
    terminate,
    list: sync.pipe(
      Effect.mapError((failure) => unavailable("list", failure)),
      Effect.flatMap(settled),
      Effect.map(() =>
        [...live.values()].flatMap(({ identity, running }) =>
          // One that ended is listed until its end is told, so that nobody takes it for lost.
          running === undefined ? [] : [{ ...identity, pid: running.pid, startedAtMs: running.startedAtMs }]
        )
      )
    ),
    watch: (onObservation) => register(observers, onObservation),
    logs: (instanceId) => Effect.sync(() => (live.get(instanceId)?.output ?? ended.get(instanceId))?.lines() ?? []),
    followLogs: (onLine) => register(followers, onLine)
  })
})

export const layer = (options: Options = {}): Layer.Layer<ComputeBackend> => Layer.effect(ComputeBackend, make(options))
