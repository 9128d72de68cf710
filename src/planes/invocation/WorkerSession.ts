/**
 * The plane's end of one worker connection, whatever carries it (gRPC or WebSocket). The transports call `WorkerEvents`;
 * the shard owner answers with a sink per session.
 *
 * @module
 */
import type {
  ConnectOnceRequest,
  ConnectOnceResponse,
  FromWorker,
  ToWorker
} from "../../worker-sdk/protocol/WorkerMessage.ts"

export interface SessionIdentity {
  readonly instanceId: string
  readonly functionId: string
  readonly versionId: string
  readonly workerId: string
}

/** Given by the transport to the plane. */
export interface WorkerConnection {
  readonly identity: SessionIdentity
  /** False: the socket's buffer is above its mark; `onDrain` of the handler is called when it is below. */
  readonly send: (message: ToWorker) => boolean
  /** Ends the connection at once; `reason` goes to the peer and into the log. */
  readonly close: (reason: string) => void
}

/** Given by the plane to the transport, one per connection. */
export interface WorkerConnectionHandler {
  /**
   * One decoded message. A frame that cannot be decoded or breaks the protocol never gets here: the transport closes
   * that connection alone and calls `onClose`.
   */
  readonly onMessage: (message: FromWorker) => void
  readonly onDrain: () => void
  /** Exactly once, whatever ended it. `clean`: the worker said goodbye after draining. */
  readonly onClose: (info: { readonly clean: boolean; readonly reason: string }) => void
}

export type ConnectRefusal =
  | { readonly kind: "unauthenticated"; readonly message: string }
  | { readonly kind: "unknown-version"; readonly message: string }
  | { readonly kind: "unavailable"; readonly message: string }

/** What the invocation plane offers to the worker port. */
export interface WorkerHost {
  readonly connectOnce: (request: ConnectOnceRequest) => ConnectOnceResponse | ConnectRefusal
  /** A worker opened its stream with the token that `connectOnce` gave it. */
  readonly open: (
    token: string,
    connection: (identity: SessionIdentity) => WorkerConnection
  ) => WorkerConnectionHandler | ConnectRefusal
}
