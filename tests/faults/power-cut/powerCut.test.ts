/**
 * The small form of `npm run chaos -- power-cut`, with the control that shows that it would notice.
 */
import { describe, expect, it } from "vitest"
import { skipWithout } from "../Tools.ts"
import { fuseMissing } from "./Fuse.ts"
import * as PowerCuts from "./PowerCuts.ts"

const isSkipped = skipWithout("a disk whose power is cut", fuseMissing())
const seed = Number(process.env["MILLRACE_SEED"] ?? Date.now() % 1_000_000)
const small = { cutsPerStory: 10, seed, callers: 8, operationsMax: 500, say: () => {} }

describe.skipIf(isSkipped)(`power cuts at random operations (seed ${seed})`, () => {
  it("lose nothing that was promised, double nothing and leave a store that opens", async () => {
    const report = await PowerCuts.run({ ...small, cuts: 10, synchronous: "full" })
    expect(report.unreadable).toEqual([])
    expect(report.explained).toEqual([])
    expect(report.cuts).toBe(10)
    expect(report.accepted).toBeGreaterThan(10)
    expect(report.claimable).toBe(report.accepted)
  }, 120_000)

  it("are noticed when the store does not sync before it confirms: the control loses", async () => {
    let lost = 0
    // On a machine that is slow enough a checkpoint can come between every commit and the cut.
    for (let tries = 0; tries < 4 && lost === 0; tries++) {
      const control = { ...small, seed: seed + tries, survivals: ["lost"] as const, cutAtMin: 300 }
      const report = await PowerCuts.run({ ...control, cuts: 2, synchronous: "normal" })
      lost = report.verdicts.filter(({ law }) => law === "lost").length
    }
    expect(lost).toBeGreaterThan(0)
  }, 120_000)
})
