import { assert, describe, it } from "vitest"
import * as StickyMaximum from "./StickyMaximum.ts"

describe("the greatest value of a window", () => {
  it("keeps no zero, because nothing is below it", () => {
    assert.deepStrictEqual(StickyMaximum.seen(StickyMaximum.empty, 0, 5), StickyMaximum.empty)
    const one = StickyMaximum.seen(StickyMaximum.empty, 1, 5)
    assert.deepStrictEqual(StickyMaximum.seen(one, 0, 6), [{ value: 1, atMs: 5 }])
  })
})
