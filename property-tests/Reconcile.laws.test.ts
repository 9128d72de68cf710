/**
 * Laws of the agent's reconcile plan (L17, R1 to R3), over worlds in which wanted, running, launching, foreign and lost
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
  readonly own: ReadonlyArray<string>
  /** What runs beside it and is not listed. */
  readonly foreign: ReadonlyArray<string>
}

const id = fc.constantFrom("a", "b", "c", "d", "e", "f")
const world: fc.Arbitrary<World> = fc.record({
  wanted: fc.uniqueArray(fc.record({ instanceId: id, isLaunched: fc.boolean() }), {
    selector: (one) => one.instanceId
  }),
  own: fc.uniqueArray(id),
  foreign: fc.uniqueArray(id)
})

const carryOut = (before: World, plan: Reconcile.Plan): World => ({
  wanted: before.wanted.filter((one) => !plan.vanished.includes(one.instanceId)),
  own: before.own.filter((one) => !plan.end.includes(one)),
  foreign: before.foreign
})

const planOf = (of: World) => Reconcile.plan(of.wanted, of.own)

describe("Reconcile", () => {
  it("L17: carried out once the world is as wanted, and a second run does nothing", () => {
    upholds(
      fc.property(world, (before) => {
        const after = carryOut(before, planOf(before))
        assert.isTrue(Reconcile.isEmpty(planOf(after)))
        const wanted = new Set(after.wanted.map((one) => one.instanceId))
        assert.isTrue(after.own.every((one) => wanted.has(one)))
        assert.isTrue(after.wanted.every((one) => !one.isLaunched || after.own.includes(one.instanceId)))
      })
    )
  })

  it("R1: only what the backend lists as its own is ended, each once", () => {
    upholds(
      fc.property(world, (before) => {
        const { end } = planOf(before)
        assert.isTrue(end.every((one) => before.own.includes(one)))
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
        assert.isTrue(before.own.every((one) => !plan.vanished.includes(one)))
      })
    )
  })

  it("R3: a launch that is under way is left alone", () => {
    upholds(
      fc.property(world, (before) => {
        const plan = planOf(before)
        const launching = before.wanted.filter((one) => !one.isLaunched).map((one) => one.instanceId)
        assert.isTrue(launching.every((one) => !plan.end.includes(one) && !plan.vanished.includes(one)))
      })
    )
  })

  it("an instance that nobody wants and one that vanished are both found", () => {
    assert.deepStrictEqual(Reconcile.plan([{ instanceId: "gone", isLaunched: true }], ["orphan"]), {
      end: ["orphan"],
      vanished: ["gone"]
    })
  })
})
