/**
 * Laws of the agent's reconcile plan (L17, R1 to R4), over worlds in which wanted, running, launching, foreign and lost
 * instances share few ids, so that they collide.
 *
 * @module
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as Reconcile from "../src/planes/compute/Reconcile.ts"
import { upholds } from "./upholds.ts"

interface World {
  readonly wanted: ReadonlyArray<Reconcile.Wanted>
  /** What the backend runs and calls its own. */
  readonly own: ReadonlyArray<Reconcile.Observed>
  /** What runs beside it and is not listed. */
  readonly foreign: ReadonlyArray<string>
}

const id = fc.constantFrom("a", "b", "c", "d", "e", "f")
const selector = (one: { readonly instanceId: string }) => one.instanceId
const world: fc.Arbitrary<World> = fc.record({
  wanted: fc.uniqueArray(fc.record({ instanceId: id, isLaunched: fc.boolean(), missedCount: fc.nat(1) }), { selector }),
  own: fc.uniqueArray(fc.record({ instanceId: id, isAdoptable: fc.boolean() }), { selector }),
  foreign: fc.uniqueArray(id)
})

const carryOut = (before: World, plan: Reconcile.Plan): World => ({
  wanted: [
    ...before.wanted
      .filter((one) => !plan.vanished.includes(one.instanceId))
      .map((one) => ({ ...one, missedCount: plan.missed.includes(one.instanceId) ? one.missedCount + 1 : 0 })),
    ...plan.adopt.map((instanceId) => ({ instanceId, isLaunched: true, missedCount: 0 }))
  ],
  own: before.own.filter((one) => !plan.end.includes(one.instanceId)),
  foreign: before.foreign
})

const planOf = (of: World) => Reconcile.plan(of.wanted, of.own)
const ownIds = (of: World) => of.own.map((one) => one.instanceId)

describe("Reconcile", () => {
  it("L17: carried out once the world is as wanted, and a second run does nothing", () => {
    upholds(
      fc.property(world, (before) => {
        const once = carryOut(before, planOf(before))
        const after = carryOut(once, planOf(once))
        assert.isTrue(Reconcile.isEmpty(planOf(after)))
        const wanted = new Set(after.wanted.map((one) => one.instanceId))
        assert.isTrue(ownIds(after).every((one) => wanted.has(one)))
        assert.isTrue(after.wanted.every((one) => !one.isLaunched || ownIds(after).includes(one.instanceId)))
      })
    )
  })

  it("R1: only what the backend lists as its own is ended, each once", () => {
    upholds(
      fc.property(world, (before) => {
        const { end } = planOf(before)
        assert.isTrue(end.every((one) => ownIds(before).includes(one)))
        assert.strictEqual(new Set(end).size, end.length)
        assert.deepStrictEqual(carryOut(before, planOf(before)).foreign, before.foreign)
      })
    )
  })

  it("R2: what is wanted is not ended, and what runs has not vanished", () => {
    upholds(
      fc.property(world, (before) => {
        const plan = planOf(before)
        assert.isTrue(before.wanted.every((one) => !plan.end.includes(one.instanceId)))
        assert.isTrue(ownIds(before).every((one) => !plan.missed.includes(one) && !plan.vanished.includes(one)))
      })
    )
  })

  it("R3: a launch that is under way is left alone", () => {
    upholds(
      fc.property(world, (before) => {
        const plan = planOf(before)
        const launching = before.wanted.filter((one) => !one.isLaunched).map((one) => one.instanceId)
        assert.isTrue(launching.every((one) => !plan.end.includes(one) && !plan.missed.includes(one)))
      })
    )
  })

  it("R4: what an earlier life launched is taken over, once, and not ended", () => {
    upholds(
      fc.property(world, (before) => {
        const plan = planOf(before)
        const wanted = new Set(before.wanted.map((one) => one.instanceId))
        const found = before.own.filter((one) => one.isAdoptable && !wanted.has(one.instanceId))
        assert.deepStrictEqual(
          [...plan.adopt],
          found.map((one) => one.instanceId)
        )
        assert.isTrue(plan.adopt.every((one) => !plan.end.includes(one)))
        assert.deepStrictEqual(planOf(carryOut(before, plan)).adopt, [])
      })
    )
  })

  it("one that nobody wants, one of an earlier life, one that is missed and one that vanished are told apart", () => {
    const wanted = [
      { instanceId: "missed", isLaunched: true, missedCount: 0 },
      { instanceId: "gone", isLaunched: true, missedCount: 1 }
    ]
    const observed = [
      { instanceId: "orphan", isAdoptable: false },
      { instanceId: "earlier", isAdoptable: true }
    ]
    assert.deepStrictEqual(Reconcile.plan(wanted, observed), {
      end: ["orphan"],
      adopt: ["earlier"],
      missed: ["missed", "gone"],
      vanished: ["gone"]
    })
  })
})
