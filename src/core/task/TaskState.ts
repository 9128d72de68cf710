/**
 * What is stored of a task: state, limits, and what its worker told last.
 *
 * Times in it are of the monotonic clock of the process that wrote it, and mean nothing to the next: `Task.recover` gives
 * fresh ones.
 *
 * @module
 */
import * as Schema from "effect/Schema"

const Ms = Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))
const PositiveMs = Schema.Finite.check(Schema.isGreaterThan(0))

export const Limits = Schema.Struct({
  /** Each stay in the queue, the first and those before a retry. */
  queueMsMax: PositiveMs,
  /** From its assignment to the first sign of life of its worker: the start of an instance is within. */
  startMsMax: PositiveMs,
  /** Of each attempt, from that first sign of life; null = no limit. */
  runMsMax: Schema.NullOr(PositiveMs),
  /** A worker that is silent for so long is lost. */
  heartbeatMsMax: PositiveMs,
  /** What a worker gets to stop by itself, from when it is asked. */
  stopGraceMs: Ms,
  maxAttempts: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100 })),
  /** Before the second attempt; doubled with each further one, up to `retryDelayMsMax`. */
  retryDelayMs: Ms,
  retryDelayMsMax: Ms
})
export type Limits = typeof Limits.Type

/** Where a result lies, never the result itself. */
export const Result = Schema.Struct({ reference: Schema.String, sizeBytes: Schema.Int })
export type Result = typeof Result.Type

export const End = Schema.TaggedUnion({
  Completed: { result: Result },
  /** `attempts`: how many were made. */
  Failed: { detail: Schema.String, attempts: Schema.Int },
  Cancelled: { detail: Schema.String },
  TimedOut: { of: Schema.Literals(["queue", "run"]), detail: Schema.String }
})
export type End = typeof End.Type

const common = {
  limits: Limits,
  /** Grows with each change that is stored. */
  revision: Schema.Int,
  /** Attempts so far, this one included. */
  attempt: Schema.Int,
  /** Fencing token of the latest attempt; 0 = there was none. An older one is stale. */
  token: Schema.Int,
  /** Of the latest attempt, 0 to 100. */
  percent: Schema.Int,
  message: Schema.String,
  /** Worker of an attempt that is over. It is told to end again after a crash, as nobody knows whether it was. */
  leaving: Schema.NullOr(Schema.Struct({ worker: Schema.String, token: Schema.Int, reason: Schema.String }))
}

export const State = Schema.TaggedUnion({
  Queued: {
    ...common,
    /** Not assigned before: a retry waits. */
    notBeforeMs: Schema.Finite,
    queueUntilMs: Schema.Finite,
    /** Why the attempt before failed; empty = there was none. */
    detail: Schema.String
  },
  /** Null: it counts from when this state is stored, as the order to begin leaves then. */
  Assigned: { ...common, worker: Schema.String, startUntilMs: Schema.NullOr(Schema.Finite) },
  Running: {
    ...common,
    worker: Schema.String,
    heardUntilMs: Schema.Finite,
    runUntilMs: Schema.NullOr(Schema.Finite)
  },
  /** Asked to stop. It ends as `end`, whatever its worker makes of it. `enforceAtMs`: null as in Assigned. */
  Stopping: { ...common, worker: Schema.String, end: End, enforceAtMs: Schema.NullOr(Schema.Finite) },
  Ended: { ...common, end: End }
})
export type State = typeof State.Type

export type Of<Tag extends State["_tag"]> = Extract<State, { readonly _tag: Tag }>

/** A worker has it. */
export type Held = Of<"Assigned" | "Running" | "Stopping">

export const isHeld = (state: State): state is Held => state._tag !== "Queued" && state._tag !== "Ended"
