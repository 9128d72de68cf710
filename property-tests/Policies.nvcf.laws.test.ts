/**
 * NVCF's autoscaler: worked numbers of its reference, and an oracle with a single-precision register of its own.
 *
 * N1: single precision where NVCF has it. N2: the transition table. N3: to zero only idle and below the mean. N4: a
 * higher newest sample never lowers the answer. N5: the policy on observations equals NVCF's queries over the raw steps.
 * N6: an equal answer is sent once in five minutes.
 *
 * Generators: percentages around the thresholds (0, 29 to 31, 69 to 71, 100, 400) and bases up to 2,000; histories of
 * up to 25 steps, off the beats so that "just before" and "just after" a minute are the same, gaps of up to 4 minutes.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as NvcfPolicy from "../src/core/scaling/NvcfPolicy.ts"
import * as NvcfRules from "../src/core/scaling/NvcfRules.ts"
import type { Policy } from "../src/core/scaling/Policy.ts"
import * as World from "./PoliciesWorld.ts"
import { upholds } from "./upholds.ts"
import * as Bugs from "./zoo/scalingBugs.ts"

const rules: NvcfRules.Rules = NvcfPolicy.defaults

const register = new Float32Array(1)
/** Through memory of 32 bits, which is not how the policy rounds. */
const single = (value: number): number => {
  register[0] = value
  return register[0]!
}

interface Case extends NvcfRules.Figures {
  readonly rules: NvcfRules.Rules
}

/** The rules of the reference, line by line: gate, step, zero, stale zero. */
const oracle = ({ rules: given, samples, current, isRecentlyInvoked, requested }: Case): number | null => {
  if (current === 0 && (requested ?? 0) > 0) return null
  const clean = samples.map((sample) => (Number.isFinite(sample) ? single(sample) : 0))
  let numerator = 0
  let denominator = 0
  clean.forEach((x, index) => {
    const w = single(Math.exp(single(-single(given.decayFactor) * single(clean.length - 1 - index))))
    numerator = single(numerator + single(w * x))
    denominator = single(denominator + w)
  })
  const mean = clean.length === 0 ? 0 : single(numerator / denominator)
  if (!isRecentlyInvoked && mean < single(given.down.thresholdPercent)) return 0
  if (clean.length === 0) return Math.max(current, 1)
  const gate = ({ stickiness }: NvcfRules.Direction, breaches: (x: number) => boolean) => {
    let w = stickiness === null ? 0 : Math.floor(stickiness.sizeMs / 60_000)
    let r = stickiness === null ? 0 : Math.floor(stickiness.thresholdMs / 60_000)
    if (w === 0 || r === 0) w = r = 1
    let count = 0
    for (let back = 1; back <= Math.min(w, clean.length); back++) if (breaches(clean.at(-back)!)) count += 1
    return count >= r
  }
  const base = Math.max(current, 1)
  if (gate(given.up, (x) => x > single(given.up.thresholdPercent)))
    return Math.ceil(single(base * single(given.up.factor)))
  if (gate(given.down, (x) => x < single(given.down.thresholdPercent))) {
    return Math.max(1, Math.floor(single(base * single(given.down.factor))))
  }
  return base
}

const stickiness = fc.option(
  fc.record({
    sizeMs: fc.constantFrom(30_000, 60_000, 179_999, 180_000, 600_000, 3_600_000),
    thresholdMs: fc.constantFrom(0, 59_999, 60_000, 120_000, 720_000)
  })
)
const percent = fc.constantFrom(0, 10, 29, 29.999999, 30, 30.000002, 31, 50, 69, 70, 70.000001, 70.00001, 71, 100, 400)
const anyRules: fc.Arbitrary<NvcfRules.Rules> = fc.record({
  up: fc.record({ thresholdPercent: fc.constantFrom(70, 31), factor: fc.constantFrom(1.2, 1.1, 2, 1.5), stickiness }),
  down: fc.record({ thresholdPercent: fc.constantFrom(30, 0), factor: fc.constantFrom(0.8, 0.9, 0.5), stickiness }),
  decayFactor: fc.constantFrom(0, 0.1, 1)
})
const cases: fc.Arbitrary<Case> = fc.record({
  rules: anyRules,
  samples: fc.array(
    fc.oneof({ weight: 9, arbitrary: percent }, fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY)),
    {
      maxLength: 11
    }
  ),
  current: fc.oneof(fc.nat(12), fc.nat(2_000)),
  isRecentlyInvoked: fc.boolean(),
  requested: fc.option(fc.nat(3))
})

const likeTheOracle = (decide: typeof NvcfRules.decide) =>
  fc.property(cases, (given) => {
    assert.strictEqual(decide(given.rules, given).desired, oracle(given))
  })

const holds = <Inputs>(property: fc.IProperty<Inputs>) =>
  !fc.check(property, { numRuns: 3_000, endOnFailure: true }).failed

/** One newest sample, everything else at rest. */
const decided = (current: number, newest: number, more: Partial<NvcfRules.Figures> = {}) =>
  NvcfRules.decide(rules, { samples: [newest], current, isRecentlyInvoked: true, requested: null, ...more }).desired

describe("nvcf: the decision", () => {
  it("N1: ceil up and floor down, as the reference works them out", () => {
    const up = [
      [1, 2],
      [2, 3],
      [5, 6],
      [6, 8],
      [10, 12],
      [1_000, 1_200]
    ]
    for (const [from, to] of up) assert.strictEqual(decided(from!, 71), to, `${from} up`)
    const down = [
      [2, 1],
      [3, 2],
      [6, 4],
      [1, 1]
    ]
    for (const [from, to] of down) assert.strictEqual(decided(from!, 29), to, `${from} down`)
  })

  it("N1: single precision makes 25, 50 and 100 go one further than double precision would", () => {
    assert.strictEqual(decided(25, 71), 31)
    assert.strictEqual(decided(50, 71), 61)
    assert.strictEqual(decided(100, 71), 121)
    assert.deepStrictEqual(
      [25, 50, 100].map((base) => Math.ceil((base * 6) / 5)),
      [30, 60, 120]
    )
  })

  it("N1: fifteen steps from 1 to 48", () => {
    const path = [1]
    while (path.at(-1)! < 48) path.push(decided(path.at(-1)!, 100)!)
    assert.deepStrictEqual(path, [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 22, 27, 33, 40, 48])
  })

  it("thresholds are strict, and how far beyond them does not matter", () => {
    assert.strictEqual(decided(5, 70), 5)
    assert.strictEqual(decided(5, 30), 5)
    assert.strictEqual(decided(5, 70.0001), 6)
    assert.strictEqual(decided(5, 29.9999), 4)
    assert.strictEqual(decided(5, 400), 6)
    assert.strictEqual(decided(5, 70.000001), 5, "70.000001 is 70 in single precision")
  })

  it("N2: the transition table, row by row", () => {
    const idle = { isRecentlyInvoked: false }
    const rows: ReadonlyArray<readonly [string, number | null, Partial<NvcfRules.Figures> & { current: number }]> = [
      ["1", null, { current: 0, requested: 3, samples: [100] }],
      ["2", 1, { current: 0, samples: [] }],
      ["3", 2, { current: 0, samples: [71] }],
      ["4", 0, { current: 0, samples: [10], ...idle }],
      ["5", 0, { current: 0, samples: [10], requested: 0, ...idle }],
      ["6", 7, { current: 7, samples: [] }],
      ["7", 0, { current: 7, samples: [], ...idle }],
      ["8", 9, { current: 7, samples: [20, 90] }],
      ["9", 5, { current: 7, samples: [90, 20] }],
      ["10", 7, { current: 7, samples: [90, 50] }],
      ["11", 0, { current: 50, samples: [10, 71], ...idle }],
      ["12", 9, { current: 7, samples: [90, 90], ...idle }]
    ]
    for (const [row, expected, figures] of rows) {
      const given = { samples: [], isRecentlyInvoked: true, requested: null, ...figures }
      // Row 11 needs a mean below 30 with its newest sample above 70: ten quiet minutes before.
      const samples = row === "11" ? [...Array.from({ length: 10 }, () => 0), 71] : given.samples
      assert.strictEqual(NvcfRules.decide(rules, { ...given, samples }).desired, expected, `row ${row}`)
    }
  })

  it("the mean weighs the newest sample with 1 and each older one less", () => {
    assert.strictEqual(NvcfRules.weightedMean([0, 100], 0), 50)
    const w = single(Math.exp(-single(0.1)))
    assert.strictEqual(NvcfRules.weightedMean([0, 100], 0.1), single(100 / single(1 + w)))
    assert.strictEqual(NvcfRules.weightedMean([], 0.1), 0)
  })

  it("any so many of the last so many minutes, in any order; less than a minute is no stickiness", () => {
    const sticky = (sizeMs: number, thresholdMs: number) => ({
      ...rules,
      up: { ...rules.up, stickiness: { sizeMs, thresholdMs } }
    })
    const of = (given: NvcfRules.Rules, samples: ReadonlyArray<number>) =>
      NvcfRules.decide(given, { samples, current: 5, isRecentlyInvoked: true, requested: null }).desired
    assert.strictEqual(of(sticky(180_000, 120_000), [90, 50, 90]), 6)
    assert.strictEqual(of(sticky(180_000, 120_000), [90, 50, 50, 90]), 5)
    assert.strictEqual(of(sticky(180_000, 120_000), [90, 90, 50]), 6, "the newest need not be one of them")
    assert.strictEqual(of(sticky(59_999, 59_000), [50, 90]), 6)
    assert.strictEqual(
      of(
        sticky(3_600_000, 720_000),
        Array.from({ length: 11 }, () => 90)
      ),
      5,
      "12 of 11 is never"
    )
  })

  it("N1: every answer is that of the oracle", () => {
    upholds(likeTheOracle(NvcfRules.decide), { numRuns: 5_000 })
  })

  it("N1 kills: double precision, precedence of down, a threshold that counts, zero that waits for the gate", () => {
    for (const [name, bug] of Object.entries(Bugs.nvcfs)) assert.isFalse(holds(likeTheOracle(bug)), `${name} lives`)
  })

  it("N3: to zero only when idle and the mean is below the threshold", () => {
    upholds(
      fc.property(cases, (given) => {
        const { desired, mean } = NvcfRules.decide(given.rules, given)
        if (desired !== 0) return
        assert.isFalse(given.isRecentlyInvoked)
        assert.isBelow(mean, given.rules.down.thresholdPercent)
      }),
      { numRuns: 2_000 }
    )
  })

  it("N4: a higher newest sample never lowers the answer", () => {
    upholds(
      fc.property(cases, percent, percent, (given, one, other) => {
        const at = (newest: number) =>
          NvcfRules.decide(
            {
              ...given.rules,
              up: { ...given.rules.up, stickiness: null },
              down: { ...given.rules.down, stickiness: null }
            },
            { ...given, samples: [...given.samples, newest], isRecentlyInvoked: true, requested: null }
          ).desired!
        assert.isAtMost(at(Math.min(one, other)), at(Math.max(one, other)))
      }),
      { numRuns: 2_000 }
    )
  })
})

/** What NVCF's queries return at `nowMs`, from the raw steps. */
const queries = (history: ReadonlyArray<World.Step>, nowMs: number, options: NvcfPolicy.NvcfOptions) => {
  const first = history[0]!
  const before = (atMs: number) => World.stepAt(history, atMs, false) ?? first
  const samples: Array<number> = []
  for (let agoMs = options.lookbackMs; agoMs >= 0; agoMs -= 60_000) {
    const atMs = nowMs - agoMs
    const windowMs = options.utilizationWindowMs
    const { loadMs, knownMs } = World.integral(history, ({ leased }) => leased, {
      fromMs: atMs - windowMs,
      untilMs: atMs
    })
    const threads = before(atMs).ready * World.spec.concurrency
    if (knownMs > 0 && threads > 0) samples.push((100 * (loadMs / knownMs)) / threads)
  }
  let current = before(nowMs).ready
  if (options.countIsSettled) {
    const settledMs = Math.floor(nowMs / 60_000) * 60_000 - 60_000
    const points = [0, 1, 2, 3, 4, 5].map((ago) => before(settledMs - ago * 60_000).ready)
    current = points.find((ready) => ready > 0) ?? 0
  }
  return { samples, current }
}

/** A loop that asks its queries at every beat, remembers what it sent for five minutes, and never sleeps. */
const loop = (history: ReadonlyArray<World.Step>, tailMs: number, options: NvcfPolicy.NvcfOptions) => {
  const first = history[0]!
  const endMs = history.at(-1)!.atMs + tailMs
  const changes: Array<World.Change> = []
  let instances = first.ready + first.starting
  if (instances > 0) changes.push({ atMs: first.atMs, desired: instances })
  const invocations = history.filter(({ arrived }) => arrived > 0).map(({ atMs }) => atMs)
  const hadWork = [first.pending, first.leased].some((reading) => reading !== "unknown" && reading > 0) || instances > 0
  if (!hadWork && invocations[0] === first.atMs) invocations.shift()
  if (hadWork) invocations.unshift(first.atMs)
  let sent: { readonly count: number; readonly atMs: number } | null = null
  const { loopIntervalMs } = options
  for (let atMs = Math.floor(first.atMs / loopIntervalMs + 1) * loopIntervalMs; atMs <= endMs; atMs += loopIntervalMs) {
    if (World.stepAt(history, atMs)!.leased === "unknown") continue
    const { samples, current } = queries(history, atMs, options)
    const last = invocations.findLast((invokedMs) => invokedMs <= atMs)
    if (last === undefined && current === 0) continue
    const isRecentlyInvoked = last !== undefined && atMs - last < options.idleTimeoutMs + 300_000
    const requested: number | null = sent !== null && atMs - sent.atMs < 300_000 ? sent.count : null
    const answer = oracle({ rules: options, samples, current, isRecentlyInvoked, requested })
    if (answer === null || answer === requested) continue
    sent = { count: answer, atMs }
    if (answer !== instances) changes.push({ atMs, desired: answer })
    instances = answer
  }
  return changes
}

const options: fc.Arbitrary<NvcfPolicy.NvcfOptions> = fc.oneof(
  fc.constant(NvcfPolicy.defaults),
  fc.constant(NvcfPolicy.codeDefaults),
  fc
    .record({
      rules: anyRules,
      loopIntervalMs: fc.constantFrom(10_000, 15_000, 45_000),
      lookbackMs: fc.constantFrom(120_000, 600_000),
      utilizationWindowMs: fc.constantFrom(30_000, 70_000),
      idleTimeoutMs: fc.constantFrom(0, 120_000),
      countIsSettled: fc.boolean()
    })
    .map(({ rules: given, ...rest }) => ({ ...rest, ...given }))
)
const histories = World.steps({ gridMs: 5_000, offsetMs: 1_300, gapMax: 48, unknownShare: 8, lengthMax: 25 })
const tailMs = 1_500_000

const likeTheLoop = (policyOf: (given: NvcfPolicy.NvcfOptions) => Policy<NvcfPolicy.Memory>) =>
  fc.property(options, histories, (given, history) => {
    const { changes } = World.open(policyOf(given), history, { tailMs })
    assert.deepStrictEqual(changes, loop(history, tailMs, given))
  })

describe("nvcf: the loop", () => {
  it("N5: samples, count, recency and memory are those of NVCF's queries", () => {
    upholds(likeTheLoop(NvcfPolicy.nvcf), { numRuns: 200 })
  })

  it("N5 kills: a present count, a forgetful loop, unknown time as idle time", () => {
    for (const [name, bug] of Object.entries(Bugs.nvcfLoops)) {
      const verdict = fc.check(likeTheLoop(bug), { numRuns: 300, endOnFailure: true })
      assert.isTrue(verdict.failed, `${name} lives`)
    }
  })

  it("N6: the same answer is sent again only after five minutes", () => {
    const step = { atMs: World.startMs, pending: 0, leased: 1, arrived: 1, ready: 1, starting: 0 }
    const sent: Array<number> = []
    const policy = NvcfPolicy.nvcf()
    let before: NvcfPolicy.Memory["requested"] = null
    World.open(
      {
        ...policy,
        decide: (memory, observation) => {
          const [next, decision] = policy.decide(memory, observation)
          if (next.requested !== before) sent.push(observation.nowMs)
          before = next.requested
          return [next, decision]
        }
      },
      [step],
      { tailMs: 1_200_000 }
    )
    assert.isAtLeast(sent.length, 3)
    for (let index = 1; index < sent.length; index++) assert.strictEqual(sent[index]! - sent[index - 1]!, 300_000)
  })

  it("an empty series and a version nobody ever called are different things", () => {
    const never = { atMs: World.startMs, pending: 0, leased: 0, arrived: 0, ready: 0, starting: 0 }
    assert.deepStrictEqual(World.open(NvcfPolicy.nvcf(), [never], { tailMs: 3_600_000 }).changes, [])
    const called = [never, { ...never, atMs: World.startMs + 1_000, arrived: 1 }]
    const { changes } = World.open(NvcfPolicy.nvcf(), called, { tailMs: 10_000_000 })
    assert.strictEqual(changes[0]?.desired, 1, "raised to the base, although nothing waits any more")
    // 1,800 s of idle timeout and 300 s of the inner window, then the next look.
    assert.deepStrictEqual(changes[1], { atMs: World.startMs + 2_120_000, desired: 0 })
  })
})
