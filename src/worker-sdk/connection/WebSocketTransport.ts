/**
 * A worker's connection over WebSocket, straight on a TCP or Unix socket; see `WebSocketFrames.ts` for why.
 *
 * - `ConnectOnce` and `Ready` go out together as soon as the upgrade is answered.
 * - Everything sent in one turn of the event loop leaves as one frame in one write.
 *
 * @module
 */
import * as Net from "node:net"
import {
  decodeToWorker,
  type FrameFromWorker,
  type FrameToWorker,
  frameBytesMax,
  frameBytesTarget,
  frameMessagesMax,
  isMalformed,
  writeFromWorker
} from "../protocol/MessagepackCodec.ts"
import { MessagepackWriter } from "../protocol/MessagepackWriter.ts"
import * as SocketAddress from "./SocketAddress.ts"
import { closeFrame, controlFrame, FrameParser, frameHeaderBytesMax, sealFrame } from "./WebSocketFrames.ts"
import { type ClosedInfo, type Connect, highWaterBytes, type WorkerConnection } from "./WorkerTransport.ts"

export const workerPath = "/v1/worker"
export const subprotocol = "millrace.worker.v1"

const responseHeadBytesMax = 16 * 1024

const isSecure = (url: URL): boolean => url.protocol === "wss:" || url.protocol === "https:"

const portOf = (url: URL): number => (url.port === "" ? (isSecure(url) ? 443 : 80) : Number(url.port))

const upgradeRequest = (url: URL): string => {
  // The key only has to differ between attempts; the subprotocol in the answer tells that a worker port is there.
  const key = Buffer.from(Array.from({ length: 16 }, () => Math.floor(Math.random() * 256))).toString("base64")
  const path = url.pathname === "/" ? workerPath : url.pathname
  return (
    `GET ${path}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
    `Sec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: ${subprotocol}\r\n\r\n`
  )
}

let heartbeat: Buffer | undefined

/** The same for all connections of a process. Made when the first is due: long after a cold start. */
const heartbeatFrame = (): Buffer => {
  if (heartbeat !== undefined) return heartbeat
  const writer = new MessagepackWriter()
  writer.begin(frameHeaderBytesMax)
  writeFromWorker(writer, { _tag: "Heartbeat" })
  heartbeat = Buffer.from(sealFrame(writer.finish(), "binary"))
  return heartbeat
}

/** `name`: of the peer, for people. */
interface Target {
  readonly name: string
  readonly url: URL
  readonly socketPath: string | undefined
}

const targetOf = (address: string): Target => {
  const socketPath = SocketAddress.pathOf(address)
  if (socketPath !== undefined) return { name: address, url: new URL("ws://localhost"), socketPath }
  const url = new URL(address)
  return { name: url.host, url, socketPath }
}

const openSocket = (
  { url, socketPath }: Target,
  onSocket: (socket: Net.Socket) => void,
  onError: (error: Error) => void
): void => {
  if (socketPath !== undefined) return onSocket(Net.connect({ path: socketPath }))
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1")
  if (!isSecure(url)) {
    onSocket(Net.connect({ host, port: portOf(url), noDelay: true }))
    return
  }
  import("node:tls").then(
    (tls) => onSocket(tls.connect({ host, port: portOf(url), servername: Net.isIP(host) === 0 ? host : "" })),
    onError
  )
}

/** Connects to `ws://`, `wss://`, `http://`, `https://` or, at a socket in the file system, `unix:/path`. */
export const connectWebSocket: Connect = (options) => new WebSocketConnection(options)

type Phase = "upgrading" | "open" | "closed"

class WebSocketConnection implements WorkerConnection {
  private readonly options: Parameters<Connect>[0]
  private readonly writer = new MessagepackWriter()
  private readonly timeout: NodeJS.Timeout
  private readonly parser: FrameParser
  private socket: Net.Socket | undefined
  private phase: Phase = "upgrading"
  private head: Buffer = Buffer.alloc(0)
  /** Messages in the frame that is being written; 0 = no frame begun. */
  private batched = 0
  private blocked = false
  private finishing = false

  constructor(options: Parameters<Connect>[0]) {
    this.options = options
    this.parser = new FrameParser(frameBytesMax, {
      onBinary: (payload) => this.onFrame(payload),
      onPing: (payload) => void this.socket?.write(controlFrame("pong", payload)),
      onClose: (code, reason) => {
        this.socket?.write(closeFrame(code === 1005 ? 1000 : code, ""))
        this.end({ reason: reason === "" ? `the plane closed the connection (${code})` : reason })
      },
      onProtocolError: (reason) => this.violation(reason)
    })
    this.timeout = setTimeout(
      () => this.destroy(`no answer from ${options.url} within ${options.timeoutMs} ms`),
      options.timeoutMs
    )
    const target = targetOf(options.url)
    openSocket(
      target,
      (socket) => this.attach(socket, target),
      (error) => this.end({ reason: error.message })
    )
  }

  private attach(socket: Net.Socket, { name, url }: Target): void {
    this.socket = socket
    if (this.phase === "closed") {
      socket.destroy()
      return
    }
    socket.setNoDelay(true)
    // Written before the connection stands, it leaves with it: one turn less.
    socket.write(upgradeRequest(url))
    socket.on("data", (chunk: Buffer) => (this.phase === "open" ? this.parser.push(chunk) : this.onHead(chunk)))
    socket.on("drain", () => this.onSocketDrain())
    socket.on("error", (error) => this.end({ reason: `${name}: ${error.message}` }))
    socket.on("close", () => this.end({ reason: `${name}: connection closed` }))
  }

  private onHead(chunk: Buffer): void {
    if (this.phase === "closed") return
    this.head = this.head.length === 0 ? chunk : Buffer.concat([this.head, chunk])
    const end = this.head.indexOf("\r\n\r\n")
    if (end < 0) {
      if (this.head.length > responseHeadBytesMax) this.destroy("the answer to the upgrade is too long")
      return
    }
    const text = this.head.toString("latin1", 0, end)
    const rest = this.head.subarray(end + 4)
    this.head = Buffer.alloc(0)
    if (!/^HTTP\/1\.1 101 /.test(text) || !text.toLowerCase().includes(`sec-websocket-protocol: ${subprotocol}`)) {
      this.destroy(`${this.options.url} is not a worker port: it answered "${text.split("\r\n", 1)[0]}"`)
      return
    }
    this.phase = "open"
    const { hello } = this.options
    this.write(
      hello.kind === "open" ? { _tag: "Open", token: hello.token } : { _tag: "ConnectOnce", request: hello.request }
    )
    this.write(this.options.ready())
    this.flush()
    if (rest.length > 0) this.parser.push(rest)
  }

  private onFrame(payload: Buffer): void {
    const decoded = decodeToWorker(payload)
    if (isMalformed(decoded)) return this.violation(decoded.reason)
    for (const message of decoded) {
      if (this.phase === "closed") return
      this.onMessage(message)
    }
  }

  private connected = false

  private onMessage(message: FrameToWorker): void {
    if (message._tag === "Refused") return this.end({ reason: message.message, refusal: message.kind })
    if (message._tag === "Connected" || message._tag === "Opened") {
      if (this.connected) return this.violation("connected twice")
      this.connected = true
      clearTimeout(this.timeout)
      return this.options.events.onConnected(message._tag === "Connected" ? message.response : undefined)
    }
    if (!this.connected) return this.violation(`${message._tag} before the answer to ConnectOnce`)
    this.options.events.onMessage(message)
  }

  private violation(reason: string): void {
    this.socket?.write(closeFrame(1002, reason))
    this.end({ reason: `protocol error: ${reason}` })
  }

  private write(message: FrameFromWorker): void {
    if (this.batched === 0) {
      this.writer.begin(frameHeaderBytesMax)
      setImmediate(this.flush)
    }
    this.batched++
    writeFromWorker(this.writer, message)
    if (this.batched >= frameMessagesMax || this.writer.size >= frameBytesTarget) this.flush()
  }

  private readonly flush = (): void => {
    if (this.batched === 0) return
    this.batched = 0
    const frame = sealFrame(this.writer.finish(), "binary")
    if (this.phase === "open") this.socket?.write(frame)
    if (this.finishing) this.goodbye()
  }

  send(message: FrameFromWorker): boolean {
    if (this.phase !== "open") return false
    if (message._tag === "Heartbeat" && this.batched === 0) this.socket?.write(heartbeatFrame())
    else this.write(message)
    const waiting = (this.socket?.writableLength ?? 0) + (this.batched > 0 ? this.writer.size : 0)
    if (waiting < highWaterBytes) return true
    this.blocked = true
    this.flush()
    return false
  }

  private onSocketDrain(): void {
    if (!this.blocked || this.phase !== "open") return
    this.blocked = false
    this.options.events.onDrain()
  }

  finish(): void {
    if (this.phase !== "open") return this.destroy("finished")
    this.finishing = true
    if (this.batched > 0) this.flush()
    else this.goodbye()
  }

  private goodbye(): void {
    this.socket?.end(closeFrame(1000, "drained"))
  }

  destroy(reason: string): void {
    this.end({ reason })
  }

  private end(info: ClosedInfo): void {
    if (this.phase === "closed") return
    this.phase = "closed"
    clearTimeout(this.timeout)
    const { socket } = this
    if (socket !== undefined) {
      // What is queued (a close frame) may still leave; a peer that does not read must not hold the socket.
      socket.end()
      setTimeout(() => socket.destroy(), lingerMs).unref()
    }
    // Never inside `connect`: the caller does not have the connection yet.
    setImmediate(() => this.options.events.onClosed(info))
  }
}

const lingerMs = 500
