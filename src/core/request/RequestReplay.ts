/**
 * The same life read back from the log: records in, no commands out.
 *
 * Idempotent and tolerant of a snapshot that is ahead of the log: a record that tells of an earlier attempt, or of a
 * life that is over, changes nothing. Nobody waits for a request that was read back, so its result is kept.
 *
 * @module
 */
import type { DurableRecord, ServiceClass } from "../buffer/BufferEvent.ts"
import { unreachable } from "../collections/invariant.ts"
import type { Facts, Pending, State, Terminal } from "./RequestState.ts"

export const arrived = (facts: Facts): Pending => ({
  _tag: "Pending",
  arrived: facts.arrived,
  version: facts.version,
  tenant: facts.tenant,
  agedAtMs: facts.agedAtMs,
  audience: "claim",
  arrivedRecord: "stored",
  attempt: 0,
  notBeforeMs: 0,
  waitsAs: classOf(facts)
})

/** Without a clock nothing ages; the first tick after the recovery sees to that. */
const classOf = ({ arrived }: Facts): ServiceClass =>
  arrived.serviceClass === "opportunistic" ? "opportunistic" : "deadline"

/** `worker`: number of the row of the worker that a `RecordLeased` names; else not looked at. */
export const replay = (state: State, record: DurableRecord, worker: number): State => {
  if (state._tag === "Terminal") return record._tag === "RecordForgotten" ? { ...state, gone: true } : state
  const { arrived, version, tenant, agedAtMs, audience, arrivedRecord } = state
  switch (record._tag) {
    case "RecordArrived":
    case "RecordDetached":
      return state
    case "RecordLeased": {
      const { attempt, token, workerId } = record
      if (attempt <= state.attempt) return state
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
    case "RecordAttemptFailed": {
      const { attempt, notBeforeMs } = record
      if (attempt < state.attempt) return state
      const waitsAs = classOf(state)
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
    case "RecordEnded":
      return ended(state, record)
    // Forgotten without an end is a defect of the log's writer; whoever wrote it wanted it gone.
    case "RecordForgotten":
      return ended(state, { ...lost, sequence: arrived.sequence })
    default:
      return unreachable(record)
  }
}

const ended = (state: State, record: Extract<DurableRecord, { readonly _tag: "RecordEnded" }>): Terminal => ({
  _tag: "Terminal",
  arrived: state.arrived,
  version: state.version,
  tenant: state.tenant,
  agedAtMs: state.agedAtMs,
  audience: state.audience,
  arrivedRecord: state.arrivedRecord,
  attempt: state.attempt,
  terminal: record.terminal,
  reason: record.reason,
  message: record.message,
  partial: false,
  lease: null,
  endedAtMs: record.endedAtMs,
  resultKept: record.resultKept,
  resultBytes: record.resultBytes,
  keepUntilMs: record.keepUntilMs,
  endedRecord: "stored",
  told: true,
  gone: record.keepUntilMs <= record.endedAtMs
})

const lost = {
  _tag: "RecordEnded",
  terminal: "failed",
  reason: null,
  message: null,
  endedAtMs: 0,
  resultKept: false,
  resultBytes: 0,
  keepUntilMs: 0
} as const
