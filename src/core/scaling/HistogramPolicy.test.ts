import { assert, describe, it } from "vitest"
import { lines, tell } from "../../../property-tests/PolicyStory.ts"
import * as HistogramPolicy from "./HistogramPolicy.ts"

describe("histogram, word for word", () => {
  it("it learns how long a version is idle, stops it at once and starts it in time", () => {
    const { decisions } = tell(
      HistogramPolicy.histogram({
        ...HistogramPolicy.defaults,
        binMs: 1000,
        binCount: 10,
        idleTimesMin: 2,
        variationMin: 0
      }),
      [
        { nowMs: 0, ready: 2 },
        { nowMs: 100, leased: 3, arrivalsTotal: 3 },
        { nowMs: 200, leased: 0 },
        { nowMs: 4_300, arrivalsTotal: "unknown", leased: 2 },
        { nowMs: 4_400, leased: "unknown" },
        { nowMs: 4_500, leased: 0, arrivalsTotal: 4 },
        { nowMs: 8_700, leased: 2, arrivalsTotal: 5 },
        { nowMs: 8_800, leased: 0 },
        { nowMs: 11_000 },
        { nowMs: 12_500 },
        { nowMs: 19_000 },
        { nowMs: 20_000, arrivalsTotal: 6 }
      ]
    )
    assert.deepStrictEqual(lines(decisions), [
      "2 until 10000: idle for 0.00 s, 2 instances until 10.0 s: 0 idle times of 2 are known, so the fixed time",
      "2 until ever: 3 requests at 2 slots an instance need 2 instances",
      "2 until 10200: idle for 0.00 s, 2 instances until 10.0 s: 0 idle times of 2 are known, so the fixed time",
      "2 until 10200: 2 requests at 2 slots an instance need 1 instance, 2 within the idle window of 10.0 s",
      "2 until ever: the demand is unknown: 2 instances kept as they are",
      "2 until 10200: idle for 0.00 s, 2 instances until 10.0 s: 1 idle time of 2 are known, so the fixed time",
      "2 until 10200: 2 requests at 2 slots an instance need 1 instance, 2 within the idle window of 10.0 s",
      "0 until 12400: idle for 0.00 s, and the next request is not due before 3.6 s: 2 idle times are known, most of 4.0 s to 5.0 s",
      "0 until 12400: idle for 2.2 s, and the next request is not due before 3.6 s: 2 idle times are known, most of 4.0 s to 5.0 s",
      "1 until 14300: idle for 3.7 s, 1 instance until 5.5 s: 2 idle times are known, most of 4.0 s to 5.0 s",
      "0 until ever: idle for 10.2 s, and 5.5 s is the end: 2 idle times are known, most of 4.0 s to 5.0 s",
      "0 until 23600: idle for 0.00 s, and the next request is not due before 3.6 s: 3 idle times are known, most of 4.0 s to 5.0 s"
    ])
    assert.deepStrictEqual(decisions[0]?.inputs, {
      idleTimes: 0,
      variation: 0,
      beyondCount: 0,
      beyondShare: 0,
      idleTimesMin: 2,
      variationMin: 0,
      beyondShareMax: 0.5,
      idleMs: 0,
      warmFromMs: 0,
      warmUntilMs: 10000,
      recent: 2
    })
    assert.deepStrictEqual(decisions[1]?.inputs, {
      load: 3,
      slotsPerInstance: 2,
      need: 2,
      desired: 2,
      idleWindowMs: 10000
    })
    assert.deepStrictEqual(decisions[4]?.inputs, { kept: 2, pending: "unknown", leased: "unknown" })
    assert.deepStrictEqual(decisions[7]?.inputs, {
      idleTimes: 2,
      variation: 3,
      beyondCount: 0,
      beyondShare: 0,
      idleTimesMin: 2,
      variationMin: 0,
      beyondShareMax: 0.5,
      headMs: 4000,
      tailMs: 5000,
      idleMs: 0,
      warmFromMs: 3600,
      warmUntilMs: 5500,
      recent: 2
    })
  })

  it("what is not representative gets the fixed time, and says why", () => {
    const { decisions } = tell(
      HistogramPolicy.histogram({
        ...HistogramPolicy.defaults,
        binMs: 500,
        binCount: 4,
        timeScale: 2,
        idleTimesMin: 1,
        fixedKeepAliveMs: 3_000,
        beyondShareMax: 0.4
      }),
      [
        { nowMs: 0 },
        { nowMs: 100, pending: 1 },
        { nowMs: 200, pending: 0 },
        { nowMs: 9_200, pending: 1 },
        { nowMs: 9_300, pending: 0 },
        { nowMs: 10_400, pending: 1 },
        { nowMs: 10_500, pending: 0 },
        { nowMs: 13_600, pending: 1 },
        { nowMs: 13_700, pending: 0 },
        { nowMs: 15_900, pending: 1 },
        { nowMs: 16_000, pending: 0 },
        { nowMs: 18_200, pending: 1 },
        { nowMs: 18_300, pending: 0 },
        { nowMs: 24_000 }
      ]
    )
    assert.deepStrictEqual(lines(decisions), [
      "0 until ever: idle for 0.00 s, and 0.00 s is the end: nothing was ever seen of it",
      "1 until ever: 1 request at 2 slots an instance need 1 instance",
      "1 until 6200: idle for 0.00 s, 1 instance until 6.0 s: 0 idle times of 1 are known, so the fixed time",
      "1 until ever: 1 request at 2 slots an instance need 1 instance",
      "1 until 15300: idle for 0.00 s, 1 instance until 6.0 s: 1 of 1 idle times are beyond all bins, so the fixed time",
      "1 until ever: 1 request at 2 slots an instance need 1 instance",
      "1 until 16500: idle for 0.00 s, 1 instance until 6.0 s: 1 of 2 idle times are beyond all bins, so the fixed time",
      "1 until ever: 1 request at 2 slots an instance need 1 instance",
      "1 until 19700: idle for 0.00 s, 1 instance until 6.0 s: a variation of 1, below 2, tells nothing, so the fixed time",
      "1 until ever: 1 request at 2 slots an instance need 1 instance",
      "1 until 22000: idle for 0.00 s, 1 instance until 6.0 s: a variation of 0.58, below 2, tells nothing, so the fixed time",
      "1 until ever: 1 request at 2 slots an instance need 1 instance",
      "1 until 24300: idle for 0.00 s, 1 instance until 6.0 s: a variation of 0.71, below 2, tells nothing, so the fixed time",
      "1 until 24300: idle for 5.7 s, 1 instance until 6.0 s: a variation of 0.71, below 2, tells nothing, so the fixed time"
    ])
  })

  it("with all idle times beyond its bins, where that is allowed, it takes the last bin", () => {
    const { decisions } = tell(
      HistogramPolicy.histogram({
        ...HistogramPolicy.defaults,
        binMs: 1000,
        binCount: 4,
        idleTimesMin: 1,
        variationMin: 0,
        beyondShareMax: 1
      }),
      [
        { nowMs: 0, leased: 1, slotsPerInstance: 0 },
        { nowMs: 100, leased: 0 },
        { nowMs: 9_000, leased: 1 },
        { nowMs: 9_100, leased: 0 },
        { nowMs: 13_000 }
      ]
    )
    assert.deepStrictEqual(lines(decisions), [
      "1 until ever: 1 request at 1 slot an instance need 1 instance",
      "1 until 4100: idle for 0.00 s, 1 instance until 4.0 s: 0 idle times of 1 are known, so the fixed time",
      "1 until ever: 1 request at 1 slot an instance need 1 instance",
      "0 until 11800: idle for 0.00 s, and the next request is not due before 2.7 s: 1 idle time are known, most of 3.0 s to 4.0 s",
      "1 until 13500: idle for 3.9 s, 1 instance until 4.4 s: 1 idle time are known, most of 3.0 s to 4.0 s"
    ])
  })

  describe("with bins of 1 s, 20 of them, and an idle window of 10 s", () => {
    const policy = HistogramPolicy.histogram({ ...HistogramPolicy.defaults, binMs: 1_000, binCount: 20 })
    const recents = (...looks: Parameters<typeof tell>[1]) =>
      tell(policy, looks).decisions.map(({ inputs }) => inputs["recent"])

    it("counts what was there at the first look, starting or ready, and not the arrivals before it", () => {
      assert.deepStrictEqual(recents({ nowMs: 0, ready: 1, starting: 2, arrivalsTotal: 5 }), [3])
      const { decisions } = tell(policy, [{ nowMs: 0, arrivalsTotal: 5 }])
      assert.deepStrictEqual(lines(decisions), [
        "0 until ever: idle for 0.00 s, and 0.00 s is the end: nothing was ever seen of it"
      ])
      assert.strictEqual(decisions[0]?.inputs["recent"], 0)
      assert.strictEqual(tell(policy, [{ nowMs: 0, starting: 1 }]).decisions[0]?.desired, 1)
      const unknown = tell(policy, [{ nowMs: 0, pending: "unknown", ready: 1, starting: 2 }])
      assert.strictEqual(unknown.decisions[0]?.desired, 3)
    })

    it("a request that came and went between two looks needed an instance, and none was needed where none came", () => {
      const looks = [
        { nowMs: 0, leased: 1, arrivalsTotal: 1 },
        { nowMs: 100, leased: 0 },
        { nowMs: 12_000 },
        { nowMs: 13_000, arrivalsTotal: 2 }
      ]
      assert.deepStrictEqual(recents(...looks), [undefined, 1, 0, 1])
    })

    it("one instance has no end before that of its time", () => {
      const { decisions } = tell(policy, [
        { nowMs: 0, leased: 1 },
        { nowMs: 100, leased: 0 }
      ])
      assert.deepStrictEqual(
        decisions.map(({ desired, wakeAtMs }) => [desired, wakeAtMs]),
        [
          [1, null],
          [1, 20_100]
        ]
      )
    })

    it("arrivals that are not told for a while end no idle time, and are told later", () => {
      const { decisions } = tell(policy, [
        { nowMs: 0, leased: 1, arrivalsTotal: 1 },
        { nowMs: 100, leased: 0 },
        { nowMs: 4_100, arrivalsTotal: "unknown" },
        { nowMs: 5_100, arrivalsTotal: 1 },
        { nowMs: 6_100, arrivalsTotal: "unknown" },
        { nowMs: 7_100, arrivalsTotal: 2 }
      ])
      assert.deepStrictEqual(
        decisions.map(({ inputs }) => inputs["idleMs"]),
        [undefined, 0, 4_000, 5_000, 6_000, 0]
      )
    })
  })
})
