/**
 * What is known of one request: four shapes, of which it is in exactly one.
 *
 * @module
 */
import type { Arrived, Reason, ServiceClass, Terminal as TerminalKind } from "../buffer/BufferEvent.ts"
import { unreachable } from "../collections/invariant.ts"

/** What never changes. `version` and `tenant` are the numbers of their rows in the buffer's tables. */
export interface Facts {
  readonly arrived: Arrived
  readonly version: number
  readonly tenant: number
  /** From then on an opportunistic request is of class `deadline`; `null`: never, also for one that is so already. */
  readonly agedAtMs: number | null
}

/**
 * Who is to hear of the end, and whether the result is kept for a later claim.
 *
 * `waiting`: a caller on the connection, nothing kept. `waiting-kept`: the same with an idempotency key, so that a
 * retry finds the result. `claim-owed`: kept, and a caller still waits to hear 202. `claim`: kept, nobody waits.
 */
export type Audience = "waiting" | "waiting-kept" | "claim-owed" | "claim"

/**
 * The record of the arrival. `none`: never written. `queued`: in a batch that nobody waits for. `urgent`: in a batch
 * that somebody waits for. `flushing`: handed to the log. `failed`: the log said no, or said nothing.
 */
export type ArrivedRecord = "none" | "queued" | "urgent" | "flushing" | "stored" | "failed"

/** The facts are of the state itself: an object of their own would be one more that lives as long as the request. */
interface Known extends Facts {
  readonly audience: Audience
  readonly arrivedRecord: ArrivedRecord
  /** How often it was leased; 0 = never. */
  readonly attempt: number
}

export interface Pending extends Known {
  readonly _tag: "Pending"
  /** Redelivery not before; 0 = at once. */
  readonly notBeforeMs: number
  /** The class in which it waits now. */
  readonly waitsAs: ServiceClass
}

export interface Leased extends Known {
  readonly _tag: "Leased"
  readonly token: number
  readonly workerId: string
  /** Number of the worker's row in the buffer's table. */
  readonly worker: number
}

/**
 * An answer is coming. `shown`: bytes of it went to the caller. `collecting`: it becomes the stored result. Neither:
 * it waits until the arrival is on disk, because its first byte would say "accepted".
 */
export interface Responding extends Known {
  readonly _tag: "Responding"
  readonly token: number
  readonly workerId: string
  readonly worker: number
  readonly shown: boolean
  readonly collecting: boolean
}

export interface Terminal extends Known {
  readonly _tag: "Terminal"
  readonly terminal: TerminalKind
  readonly reason: Reason | null
  readonly message: string | null
  readonly partial: boolean
  /** Under which it ended, where the end is stored before it is told: a snapshot needs it meanwhile. */
  readonly lease: { readonly token: number; readonly workerId: string } | null
  readonly endedAtMs: number
  readonly resultKept: boolean
  readonly resultBytes: number
  /** Remembered until then; `endedAtMs`: not at all. */
  readonly keepUntilMs: number
  readonly endedRecord: "none" | "queued" | "stored" | "failed"
  /** `TellEnded` was ordered. */
  readonly told: boolean
  /** Nothing is left to do for it: the buffer drops it. */
  readonly gone: boolean
}

export type State = Pending | Leased | Responding | Terminal

/** Where the buffer counts a request. `parked`: pending, but not to be leased yet. */
export type Place = "ready" | "parked" | "leased" | "ended"

/** `waitMaxMs`: see `opportunisticWaitMaxMs` of the buffer's options. */
export const factsOf = (arrived: Arrived, version: number, tenant: number, waitMaxMs: number | undefined): Facts => {
  const isAging = arrived.serviceClass === "opportunistic" && waitMaxMs !== undefined
  return { arrived, version, tenant, agedAtMs: isAging ? arrived.nowMs + waitMaxMs : null }
}

/** The class in which it waits at a time. */
export const classAt = ({ arrived, agedAtMs }: Facts, nowMs: number): ServiceClass =>
  arrived.serviceClass === "opportunistic" && (agedAtMs === null || nowMs < agedAtMs) ? "opportunistic" : "deadline"

/** Written before it is told. A key always asks for it, whatever the version's durability. */
export const isWritten = (arrived: Arrived): boolean =>
  arrived.durability !== "memory" || arrived.idempotencyKey !== undefined

export const isKept = (state: State): boolean => state.audience !== "waiting"

export const place = (state: State): Place => {
  switch (state._tag) {
    case "Pending": {
      if (state.notBeforeMs > 0) return "parked"
      return state.arrived.durability === "always" && state.arrivedRecord !== "stored" ? "parked" : "ready"
    }
    case "Leased":
    case "Responding":
      return "leased"
    case "Terminal":
      return "ended"
    default:
      return unreachable(state)
  }
}

/**
 * When time alone changes it: redelivery, another class, deadline or the end of the retention; infinite when it waits
 * for a write.
 */
export const dueMs = (state: State): number => {
  const { deadlineMs } = state.arrived
  switch (state._tag) {
    case "Pending": {
      const soonMs = state.notBeforeMs > 0 ? Math.min(state.notBeforeMs, deadlineMs) : deadlineMs
      const { agedAtMs } = state
      return state.waitsAs === "opportunistic" && agedAtMs !== null ? Math.min(agedAtMs, soonMs) : soonMs
    }
    case "Leased":
    case "Responding":
      return deadlineMs
    case "Terminal":
      return state.told || state.endedRecord === "failed" ? state.keepUntilMs : Number.POSITIVE_INFINITY
    default:
      return unreachable(state)
  }
}

type Mutable<A> = { -readonly [K in keyof A]: A[K] }

// Written out, and always in the order of the fields above: a spread costs several times as much, and the engine
// takes objects whose fields came in another order for another kind of object.

/** To be changed by its caller before anybody else sees it. */
export const copy = (state: State): Mutable<Pending> | Mutable<Leased> | Mutable<Responding> | Mutable<Terminal> => {
  const { arrived, version, tenant, agedAtMs, audience, arrivedRecord, attempt } = state
  switch (state._tag) {
    case "Pending": {
      const { notBeforeMs, waitsAs } = state
      return {
        _tag: "Pending",
        arrived,
        version,
        tenant,
        agedAtMs,
        audience,
        arrivedRecord,
        attempt,
        notBeforeMs,
        waitsAs
      }
    }
    case "Leased": {
      const { token, workerId, worker } = state
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
    case "Responding": {
      const { token, workerId, worker, shown, collecting } = state
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
    case "Terminal":
      return copyTerminal(state)
    default:
      return unreachable(state)
  }
}

export const copyTerminal = (state: Terminal): Mutable<Terminal> => ({
  _tag: "Terminal",
  arrived: state.arrived,
  version: state.version,
  tenant: state.tenant,
  agedAtMs: state.agedAtMs,
  audience: state.audience,
  arrivedRecord: state.arrivedRecord,
  attempt: state.attempt,
  terminal: state.terminal,
  reason: state.reason,
  message: state.message,
  partial: state.partial,
  lease: state.lease,
  endedAtMs: state.endedAtMs,
  resultKept: state.resultKept,
  resultBytes: state.resultBytes,
  keepUntilMs: state.keepUntilMs,
  endedRecord: state.endedRecord,
  told: state.told,
  gone: state.gone
})
