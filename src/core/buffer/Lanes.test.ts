import { assert, describe, it } from "vitest"
import * as IntMap from "../collections/IntMap.ts"
import { defaults } from "./BufferOptions.ts"
import * as BufferState from "./BufferState.ts"
import { emptyVersion, type Mutable, nextState, type Version } from "./BufferState.ts"
import * as Draft from "./Draft.ts"
import * as Lanes from "./Lanes.ts"

/** Tenants 1, 2, ... with so many requests each, numbered by tenant, and what each may spend. */
const ring = (deficits: ReadonlyArray<number>, requests = 9) => {
  const draft = Draft.make(nextState(BufferState.empty(defaults)), 0)
  const version: Mutable<Version> = { ...emptyVersion("v"), edit: draft.state.edit }
  deficits.forEach((deficit, index) => {
    const tenant = index + 1
    const key = Lanes.keyOf(tenant, "deadline")
    for (let count = 0; count < requests; count++) Lanes.enter(draft, version, key, tenant * 100 + count)
    version.lanes = IntMap.set(version.lanes, key, { ...IntMap.get(version.lanes, key)!, deficit })
  })
  const take = (): number => {
    const sequence = Lanes.choose(draft, version)
    const tenant = Math.floor(sequence / 100)
    Lanes.leave(draft, version, Lanes.keyOf(tenant, "deadline"), sequence)
    return tenant
  }
  return Array.from({ length: deficits.length * requests }, take)
}

describe("the turns of tenants", () => {
  it("change with each request, where each may spend what one costs", () => {
    assert.deepStrictEqual(ring([1, 1, 1], 3), [1, 2, 3, 1, 2, 3, 1, 2, 3])
  })

  it("last for as many requests as a tenant can pay for, and who cannot pay for one waits for the next round", () => {
    assert.deepStrictEqual(ring([3, 1, 0]).slice(0, 9), [1, 1, 1, 2, 1, 2, 3, 1, 2])
  })

  it("a tenant that is alone in its ring pays nothing", () => {
    assert.deepStrictEqual(ring([0], 4), [1, 1, 1, 1])
  })
})
