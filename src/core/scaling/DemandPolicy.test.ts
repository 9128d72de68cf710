import { assert, describe, it } from "vitest"
import { lines, tell } from "../../../property-tests/PolicyStory.ts"
import { demand } from "./DemandPolicy.ts"

describe("demand, word for word", () => {
  it("it starts what the work needs at once, keeps it for the idle window, and what is unknown stops nothing", () => {
    const { decisions } = tell(demand, [
      { nowMs: 1000 },
      { nowMs: 1000, pending: 3, leased: 2, arrivalsTotal: 5, oldestPendingMs: 40 },
      { nowMs: 2500, pending: 0, leased: 1, arrivalsTotal: 5, ready: 3, oldestPendingMs: null },
      { nowMs: 3000, pending: "unknown", ready: 4, starting: 1 },
      { nowMs: 3500, pending: 0, leased: "unknown", ready: 1, starting: 0 },
      { nowMs: 4000, leased: 0, ready: 3, arrivalsTotal: "unknown" },
      { nowMs: 10_999 },
      { nowMs: 11_000 },
      { nowMs: 12_500, arrivalsTotal: 9 },
      { nowMs: 22_500, arrivalsTotal: 9 }
    ])
    assert.deepStrictEqual(lines(decisions), [
      "0 until ever: nothing was pending or leased for 10.0 s, the idle window",
      "3 until ever: 3 pending + 2 leased at 2 slots an instance: 3 instances",
      "3 until 12500: 0 pending + 1 leased at 2 slots an instance need 1 instance; 3 instances were needed 0.00 s ago, within the idle window of 10.0 s",
      "5 until ever: the demand is unknown: 5 instances kept as they are",
      "5 until ever: the demand is unknown: 5 instances kept as they are",
      "3 until 12500: 0 pending + 0 leased at 2 slots an instance need 0 instances; 3 instances were needed 1.5 s ago, within the idle window of 10.0 s",
      "3 until 12500: 0 pending + 0 leased at 2 slots an instance need 0 instances; 3 instances were needed 8.5 s ago, within the idle window of 10.0 s",
      "3 until 12500: 0 pending + 0 leased at 2 slots an instance need 0 instances; 3 instances were needed 8.5 s ago, within the idle window of 10.0 s",
      "1 until 22500: 0 pending + 0 leased at 2 slots an instance need 0 instances; 1 instance were needed 0.00 s ago, within the idle window of 10.0 s",
      "0 until ever: nothing was pending or leased for 10.0 s, the idle window"
    ])
    assert.deepStrictEqual(decisions[1]?.inputs, {
      pending: 3,
      leased: 2,
      expectedConcurrency: 0,
      slotsPerInstance: 2,
      needed: 3,
      kept: 3,
      keptSinceMs: 0,
      keptForMs: 10000,
      highestNeeded: 3,
      ready: 0,
      starting: 0,
      idleWindowMs: 10000,
      oldestPendingMs: 40
    })
    assert.deepStrictEqual(decisions[3]?.inputs, {
      pending: "unknown",
      leased: "unknown",
      ready: 4,
      starting: 1,
      desired: 3
    })
    assert.deepStrictEqual(decisions[5]?.inputs, {
      pending: 0,
      leased: 0,
      expectedConcurrency: 0,
      slotsPerInstance: 2,
      needed: 0,
      kept: 3,
      keptSinceMs: 1500,
      keptForMs: 8500,
      highestNeeded: 3,
      ready: 3,
      starting: 0,
      idleWindowMs: 10000,
      oldestPendingMs: null
    })
  })

  it("what was there before it gets the whole window", () => {
    const { decisions } = tell(demand, [
      { nowMs: 500, ready: 2, starting: 1, arrivalsTotal: "unknown" },
      { nowMs: 10_499 },
      { nowMs: 10_500 }
    ])
    assert.deepStrictEqual(lines(decisions), [
      "3 until 10500: 0 pending + 0 leased at 2 slots an instance need 0 instances; 3 instances were needed 0.00 s ago, within the idle window of 10.0 s",
      "3 until 10500: 0 pending + 0 leased at 2 slots an instance need 0 instances; 3 instances were needed 10.0 s ago, within the idle window of 10.0 s",
      "0 until ever: nothing was pending or leased for 10.0 s, the idle window"
    ])
  })

  it("what is expected of steady arrivals is started before it comes, and said", () => {
    const { decisions } = tell(demand, [
      { nowMs: 0, arrivalsTotal: 0, slotsPerInstance: 1 },
      { nowMs: 400, leased: 9, arrivalsTotal: 10 },
      { nowMs: 900, leased: 9, arrivalsTotal: 20 },
      { nowMs: 1400, arrivalsTotal: 30 },
      { nowMs: 1900, arrivalsTotal: 40 },
      { nowMs: 2400, leased: 1, arrivalsTotal: 50 },
      { nowMs: 2900, leased: 0, arrivalsTotal: 60 },
      { nowMs: 2950, arrivalsTotal: 60 }
    ])
    assert.deepStrictEqual(lines(decisions), [
      "0 until ever: nothing was pending or leased for 10.0 s, the idle window",
      "9 until ever: 0 pending + 9 leased at 1 slot an instance: 9 instances",
      "9 until ever: 0 pending + 9 leased at 1 slot an instance: 9 instances",
      "9 until ever: 0 pending + 9 leased at 1 slot an instance: 9 instances",
      "9 until ever: 0 pending + 9 leased at 1 slot an instance: 9 instances",
      "9 until 12400: 0 pending + 1 leased at 1 slot an instance, 7.2 at a time expected of the arrivals: 9 instances",
      "9 until 12400: 0 pending + 0 leased at 1 slot an instance, 6.1 at a time expected of the arrivals: 9 instances",
      "9 until 12400: 0 pending + 0 leased at 1 slot an instance need 0 instances; 9 instances were needed 0.55 s ago, within the idle window of 10.0 s"
    ])
    assert.deepStrictEqual(decisions[5]?.inputs, {
      pending: 0,
      leased: 1,
      expectedConcurrency: 7.16,
      slotsPerInstance: 1,
      needed: 1,
      kept: 9,
      keptSinceMs: 0,
      keptForMs: 10000,
      highestNeeded: 9,
      ready: 0,
      starting: 0,
      idleWindowMs: 10000,
      oldestPendingMs: null
    })
    assert.deepStrictEqual(decisions[6]?.inputs, {
      pending: 0,
      leased: 0,
      expectedConcurrency: 6.11,
      slotsPerInstance: 1,
      needed: 0,
      kept: 9,
      keptSinceMs: 500,
      keptForMs: 9500,
      highestNeeded: 9,
      ready: 0,
      starting: 0,
      idleWindowMs: 10000,
      oldestPendingMs: null
    })
  })

  it("a need that comes back after longer than anybody waits is met when it comes", () => {
    const { decisions } = tell(demand, [
      { pending: 3, arrivalsTotal: 3 },
      { nowMs: 1_000, pending: 0 },
      { nowMs: 1e9, pending: 3, arrivalsTotal: 6 },
      { nowMs: 1e9 + 1_000, pending: 0 },
      { nowMs: 1e9 + 20_000 }
    ])
    assert.deepStrictEqual(
      decisions.map(({ desired }) => desired),
      [2, 2, 2, 2, 0]
    )
  })

  it("an instance offers a slot at least", () => {
    const { decisions } = tell(demand, [{ slotsPerInstance: 0, pending: 3, arrivalsTotal: 3 }])
    assert.deepStrictEqual(lines(decisions), ["3 until ever: 3 pending + 0 leased at 1 slot an instance: 3 instances"])
  })

  it("arrivals that are not told for a while are no new ones when they are told again", () => {
    const { decisions } = tell(demand, [
      { nowMs: 0, leased: 1, arrivalsTotal: 5 },
      { nowMs: 100, leased: 0 },
      { nowMs: 4_000, arrivalsTotal: "unknown" },
      { nowMs: 5_000, arrivalsTotal: 5 }
    ])
    assert.deepStrictEqual(
      decisions.map(({ inputs }) => inputs["keptSinceMs"]),
      [0, 0, 3_900, 4_900]
    )
  })

  /** Eight requests come together every 11 s, each time to instances that are gone, and last for 2 s. */
  const cycle = (nowMs: number) => [
    { nowMs, pending: 8, leased: 0, arrivalsTotal: 8 + nowMs, ready: 0, starting: 4 },
    { nowMs: nowMs + 1_000, pending: 0, leased: 8, ready: 4, starting: 0 },
    { nowMs: nowMs + 2_000, leased: 0 },
    { nowMs: nowMs + 6_000 }
  ]

  it("of what comes back too late to be worth the wait one instance stays for the whole window, and that is said", () => {
    const { decisions } = tell(
      demand,
      [0, 1, 2, 3, 4].flatMap((index) => cycle(11_000 * index))
    )
    const present = "0 pending + 0 leased at 2 slots an instance need 0 instances"
    assert.deepStrictEqual(lines(decisions.slice(-5)), [
      `4 until 45000: ${present}; 4 instances were needed 4.0 s ago, within the idle window of 10.0 s`,
      "4 until ever: 8 pending + 0 leased at 2 slots an instance: 4 instances",
      "4 until ever: 0 pending + 8 leased at 2 slots an instance: 4 instances",
      `4 until 48848: ${present}; 4 instances were needed 0.00 s ago, within the idle window of 10.0 s`,
      `1 until 56000: ${present}; 4 instances were needed 4.0 s ago, and 1 of them are worth the wait for their return`
    ])
  })

  it("of two needs that leave the same it is the one that leaves it for longer", () => {
    const { decisions } = tell(demand, [
      ...[0, 1, 2, 3].flatMap((index) => cycle(11_000 * index)),
      ...cycle(44_000).slice(0, 2),
      { nowMs: 46_000, leased: 2 },
      { nowMs: 49_500, leased: 0 },
      { nowMs: 50_000 }
    ])
    assert.deepStrictEqual(lines(decisions.slice(-1)), [
      "1 until 59500: 0 pending + 0 leased at 2 slots an instance need 0 instances; 1 instance were needed 0.50 s ago, within the idle window of 10.0 s"
    ])
  })

  it("without an idle window nothing is kept, and what is needed is said all the same", () => {
    const spec = { minInstances: 0, maxInstances: 10, concurrency: 2, idleWindowMs: 0 }
    const { decisions } = tell(demand, [
      { spec, pending: 3, arrivalsTotal: 3 },
      { nowMs: 1, pending: 0 }
    ])
    assert.deepStrictEqual(lines(decisions), [
      "2 until ever: 3 pending + 0 leased at 2 slots an instance: 2 instances",
      "0 until ever: nothing was pending or leased for 0.00 s, the idle window"
    ])
    assert.deepStrictEqual(
      decisions.map(({ inputs }) => [inputs["kept"], inputs["keptSinceMs"], inputs["keptForMs"]]),
      [
        [0, null, null],
        [0, null, null]
      ]
    )
  })

  it("an expectation of no more than what is there is not told", () => {
    const later = 1e8
    // Fifteen are served for 4 s each in all; then one arrives in each half-second, and four in the last.
    const { decisions } = tell(demand, [
      { nowMs: 0, leased: 1 },
      { nowMs: later, leased: 0, arrivalsTotal: 14 },
      ...[1, 2, 3, 4].map((count) => ({ nowMs: later + 500 * count, pending: count, arrivalsTotal: 14 + count })),
      { nowMs: later + 2_500, pending: 8, arrivalsTotal: 22 }
    ])
    assert.strictEqual(decisions.at(-1)?.inputs["expectedConcurrency"], 8)
    assert.deepStrictEqual(lines(decisions.slice(-1)), [
      "4 until ever: 8 pending + 0 leased at 2 slots an instance: 4 instances"
    ])
  })

  it("what is left of a smaller need that ended lately counts for more than what is left of a larger one", () => {
    const { decisions } = tell(demand, [
      ...[0, 1, 2, 3].flatMap((index) => cycle(11_000 * index)),
      ...cycle(44_000).slice(0, 2),
      { nowMs: 46_000, leased: 4 },
      { nowMs: 49_500, leased: 0 },
      { nowMs: 50_000 }
    ])
    assert.deepStrictEqual(lines(decisions.slice(-1)), [
      "2 until 52348: 0 pending + 0 leased at 2 slots an instance need 0 instances; 2 instances were needed 0.50 s ago, within the idle window of 10.0 s"
    ])
  })
})
