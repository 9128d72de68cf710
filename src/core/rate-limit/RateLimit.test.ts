import * as Schema from "effect/Schema"
import { assert, describe, it } from "vitest"
import * as RateLimit from "./RateLimit.ts"
import * as Tier from "./Tier.ts"

const isTier = Schema.is(Tier.Tier)
const { Requested, Settled, Ticked } = RateLimit.Event

/** One request each 100 ms, two at once. */
const requests = Tier.makeTier({ name: "calls", meter: "requests", limit: 10, periodMs: 1_000, burst: 2 })
/** One token each 10 ms, 50 at once, 20 owed at most. */
const tokens = Tier.makeTier({ name: "tokens", meter: "tokens", limit: 100, periodMs: 1_000, burst: 50, debtMax: 20 })
const subject = (key: string, ...tiers: ReadonlyArray<Tier.Tier>): RateLimit.Subject => ({ key, tiers })
const both = [subject("a", requests, tokens)]

const run = (state: RateLimit.State, ...events: ReadonlyArray<RateLimit.Event>) => {
  let commands: ReadonlyArray<RateLimit.Command> = []
  let next = state
  for (const event of events) [next, commands] = RateLimit.step(next, event)
  return [next, commands] as const
}
const empty = RateLimit.empty({ keysMax: 3 })
const plain = (commands: ReadonlyArray<RateLimit.Command>): ReadonlyArray<object> =>
  commands.map((command) => ({ ...command }))
interface Refusal {
  readonly reason: string
  readonly tier: { readonly key: string; readonly name: string } | null
  readonly retryAfterMs: number | null
}
const refusal = (commands: ReadonlyArray<RateLimit.Command>): Refusal => {
  assert.lengthOf(commands, 1)
  const [command] = commands
  if (command?._tag !== "Refuse") return assert.fail(`${command?._tag} is no refusal`)
  return { reason: command.reason, tier: command.tier, retryAfterMs: command.retryAfterMs }
}

describe("rate limit", () => {
  it("who passes is told what is left of each tier, and when all of it is there again", () => {
    const [, commands] = run(empty, Requested({ nowMs: 5, subjects: both, tokens: 12.5 }))
    const fact = { key: "a", periodMs: 1_000 }
    assert.deepEqual(plain(commands), [
      {
        _tag: "Admit",
        facts: [
          { ...fact, tier: "calls", meter: "requests", limit: 10, burst: 2, remaining: 1, resetMs: 100 },
          { ...fact, tier: "tokens", meter: "tokens", limit: 100, burst: 50, remaining: 37, resetMs: 125 }
        ]
      }
    ])
  })

  it("refused by two tiers, it is told the one that makes it wait longest, and nothing is taken", () => {
    const [used] = run(
      empty,
      Requested({ nowMs: 0, subjects: both, tokens: 25 }),
      Requested({ nowMs: 0, subjects: both, tokens: 25 })
    )
    const [slow, bySlow] = run(used, Requested({ nowMs: 10, subjects: both, tokens: 50 }))
    assert.deepEqual(refusal(bySlow), { reason: "exceeded", tier: { key: "a", name: "tokens" }, retryAfterMs: 490 })
    const [, byCalls] = run(slow, Requested({ nowMs: 10, subjects: both, tokens: 2 }))
    assert.deepEqual(refusal(byCalls), { reason: "exceeded", tier: { key: "a", name: "calls" }, retryAfterMs: 90 })
    const [, passes] = run(slow, Requested({ nowMs: 100, subjects: both, tokens: 10 }))
    assert.strictEqual(passes[0]?._tag, "Admit")
  })

  it("of two subjects that refuse, the one that waits longer is named, in whatever order they come", () => {
    const slow = Tier.makeTier({ name: "slow", meter: "requests", limit: 1, periodMs: 1_000 })
    const quick = Tier.makeTier({ name: "quick", meter: "requests", limit: 1, periodMs: 10 })
    const ask = (...subjects: ReadonlyArray<RateLimit.Subject>) => {
      const event = Requested({ nowMs: 0, subjects, tokens: 0 })
      return refusal(run(empty, event, event)[1])
    }
    const expected = { reason: "exceeded", tier: { key: "s", name: "slow" }, retryAfterMs: 1_000 }
    assert.deepEqual(ask(subject("s", slow), subject("q", quick)), expected)
    assert.deepEqual(ask(subject("q", quick), subject("s", slow)), expected)
    assert.deepEqual(
      ask(subject("s", slow), subject("r", slow)).tier,
      { key: "s", name: "slow" },
      "the first of equals"
    )
  })

  it("what costs more than a burst never passes, and that outweighs any wait", () => {
    const [used] = run(empty, Requested({ nowMs: 0, subjects: both, tokens: 1 }))
    const [once] = run(used, Requested({ nowMs: 0, subjects: both, tokens: 1 }))
    assert.deepEqual(refusal(run(once, Requested({ nowMs: 0, subjects: both, tokens: 50.001 }))[1]), {
      reason: "too-large",
      tier: { key: "a", name: "tokens" },
      retryAfterMs: null
    })
    const large = subject("b", tokens)
    const [, commands] = run(once, Requested({ nowMs: 0, subjects: [large, ...both], tokens: 51 }))
    assert.deepEqual(refusal(commands).tier, { key: "b", name: "tokens" })
  })

  it("no number of tokens is refused; none at all costs nothing but a request", () => {
    for (const cost of [Number.NaN, -0.5, Number.POSITIVE_INFINITY]) {
      const [next, commands] = run(empty, Requested({ nowMs: 0, subjects: both, tokens: cost }))
      assert.deepEqual(refusal(commands), { reason: "cost-invalid", tier: null, retryAfterMs: null })
      assert.strictEqual(next, empty)
    }
    const [next] = run(empty, Requested({ nowMs: 0, subjects: both, tokens: 0 }))
    const [calls, used] = RateLimit.facts(next, both, 0)
    assert.deepEqual([calls?.remaining, used?.remaining], [1, 50])
  })

  it("beyond its keys it refuses until the first of them is forgotten, and says when", () => {
    const request = (key: string, nowMs: number) => Requested({ nowMs, subjects: [subject(key, requests)], tokens: 0 })
    const one = RateLimit.empty({ keysMax: 1 })
    const [used] = run(one, request("a", 0))
    assert.strictEqual(RateLimit.keyCount(used), 1)
    assert.strictEqual(RateLimit.wakeAtMs(used), 100)
    assert.deepEqual(refusal(run(used, request("b", 40))[1]), {
      reason: "keys-exhausted",
      tier: null,
      retryAfterMs: 60
    })
    assert.deepEqual(refusal(run(used, request("b", 99.5))[1]).retryAfterMs, 1)
    assert.strictEqual(run(used, request("a", 40))[1][0]?._tag, "Admit", "a known key needs no room")
    const [later, admitted] = run(used, request("b", 100))
    assert.deepEqual([admitted[0]?._tag, RateLimit.keyCount(later), RateLimit.wakeAtMs(later)], ["Admit", 1, 200])
    assert.strictEqual(refusal(run(RateLimit.empty({ keysMax: 0 }), request("a", 0))[1]).retryAfterMs, null)
  })

  it("of several keys for which there is no room, each is still asked whether it would refuse", () => {
    const [full] = run(
      RateLimit.empty({ keysMax: 1 }),
      Requested({ nowMs: 0, subjects: [subject("z", requests)], tokens: 0 })
    )
    const subjects = [subject("a", requests), subject("z", requests)]
    assert.deepEqual(refusal(run(full, Requested({ nowMs: 0, subjects, tokens: 0 }))[1]).reason, "keys-exhausted")
    const [used] = run(full, Requested({ nowMs: 0, subjects: [subject("z", requests)], tokens: 0 }))
    assert.deepEqual(refusal(run(used, Requested({ nowMs: 0, subjects, tokens: 0 }))[1]).reason, "exceeded")
  })

  it("each event forgets one key more than it brings, and a tick forgets all", () => {
    const keys = ["a", "b", "c", "d", "e", "f"]
    const all = keys.map((key) => subject(key, requests))
    const [full] = run(RateLimit.empty({ keysMax: 6 }), Requested({ nowMs: 0, subjects: all, tokens: 0 }))
    assert.strictEqual(RateLimit.keyCount(full), 6)
    const keysAfter = (event: RateLimit.Event) => RateLimit.keyCount(run(full, event)[0])
    assert.strictEqual(keysAfter(Requested({ nowMs: 500, subjects: [subject("z", requests)], tokens: 0 })), 5)
    assert.strictEqual(keysAfter(Settled({ nowMs: 500, subjects: [], estimatedTokens: 1, actualTokens: 1 })), 5)
    assert.strictEqual(keysAfter(Settled({ nowMs: 99, subjects: [], estimatedTokens: 1, actualTokens: 1 })), 6)
    const one = Settled({ nowMs: 500, subjects: [subject("z", requests)], estimatedTokens: 1, actualTokens: 1 })
    assert.strictEqual(keysAfter(one), 4, "one more than are named")
    assert.strictEqual(keysAfter(Ticked({ nowMs: 100 })), 0)
    assert.strictEqual(keysAfter(Ticked({ nowMs: 99 })), 6)
    assert.isNull(RateLimit.wakeAtMs(run(full, Ticked({ nowMs: 100 }))[0]))
    assert.deepEqual(plain(run(full, Ticked({ nowMs: 100 }))[1]), [])
  })

  it("a true cost gives back or takes, owes at most debtMax, and what is beyond is forgiven and counted", () => {
    const settled = (actualTokens: number, estimatedTokens = 20): ReadonlyArray<unknown> => {
      const [state, commands] = run(
        empty,
        Requested({ nowMs: 0, subjects: both, tokens: 20 }),
        Settled({ nowMs: 0, subjects: both, estimatedTokens, actualTokens })
      )
      const [calls, used] = RateLimit.facts(state, both, 0)
      assert.strictEqual(calls?.remaining, 1, "requests are not trued up")
      return [used?.remaining, used?.resetMs, plain(commands)]
    }
    const forgiven = (units: number) => [{ _tag: "CountForgiven", key: "a", tier: "tokens", units }]
    assert.deepEqual(settled(20), [30, 200, []])
    assert.deepEqual(settled(5), [45, 50, []])
    assert.deepEqual(settled(0, 90), [50, 0, []])
    assert.deepEqual(settled(70), [0, 700, []])
    assert.deepEqual(settled(71), [0, 700, forgiven(1)])
    assert.deepEqual(settled(Number.POSITIVE_INFINITY), [30, 200, []])
    assert.deepEqual(settled(Number.NaN), [30, 200, []])
  })

  it("a cost that was estimated right changes nothing", () => {
    const [used] = run(empty, Requested({ nowMs: 0, subjects: both, tokens: 20 }))
    const right = Settled({ nowMs: 0, subjects: both, estimatedTokens: 20, actualTokens: 20 })
    assert.strictEqual(run(used, right)[0], used)
  })

  it("a debt of a key for which there is no room is forgiven, for its tokens alone", () => {
    const [full] = run(
      RateLimit.empty({ keysMax: 1 }),
      Requested({ nowMs: 0, subjects: [subject("z", tokens)], tokens: 50 })
    )
    const [next, commands] = run(full, Settled({ nowMs: 0, subjects: both, estimatedTokens: 1, actualTokens: 8 }))
    assert.strictEqual(next, full)
    assert.deepEqual(plain(commands), [{ _tag: "CountForgiven", key: "a", tier: "tokens", units: 7 }])
  })

  it("G4: what happens before the latest time happens at it, and a time without end is none", () => {
    const [late] = run(empty, Requested({ nowMs: 1_000, subjects: both, tokens: 50 }))
    const remaining = (state: RateLimit.State, nowMs: number) => RateLimit.facts(state, both, nowMs)[1]?.remaining
    assert.strictEqual(remaining(late, 1_100), 10)
    assert.strictEqual(remaining(late, 500), 0)
    assert.strictEqual(remaining(late, Number.POSITIVE_INFINITY), 0)
    assert.strictEqual(run(late, Ticked({ nowMs: 1_000 }))[0], late)
    assert.deepEqual(refusal(run(late, Requested({ nowMs: 0, subjects: both, tokens: 3 }))[1]).retryAfterMs, 30)
  })

  it("a tier keeps what was used of it by its name: a new one begins unused, one that is gone is forgotten", () => {
    const [used] = run(empty, Requested({ nowMs: 0, subjects: both, tokens: 20 }))
    const renamed = subject("a", { ...tokens, burst: 100 }, { ...requests, name: "per day" })
    const [first, second] = RateLimit.facts(used, [renamed], 0)
    assert.deepEqual([first?.remaining, second?.remaining], [80, 2])
    assert.deepEqual(RateLimit.facts(used, [subject("a")], 0), [])
    assert.deepEqual(RateLimit.facts(used, [subject("nobody", requests)], 0)[0]?.remaining, 2)
    const [free, commands] = run(used, Requested({ nowMs: 0, subjects: [subject("a")], tokens: 1 }))
    assert.deepEqual([plain(commands), RateLimit.keyCount(free)], [[{ _tag: "Admit", facts: [] }], 0])
  })

  it("the tightest tier is the one of which the smallest share is left, the first of equals", () => {
    const fact = (tier: string, remaining: number, burst: number): RateLimit.Fact => ({
      key: "a",
      tier,
      meter: "requests",
      limit: 1,
      periodMs: 1,
      burst,
      remaining,
      resetMs: 0
    })
    assert.isUndefined(RateLimit.tightest([]))
    const found = RateLimit.tightest([fact("x", 8, 10), fact("y", 60, 100), fact("z", 6, 10), fact("w", 3, 3)])
    assert.strictEqual(found?.tier, "y")
  })

  it("what no version of it knows stops it, and is named", () => {
    // As `never`: what a newer version may have written, which the types rule out.
    assert.throws(
      () => RateLimit.step(empty, { _tag: "Strange", nowMs: 0 } as never),
      'unreachable case {"_tag":"Strange","nowMs":0}'
    )
  })
})

describe("a tier", () => {
  it("has all of a period at once, and as much again owed, where nothing else is said", () => {
    const tier = { name: "t", meter: "tokens", limit: 7, periodMs: 9 } as const
    assert.deepEqual(Tier.makeTier(tier), { ...tier, burst: 7, debtMax: 7 })
    assert.deepEqual(Tier.makeTier({ ...tier, burst: 3 }), { ...tier, burst: 3, debtMax: 3 })
    assert.deepEqual(Tier.makeTier({ ...tier, burst: 3, debtMax: 0 }), { ...tier, burst: 3, debtMax: 0 })
  })

  it("lets pass what is on time but for the last bit, and waits a whole millisecond at least", () => {
    const tier = { ...tokens, burst: 50 }
    assert.isTrue(Tier.lets(tier, 40, 10 + 4e-8))
    assert.isTrue(Tier.lets(tier, 0, 50 + 50 * 1e-9))
    assert.isFalse(Tier.lets(tier, 40, 10 + 6e-8))
    assert.strictEqual(Tier.waitMs(tier, 0, 50 + 50 * 1e-9), 1)
    assert.strictEqual(Tier.waitMs(tier, 50, 10), 100)
    assert.strictEqual(Tier.waitMs(tier, 40, 10.001), 1)
    assert.strictEqual(Tier.waitMs(tier, 0, 50 + 4e-8), 1)
    assert.isNull(Tier.waitMs(tier, 0, 50 + 6e-8))
    assert.strictEqual(Tier.remaining(tier, 10 + 4e-8), 40)
    assert.strictEqual(Tier.remaining(tier, 10 + 6e-8), 39)
    assert.strictEqual(Tier.remaining(tier, 70), 0)
    assert.deepEqual([Tier.decay(tier, 20, 50), Tier.decay(tier, 20, 500), Tier.decay(tier, 20, -50)], [15, 0, 20])
  })

  it("is refused where a number of it is no limit", () => {
    const accepted = (more: object) => isTier({ ...tokens, ...more })
    assert.isTrue(accepted({}))
    assert.isTrue(accepted({ meter: "requests", debtMax: 0, limit: 0.001 }))
    for (const more of [
      { name: "" },
      { meter: "bytes" },
      { limit: 0 },
      { periodMs: 0 },
      { burst: 0 },
      { debtMax: -1 }
    ]) {
      assert.isFalse(accepted(more), JSON.stringify(more))
    }
  })
})
