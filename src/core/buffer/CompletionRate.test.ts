import { assert, describe, it } from "vitest"
import * as CompletionRate from "./CompletionRate.ts"

const rated = (...times: ReadonlyArray<number>) =>
  times.reduce((rate, atMs) => CompletionRate.add(rate, atMs), CompletionRate.none)

describe("a rate of completions", () => {
  it("is what completed since its window began", () => {
    assert.strictEqual(CompletionRate.perMs(rated(10, 20), 50), 2 / 50)
    assert.strictEqual(CompletionRate.perMs(rated(10, 4_999), 5_000), 2 / 5_000)
  })

  it("is unknown before the first, at the moment of the first, and long after the last", () => {
    assert.isUndefined(CompletionRate.perMs(CompletionRate.none, 5))
    assert.isUndefined(CompletionRate.perMs(rated(6_000), 6_000))
    assert.strictEqual(CompletionRate.perMs(rated(6_000), 16_000), 1 / 10_000)
    assert.isUndefined(CompletionRate.perMs(rated(6_000), 16_001))
  })

  it("counts the window before as well, where that had something and is not long ago", () => {
    // From 5 s on another window begins.
    assert.strictEqual(CompletionRate.perMs(rated(1, 2, 5_000), 10_100), 3 / 10_100)
    assert.strictEqual(CompletionRate.perMs(rated(1, 2, 5_000), 5_010), 3 / 5_010)
    assert.strictEqual(CompletionRate.perMs(rated(1, 2, 9_999), 10_009), 3 / 10_009)
    assert.strictEqual(CompletionRate.perMs(rated(1, 2, 10_000), 10_010), 1 / 10)
    assert.strictEqual(CompletionRate.perMs(rated(6_000), 6_010), 1 / 10)
    assert.strictEqual(CompletionRate.perMs(rated(6_000, 6_001, 11_000), 11_010), 3 / 5_010)
    assert.strictEqual(CompletionRate.perMs(rated(6_000, 6_001, 16_000), 16_010), 1 / 10)
  })

  it("is counted on in place by the edit that made it, and is a copy for any other", () => {
    const first = CompletionRate.add(CompletionRate.none, 10, 7)
    const older = CompletionRate.add(first, 20, 8)
    assert.deepStrictEqual([CompletionRate.none.count, first.count, older.count], [0, 1, 2])
    assert.strictEqual(CompletionRate.add(older, 30, 8), older)
    assert.notStrictEqual(CompletionRate.add(older, 40), older)
    assert.strictEqual(older.count, 3)
  })
})
