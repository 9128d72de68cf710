/**
 * A worker's connection over gRPC: `ConnectOnce` as a unary call, then one `Work` stream, both on one HTTP/2 connection
 * of its own. Reconnecting is the worker's business, so each connection is a new channel.
 *
 * @module
 */
import * as Grpc from "@grpc/grpc-js"
import type { RefusalKind } from "../protocol/MessagepackCodec.ts"
import * as Codec from "../protocol/ProtobufCodec.ts"
import type { FromWorker } from "../protocol/WorkerMessage.ts"
import * as SocketAddress from "./SocketAddress.ts"
import {
  type ClosedInfo,
  type Connect,
  type ConnectOptions,
  highWaterBytes,
  type WorkerConnection
} from "./WorkerTransport.ts"

const refusalOf = (code: Grpc.status): RefusalKind | undefined => {
  switch (code) {
    case Grpc.status.UNAUTHENTICATED:
    case Grpc.status.PERMISSION_DENIED:
      return "unauthenticated"
    case Grpc.status.NOT_FOUND:
      return "unknown-version"
    default:
      return undefined
  }
}

/** Encoded before gRPC sees them, so that the bytes that wait can be counted. */
const asIs = (bytes: Buffer): Buffer => bytes

/** Connects to `grpc://`, with TLS to `grpcs://`, or, at a socket in the file system, to `grpc+unix:/path`. */
export const connectGrpc: Connect = (options) => new GrpcConnection(options)

class GrpcConnection implements WorkerConnection {
  private readonly options: ConnectOptions
  private readonly client: Grpc.Client
  private stream: Grpc.ClientDuplexStream<Buffer, ReturnType<typeof Codec.decodeToWorker>> | undefined
  private isClosed = false
  private isAccepted = false
  private waitingBytes = 0
  private isBlocked = false

  constructor(options: ConnectOptions) {
    this.options = options
    const socketPath = SocketAddress.pathOf(options.url)
    const isSecure = options.url.startsWith("grpcs:")
    const credentials = isSecure ? Grpc.credentials.createSsl() : Grpc.credentials.createInsecure()
    const target = socketPath === undefined ? new URL(options.url).host : `unix:${socketPath}`
    this.client = new Grpc.Client(target, credentials, {
      "grpc.use_local_subchannel_pool": 1,
      "grpc.enable_retries": 0,
      "grpc.max_receive_message_length": Codec.wireBytesMax,
      "grpc.max_send_message_length": Codec.wireBytesMax
    })
    const { hello } = options
    if (hello.kind === "open") this.open(hello.token, () => this.options.events.onConnected(undefined))
    else this.connectOnce(hello.request)
  }

  private get deadline(): number {
    return Date.now() + this.options.timeoutMs
  }

  private connectOnce(request: Parameters<typeof Codec.encodeConnectOnceRequest>[0]): void {
    this.client.makeUnaryRequest(
      `${Codec.servicePath}ConnectOnce`,
      Codec.encodeConnectOnceRequest,
      Codec.decodeConnectOnceResponse,
      request,
      new Grpc.Metadata(),
      { deadline: this.deadline },
      (error, response) => {
        if (error !== null) return this.fail(error)
        if (response === undefined || "_tag" in response) {
          return this.end({ reason: `protocol error: ${response?.reason ?? "no answer"}` })
        }
        if (response.workUrl !== "") return this.isClosed ? undefined : this.options.events.onConnected(response)
        this.open(response.token, () => this.options.events.onConnected(response))
      }
    )
  }

  private open(token: string, onAccepted: () => void): void {
    if (this.isClosed) return
    const metadata = new Grpc.Metadata()
    metadata.set("authorization", `Bearer ${token}`)
    const stream = this.client.makeBidiStreamRequest(`${Codec.servicePath}Work`, asIs, Codec.decodeToWorker, metadata)
    this.stream = stream
    const timeout = setTimeout(
      () => this.destroy("the plane did not accept the stream in time"),
      this.options.timeoutMs
    )
    stream.on("metadata", () => {
      clearTimeout(timeout)
      if (this.isClosed || this.isAccepted) return
      this.isAccepted = true
      onAccepted()
    })
    stream.on("data", (message: ReturnType<typeof Codec.decodeToWorker>) => {
      if (this.isClosed) return
      if (message._tag === "MalformedFrame") return this.destroy(`protocol error: ${message.reason}`)
      this.options.events.onMessage(message)
    })
    // The status that follows says the same; without a listener the error would end the process.
    stream.on("error", () => {})
    stream.on("status", (status) => {
      clearTimeout(timeout)
      this.fail(status)
    })
    this.write(this.options.ready())
  }

  private fail(status: { readonly code: Grpc.status; readonly details: string }): void {
    const refusal = refusalOf(status.code)
    const reason = status.details === "" ? `the plane closed the stream (${Grpc.status[status.code]})` : status.details
    this.end(refusal === undefined ? { reason } : { reason, refusal })
  }

  private write(message: FromWorker): void {
    const bytes = Codec.encodeFromWorker(message)
    this.waitingBytes += bytes.length
    this.stream?.write(bytes, () => {
      this.waitingBytes -= bytes.length
      if (!this.isBlocked || this.isClosed || this.waitingBytes >= highWaterBytes) return
      this.isBlocked = false
      this.options.events.onDrain()
    })
  }

  send(message: FromWorker): boolean {
    if (this.isClosed || this.stream === undefined) return false
    this.write(message)
    if (this.waitingBytes < highWaterBytes) return true
    this.isBlocked = true
    return false
  }

  finish(): void {
    if (this.stream === undefined) this.destroy("finished")
    else this.stream.end()
  }

  destroy(reason: string): void {
    this.end({ reason })
  }

  private end(info: ClosedInfo): void {
    if (this.isClosed) return
    this.isClosed = true
    this.stream?.cancel()
    this.client.close()
    setImmediate(() => this.options.events.onClosed(info))
  }
}
