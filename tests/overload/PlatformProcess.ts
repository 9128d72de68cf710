/**
 * The platform as a child that can be asked for its memory and killed.
 *
 * @module
 */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { BufferOptions } from "../../src/core/buffer/BufferOptions.ts"
import type { DeploymentSpec } from "../../src/planes/control/Domain.ts"
import { compileCache } from "../chaos/PlatformLife.ts"

export interface ChildOptions {
  readonly stateDirectory: string
  readonly buffer?: Partial<BufferOptions>
  readonly deployment?: Partial<DeploymentSpec>
  /** Its instances never become workers, so everything waits. */
  readonly mute?: boolean
  /** Unix ms. */
  readonly spawnedAtMs: number
}

export interface Memory {
  readonly kind: "memory"
  /** Bytes, after a collection. */
  readonly heapUsed: number
  readonly rss: number
  /** Buffers, after a collection. */
  readonly external: number
  readonly pending: number
  readonly leased: number
}

export interface Counts {
  readonly kind: "counts"
  readonly pending: number
  readonly leased: number
}

export type FromChild =
  | Memory
  | Counts
  | {
      readonly kind: "ready"
      readonly gatewayUrl: string
      readonly recordsReplayed: number
      readonly startMs: number
      readonly pid: number
    }
  | { readonly kind: "first-lease"; readonly afterMs: number }

type Ready = Extract<FromChild, { readonly kind: "ready" }>

export interface PlatformProcess extends Ready {
  readonly memory: () => Promise<Memory>
  /** Costs it nothing. */
  readonly counts: () => Promise<Counts>
  /** Milliseconds from the start of the process to the first lease that it gave. */
  readonly firstLease: Promise<number>
  /** What the system says that the process holds now, in bytes. */
  readonly residentBytes: () => number
  /** Processor time that it has used, its instances not counted, in milliseconds. */
  readonly processorMs: () => number
  readonly kill: () => Promise<void>
  readonly stop: () => Promise<void>
}

const heard = <K extends FromChild["kind"]>(child: ChildProcess, kind: K) =>
  new Promise<Extract<FromChild, { readonly kind: K }>>((resolve, reject) => {
    const onMessage = (message: FromChild) => {
      if (message.kind !== kind) return
      child.off("message", onMessage)
      child.off("exit", onExit)
      // Its kind was compared above.
      resolve(message as Extract<FromChild, { readonly kind: K }>)
    }
    const onExit = (code: number | null) => reject(new Error(`the platform ended with ${code} before it said ${kind}`))
    child.on("message", onMessage)
    child.once("exit", onExit)
  })

const asked = <K extends "memory" | "counts">(child: ChildProcess, kind: K) => {
  const answer = heard(child, kind)
  child.send(kind)
  return answer
}

const end = async (child: ChildProcess, signal: NodeJS.Signals): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill(signal)
  await once(child, "exit")
}

export const start = async (options: Omit<ChildOptions, "spawnedAtMs">): Promise<PlatformProcess> => {
  const given: ChildOptions = { ...options, spawnedAtMs: performance.timeOrigin + performance.now() }
  const child = fork(join(import.meta.dirname, "platformMain.ts"), [JSON.stringify(given)], {
    execArgv: [
      "--conditions=millrace-source",
      "--expose-gc",
      "--max-semi-space-size=16",
      "--no-allocation-site-pretenuring"
    ],
    // What is released starts from built code; that types are stripped here is no part of a start.
    env: { ...process.env, NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"] ?? compileCache },
    stdio: ["ignore", "ignore", "inherit", "ipc"]
  })
  const firstLease = heard(child, "first-lease").then(({ afterMs }) => afterMs)
  firstLease.catch(() => {})
  const ready = await heard(child, "ready")
  return {
    ...ready,
    firstLease,
    memory: () => asked(child, "memory"),
    counts: () => asked(child, "counts"),
    residentBytes: () => {
      const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))
      return Number(line?.[1] ?? 0) * 1024
    },
    processorMs: () => {
      // After the name, which may hold anything: user and system time in hundredths of a second.
      const fields = readFileSync(`/proc/${child.pid}/stat`, "utf8")
        .replace(/^.*\) /, "")
        .split(" ")
      return (Number(fields[11]) + Number(fields[12])) * 10
    },
    kill: () => end(child, "SIGKILL"),
    stop: () => end(child, "SIGTERM")
  }
}
