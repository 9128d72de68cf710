import { assert, describe, it } from "vitest"
import * as ArrivalRate from "./ArrivalRate.ts"

describe("the rate of arrivals", () => {
  const begun = ArrivalRate.first({ nowMs: 1_250, arrivalsTotal: 7, pending: 2, leased: 3 })

  it("begins with what is there, and expects nothing of it", () => {
    assert.deepStrictEqual(begun, {
      atMs: 1_250,
      arrivalsTotal: 7,
      inSystem: 5,
      leased: 3,
      bucket: 2,
      bucketArrivals: 0,
      recent: [],
      serviceMs: 0,
      completions: 0
    })
    const idle = ArrivalRate.first({ nowMs: 0, arrivalsTotal: 0, pending: 0, leased: 0 })
    assert.deepStrictEqual(ArrivalRate.expectation(idle), { perSecond: 0, serviceMs: 0, concurrency: 0 })
  })

  it("half-seconds in which nobody looked are half-seconds in which nothing came, four of them at most", () => {
    const look = (rate: ArrivalRate.ArrivalRate, nowMs: number, arrivalsTotal: number) =>
      ArrivalRate.observe(rate, { nowMs, arrivalsTotal, pending: 0, leased: 0 })
    const [rate, arrived] = look(begun, 1_300, 9)
    assert.deepStrictEqual([arrived, rate.bucketArrivals, rate.recent], [2, 2, []])
    const [later] = look(rate, 2_600, 10)
    assert.deepStrictEqual([later.bucket, later.bucketArrivals, later.recent], [5, 1, [0, 0, 2]])
    assert.deepStrictEqual(look(later, 3_100, 10)[0].recent, [1, 0, 0, 2])
    assert.deepStrictEqual(look(look(later, 3_100, 10)[0], 3_600, 10)[0].recent, [0, 1, 0, 0], "the oldest is gone")
    assert.deepStrictEqual(look(rate, 3_000, 9)[0].recent, [0, 0, 0, 2], "the fourth is still one of them")
    assert.deepStrictEqual(look(later, 60_000, 10)[0].recent, [0, 0, 0, 0])
  })

  it("what ended is what came and is no longer there", () => {
    const [rate] = ArrivalRate.observe(begun, { nowMs: 1_250, arrivalsTotal: 11, pending: 1, leased: 2 })
    assert.deepStrictEqual([rate.completions, rate.inSystem, rate.leased], [6, 3, 2])
  })
})
