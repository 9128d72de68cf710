/**
 * Every named place of the platform at which it can die: a learning run lists them, then for each a process dies there
 * by SIGKILL, another one starts on what it left, and callers and functions are asked what they saw.
 *
 * Two stories reach them: `fresh` begins on an empty disk, `used` on what a killed platform left behind (a snapshot, kept
 * answers, blobs, requests that wait), so that the places of recovery have something to recover.
 *
 * @module
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { check, type Verdict } from "../history/Checker.ts"
import type { History } from "../history/History.ts"
import { cancel, carryOut, claim, claimUntilEnded, makeAgent, type Plan, type World } from "./Caller.ts"
import { explain } from "./Explain.ts"
import * as PlatformLife from "./PlatformLife.ts"
import { Recording } from "./Recording.ts"

export type Story = "fresh" | "used"

export interface Point {
  readonly name: string
  readonly story: Story
  /** How often a life of the story comes to it. */
  readonly count: number
}

export interface CaseResult {
  readonly point: Point
  readonly k: number
  /** False: this life came to the place fewer than `k` times. */
  readonly isReached: boolean
  readonly verdicts: ReadonlyArray<Verdict>
  readonly explained: ReadonlyArray<string>
  readonly seconds: number
}

interface Begin {
  readonly directory: string
  readonly seen: History
  readonly promised: ReadonlyArray<string>
}

const settleMs = 60_000
const explainedMax = 3

const optionsIn = (directory: string): PlatformLife.LifeOptions => ({
  stateDirectory: join(directory, "state"),
  home: directory,
  durability: "accepted",
  // Short, so that a life sees the way back to zero.
  idleWindowMs: 200,
  compileCache: PlatformLife.compileCache,
  compactAfterRecords: 10
})

const plan = (item: string, more: Partial<Plan> = {}, order: Partial<Plan["order"]> = {}): Plan => ({
  item,
  path: "any",
  isAsync: false,
  key: undefined,
  leaveAfterMs: undefined,
  deadlineMs: undefined,
  claimsAtOnce: false,
  ...more,
  order: { item, ms: 5, bytes: 20, pieces: 0, padding: "", ...order }
})

const large = "p".repeat(150_000)

/** What is there before a `used` story begins. */
const past: ReadonlyArray<Plan> = [
  plan("past-keyed", { key: "past" }),
  plan("past-large", { isAsync: true, claimsAtOnce: true }, { bytes: 150_000, padding: large }),
  plan("past-answered", { isAsync: true, claimsAtOnce: true }),
  plan("past-many-1", { isAsync: true }),
  plan("past-many-2", { isAsync: true })
]
/** These still wait when it is killed. */
const waiting: ReadonlyArray<Plan> = [
  plan("past-lane-1", { path: "lane", isAsync: true }, { ms: 400 }),
  plan("past-lane-2", { path: "lane", isAsync: true }),
  plan("past-waiting", { isAsync: true }, { ms: 300, padding: large })
]

/** Every way of calling, all at once; with a little of each k is reached at every place on the way of a call. */
const present: ReadonlyArray<Plan> = [
  plan("sync-1"),
  plan("sync-2"),
  plan("slow-sync", {}, { ms: 200 }),
  plan("async-1", { isAsync: true, claimsAtOnce: true }),
  plan("async-2", { isAsync: true, claimsAtOnce: true }),
  plan("keyed", { key: "keyed" }),
  plan("keyed-leaves", { key: "keyed-leaves", leaveAfterMs: 30 }, { ms: 150 }),
  plan("leaves", { leaveAfterMs: 100 }, { ms: 250 }),
  plan("large", { isAsync: true, claimsAtOnce: true }, { bytes: 150_000, padding: large }),
  plan("large-sync", {}, { bytes: 150_000, padding: large }),
  plan("stream", {}, { pieces: 4, ms: 80, bytes: 2_000 }),
  plan("stream-async", { isAsync: true, claimsAtOnce: true }, { pieces: 4, ms: 40, bytes: 150_000 }),
  plan("fails", {}, { fails: true }),
  plan("fails-async", { isAsync: true }, { fails: true }),
  plan("late", { isAsync: true, deadlineMs: 150 }, { ms: 400 }),
  plan("detached", { isAsync: true, waitSeconds: 1, claimsAtOnce: true }, { ms: 1_200 }),
  plan("lane-1", { path: "lane", isAsync: true }),
  plan("lane-2", { path: "lane", isAsync: true })
]

const begin = (directory: string): Begin => ({ directory, seen: [], promised: [] })

/** Makes what a `used` story begins with. */
export const makePast = async (directory: string): Promise<Begin> => {
  const recording = new Recording(directory)
  const life = await PlatformLife.start(optionsIn(directory))
  const world: World = { recording, gatewayUrl: async () => life.gatewayUrl, agent: makeAgent() }
  const promised: Array<string> = []
  const carry = async (plans: ReadonlyArray<Plan>) => {
    const ids = await Promise.all(plans.map((one) => carryOut(world, one)))
    for (const id of ids) if (id !== undefined) promised.push(id)
    return ids
  }
  const ids = await carry(past)
  // Answers that are kept, and, some looks later, a snapshot of them.
  await Promise.all(ids.map((id) => (id === undefined ? undefined : claimUntilEnded(world, id, settleMs))))
  await new Promise((resolve) => setTimeout(resolve, 300))
  await carry(waiting)
  await life.kill()
  recording.see({ _tag: "Crashed" })
  world.agent.destroy()
  return { directory, seen: recording.seen(), promised }
}

type Told = Pick<CaseResult, "isReached" | "verdicts" | "explained">

/** One life under `environment`, another one after it when it dies, and the check of what was seen. */
const tell = async (
  story: Story,
  { directory, seen, promised: before }: Begin,
  environment: Readonly<Record<string, string>>
): Promise<Told> => {
  const recording = new Recording(directory, seen)
  const options = optionsIn(directory)
  let deaths = 0
  const live = async (under: Readonly<Record<string, string>>): Promise<PlatformLife.PlatformLife> => {
    try {
      const started = await PlatformLife.start(options, under)
      void started.over.then(({ signal }) => {
        if (signal === "SIGKILL" && deaths === 0) died()
      })
      return started
    } catch (error) {
      if (deaths > 0 || !(error instanceof PlatformLife.NeverReady) || error.signal !== "SIGKILL") throw error
      deaths++
      recording.see({ _tag: "Crashed" })
      return live({})
    }
  }
  const died = () => {
    deaths++
    recording.see({ _tag: "Crashed" })
    life = live({})
    // Whoever asks for it next hears of a failure.
    life.catch(() => {})
  }
  let life = live(environment)
  const world: World = { recording, gatewayUrl: async () => (await life).gatewayUrl, agent: makeAgent() }
  await life
  const promised = [...before]
  const carry = async (one: Plan) => {
    const id = await carryOut(world, one)
    if (id !== undefined) promised.push(id)
    return id
  }
  const again = story === "used" ? [plan("past-keyed", { key: "past" })] : []
  const calls = [...present, ...again].map(carry)
  await Promise.all([...calls, cancelOne(world, carry), killOne(recording), ...before.map((id) => claim(world, id, 0))])
  if (deaths === 0) {
    await backAtZero(recording)
    await carry(plan("after-zero", { isAsync: true, claimsAtOnce: true }))
  }
  if (deaths === 0) {
    // Ended in order, it comes to the places of its end, and may die there.
    await (await life).stop()
    if (deaths === 0) life = live({})
  }
  await Promise.all(promised.map((id) => claimUntilEnded(world, id, settleMs)))
  await (await life).stop()
  world.agent.destroy()
  const history = recording.history()
  const { verdicts } = check(history)
  return {
    isReached: deaths > 0,
    verdicts,
    explained: verdicts.slice(0, explainedMax).flatMap((verdict) => explain(history, verdict))
  }
}

const cancelOne = async (world: World, carry: (one: Plan) => Promise<string | undefined>) => {
  const id = await carry(plan("cancelled", { isAsync: true }, { ms: 2_000 }))
  if (id !== undefined) await cancel(world, id)
}

/** An instance dies in the middle of its work. */
const killOne = async (recording: Recording) => {
  await new Promise((resolve) => setTimeout(resolve, 150))
  const pid = recording.alive().at(-1)
  if (pid === undefined) return
  try {
    process.kill(pid, "SIGKILL")
  } catch {
    // It was gone already.
  }
}

const backAtZero = async (recording: Recording) => {
  const until = performance.now() + 3_000
  while (recording.alive().length > 0 && performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

// --- learning, and dying ---------------------------------------------------------------------------------------------

export interface Ground {
  /** A copy of what the story begins with; give it back with `leave`. */
  readonly enter: (story: Story) => Begin
  readonly leave: (begin: Begin) => void
  readonly close: () => void
}

export const prepare = async (): Promise<Ground> => {
  const root = mkdtempSync(join(tmpdir(), "millrace-points-"))
  const pastDirectory = join(root, "past")
  mkdirSync(pastDirectory)
  const made = await makePast(pastDirectory)
  let count = 0
  return {
    enter: (story) => {
      const directory = join(root, `case-${++count}`)
      if (story === "used") cpSync(pastDirectory, directory, { recursive: true })
      else mkdirSync(directory)
      return story === "used" ? { ...made, directory } : begin(directory)
    },
    leave: ({ directory }) => rmSync(directory, { recursive: true, force: true }),
    close: () => rmSync(root, { recursive: true, force: true })
  }
}

/** Places and how often a whole life comes to each; a place of both stories is tried in `used`. */
export const learn = async (ground: Ground): Promise<ReadonlyArray<Point>> => {
  const points = new Map<string, Point>()
  for (const story of ["fresh", "used"] as const) {
    const at = ground.enter(story)
    const list = join(at.directory, "places")
    const { verdicts, explained } = await tell(story, at, { MILLRACE_CRASH_LIST: list })
    if (verdicts.length > 0) throw new Error(`a life without a crash is judged: ${explained.join("\n")}`)
    const counts = new Map<string, number>()
    for (const name of readFileSync(list, "utf8").split("\n").filter(Boolean)) {
      counts.set(name, (counts.get(name) ?? 0) + 1)
    }
    for (const [name, count] of counts) points.set(name, { name, story, count })
    ground.leave(at)
  }
  return [...points.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

export const dieAt = async (ground: Ground, point: Point, k: number): Promise<CaseResult> => {
  const startedMs = performance.now()
  const at = ground.enter(point.story)
  try {
    const told = await tell(point.story, at, { MILLRACE_CRASH_AT: `${point.name}:${k}` })
    return { point, k, ...told, seconds: (performance.now() - startedMs) / 1000 }
  } finally {
    ground.leave(at)
  }
}

/** Carries cases out, some at a time, and tells of each. */
export const dieAtAll = async (
  ground: Ground,
  cases: ReadonlyArray<readonly [point: Point, k: number]>,
  atATime: number,
  tellOf: (result: CaseResult) => void
): Promise<ReadonlyArray<CaseResult>> => {
  const left = [...cases]
  const results: Array<CaseResult> = []
  const worker = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const result = await dieAt(ground, ...next)
      results.push(result)
      tellOf(result)
    }
  }
  await Promise.all(Array.from({ length: atATime }, worker))
  return results
}
