import { assert, describe, it } from "vitest"
import { lines, tell } from "../../../property-tests/PolicyStory.ts"
import * as KnativePolicy from "./KnativePolicy.ts"

describe("knative, word for word", () => {
  it("it looks every 2 s, panics at twice the target, and ends with a grace", () => {
    const { decisions } = tell(KnativePolicy.knative(), [
      { nowMs: 1000 },
      { nowMs: 1500, pending: 1 },
      { nowMs: 2000, starting: 1 },
      { nowMs: 4000, ready: 1, starting: 0, pending: 9 },
      { nowMs: 6000, pending: 0, leased: 3 },
      { nowMs: 8000 },
      { nowMs: 9_000, leased: "unknown" },
      { nowMs: 10_000, leased: "unknown" },
      { nowMs: 70_000, leased: 0 },
      { nowMs: 100_000 },
      { nowMs: 131_000 },
      { nowMs: 140_000 },
      { nowMs: 170_000 },
      { nowMs: 172_000, ready: 0 }
    ])
    assert.deepStrictEqual(lines(decisions), [
      "0 until ever: 0 instances until the next of the looks at intervals of 2.0 s",
      "1 until 2000: 1 request came while nothing was wanted: 1 instance at once",
      "1 until 4000: 0.5 requests at a time in 60 s at a target of 1.4: 1 instance",
      "1 until 6000: 0.83 requests at a time in 60 s at a target of 1.4: 1 instance",
      "3 until 8000: panic: 4.1 requests at a time in 6.0 s at a target of 1.4 want 3 instances, the stable window 3; nothing decreases in panic: 3",
      "4 until 10000: panic: 4.33 requests at a time in 6.0 s at a target of 1.4 want 4 instances, the stable window 3; nothing decreases in panic: 4",
      "4 until 10000: 4 instances until the next of the looks at intervals of 2.0 s, in panic",
      "4 until 12000: panic: 5.4 requests at a time in 6.0 s at a target of 1.4 want 4 instances, the stable window 3; nothing decreases in panic: 4",
      "4 until 72000: the load of a window is unknown: 4 instances kept as they are",
      "1 until 102000: no load in 60 s: 1 instance for the grace of 30.0 s",
      "0 until 132000: 0 requests at a time in 60 s at a target of 1.4: 0 instances",
      "0 until 142000: 0 requests at a time in 60 s at a target of 1.4: 0 instances",
      "0 until 172000: 0 requests at a time in 60 s at a target of 1.4: 0 instances",
      "0 until ever: 0 requests at a time in 60 s at a target of 1.4: 0 instances"
    ])
    assert.deepStrictEqual(decisions[0]?.inputs, { desired: 0, tickIntervalMs: 2000, nextTickMs: 1000 })
    assert.deepStrictEqual(decisions[1]?.inputs, { load: 1, desired: 0 })
    assert.deepStrictEqual(decisions[4]?.inputs, {
      stableLoad: 4.1,
      panicLoad: 4.1,
      target: 1.4,
      ready: 1,
      desired: 1,
      byStable: 3,
      byPanic: 3,
      limitUp: 1000,
      limitDown: 0,
      stableWindowMs: 60000,
      panicWindowMs: 6000,
      panicSinceMs: 0,
      scaleToZeroGraceMs: 30000,
      excessBurstCapacity: -214
    })
    assert.deepStrictEqual(decisions[8]?.inputs, { desired: 4, stableLoad: "unknown", panicLoad: "unknown" })
    assert.deepStrictEqual(decisions[9]?.inputs, {
      stableLoad: 0,
      panicLoad: 0,
      target: 1.4,
      ready: 1,
      desired: 4,
      byStable: 0,
      byPanic: 0,
      limitUp: 1000,
      limitDown: 0,
      stableWindowMs: 60000,
      panicWindowMs: 6000,
      panicSinceMs: null,
      scaleToZeroGraceMs: 30000,
      excessBurstCapacity: -209
    })
  })

  it("its rates limit it in both directions, and nothing decreases in panic", () => {
    const { decisions } = tell(
      KnativePolicy.knative({
        ...KnativePolicy.defaults,
        stableWindowMs: 10_000,
        panicWindowMs: 2_000,
        maxScaleUpRate: 3,
        maxScaleDownRate: 1.5,
        targetConcurrency: 5,
        targetUtilization: 1,
        targetBurstCapacity: 0,
        scaleToZeroGraceMs: 5_000
      }),
      [
        { nowMs: 0, ready: 6, starting: 1, leased: 20 },
        { nowMs: 2_000 },
        { nowMs: 4_000, leased: 200 },
        { nowMs: 6_000 },
        { nowMs: 8_000, ready: 9 },
        { nowMs: 10_000, leased: 4 },
        { nowMs: 20_000 },
        { nowMs: 22_000 },
        { nowMs: 24_000 },
        { nowMs: 26_000, ready: 4 },
        { nowMs: 28_000, leased: 0, ready: 1 },
        { nowMs: 38_000 },
        { nowMs: 40_000 },
        { nowMs: 42_000 },
        { nowMs: 44_000 },
        { nowMs: 46_000 }
      ]
    )
    assert.deepStrictEqual(lines(decisions), [
      "7 until 2000: 7 instances until the next of the looks at intervals of 2.0 s",
      "7 until 4000: panic: 20 requests at a time in 2.0 s at a target of 5 want 4 instances, the stable window 4; nothing decreases in panic: 7",
      "7 until 6000: panic: 20 requests at a time in 2.0 s at a target of 5 want 4 instances, the stable window 4; nothing decreases in panic: 7",
      "18 until 8000: panic: 200 requests at a time in 2.0 s at a target of 5 want 18 instances, the stable window 16; nothing decreases in panic: 18",
      "27 until 10000: panic: 200 requests at a time in 2.0 s at a target of 5 want 27 instances, the stable window 22; nothing decreases in panic: 27",
      "27 until 12000: panic: 200 requests at a time in 2.0 s at a target of 5 want 27 instances, the stable window 26; nothing decreases in panic: 27",
      "27 until 22000: panic: 4 requests at a time in 2.0 s at a target of 5 want 6 instances, the stable window 6; nothing decreases in panic: 27",
      "6 until 24000: 4 requests at a time in 10.0 s at a target of 5: 6 instances",
      "6 until 26000: 4 requests at a time in 10.0 s at a target of 5: 6 instances",
      "2 until 28000: 4 requests at a time in 10.0 s at a target of 5: 2 instances",
      "1 until 30000: 4 requests at a time in 10.0 s at a target of 5: 1 instance",
      "1 until 40000: no load in 10.0 s: 1 instance for the grace of 5.0 s",
      "1 until 42000: no load in 10.0 s: 1 instance for the grace of 5.0 s",
      "1 until 44000: no load in 10.0 s: 1 instance for the grace of 5.0 s",
      "0 until 46000: 0 requests at a time in 10.0 s at a target of 5: 0 instances",
      "0 until 48000: 0 requests at a time in 10.0 s at a target of 5: 0 instances"
    ])
    assert.deepStrictEqual(decisions[4]?.inputs, {
      stableLoad: 110,
      panicLoad: 200,
      target: 5,
      ready: 9,
      desired: 18,
      byStable: 22,
      byPanic: 27,
      limitUp: 27,
      limitDown: 6,
      stableWindowMs: 10000,
      panicWindowMs: 2000,
      panicSinceMs: 0,
      scaleToZeroGraceMs: 5000,
      excessBurstCapacity: 0
    })
  })

  it("without a limit of its burst it says so, and of an instance without slots it takes one", () => {
    const { decisions } = tell(KnativePolicy.knative({ ...KnativePolicy.defaults, targetBurstCapacity: -1 }), [
      { nowMs: 0, ready: 1, leased: 3, slotsPerInstance: 0 },
      { nowMs: 2_000 }
    ])
    assert.deepStrictEqual(lines(decisions), [
      "1 until 2000: 1 instance until the next of the looks at intervals of 2.0 s",
      "5 until 4000: panic: 3 requests at a time in 6.0 s at a target of 0.7 want 5 instances, the stable window 5; nothing decreases in panic: 5"
    ])
    assert.deepStrictEqual(decisions[1]?.inputs, {
      stableLoad: 3,
      panicLoad: 3,
      target: 0.7,
      ready: 1,
      desired: 1,
      byStable: 5,
      byPanic: 5,
      limitUp: 1000,
      limitDown: 0,
      stableWindowMs: 60000,
      panicWindowMs: 6000,
      panicSinceMs: 0,
      scaleToZeroGraceMs: 30000,
      excessBurstCapacity: -1
    })
  })

  it("where nothing is there and nothing comes it stays at zero, and what is unknown starts nothing", () => {
    const { decisions } = tell(KnativePolicy.knative(), [
      { nowMs: 1_000 },
      { nowMs: 2_000 },
      { nowMs: 3_000, pending: "unknown" },
      { nowMs: 3_500, pending: 0, leased: "unknown" }
    ])
    assert.deepStrictEqual(lines(decisions), [
      "0 until ever: 0 instances until the next of the looks at intervals of 2.0 s",
      "0 until ever: 0 requests at a time in 60 s at a target of 1.4: 0 instances",
      "0 until 4000: 0 instances until the next of the looks at intervals of 2.0 s",
      "0 until 4000: 0 instances until the next of the looks at intervals of 2.0 s"
    ])
  })

  it("it begins in panic with more than one instance ready, and not with one", () => {
    const panic = (ready: number) => tell(KnativePolicy.knative(), [{ nowMs: 1_000, ready }]).memory.panic
    assert.isNull(panic(1))
    assert.deepStrictEqual(panic(2), { sinceMs: 1_000, highest: 2 })
  })

  it("a window of which nothing is known decides nothing, though the other is known", () => {
    const options = { ...KnativePolicy.defaults, stableWindowMs: 2_000, panicWindowMs: 6_000 }
    const { decisions } = tell(KnativePolicy.knative(options), [
      { nowMs: 0, ready: 1, leased: 1 },
      { nowMs: 2_000, leased: "unknown" },
      { nowMs: 4_000, leased: 1 }
    ])
    assert.deepStrictEqual(decisions[2]?.inputs, { desired: 1, stableLoad: "unknown", panicLoad: 1 })
  })

  it("without a limit the excess of the burst is -1, whatever is there", () => {
    const { decisions } = tell(KnativePolicy.knative({ ...KnativePolicy.defaults, targetBurstCapacity: -1 }), [
      { nowMs: 0, ready: 9, leased: 1 },
      { nowMs: 2_000 }
    ])
    assert.strictEqual(decisions[1]?.inputs["excessBurstCapacity"], -1)
  })
})
