import { assert, describe, it } from "vitest"
import * as IntMap from "../collections/IntMap.ts"
import * as IntSet from "../collections/IntSet.ts"
import { defaults } from "./BufferOptions.ts"
import * as BufferState from "./BufferState.ts"
import { emptyVersion, type Mutable, nextState, type Version } from "./BufferState.ts"
import * as Draft from "./Draft.ts"
import * as Lanes from "./Lanes.ts"

const blank = () => {
  const draft = Draft.make(nextState(BufferState.empty(defaults)), 0)
  const version: Mutable<Version> = { ...emptyVersion("v"), edit: draft.state.edit }
  const take = (): number => {
    const sequence = Lanes.choose(draft, version)
    const tenant = Math.floor(sequence / 100)
    Lanes.leave(draft, version, Lanes.keyOf(tenant, "deadline"), sequence)
    return tenant
  }
  return { draft, version, take }
}

/** Tenants 1, 2, ... with so many requests each, numbered by tenant, and what each may spend. */
const filled = (deficits: ReadonlyArray<number>, requests: number) => {
  const { draft, version, take } = blank()
  deficits.forEach((deficit, index) => {
    const tenant = index + 1
    const key = Lanes.keyOf(tenant, "deadline")
    for (let count = 0; count < requests; count++) Lanes.enter(draft, version, key, tenant * 100 + count)
    version.lanes = IntMap.set(version.lanes, key, { ...IntMap.get(version.lanes, key)!, deficit })
  })
  return { draft, version, take }
}

const ring = (deficits: ReadonlyArray<number>, requests = 9) =>
  Array.from({ length: deficits.length * requests }, filled(deficits, requests).take)

describe("the turns of tenants", () => {
  it("change with each request, where each may spend what one costs", () => {
    assert.deepStrictEqual(ring([1, 1, 1], 3), [1, 2, 3, 1, 2, 3, 1, 2, 3])
  })

  it("last for as many requests as a tenant can pay for, and who cannot pay for one waits for the next round", () => {
    assert.deepStrictEqual(ring([3, 1, 0]).slice(0, 9), [1, 1, 1, 2, 1, 2, 3, 1, 2])
  })

  it("a tenant that is alone in its ring is served whatever it may spend", () => {
    assert.deepStrictEqual(ring([0], 4), [1, 1, 1, 1])
  })

  /** Tenant 2 is served once, then tenant 1 so often alone; then both have twenty ready. */
  const comeBack = (rounds: number): ReadonlyArray<number> => {
    const { draft, version, take } = blank()
    const enter = (tenant: number, from: number, count: number) => {
      for (let at = from; at < from + count; at++) {
        Lanes.enter(draft, version, Lanes.keyOf(tenant, "deadline"), tenant * 100 + at)
      }
    }
    enter(2, 0, 1)
    take()
    enter(1, 0, rounds + 20)
    for (let round = 0; round < rounds; round++) take()
    enter(2, 1, 20)
    return Array.from({ length: 15 }, take)
  }

  it("a tenant that lets rounds pass may spend them when it comes back, after the one whose turn it is", () => {
    assert.deepStrictEqual(comeBack(0).slice(0, 6), [1, 2, 1, 2, 1, 2])
    assert.deepStrictEqual(comeBack(2).slice(0, 7), [1, 2, 2, 2, 1, 2, 1])
  })

  it("no more is saved than the bound, however long the others go on", () => {
    const spent = Array.from({ length: 1 + Lanes.savedTurnsMax }, () => 2)
    assert.deepStrictEqual(comeBack(70), [1, ...spent, 1, 2, 1, 2, 1].slice(0, 15))
  })

  it("one that is alone spends what it has saved, so that it has nothing over those that come", () => {
    const { draft, version, take } = blank()
    const [one, other] = [Lanes.keyOf(1, "deadline"), Lanes.keyOf(2, "deadline")]
    Lanes.enter(draft, version, one, 100)
    take()
    for (let at = 0; at < 20; at++) Lanes.enter(draft, version, other, 200 + at)
    for (let at = 0; at < 10; at++) take()
    // Tenant 2 is served ten times while tenant 1 rests, and leaves the ring to it.
    for (let at = 10; at < 20; at++) take()
    for (let at = 1; at < 30; at++) Lanes.enter(draft, version, one, 100 + at)
    for (let at = 0; at < Lanes.savedTurnsMax; at++) take()
    for (let at = 20; at < 40; at++) Lanes.enter(draft, version, other, 200 + at)
    const served = Array.from({ length: 12 }, take)
    assert.strictEqual(served.indexOf(2), 1)
  })

  it("one that is alone leaves a round behind with each request, so that who rests meanwhile saves them", () => {
    const { draft, version, take } = blank()
    const [one, other] = [Lanes.keyOf(1, "deadline"), Lanes.keyOf(2, "deadline")]
    const enter = (key: number, from: number, count: number) => {
      for (let at = from; at < from + count; at++) Lanes.enter(draft, version, key, Math.floor(key / 2) * 100 + at)
    }
    enter(one, 0, 1)
    take()
    // Tenant 2 is served nine times while tenant 1 rests, so tenant 1 has eight turns saved.
    enter(other, 0, 9)
    for (let at = 0; at < 9; at++) take()
    enter(one, 1, 30)
    for (let at = 0; at < 4; at++) take()
    // Alone, it has spent four of them: these are rounds that tenant 2 let pass.
    enter(other, 9, 20)
    const served = Array.from({ length: 10 }, take)
    assert.deepStrictEqual(served, [1, 1, 1, 1, 1, 2, 2, 2, 2, 2])
  })

  it("of very many that rest all are forgotten at once, and have saved nothing", () => {
    const { draft, version, take } = blank()
    for (let tenant = 1; tenant <= Lanes.restingMax; tenant++) {
      Lanes.enter(draft, version, Lanes.keyOf(tenant, "deadline"), tenant * 100)
      take()
    }
    assert.strictEqual(IntMap.size(version.lanes), Lanes.restingMax)
    Lanes.enter(draft, version, Lanes.keyOf(9_999, "deadline"), 999_900)
    take()
    assert.deepStrictEqual([IntMap.size(version.lanes), version.restingCount], [0, 0])
  })

  it("of those that have something ready none is forgotten with the many that rest", () => {
    const { draft, version, take } = blank()
    Lanes.enter(draft, version, Lanes.keyOf(1, "opportunistic"), 100)
    for (let tenant = 2; tenant <= Lanes.restingMax + 2; tenant++) {
      Lanes.enter(draft, version, Lanes.keyOf(tenant, "deadline"), tenant * 100)
      take()
    }
    assert.deepStrictEqual([IntMap.size(version.lanes), version.restingCount], [1, 0])
    assert.strictEqual(Lanes.choose(draft, version), 100)
  })

  it("stay where they are when another tenant has nothing left", () => {
    const { draft, version, take } = filled([1, 1, 1], 1)
    Lanes.leave(draft, version, Lanes.keyOf(2, "deadline"), 200)
    assert.deepStrictEqual([take(), take()], [1, 3])
  })

  it("are asked for only where something is ready", () => {
    const { draft, version } = filled([1], 1)
    const key = Lanes.keyOf(1, "deadline")
    version.lanes = IntMap.set(version.lanes, key, { ...IntMap.get(version.lanes, key)!, queue: IntSet.empty })
    assert.throws(() => Lanes.choose(draft, version), "invariant broken: a lane has a request")
    const none = blank()
    assert.throws(() => Lanes.choose(none.draft, none.version), "a tenant with ready requests has a lane")
  })
})
