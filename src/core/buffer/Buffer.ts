/**
 * The buffer of one shard: requests in order and in fairness, leases, redelivery, deadlines, results to be claimed.
 *
 * `step(state, event)` gives the next state and what is to be done; the old state stays as it was. `advance` does the
 * same in place. Both are total: every event is fine in every state, and what makes no sense changes nothing. Sequences, tokens and times that come in must
 * be numbers from 0 to 2^53 - 1.
 *
 * Laws, held by `property-tests/Buffer*.laws.test.ts`:
 * - L1 no accepted request is lost: it is pending, leased or ended until its end was told and its retention is over.
 * - L2 conservation per tenant: accepted = pending + leased + ended, by kind; every index equals the requests.
 * - L3 one end is told for each request (`TellEnded`, or `Refuse` when the store failed before).
 * - L4 one live token for each request; a stale token changes nothing and is rejected; tokens strictly grow.
 * - L5 nothing happens to a request after its end but its telling and its forgetting.
 * - L6 `TellAccepted` only when the arrival is stored, a kept end only when the end is stored (unless the version's
 *   durability is `memory`), bytes only when the arrival is stored, `always` is leased only when the arrival is stored.
 * - L7 one live or remembered request for each tenant, version and idempotency key.
 * - L8 tenants never mix: while there is room, what a tenant is told does not depend on what others send.
 * - L9 bytes of at most one attempt of a request are released, and after them there is no other attempt.
 * - L10 bounded: pending and leased by count and bytes, remembered by count, indexes by both.
 * - L11 no lease at or after the deadline; nothing due is left after a tick.
 * - L12 attempts are bounded: a poisoned request ends as dead letter, and the others go on.
 * - L13 recovery gives fresh deadlines to leases and keeps their tokens.
 * - L18 without faults, with workers and with time, everything ends.
 * - L19 the records in order rebuild the durable state; with any prefix of them nothing that was told is untrue.
 * - L20 what is unknown stays unknown: after a write whose outcome nobody knows, nothing of it is told as done, nothing of
 *   it as not done, nothing is written or begun, and nothing more is taken.
 * - L21 order: within a class and tenant the oldest ready request is leased first; between tenants the turn is fair.
 * - L22 classes: an opportunistic request is leased only when no ready request of class `deadline` of its version is
 *   there. With `opportunisticWaitMaxMs` it is of class `deadline` from the first tick at which it is that old. Its class
 *   survives a restart.
 * - L23 expected start: unknown without slots or completions; otherwise not before now, not earlier for whom has more
 *   before it, and with a steady service it is when the request starts.
 * - L24 in place: `advance` gives what `step` gives.
 * - L25 room is shared: a tenant is refused for its own share only while it holds something, of count, bytes or what is
 *   known at least `share / (1 - share)` times what is free; then it always is. So one alone holds at most its share and
 *   one request, and there is room for whoever holds nothing.
 *
 * What is told when the store fails: whoever was not told "accepted" hears `store-failed` and the request is gone;
 * requests that were go on in memory; an end that could not be stored is never told, because after a restart the
 * request may run again. Nothing new is accepted until `Recovered`.
 *
 * @module
 */

import * as DueMap from "../collections/DueMap.ts"
import { unreachable } from "../collections/invariant.ts"
import * as Table from "../collections/Table.ts"
import { dueMs } from "../request/RequestState.ts"
import { arrive } from "./Admission.ts"
import type {
  AttemptFailed,
  CallerLeft,
  CancelRequested,
  Command,
  Detached,
  Event,
  FlushStarted,
  Persisted,
  PersistFailed,
  RecordKind,
  ResponseEnded,
  ResponseShown,
  ResponseStarted,
  Ticked
} from "./BufferEvent.ts"
import { isLeasedTo } from "./BufferQueries.ts"
import * as BufferState from "./BufferState.ts"
import * as Draft from "./Draft.ts"
import * as Lanes from "./Lanes.ts"
import { apply } from "./Membership.ts"
import * as Recovery from "./Recovery.ts"
import * as WorkerEvents from "./WorkerEvents.ts"
import * as WorkerPool from "./WorkerPool.ts"

export type State = BufferState.State

export const empty = BufferState.empty

export {
  type Counts,
  counts,
  type Demand,
  demand,
  expectedStartMs,
  isKnown,
  isLive,
  liveSequences,
  lookup,
  nextDueMs,
  position,
  type RequestFigures,
  type TenantTotals,
  totals,
  versions
} from "./BufferQueries.ts"
export { recordsAfterArrival, restore, type Snapshot, snapshot } from "./BufferSnapshot.ts"

export type Step = readonly [State, ReadonlyArray<Command>]

export const step = (state: State, event: Event): Step =>
  isVoid(state, event) ? [state, []] : stepOwn(BufferState.nextState(state), event)

/**
 * `step` for the only holder of a state: gives the same, and may change what it was given instead of copying it. Neither
 * that state nor another one that was made from it may be used again.
 */
export const advance = (state: State, event: Event): Step => {
  if (isVoid(state, event)) return [state, []]
  // Its holder gave it up. Without an edit of its own nothing in it could be changed in place.
  return stepOwn(state.edit === 0 ? BufferState.nextState(state) : (state as BufferState.Mutable<State>), event)
}

/** Facts of the past mean nothing to a machine that lives. */
const isVoid = (state: State, event: Event): boolean => state.live && event._tag === "Replayed"

// Events have so many shapes that the engine looks up each of their fields by name: as few looks as possible.
const stepOwn = (state: BufferState.Mutable<State>, event: Event): Step => {
  const draft = Draft.make(state, event.nowMs ?? 0)
  // A shard without a log, or a shell that forgot to say so.
  if (!state.live && event._tag !== "Recovered" && event._tag !== "Replayed") Recovery.recover(draft, state.epoch)
  happen(draft, event)
  WorkerPool.sweep(draft)
  if (state.live) {
    dispatch(draft)
    tellDemand(draft)
  }
  WorkerPool.file(draft)
  return [state, draft.commands]
}

const happen = (draft: Draft.Draft, event: Event): void => {
  switch (event._tag) {
    case "Arrived":
      return arrive(draft, event)
    case "Persisted":
      return persisted(draft, event)
    case "PersistFailed":
      if (event.outcome !== "refused") draft.state.storeFailed = true
      return persistFailed(draft, event)
    case "FlushStarted":
      return flushStarted(draft, event)
    case "WorkerJoined":
      return WorkerEvents.join(draft, event)
    case "WorkerHeard":
      return WorkerEvents.heard(draft, event.workerId)
    case "WorkerDraining":
      return WorkerEvents.drain(draft, event.workerId)
    case "WorkerDisconnected":
      return WorkerEvents.disconnect(draft, event.workerId)
    case "WorkerLost":
      return WorkerEvents.lost(draft, event.workerId)
    case "ResponseStarted":
    case "ResponseEnded":
    case "AttemptFailed":
      return fromWorker(draft, event)
    case "ResponseShown":
    case "CallerLeft":
    case "Detached":
    case "CancelRequested":
      return fromCaller(draft, event)
    case "VersionRemoved":
      return removeVersion(draft, event.version)
    case "Ticked":
      return tick(draft, event)
    case "Recovered":
      return Recovery.recover(draft, event.epoch)
    case "Replayed":
      return Recovery.replay(draft, event.record)
    default:
      return unreachable(event)
  }
}

// One each, because there is nothing about them that differs from record to record.
const arrivedFlushing = { _tag: "RecordFlushing", kind: "arrived" } as const
const arrivedPersisted = { _tag: "RecordPersisted", kind: "arrived" } as const
const endedPersisted = { _tag: "RecordPersisted", kind: "ended" } as const

const flushStarted = (draft: Draft.Draft, { records }: FlushStarted): void => {
  for (const { kind, sequence } of records) {
    const request = kind === "arrived" ? Draft.request(draft, sequence) : undefined
    if (request !== undefined) apply(draft, request, arrivedFlushing)
  }
}

const persisted = (draft: Draft.Draft, { records }: Persisted): void => {
  for (const { kind, sequence } of records) {
    const request = isAwaited(kind) ? Draft.request(draft, sequence) : undefined
    if (request !== undefined) apply(draft, request, kind === "arrived" ? arrivedPersisted : endedPersisted)
  }
}

const persistFailed = (draft: Draft.Draft, { nowMs, records, outcome }: PersistFailed): void => {
  const isUnknown = outcome === "unknown"
  for (const { kind, sequence } of records) {
    const request = isAwaited(kind) ? Draft.request(draft, sequence) : undefined
    if (request !== undefined) apply(draft, request, { _tag: "RecordFailed", kind, nowMs, isUnknown })
  }
}

/** The fate of the other records changes nothing. */
const isAwaited = (kind: RecordKind): boolean => kind === "arrived" || kind === "ended"

const fromWorker = (draft: Draft.Draft, event: ResponseStarted | ResponseEnded | AttemptFailed): void => {
  const { sequence, workerId, token } = event
  const request = Draft.request(draft, sequence)
  if (!isLeasedTo(request, workerId, token)) {
    draft.commands.push({ _tag: "RejectStale", sequence, workerId, token, event: event._tag })
    return
  }
  WorkerPool.heard(draft, request.worker)
  apply(draft, request, event)
}

const fromCaller = (draft: Draft.Draft, event: CallerLeft | Detached | CancelRequested | ResponseShown): void => {
  const request = Draft.request(draft, event.sequence)
  if (request !== undefined) apply(draft, request, event)
}

/** Rare, so it may look at every request rather than each request paying for an index. */
const removeVersion = (draft: Draft.Draft, name: string): void => {
  const number = Table.find(draft.state.versions, name)
  if (number === undefined) return
  const { nowMs } = draft
  for (const request of BufferState.requestsOf(draft.state, number)) {
    apply(draft, request, { _tag: "FunctionRemoved", nowMs })
  }
}

const tick = (draft: Draft.Draft, event: Ticked): void => {
  const { nowMs, state } = draft
  for (;;) {
    const [left, due] = DueMap.takeDue(state.requests, nowMs, dueMs, state.edit)
    state.requests = left
    if (due.length === 0) break
    for (const sequence of due) apply(draft, Draft.known(draft, sequence), event)
  }
  WorkerEvents.expireLeases(draft)
}

/** Gives free slots of the touched versions to the requests whose turn it is. */
const dispatch = (draft: Draft.Draft): void => {
  const { state, nowMs } = draft
  for (let row = draft.versions; row !== null; row = row.next) {
    const version = row.after
    while (version.readyCount > 0 && version.freeSlots > 0) {
      const request = Draft.known(draft, Lanes.choose(draft, version))
      if (request.arrived.deadlineMs <= nowMs) {
        apply(draft, request, { _tag: "Ticked", nowMs })
        continue
      }
      const number = WorkerPool.freest(draft, version)
      const { workerId } = Draft.worker(draft, number)
      const token = state.nextToken++
      apply(draft, request, { _tag: "Assigned", token, workerId, worker: number })
    }
  }
}

/** Once for each version whose figures are not what they were before the step. */
const tellDemand = (draft: Draft.Draft): void => {
  for (let row = draft.versions; row !== null; row = row.next) {
    const { after } = row
    const pendingCount = BufferState.pendingCount(after)
    const isChanged =
      !draft.wasLive ||
      row.arrivalsTotal !== after.arrivalsTotal ||
      row.leasedCount !== after.leasedCount ||
      row.freeSlots !== after.freeSlots ||
      row.pendingCount !== pendingCount
    if (!isChanged) continue
    const urgent = after.freeSlots === 0 && pendingCount > 0
    draft.commands.push({ _tag: "DemandChanged", version: after.name, urgent })
  }
}
