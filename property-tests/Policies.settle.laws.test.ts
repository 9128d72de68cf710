/**
 * L15: under a load that stays as it is, every policy stops moving: after two of its windows nothing changes any more.
 * One cannot, and that is a law too.
 *
 * A closed world: instances are there after 0, 20 or 90 seconds, those that start are cancelled first. Two hours of one
 * load (0 to 40), so that nothing of a beginning is left, then one to nine hours of another.
 *
 * | policy | its window | bound |
 * |---|---|---|
 * | demand | the idle window | two |
 * | fixed | none | at once |
 * | knative | the stable window, 60 s, and the grace, 30 s | two stable windows |
 * | keda | the stabilisation window, 300 s | two |
 * | hpa | the stabilisation window, 300 s | two, or a start and a sync for each step of a quarter, which is all it grows at a time |
 * | histogram | the keep-alive, 4 h for a version without a pattern | two |
 * | nvcf with the present count | the look-back, 600 s | two, or one and a start, a sample and a look for each step of a fifth |
 * | nvcf as shipped | its count is up to two minutes older than its utilisation | never, for some loads |
 *
 * @module
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as Policies from "../src/core/scaling/Policies.ts"
import type { PolicySpec } from "../src/core/scaling/Policy.ts"
import type { Plain } from "../src/core/scaling/PolicyChoice.ts"
import * as Scaling from "../src/core/scaling/Scaling.ts"
import * as World from "./PoliciesWorld.ts"
import { upholds } from "./upholds.ts"
import * as Bugs from "./zoo/scalingBugs.ts"

const hourMs = 3_600_000
const firstMs = 2 * hourMs

interface Steady {
  readonly before: number
  readonly load: number
  readonly startupMs: number
  readonly concurrency: number
}

const steady: fc.Arbitrary<Steady> = fc.record({
  before: fc.constantFrom(0, 1, 2, 5, 16, 40),
  load: fc.oneof(fc.constant(0), fc.nat(40)),
  startupMs: fc.constantFrom(0, 20_000, 90_000),
  concurrency: fc.constantFrom(1, 2, 8)
})

const bounds = ({ concurrency }: Steady): PolicySpec => ({ ...World.spec, maxInstances: 100, concurrency })

const changesOf = (running: Scaling.Running, given: Steady, hours = 4) =>
  World.closed(running, {
    load: (atMs) => (atMs < firstMs ? given.before : given.load),
    changesMs: [firstMs],
    untilMs: firstMs + hours * hourMs,
    startupMs: given.startupMs,
    of: bounds(given)
  })

/** When the last change came, counted from the change of the load, and how many instances there are since. */
const rest = (running: Scaling.Running, given: Steady, hours = 4) => {
  const changes = changesOf(running, given, hours)
  const last = changes.at(-1)
  return { afterMs: Math.max(0, (last?.atMs ?? 0) - firstMs), desired: last?.desired ?? 0 }
}

const settlesWithin = (start: () => Scaling.Running, boundOf: (given: Steady) => number, hours = 4) =>
  fc.property(steady, (given) => {
    const { afterMs, desired } = rest(start(), given, hours)
    assert.isAtMost(afterMs, boundOf(given))
    // Enough of them, but for the tenth that Kubernetes tolerates, whatever the policy aims at beyond that.
    assert.isAtLeast(desired * given.concurrency * 1.1, given.load)
  })

/** So many steps from one instance to what the load needs when each adds no more than this factor allows. */
const stepsBy = (factor: number, { load, concurrency }: Steady): number => {
  let count = 0
  for (let instances = 1; instances * concurrency < load * factor; instances = Math.ceil(instances * factor)) count += 1
  return count
}

const policies: ReadonlyArray<readonly [Plain, (given: Steady) => number]> = [
  [{ name: "demand" }, () => 2 * World.spec.idleWindowMs],
  [{ name: "knative" }, () => 2 * 60_000],
  [{ name: "keda" }, () => 2 * 300_000],
  [{ name: "hpa" }, (given) => Math.max(2 * 300_000, stepsBy(1.25, given) * (given.startupMs + 15_000))],
  [
    { name: "nvcf", countIsSettled: false },
    // What it saw of a higher load can take it too far down first, when that leaves the look-back.
    (given) => Math.max(2 * 600_000, 700_000 + stepsBy(1.2, given) * (given.startupMs + 70_000 + 30_000))
  ]
]

const holds = <Inputs>(property: fc.IProperty<Inputs>) =>
  !fc.check(property, { numRuns: 100, endOnFailure: true }).failed

describe("policies: L15", () => {
  for (const [choice, boundOf] of policies) {
    it(`L15: a steady load settles within the bound of ${choice.name}, with enough instances`, () => {
      upholds(
        settlesWithin(() => Policies.start(choice), boundOf, 1),
        { numRuns: 30 }
      )
    })
  }

  it("L15: a steady load settles at once under fixed", () => {
    upholds(
      fc.property(steady, (given) => {
        assert.deepStrictEqual(rest(Policies.start("fixed"), given), { afterMs: 0, desired: 1 })
      }),
      { numRuns: 20 }
    )
  })

  it("L15: a steady load settles within two keep-alives under histogram", () => {
    upholds(
      settlesWithin(
        () => Policies.start("histogram"),
        () => 2 * 4 * hourMs,
        9
      ),
      { numRuns: 40 }
    )
  })

  it("L15: histogram moves on with a load that comes and goes, because it learns to", () => {
    const everyMs = 600_000
    const changesMs = Array.from({ length: 36 }, (_, index) => [index * everyMs, index * everyMs + 5_000]).flat()
    const changes = World.closed(Policies.start("histogram"), {
      load: (atMs) => (atMs % everyMs < 5_000 ? 1 : 0),
      changesMs: changesMs.slice(1),
      untilMs: 36 * everyMs
    })
    const lastHour = changes.filter(({ atMs }) => atMs >= 30 * everyMs).map(({ desired }) => desired)
    assert.deepStrictEqual(lastHour, [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1])
  })

  it("L15 kills: restless, and a memory that only grows", () => {
    for (const [name, policy] of Object.entries(Bugs.unsettled)) {
      assert.isFalse(
        holds(
          settlesWithin(
            () => Scaling.running(policy),
            () => 600_000
          )
        ),
        `${name} lives`
      )
    }
  })

  it("L15: nvcf as shipped does not settle, and then moves with every look", () => {
    const given = { before: 0, load: 2, startupMs: 0, concurrency: 2 }
    const late = changesOf(Policies.start("nvcf"), given).filter(({ atMs }) => atMs >= firstMs + hourMs)
    assert.strictEqual(late.length, 3 * 120, "a change at each look of three hours")
    assert.sameMembers([...new Set(late.map(({ desired }) => desired))], [1, 2])
  })

  it("L15: nvcf as shipped cancels what it started before it is ready, for as long as the load lasts", () => {
    const given = { before: 0, load: 40, startupMs: 20_000, concurrency: 2 }
    const late = changesOf(Policies.start("nvcf"), given).filter(({ atMs }) => atMs >= firstMs + hourMs)
    assert.isAtLeast(late.length, 300)
    assert.isAtMost(Math.max(...late.map(({ desired }) => desired)), 2, "of the 20 that the load needs")
  })

  it("L15: the bound that nvcf as shipped does keep is one change a look", () => {
    upholds(
      fc.property(steady, (given) => {
        const late = changesOf(Policies.start("nvcf"), given).filter(({ atMs }) => atMs > firstMs)
        assert.isAtMost(late.length, (4 * hourMs) / 30_000)
        for (let index = 1; index < late.length; index++) {
          assert.isAtLeast(late[index]!.atMs - late[index - 1]!.atMs, 30_000)
        }
      }),
      { numRuns: 30 }
    )
  })
})
