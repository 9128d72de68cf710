/**
 * Laws of the fleet plan (L17), against a world that carries plans out; each also run against the wrong ones of
 * `zoo/instanceBugs.ts`. Generators: up to 8 members of three generations
 * in all states, 0 to 3 leased or unknown, desired 0 to 5.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as Fleet from "../src/core/instance/Fleet.ts"
import * as RestartBudget from "../src/core/instance/RestartBudget.ts"
import { upholds } from "./upholds.ts"
import * as Bugs from "./zoo/instanceBugs.ts"
import { kills } from "./zoo/kills.ts"

const member = fc.record({
  generation: fc.constantFrom(1, 2, 2, 3),
  state: fc.constantFrom("requested", "starting", "ready", "ready", "draining"),
  leased: fc.oneof({ weight: 4, arbitrary: fc.nat(3) }, { weight: 1, arbitrary: fc.constant("unknown" as const) }),
  requestedAtMs: fc.nat(3),
  leaving: fc.nat(5).map((n) => n === 0)
})
const members: fc.Arbitrary<ReadonlyArray<Fleet.Member>> = fc
  .array(member, { maxLength: 8 })
  .map((all) => all.map((each, index) => ({ ...each, id: `i${index}` })))

const budget: fc.Arbitrary<RestartBudget.State> = fc.oneof(
  { weight: 3, arbitrary: fc.constant(RestartBudget.empty) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(500, 1_000, 1_500).map((nextTryAtMs) => ({
      failures: 2,
      lastFailureAtMs: 100,
      nextTryAtMs,
      lastDetail: "boom",
      wasReady: false
    }))
  }
)

const desire: fc.Arbitrary<Fleet.Desire> = fc.record({
  desired: fc.nat(5),
  generation: fc.constantFrom(2, 2, 3, null),
  members,
  nowMs: fc.constant(1_000),
  budget
})

const counts = (wanted: Fleet.Desire, each: Fleet.Member) =>
  wanted.generation !== null && each.state !== "draining" && each.generation >= wanted.generation && !each.leaving

/** Carried out: created ones exist, drained ones drain. */
const carryOut = (wanted: Fleet.Desire, plan: Fleet.Plan, round: number): Fleet.Desire => {
  const drained = new Set(plan.drain.map(({ id }) => id))
  return {
    ...wanted,
    members: [
      ...wanted.members.map((each) => (drained.has(each.id) ? { ...each, state: "draining" as const } : each)),
      ...Array.from({ length: plan.create }, (_, index) => ({
        id: `new${round}-${index}`,
        generation: wanted.generation ?? 0,
        state: "requested" as const,
        leased: 0,
        requestedAtMs: 10,
        leaving: false
      }))
    ]
  }
}

const converges =
  (mix = { created: 0, drained: 0 }) =>
  (planOf: Bugs.Plan) =>
    fc.property(desire, (wanted) => {
      const plan = planOf(wanted)
      const next = carryOut(wanted, plan, 1)
      const again = planOf(next)
      assert.deepStrictEqual({ create: again.create, drain: again.drain }, { create: 0, drain: [] })
      const counted = next.members.filter((each) => counts(wanted, each)).length
      if (wanted.generation === null) assert.strictEqual(counted, 0)
      else if (wanted.budget.failures === 0) assert.strictEqual(counted, wanted.desired)
      else assert.isAtMost(counted, wanted.desired)
      mix.created += plan.create
      mix.drained += plan.drain.length
    })

/** As successors become ready and work ends. */
const replaces = (planOf: Bugs.Plan) =>
  fc.property(desire, (first) => {
    let wanted: Fleet.Desire = { ...first, budget: RestartBudget.empty }
    for (let round = 0; round < 4; round++) {
      wanted = carryOut(wanted, planOf(wanted), round)
      wanted = {
        ...wanted,
        members: wanted.members
          .filter(({ state }) => state !== "draining")
          .map((each) => ({ ...each, state: "ready" as const, leased: 0 }))
      }
    }
    assert.isTrue(wanted.members.every((each) => counts(wanted, each)))
    assert.strictEqual(wanted.members.length, wanted.generation === null ? 0 : wanted.desired)
  })

const sparesTheBusy = (planOf: Bugs.Plan) =>
  fc.property(desire, (wanted) => {
    const plan = planOf(wanted)
    const gone = new Set(plan.drain.map(({ id }) => id))
    const present = wanted.members.filter((each) => counts(wanted, each))
    const busyGone = present.some((each) => gone.has(each.id) && each.leased !== 0)
    const idleKept = present.some((each) => !gone.has(each.id) && each.leased === 0)
    assert.isFalse(busyGone && idleKept)
    const startingKept = present.some((each) => !gone.has(each.id) && each.state !== "ready" && each.leased === 0)
    const readyGone = present.some((each) => gone.has(each.id) && each.state === "ready")
    assert.isFalse(startingKept && readyGone)
  })

/** Nothing foreign, nothing twice, nothing that drains already; in whatever order they are told. */
const touchesItsOwn = (planOf: Bugs.Plan) =>
  fc.property(desire, (wanted) => {
    const { drain, create } = planOf(wanted)
    const own = new Set(wanted.members.filter(({ state }) => state !== "draining").map(({ id }) => id))
    assert.isTrue(drain.every(({ id }) => own.has(id)))
    assert.strictEqual(new Set(drain.map(({ id }) => id)).size, drain.length)
    const turned = planOf({ ...wanted, members: [...wanted.members].reverse() })
    assert.strictEqual(turned.create, create)
    assert.sameDeepMembers([...turned.drain], [...drain])
  })

const oneAtATime = (planOf: Bugs.Plan) =>
  fc.property(desire, (wanted) => {
    const plan = planOf(wanted)
    const present = wanted.members.filter((each) => counts(wanted, each))
    const isMissing = wanted.generation !== null && present.length < wanted.desired
    const isEarly = wanted.nowMs < wanted.budget.nextTryAtMs
    assert.strictEqual(plan.retryAtMs, isMissing && isEarly ? wanted.budget.nextTryAtMs : null)
    if (isEarly) assert.strictEqual(plan.create, 0)
    const isTrial = wanted.budget.failures > 0 && !present.some(({ state }) => state === "ready")
    if (isTrial) assert.isAtMost(plan.create + present.length, Math.max(1, present.length))
  })

describe("fleet: laws", () => {
  it("L17: carried out and planned again, nothing is left to do; and the count is what was desired", () => {
    const mix = { created: 0, drained: 0 }
    upholds(converges(mix)(Fleet.plan), { numRuns: 2_000 })
    assert.isAbove(mix.created, 500)
    assert.isAbove(mix.drained, 500)
  })

  it("L17: as successors become ready and work ends, only the present generation is left", () => {
    upholds(replaces(Fleet.plan), { numRuns: 300 })
  })

  it("L17: a busy instance of the present generation is drained only when too few idle ones are left to drain", () => {
    upholds(sparesTheBusy(Fleet.plan), { numRuns: 2_000 })
  })

  it("L17: nothing foreign is touched, nothing twice, and nothing that drains; in whatever order they are told", () => {
    upholds(touchesItsOwn(Fleet.plan), { numRuns: 1_000 })
  })

  it("an older generation leaves at once when it holds nothing, and with work only when a successor is ready", () => {
    upholds(
      fc.property(desire, (wanted) => {
        const gone = new Set(Fleet.plan(wanted).drain.map(({ id }) => id))
        const hasSuccessor = wanted.members.some((each) => counts(wanted, each) && each.state === "ready")
        for (const each of wanted.members) {
          if (each.state === "draining" || counts(wanted, each)) continue
          const mayGo = wanted.generation === null || wanted.desired === 0 || each.leased === 0 || hasSuccessor
          assert.strictEqual(gone.has(each.id), mayGo)
        }
      }),
      { numRuns: 1_000 }
    )
  })

  it("while it fails: nothing before the next try, then one at a time until one is ready", () => {
    upholds(oneAtATime(Fleet.plan), { numRuns: 1_000 })
  })

  it("L17 kills: forgetting what is on its way, counting what leaves, keeping the old", () => {
    const { forgetsTheRequested, countsTheDraining } = Bugs
    kills(converges(), { forgetsTheRequested, countsTheDraining })
    kills(replaces, { keepsTheOld: Bugs.keepsTheOld })
  })

  it("L17 kills: draining the busy, draining twice, and choosing by the order in which they come", () => {
    kills(sparesTheBusy, { drainsTheBusy: Bugs.drainsTheBusy })
    kills(touchesItsOwn, { countsTheDraining: Bugs.countsTheDraining, byOrderOfCall: Bugs.byOrderOfCall })
  })

  it("that kills: a storm of starts of a version that fails", () => kills(oneAtATime, { stormsOn: Bugs.stormsOn }))
})
