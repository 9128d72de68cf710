/**
 * Workers over gRPC: `millrace.worker.v1.WorkerService` on connections that the worker port passes in.
 *
 * @module
 */
import type { Duplex } from "node:stream"
import * as Grpc from "@grpc/grpc-js"
import * as Codec from "../../../worker-sdk/protocol/ProtobufCodec.ts"
import type { ConnectOnceRequest, ConnectOnceResponse, ToWorker } from "../../../worker-sdk/protocol/WorkerMessage.ts"
import type { ConnectRefusal } from "../WorkerSession.ts"
import type { CarrierOptions } from "./WebSocketCarrier.ts"
import { type Carrier, WorkerPeer } from "./WorkerPeer.ts"

type Decoded<Message> = Message | (ReturnType<typeof Codec.decodeFromWorker> & { readonly _tag: "MalformedFrame" })
type FromWorkerOrFault = ReturnType<typeof Codec.decodeFromWorker>
type WorkStream = Grpc.ServerDuplexStream<FromWorkerOrFault, Buffer>

const asIs = (bytes: Buffer): Buffer => bytes

const service = {
  ConnectOnce: {
    path: `${Codec.servicePath}ConnectOnce`,
    requestStream: false,
    responseStream: false,
    requestSerialize: Codec.encodeConnectOnceRequest,
    requestDeserialize: Codec.decodeConnectOnceRequest,
    responseSerialize: Codec.encodeConnectOnceResponse,
    responseDeserialize: Codec.decodeConnectOnceResponse
  },
  Work: {
    path: `${Codec.servicePath}Work`,
    requestStream: true,
    responseStream: true,
    requestSerialize: asIs,
    requestDeserialize: Codec.decodeFromWorker,
    responseSerialize: asIs,
    responseDeserialize: Codec.decodeToWorker
  }
}

const statusOf = (refusal: ConnectRefusal): { readonly code: Grpc.status; readonly details: string } => ({
  code: {
    unauthenticated: Grpc.status.UNAUTHENTICATED,
    "unknown-version": Grpc.status.NOT_FOUND,
    unavailable: Grpc.status.UNAVAILABLE
  }[refusal.kind],
  details: refusal.message
})

const tokenOf = (metadata: Grpc.Metadata): string => {
  const value = metadata.get("authorization")[0]
  return typeof value === "string" && value.startsWith("Bearer ") ? value.slice("Bearer ".length) : ""
}

class GrpcPeer implements Carrier {
  private readonly stream: WorkStream
  private readonly handshake: NodeJS.Timeout
  private peer: WorkerPeer | undefined
  private isEnding = false
  private waiting = 0

  constructor(stream: WorkStream, options: CarrierOptions) {
    this.stream = stream
    this.handshake = setTimeout(() => this.fault("no Ready in time"), options.handshakeMs).unref()
    const handler = options.workers.open(tokenOf(stream.metadata), (identity) => {
      this.peer = new WorkerPeer(identity, this, options.heartbeatMs)
      return this.peer
    })
    stream.on("error", () => this.gone(false, "the stream broke"))
    if ("kind" in handler) {
      this.peer = undefined
      this.finish(statusOf(handler))
      return
    }
    this.peer?.attach(handler)
    stream.sendMetadata(new Grpc.Metadata())
    stream.on("data", (message: FromWorkerOrFault) => this.onMessage(message))
    stream.on("end", () => this.gone(true, "the worker ended its stream"))
    stream.on("cancelled", () => this.gone(false, "connection closed"))
  }

  private onMessage(message: FromWorkerOrFault): void {
    if (this.isEnding) return
    if (message._tag === "MalformedFrame") return this.fault(message.reason)
    if (message._tag === "Ready") clearTimeout(this.handshake)
    this.peer?.receive(message)
  }

  private fault(reason: string): void {
    if (this.peer === undefined) this.close("fault", reason)
    else this.peer.fault(reason)
  }

  private gone(goodbye: boolean, reason: string): void {
    clearTimeout(this.handshake)
    if (!this.isEnding) {
      this.isEnding = true
      this.stream.end()
    }
    this.peer?.onCarrierClosed({ goodbye, reason })
  }

  private finish(status: { readonly code: Grpc.status; readonly details: string }): void {
    clearTimeout(this.handshake)
    this.isEnding = true
    // How a gRPC stream ends with a status: grpc-js sends it and closes.
    this.stream.emit("error", status)
  }

  send(message: ToWorker): void {
    if (this.isEnding) return
    const bytes = Codec.encodeToWorker(message)
    this.waiting += bytes.length
    this.stream.write(bytes, () => {
      this.waiting -= bytes.length
      this.peer?.onCarrierDrain()
    })
  }

  waitingBytes(): number {
    return this.waiting
  }

  close(kind: "fault" | "ended", reason: string): void {
    if (this.isEnding) return
    const code = kind === "fault" ? Grpc.status.INVALID_ARGUMENT : Grpc.status.ABORTED
    this.finish({ code, details: reason })
    setImmediate(() => this.gone(false, reason))
  }
}

const connectOnce =
  (options: CarrierOptions) =>
  (
    call: Grpc.ServerUnaryCall<Decoded<ConnectOnceRequest>, ConnectOnceResponse>,
    answer: Grpc.sendUnaryData<ConnectOnceResponse>
  ): void => {
    const { request } = call
    if ("_tag" in request) return answer({ code: Grpc.status.INVALID_ARGUMENT, details: request.reason })
    const response = options.workers.connectOnce(request)
    if ("kind" in response) answer(statusOf(response))
    else answer(null, response)
  }

/** Serves the connections that it is given; does not listen itself. */
export const makeGrpcPort = (
  options: CarrierOptions
): { readonly accept: (socket: Duplex) => void; readonly close: () => void } => {
  const server = new Grpc.Server({
    "grpc.max_receive_message_length": Codec.wireBytesMax,
    "grpc.max_send_message_length": Codec.wireBytesMax,
    // One worker, one stream; a few more for its unary calls and reconnects.
    "grpc.max_concurrent_streams": 16,
    "grpc.max_connection_idle_ms": 6 * options.handshakeMs
  })
  server.addService(service, {
    ConnectOnce: connectOnce(options),
    Work: (stream: WorkStream) => void new GrpcPeer(stream, options)
  })
  const injector = server.createConnectionInjector(Grpc.ServerCredentials.createInsecure())
  return {
    accept: (socket) => injector.injectConnection(socket),
    close: () => {
      injector.destroy()
      server.forceShutdown()
    }
  }
}
