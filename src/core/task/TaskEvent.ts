/**
 * What happens to a task, and what it orders.
 *
 * @module
 */
import * as Data from "effect/Data"
import type { End, Limits, Result, State } from "./TaskState.ts"

/** `token`: the fencing token that came with the assignment; an older one changes nothing. */
export type Event = Data.TaggedEnum<{
  /** There is a worker for it. Ask `isReady` first: one that is not ready takes none. */
  WorkerFound: { readonly nowMs: number; readonly worker: string }
  Heartbeat: { readonly nowMs: number; readonly token: number }
  /** A heartbeat too. `percent`: 0 to 100; lower than before, or no number, it changes nothing. */
  Progressed: {
    readonly nowMs: number
    readonly token: number
    readonly percent: number
    readonly message: string
  }
  Succeeded: { readonly nowMs: number; readonly token: number; readonly result: Result }
  Failed: {
    readonly nowMs: number
    readonly token: number
    readonly retryable: boolean
    readonly detail: string
  }
  /** Its instance ended, or it stopped as it was asked to. */
  WorkerGone: { readonly nowMs: number; readonly token: number; readonly detail: string }
  CancelRequested: { readonly nowMs: number; readonly detail: string }
  Ticked: { readonly nowMs: number }
  /** Answers to `Store`. */
  Stored: { readonly nowMs: number; readonly revision: number }
  /** It failed, or nobody knows whether it happened: it is ordered again, and twice does no harm. */
  NotStored: { readonly nowMs: number; readonly revision: number }
}>
export const Event = Data.taggedEnum<Event>()

export type Command = Data.TaggedEnum<{
  /** Put the whole state under the key of the task. One with a smaller revision must never overwrite a greater. */
  Store: { readonly state: State }
  /** Accepted, with these limits. */
  TellAccepted: { readonly limits: Limits }
  /** To begin. The same token again is the same order. */
  Assign: { readonly worker: string; readonly token: number; readonly attempt: number }
  /** To stop by itself, within the grace. The same token again is the same request. */
  AskStop: { readonly worker: string; readonly token: number; readonly reason: string; readonly graceMs: number }
  /** To end its instance, now: its attempt is over. */
  EndWorker: { readonly worker: string; readonly token: number; readonly reason: string }
  TellProgress: { readonly attempt: number; readonly percent: number; readonly message: string }
  TellEnded: { readonly end: End }
  /** Whoever works with this token works for nothing. */
  RejectStale: { readonly token: number }
}>
export const Command = Data.taggedEnum<Command>()
