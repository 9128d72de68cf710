/**
 * Instances as child processes of this one, on this machine. It isolates nothing: an instance can read what the user can
 * read, and no limit of CPU or memory is enforced. For one's own functions and for development.
 *
 * - Launch is one synchronous `spawn`: when the effect returns, the process exists.
 * - An instance is a process group. SIGTERM and SIGKILL go to the whole group, and when its first process ends, by
 *   itself or not, the rest of the group is killed.
 * - Children die with this process, also at `kill -9` (`DeathWatch`); so there is nothing to adopt after a restart.
 * - The environment is the spec's, plus PATH, HOME, TMPDIR, LANG, the backend's mark and the compile cache; the spec
 *   wins. Nothing else of ours is handed on.
 *
 * Laws: `tests/backends/backendLaws.ts`.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { statSync } from "node:fs"
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
  LaunchFailed,
  type LogLine,
  type RunningInstance
} from "../ComputeBackend.ts"
import * as DeathWatch from "./DeathWatch.ts"
import * as OutputTail from "./OutputTail.ts"

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
}

export const instanceTypeName = "local"

export const abilities: Abilities = {
  name: "process",
  isolation: "none",
  image: false,
  command: true,
  gpu: false,
  preWarm: false
}

/** A larger young generation takes 8 to 18 % off the cost of a call, and nothing away from the start (measured). */
const nodeFlagsDefault = ["--max-semi-space-size=64"]

/** Output of ended instances: for so long, so many, and so much of each. 200 of them hold 12.5 MiB at most. */
const endedKeptMs = 10 * 60_000
const endedKeptMax = 200
const endedOutputBytesMax = 64 * 1024
const lastOutputBytesMax = 4096

/**
 * A process that left the group can hold the pipes open; an exit is reported when they closed, or were silent for so
 * long, or at the latest after `pipesCloseMaxMs`.
 */
const pipesSilentMs = 100
const pipesCloseMaxMs = 2_000
const closeWaitMs = 2_000

interface Live {
  readonly spec: InstanceSpec
  readonly child: ChildProcess
  readonly pid: number
  readonly startedAtMs: number
  readonly output: OutputTail.OutputTail
  /** Called once, when it is gone. */
  readonly onGone: Set<() => void>
  requested: boolean
  /** Its first process has ended; the pid may soon be another's. */
  exited: boolean
  killTimer: NodeJS.Timeout | undefined
  killAtMs: number
}

interface Ended {
  readonly output: OutputTail.OutputTail
  readonly endedAtMs: number
}

export const instancesMaxDefault = (): number =>
  Math.max(1, Math.min(Math.max(8, 4 * availableParallelism()), Math.floor(totalmem() / (256 * 1024 * 1024))))

export const make = Effect.fnUntraced(function* (options: Options = {}) {
  const total = options.instancesMax ?? instancesMaxDefault()
  const context = yield* Effect.context<never>()
  const runFork = Effect.runForkWith(context)
  const mark = randomUUID()
  const deathWatch = DeathWatch.make(mark)
  const live = new Map<string, Live>()
  const ended = new Map<string, Ended>()
  const observers = new Set<(observation: InstanceObservation) => void>()
  const followers = new Set<(instanceId: string, line: LogLine) => void>()

  /** A listener that throws harms neither the instance nor the other listeners. */
  const tell = <A extends ReadonlyArray<unknown>>(listeners: ReadonlySet<(...args: A) => void>, ...args: A) => {
    for (const listener of listeners) {
      try {
        listener(...args)
      } catch (cause) {
        runFork(Effect.logError("a listener of the process backend threw", cause))
      }
    }
  }

  const forgetOld = (nowMs: number) => {
    for (const [instanceId, entry] of ended) {
      if (ended.size <= endedKeptMax && nowMs - entry.endedAtMs < endedKeptMs) return
      ended.delete(instanceId)
    }
  }

  const signalGroup = (pid: number, signal: NodeJS.Signals) => {
    try {
      process.kill(-pid, signal)
    } catch {
      // ESRCH: it is gone, which is what was wanted.
    }
  }

  const onceGone = (instance: Live, exit: Exit) => {
    const instanceId = instance.spec.instanceId
    const atMs = Date.now()
    instance.child.stdout?.destroy()
    instance.child.stderr?.destroy()
    instance.output.end(atMs)
    const lastOutput = instance.output.text(lastOutputBytesMax)
    instance.output.shrink(endedOutputBytesMax)
    live.delete(instanceId)
    ended.delete(instanceId)
    ended.set(instanceId, { output: instance.output, endedAtMs: atMs })
    forgetOld(atMs)
    tell(observers, { _tag: "Exited", instanceId, atMs, exit, lastOutput, requested: instance.requested })
    for (const resume of instance.onGone) resume()
    instance.onGone.clear()
  }

  const listen = (instance: Live) => {
    const { child, output } = instance
    child.stdout?.on("data", (chunk: Buffer) => output.write("stdout", chunk, Date.now()))
    child.stderr?.on("data", (chunk: Buffer) => output.write("stderr", chunk, Date.now()))
    child.on("error", () => undefined)
    child.once("exit", (code, signal) => {
      instance.exited = true
      clearTimeout(instance.killTimer)
      signalGroup(instance.pid, "SIGKILL")
      deathWatch.withdraw(instance.pid)
      const untilMs = Date.now() + pipesCloseMaxMs
      let done = false
      const finish = () => {
        if (done) return
        done = true
        clearTimeout(silence)
        onceGone(instance, exitOf(code, signal, instance))
      }
      const silence = setTimeout(finish, pipesSilentMs)
      const heard = () => void (Date.now() < untilMs && silence.refresh())
      child.stdout?.on("data", heard)
      child.stderr?.on("data", heard)
      child.once("close", finish)
    })
  }

  const environmentOf = (spec: InstanceSpec): Record<string, string> => {
    const cache = options.compileCacheDirectory
    // Code of one function must not be read as that of another, so each has its own folder; odd names have none.
    const cached = cache !== undefined && /^[A-Za-z0-9_-]{1,100}$/.test(spec.functionId)
    return {
      PATH: process.env["PATH"] ?? "/usr/local/bin:/usr/bin:/bin",
      HOME: process.env["HOME"] ?? homedir(),
      TMPDIR: tmpdir(),
      LANG: process.env["LANG"] ?? "C.UTF-8",
      ...(cached ? { NODE_COMPILE_CACHE: join(cache, spec.functionId) } : {}),
      ...spec.environment,
      [DeathWatch.markVariable]: mark
    }
  }

  const launch = (spec: InstanceSpec): Effect.Effect<void, LaunchFailed> =>
    Effect.suspend(() => {
      if (live.has(spec.instanceId)) return Effect.void
      const refusal = refuse(spec, total - live.size, total)
      if (refusal !== undefined) return Effect.fail(refusal)
      const [program, ...args] = spec.command
      const isNode = program === "node"
      let child: ChildProcess
      try {
        child = spawn(
          isNode ? process.execPath : (program ?? ""),
          isNode ? [...(options.nodeFlags ?? nodeFlagsDefault), ...args] : args,
          {
            ...(spec.workingDirectory === undefined ? {} : { cwd: spec.workingDirectory }),
            env: environmentOf(spec),
            detached: true,
            stdio: ["ignore", "pipe", "pipe"]
          }
        )
      } catch (cause) {
        return Effect.fail(launchFailure(spec, cause))
      }
      const pid = child.pid
      // Without a pid the reason comes as an event, in the next tick.
      if (pid === undefined) {
        return Effect.callback<never, LaunchFailed>((resume) => {
          child.once("error", (cause) => resume(Effect.fail(launchFailure(spec, cause))))
        })
      }
      deathWatch.announce(pid)
      const instanceId = spec.instanceId
      const startedAtMs = Date.now()
      const instance: Live = {
        spec,
        child,
        pid,
        startedAtMs,
        output: OutputTail.make((line) => tell(followers, instanceId, line)),
        onGone: new Set(),
        requested: false,
        exited: false,
        killTimer: undefined,
        killAtMs: Number.POSITIVE_INFINITY
      }
      live.set(instanceId, instance)
      ended.delete(instanceId)
      listen(instance)
      tell(observers, { _tag: "Started", instanceId, atMs: startedAtMs, pid })
      return Effect.void
    })

  /** The shortest grace that anybody asked for counts. */
  const end = (instance: Live, graceMs: number) => {
    if (instance.exited) return
    const first = !instance.requested
    instance.requested = true
    if (graceMs <= 0) return signalGroup(instance.pid, "SIGKILL")
    if (first) signalGroup(instance.pid, "SIGTERM")
    const killAtMs = Date.now() + graceMs
    if (killAtMs >= instance.killAtMs) return
    instance.killAtMs = killAtMs
    clearTimeout(instance.killTimer)
    instance.killTimer = setTimeout(() => signalGroup(instance.pid, "SIGKILL"), graceMs)
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

  const register = <A>(listeners: Set<A>, listener: A) =>
    Effect.asVoid(
      Effect.acquireRelease(
        Effect.sync(() => listeners.add(listener)),
        () => Effect.sync(() => listeners.delete(listener))
      )
    )

  yield* Effect.addFinalizer(() =>
    Effect.forEach([...live.keys()], (instanceId) => terminate(instanceId, 0), { concurrency: "unbounded" }).pipe(
      Effect.timeoutOption(closeWaitMs),
      Effect.andThen(Effect.promise(() => deathWatch.close(closeWaitMs)))
    )
  )
  yield* Effect.logWarning(
    "the process backend isolates nothing: functions run as this user, without limits of CPU and memory"
  )
  if (!deathWatch.isWatching()) {
    yield* Effect.logWarning("without /bin/sh, instances can outlive this process when it is killed: install a shell")
  }

  return ComputeBackend.of({
    abilities,
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
        [...live.values()].map(({ spec, startedAtMs, pid }) => ({
          instanceId: spec.instanceId,
          versionId: spec.versionId,
          startedAtMs,
          pid
        }))
    ),
    watch: (onObservation) => register(observers, onObservation),
    logs: (instanceId) =>
      Effect.sync(() => {
        forgetOld(Date.now())
        return (live.get(instanceId) ?? ended.get(instanceId))?.output.lines() ?? []
      }),
    followLogs: (onLine) => register(followers, onLine)
  })
})

export const layer = (options: Options = {}): Layer.Layer<ComputeBackend> => Layer.effect(ComputeBackend, make(options))

const exitOf = (code: number | null, signal: NodeJS.Signals | null, instance: Live): Exit => {
  if (signal === null) return { kind: "code", code: code ?? 0 }
  // V8 aborts when its heap is full; the kernel's own killer leaves no trace that a parent can read.
  if (signal === "SIGABRT" && instance.output.text(lastOutputBytesMax).includes("heap out of memory")) {
    return { kind: "out-of-memory" }
  }
  return { kind: "signal", signal }
}

const refuse = (spec: InstanceSpec, free: number, total: number): LaunchFailed | undefined => {
  const no = (reason: LaunchFailed["reason"], detail: string, retryable: boolean) =>
    new LaunchFailed({ instanceId: spec.instanceId, reason, detail, retryable })
  if (spec.command.length === 0 || spec.command[0] === "") {
    return no("bad-spec", "the process backend runs commands, not images: give the version a command", false)
  }
  if (spec.instanceType !== instanceTypeName) {
    return no("bad-spec", `instance type ${spec.instanceType} is unknown here: deploy with ${instanceTypeName}`, false)
  }
  if (spec.gpu.count > 0) {
    return no("no-capacity", `${spec.gpu.count} GPUs were asked for and the process backend hands out none`, false)
  }
  if (free <= 0) {
    return no("no-capacity", `all ${total} places are taken: raise the backend's instancesMax or lower a minimum`, true)
  }
  return undefined
}

/** Causes that pass by themselves: too many processes or open files, too little memory. */
const passing = new Set(["EAGAIN", "EMFILE", "ENFILE", "ENOMEM"])

const launchFailure = (spec: InstanceSpec, cause: unknown): LaunchFailed => {
  const code = cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : "unknown"
  const program = spec.command[0] ?? ""
  const no = (reason: LaunchFailed["reason"], detail: string, retryable = false) =>
    new LaunchFailed({ instanceId: spec.instanceId, reason, detail, retryable })
  if (passing.has(code)) {
    return no("no-capacity", `the system refused another process (${code}): stop some, or raise its limits`, true)
  }
  const directory = spec.workingDirectory
  if (directory !== undefined && !isDirectory(directory)) {
    return no("bad-spec", `the working directory ${directory} is not a directory that can be entered: create it`)
  }
  switch (code) {
    case "ENOENT":
      return no("command-not-found", `${program} was not found: give its full path, or install it in the PATH`)
    case "EACCES":
      return no("command-not-found", `${program} may not be executed (EACCES): check its mode, chmod +x`)
    case "E2BIG":
      return no("bad-spec", "command and environment together are too long for the system: shorten them")
    default:
      return no("bad-spec", `the system refused to run ${program}: ${cause instanceof Error ? cause.message : code}`)
  }
}

const isDirectory = (path: string): boolean => {
  try {
    return statSync(path).isDirectory()
  } catch {
    return false
  }
}
