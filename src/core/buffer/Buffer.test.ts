/** What the laws meet too seldom: full tables, many tenants at once, and what nobody sends. */
import { assert, describe, it } from "vitest"
import { firstDifference } from "../../../property-tests/BufferIndexes.ts"
import * as Buffer from "./Buffer.ts"
import type { Arrived, Event } from "./BufferEvent.ts"
import { defaults } from "./BufferOptions.ts"
import { idleRowsMax } from "./BufferState.ts"

const arrived = (sequence: number, more: Partial<Arrived> = {}): Arrived => ({
  _tag: "Arrived",
  nowMs: 10,
  sequence,
  requestId: `r${sequence}`,
  tenant: "t",
  version: "v",
  mode: "sync",
  durability: "memory",
  deadlineMs: 1_000,
  sizeBytes: 1,
  maxAttempts: 2,
  ...more
})
const live = (): Buffer.State => Buffer.step(Buffer.empty(defaults), { _tag: "Recovered", nowMs: 1, epoch: 1 })[0]
const told = (state: Buffer.State, ...events: ReadonlyArray<Event>): Buffer.State =>
  events.reduce((next, event) => Buffer.step(next, event)[0], state)

describe("buffer", () => {
  it("forgets versions and tenants without requests when its tables are full, and no others", () => {
    let state = told(live(), arrived(1, { tenant: "stays", version: "stays", deadlineMs: 1e9 }))
    const worker: Event = {
      _tag: "WorkerJoined",
      nowMs: 10,
      workerId: "w",
      instanceId: "i",
      version: "works",
      slots: 1,
      holds: []
    }
    state = told(state, worker)
    for (let sequence = 2; sequence < idleRowsMax + 20; sequence++) {
      const each = arrived(sequence, { tenant: `t${sequence}`, version: `v${sequence}` })
      state = Buffer.advance(state, each)[0]
      state = Buffer.advance(state, { _tag: "CallerLeft", nowMs: 10, sequence, cancel: true })[0]
      if (sequence >= idleRowsMax - 2) assert.isAtMost(Buffer.versions(state).length, idleRowsMax)
    }
    assert.isBelow(Buffer.versions(state).length, 100)
    assert.isBelow(Buffer.totals(state).size, 100)
    assert.includeMembers([...Buffer.versions(state)], ["stays", "works"])
    assert.isTrue(Buffer.totals(state).has("stays"))
    assert.strictEqual(Buffer.demand(state, "stays").pending, 1)
    assert.isNull(firstDifference(state))
  })

  it("ends the requests of twenty tenants and versions at once, two of each", () => {
    let state = live()
    for (let sequence = 1; sequence <= 40; sequence++) {
      state = told(state, arrived(sequence, { tenant: `t${sequence % 20}`, version: `v${sequence % 20}` }))
    }
    for (const step of [Buffer.step, Buffer.advance]) {
      const [next, commands] = step(state, { _tag: "Ticked", nowMs: 1_000 })
      assert.lengthOf(
        commands.filter((command) => command._tag === "TellEnded" && command.terminal === "expired"),
        40
      )
      assert.isTrue(
        [...Buffer.totals(next).values()].every(({ pending, ended }) => pending === 0 && ended.expired === 2)
      )
      assert.isNull(firstDifference(next))
    }
  })

  it("L19: live, it takes no fact of the past, and reads none of it twice", () => {
    const past: Event = {
      _tag: "Replayed",
      record: { _tag: "RecordArrived", arrived: arrived(1, { durability: "always" }) }
    }
    const state = live()
    for (const step of [Buffer.step, Buffer.advance]) assert.deepStrictEqual(step(state, past), [state, []])
    const once = told(Buffer.empty(defaults), past)
    assert.lengthOf(Buffer.liveSequences(told(once, past)), 1)
    assert.deepStrictEqual(Buffer.totals(told(once, past)), Buffer.totals(once))
  })

  it("L24: the empty state is nobody's to change in place", () => {
    const empty = Buffer.empty(defaults)
    const before = JSON.stringify(empty)
    const recovered: Event = { _tag: "Recovered", nowMs: 1, epoch: 3 }
    assert.deepStrictEqual(Buffer.advance(empty, recovered), Buffer.step(empty, recovered))
    assert.strictEqual(JSON.stringify(empty), before)
  })

  it("L19: of two arrivals with one key the log meant the second, though it does not say that the first was forgotten", () => {
    const read = (sequence: number): Event => ({
      _tag: "Replayed",
      record: { _tag: "RecordArrived", arrived: arrived(sequence, { durability: "always", idempotencyKey: "k" }) }
    })
    const state = told(Buffer.empty(defaults), read(1), read(2), { _tag: "Recovered", nowMs: 1, epoch: 2 })
    assert.deepStrictEqual(Buffer.liveSequences(state), [2])
    assert.isNull(firstDifference(state))
    const [, commands] = Buffer.step(state, arrived(3, { idempotencyKey: "k" }))
    assert.deepInclude(commands, { _tag: "Join", sequence: 3, original: 2, ended: false })
  })

  it("L19: after its arrival a request has the records that a snapshot has of it, and none where it is left out", () => {
    const persisted: Event = { _tag: "Persisted", nowMs: 20, records: [{ kind: "arrived", sequence: 1 }] }
    const state = told(live(), arrived(1, { mode: "async", durability: "accepted" }), arrived(2), persisted)
    const worker: Event = {
      _tag: "WorkerJoined",
      nowMs: 30,
      workerId: "w",
      instanceId: "i",
      version: "v",
      slots: 1,
      holds: []
    }
    const leased = told(state, worker)
    assert.deepStrictEqual(Buffer.recordsAfterArrival(state, 1), [])
    for (const one of [state, leased]) {
      assert.deepStrictEqual(
        Buffer.snapshot(one).requests.map(({ arrived, records }) => [arrived.sequence, records]),
        [[1, Buffer.recordsAfterArrival(one, 1)]]
      )
      assert.isUndefined(Buffer.recordsAfterArrival(one, 2))
      assert.isUndefined(Buffer.recordsAfterArrival(one, 3))
    }
    assert.deepInclude(Buffer.recordsAfterArrival(leased, 1)?.[0], { _tag: "RecordLeased", workerId: "w" })
  })

  it("a write that was refused refuses its request, and the store is as good as before", () => {
    const [waiting] = Buffer.step(live(), arrived(1, { mode: "async", durability: "accepted" }))
    const failed = (outcome: "refused" | "unknown"): Event => ({
      _tag: "PersistFailed",
      nowMs: 20,
      records: [{ kind: "arrived", sequence: 1 }],
      outcome
    })
    const accepts = (state: Buffer.State): boolean =>
      Buffer.step(state, arrived(2))[1].every(({ _tag }) => _tag !== "Refuse")
    const [refused, commands] = Buffer.step(waiting, failed("refused"))
    assert.deepStrictEqual(
      commands.filter(({ _tag }) => _tag === "Refuse"),
      [{ _tag: "Refuse", sequence: 1, refusal: { kind: "store-failed", kept: "nothing" } }]
    )
    assert.isTrue(accepts(refused))
    assert.isFalse(accepts(told(waiting, failed("unknown"))))
  })

  it("of a version that nobody knows there is nothing to remove and no demand", () => {
    const state = live()
    const [next, commands] = Buffer.step(state, { _tag: "VersionRemoved", nowMs: 10, version: "x" })
    assert.deepStrictEqual(commands, [])
    assert.deepStrictEqual(Buffer.demand(next, "x"), Buffer.demand(state, "y"))
    assert.deepStrictEqual(Buffer.counts(next, "x"), {
      pending: 0,
      leased: 0,
      freeSlots: 0,
      arrivalsTotal: 0,
      oldestPendingAtMs: null
    })
    assert.isUndefined(Buffer.position(state, 9))
    assert.isUndefined(Buffer.expectedStartMs(state, 9, 10))
  })

  it("what no version of it knows stops it, and is named", () => {
    // As `never`: what a newer version may have written, which the types rule out.
    assert.throws(
      () => Buffer.step(live(), { _tag: "Strange", nowMs: 1 } as never),
      'unreachable case {"_tag":"Strange","nowMs":1}'
    )
  })
})
