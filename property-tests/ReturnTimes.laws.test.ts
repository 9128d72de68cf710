/**
 * Laws of what `demand` learns of the returns of a need (text in `src/core/scaling/ReturnTimes.ts`).
 *
 * Generators: looks at 50 ms to 20 s of each other with needs up to 300, instances that start and become ready, times in
 * which the demand is unknown; and regular worlds, in which a need comes back after the same time again and again.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { demand } from "../src/core/scaling/DemandPolicy.ts"
import * as ReturnTimes from "../src/core/scaling/ReturnTimes.ts"
import * as Scaling from "../src/core/scaling/Scaling.ts"
import { kills } from "./zoo/kills.ts"

type Machine = Pick<typeof ReturnTimes, "observe" | "interrupted" | "stayMs" | "leftOf">

const idleWindow = fc.constantFrom(500, 2_000, 10_000, 60_000, 3_600_000)

interface Step {
  readonly byMs: number
  readonly need: number | "unknown"
  readonly ready: number
  readonly starting: number
}

const steps: fc.Arbitrary<ReadonlyArray<Step>> = fc.array(
  fc.record({
    byMs: fc.constantFrom(50, 100, 700, 3_000, 20_000),
    need: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(0, 1, 2, 3, 5, 9, 40, 300) },
      { weight: 1, arbitrary: fc.constant("unknown" as const) }
    ),
    ready: fc.nat(6),
    starting: fc.nat(3)
  }),
  { maxLength: 80 }
)

const lived = (machine: Machine, history: ReadonlyArray<Step>, idleWindowMs: number) => {
  let times = ReturnTimes.empty
  let nowMs = 1_000
  for (const { byMs, need, ready, starting } of history) {
    nowMs += byMs
    times =
      need === "unknown"
        ? machine.interrupted(times)
        : machine.observe(times, { nowMs, need, ready, starting, idleWindowMs })
  }
  return times
}

const isBounded = (machine: Machine) =>
  fc.property(steps, idleWindow, idleWindow, fc.integer({ min: 1, max: 400 }), (history, before, now, need) => {
    const times = lived(machine, history, before)
    const stayMs = machine.stayMs(times, need, now)
    assert.isAtMost(stayMs, now)
    assert.isAtLeast(stayMs, Math.min(now, before, 2_000))
    assert.strictEqual(machine.stayMs(times, 1, now), now)
    const unstarted = lived(
      machine,
      history.map((step) => ({ ...step, ready: 0 })),
      before
    )
    assert.strictEqual(machine.stayMs(unstarted, need, now), now)
  })

/** A need of `need` for a second, none for `gapMs`, and so on, with instances that take `startMs`. */
const regular = (machine: Machine, given: Regular, cycles: number) => {
  const { need, gapMs, startMs, idleWindowMs } = given
  let times = ReturnTimes.empty
  let nowMs = 0
  const look = (present: number, ready: number, starting: number) => {
    times = machine.observe(times, { nowMs, need: present, ready, starting, idleWindowMs })
  }
  for (let cycle = 0; cycle < cycles; cycle++) {
    look(need, 0, need)
    nowMs += startMs
    look(need, need, 0)
    nowMs += 1_000
    look(0, need, 0)
    nowMs += gapMs
  }
  return times
}

interface Regular {
  readonly need: number
  readonly gapMs: number
  readonly startMs: number
  readonly idleWindowMs: number
}

const regularly: fc.Arbitrary<Regular> = fc.record({
  need: fc.integer({ min: 2, max: 50 }),
  gapMs: fc.integer({ min: 300, max: 200_000 }),
  startMs: fc.constantFrom(100, 2_000, 20_000),
  idleWindowMs: fc.constantFrom(10_000, 60_000, 300_000)
})

/** To stay until it returns costs the gap; to go as soon as may be costs the shortest stay, a start and four waits. */
const isWorthIt =
  (met = { waited: 0, left: 0 }) =>
  (machine: Machine) =>
    fc.property(regularly, (given) => {
      const { need, gapMs, startMs, idleWindowMs } = given
      const stayMs = machine.stayMs(regular(machine, given, 6), need, idleWindowMs)
      // The bins are half as wide again as the one before, and the shortest stay lies between 2 and 3 s.
      if (gapMs * 1.5 < Math.min(idleWindowMs, startMs * 5)) {
        met.waited++
        assert.isAtLeast(stayMs, gapMs)
      } else if (gapMs > Math.max(startMs * 5 + 3_000, 3_000) || gapMs > idleWindowMs * 1.5) {
        met.left++
        assert.isBelow(stayMs, gapMs)
        assert.isBelow(stayMs, 3_000)
      }
    })

/** Whatever was learned, a part of the need stays for the whole window, and it only shrinks. */
const shrinks = (machine: Machine) =>
  fc.property(regularly, fc.array(fc.nat(320_000), { minLength: 1, maxLength: 20 }), (given, moments) => {
    const { need, idleWindowMs } = given
    const times = regular(machine, given, 6)
    let before = need
    for (const sinceMs of moments.sort((left, right) => left - right)) {
      const left = machine.leftOf(times, need, sinceMs, idleWindowMs)
      assert.isAtMost(left.need, before)
      assert.strictEqual(left.need > 0, sinceMs < idleWindowMs)
      // It stays as long as it says, and no longer.
      if (left.need > 0) {
        assert.strictEqual(machine.leftOf(times, need, sinceMs + left.forMs - 0.5, idleWindowMs).need, left.need)
        assert.isBelow(machine.leftOf(times, need, sinceMs + left.forMs, idleWindowMs).need, left.need)
      }
      before = left.need
    }
  })

/** A gap that nobody watched is no return. */
const isWatched = (machine: Machine) =>
  fc.property(regularly, (given) => {
    const { need, gapMs, startMs, idleWindowMs } = given
    let times = ReturnTimes.empty
    let nowMs = 0
    for (let cycle = 0; cycle < 6; cycle++) {
      times = machine.observe(times, { nowMs, need, ready: cycle % 2 === 0 ? 0 : need, starting: 1, idleWindowMs })
      nowMs += startMs
      times = machine.observe(times, { nowMs, need: 0, ready: need, starting: 0, idleWindowMs })
      nowMs += gapMs / 2
      times = machine.interrupted(times)
      nowMs += gapMs / 2
    }
    assert.strictEqual(machine.stayMs(times, need, idleWindowMs), idleWindowMs)
  })

/** What is not waited for goes, to the last. */
const dropsAll: Machine = {
  ...ReturnTimes,
  leftOf: (times, need, sinceMs, idleWindowMs) => {
    const forMs = ReturnTimes.stayMs(times, need, idleWindowMs) - sinceMs
    return forMs > 0 ? { need, forMs } : { need: 0, forMs: 0 }
  }
}

/** Stays as long as the returns say, whatever the deployment allows. */
const ignoresTheWindow: Machine = {
  ...ReturnTimes,
  observe: (times, look) => ReturnTimes.observe(times, { ...look, idleWindowMs: 3_600_000 }),
  stayMs: (times, need) => ReturnTimes.stayMs(times, need, 3_600_000)
}

/** What a start costs is the start alone. */
const waitsForNothing: Machine = {
  ...ReturnTimes,
  observe: (times, look) => ReturnTimes.observe({ ...times, startingMs: 0, starting: times.starting / 5 }, look)
}

const takesTheUnknownForKnown: Machine = { ...ReturnTimes, interrupted: (times) => times }

describe("the returns of a need", () => {
  it("K1: a stay is within the idle window, and the whole of it until something is known", () => {
    fc.assert(isBounded(ReturnTimes), { numRuns: 500 })
  })

  it("K1: three returns are a few, the fourth is believed, and each counts a 64th less with the next", () => {
    const given = { need: 2, gapMs: 9_000, startMs: 1_000, idleWindowMs: 10_000 }
    const learned = (returns: number) => regular(ReturnTimes, given, returns + 1)
    assert.strictEqual(ReturnTimes.stayMs(learned(3), 2, 10_000), 10_000)
    assert.isBelow(ReturnTimes.stayMs(learned(4), 2, 10_000), 9_000)
    const kept = 63 / 64
    const wanted = 1 + kept + kept ** 2 + kept ** 3
    assert.closeTo(learned(4).bands[1]?.count ?? 0, wanted, 1e-9)
    assert.closeTo(learned(4).bands[1]?.returns.reduce((sum, count) => sum + count, 0) ?? 0, wanted, 1e-9)
    assert.strictEqual(learned(4).startMs, 1_000)
    // Figures come ten times a second: what is shorter was no end.
    assert.strictEqual(regular(ReturnTimes, { ...given, gapMs: 99 }, 5).bands[1]?.count, 0)
    assert.isAbove(regular(ReturnTimes, { ...given, gapMs: 100 }, 5).bands[1]?.count ?? 0, 3)
  })

  it("K1: of a need of the idle window something is left, less and less, for as long as it says", () => {
    fc.assert(shrinks(ReturnTimes), { numRuns: 500 })
  })

  it("K2: what returns in time to be worth the wait is waited for, and what never does is not", () => {
    const met = { waited: 0, left: 0 }
    fc.assert(isWorthIt(met)(ReturnTimes), { numRuns: 500 })
    assert.isAbove(Math.min(met.waited, met.left), 50)
  })

  it("L20: an end or a return that nobody saw is none", () => {
    fc.assert(isWatched(ReturnTimes), { numRuns: 200 })
  })

  it("K3: a copy by way of JSON goes on as the original does", () => {
    fc.assert(
      fc.property(steps, idleWindow, (history, idleWindowMs) => {
        const half = Math.floor(history.length / 2)
        const times = lived(ReturnTimes, history.slice(0, half), idleWindowMs)
        const copied: ReturnTimes.ReturnTimes = JSON.parse(JSON.stringify(times))
        assert.deepStrictEqual(copied, times)
      }),
      { numRuns: 200 }
    )
  })

  it("K1, K2, L20 kill: dropping to zero, ignoring the window, waiting for nothing, knowing the unknown", () => {
    kills(isBounded, { ignoresTheWindow })
    kills(shrinks, { dropsAll })
    kills(isWorthIt(), { waitsForNothing })
    kills(isWatched, { takesTheUnknownForKnown })
  })

  it("demand goes down early once it is known that a burst does not come back soon, and to zero only after the window", () => {
    const spec = { minInstances: 0, maxInstances: 20, concurrency: 1, idleWindowMs: 60_000 }
    let machine = Scaling.running(demand)
    let nowMs = 0
    let wakeAtMs: number | null = null
    const look = (leased: number, ready: number, starting: number) => {
      const observation = {
        nowMs,
        pending: 0,
        leased,
        oldestPendingMs: null,
        arrivalsTotal: 0,
        ready,
        starting,
        draining: 0,
        slotsPerInstance: 1,
        desired: 0,
        spec
      }
      const [next, commands] = machine.next(Scaling.Event.Observed({ observation }))
      machine = next
      wakeAtMs = null
      for (const command of commands) if (command._tag === "WakeAt") wakeAtMs = command.atMs
      return commands.find((command) => command._tag === "SetDesired")
    }
    const wake = () => {
      assert.isNotNull(wakeAtMs)
      nowMs = wakeAtMs ?? Number.NaN
      return look(0, 5, 0)
    }
    for (let burst = 0; burst < 5; burst++) {
      look(5, 0, 5)
      nowMs += 1_000
      look(5, 5, 0)
      nowMs += 1_000
      look(0, 5, 0)
      nowMs += 50_000
    }
    look(5, 5, 0)
    nowMs += 1_000
    const endedMs = nowMs
    look(0, 5, 0)
    assert.strictEqual(machine.desired, 5)
    wake()
    assert.isBelow(nowMs - endedMs, 3_000)
    assert.strictEqual(machine.desired, 1)
    wake()
    assert.strictEqual(nowMs - endedMs, 60_000)
    assert.strictEqual(machine.desired, 0)
  })
})
