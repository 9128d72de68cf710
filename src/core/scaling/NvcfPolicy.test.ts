import { assert, describe, it } from "vitest"
import { lines, tell } from "../../../property-tests/PolicyStory.ts"
import * as NvcfPolicy from "./NvcfPolicy.ts"
import * as NvcfRules from "./NvcfRules.ts"

const countsAtOnce = { ...NvcfPolicy.defaults, countIsSettled: false }

describe("nvcf, word for word", () => {
  it("it looks every 30 s, by the minute that settled, and idles to zero after half an hour", () => {
    const { decisions } = tell(NvcfPolicy.nvcf(), [
      { nowMs: 1000 },
      { nowMs: 30_000 },
      { nowMs: 40_000, leased: 2, arrivalsTotal: 1, ready: 1, desired: 1 },
      { nowMs: 60_000 },
      { nowMs: 90_000 },
      { nowMs: 120_000 },
      { nowMs: 150_000 },
      { nowMs: 180_000 },
      { nowMs: 210_000, leased: 1 },
      { nowMs: 300_000, leased: 0 },
      { nowMs: 330_000 },
      { nowMs: 600_000 },
      { nowMs: 900_000 },
      { nowMs: 2_000_000 },
      { nowMs: 2_400_000 },
      { nowMs: 2_430_000 },
      { nowMs: 2_730_000 }
    ])
    assert.deepStrictEqual(lines(decisions), [
      "0 until ever: 0 instances until the next look, one every 30.0 s",
      "0 until ever: it was never invoked: 0 instances as before",
      "1 until 60000: 1 instance until the next look, one every 30.0 s",
      "1 until 90000: 33.9 % is within 30 to 70 %: 1 instance",
      "1 until 120000: 0 instances counted although 1 were requested, so no decision: 1 instance as before",
      "2 until 150000: 100 % is above 70 %, 1 counted × 1.2: 2 instances",
      "2 until 180000: 100 % is above 70 %, 1 counted × 1.2: 2 instances, which was requested less than 300 s ago: 2 instances as before",
      "2 until 210000: 100 % is above 70 %, 1 counted × 1.2: 2 instances, which was requested less than 300 s ago: 2 instances as before",
      "2 until 240000: 100 % is above 70 %, 1 counted × 1.2: 2 instances, which was requested less than 300 s ago: 2 instances as before",
      "1 until 330000: 50 % is within 30 to 70 %: 1 instance",
      "1 until 360000: 28.57 % is below 30 %, 1 counted × 0.8: 1 instance, which was requested less than 300 s ago: 1 instance as before",
      "1 until 630000: 0 % is below 30 %, 1 counted × 0.8: 1 instance",
      "1 until 930000: 0 % is below 30 %, 1 counted × 0.8: 1 instance",
      "1 until 2010000: 1 instance until the next look, one every 30.0 s",
      "0 until 2430000: not invoked for 2360 s, and a mean of 0 % is below 30 %: 0 instances",
      "0 until 2460000: not invoked for 2390 s, and a mean of 0 % is below 30 %: 0 instances, which was requested less than 300 s ago: 0 instances as before",
      "0 until 2760000: not invoked for 2690 s, and a mean of 0 % is below 30 %: 0 instances"
    ])
    assert.deepStrictEqual(decisions[0]?.inputs, { desired: 0, loopIntervalMs: 30000 })
    assert.deepStrictEqual(decisions[7]?.inputs, {
      desired: 2,
      current: 1,
      ready: 1,
      newestPercent: 100,
      meanPercent: 80.12919616699219,
      samples: 3,
      requested: 2,
      rule: "up",
      answer: 2,
      upPercent: 70,
      upFactor: 1.2,
      downPercent: 30,
      downFactor: 0.8,
      idleTimeoutMs: 1800000,
      sinceInvokedMs: 140000,
      requestedTtlMs: 300000
    })
    assert.deepStrictEqual(decisions[9]?.inputs, {
      desired: 2,
      current: 1,
      ready: 1,
      newestPercent: 50,
      meanPercent: 72.50138854980469,
      samples: 5,
      requested: 2,
      rule: "rest",
      answer: 1,
      upPercent: 70,
      upFactor: 1.2,
      downPercent: 30,
      downFactor: 0.8,
      idleTimeoutMs: 1800000,
      sinceInvokedMs: 260000
    })
  })

  it("what runs and was never invoked is ended, and that is requested once in 5 minutes", () => {
    const { decisions } = tell(NvcfPolicy.nvcf(), [
      { nowMs: 1000 },
      { nowMs: 2000, ready: 1 },
      { nowMs: 90_000 },
      { nowMs: 150_000 },
      { nowMs: 180_000, leased: "unknown" },
      { nowMs: 210_000, leased: 0, ready: 0 },
      { nowMs: 420_000 },
      { nowMs: 450_000 },
      { nowMs: 480_000 },
      { nowMs: 1_500_000 },
      { nowMs: 1_530_000 }
    ])
    assert.deepStrictEqual(lines(decisions), [
      "0 until ever: 0 instances until the next look, one every 30.0 s",
      "0 until 30000: 0 instances until the next look, one every 30.0 s",
      "0 until 120000: it was never invoked: 0 instances as before",
      "0 until 180000: never invoked, and a mean of 0 % is below 30 %: 0 instances",
      "0 until 210000: the utilisation or the invocations are unknown: 0 instances as before",
      "0 until 240000: never invoked, and a mean of 0 % is below 30 %: 0 instances, which was requested less than 300 s ago: 0 instances as before",
      "0 until 450000: never invoked, and a mean of 0 % is below 30 %: 0 instances, which was requested less than 300 s ago: 0 instances as before",
      "0 until 480000: never invoked, and a mean of 0 % is below 30 %: 0 instances",
      "0 until 510000: never invoked, and a mean of 0 % is below 30 %: 0 instances, which was requested less than 300 s ago: 0 instances as before",
      "0 until ever: it was never invoked: 0 instances as before",
      "0 until ever: it was never invoked: 0 instances as before"
    ])
    assert.deepStrictEqual(decisions[2]?.inputs, { desired: 0, current: 0 })
    assert.deepStrictEqual(decisions[3]?.inputs, {
      desired: 0,
      current: 1,
      ready: 1,
      newestPercent: 0,
      meanPercent: 0,
      samples: 3,
      requested: null,
      rule: "zero",
      answer: 0,
      upPercent: 70,
      upFactor: 1.2,
      downPercent: 30,
      downFactor: 0.8,
      idleTimeoutMs: 1800000,
      sinceInvokedMs: null
    })
    assert.deepStrictEqual(decisions[4]?.inputs, { desired: 0, leased: "unknown", arrivalsTotal: 0 })
    assert.deepStrictEqual(decisions[5]?.inputs, {
      desired: 0,
      current: 1,
      ready: 0,
      newestPercent: 0,
      meanPercent: 0,
      samples: 4,
      requested: 0,
      rule: "zero",
      answer: 0,
      upPercent: 70,
      upFactor: 1.2,
      downPercent: 30,
      downFactor: 0.8,
      idleTimeoutMs: 1800000,
      sinceInvokedMs: null,
      requestedTtlMs: 300000
    })
  })

  it("counted at once, a zero that was not requested is no decision", () => {
    const { decisions } = tell(NvcfPolicy.nvcf({ ...NvcfPolicy.defaults, countIsSettled: false }), [
      { nowMs: 1000, ready: 1, desired: 1 },
      { nowMs: 30_000, arrivalsTotal: "unknown" },
      { nowMs: 60_000, arrivalsTotal: 5 },
      { nowMs: 90_000, ready: 0 }
    ])
    assert.deepStrictEqual(lines(decisions), [
      "1 until 30000: 1 instance until the next look, one every 30.0 s",
      "1 until 60000: the utilisation or the invocations are unknown: 1 instance as before",
      "1 until 90000: 0 % is below 30 %, 1 counted × 0.8: 1 instance",
      "1 until 120000: 0 instances counted although 1 were requested, so no decision: 1 instance as before"
    ])
    assert.deepStrictEqual(decisions[3]?.inputs, {
      desired: 1,
      current: 0,
      ready: 0,
      newestPercent: 0,
      meanPercent: 0,
      samples: 2,
      requested: 1,
      rule: "stale-zero",
      answer: null,
      upPercent: 70,
      upFactor: 1.2,
      downPercent: 30,
      downFactor: 0.8,
      idleTimeoutMs: 1800000,
      sinceInvokedMs: 30000
    })
  })

  it("within its thresholds it rests, and sticky it waits for more than one sample", () => {
    const { decisions } = tell(
      NvcfPolicy.nvcf({
        ...NvcfPolicy.defaults,
        up: { thresholdPercent: 70, factor: 1.5, stickiness: { sizeMs: 180_000, thresholdMs: 120_000 } }
      }),
      [
        { nowMs: 0, ready: 4, desired: 4, leased: 4, arrivalsTotal: 9 },
        { nowMs: 90_000 },
        { nowMs: 150_000 },
        { nowMs: 180_000, leased: 8 },
        { nowMs: 240_000, pending: 3 },
        { nowMs: 270_000 },
        { nowMs: 300_000 },
        { nowMs: 330_000 }
      ]
    )
    assert.deepStrictEqual(lines(decisions), [
      "4 until 30000: 4 instances until the next look, one every 30.0 s",
      "4 until 120000: 50 % is within 30 to 70 %: 4 instances",
      "4 until 180000: 50 % is within 30 to 70 %: 4 instances, which was requested less than 300 s ago: 4 instances as before",
      "4 until 210000: 50 % is within 30 to 70 %: 4 instances, which was requested less than 300 s ago: 4 instances as before",
      "4 until 270000: 92.86 % is not for long enough outside of 30 to 70 %: 4 instances, which was requested less than 300 s ago: 4 instances as before",
      "6 until 300000: enough samples are above 70 %, the newest is 100 %, 4 counted × 1.5: 6 instances",
      "6 until 330000: enough samples are above 70 %, the newest is 100 %, 4 counted × 1.5: 6 instances, which was requested less than 300 s ago: 6 instances as before",
      "6 until 360000: enough samples are above 70 %, the newest is 100 %, 4 counted × 1.5: 6 instances, which was requested less than 300 s ago: 6 instances as before"
    ])
  })

  it("nothing that is left and was not invoked for long needs no further look", () => {
    const { decisions } = tell(NvcfPolicy.nvcf(countsAtOnce), [
      { nowMs: 0, arrivalsTotal: 5, ready: 1, desired: 1 },
      { nowMs: 1_000, ready: 0, desired: 0 },
      { nowMs: 900_000 },
      { nowMs: 2_400_000 },
      { nowMs: 2_430_000 }
    ])
    const idle = "and a mean of 0 % is below 30 %: 0 instances"
    assert.deepStrictEqual(lines(decisions), [
      "1 until 30000: 1 instance until the next look, one every 30.0 s",
      "0 until 30000: 0 instances until the next look, one every 30.0 s",
      "1 until 930000: no sample of utilisation, 0 counted: 1 instance",
      `0 until ever: not invoked for 2400 s, ${idle}`,
      `0 until ever: not invoked for 2430 s, ${idle}, which was requested less than 300 s ago: 0 instances as before`
    ])
  })

  it("what still drains is looked at again, however long nothing was invoked", () => {
    const { decisions } = tell(NvcfPolicy.nvcf(countsAtOnce), [
      { nowMs: 0, arrivalsTotal: 5, ready: 1, desired: 1 },
      { nowMs: 1_000, ready: 0, draining: 1, desired: 0 },
      { nowMs: 2_400_000 }
    ])
    assert.deepStrictEqual(lines(decisions.slice(-1)), [
      "0 until 2430000: not invoked for 2400 s, and a mean of 0 % is below 30 %: 0 instances"
    ])
  })

  it("a look on time has heard of what began since the last one", () => {
    const { decisions } = tell(NvcfPolicy.nvcf(countsAtOnce), [
      { nowMs: 0, arrivalsTotal: 5, ready: 1, desired: 1 },
      { nowMs: 30_000, arrivalsTotal: 5 },
      { nowMs: 60_000, arrivalsTotal: 6 }
    ])
    assert.deepStrictEqual(
      decisions.map(({ inputs }) => inputs["sinceInvokedMs"]),
      [undefined, 30_000, 0]
    )
  })

  it("a threshold itself is within, and one sample beyond a sticky one is not for long enough", () => {
    const up = { thresholdPercent: 50, factor: 1.5, stickiness: null }
    const down = { thresholdPercent: 30, factor: 0.8, stickiness: { sizeMs: 180_000, thresholdMs: 120_000 } }
    const { decisions } = tell(NvcfPolicy.nvcf({ ...countsAtOnce, up, down }), [
      { nowMs: 0, arrivalsTotal: 5, ready: 4, desired: 4, leased: 4 },
      { nowMs: 90_000 },
      { nowMs: 120_000, leased: 0 },
      { nowMs: 180_000 },
      { nowMs: 240_000 }
    ])
    const before = "which was requested less than 300 s ago: 4 instances as before"
    assert.deepStrictEqual(lines(decisions), [
      "4 until 30000: 4 instances until the next look, one every 30.0 s",
      "4 until 120000: 50 % is within 30 to 50 %: 4 instances",
      `4 until 150000: 50 % is within 30 to 50 %: 4 instances, ${before}`,
      `4 until 210000: 7.14 % is not for long enough outside of 30 to 50 %: 4 instances, ${before}`,
      "3 until 270000: enough samples are below 30 %, the newest is 0 %, 4 counted × 0.8: 3 instances"
    ])
  })

  it("what waits or runs at its first look was invoked then, and nothing else was", () => {
    const since = (first: object) => {
      const looks = [
        { nowMs: 0, arrivalsTotal: 1, ...first },
        { nowMs: 30_000, pending: 0, leased: 0, ready: 1 }
      ]
      return tell(NvcfPolicy.nvcf(countsAtOnce), looks).decisions[1]?.inputs["sinceInvokedMs"]
    }
    const looks = [
      { pending: 1 },
      { leased: 1 },
      { pending: "unknown", leased: 1 },
      { pending: 1, leased: "unknown" },
      {}
    ]
    assert.deepStrictEqual(looks.map(since), [30_000, 30_000, 30_000, 30_000, null])
  })

  it("its memory is long enough for the count of five minutes before the settled one", () => {
    const shape = NvcfPolicy.shapeOf({ loopIntervalMs: 30_000, utilizationWindowMs: 60_000, lookbackMs: 60_000 })
    assert.deepStrictEqual(shape, { bucketMs: 30_000, bucketsKept: 15 })
  })

  it("stickiness of less than a sample is none", () => {
    const up = { thresholdPercent: 70, factor: 2, stickiness: { sizeMs: 30_000, thresholdMs: 60_000 } }
    const figures = { samples: [100, 0], current: 4, isRecentlyInvoked: true, requested: null }
    assert.strictEqual(NvcfRules.decide({ ...NvcfPolicy.defaults, up }, figures).rule, "down")
  })

  it("more buckets than it may keep are refused", () => {
    const fine = { ...NvcfPolicy.defaults, loopIntervalMs: 7_001 }
    assert.throws(() => NvcfPolicy.nvcf(fine), "670001 buckets of 1 ms are too many")
  })
})

describe("nvcf", () => {
  it("takes a count of arrivals that began anew at nothing for no invocation", () => {
    const { decisions } = tell(NvcfPolicy.nvcf(), [
      { nowMs: 30_000, leased: 1, arrivalsTotal: 7, ready: 1, desired: 1 },
      { nowMs: 150_000, arrivalsTotal: 0 },
      { nowMs: 180_000 },
      { nowMs: 210_000, arrivalsTotal: 1 },
      { nowMs: 240_000 }
    ])
    assert.deepStrictEqual(
      decisions.slice(1).map(({ inputs }) => inputs.sinceInvokedMs),
      [120_000, 150_000, 0, 30_000]
    )
  })

  it("at a beat that nobody looked at has not heard of what came after it", () => {
    const { decisions } = tell(NvcfPolicy.nvcf(countsAtOnce), [
      { nowMs: 0 },
      { nowMs: 31_000, pending: 1, arrivalsTotal: 1 },
      { nowMs: 60_000 }
    ])
    assert.deepStrictEqual(
      decisions.map(({ desired }) => desired),
      [0, 0, 1]
    )
  })

  it("counts the slots of what drains, which still works", () => {
    const { decisions } = tell(NvcfPolicy.nvcf(countsAtOnce), [
      { nowMs: 0, arrivalsTotal: 1, leased: 2, ready: 1, draining: 1, desired: 1 },
      { nowMs: 120_000 }
    ])
    assert.strictEqual(decisions[1]?.inputs["newestPercent"], 50)
  })

  it("takes arrivals that are told again after they were not for no invocation", () => {
    const { decisions } = tell(NvcfPolicy.nvcf(countsAtOnce), [
      { nowMs: 0, arrivalsTotal: 5, ready: 1, desired: 1 },
      { nowMs: 10_000, arrivalsTotal: "unknown" },
      { nowMs: 60_000, arrivalsTotal: 5 }
    ])
    assert.strictEqual(decisions[2]?.inputs["sinceInvokedMs"], 60_000)
  })

  it("takes what starts when arrivals are told for the first time for invoked then", () => {
    const { memory } = tell(NvcfPolicy.nvcf(countsAtOnce), [
      { nowMs: 0, arrivalsTotal: "unknown" },
      { nowMs: 1_000, arrivalsTotal: 0, starting: 1, desired: 0 }
    ])
    assert.strictEqual(memory.invokedAtMs, 1_000)
  })

  it("looks on while the invocations are unknown, though nothing is there", () => {
    const { decisions } = tell(NvcfPolicy.nvcf(countsAtOnce), [
      { nowMs: 0 },
      { nowMs: 30_000, arrivalsTotal: "unknown" }
    ])
    assert.deepStrictEqual(
      decisions.map(({ wakeAtMs }) => wakeAtMs),
      [null, 60_000]
    )
  })

  it("goes to zero as soon as the last invocation is as old as the idle time and the window of the query", () => {
    const { decisions } = tell(NvcfPolicy.nvcf({ ...countsAtOnce, idleTimeoutMs: 300_000 }), [
      { nowMs: 0, arrivalsTotal: 1, ready: 1, desired: 1 },
      { nowMs: 570_000 },
      { nowMs: 600_000 }
    ])
    assert.deepStrictEqual(
      decisions.map(({ desired, inputs }) => [desired, inputs["rule"]]),
      [
        [1, undefined],
        [1, "down"],
        [0, "zero"]
      ]
    )
  })

  it("rests at the lower threshold itself, by the newest sample and by the mean of all", () => {
    const figures = { samples: [30], current: 4, isRecentlyInvoked: false, requested: null }
    assert.deepStrictEqual(NvcfRules.decide(NvcfPolicy.defaults, figures), { desired: 4, rule: "rest", mean: 30 })
    const down = { thresholdPercent: 50, factor: 0.8, stickiness: null }
    const { decisions } = tell(NvcfPolicy.nvcf({ ...countsAtOnce, down }), [
      { nowMs: 0, arrivalsTotal: 1, leased: 1, ready: 1, desired: 1 },
      { nowMs: 120_000 }
    ])
    assert.strictEqual(lines(decisions)[1], "1 until 150000: 50 % is within 50 to 70 %: 1 instance")
  })

  it("weighs the newest sample with 1, however fast the older ones fade", () => {
    assert.strictEqual(NvcfRules.weightedMean([10, 20], 60), 20)
  })
})
