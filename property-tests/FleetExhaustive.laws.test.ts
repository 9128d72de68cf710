/**
 * L17 and L20 of the fleet plan for every fleet of at most three members and every desire: four states, work that is none,
 * some or unknown, two generations, leaving or not; desired 0 to 3 of the second generation, or undeployed.
 *
 * The order in which members are told does not count (`Fleet.laws.test.ts`), so fleets are taken without one.
 *
 * @module
 */
import { assert, describe, it } from "vitest"
import * as Fleet from "../src/core/instance/Fleet.ts"
import * as RestartBudget from "../src/core/instance/RestartBudget.ts"
import * as Bugs from "./zoo/instanceBugs.ts"

type Kind = Omit<Fleet.Member, "id">

const kinds: ReadonlyArray<Kind> = (["requested", "starting", "ready", "draining"] as const).flatMap((state) =>
  ([0, 2, "unknown"] as const).flatMap((leased) =>
    [1, 2].flatMap((generation) =>
      [false, true].map((leaving) => ({ state, leased, generation, leaving, requestedAtMs: 0 }))
    )
  )
)

/** Fleets of so many members at most, of kinds from this one on. */
const fleets = (sizeMax: number, from = 0): ReadonlyArray<ReadonlyArray<Kind>> =>
  sizeMax === 0
    ? [[]]
    : [
        [],
        ...kinds.slice(from).flatMap((kind, index) => fleets(sizeMax - 1, from + index).map((rest) => [kind, ...rest]))
      ]

const isCounted = ({ state, generation, leaving }: Fleet.Member, wanted: number | null): boolean =>
  wanted !== null && state !== "draining" && generation >= wanted && !leaving

const check = (planOf: Bugs.Plan, desire: Fleet.Desire): void => {
  const { members, generation, desired } = desire
  const { create, drain } = planOf(desire)
  const gone = new Set(drain.map(({ id }) => id))
  const own = members.filter(({ state }) => state !== "draining").map(({ id }) => id)
  if (gone.size !== drain.length || !drain.every(({ id }) => own.includes(id)))
    assert.fail("L17: not its own, or twice")
  const added = Array.from({ length: create }, (_, index) => {
    const of = { state: "requested", leased: 0, leaving: false, requestedAtMs: 1 } as const
    return { id: `new${index}`, generation: generation ?? 0, ...of }
  })
  const kept = members.map((each) => (gone.has(each.id) ? { ...each, state: "draining" as const } : each))
  const after = [...kept, ...added]
  const counted = after.filter((each) => isCounted(each, generation)).length
  if (counted !== (generation === null ? 0 : desired)) assert.fail(`L17: ${counted} instead of ${desired}`)
  const again = planOf({ ...desire, members: after })
  if (again.create !== 0 || again.drain.length > 0) assert.fail("L17: the second plan is not empty")
  const present = members.filter((each) => isCounted(each, generation))
  const isBusyGone = present.some(({ id, leased }) => gone.has(id) && leased !== 0)
  const isIdleKept = present.some(({ id, leased }) => !gone.has(id) && leased === 0)
  if (isBusyGone && isIdleKept) assert.fail("L20: what holds work, or may, is drained while an idle one stays")
}

/** How many plans were looked at. Throws the first that is wrong. */
const checkAll = (planOf: Bugs.Plan): number => {
  let plans = 0
  for (const fleet of fleets(3)) {
    const members = fleet.map((kind, index) => ({ ...kind, id: `i${index}` }))
    for (const generation of [2, null]) {
      for (let desired = 0; desired <= 3; desired++) {
        check(planOf, { desired, generation, members, nowMs: 1_000, budget: RestartBudget.empty })
        plans += 1
      }
    }
  }
  return plans
}

describe("fleet: every small fleet", () => {
  it("L17, L20: every plan leads to what is desired, ordered again is nothing, and spares what may hold work", () => {
    const plans = checkAll(Fleet.plan)
    console.log(`fleet: ${plans.toLocaleString("en")} plans`)
    assert.strictEqual(plans, fleets(3).length * 8)
  })

  it("L17, L20 kill: draining the busy and the unknown, counting what leaves, keeping the old, ordering again", () => {
    const { drainsTheBusy, unknownIsIdle, countsTheDraining, keepsTheOld, forgetsTheRequested } = Bugs
    const bugs = { drainsTheBusy, unknownIsIdle, countsTheDraining, keepsTheOld, forgetsTheRequested }
    for (const [name, bug] of Object.entries(bugs)) assert.throws(() => checkAll(bug), /L17|L20/, name)
  })
})
