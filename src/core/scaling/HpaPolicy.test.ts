import { assert, describe, it } from "vitest"
import { lines, tell } from "../../../property-tests/PolicyStory.ts"
import * as HpaPolicy from "./HpaPolicy.ts"

describe("hpa, word for word", () => {
  it("it looks at the utilisation every 15 s, within a tolerance, a window and limits", () => {
    const { decisions } = tell(HpaPolicy.hpa(), [
      { nowMs: 1000, ready: 2, desired: 2, leased: 3 },
      { nowMs: 15_000 },
      { nowMs: 30_000, leased: 4 },
      { nowMs: 45_000, leased: 8, starting: 1 },
      { nowMs: 50_000 },
      { nowMs: 60_000, leased: "unknown" },
      { nowMs: 75_000, leased: 0 },
      { nowMs: 90_000, ready: 0 },
      { nowMs: 400_000, ready: 4, leased: 1 },
      { nowMs: 415_000 }
    ])
    assert.deepStrictEqual(lines(decisions), [
      "2 until 15000: 2 instances until the next sync, one every 15.0 s",
      "2 until 30000: 2 instances recommended at 0.94 times the target of 1.6 requests an instance",
      "3 until 45000: 3 instances recommended at 1.25 times the target of 1.6 requests an instance",
      "5 until 60000: 5 instances recommended at 1.67 times the target of 1.6 requests an instance",
      "5 until 60000: 5 instances until the next sync, one every 15.0 s",
      "5 until 75000: the utilisation is unknown: 5 instances kept as they are",
      "5 until 90000: 0 instances recommended at 0 times the target of 1.6 requests an instance, 5 in the window of 300 s",
      "5 until 105000: of 0 ready instances nothing is measured: 5 instances kept as they are",
      "5 until 405000: of 0 ready instances nothing is measured: 5 instances kept as they are",
      "1 until 420000: 1 instance recommended at 0.16 times the target of 1.6 requests an instance"
    ])
    assert.deepStrictEqual(decisions[0]?.inputs, { desired: 2, syncIntervalMs: 15000 })
    assert.deepStrictEqual(decisions[3]?.inputs, {
      desired: 3,
      leased: 8,
      ready: 2,
      starting: 1,
      targetPerInstance: 1.6,
      ratio: 1.6666666666666665,
      recommended: 5,
      stabilized: 5,
      limitUp: 7,
      limitDown: 0,
      tolerance: 0.1,
      stabilizationDownMs: 300000,
      stabilizationUpMs: 0
    })
    assert.deepStrictEqual(decisions[5]?.inputs, { desired: 5, leased: "unknown", ready: 2, starting: 1 })
    assert.deepStrictEqual(decisions[9]?.inputs, {
      desired: 5,
      leased: 1,
      ready: 4,
      starting: 1,
      targetPerInstance: 1.6,
      ratio: 0.15625,
      recommended: 1,
      stabilized: 1,
      limitUp: 10,
      limitDown: 0,
      tolerance: 0.1,
      stabilizationDownMs: 300000,
      stabilizationUpMs: 0
    })
  })

  it("it never goes to zero, begins with what is there, and keeps to the limits of the version", () => {
    const { decisions } = tell(
      HpaPolicy.hpa({
        ...HpaPolicy.defaults,
        stabilizationUpMs: 40_000,
        stabilizationDownMs: 30_000,
        scaleUp: { percent: 50, pods: null, periodMs: 60_000 },
        scaleDown: { percent: null, pods: 1, periodMs: 15_000 }
      }),
      [
        { nowMs: 1000 },
        { nowMs: 14_000, ready: 3, starting: 1 },
        { nowMs: 15_000, ready: 4, starting: 0, leased: 32, desired: 4, slotsPerInstance: 0 },
        { nowMs: 30_000 },
        { nowMs: 45_000 },
        { nowMs: 60_000 },
        { nowMs: 75_000, leased: 0 },
        { nowMs: 90_000 },
        { nowMs: 105_000 },
        { nowMs: 120_000 },
        { nowMs: 135_000 }
      ]
    )
    assert.deepStrictEqual(lines(decisions), [
      "1 until 15000: 1 instance until the next sync, one every 15.0 s",
      "1 until 15000: 1 instance until the next sync, one every 15.0 s",
      "4 until 30000: 40 instances recommended at 10 times the target of 0.8 requests an instance, 4 in the window of 40.0 s",
      "4 until 45000: 40 instances recommended at 10 times the target of 0.8 requests an instance, 4 in the window of 40.0 s",
      "6 until 60000: 40 instances recommended at 10 times the target of 0.8 requests an instance, 6 within the limits",
      "6 until 75000: 40 instances recommended at 10 times the target of 0.8 requests an instance, 6 within the limits",
      "6 until 90000: 0 instances recommended at 0 times the target of 0.8 requests an instance, 6 in the window of 30.0 s",
      "5 until 105000: 0 instances recommended at 0 times the target of 0.8 requests an instance, 5 within the limits",
      "4 until 120000: 0 instances recommended at 0 times the target of 0.8 requests an instance, 4 within the limits",
      "3 until 135000: 0 instances recommended at 0 times the target of 0.8 requests an instance, 3 within the limits",
      "2 until 150000: 0 instances recommended at 0 times the target of 0.8 requests an instance, 2 within the limits"
    ])
    assert.deepStrictEqual(decisions[2]?.inputs, {
      desired: 4,
      leased: 32,
      ready: 4,
      starting: 0,
      targetPerInstance: 0.8,
      ratio: 10,
      recommended: 40,
      stabilized: 4,
      limitUp: 6,
      limitDown: 3,
      tolerance: 0.1,
      stabilizationDownMs: 30000,
      stabilizationUpMs: 40000
    })
    assert.deepStrictEqual(decisions[8]?.inputs, {
      desired: 5,
      leased: 0,
      ready: 4,
      starting: 0,
      targetPerInstance: 0.8,
      ratio: 0,
      recommended: 0,
      stabilized: 0,
      limitUp: 9,
      limitDown: 4,
      tolerance: 0.1,
      stabilizationDownMs: 30000,
      stabilizationUpMs: 40000
    })
  })
})
