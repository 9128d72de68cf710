/**
 * The spawner: a small process that starts instances for the process backend. `fork` copies the page tables of the
 * process that calls it, so its time grows with that process's memory, and nothing else runs meanwhile: 10 ms in one of
 * 150 MB on the machine where this was measured, 1.8 ms in this one. A gateway must not stand still for that.
 *
 * It does as it is told and keeps nothing: when its parent is gone it kills what it started and ends.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"
import type { FromSpawner, ToSpawner } from "./SpawnerMessage.ts"

/**
 * A process that left the group can hold the pipes open: the end is told when they closed, or were silent for so long,
 * or at the latest after `pipesCloseMaxMs`.
 */
const pipesSilentMs = 100
const pipesCloseMaxMs = 2_000
/** Output that the parent has not taken yet; beyond it the instance that talks waits, as at any full pipe. */
const unsentBytesMax = 1024 * 1024

const live = new Map<number, ChildProcess>()
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

const start = (order: Extract<ToSpawner, { _tag: "Spawn" }>) => {
  const { key } = order
  const refuse = (cause: unknown) => {
    const code = cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : ""
    tell({ _tag: "Refused", key, code, message: cause instanceof Error ? cause.message : String(cause) })
  }
  let child: ChildProcess
  try {
    child = spawn(order.program, order.args, {
      cwd: order.workingDirectory,
      env: order.environment,
      detached: true,
      stdio: ["ignore", "pipe", "pipe"]
    })
  } catch (cause) {
    return refuse(cause)
  }
  const pid = child.pid
  // Without a pid the reason comes as an event, in the next tick.
  if (pid === undefined) return child.once("error", refuse)
  child.on("error", ignore)
  live.set(key, child)
  tell({ _tag: "Started", key, pid, atMs: Date.now() })
  forward(key, "stdout", child.stdout)
  forward(key, "stderr", child.stderr)
  child.once("exit", (code, signal) => {
    live.delete(key)
    signalGroup(pid, "SIGKILL")
    const untilMs = Date.now() + pipesCloseMaxMs
    let isTold = false
    const finish = () => {
      if (isTold) return
      isTold = true
      clearTimeout(silence)
      for (const source of [child.stdout, child.stderr]) {
        if (source !== null) paused.delete(source.removeAllListeners("data"))
        source?.destroy()
      }
      tell({ _tag: "Gone", key, code, signal })
    }
    const silence = setTimeout(finish, pipesSilentMs)
    const heard = () => void (Date.now() < untilMs && silence.refresh())
    child.stdout?.on("data", heard)
    child.stderr?.on("data", heard)
    child.once("close", finish)
  })
}

process.on("message", (message: ToSpawner) => {
  if (message._tag === "Spawn") return start(message)
  const pid = live.get(message.key)?.pid
  if (pid !== undefined) signalGroup(pid, message.signal)
})

// Ctrl-C in a terminal and a service manager's stop are for the parent, which decides what becomes of the instances.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, ignore)

process.once("disconnect", () => {
  for (const child of live.values()) if (child.pid !== undefined) signalGroup(child.pid, "SIGKILL")
  process.exit(0)
})
