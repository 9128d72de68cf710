/**
 * Laws of the rate limiter, each also run against the wrong ones of `zoo/rateLimitBugs.ts`.
 *
 * The oracle is a token bucket in whole numbers: a bucket holds burst × period parts, gets `limit` parts in each
 * millisecond, and a unit is `period` parts. Generators: 3 keys, 0 to 3 tiers each of few limits (1 to 7 in 10 to 1,000
 * ms, burst 1 to 9), costs of 0 to 5, a clock that mostly moves by about what one unit takes and sometimes jumps back.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as RateLimit from "../src/core/rate-limit/RateLimit.ts"
import * as Tier from "../src/core/rate-limit/Tier.ts"
import { upholds } from "./upholds.ts"
import { kills } from "./zoo/kills.ts"
import * as Bugs from "./zoo/rateLimitBugs.ts"

const tier = (name: string): fc.Arbitrary<Tier.Tier> =>
  fc.record({
    name: fc.constant(name),
    meter: fc.constantFrom("requests", "tokens"),
    limit: fc.constantFrom(1, 3, 7),
    periodMs: fc.constantFrom(10, 100, 1_000),
    burst: fc.integer({ min: 1, max: 9 }),
    debtMax: fc.constantFrom(0, 2, 100)
  })
const tiers = fc
  .tuple(fc.option(tier("second")), fc.option(tier("minute")), fc.option(tier("day")))
  .map((all) => all.filter((each) => each !== null))
const plans = fc.record({ tenant: tiers, one: tiers, other: tiers })
type Plans = typeof plans extends fc.Arbitrary<infer P> ? P : never

type Action = {
  readonly byMs: number
  readonly tokens: number
  /** A request, or the true cost of the oldest that is not settled. */
  readonly actual: number | null
  readonly key: "one" | "other"
}
const action: fc.Arbitrary<Action> = fc.record({
  byMs: fc.oneof(
    { weight: 3, arbitrary: fc.constant(0) },
    { weight: 5, arbitrary: fc.constantFrom(1, 2, 10, 33, 34, 143, 333, 334, 1_000) },
    { weight: 2, arbitrary: fc.constantFrom(-1, -50, -5_000, 20_000) }
  ),
  tokens: fc.nat(5),
  actual: fc.option(fc.constantFrom(0, 0, 1, 4, 20), { freq: 4 }),
  key: fc.constantFrom("one", "other")
})
const history = fc.array(action, { minLength: 1, maxLength: 60 })

const subjectsOf = (all: Plans, key: "one" | "other"): ReadonlyArray<RateLimit.Subject> => [
  { key: "tenant", tiers: all.tenant },
  { key, tiers: all[key] }
]

/** Parts in whole numbers, one bucket for each tier of each key. */
class Oracle {
  #nowMs = 0
  readonly #parts = new Map<string, { level: number; atMs: number }>()

  at(nowMs: number) {
    this.#nowMs = Math.max(this.#nowMs, nowMs)
  }

  #bucket(key: string, { name, limit, periodMs, burst }: Tier.Tier) {
    const id = `${key} ${name}`
    const bucket = this.#parts.get(id) ?? { level: burst * periodMs, atMs: this.#nowMs }
    bucket.level = Math.min(burst * periodMs, bucket.level + (this.#nowMs - bucket.atMs) * limit)
    bucket.atMs = this.#nowMs
    this.#parts.set(id, bucket)
    return bucket
  }

  #each<A>(
    subjects: ReadonlyArray<RateLimit.Subject>,
    look: (bucket: { level: number }, each: Tier.Tier) => A
  ): ReadonlyArray<A> {
    return subjects.flatMap(({ key, tiers: all }) => all.map((one) => look(this.#bucket(key, one), one)))
  }

  remaining(subjects: ReadonlyArray<RateLimit.Subject>): ReadonlyArray<number> {
    return this.#each(subjects, ({ level }, { periodMs }) => Math.max(0, Math.floor(level / periodMs)))
  }

  /** By tier, in whole milliseconds; 0 = it lets it pass, infinite = it never will. */
  waits(subjects: ReadonlyArray<RateLimit.Subject>, tokens: number): ReadonlyArray<number> {
    return this.#each(subjects, ({ level }, { meter, periodMs, burst, limit }) => {
      const cost = meter === "requests" ? 1 : tokens
      if (cost > burst) return Number.POSITIVE_INFINITY
      return Math.max(0, Math.ceil((cost * periodMs - level) / limit))
    })
  }

  take(subjects: ReadonlyArray<RateLimit.Subject>, tokens: number) {
    this.#each(subjects, (bucket, { meter, periodMs }) => {
      bucket.level -= (meter === "requests" ? 1 : tokens) * periodMs
    })
  }

  settle(subjects: ReadonlyArray<RateLimit.Subject>, missing: number) {
    this.#each(subjects, (bucket, { meter, periodMs, burst, debtMax }) => {
      if (meter === "requests") return
      bucket.level = Math.min(Math.max(bucket.level - missing * periodMs, -debtMax * periodMs), burst * periodMs)
    })
  }
}

interface Mix {
  admitted: number
  refused: number
  tooLarge: number
  settled: number
  jumps: number
}

interface Scope {
  /** Clock jumps back, and settlements. */
  readonly jumps: boolean
  readonly settles: boolean
}

/** Decisions, remaining, and waits are those of the oracle. */
const agreesWithOracle =
  ({ jumps, settles }: Scope, mix: Mix) =>
  (start: Bugs.Start) =>
    fc.property(plans, history, (all, actions) => {
      const limiter = start({ keysMax: 100 })
      const oracle = new Oracle()
      const open: Array<{ readonly subjects: ReadonlyArray<RateLimit.Subject>; readonly tokens: number }> = []
      let nowMs = 10_000
      for (const { byMs, tokens, actual, key } of actions) {
        nowMs += jumps ? byMs : Math.abs(byMs)
        if (byMs < 0 && jumps) mix.jumps += 1
        oracle.at(nowMs)
        const oldest = settles && actual !== null ? open.shift() : undefined
        if (oldest !== undefined && actual !== null) {
          limiter.send(
            RateLimit.Event.Settled({
              nowMs,
              subjects: oldest.subjects,
              estimatedTokens: oldest.tokens,
              actualTokens: actual
            })
          )
          oracle.settle(oldest.subjects, actual - oldest.tokens)
          mix.settled += 1
          continue
        }
        const subjects = subjectsOf(all, key)
        const waits = oracle.waits(subjects, tokens)
        const longest = Math.max(0, ...waits)
        const [command] = limiter.send(RateLimit.Event.Requested({ nowMs, subjects, tokens }))
        assert.strictEqual(command?._tag, longest === 0 ? "Admit" : "Refuse", `waits ${waits} at ${nowMs} ms`)
        if (command?._tag === "Admit") {
          oracle.take(subjects, tokens)
          open.push({ subjects, tokens })
          mix.admitted += 1
        }
        if (command?._tag !== "Admit" && command?._tag !== "Refuse") continue
        assert.deepStrictEqual(
          command.facts.map(({ remaining }) => remaining),
          oracle.remaining(subjects)
        )
        for (const { remaining, burst } of command.facts) assert.isAtMost(remaining, burst)
        if (command._tag === "Admit") continue
        mix.refused += 1
        if (longest === Number.POSITIVE_INFINITY) mix.tooLarge += 1
        assert.strictEqual(command.reason, longest === Number.POSITIVE_INFINITY ? "too-large" : "exceeded")
        assert.strictEqual(command.retryAfterMs, longest === Number.POSITIVE_INFINITY ? null : longest)
        const names = subjects.flatMap((each) => each.tiers.map(({ name }) => `${each.key} ${name}`))
        const named = names.indexOf(`${command.tier?.key} ${command.tier?.name}`)
        assert.strictEqual(waits[named], longest, "the tier that is named is the one that makes it wait")
      }
    })

const newMix = (): Mix => ({ admitted: 0, refused: 0, tooLarge: 0, settled: 0, jumps: 0 })
const plain: Scope = { jumps: false, settles: false }

/** A caller who asks three times as often as he may, on clocks of any size. A burst of 2 takes up what a clock rounds. */
const longRun = (start: Bugs.Start) =>
  fc.property(
    fc.constantFrom(1, 3, 7, 900),
    fc.constantFrom(10, 1_000, 60_000),
    fc.integer({ min: 2, max: 20 }),
    fc.constantFrom(0, 1_763_734_000_123.456),
    (limit, periodMs, burst, originMs) => {
      const limiter = start({ keysMax: 1 })
      const subjects = [{ key: "k", tiers: [Tier.makeTier({ name: "t", meter: "tokens", limit, periodMs, burst })] }]
      const unitMs = periodMs / limit
      const asked = 3_000
      const admittedAtMs: Array<number> = []
      for (let index = 0; index < asked; index++) {
        const nowMs = originMs + (index * unitMs) / 3
        const [command] = limiter.send(RateLimit.Event.Requested({ nowMs, subjects, tokens: 1 }))
        if (command?._tag === "Admit") admittedAtMs.push(nowMs - originMs)
      }
      assert.isAtLeast(admittedAtMs.length, 0.99 * (burst + (asked - 1) / 3))
      for (let from = 0; from < admittedAtMs.length; from += 13) {
        for (let to = from; to < admittedAtMs.length; to += 7) {
          const stretchMs = admittedAtMs[to]! - admittedAtMs[from]!
          if (to - from + 1 > burst + stretchMs / unitMs + 0.1) assert.fail(`${to - from + 1} in ${stretchMs} ms`)
        }
      }
    }
  )

/** In bunches around a period: over no stretch of time does more pass than the burst and what comes back. */
const noStretchHasMore = (start: Bugs.Start) =>
  fc.property(
    fc.constantFrom(1, 3, 7),
    fc.array(fc.record({ byMs: fc.constantFrom(0, 1, 50, 95, 100), tokens: fc.integer({ min: 1, max: 4 }) }), {
      minLength: 5,
      maxLength: 40
    }),
    (limit, asked) => {
      const subjects = [
        { key: "k", tiers: [Tier.makeTier({ name: "t", meter: "tokens", limit, periodMs: 100, burst: limit })] }
      ]
      const limiter = start({ keysMax: 1 })
      const passed: Array<{ readonly atMs: number; readonly tokens: number }> = []
      let nowMs = 0
      for (const { byMs, tokens } of asked) {
        nowMs += byMs
        const [command] = limiter.send(RateLimit.Event.Requested({ nowMs, subjects, tokens }))
        if (command?._tag === "Admit") passed.push({ atMs: nowMs, tokens })
      }
      passed.forEach((first, from) => {
        let units = 0
        for (const { atMs, tokens } of passed.slice(from)) {
          units += tokens
          if (units > limit + ((atMs - first.atMs) * limit) / 100 + 1e-6) assert.fail(`${units} by ${atMs} ms`)
        }
      })
    }
  )

const twoTiers = (burst: number, day: number): ReadonlyArray<RateLimit.Subject> => [
  { key: "a", tiers: [Tier.makeTier({ name: "second", meter: "requests", limit: 10, periodMs: 1_000, burst })] },
  { key: "b", tiers: [Tier.makeTier({ name: "day", meter: "tokens", limit: day, periodMs: 86_400_000 })] }
]

/** However many keys there are, those that are kept have something used, and no other is forgotten. */
const bounded = (start: Bugs.Start) =>
  fc.property(
    fc.integer({ min: 1, max: 5 }),
    fc.array(
      fc.record({ byMs: fc.constantFrom(0, 0, 1, 50, 100, 101), key: fc.nat(9), tick: fc.nat(5).map((n) => n === 0) }),
      { minLength: 1, maxLength: 60 }
    ),
    (keysMax, actions) => {
      const limiter = start({ keysMax })
      const only = Tier.makeTier({ name: "t", meter: "requests", limit: 2, periodMs: 100, burst: 2 })
      /** By key: when nothing of it is used any more. */
      const fullAtMs = new Map<number, number>()
      let nowMs = 1_000
      for (const { byMs, key, tick } of actions) {
        nowMs += byMs
        const living = () => [...fullAtMs.values()].filter((atMs) => atMs > nowMs).length
        if (tick) {
          limiter.send(RateLimit.Event.Ticked({ nowMs }))
          assert.strictEqual(limiter.keyCount(), living())
          continue
        }
        const before = Math.max(nowMs, fullAtMs.get(key) ?? 0)
        const isExceeded = before + 50 > nowMs + 100
        const isFull = before === nowMs && living() >= keysMax
        const subjects = [{ key: `k${key}`, tiers: [only] }]
        const [command] = limiter.send(RateLimit.Event.Requested({ nowMs, subjects, tokens: 0 }))
        assert.isAtMost(limiter.keyCount(), keysMax)
        const expected = isExceeded ? "exceeded" : isFull ? "keys-exhausted" : "Admit"
        assert.strictEqual(command?._tag === "Refuse" ? command.reason : command?._tag, expected)
        if (command?._tag === "Refuse" && isFull) {
          const first = Math.min(...[...fullAtMs.values()].filter((atMs) => atMs > nowMs))
          assert.strictEqual(command.retryAfterMs, first - nowMs)
        }
        if (expected === "Admit") fullAtMs.set(key, before + 50)
      }
    }
  )

describe("rate limit: laws", () => {
  it("G1, G2, G3: each decision, rest and wait is that of a token bucket in whole numbers", () => {
    const mix = newMix()
    upholds(agreesWithOracle(plain, mix)(Bugs.sound), { numRuns: 1_500 })
    assert.isAbove(mix.admitted, 3_000)
    assert.isAbove(mix.refused - mix.tooLarge, 1_000)
  })

  it("G4: a clock that stands still or jumps back gives nothing", () => {
    const mix = newMix()
    upholds(agreesWithOracle({ jumps: true, settles: false }, mix)(Bugs.sound), { numRuns: 1_000 })
    assert.isAbove(mix.jumps, 500)
  })

  it("G5: a refund gives back what was too much and never more than a burst; a debt is paid before the next passes", () => {
    const mix = newMix()
    upholds(agreesWithOracle({ jumps: true, settles: true }, mix)(Bugs.sound), { numRuns: 1_500 })
    assert.isAbove(mix.settled, 500)
  })

  it("G1: in the long run, from any clock, a caller gets his rate, 1 % less at most, and no stretch has more", () => {
    upholds(longRun(Bugs.sound), { numRuns: 60 })
    upholds(noStretchHasMore(Bugs.sound), { numRuns: 500 })
  })

  it("G6: at most keysMax keys are kept, those with something used alone, and one beyond is refused", () => {
    upholds(bounded(Bugs.sound), { numRuns: 1_500 })
  })

  it("G1 kills: windows that begin with the first request", () => {
    kills(noStretchHasMore, { fixedWindows: Bugs.fixedWindows })
  })

  it("G2 kills: taking from the tiers before the one that refuses", () => {
    kills(agreesWithOracle(plain, newMix()), { takesFromSome: Bugs.takesFromSome })
  })

  it("G3 kills: the wait for the first tier that refuses", () => {
    kills(agreesWithOracle(plain, newMix()), { firstWait: Bugs.firstWait })
  })

  it("G4 kills: a clock of which any move counts", () => {
    kills(agreesWithOracle({ jumps: true, settles: false }, newMix()), { anyClockMoves: Bugs.anyClockMoves })
  })

  it("G5 kills: refunds that are given twice, debts that are not collected", () => {
    const { refundsTwice, forgetsDebt } = Bugs
    kills(agreesWithOracle({ jumps: false, settles: true }, newMix()), { refundsTwice, forgetsDebt })
  })

  it("G6 kills: keeping every key, and making room by forgetting what was used", () => {
    const { unbounded, forgetsTheLiving } = Bugs
    kills(bounded, { unbounded, forgetsTheLiving })
  })

  it("G5: a debt delays by what may be owed at most, and the rest is counted as forgiven", () => {
    const only = Tier.makeTier({ name: "t", meter: "tokens", limit: 10, periodMs: 1_000, debtMax: 20 })
    const subjects = [{ key: "k", tiers: [only] }]
    const limiter = Bugs.sound({ keysMax: 1 })
    limiter.send(RateLimit.Event.Requested({ nowMs: 0, subjects, tokens: 10 }))
    const commands = limiter.send(
      RateLimit.Event.Settled({ nowMs: 0, subjects, estimatedTokens: 10, actualTokens: 1_000 })
    )
    assert.deepStrictEqual(commands, [{ _tag: "CountForgiven", key: "k", tier: "t", units: 970 }])
    const [refused] = limiter.send(RateLimit.Event.Requested({ nowMs: 0, subjects, tokens: 1 }))
    assert.deepInclude(refused, { _tag: "Refuse", retryAfterMs: 2_100 })
  })

  it("a plan that changes keeps what was used under the same names", () => {
    const limiter = Bugs.sound({ keysMax: 10 })
    const send = (subjects: ReadonlyArray<RateLimit.Subject>) =>
      limiter.send(RateLimit.Event.Requested({ nowMs: 5, subjects, tokens: 1 }))[0]
    for (let index = 0; index < 4; index++) assert.strictEqual(send(twoTiers(4, 100))?._tag, "Admit")
    const smaller = send(twoTiers(2, 100))
    assert.deepInclude(smaller, { _tag: "Refuse", retryAfterMs: 300, tier: { key: "a", name: "second" } })
    const larger = send(twoTiers(6, 100))
    assert.deepStrictEqual(larger?._tag === "Admit" ? larger.facts.map(({ remaining }) => remaining) : [], [1, 95])
  })

  it("what is no cost is refused, whatever the tiers, and nothing is taken", () => {
    const subjects = twoTiers(4, 100)
    const limiter = Bugs.sound({ keysMax: 10 })
    for (const tokens of [Number.NaN, -1, Number.POSITIVE_INFINITY]) {
      const [command] = limiter.send(RateLimit.Event.Requested({ nowMs: 5, subjects, tokens }))
      assert.deepInclude(command, { _tag: "Refuse", reason: "cost-invalid", retryAfterMs: null })
    }
    assert.strictEqual(limiter.keyCount(), 0)
  })

  it("its headers tell the tier with the smallest share left", () => {
    const state = RateLimit.empty({ keysMax: 10 })
    const subjects = twoTiers(4, 100)
    const [next] = RateLimit.step(state, RateLimit.Event.Requested({ nowMs: 5, subjects, tokens: 90 }))
    const told = RateLimit.tightest(RateLimit.facts(next, subjects, 5))
    assert.deepInclude(told, { tier: "day", limit: 100, remaining: 10, resetMs: 77_760_000 })
    assert.strictEqual(RateLimit.wakeAtMs(next), 105)
    assert.isUndefined(RateLimit.tightest([]))
  })
})
