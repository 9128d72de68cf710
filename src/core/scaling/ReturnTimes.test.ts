/** How long a need is waited for, told by a few returns. */
import { assert, describe, it } from "vitest"
import * as ReturnTimes from "./ReturnTimes.ts"

/** Four instances that took 10 s to start, and then a need of four that ends and returns after these times. */
const returned = (returnsMs: ReadonlyArray<number>, idleWindowMs: number): ReturnTimes.ReturnTimes => {
  const look = (nowMs: number, need: number, ready: number): ReturnTimes.Look => ({
    nowMs,
    need,
    ready,
    starting: 4 - ready,
    idleWindowMs
  })
  let nowMs = 10_000
  let times = ReturnTimes.observe(ReturnTimes.observe(ReturnTimes.empty, look(0, 4, 0)), look(nowMs, 4, 4))
  for (const returnMs of returnsMs) {
    times = ReturnTimes.observe(times, look(nowMs + 1_000, 1, 4))
    nowMs += 1_000 + returnMs
    times = ReturnTimes.observe(times, look(nowMs, 4, 4))
  }
  return times
}
const stayMs = (returnMs: number, idleWindowMs: number): number =>
  ReturnTimes.stayMs(returned(new Array<number>(5).fill(returnMs), idleWindowMs), 4, idleWindowMs)

describe("the stay after a need", () => {
  it("is as long as the latest return of its kind, and no longer", () => {
    assert.deepStrictEqual([stayMs(300, 60_000), stayMs(3_000, 60_000), stayMs(5_000, 60_000)], [2_848, 4_271, 6_407])
    assert.deepStrictEqual([stayMs(2_848, 60_000), stayMs(2_849, 60_000)], [2_848, 4_271], "at its bound, and beyond")
  })

  it("is the shortest where the need returns after the idle window, however dear a start is", () => {
    assert.strictEqual(stayMs(15_000, 10_000), 2_848)
    assert.strictEqual(stayMs(15_000, 60_000), 21_624)
  })

  it("is the shortest where the need returns later than all that is told apart", () => {
    assert.strictEqual(stayMs(90_000_000, 200_000_000), 2_848)
    // One that returns in time to be worth the wait does not outweigh five that do not.
    const late = new Array<number>(5).fill(90_000_000)
    assert.strictEqual(ReturnTimes.stayMs(returned([...late, 40_000], 200_000_000), 4, 200_000_000), 2_848)
  })

  it("is the whole idle window after few returns", () => {
    assert.strictEqual(ReturnTimes.stayMs(returned([3_000, 3_000, 3_000], 60_000), 4, 60_000), 60_000)
  })
})

describe("the time of a start", () => {
  const look = (nowMs: number, ready: number, starting: number): ReturnTimes.Look => ({
    nowMs,
    need: 2,
    ready,
    starting,
    idleWindowMs: 60_000
  })
  const startMs = (...looks: ReadonlyArray<ReturnTimes.Look>) =>
    looks.reduce(ReturnTimes.observe, ReturnTimes.empty).startMs

  it("is the time that instances were starting, however often somebody looked, over those that became ready", () => {
    assert.strictEqual(startMs(look(0, 0, 2), look(3_000, 0, 2), look(8_000, 2, 0)), 8_000)
    assert.strictEqual(startMs(look(0, 0, 2), look(8_000, 2, 0)), 8_000)
  })

  it("counts from anew once an instance is ready, and an earlier start fades by a 64th with each later one", () => {
    const first = [look(0, 0, 1), look(10_000, 1, 0)]
    assert.strictEqual(startMs(...first), 10_000)
    const second = startMs(...first, look(20_000, 1, 1), look(94_000, 2, 0))
    assert.closeTo(second ?? 0, 10_000 + (74_000 - 10_000) / 64, 1e-9)
  })

  it("is not told by instances that were there at the first look, or became ready while nobody looked", () => {
    assert.isNull(startMs(look(0, 3, 0), look(5_000, 3, 0)))
    const begun = ReturnTimes.observe(ReturnTimes.empty, look(0, 0, 2))
    const known = ReturnTimes.observe(ReturnTimes.interrupted(begun), look(9_000, 2, 0))
    assert.isNull(known.startMs)
  })
})

describe("the bands of a need", () => {
  const bandsOf = (need: number) => {
    const look = { nowMs: 0, need, ready: 0, starting: 0, idleWindowMs: 60_000 }
    return ReturnTimes.observe(ReturnTimes.empty, look).bands.length
  }

  it("are one for each need from two to five and one below, then each a quarter larger than the one before", () => {
    const needs = [2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 1_000_000]
    assert.deepStrictEqual(needs.map(bandsOf), [2, 3, 4, 5, 5, 6, 7, 7, 8, 8, 9, 59])
  })

  it("are none where no more than one was ever needed: it stays for the whole window", () => {
    assert.deepStrictEqual([0, 1].map(bandsOf), [0, 0])
  })
})
