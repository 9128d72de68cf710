import { assert, describe, it } from "vitest"
import * as Fleet from "./Fleet.ts"
import * as RestartBudget from "./RestartBudget.ts"

const member = (id: string, more: Partial<Fleet.Member> = {}): Fleet.Member => ({
  id,
  generation: 2,
  state: "ready",
  leased: 0,
  requestedAtMs: 10,
  leaving: false,
  ...more
})
const plan = (desired: number, members: ReadonlyArray<Fleet.Member>, more: Partial<Fleet.Desire> = {}) =>
  Fleet.plan({ desired, generation: 2, members, nowMs: 1_000, budget: RestartBudget.empty, ...more })
const drained = (desired: number, ...members: ReadonlyArray<Fleet.Member>) =>
  plan(desired, members).drain.map(({ id }) => id)

describe("fleet", () => {
  it("creates what is missing and drains what is too many, and says so", () => {
    assert.deepStrictEqual(plan(3, [member("a")]), { create: 2, drain: [], retryAtMs: null })
    assert.deepStrictEqual(plan(1, [member("a")]), { create: 0, drain: [], retryAtMs: null })
    const surplus = { id: "a", reason: "1 desired and 2 are there" }
    assert.deepStrictEqual(plan(1, [member("b"), member("a")]), { create: 0, drain: [surplus], retryAtMs: null })
    assert.deepStrictEqual(plan(1, [member("a", { state: "draining" })]).create, 1)
  })

  it("what is worth least goes first: what starts, what holds least, the youngest, the first by name", () => {
    const start = { state: "starting", requestedAtMs: 1 } as const
    assert.deepStrictEqual(drained(1, member("a"), member("b", start)), ["b"])
    assert.deepStrictEqual(drained(1, member("a"), member("b", { ...start, leased: 1 })), ["a"])
    assert.deepStrictEqual(drained(1, member("a", { leased: 2 }), member("b", { leased: 1 })), ["b"])
    assert.deepStrictEqual(drained(1, member("a", { leased: "unknown" }), member("b", { leased: 9 })), ["b"])
    assert.deepStrictEqual(drained(1, member("a", { ...start, leased: "unknown" }), member("b")), ["b"])
    assert.deepStrictEqual(drained(1, member("a"), member("b", { requestedAtMs: 11 })), ["b"])
    assert.deepStrictEqual(drained(1, member("a", { requestedAtMs: 11 }), member("b")), ["a"])
    for (const ids of ["cba", "abc", "bca", "cab", "bac", "acb"]) {
      assert.deepStrictEqual(drained(1, ...[...ids].map((id) => member(id))), ["a", "b"], ids)
    }
    assert.deepStrictEqual(drained(1, member("a"), member("a")), ["a"])
  })

  it("an older generation leaves when it holds nothing, a successor is ready or nothing is desired, and says why", () => {
    const old = member("a", { generation: 1, leased: 1 })
    const successor = member("b", { state: "starting" })
    assert.deepStrictEqual(plan(1, [old, successor]).drain, [])
    const replaced = [{ id: "a", reason: "generation 1 is replaced by 2" }]
    assert.deepStrictEqual(plan(1, [{ ...old, leased: 0 }]).drain, replaced)
    assert.deepStrictEqual(plan(1, [old, { ...successor, state: "ready" }]).drain, replaced)
    assert.deepStrictEqual(plan(0, [old]), { create: 0, drain: replaced, retryAtMs: null })
    assert.deepStrictEqual(plan(1, [{ ...old, leased: "unknown" }]), { create: 1, drain: [], retryAtMs: null })
    assert.deepStrictEqual(plan(1, [{ ...old, leaving: true, leased: 0 }]).drain, replaced)
  })

  it("what its cluster gives up is replaced first, and nothing of what is not deployed stays", () => {
    const leaving = member("a", { leaving: true })
    const drainedCluster = [{ id: "a", reason: "its cluster is being drained" }]
    assert.deepStrictEqual(plan(1, [leaving]), { create: 1, drain: drainedCluster, retryAtMs: null })
    assert.deepStrictEqual(plan(1, [{ ...leaving, generation: 3 }]).drain, drainedCluster)
    const busy = member("a", { leased: 3 })
    assert.deepStrictEqual(plan(4, [busy], { generation: null }), {
      create: 0,
      drain: [{ id: "a", reason: "the version is not deployed any more" }],
      retryAtMs: null
    })
  })

  it("a version that fails is tried one at a time and not before its time, unless one of it is ready", () => {
    const budget = { ...RestartBudget.empty, failures: 2, nextTryAtMs: 1_000 }
    const tried = (members: ReadonlyArray<Fleet.Member>, more: Partial<RestartBudget.State> = {}) => {
      const { create, retryAtMs } = plan(3, members, { budget: { ...budget, ...more } })
      return [create, retryAtMs]
    }
    assert.deepStrictEqual(tried([]), [1, null])
    assert.deepStrictEqual(tried([member("a", { state: "starting" })]), [0, null])
    assert.deepStrictEqual(tried([member("a", { state: "starting" }), member("b")]), [1, null])
    assert.deepStrictEqual(tried([member("a", { generation: 1 })]), [1, null], "an older one is no proof")
    assert.deepStrictEqual(tried([], { nextTryAtMs: 1_001 }), [0, 1_001])
    assert.deepStrictEqual(tried([], { failures: 0 }), [3, null])
    assert.deepStrictEqual(plan(0, [], { budget }), { create: 0, drain: [], retryAtMs: null }, "nothing is missing")
    const held = plan(0, [member("a")], { budget: { ...budget, nextTryAtMs: 5_000 } })
    assert.deepStrictEqual([held.drain.length, held.retryAtMs], [1, null], "nothing is missing")
    const whole = plan(1, [member("a", { state: "starting" })], { budget: { ...budget, nextTryAtMs: 5_000 } })
    assert.deepStrictEqual(whole, { create: 0, drain: [], retryAtMs: null }, "nothing is missing")
    const starting = [member("a", { state: "starting" }), member("b", { state: "starting" })]
    const all = plan(2, starting, { budget: { ...budget, nextTryAtMs: 5_000 } })
    assert.deepStrictEqual(all, { create: 0, drain: [], retryAtMs: null }, "nothing is missing")
    const leave = starting.map((each) => ({ ...each, state: "draining" as const }))
    assert.deepStrictEqual(plan(0, leave, { budget }), { create: 0, drain: [], retryAtMs: null }, "nothing is missing")
    const waits = plan(2, [member("a", { generation: 1 })], { budget: { ...budget, nextTryAtMs: 5_000 } })
    assert.deepStrictEqual([waits.drain.length, waits.retryAtMs], [1, 5_000])
  })
})

describe("restart budget", () => {
  const fail = (more: object = {}): RestartBudget.Event => ({
    ...RestartBudget.Event.Failed({
      nowMs: 1_000,
      requestedAtMs: 900,
      readyForMs: null,
      retryable: true,
      detail: "boom"
    }),
    ...more
  })
  const one: RestartBudget.State = {
    failures: 1,
    lastFailureAtMs: 1_000,
    nextTryAtMs: 1_200,
    lastDetail: "boom",
    wasReady: false
  }

  it("B2: a failure of an instance that was requested by the last one is the same trial", () => {
    assert.deepStrictEqual(RestartBudget.step(RestartBudget.empty, fail()), one)
    assert.deepStrictEqual(
      RestartBudget.step(one, fail({ nowMs: 1_100, requestedAtMs: 1_000, detail: "again", readyForMs: 0 })),
      { ...one, lastDetail: "again", wasReady: true }
    )
    assert.deepStrictEqual(RestartBudget.step(one, fail({ nowMs: 1_300, requestedAtMs: 1_001 })), {
      ...one,
      failures: 2,
      lastFailureAtMs: 1_300,
      nextTryAtMs: 1_700
    })
    assert.deepStrictEqual(RestartBudget.step(RestartBudget.empty, fail({ requestedAtMs: 0, nowMs: 0 })), {
      ...one,
      lastFailureAtMs: 0,
      nextTryAtMs: 200
    })
    assert.deepStrictEqual(
      RestartBudget.step({ ...one, wasReady: true }, fail({ requestedAtMs: 1_001 })).wasReady,
      true
    )
  })

  it("B3: health is ready for 10 s, of an instance of a later start", () => {
    const healthy = { ...RestartBudget.empty, lastFailureAtMs: 1_000, lastDetail: "boom" }
    assert.deepStrictEqual(RestartBudget.step(one, fail({ readyForMs: 10_000 })), healthy)
    assert.strictEqual(RestartBudget.step(one, fail({ readyForMs: 9_999, requestedAtMs: 1_001 })).failures, 2)
    const seen = (requestedAtMs: number, nowMs: number, before = one) =>
      RestartBudget.step(before, RestartBudget.Event.SeenReady({ nowMs, requestedAtMs, readyAtMs: 2_000 }))
    assert.strictEqual(seen(1_000, 99_000), one)
    assert.strictEqual(seen(1_001, 12_000), RestartBudget.empty)
    assert.deepStrictEqual(seen(1_001, 11_999), { ...one, wasReady: true })
    const ready = { ...one, wasReady: true }
    assert.strictEqual(seen(1_001, 11_999, ready), ready)
    const clean = { ...healthy }
    assert.strictEqual(seen(1_001, 99_000, clean), clean)
  })

  it("what the last failure was can be amended, and new code begins anew", () => {
    const amended = RestartBudget.Event.Amended({ nowMs: 1, detail: "no such file" })
    assert.deepStrictEqual(RestartBudget.step(one, amended), { ...one, lastDetail: "no such file" })
    assert.strictEqual(RestartBudget.step(RestartBudget.empty, amended), RestartBudget.empty)
    const changed = RestartBudget.Event.GenerationChanged({ nowMs: 1 })
    assert.deepStrictEqual(RestartBudget.step(one, changed), RestartBudget.empty)
    assert.deepStrictEqual(RestartBudget.empty, {
      failures: 0,
      lastFailureAtMs: 0,
      nextTryAtMs: 0,
      lastDetail: "",
      wasReady: false
    })
  })

  it("the wait doubles from 200 ms to 30 s, and is over at its end", () => {
    assert.deepStrictEqual(
      [-1, 0, 1, 2, 8, 9, 2_000].map(RestartBudget.delayMs),
      [0, 0, 200, 400, 25_600, 30_000, 30_000]
    )
    assert.isFalse(RestartBudget.mayTry(one, 1_199))
    assert.isTrue(RestartBudget.mayTry(one, 1_200))
    assert.strictEqual(RestartBudget.step(one, fail({ requestedAtMs: 1_001, retryable: false })).nextTryAtMs, 31_000)
  })
})
