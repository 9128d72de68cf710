/** What can be asked of a buffer, from the arrival of a request to its end. */
import { assert, describe, it } from "vitest"
import * as Buffer from "./Buffer.ts"
import type { Arrived, Event, RecordKind } from "./BufferEvent.ts"
import { type BufferOptions, defaults } from "./BufferOptions.ts"
import { allRequests } from "./BufferQueries.ts"

const arrived = (sequence: number, more: Partial<Arrived> = {}): Arrived => ({
  _tag: "Arrived",
  nowMs: 10,
  sequence,
  requestId: `r${sequence}`,
  tenant: "t",
  version: "v",
  mode: "sync",
  durability: "accepted",
  deadlineMs: 1e9,
  sizeBytes: 1,
  maxAttempts: 2,
  ...more
})
const joined = (nowMs: number, workerId = "w", instanceId = "i", slots = 1): Event => {
  return { _tag: "WorkerJoined", nowMs, workerId, instanceId, version: "v", slots, holds: [] }
}
const persisted = (nowMs: number, kind: RecordKind, sequence = 1): Event => {
  return { _tag: "Persisted", nowMs, records: [{ kind, sequence }] }
}
const told = (state: Buffer.State, ...events: ReadonlyArray<Event>): Buffer.State =>
  events.reduce((next, event) => Buffer.step(next, event)[0], state)
const living = (options: Partial<BufferOptions> = {}): Buffer.State =>
  told(Buffer.empty({ ...defaults, ...options }), { _tag: "Recovered", nowMs: 1, epoch: 1 })

const firstToken = 2 ** 32 + 1
const of = (nowMs: number, token = firstToken, sequence = 1, workerId = "w") => ({ nowMs, sequence, workerId, token })

const pending: Buffer.RequestFigures = {
  sequence: 1,
  requestId: "r1",
  tenant: "t",
  version: "v",
  mode: "async",
  serviceClass: "opportunistic",
  state: "pending",
  arrivedAtMs: 10,
  deadlineMs: 1e9,
  attempt: 0,
  maxAttempts: 2,
  token: undefined,
  workerId: undefined,
  instanceId: undefined,
  leaseDeadlineMs: undefined,
  notBeforeMs: undefined,
  stored: false,
  kept: true,
  waiting: true,
  terminal: undefined,
  reason: undefined,
  message: undefined,
  endedAtMs: undefined,
  told: false,
  resultKept: false,
  resultBytes: 0,
  keepUntilMs: undefined
}

describe("a request that is looked up", () => {
  it("is what became of it, from its arrival to its end", () => {
    let state = living()
    const isNow = (figures: Buffer.RequestFigures | undefined, ...events: ReadonlyArray<Event>) => {
      state = told(state, ...events)
      assert.deepStrictEqual(Buffer.lookup(state, 1), figures)
    }
    isNow(undefined)
    isNow(pending, arrived(1, { mode: "async", serviceClass: "opportunistic" }))
    const stored = { ...pending, stored: true, waiting: false }
    isNow(stored, persisted(20, "arrived"))
    const lease = { token: firstToken, workerId: "w", instanceId: "i", leaseDeadlineMs: 30_030 }
    isNow({ ...stored, state: "leased", attempt: 1, ...lease }, joined(30))
    const later = { ...lease, leaseDeadlineMs: 30_035 }
    isNow({ ...stored, state: "responding", attempt: 1, ...later }, { _tag: "ResponseStarted", ...of(35) })
    const failed: Event = { _tag: "AttemptFailed", ...of(40), retryable: true, message: "again" }
    isNow({ ...stored, attempt: 1, notBeforeMs: 140 }, failed)
    const second = { token: firstToken + 1, workerId: "w", instanceId: "i", leaseDeadlineMs: 30_140 }
    isNow({ ...stored, state: "leased", attempt: 2, ...second }, { _tag: "Ticked", nowMs: 140 })
    const ended = {
      ...stored,
      state: "terminal",
      attempt: 2,
      terminal: "responded",
      reason: null,
      message: null,
      endedAtMs: 150,
      resultKept: true,
      resultBytes: 4,
      keepUntilMs: 3_600_150
    } as const
    isNow(ended, { _tag: "ResponseEnded", ...of(150, firstToken + 1), resultBytes: 4 })
    isNow({ ...ended, told: true }, persisted(160, "ended"))
    isNow(undefined, { _tag: "Ticked", nowMs: 3_600_150 })
  })

  it("has a caller that waits until its end is told, and is kept where it has a key", () => {
    const said = (state: Buffer.State, sequence: number) => {
      const { kept, waiting, serviceClass, mode } = Buffer.lookup(state, sequence) ?? {}
      return [kept, waiting, serviceClass, mode]
    }
    let state = told(living(), arrived(1, { idempotencyKey: "k" }), arrived(2))
    assert.deepStrictEqual(said(state, 1), [true, true, "deadline", "sync"])
    assert.deepStrictEqual(said(state, 2), [false, true, "deadline", "sync"])
    state = told(state, persisted(20, "arrived"), joined(30), { _tag: "ResponseEnded", ...of(40), resultBytes: 1 })
    assert.deepStrictEqual(said(state, 1), [true, true, "deadline", "sync"])
    assert.deepStrictEqual(said(told(state, persisted(50, "ended")), 1), [true, false, "deadline", "sync"])
    const detached = told(state, { _tag: "Detached", nowMs: 40, sequence: 1 })
    assert.deepStrictEqual(said(detached, 1), [true, false, "deadline", "sync"])
  })

  it("has no instance where its worker is known from the log alone", () => {
    const leased = told(living(), arrived(1, { mode: "async" }), persisted(20, "arrived"), joined(30))
    const read = told(Buffer.restore(Buffer.snapshot(leased), defaults), { _tag: "Recovered", nowMs: 99, epoch: 2 })
    const { workerId, instanceId, leaseDeadlineMs } = Buffer.lookup(read, 1) ?? {}
    assert.deepStrictEqual([workerId, instanceId, leaseDeadlineMs], ["w", undefined, 30_099])
    assert.deepStrictEqual(Buffer.demand(read, "v").leasedByInstance, {})
    assert.strictEqual(Buffer.demand(read, "v").leased, 1)
  })

  it("is known until it is forgotten, and is among all of them", () => {
    const state = told(living(), arrived(1), arrived(2))
    assert.deepStrictEqual(
      [1, 2, 3].map((sequence) => Buffer.isKnown(state, sequence)),
      [true, true, false]
    )
    assert.deepStrictEqual(
      allRequests(state).map(({ arrived }) => arrived.sequence),
      [1, 2]
    )
    assert.isFalse(Buffer.isKnown(told(state, { _tag: "CallerLeft", nowMs: 20, sequence: 1, cancel: true }), 1))
  })
})

describe("the figures of a version", () => {
  it("count leases by instance, over all its workers", () => {
    let state = told(living(), joined(20, "w", "i", 2), joined(20, "x", "i", 1), joined(20, "y", "idle", 1))
    for (let sequence = 1; sequence <= 3; sequence++) state = told(state, arrived(sequence))
    const { leasedByInstance, ...counts } = Buffer.demand(state, "v")
    assert.strictEqual((leasedByInstance["i"] ?? 0) + (leasedByInstance["idle"] ?? 0), 3)
    assert.hasAllKeys(leasedByInstance, ["i", "idle"])
    assert.deepStrictEqual(counts, { pending: 0, leased: 3, freeSlots: 1, arrivalsTotal: 3, oldestPendingAtMs: null })
    assert.deepStrictEqual(Buffer.counts(state, "v"), counts)
    assert.deepStrictEqual(Buffer.demand(told(state, arrived(4)), "v").leasedByInstance, { i: 3, idle: 1 })
  })

  it("know the oldest that waits, whether it may start or not", () => {
    const oldest = (...events: ReadonlyArray<Event>) => {
      const state = told(living(), ...events)
      assert.strictEqual(Buffer.counts(state, "v").oldestPendingAtMs, Buffer.demand(state, "v").oldestPendingAtMs)
      return Buffer.counts(state, "v").oldestPendingAtMs
    }
    const parked = { durability: "always" } as const
    const opportunistic = { serviceClass: "opportunistic" } as const
    assert.strictEqual(oldest(arrived(1, { nowMs: 11 }), arrived(2, { nowMs: 12, tenant: "u" })), 11)
    assert.strictEqual(oldest(arrived(1, { nowMs: 11, ...parked }), arrived(2, { nowMs: 12 })), 11)
    assert.strictEqual(oldest(arrived(1, { nowMs: 11 }), arrived(2, { nowMs: 12, ...parked })), 11)
    assert.strictEqual(oldest(arrived(1, { nowMs: 11, ...parked, ...opportunistic }), arrived(2, { nowMs: 12 })), 11)
    assert.strictEqual(oldest(arrived(1, { nowMs: 11, ...parked })), 11)
  })
})

describe("what is to be expected", () => {
  it("is the end of its delay, for one that no other keeps from a free slot, though nothing ended lately", () => {
    const failed: Event = { _tag: "AttemptFailed", ...of(40), retryable: true, message: "again" }
    const options = { redeliveryDelayMs: 50_000, redeliveryDelayMaxMs: 50_000 }
    const state = told(living(options), arrived(1, { durability: "memory" }), joined(30), failed)
    assert.strictEqual(Buffer.expectedStartMs(state, 1, 15_000), 50_040)
    assert.strictEqual(Buffer.expectedStartMs(state, 1, 60_000), 60_000)
  })

  it("is the earlier of a deadline and the end of a lease", () => {
    const state = told(living(), joined(30), arrived(1, { deadlineMs: 500 }))
    assert.strictEqual(Buffer.nextDueMs(state), 500)
    assert.strictEqual(Buffer.nextDueMs(told(living(), joined(30), arrived(1))), 30_030)
    assert.strictEqual(Buffer.nextDueMs(told(living(), arrived(1, { deadlineMs: 500 }))), 500)
  })
})
