import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { PositionIndex } from "./PositionIndex.ts"

describe("the index of positions", () => {
  it("I1: answers the nearest that were noted, whatever their order, and none that were dropped", () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 60 })),
        fc.nat({ max: 70 }),
        fc.nat({ max: 60 }),
        (noted, position, dropped) => {
          const index = new PositionIndex()
          for (const at of noted) index.note(at, at * 2)
          index.dropBefore(dropped * 2)
          const left = noted.filter((at) => at >= dropped)
          const before = Math.max(...left.filter((at) => at <= position))
          const after = Math.min(...left.filter((at) => at > position))
          const found = index.around(position)
          assert.strictEqual(found.before?.position ?? Number.NEGATIVE_INFINITY, before)
          assert.strictEqual(found.after?.position ?? Number.POSITIVE_INFINITY, after)
          if (found.before !== undefined) assert.strictEqual(found.before.sequence, before * 2)
        }
      )
    )
  })

  it("I2: a long log is still known from end to end", () => {
    const index = new PositionIndex()
    for (let at = 0; at < 100_000; at++) index.note(at, at + 1)
    assert.strictEqual(index.around(0).before?.sequence, 1)
    assert.isAbove(index.around(99_999).before?.position ?? 0, 99_000)
    const { before, after } = index.around(50_000)
    assert.isAtMost((after?.position ?? Number.POSITIVE_INFINITY) - (before?.position ?? 0), 100)
  })

  it("I3: begins no more than a few messages before the one that holds the position", () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 60 })), fc.nat({ max: 60 }), (noted, position) => {
        const index = new PositionIndex()
        // Each batch holds three records.
        for (const batch of noted) index.note(batch * 3, batch + 1)
        const start = index.startOf(position)
        const holding = Math.floor(position / 3) + 1
        if (noted.includes(holding - 1) && position % 3 === 0) assert.strictEqual(start, holding)
        if (start === undefined) return
        assert.isAtMost(start, holding)
        assert.isAtMost(holding - start, 4)
      })
    )
  })
})
