/**
 * The worker port: one TCP port, and a socket in the file system if there is to be one, for gRPC and WebSocket. The first bytes tell them apart: HTTP/2 begins with `PRI`, which
 * no HTTP/1 method does.
 *
 * A connection has `handshakeMs` to say what it is and to become a worker. gRPC is loaded when the first gRPC worker
 * comes: it would cost the platform 70 ms of its start and memory that most installations never use.
 *
 * @module
 */
import * as Net from "node:net"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { CannotListen } from "../../Port.ts"
import * as Port from "../../Port.ts"
import * as SocketFile from "../../SocketFile.ts"
import type { WorkerHost } from "../WorkerSession.ts"
import { type CarrierOptions, makeWebSocketServer } from "./WebSocketCarrier.ts"

export interface WorkerListenerOptions {
  /** Address to bind, e.g. `127.0.0.1`. */
  readonly host: string
  /** 0 = any free one. */
  readonly port: number
  /**
   * Absolute path of a socket where workers without a network connect as well. Any user that reaches its folder can
   * connect, and then needs a token as everywhere. Absent = none.
   */
  readonly socketPath?: string | undefined
  readonly workers: WorkerHost
  /** Both ways; three missed and a peer is gone. Must be what `connectOnce` tells the workers. */
  readonly heartbeatMs: number
  /** Connected to `Ready`, in milliseconds. Default 10,000. */
  readonly handshakeMs?: number
  /** Connections beyond this are dropped. Default 10,000. */
  readonly connectionsMax?: number
}

export interface WorkerListener {
  readonly port: number
  /** Ends every connection and frees the port; also done when the scope closes. */
  readonly close: Effect.Effect<void>
}

interface GrpcPort {
  readonly accept: (socket: Net.Socket) => void
  readonly close: () => void
}

const prefaceStart = "PRI"

/** Waits for the bytes that tell the protocol and puts them back before it passes the socket on. */
const sniff = (socket: Net.Socket, waitMs: number, onKnown: (isHttp2: boolean) => void): void => {
  let seen: Buffer = Buffer.alloc(0)
  const timeout = setTimeout(() => socket.destroy(), waitMs).unref()
  const stop = () => {
    clearTimeout(timeout)
    socket.off("data", onData)
    socket.off("close", stop)
  }
  const onData = (chunk: Buffer) => {
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk])
    const start = seen.toString("latin1", 0, prefaceStart.length)
    if (start.length < prefaceStart.length && prefaceStart.startsWith(start)) return
    stop()
    socket.pause()
    socket.unshift(seen)
    onKnown(start === prefaceStart)
  }
  socket.on("data", onData)
  socket.on("close", stop)
}

class Listener {
  readonly server: Net.Server
  /** Of the socket in the file system; listens only where one is asked for. */
  readonly socketServer: Net.Server
  private readonly options: CarrierOptions
  private readonly sockets = new Set<Net.Socket>()
  private readonly webSockets: ReturnType<typeof makeWebSocketServer>
  private grpc: Promise<GrpcPort> | undefined

  constructor(options: CarrierOptions, connectionsMax: number) {
    this.options = options
    this.webSockets = makeWebSocketServer(options)
    this.server = Net.createServer({ noDelay: true }, (socket) => this.accept(socket))
    this.socketServer = Net.createServer((socket) => this.accept(socket))
    this.server.maxConnections = connectionsMax
    this.socketServer.maxConnections = connectionsMax
  }

  private accept(socket: Net.Socket): void {
    this.sockets.add(socket)
    socket.on("close", () => this.sockets.delete(socket))
    // Without a listener a reset before the protocol is known would end the process.
    socket.on("error", () => {})
    sniff(socket, this.options.handshakeMs, (isHttp2) => {
      if (isHttp2) this.acceptGrpc(socket)
      else {
        this.webSockets.emit("connection", socket)
        socket.resume()
      }
    })
  }

  private acceptGrpc(socket: Net.Socket): void {
    this.grpc ??= import("./GrpcCarrier.ts").then(({ makeGrpcPort }) => makeGrpcPort(this.options))
    this.grpc.then(
      (grpc) => (socket.destroyed ? undefined : grpc.accept(socket)),
      () => socket.destroy()
    )
  }

  async close(): Promise<void> {
    const closed = [this.server, this.socketServer].map(
      (server) => new Promise<void>((resolve) => void server.close(() => resolve()))
    )
    this.grpc?.then((grpc) => grpc.close()).catch(() => {})
    for (const socket of this.sockets) socket.destroy()
    await Promise.all(closed)
  }
}

/** Opens the worker port, and the socket, until the scope closes. */
export const listen = (
  options: WorkerListenerOptions
): Effect.Effect<WorkerListener, CannotListen | SocketFile.CannotListenAt, Scope.Scope> => {
  const { handshakeMs = 10_000, connectionsMax = 20_000 } = options
  const { host, port, socketPath } = options
  const door = { what: "worker port", host, port, flag: "--worker-port or MILLRACE_WORKER_PORT" }
  const make = Effect.sync(
    () => new Listener({ workers: options.workers, heartbeatMs: options.heartbeatMs, handshakeMs }, connectionsMax)
  )
  return Effect.flatMap(
    Effect.acquireRelease(make, (listener) => Effect.promise(() => listener.close())),
    (listener) =>
      Effect.gen(function* () {
        if (socketPath !== undefined) {
          yield* SocketFile.listen(listener.socketServer, { what: "worker socket", path: socketPath })
        }
        return { port: yield* Port.listen(listener.server, door), close: Effect.promise(() => listener.close()) }
      })
  )
}
