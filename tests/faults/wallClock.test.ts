/**
 * The wall clock of the platform and of its workers jumps, stands still or runs away while calls start, run, wait and
 * end: leases, deadlines, what is kept and the scale decisions are those of a run without that.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { carryOut, claimUntilEnded, makeAgent, type Plan, type World } from "../chaos/Caller.ts"
import * as PlatformLife from "../chaos/PlatformLife.ts"
import { Recording } from "../chaos/Recording.ts"
import type { Attempted, ClaimResult } from "../history/History.ts"
import { eventually } from "../support/TestPlatform.ts"
import { asyncPlan } from "./DiskWorld.ts"
import * as Health from "./Health.ts"
import { faketimeEnvironment, faketimeMissing, skipWithout } from "./Tools.ts"

const isSkipped = skipWithout("a wall clock that jumps", faketimeMissing())

const hourSeconds = 3_600
const none = "+0"

/** What a round came to, in everything that a clock could change and nothing that two runs may differ in. */
interface Round {
  readonly results: Readonly<Record<string, string>>
  /** Of all that ran: more than the first attempt would be a lease that was lost. */
  readonly attempts: ReadonlyArray<number>
  readonly instances: number
  readonly decisions: ReadonlyArray<string>
}

describe.skipIf(isSkipped)("a wall clock", () => {
  const directory = mkdtempSync(join(tmpdir(), "millrace-clock-"))
  const stateDirectory = join(directory, "state")
  const clockFile = join(directory, "clock")
  const clock = (text: string) => writeFileSync(clockFile, `${text}\n`)
  const recording = new Recording(directory)
  let life: PlatformLife.PlatformLife
  let world: World
  let count = 0
  let undisturbed: Round
  /** Asked for in every round: it is kept for an hour. */
  let keptId = ""

  beforeAll(async () => {
    clock(none)
    const environment = faketimeEnvironment(clockFile)
    life = await PlatformLife.start(
      {
        stateDirectory,
        home: directory,
        durability: "accepted",
        idleWindowMs: 300,
        compileCache: PlatformLife.compileCache,
        buffer: { visibilityTimeoutMs: 1_500 },
        heartbeatMs: 300,
        environment
      },
      environment
    )
    world = { recording, gatewayUrl: async () => life.gatewayUrl, agent: makeAgent() }
    keptId = String(await carryOut(world, asyncPlan("kept")))
    await claimUntilEnded(world, keptId, 10_000)
    undisturbed = await round(
      () => {},
      () => {}
    )
  }, 60_000)
  afterAll(async () => {
    world?.agent.destroy()
    await life?.kill()
    rmSync(directory, { recursive: true, force: true })
  })

  const textOf = (result: ClaimResult | undefined) =>
    result?.kind === "ended" ? result.terminal : (result?.kind ?? "nobody answered")

  const atZero = () =>
    eventually(
      "nothing runs",
      async () => {
        const items = (await Health.control(stateDirectory, "/v1/instances"))["items"]
        // As the control API answers it.
        const states = (items as ReadonlyArray<{ readonly state: string }>).map(({ state }) => state)
        return states.every((state) => state === "stopped") || undefined
      },
      20_000
    )

  const decisionCount = async () => (await decisions()).length
  const decisions = async () => {
    const { items } = await Health.control(stateDirectory, "/v1/decisions?limit=1000")
    return (
      items as ReadonlyArray<{ readonly from: number; readonly to: number; readonly versionId: string }>
    ).toReversed()
  }

  const round = async (early: () => void, late: () => void): Promise<Round> => {
    await atZero()
    const name = `round-${++count}`
    const before = { decisions: await decisionCount(), instances: recording.instances().length }
    const plan = (item: string, ms: number, path: Plan["path"], deadlineMs?: number) =>
      asyncPlan(`${name} ${item}`, { ms, heedsSignal: true }, { path, deadlineMs })
    const accepted = async (wanted: Plan) => String(await carryOut(world, wanted))
    const first = await accepted(plan("first", 500, "lane", 20_000))
    const tooLate = await accepted(plan("too late", 10, "lane", 400))
    const long = await accepted(plan("longer than its lease", 2_500, "any", 30_000))
    // Both instances are starting.
    early()
    const results: Record<string, string> = { first: textOf(await claimUntilEnded(world, first, 20_000)) }
    // The long one runs.
    late()
    results["too late"] = textOf(await claimUntilEnded(world, tooLate, 20_000))
    results["kept"] = textOf(await claimUntilEnded(world, keptId, 5_000))
    results["longer than its lease"] = textOf(await claimUntilEnded(world, long, 20_000))
    await atZero()
    clock(none)
    const attempted = recording
      .history()
      .filter((entry): entry is Attempted => entry._tag === "Attempted" && entry.item.startsWith(name))
    const made = (await decisions()).slice(before.decisions)
    return {
      results,
      attempts: attempted.map(({ attempt }) => attempt),
      instances: recording.instances().length - before.instances,
      decisions: made.map(({ versionId, from, to }) => `${versionId}: ${from} to ${to}`).sort()
    }
  }

  it("that does nothing leaves a round whose every part ends as it should", () => {
    const { decisions: made, ...rest } = undisturbed
    expect(rest).toEqual({
      results: { first: "answer", "too late": "expired", kept: "answer", "longer than its lease": "answer" },
      attempts: [1, 1],
      instances: 2
    })
    expect(made.length).toBe(4)
  })

  it.each([
    ["jumps an hour ahead and back", `+${hourSeconds}`, none],
    ["jumps an hour back and ahead", `-${hourSeconds}`, none],
    ["runs ten times too fast", "+0 x10", "+0 x10"],
    ["stands still", "2026-01-01 00:00:00", "2026-01-01 00:00:00"]
  ])(
    "that %s changes nothing",
    async (_, early, late) => {
      const disturbed = await round(
        () => clock(early),
        () => clock(late)
      )
      expect(disturbed).toEqual(undisturbed)
    },
    60_000
  )
})
