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
  ResponseStarted,
  Terminal as TerminalKind,
  Ticked
} from "../buffer/BufferEvent.ts"
import type { BufferOptions } from "../buffer/BufferOptions.ts"
import {
  type Audience,
  type Facts,
  isKept,
  isWritten,
  type Leased,
  type Pending,
  type Responding,
  type State,
  type Terminal,
  unreachable
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
  | { readonly _tag: "RecordPersisted"; readonly kind: RecordKind; readonly nowMs: number }
  | { readonly _tag: "RecordFailed"; readonly kind: RecordKind; readonly nowMs: number }
  | { readonly _tag: "FunctionRemoved"; readonly nowMs: number }
  | ResponseStarted
  | ResponseEnded
  | AttemptFailed
  | CallerLeft
  | Detached
  | CancelRequested
  | Ticked

export type Limits = Pick<BufferOptions, "redeliveryDelayMs" | "redeliveryDelayMaxMs" | "resultRetentionMs">

export type Step = readonly [State, ReadonlyArray<Command>]

/** A request that the buffer has room for. */
export const admit = (facts: Facts): Step => {
  const { arrived } = facts
  const { sequence } = arrived
  const commands: Array<Command> = []
  const written = isWritten(arrived)
  const urgent = arrived.mode === "async" || arrived.idempotencyKey !== undefined || arrived.durability === "always"
  if (written) commands.push(append(sequence, "arrived", { _tag: "RecordArrived", arrived }, urgent))
  else if (arrived.mode === "async") commands.push({ _tag: "TellAccepted", sequence })
  const audience: Audience =
    arrived.mode === "async"
      ? written
        ? "claim-owed"
        : "claim"
      : arrived.idempotencyKey === undefined
        ? "waiting"
        : "waiting-kept"
  const arrivedRecord = written ? (urgent ? "urgent" : "queued") : "none"
  return [{ _tag: "Pending", facts, audience, arrivedRecord, attempt: 0, notBeforeMs: 0 }, commands]
}

export const step = (state: State, event: Event, limits: Limits): Step => {
  switch (event._tag) {
    case "Assigned":
      return state._tag === "Pending" ? assigned(state, event) : unchanged(state)
    case "ResponseStarted":
      return state._tag === "Leased" && state.token === event.token ? responseStarted(state) : unchanged(state)
    case "ResponseEnded": {
      if (!isLeased(state) || state.token !== event.token) return unchanged(state)
      return end(state, { terminal: "responded", nowMs: event.nowMs, resultBytes: event.resultBytes }, limits)
    }
    case "AttemptFailed": {
      if (!isLeased(state) || state.token !== event.token) return unchanged(state)
      const failure = { reason: "handler-failed", message: event.message, nowMs: event.nowMs } as const
      return event.retryable
        ? attemptOver(state, failure, limits)
        : end(state, { ...failure, terminal: "failed" }, limits)
    }
    case "AttemptLost": {
      if (!isLeased(state)) return unchanged(state)
      const over = attemptOver(state, { reason: event.reason, message: null, nowMs: event.nowMs }, limits)
      return event.cancel ? [over[0], [cancelAttempt(state, event.reason), ...over[1]]] : over
    }
    case "CallerLeft": {
      if (state.audience !== "waiting" && state.audience !== "waiting-kept") return unchanged(state)
      return event.cancel && state._tag !== "Terminal"
        ? stop(state, { terminal: "cancelled", reason: "caller-left", nowMs: event.nowMs }, limits)
        : detach(state, "claim")
    }
    case "Detached":
      return state.audience === "waiting" || state.audience === "waiting-kept"
        ? detach(state, "claim-owed")
        : unchanged(state)
    case "CancelRequested": {
      if (state._tag === "Terminal") return unchanged(state)
      return stop(state, { terminal: "cancelled", reason: "caller-cancelled", nowMs: event.nowMs }, limits)
    }
    case "FunctionRemoved": {
      if (state._tag === "Terminal") return unchanged(state)
      return stop(state, { terminal: "failed", reason: "function-removed", nowMs: event.nowMs }, limits)
    }
    case "Ticked":
      return ticked(state, event.nowMs, limits)
    case "RecordFlushing": {
      const waits = state.arrivedRecord === "queued" || state.arrivedRecord === "urgent"
      return event.kind === "arrived" && waits ? unchanged({ ...state, arrivedRecord: "flushing" }) : unchanged(state)
    }
    case "RecordPersisted": {
      if (event.kind === "arrived") return arrivedPersisted(state)
      return event.kind === "ended" && state._tag === "Terminal" ? endedPersisted(state) : unchanged(state)
    }
    case "RecordFailed": {
      if (event.kind === "arrived") return arrivedFailed(state, event.nowMs, limits)
      return event.kind === "ended" && state._tag === "Terminal" ? endedFailed(state) : unchanged(state)
    }
    default:
      return unreachable(event)
  }
}

const none: ReadonlyArray<Command> = []

const unchanged = (state: State): Step => [state, none]

const isLeased = (state: State): state is Leased | Responding => state._tag === "Leased" || state._tag === "Responding"

const append = (sequence: number, kind: RecordKind, record: DurableRecord, urgent: boolean): Command => ({
  _tag: "Append",
  record,
  ref: { kind, sequence },
  urgent
})

const assigned = (state: Pending, event: Extract<Event, { readonly _tag: "Assigned" }>): Step => {
  const { facts, audience, arrivedRecord } = state
  const { sequence, deadlineMs } = facts.arrived
  const { token, workerId, worker } = event
  const attempt = state.attempt + 1
  const assign: Command = { _tag: "Assign", sequence, workerId, token, attempt, deadlineMs }
  const leased: Leased = { _tag: "Leased", facts, audience, arrivedRecord, attempt, token, workerId, worker }
  if (arrivedRecord === "none") return [leased, [assign]]
  const record: DurableRecord = { _tag: "RecordLeased", sequence, attempt, token, workerId }
  return [leased, [append(sequence, "leased", record, false), assign]]
}

const responseStarted = (state: Leased): Step => {
  const { facts, audience, attempt, token, workerId, worker } = state
  const { sequence } = facts.arrived
  const responding = { _tag: "Responding", facts, audience, attempt, token, workerId, worker } as const
  const { arrivedRecord } = state
  if (isKept(state)) {
    const collecting: Responding = { ...responding, arrivedRecord, shown: false, collecting: true }
    return [collecting, [{ _tag: "CollectResponse", sequence, token }]]
  }
  if (arrivedRecord === "none" || arrivedRecord === "stored") {
    const shown: Responding = { ...responding, arrivedRecord, shown: true, collecting: false }
    return [shown, [{ _tag: "ReleaseResponse", sequence, token }]]
  }
  const holding: Responding = { ...responding, arrivedRecord: hurried(state), shown: false, collecting: false }
  return [holding, hurry(state)]
}

/** The order that makes somebody wait for the arrival's record; none when it is on its way already. */
const hurry = (state: State): ReadonlyArray<Command> => {
  if (state.arrivedRecord !== "queued") return none
  const { arrived } = state.facts
  return [append(arrived.sequence, "arrived", { _tag: "RecordArrived", arrived }, true)]
}

const hurried = (state: State): State["arrivedRecord"] =>
  state.arrivedRecord === "queued" ? "urgent" : state.arrivedRecord

const cancelAttempt = (state: Leased | Responding, reason: Reason): Command => ({
  _tag: "CancelAttempt",
  sequence: state.facts.arrived.sequence,
  workerId: state.workerId,
  token: state.token,
  reason
})

/** Bytes that nobody has seen become void with their attempt; what was shown to a detached caller as well. */
const discard = (state: State): ReadonlyArray<Command> => {
  if (state._tag !== "Responding" || (state.shown && !state.collecting)) return none
  return [{ _tag: "DiscardResponse", sequence: state.facts.arrived.sequence, token: state.token }]
}

interface Failure {
  readonly reason: Reason
  readonly message: string | null
  readonly nowMs: number
}

/** An attempt ended without an answer, for a reason that another attempt may not meet. */
const attemptOver = (state: Leased | Responding, failure: Failure, limits: Limits): Step => {
  const { nowMs, message } = failure
  // Another attempt may answer differently, and the caller has bytes of this one.
  if (state._tag === "Responding" && state.shown) return end(state, { ...failure, terminal: "failed" }, limits)
  const { facts, audience, arrivedRecord, attempt } = state
  const { sequence, maxAttempts } = facts.arrived
  if (attempt >= maxAttempts) {
    return end(state, { terminal: "dead-lettered", reason: "attempts-exhausted", message, nowMs }, limits)
  }
  // 2 ** 1023 is the largest that a double holds; the maximum is reached long before.
  const delayMs = Math.min(limits.redeliveryDelayMs * 2 ** Math.min(attempt - 1, 1023), limits.redeliveryDelayMaxMs)
  const notBeforeMs = nowMs + delayMs
  const pending: Pending = { _tag: "Pending", facts, audience, arrivedRecord, attempt, notBeforeMs }
  if (arrivedRecord === "none") return [pending, discard(state)]
  const record: DurableRecord = { _tag: "RecordAttemptFailed", sequence, attempt, notBeforeMs }
  return [pending, [...discard(state), append(sequence, "attempt-failed", record, false)]]
}

interface Ending {
  readonly terminal: TerminalKind
  readonly reason?: Reason
  readonly message?: string | null
  readonly nowMs: number
  readonly resultBytes?: number
}

/** Ends it from outside: a worker that is at it must stop. */
const stop = (state: State, ending: Ending & { readonly reason: Reason }, limits: Limits): Step => {
  const ended = end(state, ending, limits)
  return isLeased(state) ? [ended[0], [cancelAttempt(state, ending.reason), ...ended[1]]] : ended
}

/** The one way to the end. Kept ends are told when they are stored, all others at once. */
const end = (state: State, ending: Ending, limits: Limits): Step => {
  const { facts, audience, arrivedRecord, attempt } = state
  const { sequence } = facts.arrived
  const { terminal, nowMs } = ending
  const kept = isKept(state)
  const responded = terminal === "responded"
  const isStoredFirst = kept && arrivedRecord !== "none"
  const ended: Terminal = {
    _tag: "Terminal",
    facts,
    audience,
    arrivedRecord,
    attempt,
    terminal,
    reason: ending.reason ?? null,
    message: ending.message ?? null,
    partial: !responded && state._tag === "Responding" && state.shown,
    lease: isLeased(state) ? { token: state.token, workerId: state.workerId } : null,
    endedAtMs: nowMs,
    resultKept: kept && responded,
    resultBytes: ending.resultBytes ?? 0,
    keepUntilMs: kept ? nowMs + limits.resultRetentionMs : nowMs,
    endedRecord: isStoredFirst ? "queued" : "none",
    told: !isStoredFirst,
    gone: !kept
  }
  const commands: Array<Command> = []
  if (!responded) commands.push(...discard(state))
  // A whole answer can come without its start having been announced.
  else if (kept && !(state._tag === "Responding" && state.collecting) && isLeased(state)) {
    commands.push({ _tag: "CollectResponse", sequence, token: state.token })
  }
  if (isStoredFirst) commands.push(append(sequence, "ended", endedRecord(ended), true))
  else if (arrivedRecord === "queued" || arrivedRecord === "urgent") commands.push({ _tag: "DropAppend", sequence })
  else if (arrivedRecord === "flushing" || arrivedRecord === "stored") {
    commands.push(append(sequence, "ended", endedRecord(ended), false))
  }
  if (!isStoredFirst) commands.push(tellEnded(ended))
  if (!kept) commands.push({ _tag: "Forget", sequence })
  return [ended, commands]
}

const endedRecord = (state: Terminal): DurableRecord => ({
  _tag: "RecordEnded",
  sequence: state.facts.arrived.sequence,
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
  sequence: state.facts.arrived.sequence,
  terminal: state.terminal,
  reason: state.reason,
  message: state.message,
  partial: state.partial,
  resultKept: state.resultKept
})

/** The caller stops waiting, its interest goes on: from here the result is kept. */
const detach = (state: State, audience: "claim" | "claim-owed"): Step => {
  if (state._tag === "Terminal" && state.told) return unchanged(state)
  const { sequence } = state.facts.arrived
  const { arrivedRecord } = state
  // Whoever has bytes of the answer cannot be told 202 any more.
  const owed = audience === "claim-owed" && !(state._tag === "Responding" && state.shown)
  const isAccepted = arrivedRecord === "none" || arrivedRecord === "stored"
  const commands: Array<Command> = []
  if (owed && !isAccepted) commands.push(...hurry(state))
  const isNewlyKept = state.audience === "waiting"
  if (arrivedRecord !== "none" && isNewlyKept) {
    commands.push(append(sequence, "detached", { _tag: "RecordDetached", sequence }, owed && !isAccepted))
  }
  if (owed && isAccepted) commands.push({ _tag: "TellAccepted", sequence })
  if (state._tag === "Responding" && !state.collecting) {
    commands.push({ _tag: "CollectResponse", sequence, token: state.token })
  }
  const detached: Pick<State, "audience" | "arrivedRecord"> = {
    audience: owed && !isAccepted ? "claim-owed" : "claim",
    arrivedRecord: owed ? hurried(state) : arrivedRecord
  }
  return state._tag === "Responding"
    ? [{ ...state, ...detached, collecting: true }, commands]
    : [{ ...state, ...detached }, commands]
}

const ticked = (state: State, nowMs: number, limits: Limits): Step => {
  if (state._tag === "Terminal") {
    const isOver = (state.told || state.endedRecord === "failed") && state.keepUntilMs <= nowMs
    return isOver ? forget(state) : unchanged(state)
  }
  if (state.facts.arrived.deadlineMs <= nowMs) {
    return stop(state, { terminal: "expired", reason: "deadline-passed", nowMs }, limits)
  }
  const isDelayOver = state._tag === "Pending" && state.notBeforeMs > 0 && state.notBeforeMs <= nowMs
  return isDelayOver ? unchanged({ ...state, notBeforeMs: 0 }) : unchanged(state)
}

const forget = (state: Terminal): Step => {
  const { sequence } = state.facts.arrived
  const commands: Array<Command> = []
  // Where the end did not get into the log, a record that it is forgotten would make a lost request of it.
  if (state.endedRecord === "stored") {
    commands.push(append(sequence, "forgotten", { _tag: "RecordForgotten", sequence }, false))
  }
  commands.push({ _tag: "Forget", sequence })
  return [{ ...state, gone: true }, commands]
}

const arrivedPersisted = (state: State): Step => {
  const { arrivedRecord } = state
  if (arrivedRecord === "none" || arrivedRecord === "stored" || arrivedRecord === "failed") return unchanged(state)
  const { sequence } = state.facts.arrived
  const stored = { ...state, arrivedRecord: "stored" } as const
  if (state.audience === "claim-owed") {
    return [{ ...stored, audience: "claim" }, [{ _tag: "TellAccepted", sequence }]]
  }
  if (stored._tag === "Responding" && !stored.shown && !stored.collecting) {
    return [{ ...stored, shown: true }, [{ _tag: "ReleaseResponse", sequence, token: stored.token }]]
  }
  return unchanged(stored)
}

const endedPersisted = (state: Terminal): Step => {
  if (state.told || state.endedRecord !== "queued") return unchanged(state)
  return [{ ...state, endedRecord: "stored", told: true }, [tellEnded(state)]]
}

/** Nobody heard yet that it was accepted, so it never was. */
const arrivedFailed = (state: State, nowMs: number, limits: Limits): Step => {
  const { arrivedRecord, audience } = state
  if (arrivedRecord === "none" || arrivedRecord === "stored" || arrivedRecord === "failed") return unchanged(state)
  // Whoever waited was let go when the record of the end failed.
  if (state._tag === "Terminal" && state.endedRecord === "failed") {
    return [{ ...state, gone: true }, [{ _tag: "Forget", sequence: state.facts.arrived.sequence }]]
  }
  // Nothing of it may be written any more: its end would stand in the log without its arrival.
  const unwritten = { ...state, arrivedRecord: "none", audience: "waiting" } as const
  const failed = { terminal: "failed", reason: "store-failed", nowMs } as const
  const [ended, commands] = stop(unwritten, failed, limits)
  if (audience !== "claim-owed") return [ended, commands]
  const { sequence } = state.facts.arrived
  const refuse: Command = { _tag: "Refuse", sequence, refusal: { kind: "store-failed" } }
  return [ended, [...commands.filter(({ _tag }) => _tag !== "TellEnded" && _tag !== "Forget"), refuse]]
}

/**
 * The end happened but nobody may be told: after a restart the log may say otherwise. A caller that waits is let go
 * with 503, whose outcome is unknown to it; the request stays untold until a restart or the end of its retention.
 */
const endedFailed = (state: Terminal): Step => {
  if (state.told || state.endedRecord !== "queued") return unchanged(state)
  const failed: Terminal = { ...state, endedRecord: "failed", audience: "claim" }
  if (state.audience === "claim") return unchanged(failed)
  const { sequence } = state.facts.arrived
  return [failed, [{ _tag: "Refuse", sequence, refusal: { kind: "store-failed" } }]]
}
