/**
 * Power cuts: callers come and claim while the disk under the platform forgets what was not synced, at random operations;
 * each next life starts on what survived. In stories of some cuts each, every one from an empty disk on; at the end of a
 * story everything that was promised is claimed and the history is checked.
 *
 * @module
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { carryOut, claimUntilEnded, makeAgent, type World } from "../../chaos/Caller.ts"
import { explain } from "../../chaos/Explain.ts"
import { planOf } from "../../chaos/Kills.ts"
import * as PlatformLife from "../../chaos/PlatformLife.ts"
import * as Random from "../../chaos/Random.ts"
import { Recording } from "../../chaos/Recording.ts"
import { check, type Verdict } from "../../history/Checker.ts"
import { type Survival, survivals } from "./PowerCutDisk.ts"
import { mount, type PowerCutMount } from "./PowerCutMount.ts"

export interface PowerCutOptions {
  readonly cuts: number
  readonly cutsPerStory: number
  readonly seed: number
  /** `normal` is the control: the store does not sync its log before it confirms. */
  readonly synchronous: "full" | "normal"
  readonly callers: number
  /** Default: all three. */
  readonly survivals?: ReadonlyArray<Survival>
  /** Changes and syncs of a life after which the power goes at the latest; default 1,500. */
  readonly operationsMax?: number
  /** No cut before so many changes and syncs of a life; default 1. */
  readonly cutAtMin?: number
  readonly say: (line: string) => void
}

export interface PowerCutReport {
  readonly cuts: number
  readonly accepted: number
  readonly claimable: number
  readonly verdicts: ReadonlyArray<Verdict>
  readonly explained: ReadonlyArray<string>
  /** Starts that were refused although the disk worked, in the words of the platform. */
  readonly unreadable: ReadonlyArray<string>
  /** What the power met, by kind. */
  readonly operations: Readonly<Record<string, number>>
  readonly seconds: number
}

const settleMs = 60_000
const explainedMax = 10
/** Changes and syncs of a start, about. */
const startOperations = 100
const operationsMaxDefault = 1_500

export const run = async (options: PowerCutOptions): Promise<PowerCutReport> => {
  const startedMs = performance.now()
  const random = Random.make(options.seed)
  const stories: Array<StoryReport> = []
  let done = 0
  while (done < options.cuts) {
    const cuts = Math.min(options.cutsPerStory, options.cuts - done)
    stories.push(await tell(options, random, cuts))
    done += cuts
    options.say(`${done} of ${options.cuts} cuts, ${stories.reduce((sum, { accepted }) => sum + accepted, 0)} accepted`)
  }
  const operations: Record<string, number> = {}
  for (const met of stories.flatMap((story) => story.met)) operations[met] = (operations[met] ?? 0) + 1
  const sum = (of: (story: StoryReport) => number) => stories.reduce((total, story) => total + of(story), 0)
  return {
    cuts: sum(({ met }) => met.length),
    accepted: sum(({ accepted }) => accepted),
    claimable: sum(({ claimable }) => claimable),
    verdicts: stories.flatMap(({ verdicts }) => verdicts),
    explained: stories.flatMap(({ explained }) => explained).slice(0, explainedMax * 20),
    unreadable: stories.flatMap(({ unreadable }) => unreadable),
    operations,
    seconds: (performance.now() - startedMs) / 1000
  }
}

interface StoryReport {
  readonly met: ReadonlyArray<string>
  readonly accepted: number
  readonly claimable: number
  readonly verdicts: ReadonlyArray<Verdict>
  readonly explained: ReadonlyArray<string>
  readonly unreadable: ReadonlyArray<string>
}

interface Place {
  readonly directory: string
  readonly mountPoint: string
  /** What is on the disk while nobody uses it. */
  readonly before: string
  readonly after: string
}

const tell = async (options: PowerCutOptions, random: Random.Random, cuts: number): Promise<StoryReport> => {
  const directory = mkdtempSync(join(tmpdir(), "millrace-power-"))
  const at = (name: string) => join(directory, name)
  const place: Place = { directory, mountPoint: at("disk"), before: at("before"), after: at("after") }
  for (const folder of [place.mountPoint, place.before]) mkdirSync(folder)
  try {
    return await inPlace(options, random, cuts, place)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

interface Life {
  readonly disk: PowerCutMount
  /** Undefined: it did not come to be ready. */
  readonly platform: PlatformLife.PlatformLife | undefined
  readonly complaint: string
}

const begin = async (
  { synchronous }: PowerCutOptions,
  place: Place,
  cutAt: number | undefined,
  survival: Survival,
  seed: number
): Promise<Life> => {
  const { before, after, mountPoint, directory } = place
  rmSync(after, { recursive: true, force: true })
  const disk = await mount({ before, after, mountPoint, cutAt, survival, seed })
  const lifeOptions: PlatformLife.LifeOptions = {
    stateDirectory: join(mountPoint, "state"),
    home: directory,
    durability: "accepted",
    idleWindowMs: 60_000,
    compileCache: PlatformLife.compileCache,
    compactAfterRecords: 200
  }
  const preload = new URL("./normalSync.ts", import.meta.url).href
  const environment = synchronous === "normal" ? { NODE_OPTIONS: `--import=${preload}` } : undefined
  const giveUp = new AbortController()
  void disk.over.finally(() => giveUp.abort()).catch(() => {})
  try {
    return { disk, platform: await PlatformLife.start(lifeOptions, environment, [], giveUp.signal), complaint: "" }
  } catch (error) {
    return { disk, platform: undefined, complaint: String(error) }
  }
}

const inPlace = async (
  options: PowerCutOptions,
  random: Random.Random,
  cuts: number,
  place: Place
): Promise<StoryReport> => {
  const recording = new Recording(place.directory)
  let gatewayUrl = Promise.withResolvers<string>()
  const world: World = { recording, gatewayUrl: () => gatewayUrl.promise, agent: makeAgent() }
  const promised: Array<string> = []
  let isOver = false
  let index = 0
  const caller = async () => {
    while (!isOver) {
      const id = await carryOut(world, { ...planOf(random, index++), leaveAfterMs: undefined })
      if (id !== undefined) promised.push(id)
    }
  }
  const callers = Promise.allSettled(Array.from({ length: options.callers }, caller))
  const met: Array<string> = []
  const unreadable: Array<string> = []

  /** Starts again without the mark that told of the loss, as the refusal itself says one can. */
  const goOnWithLess = () => rmSync(join(place.before, "state/millrace.mark"), { force: true })

  while (met.length < cuts) {
    // Every third cut or so comes while the platform starts.
    const cutAt =
      (options.cutAtMin ?? 1) +
      random.below(random.chance(0.3) ? startOperations : (options.operationsMax ?? operationsMaxDefault))
    const survival = random.pick(options.survivals ?? survivals) ?? "lost"
    const life = await begin(options, place, cutAt, survival, random.below(2 ** 31))
    if (life.platform === undefined && !life.disk.isOver()) {
      await life.disk.unmount()
      unreadable.push(life.complaint)
      options.say(life.complaint)
      if (options.synchronous === "full" || !existsSync(join(place.before, "state/millrace.mark"))) break
      goOnWithLess()
      continue
    }
    if (life.platform !== undefined) gatewayUrl.resolve(life.platform.gatewayUrl)
    const { operation = "nothing" } = await life.disk.over
    // Who waits for the next life waits on where they are.
    if (life.platform !== undefined) gatewayUrl = Promise.withResolvers<string>()
    await life.platform?.kill()
    recording.see({ _tag: "Crashed" })
    await life.disk.unmount()
    rmSync(place.before, { recursive: true, force: true })
    cpSync(place.after, place.before, { recursive: true })
    met.push(`${operation.split(" ")[0]}, ${survival}`)
  }
  isOver = true
  const last = await begin(options, place, undefined, "lost", 0)
  if (last.platform === undefined) {
    unreadable.push(last.complaint)
    options.say(last.complaint)
    gatewayUrl.reject(new Error("there is no next life"))
  } else gatewayUrl.resolve(last.platform.gatewayUrl)
  for (const result of await callers) {
    if (result.status === "rejected" && last.platform !== undefined) throw result.reason
  }
  if (last.platform !== undefined) {
    await Promise.all(promised.map((id) => claimUntilEnded(world, id, settleMs)))
    await last.platform.stop()
  }
  await last.disk.unmount()
  world.agent.destroy()
  // A history that ends in the middle proves nothing; that it does is told.
  const history = last.platform === undefined ? [] : recording.history()
  const { counts, verdicts } = check(history)
  const explained = verdicts.slice(0, explainedMax).flatMap((verdict) => explain(history, verdict))
  const { accepted, claimable } = counts
  return { met, accepted, claimable, verdicts, explained, unreadable }
}
