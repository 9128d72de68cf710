/** The records of a snapshot: neither ahead of what is certain, nor behind what is told. */
import { assert, describe, it } from "vitest"
import * as Buffer from "./Buffer.ts"
import type { Event } from "./BufferEvent.ts"
import { defaults } from "./BufferOptions.ts"

const token = 2 ** 32 + 1
const told = (state: Buffer.State, ...events: ReadonlyArray<Event>): Buffer.State =>
  events.reduce((next, event) => Buffer.step(next, event)[0], state)
const stored = told(
  Buffer.empty(defaults),
  { _tag: "Recovered", nowMs: 1, epoch: 1 },
  {
    _tag: "Arrived",
    nowMs: 10,
    sequence: 1,
    requestId: "r",
    tenant: "t",
    version: "v",
    mode: "async",
    durability: "accepted",
    deadlineMs: 1e9,
    sizeBytes: 1,
    maxAttempts: 2
  },
  { _tag: "Persisted", nowMs: 20, records: [{ kind: "arrived", sequence: 1 }] }
)
const worker = { _tag: "WorkerJoined", workerId: "w", instanceId: "i", version: "v", slots: 1, holds: [] } as const
const leased = told(stored, { ...worker, nowMs: 30 })
const of = { nowMs: 40, sequence: 1, workerId: "w", token }
const answered = told(leased, { _tag: "ResponseEnded", ...of, resultBytes: 4 })
const cancelled = told(stored, { _tag: "CancelRequested", nowMs: 40, sequence: 1 })
const endStored: Event = { _tag: "Persisted", nowMs: 50, records: [{ kind: "ended", sequence: 1 }] }

describe("a snapshot", () => {
  it("has a request as it was before an end that is not confirmed", () => {
    const lease = { _tag: "RecordLeased", sequence: 1, attempt: 1, token, workerId: "w" } as const
    assert.deepStrictEqual(Buffer.recordsAfterArrival(leased, 1), [lease])
    assert.deepStrictEqual(Buffer.recordsAfterArrival(answered, 1), [lease])
    assert.deepStrictEqual(Buffer.recordsAfterArrival(cancelled, 1), [])
  })

  it("has the attempts and the end that are confirmed", () => {
    const failed = { _tag: "RecordAttemptFailed", sequence: 1, attempt: 1, notBeforeMs: 0 } as const
    const ended = {
      _tag: "RecordEnded",
      sequence: 1,
      terminal: "responded",
      reason: null,
      message: null,
      endedAtMs: 40,
      resultKept: true,
      resultBytes: 4,
      keepUntilMs: 3_600_040
    } as const
    assert.deepStrictEqual(Buffer.recordsAfterArrival(told(answered, endStored), 1), [failed, ended])
    const more = { terminal: "cancelled", reason: "caller-cancelled", resultKept: false, resultBytes: 0 } as const
    assert.deepStrictEqual(Buffer.recordsAfterArrival(told(cancelled, endStored), 1), [{ ...ended, ...more }])
    const again = told(leased, { _tag: "AttemptFailed", ...of, retryable: true, message: "again" })
    assert.deepStrictEqual(Buffer.recordsAfterArrival(again, 1), [{ ...failed, notBeforeMs: 140 }])
  })
})
