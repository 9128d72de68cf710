/**
 * One life of the platform process: started on a state directory, killed or ended, and then over.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import type { BufferOptions } from "../../src/core/buffer/BufferOptions.ts"
import type { PlatformOptions } from "../../src/planes/Platform.ts"
import * as Programs from "../support/Programs.ts"

export interface LifeOptions {
  readonly stateDirectory: string
  /** Home folder of the platform and of its instances: the function writes down there what it does. */
  readonly home: string
  readonly durability: "accepted" | "memory"
  readonly idleWindowMs: number
  readonly compileCache: string
  readonly buffer?: Partial<BufferOptions>
  /** Default: as in production. */
  readonly compactAfterRecords?: number
  readonly heartbeatMs?: number
  /** Default: the embedded one. */
  readonly fabric?: PlatformOptions["fabric"] | undefined
  /** The file of the two functions; default `recorder.ts`. */
  readonly functionFile?: string
  /** Of the two functions. */
  readonly environment?: Readonly<Record<string, string>>
}

export interface LifeAddresses {
  readonly gatewayUrl: string
  readonly workerUrl: string
  readonly recordsReplayed: number
  readonly pid: number
}

export interface PlatformLife extends LifeAddresses {
  readonly isOver: () => boolean
  readonly over: Promise<{ readonly code: number | null; readonly signal: string | null }>
  /** As the kernel would, without a word to the process. */
  readonly kill: () => Promise<void>
  /** In order; killed when it takes longer than `waitMs`, and then false. */
  readonly stop: (waitMs?: number) => Promise<boolean>
  readonly said: () => string
}

/** The process ended before it was ready; under an armed crash point that is one of the outcomes. */
export class NeverReady extends Error {
  readonly signal: string | null
  constructor(code: number | null, signal: string | null, said: string) {
    super(`the platform ended with ${signal ?? code} before it was ready: ${said.slice(-2000)}`)
    this.signal = signal
  }
}

/** Kept between runs on this machine: starting is most of what a chaos run does. */
export const compileCache = join(tmpdir(), `millrace-chaos-cache-${process.getuid?.() ?? 0}`)

const saidMax = 20_000

export const start = async (
  options: LifeOptions,
  environment: Readonly<Record<string, string>> = {},
  /** In front of `node`, for tools that change what the process sees. */
  wrapper: ReadonlyArray<string> = [],
  /** Kills it, also before it is ready. */
  giveUp?: AbortSignal
): Promise<PlatformLife> => {
  const [command = process.execPath, ...args] = [
    ...wrapper,
    process.execPath,
    ...Programs.wordsOf("tests/chaos/platformMain.ts"),
    JSON.stringify(options)
  ]
  const child = spawn(command, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NODE_COMPILE_CACHE: compileCache, HOME: options.home, ...environment }
  })
  giveUp?.addEventListener("abort", () => child.kill("SIGKILL"))
  let said = ""
  const hear = (text: string) => {
    said = (said + text).slice(-saidMax)
  }
  child.stderr.on("data", (bytes: Buffer) => hear(bytes.toString("utf8")))
  const over = once(child, "exit").then(([code, signal]) => ({ code, signal }))
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (text) => {
      if (text.startsWith("{")) resolve(text)
      hear(`${text}\n`)
    })
    child.once("exit", (code, signal) => reject(new NeverReady(code, signal, said)))
  })
  const isOver = () => child.exitCode !== null || child.signalCode !== null
  // Written by `platformMain.ts`.
  const addresses = JSON.parse(line) as LifeAddresses
  return {
    ...addresses,
    isOver,
    over,
    said: () => said,
    kill: async () => {
      if (!isOver()) process.kill(addresses.pid, "SIGKILL")
      await over
    },
    stop: async (waitMs = 10_000) => {
      if (!isOver()) process.kill(addresses.pid, "SIGTERM")
      const timer = setTimeout(() => void kill(child, addresses.pid), waitMs)
      const { signal } = await over
      clearTimeout(timer)
      return signal === null
    }
  }
}

const kill = (child: ChildProcess, pid: number) => {
  if (child.exitCode === null && child.signalCode === null) process.kill(pid, "SIGKILL")
}

/** Processes that this one started and that still run. */
export const childrenOf = (pid: number): ReadonlyArray<number> => {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number)
  } catch {
    return []
  }
}
