/**
 * The small form of `npm run chaos -- kill`, with the control that shows that it would notice.
 */
import { describe, expect, it } from "vitest"
import * as Kills from "./Kills.ts"

const seed = Number(process.env["MILLRACE_SEED"] ?? Date.now() % 1_000_000)
const small = { requests: 150, kills: 6, seed, callers: 16, say: () => {} }

describe(`random kills (seed ${seed})`, () => {
  it("lose nothing that was promised and double nothing", async () => {
    const report = await Kills.run({ ...small, durability: "accepted" })
    expect(report.explained).toEqual([])
    expect(report.counts.accepted).toBeGreaterThan(50)
    expect(report.counts.claimable).toBe(report.counts.accepted)
    expect(Object.values(report.killed).reduce((sum, count) => sum + count)).toBe(small.kills)
  }, 90_000)

  it("are noticed when nothing is written: the control loses", async () => {
    // The platform itself is killed in the middle, whatever else is.
    const report = await Kills.run({ ...small, durability: "memory", kills: 3, victims: ["platform"] })
    expect(report.verdicts.filter(({ law }) => law === "lost").length).toBeGreaterThan(0)
    expect(report.counts.crashes).toBe(3)
  }, 90_000)
})
