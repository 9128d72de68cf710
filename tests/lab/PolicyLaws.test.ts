/**
 * The check that a policy of one's own must pass: every policy that ships passes it, and each law rejects a policy that
 * breaks it, with the shortest history.
 */
import { assert, describe, it } from "vitest"
import { demand } from "../../src/core/scaling/DemandPolicy.ts"
import { fixed } from "../../src/core/scaling/FixedPolicy.ts"
import type { Decision, Observation, Policy } from "../../src/core/scaling/Policy.ts"
import * as PolicyLaws from "../../src/core/simulation/PolicyLaws.ts"

const answer = (desired: number): Decision => ({ desired, reason: "because", inputs: {}, wakeAtMs: null })

/** As many as there is work, and what is there while that is unknown. */
const right = ({ pending, leased, ready, starting, desired }: Observation): number =>
  pending === "unknown" || leased === "unknown"
    ? Math.max(desired, ready + starting)
    : Math.ceil((pending + leased) / 2)

const policyOf = <Memory>(empty: Memory, decide: Policy<Memory>["decide"]): Policy<Memory> => ({
  name: "mine",
  empty,
  decide
})

const broken = <Memory>(policy: Policy<Memory>): PolicyLaws.Breach => {
  const breach = PolicyLaws.check(policy)
  assert.isDefined(breach)
  return breach!
}

describe("the laws for a policy of one's own", () => {
  it("are kept by demand, by fixed and by a policy of one line", () => {
    assert.isUndefined(PolicyLaws.check(demand))
    assert.isUndefined(PolicyLaws.check(fixed))
    assert.isUndefined(PolicyLaws.check(policyOf(null, (memory, seen) => [memory, answer(right(seen))])))
  })

  it("total: a policy that throws, or answers what is no number, is rejected", () => {
    const throws = policyOf(null, (memory, seen) => {
      if (seen.leased === 6) throw new Error("six is too many")
      return [memory, answer(right(seen))]
    })
    const breach = broken(throws)
    assert.strictEqual(breach.law, "total")
    assert.match(breach.what, /six is too many/)
    assert.lengthOf(breach.history, 1)
    assert.deepInclude(breach.history[0], { nowMs: 1_100, ready: 0, desired: Number.NaN, reason: "" })
    assert.strictEqual(broken(policyOf(null, (memory) => [memory, answer(Number.NaN)])).law, "total")
    for (const wakeAtMs of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const { what } = broken(policyOf(null, (memory, seen) => [memory, { ...answer(right(seen)), wakeAtMs }]))
      assert.match(what, /it wants to be woken at/)
    }
  })

  it("total: a policy is shown all that has arrived", () => {
    const breach = broken(
      policyOf(null, (memory, seen) => [memory, answer(seen.arrivalsTotal === 18 ? -1 : right(seen))])
    )
    assert.deepStrictEqual(
      breach.history.map(({ seen, desired }) => [seen.pending, desired]),
      [
        [9, 5],
        [9, -1]
      ]
    )
  })

  it("pure: a policy that counts outside its memory, or writes into it, is rejected", () => {
    let calls = 0
    const counts = policyOf(null, (memory, seen) => [memory, answer(right(seen) + (calls++ % 2))])
    assert.deepInclude(broken(counts), { law: "pure", what: "asked twice the same, it answered differently" })
    const writes = policyOf({ seen: 0 }, (memory, seen) => {
      memory.seen += 1
      return [memory, answer(right(seen))]
    })
    assert.deepInclude(broken(writes), { law: "pure", what: "it changed the memory that it was given" })
  })

  it("plain: a policy that keeps a Map is rejected", () => {
    const keeps = policyOf(new Map<string, number>(), (memory, seen) => {
      const next = new Map(memory).set("most", Math.max(memory.get?.("most") ?? 0, right(seen)))
      return [next, answer(Math.max(1, next.get("most") ?? 0))]
    })
    const { law, history } = broken(keeps)
    assert.include(["plain", "total"], law)
    assert.isAtMost(history.length, 2)
  })

  it("L14: zero while something is leased is found with one observation", () => {
    const breach = broken(
      policyOf(null, (memory, seen) => [memory, answer(seen.pending === 0 ? 0 : Math.max(1, right(seen)))])
    )
    assert.strictEqual(breach.law, "L14")
    assert.lengthOf(breach.history, 1)
    assert.deepStrictEqual(breach.history[0]!.seen, { byMs: 100, pending: 0, leased: 1 })
    assert.strictEqual(breach.what, "0 pending and 1 leased, and it answered 0")
  })

  it("L14: taking unknown for zero is found with two observations", () => {
    const breach = broken(
      policyOf(null, (memory, seen) => {
        const of = (reading: Observation["pending"]) => (reading === "unknown" ? 0 : reading)
        return [memory, answer(Math.ceil((of(seen.pending) + of(seen.leased)) / 2))]
      })
    )
    assert.strictEqual(breach.law, "L14")
    assert.match(breach.what, /unknown/)
    // The first of all histories in their order.
    assert.deepStrictEqual(
      breach.history.map(({ seen, desired, reason }) => [seen, desired, reason]),
      [
        [{ byMs: 100, pending: 0, leased: 1 }, 1, "because"],
        [{ byMs: 100, pending: 0, leased: "unknown" }, 0, "because"]
      ]
    )
  })

  it("L14: what shows itself only after many observations is shortened to those it needs", () => {
    const tired = policyOf(0, (age, seen) => {
      const next = seen.leased === 6 ? age + 1 : age
      return [next, answer(next > 5 && seen.pending === 9 ? 0 : right(seen))]
    })
    const breach = broken(tired)
    assert.strictEqual(breach.law, "L14")
    assert.isAtMost(breach.history.length, 7)
  })

  it("what is left of a history breaks the law that the whole of it broke", () => {
    // Three times the same in a row is more than it can bear; what is taken out of a history brings them together.
    const touchy = policyOf({ sixes: 0, row: 0 }, ({ sixes, row }, seen) => {
      const next = { sixes: seen.leased === 6 ? sixes + 1 : sixes, row: seen.leased === 6 ? row + 1 : 0 }
      if (next.row > 3) return [next, answer(Number.NaN)]
      return [next, answer(next.sixes > 6 && seen.pending === 9 ? 0 : right(seen))]
    })
    const { law, history } = broken(touchy)
    assert.strictEqual(law, "L14")
    assert.isAtMost(history.length, 12)
  })

  it("L15: a policy that swings under a steady load is rejected", () => {
    const swings = policyOf(null, (memory, seen) => [
      memory,
      answer(right(seen) + (Math.floor(seen.nowMs / 10_000) % 2))
    ])
    const breach = broken(swings)
    assert.strictEqual(breach.law, "L15")
    assert.match(breach.what, /after two idle windows of 60000 ms it still went from \d to \d$/)
    assert.lengthOf(breach.history, 3)
    for (const { desired, reason, ready } of breach.history)
      assert.deepStrictEqual([reason, desired === ready], ["because", false])
  })

  it("L15: what changes for the last time when two idle windows are over has settled", () => {
    const changes = (atMs: number) =>
      policyOf(null, (memory, seen) => {
        const decision = answer(right(seen) + (seen.nowMs >= atMs ? 1 : 0))
        return [memory, { ...decision, wakeAtMs: seen.nowMs + 60_000 }]
      })
    assert.isUndefined(PolicyLaws.check(changes(121_000)))
    const { law, history } = broken(changes(122_000))
    assert.strictEqual(law, "L15")
    // Nothing but changes is told.
    assert.deepStrictEqual(
      history.map(({ nowMs, ready, desired }) => [nowMs, ready, desired]),
      [[122_000, 0, 1]]
    )
  })
})
