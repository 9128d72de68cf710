import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as Redelivery from "../src/core/request/Redelivery.ts"
import { upholds } from "./upholds.ts"

const seed = fc.oneof(fc.constantFrom(0, 1, 0xffff_ffff), fc.nat({ max: 0xffff_ffff }))
const attempt = fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5_000 }))
const limits = fc.record({
  redeliveryDelayMs: fc.integer({ min: 0, max: 10_000 }),
  redeliveryDelayMaxMs: fc.integer({ min: 0, max: 60_000 })
})
const own = fc.record({
  delayMs: fc.integer({ min: 0, max: 10_000 }),
  delayMaxMs: fc.integer({ min: 0, max: 60_000 }),
  seed
})

describe("redelivery", () => {
  it("R1: the delay is between half and the whole of the exponential one, which is bounded", () => {
    upholds(
      fc.property(fc.option(own, { nil: undefined }), attempt, limits, (redelivery, attempt, limits) => {
        const delayMs = Redelivery.delayMs(redelivery === undefined ? {} : { redelivery }, attempt, limits)
        const firstMs = redelivery?.delayMs ?? limits.redeliveryDelayMs
        const maxMs = redelivery?.delayMaxMs ?? limits.redeliveryDelayMaxMs
        let wholeMs = firstMs
        for (let lost = 1; lost < attempt && wholeMs < maxMs && wholeMs > 0; lost++) wholeMs *= 2
        wholeMs = Math.min(wholeMs, maxMs)
        if (redelivery === undefined) assert.strictEqual(delayMs, wholeMs)
        assert.isAtMost(delayMs, wholeMs)
        assert.isAtLeast(delayMs, Math.floor(wholeMs / 2))
        assert.isTrue(Number.isInteger(delayMs))
      })
    )
  })

  it("R2: the same request and attempt give the same delay", () => {
    upholds(
      fc.property(own, attempt, limits, (redelivery, attempt, limits) => {
        const once = Redelivery.delayMs({ redelivery }, attempt, limits)
        assert.strictEqual(Redelivery.delayMs({ redelivery: { ...redelivery } }, attempt, limits), once)
      })
    )
  })

  it("R3: over a thousand seeds in a row no tenth of the range has less than half or more than twice its share", () => {
    upholds(
      fc.property(seed, fc.integer({ min: 1, max: 8 }), (first, attempt) => {
        const tenths = new Array<number>(10).fill(0)
        for (let index = 0; index < 1_000; index++) {
          const redelivery = { delayMs: 1_000_000, delayMaxMs: 1_000_000, seed: (first + index) >>> 0 }
          const delayMs = Redelivery.delayMs({ redelivery }, attempt, { redeliveryDelayMs: 0, redeliveryDelayMaxMs: 0 })
          const tenth = Math.min(9, Math.floor((delayMs - 500_000) / 50_000))
          tenths[tenth] = (tenths[tenth] ?? 0) + 1
        }
        for (const count of tenths) assert.isTrue(count >= 50 && count <= 200, tenths.join(" "))
      })
    )
  })
})
