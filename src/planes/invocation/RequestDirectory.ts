/**
 * What the invocation plane can tell about requests: for the control API, the CLI and the live view.
 *
 * @module
 */
import type { Reason, Terminal } from "../../core/buffer/BufferEvent.ts"

/** Milliseconds by phase; `undefined` where the phase did not occur or is not known. They add up to the wall time. */
export interface ReceiptPhases {
  readonly admit?: number
  readonly store?: number
  readonly queue?: number
  /** Demand to placement decided. */
  readonly place?: number
  /** Start order to ready, in total; the parts are below. */
  readonly start?: number
  readonly startImage?: number
  readonly startWeights?: number
  readonly startProcess?: number
  readonly startInitialise?: number
  readonly startConnect?: number
  readonly dispatch?: number
  readonly run?: number
  readonly platform?: number
}

export interface RequestView {
  readonly requestId: string
  readonly tenant: string
  readonly functionId: string
  readonly functionName: string
  readonly versionId: string
  readonly method: string
  readonly path: string
  readonly mode: "sync" | "async"
  readonly durability: "accepted" | "always" | "memory"
  readonly state: "pending" | "leased" | "responding" | Terminal
  /** 0 = never leased. */
  readonly attempt: number
  readonly maxAttempts: number
  /** Unix ms. */
  readonly arrivedAtMs: number
  readonly deadlineMs: number
  readonly endedAtMs: number | null
  /** Until then its result, or how it ended, can be claimed; null where it has not ended, or nothing is kept. */
  readonly keepUntilMs: number | null
  /** Requests of the same version before it; null when it does not wait. */
  readonly position: number | null
  /** A sentence: why it waits, or what became of it. */
  readonly cause: string
  readonly reason: Reason | null
  readonly message: string | null
  readonly instanceId: string | null
  readonly stored: boolean
  readonly resultKept: boolean
  readonly progress: { readonly percent: number; readonly note: string } | null
  readonly phases: ReceiptPhases
  /** What happened, oldest first; bounded. */
  readonly history: ReadonlyArray<{ readonly atMs: number; readonly what: string }>
  /** Id of the request whose dead letter it replays. */
  readonly replayOf: string | null
}

export interface RequestFilter {
  readonly tenant?: string
  readonly functionId?: string
  readonly versionId?: string
  readonly state?: RequestView["state"]
  /** At most 1000. */
  readonly limit: number
}

export interface BacklogFigures {
  readonly versionId: string
  readonly pending: number
  readonly leased: number
  readonly freeSlots: number
  readonly oldestPendingMs: number | null
}

export interface RequestDirectory {
  /** Newest first: all that live, and the ones that ended lately (bounded). */
  readonly list: (filter: RequestFilter) => ReadonlyArray<RequestView>
  readonly get: (requestId: string) => RequestView | undefined
  /** `ended`: too late, it had ended before. */
  readonly cancel: (requestId: string) => "cancelled" | "ended" | "unknown"
  readonly backlog: () => ReadonlyArray<BacklogFigures>
  /** Messages of workers about a lease that was over: refused, since this process started. */
  readonly staleMessagesRefused: () => number
}
