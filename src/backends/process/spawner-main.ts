/**
 * The spawner: a small process that starts instances for the process backend. `fork` copies the page tables of the
 * process that calls it, so its time grows with that process's memory, and nothing else runs meanwhile: 10 ms in one of
 * 150 MB on the machine where this was measured, 1.8 ms in this one. A gateway must not stand still for that.
 *
 * A command that a zygote may run is given to one, if one is ready, and is started plainly if that fails.
 *
 * It does as it is told and keeps nothing: when its parent is gone it kills what it started and ends.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, openSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as ControlGroup from "./ControlGroup.ts"
import * as ControlGroups from "./ControlGroups.ts"
import { childrenOf, descendantsOf } from "./ProcessTree.ts"
import type { FromSpawner, SpawnerOptions, ToSpawner } from "./SpawnerMessage.ts"
import * as ZygotePool from "./ZygotePool.ts"

/**
 * A process that left the group can hold the pipes open: the end is told when they closed, or were silent for so long,
 * or at the latest after `pipesCloseMaxMs`.
 */
const pipesSilentMs = 100
const pipesCloseMaxMs = 2_000
/** Output that the parent has not taken yet; beyond it the instance that talks waits, as at any full pipe. */
const unsentBytesMax = 1024 * 1024

/** A sandbox takes a few milliseconds to make. */
const signalAgainMs = 20
const signalTriesMax = 250

type Spawn = Extract<ToSpawner, { _tag: "Spawn" }>

// Written by `Spawner.ts` alone.
const options: SpawnerOptions = JSON.parse(process.argv[2] ?? "")

const { places } = options
const openGroup = (name: string) => (places === undefined ? undefined : ControlGroup.make(places, name))

const zygotes = ZygotePool.make(
  {
    ...options.zygotes,
    openGroup,
    // The SDK that functions near this package load, whether this file runs as source or as built.
    main: fileURLToPath(new URL("./zygote-main.js", import.meta.resolve("millrace/worker")))
  },
  (detail) => tell({ _tag: "ZygoteFailed", detail })
)

if (places !== undefined) {
  for (const directory of ControlGroups.abandoned(places)) ControlGroup.removeSoon(directory)
}

const live = new Map<number, ChildProcess>()
const sandboxed = new Set<number>()
/** Of which it is not known yet whether they took over. */
const givenAway = new Map<number, ZygotePool.Zygote>()
let unsentBytes = 0
const paused = new Set<NodeJS.ReadableStream>()

const tell = (message: FromSpawner, done: () => void = ignore) => {
  if (process.connected) process.send?.(message, undefined, undefined, done)
}

function ignore() {}

const signalGroup = (pid: number, signal: NodeJS.Signals) => {
  try {
    process.kill(-pid, signal)
  } catch {
    // ESRCH: it is gone, which is what was wanted.
  }
}

/** Signals what is in a sandbox; the sandbox's own processes would end without waiting for it. */
const signalInside = (key: number, signal: NodeJS.Signals, tries = 0) => {
  const pid = live.get(key)?.pid
  const [first] = pid === undefined ? [] : childrenOf(pid)
  const inside = first === undefined ? [] : descendantsOf(first)
  for (const each of inside) {
    try {
      process.kill(each, signal)
    } catch {
      // ESRCH: it is gone, which is what was wanted.
    }
  }
  // It is still being made: nothing is in it yet.
  if (pid !== undefined && inside.length === 0 && tries < signalTriesMax) {
    setTimeout(() => signalInside(key, signal, tries + 1), signalAgainMs)
  }
}

const forward = (key: number, stream: "stdout" | "stderr", source: NodeJS.ReadableStream | null) =>
  source?.on("data", (bytes: Buffer) => {
    unsentBytes += bytes.length
    if (unsentBytes > unsentBytesMax) paused.add(source.pause())
    tell({ _tag: "Output", key, stream, bytes }, () => {
      unsentBytes -= bytes.length
      if (unsentBytes > unsentBytesMax / 2) return
      for (const one of paused) one.resume()
      paused.clear()
    })
  })

const start = (order: Spawn) => {
  const zygote = order.zygote ? zygotes.take() : undefined
  zygotes.started(order.zygote)
  // One that holds more memory than the instance may is of no use.
  if (zygote === undefined || limit(zygote.group, order, zygote.pid)) startPlainly(order)
  else give(zygote, order)
}

const startPlainly = (order: Spawn) => {
  const { key, sandbox } = order
  const filter = sandbox?.filter === undefined ? undefined : openSync(sandbox.filter, "r")
  const refuse = (cause: unknown) => {
    const code = cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : ""
    tell({ _tag: "Refused", key, code, message: cause instanceof Error ? cause.message : String(cause) })
  }
  const fork = () =>
    spawn(order.program, order.args, {
      cwd: order.workingDirectory,
      env: order.environment,
      detached: true,
      stdio: ["ignore", "pipe", "pipe", ...(filter === undefined ? [] : [filter])]
    })
  let group: ControlGroup.ControlGroup | undefined
  let child: ChildProcess
  try {
    group = openGroup(`i${key}`)
    child = group === undefined ? fork() : group.enter(fork)
  } catch (cause) {
    group?.remove()
    return refuse(cause)
  } finally {
    if (filter !== undefined) closeSync(filter)
  }
  if (sandbox !== undefined) sandboxed.add(key)
  // Without a pid the reason comes as an event, in the next tick.
  if (child.pid === undefined) {
    group?.remove()
    return child.once("error", refuse)
  }
  child.on("error", ignore)
  follow(key, { child, pid: child.pid, group }, limit(group, order, child.pid))
}

/** Whether it holds more memory already than it may: then it is over, as it would be a moment later. */
const limit = (group: ControlGroup.ControlGroup | undefined, order: Spawn, pid: number): boolean => {
  try {
    group?.limit(order.limits)
    return false
  } catch {
    signalGroup(pid, "SIGKILL")
    return true
  }
}

const give = (zygote: ZygotePool.Zygote, order: Spawn) => {
  const { key } = order
  givenAway.set(key, zygote)
  const handOver = {
    words: order.args.slice(options.zygotes.flags.length),
    workingDirectory: order.workingDirectory ?? process.cwd(),
    environment: order.environment
  }
  zygote.give(handOver, {
    onTaken: (early) => {
      givenAway.delete(key)
      follow(key, zygote)
      for (const output of early) tell({ _tag: "Output", key, ...output })
    },
    onFailed: (detail) => {
      givenAway.delete(key)
      tell({ _tag: "ZygoteFailed", detail })
      startPlainly(order)
    }
  })
}

const follow = (
  key: number,
  { child, pid, group }: Pick<ZygotePool.Zygote, "child" | "pid" | "group">,
  isStarved = false
) => {
  live.set(key, child)
  tell({ _tag: "Started", key, pid, atMs: Date.now() })
  forward(key, "stdout", child.stdout)
  forward(key, "stderr", child.stderr)
  const onExit = (code: number | null, signal: NodeJS.Signals | null) => {
    live.delete(key)
    sandboxed.delete(key)
    signalGroup(pid, "SIGKILL")
    const hadNoMemory = isStarved || group?.hadNoMemory() === true
    group?.remove()
    const untilMs = performance.now() + pipesCloseMaxMs
    let isTold = false
    const finish = () => {
      if (isTold) return
      isTold = true
      clearTimeout(silence)
      for (const source of [child.stdout, child.stderr]) {
        if (source !== null) paused.delete(source.removeAllListeners("data"))
        source?.destroy()
      }
      tell({ _tag: "Gone", key, code, signal, hadNoMemory })
    }
    const silence = setTimeout(finish, pipesSilentMs)
    const heard = () => void (performance.now() < untilMs && silence.refresh())
    child.stdout?.on("data", heard)
    child.stderr?.on("data", heard)
    child.once("close", finish)
  }
  // A zygote's function may be over before it is known that it began.
  if (child.exitCode === null && child.signalCode === null) child.once("exit", onExit)
  else onExit(child.exitCode, child.signalCode)
}

process.on("message", (message: ToSpawner) => {
  if (message._tag === "Spawn") return start(message)
  // Whoever ends an instance wants its end, and not another start.
  givenAway.get(message.key)?.claim()
  const pid = live.get(message.key)?.pid
  if (pid === undefined) return
  if (message.signal === "SIGTERM" && sandboxed.has(message.key)) signalInside(message.key, message.signal)
  else signalGroup(pid, message.signal)
})

// Ctrl-C in a terminal and a service manager's stop are for the parent, which decides what becomes of the instances.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, ignore)

process.once("disconnect", () => {
  zygotes.close()
  for (const zygote of givenAway.values()) zygote.claim()
  for (const child of live.values()) if (child.pid !== undefined) signalGroup(child.pid, "SIGKILL")
  if (places !== undefined)
    for (const directory of ControlGroups.directoriesOf(places)) ControlGroups.tryRemove(directory)
  process.exit(0)
})
