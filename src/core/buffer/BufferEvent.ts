/**
 * What a shard's buffer machine is told (events) and what it orders (commands).
 *
 * Time: every `nowMs`, `deadlineMs` and `...AtMs` is on the shard's own clock, in milliseconds: it starts at the
 * wall time of the process start and from then on only follows the monotonic clock, so a wall-clock jump moves
 * nothing and a deadline still means something after a restart.
 *
 * Requests are known to the machine by their `sequence`, a number that strictly grows within one shard. Bodies and
 * heads never enter the machine: it holds sizes.
 *
 * @module
 */

/** How much is written before what is told; design: durability of a function version. */
export type Durability = "accepted" | "always" | "memory"

/**
 * `sync`: a caller waits on the connection. `async`: the caller wants a 202 at once and claims the result later.
 */
export type Mode = "sync" | "async"

/**
 * Who goes first: an `opportunistic` request is leased only when no `deadline` request of its version can be. Within a
 * class tenants take turns. See `opportunisticWaitMaxMs` of the options.
 */
export type ServiceClass = "deadline" | "opportunistic"

/** Why a request ended; exactly one of these for every accepted request (P1). */
export type Terminal = "responded" | "failed" | "expired" | "cancelled" | "dead-lettered"

/** Why an attempt or a request was cut short, as told to workers, callers and people. */
export type Reason =
  | "caller-cancelled"
  | "caller-left"
  | "deadline-passed"
  | "worker-lost"
  | "lease-expired"
  | "handler-failed"
  | "attempts-exhausted"
  | "function-removed"
  | "store-failed"

export interface Arrived {
  readonly _tag: "Arrived"
  readonly nowMs: number
  /** Must exceed every earlier one of this shard; anything else is refused as `duplicate-sequence`. */
  readonly sequence: number
  readonly requestId: string
  readonly tenant: string
  /** Function version id: the unit that workers serve and that demand is counted for. */
  readonly version: string
  readonly mode: Mode
  readonly durability: Durability
  readonly deadlineMs: number
  /** Body plus head, in bytes, as counted against the capacity. */
  readonly sizeBytes: number
  readonly maxAttempts: number
  /** Default: `deadline`. */
  readonly serviceClass?: ServiceClass
  /** Scoped by tenant and version. */
  readonly idempotencyKey?: string
  /** Digest of method, path and body; compared when the same key comes again. */
  readonly fingerprint?: string
  /** How long its kept result can be claimed after the end; else that of the options. */
  readonly resultRetentionMs?: number
  /** Backoff of its own, else that of the options. `seed`: 0 to 2^32 - 1, spreads the delays of different requests. */
  readonly redelivery?: { readonly delayMs: number; readonly delayMaxMs: number; readonly seed: number }
}

/** The log says these records are on stable storage. */
export interface Persisted {
  readonly _tag: "Persisted"
  readonly nowMs: number
  readonly records: ReadonlyArray<RecordRef>
}

/**
 * The write of these records failed for certain (`failed`), or nobody can tell (`unknown`): the store is not used any
 * more. `refused`: the disk had no room for these and takes others; only arrivals are given up for that.
 */
export interface PersistFailed {
  readonly _tag: "PersistFailed"
  readonly nowMs: number
  readonly records: ReadonlyArray<RecordRef>
  readonly outcome: "failed" | "unknown" | "refused"
}

/** The shell handed these records to the log: from now on a `DropAppend` comes too late. */
export interface FlushStarted {
  readonly _tag: "FlushStarted"
  /** Nothing about it depends on the time. */
  readonly nowMs?: never
  readonly records: ReadonlyArray<RecordRef>
}

export type RecordKind = "arrived" | "leased" | "attempt-failed" | "ended" | "forgotten" | "detached"

export interface RecordRef {
  readonly kind: RecordKind
  readonly sequence: number
}

export interface WorkerJoined {
  readonly _tag: "WorkerJoined"
  readonly nowMs: number
  readonly workerId: string
  readonly instanceId: string
  readonly version: string
  /** Requests that it takes at a time, at least 1. */
  readonly slots: number
  /** What it still holds after a reconnect; everything else that the machine thinks it holds is lost. */
  readonly holds: ReadonlyArray<{ readonly sequence: number; readonly token: number }>
}

/** A heartbeat or any message of this worker: all its leases live on for another visibility timeout. */
export interface WorkerHeard {
  readonly _tag: "WorkerHeard"
  readonly nowMs: number
  readonly workerId: string
}

/** It finishes what it holds and takes nothing new. */
export interface WorkerDraining {
  readonly _tag: "WorkerDraining"
  readonly nowMs: number
  readonly workerId: string
}

/** The connection is gone; the worker may come back within its leases. */
export interface WorkerDisconnected {
  readonly _tag: "WorkerDisconnected"
  readonly nowMs: number
  readonly workerId: string
}

/** The instance is known to have ended, or left on purpose: its leases are over now. */
export interface WorkerLost {
  readonly _tag: "WorkerLost"
  readonly nowMs: number
  readonly workerId: string
}

/** Status line and headers of the answer are here. */
export interface ResponseStarted {
  readonly _tag: "ResponseStarted"
  readonly nowMs: number
  readonly sequence: number
  readonly workerId: string
  readonly token: number
}

/** Bytes of a collected answer were shown to a reader of the stream: no other attempt may follow (L9). */
export interface ResponseShown {
  readonly _tag: "ResponseShown"
  readonly nowMs: number
  readonly sequence: number
  readonly token: number
}

/** The answer is complete. `resultBytes`: size of what would be kept. */
export interface ResponseEnded {
  readonly _tag: "ResponseEnded"
  readonly nowMs: number
  readonly sequence: number
  readonly workerId: string
  readonly token: number
  readonly resultBytes: number
}

export interface AttemptFailed {
  readonly _tag: "AttemptFailed"
  readonly nowMs: number
  readonly sequence: number
  readonly workerId: string
  readonly token: number
  /** False for a handler that threw: running it again is the caller's choice, not ours. */
  readonly retryable: boolean
  /** For people; bounded by the shell. */
  readonly message: string
}

/** The connection of the waiting caller is gone. */
export interface CallerLeft {
  readonly _tag: "CallerLeft"
  readonly nowMs: number
  readonly sequence: number
  /** The caller asked for `cancel on disconnect`. */
  readonly cancel: boolean
}

/** The caller's wait is over but not its interest (202 after the poll time): the result must be kept. */
export interface Detached {
  readonly _tag: "Detached"
  readonly nowMs: number
  readonly sequence: number
}

export interface CancelRequested {
  readonly _tag: "CancelRequested"
  readonly nowMs: number
  readonly sequence: number
}

/** Nothing serves this version any more (undeployed, deleted): everything of it ends with `function-removed`. */
export interface VersionRemoved {
  readonly _tag: "VersionRemoved"
  readonly nowMs: number
  readonly version: string
}

/** Time passed; see `nextDueMs`. */
export interface Ticked {
  readonly _tag: "Ticked"
  readonly nowMs: number
}

/**
 * Live again after a restart, once every record was replayed. No worker is connected yet; leases get a fresh deadline.
 * `epoch` of the shard's ownership: fencing tokens of earlier owners stay lower than every new one.
 */
export interface Recovered {
  readonly _tag: "Recovered"
  readonly nowMs: number
  readonly epoch: number
}

/**
 * One durable fact of the log, replayed in order through `step`. A live machine emits them in `Append` commands.
 * Every record stands alone: replay needs no worker events.
 */
export type DurableRecord =
  | { readonly _tag: "RecordArrived"; readonly arrived: Arrived }
  | {
      readonly _tag: "RecordLeased"
      readonly sequence: number
      readonly attempt: number
      readonly token: number
      readonly workerId: string
    }
  | {
      readonly _tag: "RecordAttemptFailed"
      readonly sequence: number
      readonly attempt: number
      readonly notBeforeMs: number
    }
  /** The result must be kept for a later claim. */
  | { readonly _tag: "RecordDetached"; readonly sequence: number }
  | {
      readonly _tag: "RecordEnded"
      readonly sequence: number
      readonly terminal: Terminal
      readonly reason: Reason | null
      readonly message: string | null
      readonly endedAtMs: number
      /** The shell stores head and body beside this record. */
      readonly resultKept: boolean
      readonly resultBytes: number
      readonly keepUntilMs: number
    }
  | { readonly _tag: "RecordForgotten"; readonly sequence: number }

export interface Replayed {
  readonly _tag: "Replayed"
  /** Nothing about it depends on the time. */
  readonly nowMs?: never
  readonly record: DurableRecord
}

export type Event =
  | Arrived
  | Persisted
  | PersistFailed
  | FlushStarted
  | WorkerJoined
  | WorkerHeard
  | WorkerDraining
  | WorkerDisconnected
  | WorkerLost
  | ResponseStarted
  | ResponseShown
  | ResponseEnded
  | AttemptFailed
  | CallerLeft
  | Detached
  | CancelRequested
  | VersionRemoved
  | Ticked
  | Recovered
  | Replayed

export type Refusal =
  /** Capacity by count or bytes: 429 with Retry-After, nothing was stored. */
  | { readonly kind: "queue-full"; readonly limit: "count" | "bytes"; readonly retryAfterMs: number }
  /** The share of this tenant in the same, while there is room for others: 429 with Retry-After, nothing was stored. */
  | { readonly kind: "tenant-full"; readonly limit: "count" | "bytes"; readonly retryAfterMs: number }
  /** The same key with another body: 409. */
  | { readonly kind: "idempotency-conflict"; readonly sequence: number }
  /** The deadline had passed before it came: 504. */
  | { readonly kind: "deadline-passed" }
  /** A defect of the shell. */
  | { readonly kind: "duplicate-sequence" }
  /**
   * The store failed: nothing is accepted until a restart. 503. `nothing` was kept of it; or it is `unknown` whether it
   * was: after the restart it may be there, and run.
   */
  | { readonly kind: "store-failed"; readonly kept: "nothing" | "unknown" }

export type Command =
  /** Not accepted; nothing is kept of it. */
  | { readonly _tag: "Refuse"; readonly sequence: number; readonly refusal: Refusal }
  /**
   * A retry with a known key: the caller of `sequence` gets what the request `original` gets (or already got:
   * `ended`). `sequence` itself never becomes a request.
   */
  | { readonly _tag: "Join"; readonly sequence: number; readonly original: number; readonly ended: boolean }
  /** Put the record into the next batch; `urgent`: somebody waits for it, so start the batch now. */
  | { readonly _tag: "Append"; readonly record: DurableRecord; readonly ref: RecordRef; readonly urgent: boolean }
  /** Take every record of this request out of the batch that has not started. */
  | { readonly _tag: "DropAppend"; readonly sequence: number }
  /** It is on stable storage: an async caller may hear 202, and a stored request survives everything from here. */
  | { readonly _tag: "TellAccepted"; readonly sequence: number }
  /** Send head and body to the worker. */
  | {
      readonly _tag: "Assign"
      readonly sequence: number
      readonly workerId: string
      readonly token: number
      readonly attempt: number
      readonly deadlineMs: number
    }
  /** Tell the worker to stop: whatever it still sends for this token is refused. */
  | {
      readonly _tag: "CancelAttempt"
      readonly sequence: number
      readonly workerId: string
      readonly token: number
      readonly reason: Reason
    }
  /** Bytes of this attempt may go to the waiting caller from now on (head first, then chunks as they come). */
  | { readonly _tag: "ReleaseResponse"; readonly sequence: number; readonly token: number }
  /** Collect the bytes of this attempt, show them to nobody: they become the stored result. */
  | { readonly _tag: "CollectResponse"; readonly sequence: number; readonly token: number }
  /** The attempt whose bytes were collected is void: throw them away. */
  | { readonly _tag: "DiscardResponse"; readonly sequence: number; readonly token: number }
  /**
   * The request ended and may be told: everything that had to be on disk first is there.
   * `partial`: bytes were already shown, so the stream can only be broken off.
   */
  | {
      readonly _tag: "TellEnded"
      readonly sequence: number
      readonly terminal: Terminal
      readonly reason: Reason | null
      readonly message: string | null
      readonly partial: boolean
      readonly resultKept: boolean
    }
  /** A late or foreign message of a worker: it changed nothing. Counted. */
  | {
      readonly _tag: "RejectStale"
      readonly sequence: number
      readonly workerId: string
      readonly token: number
      readonly event: string
    }
  /** The retention of a result is over, or the request is gone without one: drop payload and index. */
  | { readonly _tag: "Forget"; readonly sequence: number }
  /** Figures of this version changed; `urgent`: a request waits and no slot is free, so decide in this turn. */
  | { readonly _tag: "DemandChanged"; readonly version: string; readonly urgent: boolean }
