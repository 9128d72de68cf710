/**
 * `millrace.worker.v1.WorkerService` as values: what travels on a work stream, whatever carries it.
 *
 * - A worker first calls `ConnectOnce` (unary on gRPC; over WebSocket the first exchange on the connection), then opens
 *   one `Work` stream and keeps it. Everything below goes over that stream.
 * - Per request, the plane sends `Assign`, then `BodyChunk`* and `BodyEnd` unless the body came whole inside `Assign`;
 *   the worker answers `ResponseHead`, `ResponseChunk`*, `ResponseEnd`. A small answer comes whole: `ResponseHead` with
 *   `body` and `end: true`, so a small call costs one message each way.
 * - Each message about a request carries its fencing token; a message with another token is refused.
 * - Byte credit, per request and direction: a side may have `initialCreditBytes` of chunk bytes unacknowledged; the
 *   receiver returns credit with `Credit` as it consumes. Bytes inside `Assign.body` and `ResponseHead.body` are free.
 * - Heartbeats both ways each `heartbeatMs`; three missed and the peer is gone.
 *
 * This module and everything the SDK loads at start must stay free of heavy imports: it is on the cold-start path.
 *
 * @module
 */

export type HeaderList = ReadonlyArray<readonly [name: string, value: string]>

/** What the caller asked, less what is hop-by-hop. */
export interface RequestHead {
  readonly method: string
  /** Path and query, begins with `/`. */
  readonly path: string
  /** Names in lower case; repeated headers as repeated entries. */
  readonly headers: HeaderList
}

export interface ConnectOnceRequest {
  readonly instanceId: string
  readonly functionId: string
  readonly versionId: string
  readonly token: string
  /** Unique per start of the SDK in the instance; stays the same over reconnects. */
  readonly workerId: string
  readonly sdk: string
}

export interface ConnectOnceResponse {
  readonly region: string
  readonly otherRegions: ReadonlyArray<string>
  /** Where to open the `Work` stream; empty = here. */
  readonly workUrl: string
  readonly heartbeatMs: number
  readonly visibilityTimeoutMs: number
  readonly initialCreditBytes: number
  /** Replaces the token of the call; same rights. */
  readonly token: string
  readonly tokenExpiresAtMs: number
  /** The plane's clock as it answered, Unix ms: deadlines are by it. 0: it does not say, take your own. */
  readonly nowMs: number
}

/** Milliseconds of each start phase, as far as the worker knows them; part of the receipt. */
export interface StartPhases {
  /** Process spawn to the first line of the SDK. */
  readonly processMs: number
  /** First line of the SDK to `serve` called: the handler's own imports and set-up. */
  readonly initialiseMs: number
  /** `serve` to the stream being open. */
  readonly connectMs: number
}

export type FromWorker =
  | {
      readonly _tag: "Ready"
      readonly slots: number
      readonly phases: StartPhases
      /** Requests still held after a reconnect. */
      readonly holds: ReadonlyArray<{ readonly requestId: string; readonly token: number }>
    }
  | {
      readonly _tag: "ResponseHead"
      readonly requestId: string
      readonly token: number
      readonly status: number
      readonly headers: HeaderList
      readonly body: Uint8Array
      /** The whole answer is in this message. */
      readonly end: boolean
    }
  | { readonly _tag: "ResponseChunk"; readonly requestId: string; readonly token: number; readonly bytes: Uint8Array }
  | { readonly _tag: "ResponseEnd"; readonly requestId: string; readonly token: number }
  | {
      readonly _tag: "Failed"
      readonly requestId: string
      readonly token: number
      readonly retryable: boolean
      readonly message: string
    }
  | {
      readonly _tag: "Progress"
      readonly requestId: string
      readonly token: number
      /** 0 to 100. */
      readonly percent: number
      readonly note: string
    }
  /** Body bytes of this request were consumed: that many more may come. */
  | { readonly _tag: "Credit"; readonly requestId: string; readonly token: number; readonly bytes: number }
  /** Takes nothing new from here; leaves when its requests are done. */
  | { readonly _tag: "Draining" }
  | { readonly _tag: "Heartbeat" }

export type ToWorker =
  | {
      readonly _tag: "Assign"
      readonly requestId: string
      readonly token: number
      readonly attempt: number
      /** Unix time in milliseconds; 0 = none. */
      readonly deadlineMs: number
      readonly tenant: string
      readonly head: RequestHead
      readonly body: Uint8Array
      /** The whole body is in this message. */
      readonly bodyEnd: boolean
    }
  | { readonly _tag: "BodyChunk"; readonly requestId: string; readonly token: number; readonly bytes: Uint8Array }
  | { readonly _tag: "BodyEnd"; readonly requestId: string; readonly token: number }
  | { readonly _tag: "Cancel"; readonly requestId: string; readonly token: number; readonly reason: string }
  | { readonly _tag: "Credit"; readonly requestId: string; readonly token: number; readonly bytes: number }
  /** Finish what you hold, then close the stream and exit. */
  | { readonly _tag: "Drain"; readonly reason: string }
  | { readonly _tag: "Heartbeat" }

/** A whole message may not exceed this; larger bodies travel as chunks of at most `chunkBytesMax`. */
export const messageBytesMax = 1024 * 1024
export const chunkBytesMax = 64 * 1024
/** Bodies up to this size travel inside `Assign` and `ResponseHead`. */
export const inlineBodyBytesMax = 64 * 1024
export const initialCreditBytes = 1024 * 1024
