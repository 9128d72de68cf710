import { assert, describe, it } from "vitest"
import * as StickyMaximum from "./StickyMaximum.ts"

describe("the greatest value of a window", () => {
  it("of nothing that was seen there is none", () => {
    assert.isUndefined(StickyMaximum.highest(StickyMaximum.empty))
    assert.deepStrictEqual(StickyMaximum.expire(StickyMaximum.empty, 5, 1), [])
  })

  it("keeps no zero, because nothing is below it", () => {
    assert.deepStrictEqual(StickyMaximum.seen(StickyMaximum.empty, 0, 5), StickyMaximum.empty)
    const one = StickyMaximum.seen(StickyMaximum.empty, 1, 5)
    assert.deepStrictEqual(StickyMaximum.seen(one, 0, 6), [{ value: 1, atMs: 5 }])
  })
})
