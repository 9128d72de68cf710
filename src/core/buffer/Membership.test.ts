/** What the indexes are after the rare turns of a request. */
import { assert, describe, it } from "vitest"
import { firstDifference } from "../../../property-tests/BufferIndexes.ts"
import * as Table from "../collections/Table.ts"
import * as Buffer from "./Buffer.ts"
import type { Arrived, Command, DurableRecord, Event } from "./BufferEvent.ts"
import { defaults } from "./BufferOptions.ts"

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
  maxAttempts: 5,
  ...more
})
const joined: Event = {
  _tag: "WorkerJoined",
  nowMs: 20,
  workerId: "w",
  instanceId: "i",
  version: "v",
  slots: 1,
  holds: []
}
const arrivals = [{ kind: "arrived", sequence: 1 }] as const
const told = (state: Buffer.State, ...events: ReadonlyArray<Event>): Buffer.State =>
  events.reduce((next, event) => Buffer.step(next, event)[0], state)
const recovered: Event = { _tag: "Recovered", nowMs: 1, epoch: 1 }
const living = (...events: ReadonlyArray<Event>): Buffer.State => told(Buffer.empty(defaults), recovered, ...events)
const read = (...records: ReadonlyArray<DurableRecord>): Buffer.State =>
  told(Buffer.empty(defaults), ...records.map((record): Event => ({ _tag: "Replayed", record })), recovered)
const ordered = (state: Buffer.State, event: Event): ReadonlyArray<Command> =>
  Buffer.step(state, event)[1].filter(({ _tag }) => _tag !== "DemandChanged")

const firstToken = 2 ** 32 + 1
const of = (nowMs: number) => ({ nowMs, sequence: 1, workerId: "w", token: firstToken })
const ended: Event = { _tag: "ResponseEnded", ...of(40), resultBytes: 1 }

describe("after a write whose outcome nobody knows", () => {
  const broken: Event = {
    _tag: "PersistFailed",
    nowMs: 30,
    records: [{ kind: "leased", sequence: 1 }],
    outcome: "unknown"
  }
  const persisted: Event = { _tag: "Persisted", nowMs: 25, records: arrivals }
  const kept = living(arrived(1, { idempotencyKey: "k" }), joined, persisted, broken)

  it("an end is not written and not told, and whoever waits is let go", () => {
    const refusal = { kind: "store-failed", kept: "unknown" } as const
    const collected = ordered(kept, ended).filter(({ _tag }) => _tag !== "CollectResponse")
    assert.deepStrictEqual(collected, [{ _tag: "Refuse", sequence: 1, refusal }])
    const { state, told: isTold, waiting } = Buffer.lookup(told(kept, ended), 1) ?? {}
    assert.deepStrictEqual([state, isTold, waiting], ["terminal", false, false])
    const over = ordered(told(kept, ended), { _tag: "Ticked", nowMs: 3_600_040 })
    assert.deepStrictEqual(over, [{ _tag: "Forget", sequence: 1 }])
  })

  it("what is not the end goes on in memory", () => {
    const again = told(kept, { _tag: "AttemptFailed", ...of(40), retryable: true, message: "again" })
    assert.strictEqual(Buffer.lookup(again, 1)?.state, "pending")
    assert.isNull(firstDifference(again))
  })
})

describe("an end", () => {
  it("that another takes the place of is counted once, as the other", () => {
    const flushing: Event = { _tag: "FlushStarted", records: arrivals }
    const answered = living(arrived(1, { idempotencyKey: "k" }), joined, flushing, ended)
    assert.strictEqual(Buffer.totals(answered).get("t")?.ended.responded, 1)
    const refused = told(answered, { _tag: "PersistFailed", nowMs: 50, records: arrivals, outcome: "refused" })
    assert.deepStrictEqual(Buffer.totals(refused).get("t"), {
      accepted: 1,
      pending: 0,
      leased: 0,
      ended: { responded: 0, failed: 1, expired: 0, cancelled: 0, "dead-lettered": 0 }
    })
  })

  it("takes no key away but its own", () => {
    const keyed = living(arrived(1, { idempotencyKey: "undefined" }), arrived(2))
    const left = told(keyed, { _tag: "CallerLeft", nowMs: 20, sequence: 2, cancel: true })
    assert.deepStrictEqual(ordered(left, arrived(3, { idempotencyKey: "undefined" })), [
      { _tag: "Join", sequence: 3, original: 1, ended: false }
    ])
  })
})

describe("a lease", () => {
  it("that begins to answer stays where it is, and nothing has ended by that", () => {
    const state = living(joined, arrived(1, { durability: "memory" }), arrived(2))
    assert.strictEqual(Buffer.expectedStartMs(state, 2, 50), "unknown")
    const started = told(state, { _tag: "ResponseStarted", ...of(40) })
    assert.strictEqual(Buffer.expectedStartMs(started, 2, 50), "unknown")
  })

  const lease = (workerId: string, token: number, sequence = 1, attempt = 1): DurableRecord => {
    return { _tag: "RecordLeased", sequence, attempt, token, workerId }
  }
  const arrival: DurableRecord = { _tag: "RecordArrived", arrived: arrived(1) }

  it("L19: that the log has after another one is the only one, though nothing is written of the end of the other", () => {
    const state = read(arrival, lease("w", 5), lease("x", 6, 1, 2))
    const { workerId, token } = Buffer.lookup(state, 1) ?? {}
    assert.deepStrictEqual([workerId, token, Buffer.demand(state, "v").leased], ["x", 6, 1])
    assert.isNull(firstDifference(state))
  })

  it("L4: gets a token above all that the log has, though these are beyond their epoch", () => {
    const beyond = 2 ** 33 + 7
    const state = told(read(arrival, lease("w", beyond)), { _tag: "WorkerLost", nowMs: 20, workerId: "w" }, joined)
    assert.strictEqual(Buffer.lookup(told(state, { _tag: "Ticked", nowMs: 1_000 }), 1)?.token, beyond + 1)
  })

  it("L19: of a request that nobody knows any more, or an end of it, is passed over", () => {
    const forgotten = read(lease("w", 5, 9), { _tag: "RecordForgotten", sequence: 9 })
    assert.deepStrictEqual(Buffer.liveSequences(forgotten), [])
    assert.isNull(firstDifference(forgotten))
  })

  it("that the log has of a worker is over when nothing is heard of it, and there is nobody to be told", () => {
    const state = read(arrival, lease("w", 5))
    assert.strictEqual(Buffer.nextDueMs(state), 30_001)
    const [after, commands] = Buffer.step(state, { _tag: "Ticked", nowMs: 30_001 })
    assert.notInclude(
      commands.map(({ _tag }) => _tag),
      "CancelAttempt"
    )
    assert.strictEqual(Buffer.lookup(after, 1)?.state, "pending")
    assert.strictEqual(Table.count(after.workers), 0)
  })

  it("that comes to nothing leaves no worker behind", () => {
    const state = read(arrival, lease("w", 5), lease("x", 6))
    assert.deepStrictEqual([Buffer.lookup(state, 1)?.workerId, Table.count(state.workers)], ["w", 1])
  })
})
