/**
 * One connection of a worker to a plane, whatever carries it. Implemented over WebSocket, gRPC and, for tests, memory.
 *
 * Order of calls: `connect` → `onConnected` once → `onMessage`* → `onClosed` once. A connection that fails early calls
 * only `onClosed`. Nothing is called before `connect` has returned, and nothing after `onClosed`.
 *
 * @module
 */
import type { RefusalKind } from "../protocol/MessagepackCodec.ts"
import type { ConnectOnceRequest, ConnectOnceResponse, FromWorker, ToWorker } from "../protocol/WorkerMessage.ts"

export interface TransportEvents {
  /**
   * The plane accepted the worker and has its `Ready`, or, when `workUrl` of the response is set, wants it there and this
   * connection is of no more use. `undefined` in answer to `open`.
   */
  readonly onConnected: (response: ConnectOnceResponse | undefined) => void
  readonly onMessage: (message: ToWorker) => void
  /** What was queued in the socket is gone: a `send` that answered false may go on. */
  readonly onDrain: () => void
  readonly onClosed: (info: ClosedInfo) => void
}

export interface ClosedInfo {
  readonly reason: string
  /** The plane said no to this worker, as opposed to a connection that broke. */
  readonly refusal?: RefusalKind
}

export interface WorkerConnection {
  /** Queues a message; false when more than `highWaterBytes` wait and the caller should pause its bodies. */
  readonly send: (message: FromWorker) => boolean
  /** Sends what is queued, then says goodbye: the plane sees a clean end. */
  readonly finish: () => void
  /** Ends it at once. */
  readonly destroy: (reason: string) => void
}

/** `open`: another address was told of in the answer to `ConnectOnce`, and this is the token it gave. */
export type Hello =
  | { readonly kind: "connect-once"; readonly request: ConnectOnceRequest }
  | { readonly kind: "open"; readonly token: string }

export interface ConnectOptions {
  readonly url: string
  readonly hello: Hello
  /** Called when the stream is open, to be sent first. */
  readonly ready: () => FromWorker
  /** Handshake included. */
  readonly timeoutMs: number
  readonly events: TransportEvents
}

export type Connect = (options: ConnectOptions) => WorkerConnection

export const highWaterBytes = 1024 * 1024
