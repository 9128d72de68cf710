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
    assert.strictEqual(broken(policyOf(null, (memory) => [memory, answer(Number.NaN)])).law, "total")
  })

  it("pure: a policy that counts outside its memory, or writes into it, is rejected", () => {
    let calls = 0
    const counts = policyOf(null, (memory, seen) => [memory, answer(right(seen) + (calls++ % 2))])
    assert.strictEqual(broken(counts).law, "pure")
    const writes = policyOf({ seen: 0 }, (memory, seen) => {
      memory.seen += 1
      return [memory, answer(right(seen))]
    })
    assert.strictEqual(broken(writes).law, "pure")
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
    assert.deepInclude(breach.history[0]!.seen, { pending: 0, leased: 1 })
  })

  it("L14: taking unknown for zero is found with two observations", () => {
    const breach = broken(
      policyOf(null, (memory, seen) => {
        const of = (reading: Observation["pending"]) => (reading === "unknown" ? 0 : reading)
        return [memory, answer(Math.ceil((of(seen.pending) + of(seen.leased)) / 2))]
      })
    )
    assert.strictEqual(breach.law, "L14")
    assert.lengthOf(breach.history, 2)
    assert.match(breach.what, /unknown/)
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

  it("L15: a policy that swings under a steady load is rejected", () => {
    const swings = policyOf(null, (memory, seen) => [
      memory,
      answer(right(seen) + (Math.floor(seen.nowMs / 10_000) % 2))
    ])
    const breach = broken(swings)
    assert.strictEqual(breach.law, "L15")
    assert.match(breach.what, /after two idle windows/)
  })
})
