/**
 * Life of one request: Pending → Leased → Responding → Terminal, and back to Pending when an attempt is lost.
 *
 * It decides what is written, what is told and when; the buffer around it decides when it is its turn and which
 * worker gets it.
 *
 * Laws (numbers as in `Buffer.ts`): L3 one end is told. L4 only the live token changes anything. L5 nothing happens
 * after the end but its telling and its forgetting. L6 accepted, and kept results, are told only when they are on
 * disk. L9 bytes of at most one attempt are released.
 *
 * @module
 */
import type {
  AttemptFailed,
  CallerLeft,
  CancelRequested,
  Command,
  Detached,
  DurableRecord,
  Reason,
  RecordKind,
  ResponseEnded,
  ResponseShown,
  ResponseStarted,
  Terminal as TerminalKind,
  Ticked
} from "../buffer/BufferEvent.ts"
import type { BufferOptions } from "../buffer/BufferOptions.ts"
import { unreachable } from "../collections/invariant.ts"
import * as Redelivery from "./Redelivery.ts"
import {
  type Audience,
  classAt,
  copy,
  copyTerminal,
  type Facts,
  isKept,
  isWritten,
  type Leased,
  type Pending,
  type Responding,
  type State,
  type Terminal
} from "./RequestState.ts"

export type Event =
  /** The buffer chose a worker for it. */
  | {
      readonly _tag: "Assigned"
      readonly token: number
      readonly workerId: string
      readonly worker: number
    }
  /** The lease is over without an answer. `cancel`: the worker may still be at it and must be told to stop. */
  | {
      readonly _tag: "AttemptLost"
      readonly nowMs: number
      readonly reason: "worker-lost" | "lease-expired"
      readonly cancel: boolean
    }
  | { readonly _tag: "RecordFlushing"; readonly kind: RecordKind }
  | { readonly _tag: "RecordPersisted"; readonly kind: RecordKind }
  /** `isUnknown`: it may have been written all the same. */
  | {
      readonly _tag: "RecordFailed"
      readonly kind: RecordKind
      readonly nowMs: number
      readonly isUnknown: boolean
    }
  | { readonly _tag: "FunctionRemoved"; readonly nowMs: number }
  | ResponseStarted
  | ResponseShown
  | ResponseEnded
  | AttemptFailed
  | CallerLeft
  | Detached
  | CancelRequested
  | Ticked

export type Limits = Pick<BufferOptions, "redeliveryDelayMs" | "redeliveryDelayMaxMs" | "resultRetentionMs">

export type Step = readonly [State, ReadonlyArray<Command>]

/** What happens to a request is ordered by adding to it. */
export type Orders = Array<Command>

export const step = (state: State, event: Event, limits: Limits): Step => {
  const orders: Orders = []
  return [advance(state, event, limits, orders), orders]
}

/** A request that the buffer has room for. */
export const admit = (facts: Facts, orders: Orders): Pending => {
  const { arrived, version, tenant, agedAtMs } = facts
  const { sequence } = arrived
  const written = isWritten(arrived)
  const urgent = arrived.mode === "async" || arrived.idempotencyKey !== undefined || arrived.durability === "always"
  if (written) orders.push(append(sequence, "arrived", { _tag: "RecordArrived", arrived }, urgent))
  else if (arrived.mode === "async") orders.push({ _tag: "TellAccepted", sequence })
  const audience: Audience =
    arrived.mode === "async"
      ? written
        ? "claim-owed"
        : "claim"
      : arrived.idempotencyKey === undefined
        ? "waiting"
        : "waiting-kept"
  const arrivedRecord = written ? (urgent ? "urgent" : "queued") : "none"
  const waitsAs = arrived.serviceClass === "opportunistic" ? "opportunistic" : "deadline"
  return {
    _tag: "Pending",
    arrived,
    version,
    tenant,
    agedAtMs,
    audience,
    arrivedRecord,
    attempt: 0,
    notBeforeMs: 0,
    waitsAs
  }
}

/**
 * `step` for a caller that has a list of orders already: adds to it and gives the next state. The same state: nothing
 * happened.
 */
export const advance = (state: State, event: Event, limits: Limits, orders: Orders): State => {
  switch (event._tag) {
    case "Assigned":
      return state._tag === "Pending" ? assigned(state, event, orders) : state
    case "ResponseStarted":
      return state._tag === "Leased" && state.token === event.token ? responseStarted(state, orders) : state
    case "ResponseShown":
      return state._tag === "Responding" && state.token === event.token ? { ...state, shown: true } : state
    case "ResponseEnded": {
      if (!isLeased(state) || state.token !== event.token) return state
      return end(state, responded, event, limits, orders)
    }
    case "AttemptFailed": {
      if (!isLeased(state) || state.token !== event.token) return state
      const failure = { reason: "handler-failed", message: event.message, nowMs: event.nowMs } as const
      return event.retryable ? attemptOver(state, failure, limits, orders) : failed(state, failure, limits, orders)
    }
    case "AttemptLost": {
      if (!isLeased(state)) return state
      if (event.cancel) orders.push(cancelAttempt(state, event.reason))
      return attemptOver(state, { reason: event.reason, message: null, nowMs: event.nowMs }, limits, orders)
    }
    case "CallerLeft": {
      if (state.audience !== "waiting" && state.audience !== "waiting-kept") return state
      return event.cancel && state._tag !== "Terminal"
        ? stop(state, { terminal: "cancelled", reason: "caller-left", nowMs: event.nowMs }, limits, orders)
        : detach(state, "claim", orders)
    }
    case "Detached":
      return state.audience === "waiting" || state.audience === "waiting-kept"
        ? detach(state, "claim-owed", orders)
        : state
    case "CancelRequested": {
      if (state._tag === "Terminal") return state
      return stop(state, { terminal: "cancelled", reason: "caller-cancelled", nowMs: event.nowMs }, limits, orders)
    }
    case "FunctionRemoved": {
      if (state._tag === "Terminal") return state
      return stop(state, { terminal: "failed", reason: "function-removed", nowMs: event.nowMs }, limits, orders)
    }
    case "Ticked":
      return ticked(state, event.nowMs, limits, orders)
    case "RecordFlushing": {
      const waits = state.arrivedRecord === "queued" || state.arrivedRecord === "urgent"
      if (event.kind !== "arrived" || !waits) return state
      const flushing = copy(state)
      flushing.arrivedRecord = "flushing"
      return flushing
    }
    case "RecordPersisted": {
      if (event.kind === "arrived") return arrivedPersisted(state, orders)
      return event.kind === "ended" && state._tag === "Terminal" ? endedPersisted(state, orders) : state
    }
    case "RecordFailed": {
      if (event.kind === "arrived") return arrivedFailed(state, event, limits, orders)
      return event.kind === "ended" && state._tag === "Terminal" ? endedFailed(state, orders) : state
    }
    default:
      return unreachable(event)
  }
}

const isLeased = (state: State): state is Leased | Responding => state._tag === "Leased" || state._tag === "Responding"

const append = (sequence: number, kind: RecordKind, record: DurableRecord, urgent: boolean): Command => ({
  _tag: "Append",
  record,
  ref: { kind, sequence },
  urgent
})

const assigned = (state: Pending, event: Extract<Event, { readonly _tag: "Assigned" }>, orders: Orders): Leased => {
  const { arrived, version, tenant, agedAtMs, audience, arrivedRecord } = state
  const { sequence, deadlineMs } = arrived
  const { token, workerId, worker } = event
  const attempt = state.attempt + 1
  if (arrivedRecord !== "none") {
    const record: DurableRecord = { _tag: "RecordLeased", sequence, attempt, token, workerId }
    orders.push(append(sequence, "leased", record, false))
  }
  orders.push({ _tag: "Assign", sequence, workerId, token, attempt, deadlineMs })
  return {
    _tag: "Leased",
    arrived,
    version,
    tenant,
    agedAtMs,
    audience,
    arrivedRecord,
    attempt,
    token,
    workerId,
    worker
  }
}

const responseStarted = (state: Leased, orders: Orders): Responding => {
  const { arrived, version, tenant, agedAtMs, audience, attempt, token, workerId, worker } = state
  const { sequence } = arrived
  const collecting = isKept(state)
  const shown = !collecting && (state.arrivedRecord === "none" || state.arrivedRecord === "stored")
  const arrivedRecord = collecting || shown ? state.arrivedRecord : hurried(state)
  if (collecting) orders.push({ _tag: "CollectResponse", sequence, token })
  else if (shown) orders.push({ _tag: "ReleaseResponse", sequence, token })
  else hurry(state, orders)
  return {
    _tag: "Responding",
    arrived,
    version,
    tenant,
    agedAtMs,
    audience,
    arrivedRecord,
    attempt,
    token,
    workerId,
    worker,
    shown,
    collecting
  }
}

/** The order that makes somebody wait for the arrival's record; none when it is on its way already. */
const hurry = (state: State, orders: Orders): void => {
  if (state.arrivedRecord !== "queued") return
  const { arrived } = state
  orders.push(append(arrived.sequence, "arrived", { _tag: "RecordArrived", arrived }, true))
}

const hurried = (state: State): State["arrivedRecord"] =>
  state.arrivedRecord === "queued" ? "urgent" : state.arrivedRecord

const cancelAttempt = (state: Leased | Responding, reason: Reason): Command => ({
  _tag: "CancelAttempt",
  sequence: state.arrived.sequence,
  workerId: state.workerId,
  token: state.token,
  reason
})

/** Bytes that nobody has seen become void with their attempt; what was shown to a detached caller as well. */
const discard = (state: State, orders: Orders): void => {
  if (state._tag !== "Responding" || (state.shown && !state.collecting)) return
  orders.push({ _tag: "DiscardResponse", sequence: state.arrived.sequence, token: state.token })
}

interface Failure {
  readonly reason: Reason
  readonly message: string | null
  readonly nowMs: number
}

const failed = (state: State, { reason, message, nowMs }: Failure, limits: Limits, orders: Orders): Terminal =>
  end(state, { terminal: "failed", reason, message }, { nowMs, resultBytes: 0 }, limits, orders)

/** An attempt ended without an answer, for a reason that another attempt may not meet. */
const attemptOver = (state: Leased | Responding, failure: Failure, limits: Limits, orders: Orders): State => {
  const { nowMs, message } = failure
  // Another attempt may answer differently, and the caller has bytes of this one.
  if (state._tag === "Responding" && state.shown) {
    return failed(state, failure, limits, orders)
  }
  const { arrived, version, tenant, agedAtMs, audience, arrivedRecord, attempt } = state
  const { sequence, maxAttempts } = arrived
  if (attempt >= maxAttempts) {
    const poisoned = { terminal: "dead-lettered", reason: "attempts-exhausted", message } as const
    return end(state, poisoned, { nowMs, resultBytes: 0 }, limits, orders)
  }
  const notBeforeMs = nowMs + Redelivery.delayMs(arrived, attempt, limits)
  discard(state, orders)
  if (arrivedRecord !== "none") {
    const record: DurableRecord = { _tag: "RecordAttemptFailed", sequence, attempt, notBeforeMs }
    orders.push(append(sequence, "attempt-failed", record, false))
  }
  const waitsAs = classAt(state, nowMs)
  return { _tag: "Pending", arrived, version, tenant, agedAtMs, audience, arrivedRecord, attempt, notBeforeMs, waitsAs }
}

interface Stop {
  readonly terminal: TerminalKind
  readonly reason: Reason
  readonly nowMs: number
}

/** Ends it from outside: a worker that is at it must stop. */
const stop = (state: State, { terminal, reason, nowMs }: Stop, limits: Limits, orders: Orders): Terminal => {
  if (isLeased(state)) orders.push(cancelAttempt(state, reason))
  return end(state, { terminal, reason, message: null }, { nowMs, resultBytes: 0 }, limits, orders)
}

interface Outcome {
  readonly terminal: TerminalKind
  readonly reason: Reason | null
  readonly message: string | null
}

/** That of nearly every request, so it is made once. */
const responded: Outcome = { terminal: "responded", reason: null, message: null }

type Answer = Pick<ResponseEnded, "nowMs" | "resultBytes">

/** The one way to the end. Kept ends are told when they are stored, all others at once. */
const end = (state: State, outcome: Outcome, answer: Answer, limits: Limits, orders: Orders): Terminal => {
  const { arrived, version, tenant, agedAtMs, audience, arrivedRecord, attempt } = state
  const { sequence } = arrived
  const { terminal, reason, message } = outcome
  const { nowMs, resultBytes } = answer
  const kept = isKept(state)
  const isAnswered = terminal === "responded"
  const isStoredFirst = kept && arrivedRecord !== "none"
  const ended: Terminal = {
    _tag: "Terminal",
    arrived,
    version,
    tenant,
    agedAtMs,
    audience,
    arrivedRecord,
    attempt,
    terminal,
    reason,
    message,
    partial: !isAnswered && state._tag === "Responding" && state.shown,
    lease: isStoredFirst && isLeased(state) ? { token: state.token, workerId: state.workerId } : null,
    endedAtMs: nowMs,
    resultKept: kept && isAnswered,
    resultBytes,
    keepUntilMs: kept ? nowMs + (arrived.resultRetentionMs ?? limits.resultRetentionMs) : nowMs,
    endedRecord: isStoredFirst ? "queued" : "none",
    told: !isStoredFirst,
    gone: !kept
  }
  if (!isAnswered) discard(state, orders)
  // A whole answer can come without its start having been announced.
  else if (kept && !(state._tag === "Responding" && state.collecting) && isLeased(state)) {
    orders.push({ _tag: "CollectResponse", sequence, token: state.token })
  }
  if (isStoredFirst) orders.push(append(sequence, "ended", endedRecord(ended), true))
  else if (arrivedRecord === "queued" || arrivedRecord === "urgent") orders.push({ _tag: "DropAppend", sequence })
  else if (arrivedRecord === "flushing" || arrivedRecord === "stored") {
    orders.push(append(sequence, "ended", endedRecord(ended), false))
  }
  if (!isStoredFirst) orders.push(tellEnded(ended))
  if (!kept) orders.push({ _tag: "Forget", sequence })
  return ended
}

const endedRecord = (state: Terminal): DurableRecord => ({
  _tag: "RecordEnded",
  sequence: state.arrived.sequence,
  terminal: state.terminal,
  reason: state.reason,
  message: state.message,
  endedAtMs: state.endedAtMs,
  resultKept: state.resultKept,
  resultBytes: state.resultBytes,
  keepUntilMs: state.keepUntilMs
})

const tellEnded = (state: Terminal): Command => ({
  _tag: "TellEnded",
  sequence: state.arrived.sequence,
  terminal: state.terminal,
  reason: state.reason,
  message: state.message,
  partial: state.partial,
  resultKept: state.resultKept
})

/** The caller stops waiting, its interest goes on: from here the result is kept. */
const detach = (state: State, audience: "claim" | "claim-owed", orders: Orders): State => {
  if (state._tag === "Terminal" && state.told) return state
  const { sequence } = state.arrived
  const { arrivedRecord } = state
  // Whoever has bytes of the answer cannot be told 202 any more.
  const owed = audience === "claim-owed" && !(state._tag === "Responding" && state.shown)
  const isAccepted = arrivedRecord === "none" || arrivedRecord === "stored"
  if (owed && !isAccepted) hurry(state, orders)
  const isNewlyKept = state.audience === "waiting"
  if (arrivedRecord !== "none" && isNewlyKept) {
    orders.push(append(sequence, "detached", { _tag: "RecordDetached", sequence }, owed && !isAccepted))
  }
  if (owed && isAccepted) orders.push({ _tag: "TellAccepted", sequence })
  const detached = copy(state)
  if (detached._tag === "Responding") {
    if (!detached.collecting) orders.push({ _tag: "CollectResponse", sequence, token: detached.token })
    detached.collecting = true
  }
  detached.audience = owed && !isAccepted ? "claim-owed" : "claim"
  detached.arrivedRecord = owed ? hurried(state) : arrivedRecord
  return detached
}

const ticked = (state: State, nowMs: number, limits: Limits, orders: Orders): State => {
  if (state._tag === "Terminal") {
    const isOver = (state.told || state.endedRecord === "failed") && state.keepUntilMs <= nowMs
    return isOver ? forget(state, orders) : state
  }
  if (state.arrived.deadlineMs <= nowMs) {
    return stop(state, { terminal: "expired", reason: "deadline-passed", nowMs }, limits, orders)
  }
  if (state._tag !== "Pending") return state
  const { arrived, version, tenant, agedAtMs, audience, arrivedRecord, attempt } = state
  const notBeforeMs = state.notBeforeMs <= nowMs ? 0 : state.notBeforeMs
  const waitsAs = state.waitsAs === "deadline" ? "deadline" : classAt(state, nowMs)
  if (notBeforeMs === state.notBeforeMs && waitsAs === state.waitsAs) return state
  return { _tag: "Pending", arrived, version, tenant, agedAtMs, audience, arrivedRecord, attempt, notBeforeMs, waitsAs }
}

const forget = (state: Terminal, orders: Orders): Terminal => {
  const { sequence } = state.arrived
  // Where the end did not get into the log, a record that it is forgotten would make a lost request of it.
  if (state.endedRecord === "stored") {
    orders.push(append(sequence, "forgotten", { _tag: "RecordForgotten", sequence }, false))
  }
  return dropped(state, orders)
}

const dropped = (state: Terminal, orders: Orders): Terminal => {
  orders.push({ _tag: "Forget", sequence: state.arrived.sequence })
  const gone = copyTerminal(state)
  gone.gone = true
  return gone
}

const arrivedPersisted = (state: State, orders: Orders): State => {
  const { arrivedRecord } = state
  if (arrivedRecord === "none" || arrivedRecord === "stored" || arrivedRecord === "failed") return state
  const { sequence } = state.arrived
  const stored = copy(state)
  stored.arrivedRecord = "stored"
  if (stored.audience === "claim-owed") {
    stored.audience = "claim"
    orders.push({ _tag: "TellAccepted", sequence })
  } else if (stored._tag === "Responding" && !stored.shown && !stored.collecting) {
    stored.shown = true
    orders.push({ _tag: "ReleaseResponse", sequence, token: stored.token })
  }
  return stored
}

const endedPersisted = (state: Terminal, orders: Orders): Terminal => {
  if (state.told || state.endedRecord !== "queued") return state
  orders.push(tellEnded(state))
  const stored = copyTerminal(state)
  stored.endedRecord = "stored"
  stored.told = true
  return stored
}

/** Nobody heard yet that it was accepted, so it never was. */
const arrivedFailed = (
  state: State,
  { nowMs, isUnknown }: Extract<Event, { readonly _tag: "RecordFailed" }>,
  limits: Limits,
  orders: Orders
): State => {
  const { arrivedRecord, audience } = state
  if (arrivedRecord === "none" || arrivedRecord === "stored" || arrivedRecord === "failed") return state
  // Whoever waited was let go when the record of the end failed.
  if (state._tag === "Terminal" && state.endedRecord === "failed") return dropped(state, orders)
  // Nothing of it may be written any more: its end would stand in the log without its arrival.
  const unwritten = copy(state)
  unwritten.arrivedRecord = "none"
  unwritten.audience = "waiting"
  const failed = { terminal: "failed", reason: "store-failed", nowMs } as const
  if (audience !== "claim-owed") return stop(unwritten, failed, limits, orders)
  const { sequence } = state.arrived
  const ordered: Orders = []
  const ended = stop(unwritten, failed, limits, ordered)
  orders.push(...ordered.filter(({ _tag }) => _tag !== "TellEnded" && _tag !== "Forget"))
  const kept = isUnknown ? "unknown" : "nothing"
  orders.push({ _tag: "Refuse", sequence, refusal: { kind: "store-failed", kept } })
  return ended
}

/**
 * The end happened but nobody may be told: after a restart the log may say otherwise. A caller that waits is let go
 * with 503, whose outcome is unknown to it; the request stays untold until a restart or the end of its retention.
 */
const endedFailed = (state: Terminal, orders: Orders): Terminal => {
  if (state.told || state.endedRecord !== "queued") return state
  const { sequence } = state.arrived
  // What was not yet handed to the log never will be.
  const isUnwritten = state.arrivedRecord === "queued" || state.arrivedRecord === "urgent"
  const refusal = { kind: "store-failed", kept: isUnwritten ? "nothing" : "unknown" } as const
  if (state.audience !== "claim") orders.push({ _tag: "Refuse", sequence, refusal })
  const failed = copyTerminal(state)
  failed.endedRecord = "failed"
  failed.audience = "claim"
  return failed
}
