/**
 * The durable part of the state as plain JSON, to shorten a replay. Workers, counters and whatever was never written
 * are not in it.
 *
 * A snapshot belongs to a position of the log: every record that was confirmed (`Persisted`) before the state was
 * taken is covered. After a failed write nobody knows where the log ends, so no snapshot is of use then. It may be ahead of the log where a record was ordered but not confirmed; replaying such a record
 * again changes nothing. Where being ahead would be a lie it is not: a request whose arrival is not confirmed is left
 * out, and one whose end is not confirmed is written as it was before the end.
 *
 * @module
 */
import * as DueMap from "../collections/DueMap.ts"
import type { State as RequestState } from "../request/RequestState.ts"
import type { Arrived, DurableRecord } from "./BufferEvent.ts"
import type { BufferOptions } from "./BufferOptions.ts"
import { empty, type State } from "./BufferState.ts"
import * as Draft from "./Draft.ts"
import * as Recovery from "./Recovery.ts"

export interface Snapshot {
  readonly version: 1
  readonly epoch: number
  readonly lastSequence: number
  readonly nextToken: number
  /** Oldest first; each is the records that lead to its state. */
  readonly requests: ReadonlyArray<{
    readonly arrived: Arrived
    readonly records: ReadonlyArray<DurableRecord>
  }>
}

export const snapshot = (state: State): Snapshot => {
  const requests: Array<Snapshot["requests"][number]> = []
  DueMap.forEach(state.requests, (request) => {
    if (request.arrivedRecord === "stored") {
      requests.push({ arrived: request.arrived, records: recordsOf(request) })
    }
  })
  const { epoch, lastSequence, nextToken } = state
  return { version: 1, epoch, lastSequence, nextToken, requests }
}

/**
 * The records that lead from the arrival of this request to its state, as in a snapshot: for a shell whose log keeps the
 * arrival anyway. `undefined`: a snapshot leaves the request out.
 */
export const recordsAfterArrival = (state: State, sequence: number): ReadonlyArray<DurableRecord> | undefined => {
  const request = DueMap.get(state.requests, sequence)
  return request?.arrivedRecord === "stored" ? recordsOf(request) : undefined
}

/** Not live yet: the records after the snapshot follow as `Replayed`, then `Recovered`. */
export const restore = (snapshot: Snapshot, options: BufferOptions): State => {
  const { epoch, lastSequence, nextToken } = snapshot
  const draft = Draft.make({ ...empty(options), edit: 1, epoch, nextToken }, 0)
  for (const { arrived, records } of snapshot.requests) {
    Recovery.replay(draft, { _tag: "RecordArrived", arrived })
    for (const record of records) Recovery.replay(draft, record)
  }
  draft.state.lastSequence = lastSequence
  return draft.state
}

const recordsOf = (request: RequestState): ReadonlyArray<DurableRecord> => {
  const { attempt } = request
  const { sequence } = request.arrived
  const lease = request._tag === "Pending" ? null : request._tag === "Terminal" ? request.lease : request
  if (lease !== null && !(request._tag === "Terminal" && request.endedRecord === "stored")) {
    return [{ _tag: "RecordLeased", sequence, attempt, token: lease.token, workerId: lease.workerId }]
  }
  const notBeforeMs = request._tag === "Pending" ? request.notBeforeMs : 0
  const attempts: ReadonlyArray<DurableRecord> =
    attempt === 0 ? [] : [{ _tag: "RecordAttemptFailed", sequence, attempt, notBeforeMs }]
  if (request._tag !== "Terminal" || request.endedRecord !== "stored") return attempts
  const { terminal, reason, message, endedAtMs, resultKept, resultBytes, keepUntilMs } = request
  const ended = { terminal, reason, message, endedAtMs, resultKept, resultBytes, keepUntilMs }
  return [...attempts, { _tag: "RecordEnded", sequence, ...ended }]
}
