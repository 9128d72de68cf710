/**
 * A request in each of its states, what can happen to it, and what it may order: for the tests of its machine.
 *
 * @module
 */
import { assert } from "vitest"
import type { Arrived, Command, RecordKind } from "../src/core/buffer/BufferEvent.ts"
import * as Request from "../src/core/request/Request.ts"
import type * as RequestState from "../src/core/request/RequestState.ts"
import { factsOf } from "../src/core/request/RequestState.ts"

export const limits: Request.Limits = { redeliveryDelayMs: 100, redeliveryDelayMaxMs: 1_000, resultRetentionMs: 60_000 }
export const arrived: Arrived = {
  _tag: "Arrived",
  nowMs: 10,
  sequence: 7,
  requestId: "r7",
  tenant: "t",
  version: "v",
  mode: "sync",
  durability: "accepted",
  deadlineMs: 5_000,
  sizeBytes: 3,
  maxAttempts: 3
}
export const factsWith = (more: Partial<Arrived> = {}, waitMaxMs?: number) =>
  factsOf({ ...arrived, ...more }, 1, 2, waitMaxMs)
export const facts = factsWith()

export const base = { ...facts, audience: "waiting", arrivedRecord: "stored", attempt: 1 } as const
export const lease = { token: 9, workerId: "w", worker: 4 } as const
export const pending: RequestState.Pending = {
  ...base,
  _tag: "Pending",
  attempt: 0,
  notBeforeMs: 0,
  waitsAs: "deadline"
}
export const leased: RequestState.Leased = { ...base, ...lease, _tag: "Leased" }
export const responding: RequestState.Responding = {
  ...base,
  ...lease,
  _tag: "Responding",
  shown: false,
  collecting: false
}
export const shown: RequestState.Responding = { ...responding, shown: true }
export const collecting: RequestState.Responding = { ...responding, audience: "claim", collecting: true }
export const terminal: RequestState.Terminal = {
  ...base,
  _tag: "Terminal",
  audience: "claim",
  terminal: "responded",
  reason: null,
  message: null,
  partial: false,
  lease: { token: 9, workerId: "w" },
  endedAtMs: 50,
  resultKept: true,
  resultBytes: 4,
  keepUntilMs: 60_050,
  endedRecord: "queued",
  told: false,
  gone: false
}
export const live = [pending, leased, responding, shown, collecting]

export const from = { sequence: 7, workerId: "w", token: 9, nowMs: 40 } as const
export const assigned: Request.Event = { _tag: "Assigned", token: 9, workerId: "w", worker: 4 }
export const started = { _tag: "ResponseStarted", ...from } as const satisfies Request.Event
export const responded = { _tag: "ResponseEnded", ...from, resultBytes: 4 } as const satisfies Request.Event
export const failed = (retryable: boolean): Request.Event => ({
  _tag: "AttemptFailed",
  ...from,
  retryable,
  message: "boom"
})
export const lost = (cancel: boolean): Request.Event => ({
  _tag: "AttemptLost",
  nowMs: 40,
  reason: "lease-expired",
  cancel
})
export const callerLeft = (cancel: boolean): Request.Event => ({ _tag: "CallerLeft", nowMs: 40, sequence: 7, cancel })
export const detached: Request.Event = { _tag: "Detached", nowMs: 40, sequence: 7 }
export const cancelRequested: Request.Event = { _tag: "CancelRequested", nowMs: 40, sequence: 7 }
export const removed: Request.Event = { _tag: "FunctionRemoved", nowMs: 40 }
export const ticked = (nowMs: number): Request.Event => ({ _tag: "Ticked", nowMs })
export const flushing = (kind: RecordKind): Request.Event => ({ _tag: "RecordFlushing", kind })
export const persisted = (kind: RecordKind): Request.Event => ({ _tag: "RecordPersisted", kind })
export const storeFailed = (kind: RecordKind, isUnknown = false): Request.Event => ({
  _tag: "RecordFailed",
  kind,
  nowMs: 40,
  isUnknown
})

export const append = (kind: RecordKind, record: object, urgent: boolean) => ({
  _tag: "Append",
  record,
  ref: { kind, sequence: 7 },
  urgent
})
export const order = (_tag: Command["_tag"], more: object = {}) => ({ _tag, sequence: 7, ...more })
export const cancelAttempt = (reason: string) => order("CancelAttempt", { workerId: "w", token: 9, reason })
export const collect = order("CollectResponse", { token: 9 })
export const release = order("ReleaseResponse", { token: 9 })
export const discard = order("DiscardResponse", { token: 9 })
export const tell = (as: string, reason: string | null, more: object = {}) =>
  order("TellEnded", { terminal: as, reason, message: null, partial: false, resultKept: false, ...more })
export const recordEnded = (as: string, reason: string | null, urgent: boolean, more: object = {}) =>
  append(
    "ended",
    {
      _tag: "RecordEnded",
      sequence: 7,
      terminal: as,
      reason,
      message: null,
      endedAtMs: 40,
      resultKept: false,
      resultBytes: 0,
      keepUntilMs: 40,
      ...more
    },
    urgent
  )
export const recordArrived = append("arrived", { _tag: "RecordArrived", arrived }, true)
export const refuse = (kept: "nothing" | "unknown") => order("Refuse", { refusal: { kind: "store-failed", kept } })
export const forget = order("Forget")

export const leads = (
  state: RequestState.State,
  event: Request.Event,
  next: object,
  orders: ReadonlyArray<object> = []
) => {
  const [after, commands] = Request.step(state, event, limits)
  assert.deepEqual<object>(commands, orders)
  assert.deepEqual<object>(after, next)
}
export const changesNothing = (event: Request.Event, ...states: ReadonlyArray<RequestState.State>) => {
  for (const state of states) {
    const [next, commands] = Request.step(state, event, limits)
    assert.strictEqual(next, state, `${event._tag} in ${state._tag}`)
    assert.deepStrictEqual(commands, [], `${event._tag} in ${state._tag}`)
  }
}
/** The end of a request that nobody keeps. */
export const over = (of: RequestState.State, as: string, reason: string | null, more: object = {}) => ({
  _tag: "Terminal",
  arrived: of.arrived,
  version: of.version,
  tenant: of.tenant,
  agedAtMs: of.agedAtMs,
  audience: "waiting",
  arrivedRecord: of.arrivedRecord,
  attempt: of.attempt,
  terminal: as,
  reason,
  message: null,
  partial: false,
  lease: null,
  endedAtMs: 40,
  resultKept: false,
  resultBytes: 0,
  keepUntilMs: 40,
  endedRecord: "none",
  told: true,
  gone: true,
  ...more
})
export const kept = {
  lease: { token: 9, workerId: "w" },
  keepUntilMs: 60_040,
  endedRecord: "queued",
  told: false,
  gone: false
}
