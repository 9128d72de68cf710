/**
 * The hybrid histogram policy against a naive model that keeps every idle time and sorts them.
 *
 * G1: the bins answer percentiles and variation as the sorted idle times do. G2: the policy keeps an instance exactly
 * when the model does. G3: an idle time that something unknown fell into is not learned from.
 *
 * Generators: idle times in few bins, so that most histories become representative; every fourth one is beyond all bins.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as HistogramPolicy from "../src/core/scaling/HistogramPolicy.ts"
import * as IdleHistogram from "../src/core/scaling/IdleHistogram.ts"
import * as Policies from "../src/core/scaling/Policies.ts"
import type { Policy } from "../src/core/scaling/Policy.ts"
import * as World from "./PoliciesWorld.ts"
import { upholds } from "./upholds.ts"
import * as Bugs from "./zoo/scalingBugs.ts"

const slots = World.spec.concurrency

/** Edges of the minute in which the idle time of this rank lies, by sorting them all. */
const edges = (idleTimes: ReadonlyArray<number>, percentile: number, binMs: number): readonly [number, number] => {
  const sorted = [...idleTimes].sort((one, other) => one - other)
  const rank = Math.max(1, Math.ceil((percentile / 100) * sorted.length))
  const bin = Math.floor(sorted[rank - 1]! / binMs)
  return [bin * binMs, (bin + 1) * binMs]
}

const variationOf = (idleTimes: ReadonlyArray<number>, binMs: number, binCount: number): number => {
  const counts = Array.from(
    { length: binCount },
    (_, bin) => idleTimes.filter((idleMs) => Math.floor(idleMs / binMs) === bin).length
  )
  const total = counts.reduce((sum, count) => sum + count, 0)
  if (total === 0) return 0
  // Each count by how much it is off the mean, times the number of bins, so that nothing is rounded before the end.
  const off = counts.reduce((sum, count) => sum + (binCount * count - total) ** 2, 0)
  return Math.sqrt(off / (binCount * total * total))
}

/** [from, until) after the beginning of an idle time in which an instance is there. */
const warm = (
  idleTimes: ReadonlyArray<number>,
  options: HistogramPolicy.HistogramOptions
): readonly [number, number] => {
  const binMs = options.binMs * options.timeScale
  const rangeMs = binMs * options.binCount
  const within = idleTimes.filter((idleMs) => idleMs < rangeMs)
  const fixed: readonly [number, number] = [
    0,
    options.fixedKeepAliveMs === null ? rangeMs : options.fixedKeepAliveMs * options.timeScale
  ]
  if (idleTimes.length < options.idleTimesMin) return fixed
  if ((idleTimes.length - within.length) / idleTimes.length > options.beyondShareMax) return fixed
  if (variationOf(within, binMs, options.binCount) < options.variationMin) return fixed
  const [head] = edges(within, options.headPercentile, binMs)
  const [, tail] = edges(within, options.tailPercentile, binMs)
  return [Math.floor(head * (1 - options.marginShare)), Math.ceil(tail * (1 + options.marginShare))]
}

/** Every change of the number of instances, by looking at every millisecond at which anything could change. */
const model = (history: ReadonlyArray<World.Step>, tailMs: number, options: HistogramPolicy.HistogramOptions) => {
  const endMs = history.at(-1)!.atMs + tailMs
  const { idleWindowMs } = World.spec
  const idleTimes: Array<number> = []
  const needs: Array<{ readonly need: number; untilMs: number }> = []
  const changes: Array<World.Change> = []
  let desired = 0
  let idle: { readonly sinceMs: number; readonly plan: readonly [number, number]; isWhole: boolean } | null = null
  let wasThere = history[0]!.ready + history[0]!.starting
  const set = (atMs: number, to: number) => {
    if (to !== desired) changes.push({ atMs, desired: to })
    desired = to
  }
  history.forEach((step, index) => {
    const untilMs = Math.min(endMs + 1, history[index + 1]?.atMs ?? Number.POSITIVE_INFINITY)
    const load = World.demandOf(step)
    if (load === "unknown") {
      if (idle !== null) idle.isWhole = false
      set(step.atMs, Math.max(desired, step.ready + step.starting))
      return
    }
    if (wasThere > 0) needs.push({ need: wasThere, untilMs: step.atMs })
    // The last need lasted until here; unless that was unknown, then nothing is said of it but what was known last.
    const last = needs.at(-1)
    if (last !== undefined) last.untilMs = step.atMs
    const need = Math.ceil(load / slots)
    const arrived = index > 0 && step.arrived > 0
    if (arrived) needs.push({ need: Math.max(1, need), untilMs: step.atMs })
    needs.push({ need, untilMs: step.atMs })
    if ((load > 0 || arrived) && idle !== null) {
      if (idle.isWhole) idleTimes.push(step.atMs - idle.sinceMs)
      idle = null
    }
    if (load === 0 && idle === null) {
      const isFirst = index === history.findIndex((each) => World.demandOf(each) !== "unknown")
      const isThere = step.ready + step.starting + desired > 0
      idle = {
        sinceMs: step.atMs,
        isWhole: !isFirst,
        plan: isFirst && !isThere ? [0, 0] : warm(idleTimes, options)
      }
    }
    wasThere = 0
    const moments = new Set([step.atMs])
    for (const each of needs) moments.add(each.untilMs + idleWindowMs)
    if (idle !== null) for (const offset of idle.plan) moments.add(idle.sinceMs + offset)
    for (const atMs of [...moments].sort((one, other) => one - other)) {
      if (atMs < step.atMs || atMs >= untilMs) continue
      const recent = Math.max(
        need,
        ...needs.slice(0, -1).map((each) => (atMs < each.untilMs + idleWindowMs ? each.need : 0))
      )
      if (idle === null) {
        set(atMs, recent)
        continue
      }
      const [fromMs, toMs] = idle.plan
      const idleMs = atMs - idle.sinceMs
      set(atMs, idleMs < fromMs || idleMs >= toMs ? 0 : fromMs > 0 ? 1 : Math.max(1, recent))
    }
  })
  return { changes, idleTimes }
}

const options: fc.Arbitrary<HistogramPolicy.HistogramOptions> = fc.oneof(
  fc.constant(HistogramPolicy.defaults),
  fc.record({
    binMs: fc.constantFrom(1_000, 2_000),
    binCount: fc.constantFrom(5, 20),
    timeScale: fc.constantFrom(0.5, 1, 2),
    headPercentile: fc.constantFrom(5, 50),
    tailPercentile: fc.constantFrom(90, 99),
    marginShare: fc.constantFrom(0, 0.1),
    idleTimesMin: fc.constantFrom(1, 3),
    variationMin: fc.constantFrom(0, 0.5, 2),
    beyondShareMax: fc.constantFrom(0, 0.5),
    fixedKeepAliveMs: fc.constantFrom(null, 0, 7_000)
  })
)

/** Idle and busy in turn, mostly, with idle times that repeat. */
const histories: fc.Arbitrary<ReadonlyArray<World.Step>> = fc
  .tuple(
    fc.nat(4),
    fc.constantFrom(1_500, 3_000, 4_250, 12_000, 61_000),
    fc.array(
      fc.record({
        busyMs: fc.constantFrom(250, 900),
        idleMs: fc.oneof(
          { weight: 6, arbitrary: fc.constant(null) },
          { weight: 2, arbitrary: fc.constantFrom(500, 1_000, 2_000, 9_999) },
          { weight: 1, arbitrary: fc.constantFrom(50_000, 20_000_000) }
        ),
        load: fc.nat(7),
        arrived: fc.nat(1),
        isUnknown: fc.oneof({ weight: 9, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) })
      }),
      { minLength: 1, maxLength: 25 }
    )
  )
  .map(([ready, usualMs, turns]) => {
    const steps: Array<World.Step> = []
    let atMs = World.startMs
    for (const { busyMs, idleMs, load, arrived, isUnknown } of turns) {
      const rest = { arrived, ready: steps.length === 0 ? ready : 0, starting: 0 }
      steps.push({ atMs, pending: load, leased: 0, ...rest })
      atMs += busyMs
      steps.push({ atMs, pending: 0, leased: isUnknown ? "unknown" : 0, ...rest, ready: 0, arrived: 0 })
      atMs += idleMs ?? usualMs
    }
    return steps
  })

const tailMs = 20_000_000

const likeTheModel = (policyOf: (given: HistogramPolicy.HistogramOptions) => Policy<HistogramPolicy.Memory>) =>
  fc.property(options, histories, (given, history) => {
    const { changes } = World.open(policyOf(given), history, { tailMs })
    assert.deepStrictEqual(changes, model(history, tailMs, given).changes)
  })

const holds = <Inputs>(property: fc.IProperty<Inputs>) =>
  !fc.check(property, { numRuns: 500, endOnFailure: true }).failed

describe("histogram", () => {
  it("G1: percentiles and variation are those of the idle times themselves", () => {
    upholds(
      fc.property(fc.array(fc.nat(12_000), { minLength: 1, maxLength: 200 }), (idleTimes) => {
        const binMs = 1_000
        const binCount = 10
        let known = IdleHistogram.empty(binMs, binCount)
        for (const idleMs of idleTimes) known = IdleHistogram.record(known, idleMs)
        const within = idleTimes.filter((idleMs) => idleMs < binMs * binCount)
        assert.strictEqual(known.beyondCount, idleTimes.length - within.length)
        assert.closeTo(IdleHistogram.variation(known), variationOf(within, binMs, binCount), 1e-9)
        if (within.length === 0) return
        for (const percentile of [0, 5, 50, 99, 100]) {
          const [from, until] = edges(within, percentile, binMs)
          assert.strictEqual(IdleHistogram.headMs(known, percentile), from)
          assert.strictEqual(IdleHistogram.tailMs(known, percentile), until)
        }
      }),
      { numRuns: 200 }
    )
  })

  it("G2: it keeps an instance exactly when the model does", () => {
    upholds(likeTheModel(HistogramPolicy.histogram), { numRuns: 400 })
  })

  it("G2 kills: no pre-warming, no margin, what is beyond the bins as if it were within, learning from the unknown", () => {
    for (const [name, bug] of Object.entries(Bugs.histograms)) {
      assert.isFalse(holds(likeTheModel(bug)), `${name} lives`)
    }
  })

  it("G2: a variation that equals its bound is not below it, whatever the number of bins", () => {
    const known = [0, 1, 2, 3].reduce(
      (histogram, bin) => IdleHistogram.record(histogram, bin),
      IdleHistogram.empty(1, 5)
    )
    assert.strictEqual(IdleHistogram.variation(known), 0.5)
    const { reason } = HistogramPolicy.planOf(known, {
      ...HistogramPolicy.defaults,
      idleTimesMin: 4,
      variationMin: 0.5
    })
    assert.match(reason, /^4 idle times are known/)
  })

  it("a call every ten minutes is met by an instance that was started a minute before", () => {
    const minuteMs = 60_000
    const history: Array<World.Step> = []
    for (let call = 0; call < 12; call++) {
      const step = { pending: 0, arrived: 0, ready: 0, starting: 0 }
      const atMs = World.startMs + call * 10 * minuteMs
      history.push({ ...step, atMs, leased: 1, arrived: 1 }, { ...step, atMs: atMs + 1_000, leased: 0 })
    }
    const { changes } = World.open(HistogramPolicy.histogram(), history, { tailMs: 20 * minuteMs })
    const last = history.at(-1)!.atMs
    const after = changes.filter(({ atMs }) => atMs >= last).map((change) => [change.atMs - last, change.desired])
    // Idle for 9:59 each time: bin 9. Warm from 0.9 × 9 min until 1.1 × 10 min.
    assert.deepStrictEqual(after, [
      [0, 0],
      [8.1 * minuteMs, 1],
      [11 * minuteMs, 0]
    ])
  })

  it("G3: an idle time that something unknown fell into is not learned from", () => {
    const step = { pending: 0, arrived: 0, ready: 0, starting: 0 }
    const busy = (atMs: number) => ({ ...step, atMs: World.startMs + atMs, leased: 1 })
    const quiet = (atMs: number) => ({ ...step, atMs: World.startMs + atMs, leased: 0 })
    const blind = (atMs: number) => ({ ...step, atMs: World.startMs + atMs, leased: "unknown" as const })
    const learned = (history: ReadonlyArray<World.Step>) =>
      World.open(HistogramPolicy.histogram(), history, { tailMs: 0 }).memory.histogram?.withinCount
    assert.strictEqual(learned([busy(0), quiet(1_000), busy(9_000)]), 1)
    assert.strictEqual(learned([busy(0), quiet(1_000), blind(5_000), quiet(6_000), busy(9_000)]), 0)
    assert.strictEqual(learned([quiet(0), busy(9_000)]), 0, "nobody saw it begin")
  })

  it("a version that nobody ever called gets nothing", () => {
    const never = { atMs: World.startMs, pending: 0, leased: 0, arrived: 0, ready: 0, starting: 0 }
    Policies.withPolicy({ name: "histogram" }, (policy) => {
      assert.deepStrictEqual(World.open(policy, [never], { tailMs: 10_000_000 }).changes, [])
    })
  })
})
