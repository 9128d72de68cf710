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
