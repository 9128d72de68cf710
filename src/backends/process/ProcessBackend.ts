/**
 * Instances as child processes of this one, on this machine. It isolates nothing: an instance can read what the user can
 * read. CPU, memory and the number of processes are limited where control groups can be made (`ControlGroups`). For one's
 * own functions and for development.
 *
 * - The order to start leaves in the turn in which `launch` runs, to a small process that does the `fork` (`Spawner`).
 * - An instance is a process group. SIGTERM and SIGKILL go to the whole group, and when its first process ends, by
 *   itself or not, the rest of the group is killed.
 * - Instances die with this process, also at `kill -9` (`DeathWatch`); so there is nothing to adopt after a restart.
 * - The environment is the spec's, plus PATH, HOME, TMPDIR, LANG, the backend's mark and the compile cache; the spec
 *   wins. Nothing else of ours is handed on.
 *
 * Laws: `../laws/`; what it does not do it refuses as `BadSpec` or says in its abilities.
 *
 * @module
 */
import { randomUUID } from "node:crypto"
import { availableParallelism, homedir, tmpdir, totalmem } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import {
  type Abilities,
  type Capacity,
  ComputeBackend,
  type Exit,
  type InstanceObservation,
  type InstanceSpec,
  type LogLine,
  type RunningInstance,
  secretsVariable
} from "../ComputeBackend.ts"
import * as EndedOutputs from "../EndedOutputs.ts"
import { BackendUnavailable, BadSpec, CommandNotFound, type LaunchError } from "../LaunchError.ts"
import * as OutputTail from "../OutputTail.ts"
import { register, teller } from "../Register.ts"
import * as SecretFiles from "../SecretFiles.ts"
import { signalOf } from "../SignalNames.ts"
import * as ControlGroup from "./ControlGroup.ts"
import * as ControlGroups from "./ControlGroups.ts"
import * as DeathWatch from "./DeathWatch.ts"
import * as HandOver from "./HandOver.ts"
import { launchFailure, refusal } from "./LaunchRefusal.ts"
import * as Sandbox from "./Sandbox.ts"
import * as Spawner from "./Spawner.ts"
import type { FromSpawner } from "./SpawnerMessage.ts"

export interface Options {
  /** Instances at a time, 1 to 10,000. Default: 4 per core, at least 8, and at most one per 256 MiB of memory. */
  readonly instancesMax?: number
  /**
   * Where Node keeps compiled code between starts, one folder per function. Saves the type stripping of TypeScript
   * functions (about 50 ms of 140 on a slow core) from the second start on. Absent = no cache.
   */
  readonly compileCacheDirectory?: string
  /** Flags of Node for commands that begin with `node`; the command's own come after and win. */
  readonly nodeFlags?: ReadonlyArray<string>
  /**
   * Node processes that wait to become an instance, 0 to 16; a start with one takes a third of the time. Default: 1. Each
   * weighs about as much as an instance that does nothing. There is none before the first start that could have used one,
   * and none after ten minutes without such a start.
   */
  readonly zygotes?: number
  /** From the last start to the making of another zygote, milliseconds. Default: 500. */
  readonly zygoteCalmMs?: number
  /**
   * `bubblewrap`: each instance in a sandbox of its own (`Sandbox`), without a network: its worker connects at a socket in
   * `workerSocketDirectory`. Starts are plain then, without zygotes, because a sandbox holds the files of one function.
   * Where there can be no sandbox every launch is refused. Default: `none`.
   */
  readonly isolation?: "none" | "bubblewrap"
  /** Folder with the worker socket and nothing else, shown to instances in a sandbox. */
  readonly workerSocketDirectory?: string
  /** Whether control groups limit instances where that is possible. Default: true. */
  readonly controlGroups?: boolean
  /** Told at each named step, for tests that end the process there. */
  readonly onStep?: (name: string) => void
}

export const instanceTypeName = "local"

export const abilities: Abilities = {
  name: "process",
  isolation: "none",
  image: false,
  command: true,
  gpuKinds: [],
  preWarm: false,
  tasks: true,
  limits: [],
  survivesRestart: false
}

/** Of `/tmp` in a sandbox, which is memory, for specs that say nothing of disk. */
const sandboxTmpBytes = 64 * 1024 * 1024

const noSandboxWarning = "the process backend isolates nothing: functions run as this user"
const sandboxWarning = "bubblewrap isolates files, processes and network; all share this machine's kernel"

const limitWords: Readonly<Record<ControlGroups.Controller, string>> = {
  cpu: "CPU",
  memory: "memory",
  pids: `processes (${ControlGroup.pidsMax})`
}

/** What is limited and what is not, with the reason. */
const limitsSentence = ({ missing }: ControlGroups.Claimed): string => {
  const list = (isMissing: boolean) =>
    ControlGroups.controllers
      .filter((controller) => (missing[controller] !== undefined) === isMissing)
      .map((controller) => limitWords[controller])
      .join(", ")
  const why = [...new Set(Object.values(missing))].join("; ")
  if (why === "") return `limited by control groups: ${list(false)}`
  const limited = list(false)
  return `${limited === "" ? "" : `limited by control groups: ${limited}; `}NOT limited: ${list(true)} (${why})`
}

/** A larger young generation takes 8 to 18 % off the cost of a call, and nothing away from the start (measured). */
const nodeFlagsDefault = ["--max-semi-space-size=64"]

const lastOutputBytesMax = 4096

const closeWaitMs = 2_000

const zygotesDefault = 1
const zygotesMax = 16
const zygoteCalmMsDefault = 500
const zygoteIdleMs = 10 * 60_000

interface Live {
  readonly spec: InstanceSpec
  readonly key: number
  readonly output: OutputTail.OutputTail
  /** Called once, when it is gone. */
  readonly onGone: Set<() => void>
  /** Called once, when it is known whether there is a process. */
  readonly onLaunch: Set<(failure: LaunchError | undefined) => void>
  /** What is known since it runs. */
  running: { readonly pid: number; readonly startedAtMs: number } | undefined
  requested: boolean
  killTimer: NodeJS.Timeout | undefined
  killAtMs: number
}

export const instancesMaxDefault = (): number =>
  Math.max(1, Math.min(Math.max(8, 4 * availableParallelism()), Math.floor(totalmem() / (256 * 1024 * 1024))))

export const make = Effect.fnUntraced(function* (options: Options = {}) {
  const total = options.instancesMax ?? instancesMaxDefault()
  const context = yield* Effect.context<never>()
  const runFork = Effect.runForkWith(context)
  const mark = randomUUID()
  const isSandboxed = options.isolation === "bubblewrap"
  const { workerSocketDirectory } = options
  const noSandbox = isSandboxed ? Sandbox.whyNot() : undefined
  const sandbox = isSandboxed ? Sandbox.make({ workerSocketDirectory, tmpBytes: sandboxTmpBytes }) : undefined
  const secretFiles = SecretFiles.make(mark)
  const claimed = options.controlGroups === false ? ControlGroups.unclaimed("switched off") : ControlGroups.claim(mark)
  const { places } = claimed
  const groups = places === undefined ? [] : ControlGroups.directoriesOf(places)
  const deathWatch = DeathWatch.make({ mark, secrets: secretFiles.root, places: groups })
  const live = new Map<string, Live>()
  const byKey = new Map<number, Live>()
  let lastKey = 0
  const ended = EndedOutputs.make()
  const observers = new Set<(observation: InstanceObservation) => void>()
  const followers = new Set<(instanceId: string, line: LogLine) => void>()

  const tell = teller("process", runFork)

  const leave = (instance: Live) => {
    clearTimeout(instance.killTimer)
    live.delete(instance.spec.instanceId)
    byKey.delete(instance.key)
    if (live.size === 0) spawner.hold(false)
    if (instance.spec.secrets !== undefined) secretFiles.remove(instance.key)
    if (instance.running !== undefined) deathWatch.withdraw(instance.running.pid)
  }

  const onceGone = (instance: Live, exit: Exit) => {
    const instanceId = instance.spec.instanceId
    const atMs = Date.now()
    const lastOutput = ended.keep(instanceId, instance.output, atMs)
    leave(instance)
    const phase = instance.running === undefined ? "process" : "running"
    tell(observers, { _tag: "Exited", instanceId, atMs, exit, phase, lastOutput, requested: instance.requested })
    for (const resume of instance.onGone) resume()
  }

  const onceRefused = (instance: Live, failure: LaunchError) => {
    leave(instance)
    for (const resume of instance.onLaunch) resume(failure)
    for (const resume of instance.onGone) resume()
  }

  const onMessage = (message: FromSpawner) => {
    if (message._tag === "ZygoteFailed") {
      return void runFork(
        Effect.logWarning("a zygote failed: starts are plain, and slower", { detail: message.detail })
      )
    }
    const instance = byKey.get(message.key)
    if (instance === undefined) return
    options.onStep?.(`backend.heard${message._tag}`)
    switch (message._tag) {
      case "Started": {
        const { pid, atMs } = message
        instance.running = { pid, startedAtMs: atMs }
        deathWatch.announce(pid)
        ended.forget(instance.spec.instanceId)
        tell(observers, { _tag: "Started", instanceId: instance.spec.instanceId, atMs, pid })
        for (const resume of instance.onLaunch) resume(undefined)
        return instance.onLaunch.clear()
      }
      case "Refused":
        return onceRefused(instance, launchFailure(instance.spec, message))
      case "Output": {
        const { buffer, byteOffset, byteLength } = message.bytes
        return instance.output.write(message.stream, Buffer.from(buffer, byteOffset, byteLength), Date.now())
      }
      case "Gone":
        // A child of it may have been killed, and it may have lived on and done its work.
        if (message.hadNoMemory && message.code !== 0) return onceGone(instance, { kind: "out-of-memory" })
        return onceGone(
          instance,
          isSandboxed
            ? exitOfSandbox(instance.spec.instanceId, message.code, message.signal, instance.output)
            : exitOf(message.code, message.signal, instance.output)
        )
      default:
        return unreachable(message)
    }
  }

  const onLost = (detail: string) => {
    runFork(Effect.logError("the spawner of the process backend is gone: its instances are ended", { detail }))
    for (const instance of [...byKey.values()]) {
      const { instanceId } = instance.spec
      if (instance.running === undefined) {
        onceRefused(instance, new BackendUnavailable({ backend: "process", operation: `launch ${instanceId}`, detail }))
        continue
      }
      try {
        process.kill(-instance.running.pid, "SIGKILL")
      } catch {
        // ESRCH: it is gone, which is what was wanted.
      }
      onceGone(instance, { kind: "lost", detail })
    }
  }

  const everyEnvironment: Readonly<Record<string, string>> = {
    PATH: process.env["PATH"] ?? "/usr/local/bin:/usr/bin:/bin",
    HOME: isSandboxed ? "/tmp" : (process.env["HOME"] ?? homedir()),
    TMPDIR: isSandboxed ? "/tmp" : tmpdir(),
    LANG: process.env["LANG"] ?? "C.UTF-8",
    [DeathWatch.markVariable]: mark
  }
  const nodeFlags = options.nodeFlags ?? nodeFlagsDefault
  const zygotes = {
    count: isSandboxed ? 0 : Math.max(0, Math.min(zygotesMax, options.zygotes ?? zygotesDefault)),
    calmMs: options.zygoteCalmMs ?? zygoteCalmMsDefault,
    idleMs: zygoteIdleMs,
    program: process.execPath,
    flags: nodeFlags,
    environment: everyEnvironment
  }
  const spawner = Spawner.make({ zygotes, ...(places === undefined ? {} : { places }) }, { onMessage, onLost })

  const environmentOf = (spec: InstanceSpec, secrets: string | undefined): Record<string, string> => {
    const cache = isSandboxed ? undefined : options.compileCacheDirectory
    // Code of one function must not be read as that of another, so each has its own folder; odd names have none.
    const cached = cache !== undefined && /^[A-Za-z0-9_-]{1,100}$/.test(spec.functionId)
    return {
      ...everyEnvironment,
      ...(cached ? { NODE_COMPILE_CACHE: join(cache, spec.functionId) } : {}),
      ...spec.environment,
      ...(secrets === undefined ? {} : { [secretsVariable]: secrets }),
      [DeathWatch.markVariable]: mark
    }
  }

  const order = (spec: InstanceSpec): Live => {
    const { instanceId } = spec
    const key = ++lastKey
    const secrets = spec.secrets === undefined ? undefined : secretFiles.write(key, spec.secrets)
    const words = [...spec.command, ...(spec.arguments ?? [])]
    const [program = "", ...args] = words
    const isNode = program === "node"
    const command: HandOver.Command = {
      program: isNode ? process.execPath : program,
      args: isNode ? [...nodeFlags, ...args] : args,
      environment: environmentOf(spec, secrets)
    }
    const { workingDirectory } = spec
    let wrapped: Sandbox.Sandboxed | undefined
    try {
      wrapped = sandbox?.wrap({ ...command, workingDirectory, words, secrets })
    } catch (cause) {
      if (secrets !== undefined) secretFiles.remove(key)
      throw cause
    }
    const instance: Live = {
      spec,
      key,
      output: OutputTail.make((line) => tell(followers, instanceId, line)),
      onGone: new Set(),
      onLaunch: new Set(),
      running: undefined,
      requested: false,
      killTimer: undefined,
      killAtMs: Number.POSITIVE_INFINITY
    }
    live.set(instanceId, instance)
    byKey.set(key, instance)
    if (live.size === 1) spawner.hold(true)
    options.onStep?.("backend.beforeSpawn")
    spawner.send({
      _tag: "Spawn",
      key,
      ...command,
      ...(wrapped === undefined ? {} : { program: wrapped.program, args: wrapped.args }),
      workingDirectory: wrapped === undefined ? workingDirectory : "/",
      limits: { memoryBytes: spec.memoryBytes, cpuMillis: spec.cpuMillis },
      zygote: zygotes.count > 0 && HandOver.isPossible(command, zygotes),
      sandbox: wrapped === undefined ? undefined : { filter: wrapped.filter }
    })
    options.onStep?.("backend.afterSpawn")
    return instance
  }

  const sandboxRefusal = (spec: InstanceSpec): LaunchError | undefined => {
    const { instanceId, command, workingDirectory = "/tmp", environment } = spec
    const [program = ""] = command
    if (noSandbox !== undefined) {
      return new BadSpec({ instanceId, field: "isolation", detail: `${noSandbox}; or run without isolation` })
    }
    const path = environment["PATH"] ?? everyEnvironment["PATH"] ?? ""
    if (program === "" || program === "node" || Sandbox.hasProgram(program, workingDirectory, path)) return undefined
    const detail = `${program} was not found: give its full path, or install it in the PATH`
    return new CommandNotFound({ instanceId, program, detail })
  }

  const launch = (spec: InstanceSpec): Effect.Effect<void, LaunchError> =>
    Effect.callback<void, LaunchError>((resume) => {
      const found = live.get(spec.instanceId)
      if (found?.running !== undefined) return resume(Effect.void)
      if (found === undefined) {
        const refused = isSandboxed ? sandboxRefusal(spec) : undefined
        if (refused !== undefined) return resume(Effect.fail(refused))
      }
      if (found === undefined) {
        const refused = refusal(spec, { instanceTypeName, free: total - live.size, total })
        if (refused !== undefined) return resume(Effect.fail(refused))
      }
      let instance: Live
      try {
        instance = found ?? order(spec)
      } catch (cause) {
        const detail = `its files could not be prepared: ${String(cause)}`
        return resume(
          Effect.fail(new BackendUnavailable({ backend: "process", operation: `launch ${spec.instanceId}`, detail }))
        )
      }
      const known = (failure: LaunchError | undefined) =>
        resume(failure === undefined ? Effect.void : Effect.fail(failure))
      instance.onLaunch.add(known)
      return Effect.sync(() => instance.onLaunch.delete(known))
    })

  /** The shortest grace that anybody asked for counts. */
  const end = (instance: Live, graceMs: number) => {
    const { key } = instance
    const first = !instance.requested
    options.onStep?.("backend.end")
    instance.requested = true
    if (graceMs <= 0) return spawner.send({ _tag: "Signal", key, signal: "SIGKILL" })
    if (first) spawner.send({ _tag: "Signal", key, signal: "SIGTERM" })
    const killAtMs = performance.now() + graceMs
    if (killAtMs >= instance.killAtMs) return
    instance.killAtMs = killAtMs
    clearTimeout(instance.killTimer)
    instance.killTimer = setTimeout(() => spawner.send({ _tag: "Signal", key, signal: "SIGKILL" }), graceMs)
  }

  const terminate = (instanceId: string, graceMs: number): Effect.Effect<void> =>
    Effect.callback<void>((resume) => {
      const instance = live.get(instanceId)
      if (instance === undefined) return resume(Effect.void)
      const gone = () => resume(Effect.void)
      instance.onGone.add(gone)
      end(instance, graceMs)
      return Effect.sync(() => instance.onGone.delete(gone))
    })

  yield* Effect.addFinalizer(() =>
    Effect.forEach([...live.keys()], (instanceId) => terminate(instanceId, 0), { concurrency: "unbounded" }).pipe(
      Effect.timeoutOption(closeWaitMs),
      Effect.andThen(Effect.promise(() => spawner.close(closeWaitMs))),
      Effect.andThen(Effect.promise(() => deathWatch.close(closeWaitMs))),
      // Without a shell nobody else did.
      Effect.andThen(Effect.sync(() => groups.forEach(ControlGroups.tryRemove))),
      Effect.andThen(Effect.sync(secretFiles.close)),
      Effect.andThen(Effect.sync(() => sandbox?.close()))
    )
  )
  yield* Effect.logWarning(`${isSandboxed ? sandboxWarning : noSandboxWarning}; ${limitsSentence(claimed)}`)
  if (noSandbox !== undefined) yield* Effect.logError(`nothing is started: ${noSandbox}`)
  if (!deathWatch.isWatching()) {
    yield* Effect.logWarning("without /bin/sh, instances can outlive this process when it is killed: install a shell")
  }

  return ComputeBackend.of({
    abilities: {
      ...abilities,
      isolation: isSandboxed ? "process" : "none",
      limits: (["cpu", "memory"] as const).filter((limit) => claimed.missing[limit] === undefined)
    },
    capacity: Effect.sync(
      (): Capacity => ({
        instanceTypes: [
          { name: instanceTypeName, gpuKind: "none", gpuCount: 0, total, free: Math.max(0, total - live.size) }
        ]
      })
    ),
    launch,
    terminate,
    list: Effect.sync(
      (): ReadonlyArray<RunningInstance> =>
        [...live.values()].flatMap(({ spec: { instanceId, versionId, labels = {} }, running }) =>
          running === undefined ? [] : [{ instanceId, versionId, ...running, labels }]
        )
    ),
    watch: (onObservation) => register(observers, onObservation),
    logs: (instanceId) => Effect.sync(() => (live.get(instanceId)?.output ?? ended.get(instanceId))?.lines() ?? []),
    followLogs: (onLine) => register(followers, onLine)
  })
})

export const layer = (options: Options = {}): Layer.Layer<ComputeBackend> => Layer.effect(ComputeBackend, make(options))

/** What is said when the instance's program cannot be run in its sandbox. */
const sandboxFailure = /^(?:bwrap: execvp|setpriv: failed to execute) (.+): (.+)$/m

/** A sandbox ends with 128 and the number of the signal that ended what was in it, as a shell does. */
const exitOfSandbox = (
  instanceId: string,
  code: number | null,
  signal: string | null,
  output: OutputTail.OutputTail
): Exit => {
  const [said, program = "", reason = ""] = sandboxFailure.exec(output.text(lastOutputBytesMax)) ?? []
  if (said !== undefined && (code === 1 || code === 126 || code === 127)) {
    const detail = `${program} cannot be run (${reason}): it must be in the function's folder or under /usr`
    return { kind: "start-failed", error: new CommandNotFound({ instanceId, program, detail }) }
  }
  return exitOf(code, signal ?? signalOf(code ?? 0) ?? null, output)
}

const exitOf = (code: number | null, signal: string | null, output: OutputTail.OutputTail): Exit => {
  if (signal === null) return { kind: "code", code: code ?? 0 }
  // V8 aborts when its heap is full; the kernel's own killer leaves no trace that a parent can read.
  if (signal === "SIGABRT" && output.text(lastOutputBytesMax).includes("heap out of memory")) {
    return { kind: "out-of-memory" }
  }
  return { kind: "signal", signal }
}

const unreachable = (value: never): never => {
  throw new Error(`unreachable case ${JSON.stringify(value)}`)
}
