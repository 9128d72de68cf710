/**
 * Workers over WebSocket: the upgrade, the handshake inside the stream, and one frame per turn outwards.
 *
 * @module
 */
import * as Http from "node:http"
import type { Duplex } from "node:stream"
import { WebSocket, WebSocketServer } from "ws"
import {
  decodeFromWorker,
  type FrameFromWorker,
  type FrameToWorker,
  frameBytesMax,
  frameBytesTarget,
  frameMessagesMax,
  isMalformed,
  writeToWorker
} from "../../../worker-sdk/protocol/MessagepackCodec.ts"
import { MessagepackWriter } from "../../../worker-sdk/protocol/MessagepackWriter.ts"
import type { ToWorker } from "../../../worker-sdk/protocol/WorkerMessage.ts"
import type { ConnectRefusal, SessionIdentity, WorkerHost } from "../WorkerSession.ts"
import { type Carrier, WorkerPeer } from "./WorkerPeer.ts"

export interface CarrierOptions {
  readonly workers: WorkerHost
  readonly heartbeatMs: number
  readonly handshakeMs: number
}

const workerPath = "/v1/worker"
const subprotocol = "millrace.worker.v1"

const closeCodes = { fault: 1002, ended: 1001, refused: 4003 } as const
/** The same for all: thousands are due in the same turn, and a frame of its own for each would be most of what they cost. */
const heartbeat: Buffer = (() => {
  const writer = new MessagepackWriter()
  writer.begin(0)
  writeToWorker(writer, { _tag: "Heartbeat" })
  return Buffer.from(writer.finish())
})()

/** A peer that does not answer our close is cut off. */
const lingerMs = 1000

export class WebSocketPeer implements Carrier {
  private readonly webSocket: WebSocket
  private readonly options: CarrierOptions
  private readonly writer = new MessagepackWriter()
  /** Undefined: it is over. */
  private handshake: NodeJS.Timeout | undefined
  private peer: WorkerPeer | undefined
  private batched = 0
  private isEnding = false

  constructor(webSocket: WebSocket, socket: Duplex, options: CarrierOptions) {
    this.webSocket = webSocket
    this.options = options
    this.handshake = setTimeout(() => this.end("fault", "no Ready in time"), options.handshakeMs).unref()
    webSocket.on("message", (data, isBinary) => this.onFrame(data, isBinary))
    // ws closes the connection itself after an error of the framing; the reason arrives with `close`.
    webSocket.on("error", (error) => this.peer?.fault(error.message))
    webSocket.on("close", (code, reason) => {
      this.endHandshake()
      this.isEnding = true
      const text = reason.length > 0 ? reason.toString() : `connection closed (${code})`
      this.peer?.onCarrierClosed({ goodbye: code === 1000, reason: text })
    })
    socket.on("drain", () => this.peer?.onCarrierDrain())
  }

  private endHandshake(): void {
    clearTimeout(this.handshake)
    this.handshake = undefined
  }

  private onFrame(data: WebSocket.RawData, isBinary: boolean): void {
    if (this.isEnding) return
    if (!isBinary || !Buffer.isBuffer(data)) return this.fault("a text frame")
    const decoded = decodeFromWorker(data)
    if (isMalformed(decoded)) return this.fault(decoded.reason)
    for (const message of decoded) {
      if (this.isEnding) return
      this.onMessage(message)
    }
  }

  private fault(reason: string): void {
    if (this.peer === undefined) this.end("fault", reason)
    else this.peer.fault(reason)
  }

  private onMessage(message: FrameFromWorker): void {
    if (message._tag === "ConnectOnce" || message._tag === "Open") {
      if (this.peer !== undefined) return this.fault(`${message._tag} on a stream that is open`)
      return message._tag === "Open" ? this.open(message.token, { _tag: "Opened" }) : this.connectOnce(message)
    }
    if (this.peer === undefined) return this.fault(`${message._tag} before ConnectOnce`)
    if (message._tag === "Ready") this.endHandshake()
    this.peer.receive(message)
  }

  private connectOnce(message: Extract<FrameFromWorker, { readonly _tag: "ConnectOnce" }>): void {
    const response = this.options.workers.connectOnce(message.request)
    if ("kind" in response) return this.refuse(response)
    const answer: FrameToWorker = { _tag: "Connected", response }
    if (response.workUrl === "") return this.open(response.token, answer)
    // Its work is elsewhere; what follows in the same frame (Ready) was meant for here and is dropped.
    this.write(answer)
    this.end("ended", "work elsewhere")
  }

  private open(token: string, answer: FrameToWorker): void {
    const handler = this.options.workers.open(token, (identity: SessionIdentity) => {
      this.peer = new WorkerPeer(identity, this, this.options.heartbeatMs)
      return this.peer
    })
    if ("kind" in handler) return this.refuse(handler)
    this.write(answer)
    this.peer?.attach(handler)
  }

  private refuse(refusal: ConnectRefusal): void {
    this.peer = undefined
    this.write({ _tag: "Refused", kind: refusal.kind, message: refusal.message })
    this.end("refused", refusal.message)
  }

  private write(message: FrameToWorker): void {
    if (this.isEnding) return
    if (this.batched === 0) {
      this.writer.begin(0)
      setImmediate(this.flush)
    }
    this.batched++
    writeToWorker(this.writer, message)
    if (this.batched >= frameMessagesMax || this.writer.size >= frameBytesTarget) this.flush()
  }

  private readonly flush = (): void => {
    if (this.batched === 0) return
    this.batched = 0
    this.sendFrame(this.writer.finish())
  }

  private sendFrame(frame: Buffer): void {
    if (this.webSocket.readyState === WebSocket.OPEN) this.webSocket.send(frame)
  }

  send(message: ToWorker): void {
    if (message._tag === "Heartbeat" && this.batched === 0 && !this.isEnding) this.sendFrame(heartbeat)
    else this.write(message)
  }

  waitingBytes(): number {
    return this.webSocket.bufferedAmount + (this.batched > 0 ? this.writer.size : 0)
  }

  close(kind: "fault" | "ended", reason: string): void {
    this.end(kind, reason)
  }

  private end(kind: keyof typeof closeCodes, reason: string): void {
    if (this.isEnding) return
    this.flush()
    this.isEnding = true
    this.endHandshake()
    this.webSocket.close(closeCodes[kind], reason.slice(0, 40))
    setTimeout(() => this.webSocket.terminate(), lingerMs).unref()
  }
}

/** An HTTP server that knows one thing: the upgrade. Everything else gets a sentence. */
export const makeWebSocketServer = (options: CarrierOptions): Http.Server => {
  const upgrades = new WebSocketServer({
    noServer: true,
    maxPayload: frameBytesMax,
    perMessageDeflate: false,
    skipUTF8Validation: true,
    handleProtocols: (offered) => (offered.has(subprotocol) ? subprotocol : false)
  })
  const server = Http.createServer()
  server.on("request", (_, response) => {
    response.writeHead(404, { "content-type": "text/plain; charset=utf-8", connection: "close" })
    response.end(
      `This is a Millrace worker port: workers connect to ${workerPath} here. Call functions at the gateway.\n`
    )
  })
  // Node looks for slow heads only on servers that listen themselves, which this one does not.
  const waiting = new WeakMap<Duplex, NodeJS.Timeout>()
  server.on("connection", (socket) => {
    waiting.set(socket, setTimeout(() => socket.destroy(), options.handshakeMs).unref())
  })
  server.on("upgrade", (request, socket, head) => {
    clearTimeout(waiting.get(socket))
    waiting.delete(socket)
    if (request.url?.split("?", 1)[0] !== workerPath) {
      socket.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n")
      return
    }
    upgrades.handleUpgrade(request, socket, head, (webSocket) => new WebSocketPeer(webSocket, socket, options))
  })
  return server
}
