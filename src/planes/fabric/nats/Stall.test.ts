import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as Stall from "./Stall.ts"

const limitMs = 100

/** What is seen at this moment; `lastDeliveryMs`: as the consumer remembers it. */
const look = (
  nowMs: number,
  lastDeliveryMs: number,
  seen: { pending?: number; hasRoom?: boolean } = {}
): Stall.Look => ({
  nowMs,
  lastDeliveryMs,
  pendingCount: seen.pending ?? 1,
  hasRoom: seen.hasRoom ?? true
})

/** Whether a consumer was found to be stalled at any of these looks. */
const isFound = (looks: ReadonlyArray<Stall.Look>): boolean => {
  let since: number | undefined
  return looks.some((one) => {
    since = Stall.since(since, one)
    return Stall.isStalled(since, one.nowMs, limitMs)
  })
}

describe("a consumer that is looked at from time to time", () => {
  it("is not stalled by the first message after a long silence, however long that was", () => {
    assert.isFalse(isFound([look(0, 0, { pending: 0 }), look(1_000_000, 0)]))
  })

  it("is stalled when something waited, there was room and nothing came, at every look for so long", () => {
    assert.isFalse(isFound([look(1_000, 0), look(1_050, 0), look(1_099, 0)]))
    assert.isTrue(isFound([look(1_000, 0), look(1_050, 0), look(1_100, 0)]))
  })

  it("begins anew with a delivery, with an empty queue, and when it is full", () => {
    assert.isFalse(isFound([look(1_000, 0), look(1_060, 1_050), look(1_120, 1_050)]))
    assert.isFalse(isFound([look(1_000, 0), look(1_060, 0, { pending: 0 }), look(1_120, 0)]))
    assert.isFalse(isFound([look(1_000, 0), look(1_060, 0, { hasRoom: false }), look(1_120, 0)]))
  })

  it("is never found to be stalled while it delivers more often than that, and always when it never does", () => {
    const gaps = fc.array(fc.integer({ min: 1, max: limitMs - 1 }), { minLength: 1, maxLength: 30 })
    fc.assert(
      fc.property(gaps, fc.boolean(), (gaps, delivers) => {
        let nowMs = 0
        const looks = gaps.map((gap) => {
          nowMs += gap
          // Just before the look; the first is the first that is ever seen of it.
          return look(nowMs, delivers ? nowMs - 0.5 : -1)
        })
        const lastedMs = nowMs - (gaps[0] ?? 0)
        assert.strictEqual(isFound(looks), !delivers && lastedMs >= limitMs)
      })
    )
  })
})
