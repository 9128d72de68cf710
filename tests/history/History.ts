/**
 * What was seen from outside while Millrace ran: by callers, by the functions that did the work, and by whoever killed
 * processes. The checker reads nothing else.
 *
 * Entries stand in the order of `atMs`, milliseconds on one clock that all observers share. An *item* is one piece of
 * work as its caller means it: a retry with the same idempotency key is another call for the same item. A *run* is one
 * execution of the function's code, named by itself. A *plane* is one life of the platform process.
 *
 * @module
 */

/** What a function answers about itself, so that every answer tells where it comes from. */
export interface Answer {
  readonly item: string
  readonly requestId: string
  readonly tenant: string
  readonly token: number
  readonly run: string
  /** Of the whole body. */
  readonly digest: string
}

export type Terminal = "failed" | "expired" | "cancelled" | "dead-lettered"

/** A caller sends a call. */
export interface Called {
  readonly _tag: "Called"
  readonly atMs: number
  /** Unique over the history. */
  readonly call: string
  readonly tenant: string
  readonly item: string
  /** Digest of what was sent. */
  readonly body: string
  readonly key: string | undefined
  /** Requests of one lane and tenant start in the order in which they were accepted; undefined: no order is promised. */
  readonly lane: string | undefined
  readonly deadlineAtMs: number | undefined
}

/** What a call came to; exactly one of these for each call. */
export type Outcome =
  /** Told that nothing was enqueued. */
  | { readonly _tag: "Refused"; readonly atMs: number; readonly call: string; readonly status: number }
  /** 202. */
  | { readonly _tag: "Accepted"; readonly atMs: number; readonly call: string; readonly requestId: string }
  | {
      readonly _tag: "Answered"
      readonly atMs: number
      readonly call: string
      readonly requestId: string
      readonly answer: Answer
    }
  /** Told that the request ended without an answer. */
  | {
      readonly _tag: "Ended"
      readonly atMs: number
      readonly call: string
      readonly requestId: string
      readonly terminal: Terminal
    }
  /** The connection was gone first, or the caller left: it may have been enqueued or not. */
  | { readonly _tag: "Unknown"; readonly atMs: number; readonly call: string }

/** The function's code begins: an attempt was delivered. */
export interface Attempted {
  readonly _tag: "Attempted"
  readonly atMs: number
  readonly run: string
  readonly item: string
  /** Digest of what was received. */
  readonly body: string
  readonly requestId: string
  readonly tenant: string
  readonly attempt: number
  readonly token: number
  readonly plane: string
}

/** The run did what it is for, and gives this answer. */
export interface Effected {
  readonly _tag: "Effected"
  readonly atMs: number
  readonly run: string
  readonly digest: string
}

/** A worker sent an answer under this token; `taken`: the plane let it count. */
export interface Settled {
  readonly _tag: "Settled"
  readonly atMs: number
  readonly requestId: string
  readonly token: number
  readonly taken: boolean
}

export type ClaimResult =
  | { readonly kind: "answer"; readonly answer: Answer }
  | { readonly kind: "ended"; readonly terminal: Terminal }
  | { readonly kind: "pending" }
  /** Millrace knows no such request, or says that its result is gone. */
  | { readonly kind: "absent" }

/** Somebody asks for the result of a request by its id. */
export interface Claimed {
  readonly _tag: "Claimed"
  readonly atMs: number
  readonly tenant: string
  readonly requestId: string
  readonly result: ClaimResult
}

/** The platform process was killed, and what was not on disk is gone. */
export interface Crashed {
  readonly _tag: "Crashed"
  readonly atMs: number
}

export type Entry = Called | Outcome | Attempted | Effected | Settled | Claimed | Crashed
export type History = ReadonlyArray<Entry>
