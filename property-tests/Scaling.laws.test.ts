/**
 * Laws of the scaling machine, for every policy, and of the demand policy in particular. Each law is also run against
 * the wrong machines of `zoo/scalingBugs.ts` and must reject its own.
 *
 * Generators: few values near the bounds (0 to 6 requests, 1 to 4 slots, max 1 to 5), a quarter of the readings
 * unknown, time in steps around the idle window.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as ArrivalRate from "../src/core/scaling/ArrivalRate.ts"
import { demand } from "../src/core/scaling/DemandPolicy.ts"
import { fixed } from "../src/core/scaling/FixedPolicy.ts"
import * as Policies from "../src/core/scaling/Policies.ts"
import type { Decision, Observation, Policy, PolicySpec, Reading } from "../src/core/scaling/Policy.ts"
import * as Scaling from "../src/core/scaling/Scaling.ts"
import * as StickyMaximum from "../src/core/scaling/StickyMaximum.ts"
import { upholds } from "./upholds.ts"
import * as Bugs from "./zoo/scalingBugs.ts"

const spec: fc.Arbitrary<PolicySpec> = fc
  .record({
    minInstances: fc.nat(3),
    above: fc.nat(3),
    concurrency: fc.integer({ min: 1, max: 4 }),
    idleWindowMs: fc.constantFrom(100, 1_000, 5_000)
  })
  .map(({ minInstances, above, concurrency, idleWindowMs }) => ({
    minInstances,
    maxInstances: Math.max(1, minInstances + above),
    concurrency,
    idleWindowMs
  }))

const reading: fc.Arbitrary<Reading> = fc.oneof(
  { weight: 3, arbitrary: fc.nat(6) },
  { weight: 1, arbitrary: fc.constant("unknown" as const) }
)

interface Seen {
  readonly byMs: number
  readonly pending: Reading
  readonly leased: Reading
  readonly arrived: number
  readonly ready: number
  readonly starting: number
  readonly spec: PolicySpec | null
}

const seen: fc.Arbitrary<Seen> = fc.record({
  byMs: fc.constantFrom(0, 1, 99, 100, 101, 600, 1_000, 6_000),
  pending: reading,
  leased: reading,
  arrived: fc.nat(3),
  ready: fc.nat(4),
  starting: fc.nat(2),
  spec: fc.option(spec, { freq: 10 })
})

const observationOf = (nowMs: number, current: PolicySpec, arrivalsTotal: number, each: Seen): Observation => ({
  nowMs,
  pending: each.pending,
  leased: each.leased,
  oldestPendingMs: each.pending === "unknown" ? "unknown" : each.pending > 0 ? 1 : null,
  arrivalsTotal,
  ready: each.ready,
  starting: each.starting,
  draining: 0,
  slotsPerInstance: current.concurrency,
  desired: 0,
  spec: current
})

/** L14 over one history. */
const boundsHold = (start: Bugs.Start) =>
  fc.property(spec, fc.array(seen, { minLength: 1, maxLength: 30 }), (first, history) => {
    let machine = start()
    let current = first
    let nowMs = 1_000
    let arrivalsTotal = 0
    for (const each of history) {
      nowMs += each.byMs
      current = each.spec ?? current
      arrivalsTotal += each.arrived
      const before = machine.desired
      const [next] = machine.next(
        Scaling.Event.Observed({ observation: observationOf(nowMs, current, arrivalsTotal, each) })
      )
      machine = next
      const { desired } = machine
      const { pending, leased } = each
      assert.isAtLeast(desired, current.minInstances, "min")
      assert.isAtMost(desired, current.maxInstances, "max")
      assert.isTrue(Number.isInteger(desired))
      const isKnown = pending !== "unknown" && leased !== "unknown"
      const hasWork = (pending !== "unknown" && pending > 0) || (leased !== "unknown" && leased > 0)
      if (hasWork) assert.isAtLeast(desired, 1, "something is pending or leased")
      if (desired === 0 && before > 0) assert.isTrue(isKnown && !hasWork, "to zero on something unknown")
      if (!isKnown) {
        const present = Math.min(Math.max(before, each.ready + each.starting), current.maxInstances)
        assert.isAtLeast(desired, present, "unknown lowered it")
      }
    }
  })

/** L15: a pattern of load that repeats within a second stops changing anything after two windows. */
const settles = (start: Bugs.Start) =>
  fc.property(
    fc.record({ concurrency: fc.integer({ min: 1, max: 4 }), idleWindowMs: fc.constantFrom(1_000, 5_000) }),
    fc.array(fc.record({ present: fc.nat(8), arrived: fc.nat(3) }), { minLength: 1, maxLength: 5 }),
    fc.constantFrom(10, 50, 190),
    ({ concurrency, idleWindowMs }, pattern, stepMs) => {
      const current = { minInstances: 0, maxInstances: 20, concurrency, idleWindowMs }
      let machine = start()
      let arrivalsTotal = 0
      let nowMs = 0
      const settledMs = 2 * idleWindowMs + 4 * ArrivalRate.bucketMs
      let settled: number | undefined
      let peak = 0
      while (nowMs < settledMs + 10_000) {
        const each = pattern[Math.floor(nowMs / stepMs) % pattern.length]!
        peak = Math.max(peak, each.present, each.arrived > 0 ? 1 : 0)
        arrivalsTotal += each.arrived
        const leased = Math.min(each.present, machine.desired * concurrency)
        const observation = observationOf(nowMs, current, arrivalsTotal, {
          byMs: 0,
          pending: each.present - leased,
          leased,
          arrived: each.arrived,
          ready: machine.desired,
          starting: 0,
          spec: null
        })
        machine = machine.next(Scaling.Event.Observed({ observation }))[0]
        if (nowMs >= settledMs) {
          settled ??= machine.desired
          if (machine.desired !== settled) assert.fail(`it still moves at ${nowMs} ms`)
        }
        nowMs += stepMs
      }
      assert.strictEqual(settled, Math.ceil(peak / concurrency), "neither more nor less than the load needs")
    }
  )

/**
 * Down only after the idle window while no start was seen that tells what a return costs, and then by the ordered
 * wake-ups alone. Model: the greatest need of the last window. What is learned after that: `ReturnTimes.laws.test.ts`.
 */
const patient = (start: Bugs.Start) =>
  fc.property(
    fc.integer({ min: 1, max: 3 }),
    fc.array(fc.record({ byMs: fc.constantFrom(1, 300, 999, 1_000, 1_500), present: fc.nat(6) }), {
      minLength: 1,
      maxLength: 12
    }),
    (concurrency, history) => {
      const idleWindowMs = 1_000
      const current = { minInstances: 0, maxInstances: 50, concurrency, idleWindowMs }
      let machine = start()
      let nowMs = 0
      let present = 0
      let wakeAtMs: number | null = null
      const needs: Array<{ readonly need: number; readonly untilMs: number }> = []
      const look = () => {
        const observation = observationOf(nowMs, current, 0, {
          byMs: 0,
          pending: present,
          leased: 0,
          arrived: 0,
          ready: 0,
          starting: 0,
          spec: null
        })
        const [next, commands] = machine.next(Scaling.Event.Observed({ observation }))
        machine = next
        wakeAtMs = null
        for (const command of commands) if (command._tag === "WakeAt") wakeAtMs = command.atMs
        const past = needs.filter(({ untilMs }) => nowMs < untilMs + idleWindowMs).map(({ need }) => need)
        const expected = Math.max(Math.ceil(present / concurrency), ...past, 0)
        assert.strictEqual(machine.desired, expected, `at ${nowMs} ms`)
      }
      const wait = (untilMs: number) => {
        while (wakeAtMs !== null && wakeAtMs <= untilMs) {
          nowMs = wakeAtMs
          look()
        }
        nowMs = untilMs
      }
      for (const each of history) {
        wait(nowMs + each.byMs)
        needs.push({ need: Math.ceil(present / concurrency), untilMs: nowMs })
        present = each.present
        look()
      }
      needs.push({ need: Math.ceil(present / concurrency), untilMs: nowMs })
      present = 0
      look()
      wait(nowMs + idleWindowMs + 1)
      assert.strictEqual(machine.desired, 0, "nothing woke it")
    }
  )

const holds = <Inputs>(property: fc.IProperty<Inputs>, numRuns = 300) =>
  !fc.check(property, { numRuns, endOnFailure: true }).failed

const wild: Policy<null> = {
  name: "wild",
  empty: null,
  decide: (memory, { nowMs }): readonly [null, Decision] => {
    const answers = [-3, 0, 0.4, 1e9, Number.NaN, Number.POSITIVE_INFINITY]
    return [memory, { desired: answers[nowMs % answers.length]!, reason: "", inputs: {}, wakeAtMs: nowMs - 5 }]
  }
}

describe("scaling: laws", () => {
  for (const [name, start] of [
    ["demand", () => Policies.start("demand")],
    ["fixed", () => Policies.start("fixed")],
    ["a policy that answers nonsense", () => Scaling.running(wild)]
  ] as const) {
    it(`L14: bounds, zero, waiting work and the unknown are respected under ${name}`, () => {
      upholds(boundsHold(start), { numRuns: 1_000 })
    })
  }

  it("L14 kills: no bounds, unknown as zero, the queue alone, utilisation alone", () => {
    for (const [name, bug] of Object.entries({
      unknownIsZero: Bugs.unknownIsZero,
      boundless: Bugs.boundless,
      pendingOnly: Bugs.pendingOnly,
      neverFromZero: Bugs.neverFromZero
    })) {
      assert.isFalse(holds(boundsHold(bug)), `${name} lives`)
    }
  })

  it("L15: a steady load settles on what it needs within two windows", () => {
    upholds(
      settles(() => Scaling.running(demand)),
      { numRuns: 40 }
    )
    upholds(
      fc.property(spec, (current) => {
        const [, first] = fixed.decide(null, observationOf(0, current, 0, idleSeen))
        assert.strictEqual(first.desired, Math.max(1, current.minInstances))
      })
    )
  })

  it("L15 kills: restless, and counting each request twice", () => {
    assert.isFalse(
      holds(
        settles(() => Scaling.running(demandOf(Bugs.restless))),
        50
      )
    )
    assert.isFalse(holds(settles(Bugs.countsTwice), 50))
  })

  it("down only when the higher need did not come back within the idle window, by its own wake-ups", () => {
    upholds(
      patient(() => Scaling.running(demand)),
      { numRuns: 1_000 }
    )
  })

  it("that kills: impatience, and a machine that orders no wake-up", () => {
    assert.isFalse(holds(patient(Bugs.impatient)))
    assert.isFalse(holds(patient(Bugs.sleepsOver)))
  })

  it("a machine that begins with instances already there gives them a whole window", () => {
    const current = { minInstances: 0, maxInstances: 9, concurrency: 1, idleWindowMs: 1_000 }
    const look = (machine: Scaling.Running, nowMs: number, each: Partial<Seen>) =>
      machine.next(
        Scaling.Event.Observed({ observation: observationOf(nowMs, current, 0, { ...idleSeen, ...each }) })
      )[0]
    let machine = look(Policies.start("demand"), 0, { ready: 3, pending: "unknown" })
    assert.strictEqual(machine.desired, 3)
    machine = look(machine, 5_000, { ready: 3 })
    assert.strictEqual(machine.desired, 3)
    machine = look(machine, 5_999, { ready: 3 })
    assert.strictEqual(machine.desired, 3)
    assert.strictEqual(look(machine, 6_000, { ready: 3 }).desired, 0)
  })

  it("undeployed means zero, from any state and whatever is pending", () => {
    upholds(
      fc.property(spec, seen, (current, each) => {
        const [machine] = Policies.start("demand").next(
          Scaling.Event.Observed({ observation: observationOf(0, current, 0, each) })
        )
        const [next, commands] = machine.next(Scaling.Event.Undeployed({ nowMs: 1 }))
        assert.strictEqual(next.desired, 0)
        assert.strictEqual(commands.length, machine.desired === 0 ? 0 : 1)
      })
    )
  })

  it("SetDesired is ordered exactly when desired changes, and its figures connect", () => {
    upholds(
      fc.property(spec, fc.array(seen, { maxLength: 20 }), (current, history) => {
        let machine = Policies.start("demand")
        let nowMs = 0
        for (const each of history) {
          nowMs += each.byMs
          const [next, commands] = machine.next(
            Scaling.Event.Observed({ observation: observationOf(nowMs, current, 0, each) })
          )
          const set = commands.filter((command) => command._tag === "SetDesired")
          assert.deepStrictEqual(
            set.map(({ from, to }) => [from, to]),
            next.desired === machine.desired ? [] : [[machine.desired, next.desired]]
          )
          for (const command of commands) if (command._tag === "WakeAt") assert.isAbove(command.atMs, nowMs)
          machine = next
        }
      })
    )
  })
})

const idleSeen: Seen = { byMs: 0, pending: 0, leased: 0, arrived: 0, ready: 0, starting: 0, spec: null }

/** The bug as a policy of its own: it is restless inside the guard too. */
const demandOf = (start: Bugs.Start): Policy<null> => {
  let machine = start()
  return {
    name: "restless",
    empty: null,
    decide: (memory, observation) => {
      machine = machine.next(Scaling.Event.Observed({ observation }))[0]
      return [memory, { desired: machine.desired, reason: "", inputs: {}, wakeAtMs: null }]
    }
  }
}

describe("scaling: the sliding maximum", () => {
  const values = fc.array(fc.record({ byMs: fc.integer({ min: 0, max: 40 }), value: fc.nat(5) }), { maxLength: 40 })

  it("W1, W2: it is the greatest value of the window", () => {
    upholds(
      fc.property(values, (history) => {
        let levels = StickyMaximum.empty
        let nowMs = 0
        const all: Array<{ readonly atMs: number; readonly value: number }> = []
        for (const { byMs, value } of history) {
          nowMs += byMs
          all.push({ atMs: nowMs, value })
          levels = StickyMaximum.expire(StickyMaximum.seen(levels, value, nowMs), nowMs, 100)
          const model = Math.max(0, ...all.filter(({ atMs }) => nowMs < atMs + 100).map((each) => each.value))
          assert.strictEqual(StickyMaximum.highest(levels)?.value ?? 0, model)
        }
      })
    )
  })

  it("W1, W3: however long a ramp is, few levels are kept and none is shortened", () => {
    let levels = StickyMaximum.empty
    for (let value = 1_000; value > 0; value--) levels = StickyMaximum.seen(levels, value, 1_000 - value)
    assert.strictEqual(levels.length, StickyMaximum.levelsMax)
    for (let nowMs = 999; nowMs < 2_100; nowMs++) {
      levels = StickyMaximum.expire(levels, nowMs, 1_000)
      const model = nowMs < 1_999 ? Math.min(1_000, 1_999 - nowMs) : 0
      assert.isAtLeast(StickyMaximum.highest(levels)?.value ?? 0, model)
    }
  })
})

describe("scaling: what is expected of the arrivals", () => {
  it("R1: a burst is expected to bring nothing, whatever was learned before", () => {
    upholds(
      fc.property(fc.integer({ min: 1, max: 1_000 }), fc.integer({ min: 0, max: 60_000 }), (burst, quietMs) => {
        let [rate] = ArrivalRate.observe(ArrivalRate.first({ nowMs: 0, arrivalsTotal: 0, pending: 0, leased: 0 }), {
          nowMs: 100,
          arrivalsTotal: 1,
          pending: 0,
          leased: 1
        })
        ;[rate] = ArrivalRate.observe(rate, { nowMs: 30_100, arrivalsTotal: 1, pending: 0, leased: 0 })
        ;[rate] = ArrivalRate.observe(rate, {
          nowMs: 33_000 + quietMs,
          arrivalsTotal: 1 + burst,
          pending: burst,
          leased: 0
        })
        assert.strictEqual(ArrivalRate.expectation(rate).concurrency, 0)
      })
    )
  })

  it("R2: under a constant load it comes near the true concurrency and does not exceed it", () => {
    upholds(
      fc.property(fc.constantFrom(5, 20, 50), fc.constantFrom(20, 300, 2_000, 9_000), (gapMs, serviceMs) => {
        const truth = serviceMs / gapMs
        const ends: Array<number> = []
        let rate = ArrivalRate.first({ nowMs: 0, arrivalsTotal: 0, pending: 0, leased: 0 })
        let arrivalsTotal = 0
        let last = 0
        for (let nowMs = gapMs; nowMs <= 60_000; nowMs += gapMs) {
          while (ends.length > 0 && ends[0]! <= nowMs) {
            const endedAtMs = ends.shift()!
            ;[rate] = ArrivalRate.observe(rate, { nowMs: endedAtMs, arrivalsTotal, pending: 0, leased: ends.length })
          }
          arrivalsTotal += 1
          ends.push(nowMs + serviceMs)
          ;[rate] = ArrivalRate.observe(rate, { nowMs, arrivalsTotal, pending: 0, leased: ends.length })
          last = ArrivalRate.expectation(rate).concurrency
          if (last > Math.ceil(truth) + 1e-6) assert.fail(`${last} expected at ${nowMs} ms, and ${truth} is true`)
        }
        assert.isAtLeast(last, truth * 0.7)
      }),
      { numRuns: 8 }
    )
  })
})
