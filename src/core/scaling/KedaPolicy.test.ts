import { assert, describe, it } from "vitest"
import { lines, tell } from "../../../property-tests/PolicyStory.ts"
import * as KedaPolicy from "./KedaPolicy.ts"

describe("keda, word for word", () => {
  it("a poll activates, syncs scale, and a cooldown ends it", () => {
    const { decisions } = tell(KedaPolicy.keda(), [
      { nowMs: 1000 },
      { nowMs: 2000, pending: 1 },
      { nowMs: 30_000, pending: 5 },
      { nowMs: 45_000, ready: 1, starting: 2, leased: 4, pending: 6 },
      { nowMs: 60_000, pending: "unknown" },
      { nowMs: 75_000, pending: 0, leased: 0, ready: 3, starting: 0 },
      { nowMs: 330_000 },
      { nowMs: 360_001 },
      { nowMs: 390_000 },
      { nowMs: 420_000 },
      { nowMs: 450_000, ready: 0 }
    ])
    assert.deepStrictEqual(lines(decisions), [
      "0 until ever: 0 instances until the next look: a poll every 30.0 s, a sync every 15.0 s",
      "0 until 15000: 0 instances until the next look: a poll every 30.0 s, a sync every 15.0 s",
      "1 until 45000: 5 requests, more than 0, activate 1 instance",
      "5 until 60000: 10 requests at a threshold of 2: 5 instances recommended",
      "5 until 75000: the metric is unknown: 5 instances kept as they are",
      "5 until 90000: 0 requests at a threshold of 2: 0 instances recommended, 5 in the window of 300 s",
      "5 until 345000: 0 requests at a threshold of 2: 0 instances recommended, 5 in the window of 300 s",
      "0 until 375000: not active for more than 300 s, the cooldown",
      "0 until 405000: 0 instances until the next look: a poll every 30.0 s, a sync every 15.0 s",
      "0 until 435000: 0 instances until the next look: a poll every 30.0 s, a sync every 15.0 s",
      "0 until ever: 0 instances until the next look: a poll every 30.0 s, a sync every 15.0 s"
    ])
    assert.deepStrictEqual(decisions[0]?.inputs, { desired: 0, pollingIntervalMs: 30000, syncIntervalMs: 15000 })
    assert.deepStrictEqual(decisions[2]?.inputs, {
      load: 5,
      desired: 0,
      activationThreshold: 0,
      cooldownMs: 300000,
      minInstances: 0
    })
    assert.deepStrictEqual(decisions[3]?.inputs, {
      load: 10,
      threshold: 2,
      existing: 3,
      desired: 1,
      ratio: 1.6666666666666667,
      recommended: 5,
      stabilized: 5,
      replicas: 5,
      limitUp: 5,
      limitDown: 0,
      tolerance: 0.1,
      stabilizationDownMs: 300000,
      stabilizationUpMs: 0
    })
    assert.deepStrictEqual(decisions[4]?.inputs, { load: "unknown", desired: 5 })
    assert.deepStrictEqual(decisions[7]?.inputs, {
      load: 0,
      desired: 1,
      activationThreshold: 0,
      cooldownMs: 300000,
      minInstances: 0
    })
  })

  it("up to the threshold of its activation it stays at zero, and a minimum is what it activates", () => {
    const { decisions } = tell(
      KedaPolicy.keda({ ...KedaPolicy.defaults, activationThreshold: 2, threshold: 4, cooldownMs: 20_000 }),
      [
        { nowMs: 1000, spec: { minInstances: 2, maxInstances: 5, concurrency: 2, idleWindowMs: 10_000 } },
        { nowMs: 30_000, pending: 2 },
        { nowMs: 60_000, leased: 1 },
        { nowMs: 90_000, pending: 40 },
        { nowMs: 105_000, ready: 2 },
        { nowMs: 120_000, pending: 0, leased: 0 },
        { nowMs: 150_000 },
        { nowMs: 180_000 },
        { nowMs: 600_000 }
      ]
    )
    assert.deepStrictEqual(lines(decisions), [
      "0 until ever: 0 instances until the next look: a poll every 30.0 s, a sync every 15.0 s",
      "0 until 45000: 0 instances until the next look: a poll every 30.0 s, a sync every 15.0 s",
      "2 until 75000: 3 requests, more than 2, activate 2 instances",
      "5 until 105000: 41 requests at a threshold of 4: 11 instances recommended, 5 within the limits",
      "5 until 120000: 41 requests at a threshold of 4: 11 instances recommended, 5 within the limits",
      "5 until 135000: 0 requests at a threshold of 4: 0 instances recommended, 5 in the window of 300 s",
      "5 until 165000: 0 requests at a threshold of 4: 0 instances recommended, 5 in the window of 300 s",
      "5 until 195000: 0 requests at a threshold of 4: 0 instances recommended, 5 in the window of 300 s",
      "2 until 615000: 0 requests at a threshold of 4: 0 instances recommended, 2 within the limits"
    ])
    assert.deepStrictEqual(decisions[3]?.inputs, {
      load: 41,
      threshold: 4,
      existing: 0,
      desired: 2,
      ratio: null,
      recommended: 11,
      stabilized: 11,
      replicas: 5,
      limitUp: 6,
      limitDown: 0,
      tolerance: 0.1,
      stabilizationDownMs: 300000,
      stabilizationUpMs: 0
    })
  })

  it("what was there before it gets a whole cooldown, and a poll and a sync that were both missed come in their order", () => {
    const { decisions } = tell(
      KedaPolicy.keda({
        ...KedaPolicy.defaults,
        cooldownMs: 40_000,
        pollingIntervalMs: 20_000,
        syncIntervalMs: 15_000
      }),
      [
        { nowMs: 1000, starting: 2 },
        { nowMs: 25_000, starting: 0, ready: 2, pending: "unknown" },
        { nowMs: 41_000, pending: 0 },
        { nowMs: 61_000 },
        { nowMs: 81_000, ready: 0, pending: 3 },
        { nowMs: 82_000 },
        { nowMs: 120_000 }
      ]
    )
    assert.deepStrictEqual(lines(decisions), [
      "2 until 15000: 2 instances until the next look: a poll every 20.0 s, a sync every 15.0 s",
      "2 until 30000: 0 requests at a threshold of 2: 0 instances recommended, 2 in the window of 300 s",
      "2 until 45000: the metric is unknown: 2 instances kept as they are",
      "0 until 75000: not active for more than 40.0 s, the cooldown",
      "0 until 90000: 0 instances until the next look: a poll every 20.0 s, a sync every 15.0 s",
      "0 until 90000: 0 instances until the next look: a poll every 20.0 s, a sync every 15.0 s",
      "1 until 135000: 3 requests, more than 0, activate 1 instance"
    ])
  })

  it("a sync and a poll that were both missed are made up for in the order of their time", () => {
    const missed = (pollingIntervalMs: number, syncIntervalMs: number, laterMs: number) =>
      tell(KedaPolicy.keda({ ...KedaPolicy.defaults, pollingIntervalMs, syncIntervalMs }), [
        { nowMs: 1_000, pending: 5 },
        { nowMs: laterMs, desired: 0 }
      ]).decisions[1]?.reason
    const activated = "5 requests, more than 0, activate 1 instance"
    const scaled = "5 requests at a threshold of 2: 3 instances recommended"
    assert.strictEqual(missed(20_000, 15_000, 35_000), scaled, "the poll of 20 s, then the sync of 30 s")
    assert.strictEqual(missed(20_000, 15_000, 41_000), activated, "the sync of 30 s, then the poll of 40 s")
    assert.strictEqual(missed(20_000, 20_000, 41_000), activated, "of one moment the sync is first")
  })

  it("work at zero begins the rules that hold from one instance on, and what is unknown or nothing does not", () => {
    const spec = { minInstances: 0, maxInstances: 9, concurrency: 2, idleWindowMs: 10_000 }
    const rules = (...looks: Parameters<typeof tell>[1]) => tell(KedaPolicy.keda(), looks).memory.rules
    const begun = (value: number, atMs: number) => ({ recommendations: [{ atMs, value }], changes: [] })
    assert.deepStrictEqual(rules({ nowMs: 1_000, pending: 1, leased: 0 }), begun(1, 1_000))
    assert.deepStrictEqual(rules({ nowMs: 1_000, pending: 0, leased: 1 }), begun(1, 1_000))
    assert.deepStrictEqual(rules({ nowMs: 1_000, pending: "unknown", leased: 1 }), begun(1, 1_000))
    assert.deepStrictEqual(rules({ nowMs: 1_000, pending: 1, leased: "unknown" }), begun(1, 1_000))
    assert.deepStrictEqual(
      rules({ nowMs: 1_000, pending: 1, spec: { ...spec, minInstances: 3 } }),
      begun(3, 1_000),
      "as many as the minimum is"
    )
    assert.deepStrictEqual(rules({ nowMs: 1_000, pending: 1 }, { nowMs: 2_000 }), begun(1, 1_000), "once")
    assert.isNull(rules({ nowMs: 1_000 }))
    assert.isNull(rules({ nowMs: 1_000, pending: "unknown", leased: 0 }))
    assert.isNull(rules({ nowMs: 1_000, pending: 0, leased: "unknown" }))
    assert.isNull(rules({ nowMs: 1_000, pending: "unknown", leased: "unknown" }))
  })

  it("a sync does nothing at zero, and what no poll saw active has nothing to cool down from", () => {
    const { decisions, memory } = tell(KedaPolicy.keda(), [
      { nowMs: 1_000 },
      { nowMs: 2_000, pending: 1 },
      { nowMs: 15_000, desired: 0 },
      { nowMs: 20_000, desired: 1, ready: 1, pending: 0 },
      { nowMs: 30_000 }
    ])
    assert.deepStrictEqual(lines(decisions), [
      "0 until ever: 0 instances until the next look: a poll every 30.0 s, a sync every 15.0 s",
      "0 until 15000: 0 instances until the next look: a poll every 30.0 s, a sync every 15.0 s",
      "0 until 30000: 0 instances until the next look: a poll every 30.0 s, a sync every 15.0 s",
      "1 until 30000: 1 instance until the next look: a poll every 30.0 s, a sync every 15.0 s",
      "0 until 45000: not active for more than 300 s, the cooldown"
    ])
    assert.deepStrictEqual([memory.activeAtMs, memory.rules], [null, null])
    const there = tell(KedaPolicy.keda(), [{ nowMs: 1_000, ready: 1 }, { nowMs: 330_000 }])
    assert.strictEqual(there.decisions[1]?.desired, 0)
    assert.strictEqual(there.memory.activeAtMs, 1_000, "what was seen is not forgotten with the instances")
  })
})
