/**
 * Random kills: callers come, leave and come back while the platform, its instances and its helpers are killed under
 * them; then everything that was promised is claimed and the history is checked.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type Counts, check, type Verdict } from "../history/Checker.ts"
import { carryOut, claimUntilEnded, makeAgent, type Plan, type World } from "./Caller.ts"
import { explain } from "./Explain.ts"
import * as PlatformLife from "./PlatformLife.ts"
import * as Random from "./Random.ts"
import { Recording } from "./Recording.ts"

export interface KillOptions {
  readonly requests: number
  readonly kills: number
  readonly seed: number
  readonly durability: "accepted" | "memory"
  readonly callers: number
  /** Who is killed; default: all, in the mix of `chooseVictim`. */
  readonly victims?: ReadonlyArray<Victim>
  /** The platform runs on this server instead of the embedded store, and the server is there to be killed too. */
  readonly nats?: Nats | undefined
  readonly say: (line: string) => void
}

export interface Nats {
  readonly fabric: NonNullable<PlatformLife.LifeOptions["fabric"]>
  /** With SIGKILL, and back on the same port and store. */
  readonly killAndStart: () => Promise<void>
  /** Between a death of the platform and its next start; default: nothing. */
  readonly whilePlatformIsDead?: () => Promise<void>
}

export interface KillReport {
  readonly counts: Counts
  readonly verdicts: ReadonlyArray<Verdict>
  /** The first verdicts, each with what was seen of its request. */
  readonly explained: ReadonlyArray<string>
  readonly killed: {
    readonly platform: number
    readonly instance: number
    readonly helper: number
    readonly nats: number
  }
  /** When each 202 came, in order, on the clock of the recording. */
  readonly acceptedAtMs: ReadonlyArray<number>
  readonly seconds: number
}

type Victim = keyof KillReport["killed"]

const explainedMax = 10

/** How long after the last call everything that was promised may take to end. */
const settleMs = 120_000

export const run = async (options: KillOptions): Promise<KillReport> => {
  const startedMs = performance.now()
  const directory = mkdtempSync(join(tmpdir(), "millrace-chaos-"))
  const lives: Array<PlatformLife.PlatformLife> = []
  try {
    const report = await inDirectory(options, directory, lives)
    return { ...report, seconds: (performance.now() - startedMs) / 1000 }
  } finally {
    await lives.at(-1)?.kill()
    rmSync(directory, { recursive: true, force: true })
  }
}

const inDirectory = async (
  options: KillOptions,
  directory: string,
  lives: Array<PlatformLife.PlatformLife>
): Promise<Omit<KillReport, "seconds">> => {
  const { requests, kills, seed, say } = options
  const recording = new Recording(directory)
  const lifeOptions: PlatformLife.LifeOptions = {
    stateDirectory: join(directory, "state"),
    home: directory,
    durability: options.durability,
    idleWindowMs: 5_000,
    compileCache: PlatformLife.compileCache,
    compactAfterRecords: 2_000,
    fabric: options.nats?.fabric
  }
  const random = Random.make(seed)
  const killed = { platform: 0, instance: 0, helper: 0, nats: 0 }
  let failure: unknown
  const fails = Promise.withResolvers<never>()
  const fail = (error: unknown) => {
    failure ??= error
    fails.reject(failure)
  }
  // It is waited for only while calls are made.
  fails.promise.catch(() => {})
  /** Its end is an end of the run when nobody here asked for it. */
  const start = async () => {
    const begun = await PlatformLife.start(lifeOptions)
    lives.push(begun)
    void begun.over.then(({ code, signal }) => {
      if (begun === ending) return
      fail(new Error(`the platform ended by itself, with ${signal ?? code}: ${begun.said().slice(-2_000)}`))
    })
    return begun
  }
  let ending: PlatformLife.PlatformLife | undefined
  let life = start()
  await life
  const world: World = { recording, gatewayUrl: async () => (await life).gatewayUrl, agent: makeAgent() }

  const killPlatform = async () => {
    ending = await life
    await ending.kill()
    recording.see({ _tag: "Crashed" })
    await options.nats?.whilePlatformIsDead?.()
    life = start()
    await life
  }
  const killOne = async () => {
    const victim = options.victims === undefined ? chooseVictim(random) : (random.pick(options.victims) ?? "platform")
    killed[victim]++
    say(`kill ${victim}`)
    if (victim === "platform") return killPlatform()
    if (victim === "nats") return options.nats?.killAndStart()
    const { pid } = await life
    const pids = victim === "instance" ? recording.alive() : PlatformLife.childrenOf(pid)
    const chosen = random.pick([...pids])
    if (chosen === undefined) return
    try {
      process.kill(chosen, "SIGKILL")
    } catch {
      // It was gone already.
    }
  }

  const promised: Array<string> = []
  let next = 0
  let done = 0
  let fired = 0
  let killing: Promise<void> = Promise.resolve()
  const caller = async () => {
    while (next < requests && failure === undefined) {
      const plan = planOf(random, next++)
      const requestId = await carryOut(world, plan)
      if (requestId !== undefined) promised.push(requestId)
      done++
      while (fired < kills && done * kills >= (fired + 1) * requests - requests / 2) {
        fired++
        killing = killing.then(killOne).catch(fail)
        // A storm of kills without work between them would try nothing.
        await killing
        if (fired % 50 === 0) say(`${done} of ${requests} calls, ${fired} of ${kills} kills`)
      }
    }
  }
  await Promise.race([Promise.all(Array.from({ length: options.callers }, caller)), fails.promise])
  await killing
  if (failure !== undefined) throw failure
  say(`all calls are made: claiming ${promised.length}`)
  const left = [...promised]
  const claimer = async () => {
    for (let id = left.pop(); id !== undefined; id = left.pop()) await claimUntilEnded(world, id, settleMs)
  }
  await Promise.race([Promise.all(Array.from({ length: 64 }, claimer)), fails.promise])
  say("claimed")
  ending = await life
  await ending.stop()
  say("stopped")
  world.agent.destroy()
  const history = recording.history()
  const { counts, verdicts } = check(history)
  const explained = verdicts.slice(0, explainedMax).flatMap((verdict) => explain(history, verdict))
  const acceptedAtMs = history.flatMap((entry) => (entry._tag === "Accepted" ? [entry.atMs] : []))
  return { counts, verdicts, explained, killed, acceptedAtMs }
}

const chooseVictim = (random: Random.Random): Victim => {
  const at = random.next()
  return at < 0.4 ? "platform" : at < 0.9 ? "instance" : "helper"
}

/** What callers want: every kind of call, in a mix that reaches all of them in a few dozen. */
export const planOf = (random: Random.Random, index: number): Plan => {
  const item = `item-${index}`
  const isLane = random.chance(0.1)
  const isAsync = isLane || random.chance(0.5)
  const isKeyed = random.chance(0.4)
  const isLarge = random.chance(0.05)
  const pieces = random.chance(0.15) ? 4 : 0
  const ms = isLane ? random.below(5) : random.below(40)
  return {
    item,
    path: isLane ? "lane" : "any",
    isAsync,
    key: isKeyed ? `key ${index}` : undefined,
    order: {
      item,
      ms,
      bytes: random.chance(0.05) ? 100_000 : random.below(200),
      pieces,
      padding: "p".repeat(isLarge ? 100_000 : random.below(300))
    },
    leaveAfterMs: random.chance(0.1) ? random.below(50) : undefined,
    deadlineMs: random.chance(0.03) ? 2_000 : undefined,
    claimsAtOnce: random.chance(0.3)
  }
}
