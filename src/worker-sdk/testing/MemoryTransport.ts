/**
 * A worker's connection without a network: the same frames, handed over in memory.
 *
 * Each message is encoded and decoded as on the wire, so what passes here passes there; delivery is in order and never
 * inside the call that sent it.
 *
 * @module
 */
import type { Connect, TransportEvents, WorkerConnection } from "../connection/WorkerTransport.ts"
import {
  decodeFromWorker,
  decodeToWorker,
  type FrameFromWorker,
  type FrameToWorker,
  writeFromWorker,
  writeToWorker
} from "../protocol/MessagepackCodec.ts"
import { MessagepackWriter } from "../protocol/MessagepackWriter.ts"
import type { ConnectOnceResponse, FromWorker, ToWorker } from "../protocol/WorkerMessage.ts"

export interface MemoryPlane {
  readonly response: ConnectOnceResponse
  /** A worker connected; `send` and `disconnect` are the plane's end. */
  readonly onConnect: (connection: PlaneEnd) => void
  readonly onMessage: (message: FromWorker) => void
  readonly onClosed: (clean: boolean) => void
}

export interface PlaneEnd {
  readonly send: (message: ToWorker) => void
  /** Breaks the connection: both ends see it gone, and what was under way is lost. */
  readonly disconnect: () => void
}

const writer = new MessagepackWriter()

const throughWire = <In, Out>(
  message: In,
  write: (writer: MessagepackWriter, message: In) => void,
  decode: (bytes: Uint8Array) => ReadonlyArray<Out> | { readonly _tag: "MalformedFrame"; readonly reason: string }
): Out => {
  writer.begin(0)
  write(writer, message)
  const decoded = decode(writer.finish())
  const first = "_tag" in decoded ? undefined : decoded[0]
  if (first === undefined) throw new Error(`the codec does not read what it wrote: ${JSON.stringify(message)}`)
  return first
}

const toPlane = (message: FrameFromWorker): FrameFromWorker =>
  throughWire(message, writeFromWorker, (bytes) => decodeFromWorker(bytes))

const toWorker = (message: FrameToWorker): FrameToWorker =>
  throughWire(message, writeToWorker, (bytes) => decodeToWorker(bytes))

export const connectMemory =
  (plane: MemoryPlane): Connect =>
  ({ hello, ready, events }) => {
    if (hello.kind === "connect-once") toPlane({ _tag: "ConnectOnce", request: hello.request })
    return new MemoryConnection(plane, events, ready)
  }

class MemoryConnection implements WorkerConnection {
  private readonly plane: MemoryPlane
  private readonly events: TransportEvents
  private isClosed = false

  constructor(plane: MemoryPlane, events: TransportEvents, ready: () => FromWorker) {
    this.plane = plane
    this.events = events
    this.later(() => {
      plane.onConnect({ send: (message) => this.deliver(message), disconnect: () => this.destroy("disconnected") })
      events.onConnected(plane.response)
    })
    this.later(() => this.receive(ready()))
  }

  private later(run: () => void): void {
    setImmediate(() => {
      if (!this.isClosed) run()
    })
  }

  private receive(message: FromWorker): void {
    const decoded = toPlane(message)
    if (decoded._tag !== "ConnectOnce" && decoded._tag !== "Open") this.plane.onMessage(decoded)
  }

  private deliver(message: ToWorker): void {
    const decoded = toWorker(message)
    if (decoded._tag === "Connected" || decoded._tag === "Opened" || decoded._tag === "Refused") return
    this.later(() => this.events.onMessage(decoded))
  }

  send(message: FromWorker): boolean {
    this.later(() => this.receive(message))
    return true
  }

  finish(): void {
    this.later(() => this.close(true, "drained"))
  }

  destroy(reason: string): void {
    if (!this.isClosed) this.close(false, reason)
  }

  private close(clean: boolean, reason: string): void {
    this.isClosed = true
    setImmediate(() => {
      this.plane.onClosed(clean)
      this.events.onClosed({ reason })
    })
  }
}
