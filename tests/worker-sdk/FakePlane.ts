/**
 * A plane for tests of workers: the real worker port with a host that does what the test says and remembers all it saw.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Exit, Scope } from "effect"
import type { ConnectRefusal, WorkerConnection, WorkerHost } from "../../src/planes/invocation/WorkerSession.ts"
import { listen, type WorkerListener } from "../../src/planes/invocation/worker-transport/WorkerListener.ts"
import type {
  ConnectOnceRequest,
  ConnectOnceResponse,
  FromWorker,
  ToWorker
} from "../../src/worker-sdk/protocol/WorkerMessage.ts"

export type Scheme = "ws" | "grpc" | "unix" | "grpc+unix"

export const isGrpc = (scheme: Scheme): boolean => scheme.startsWith("grpc")

export class Session {
  readonly connection: WorkerConnection
  readonly messages: Array<FromWorker> = []
  readonly closes: Array<{ readonly clean: boolean; readonly reason: string }> = []
  drains = 0
  onMessage: (message: FromWorker) => void = () => {}

  constructor(connection: WorkerConnection) {
    this.connection = connection
  }

  of<Tag extends FromWorker["_tag"]>(tag: Tag): ReadonlyArray<Extract<FromWorker, { readonly _tag: Tag }>> {
    return this.messages.filter(
      (message): message is Extract<FromWorker, { readonly _tag: Tag }> => message._tag === tag
    )
  }

  assign(change: Partial<Extract<ToWorker, { readonly _tag: "Assign" }>> & { readonly method?: string } = {}): void {
    const { method = "POST", ...rest } = change
    this.connection.send({
      _tag: "Assign",
      requestId: "request-1",
      token: 1,
      attempt: 1,
      deadlineMs: 0,
      tenant: "tenant-1",
      head: {
        method,
        path: "/a/b?c=d",
        headers: [
          ["host", "f.example"],
          ["content-type", "text/plain"]
        ]
      },
      body: new Uint8Array(0),
      bodyEnd: true,
      ...rest
    })
  }
}

/** Waits for a fact; a failure says what was seen instead. */
export const until = async <Value>(
  what: string,
  look: () => Value | undefined | false,
  seen: () => unknown = () => "nothing",
  withinMs = 60_000
): Promise<Value> => {
  const deadline = performance.now() + withinMs
  for (;;) {
    const found = look()
    if (found !== undefined && found !== false) return found
    if (performance.now() > deadline) {
      throw new Error(`not within ${withinMs} ms: ${what}; seen: ${JSON.stringify(seen(), null, 1)?.slice(0, 2000)}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

export interface PlaneOptions {
  /** Of the worker port. */
  readonly heartbeatMs?: number
  /** What workers are told; by default the same. */
  readonly response?: Partial<ConnectOnceResponse>
  readonly handshakeMs?: number
  readonly connectOnce?: (request: ConnectOnceRequest) => ConnectRefusal | undefined
  readonly open?: (token: string) => ConnectRefusal | undefined
}

export class FakePlane {
  readonly sessions: Array<Session> = []
  readonly requests: Array<ConnectOnceRequest> = []
  readonly tokens: Array<string> = []
  readonly port: number
  readonly socketPath: string
  private readonly scope: Scope.Closeable

  private constructor(port: number, socketPath: string, scope: Scope.Closeable) {
    this.port = port
    this.socketPath = socketPath
    this.scope = scope
  }

  static async open(options: PlaneOptions = {}): Promise<FakePlane> {
    const { heartbeatMs = 5000 } = options
    const scope = Scope.makeUnsafe()
    const seen: { plane?: FakePlane } = {}
    const workers: WorkerHost = {
      connectOnce: (request) => {
        seen.plane?.requests.push(request)
        const refusal = options.connectOnce?.(request)
        if (refusal !== undefined) return refusal
        return {
          region: "here",
          otherRegions: ["there"],
          workUrl: "",
          heartbeatMs,
          visibilityTimeoutMs: 30_000,
          initialCreditBytes: 1024 * 1024,
          token: "fresh-token",
          tokenExpiresAtMs: 0,
          nowMs: 0,
          ...options.response
        }
      },
      open: (token, connect) => {
        seen.plane?.tokens.push(token)
        const refusal = options.open?.(token)
        if (refusal !== undefined) return refusal
        const session = new Session(connect({ instanceId: "i", functionId: "f", versionId: "v", workerId: "w" }))
        seen.plane?.sessions.push(session)
        return {
          onMessage: (message) => {
            session.messages.push(message)
            session.onMessage(message)
          },
          onDrain: () => {
            session.drains++
          },
          onClose: (info) => {
            session.closes.push(info)
          }
        }
      }
    }
    const { handshakeMs = 10_000 } = options
    const directory = mkdtempSync(join(tmpdir(), "millrace-plane-"))
    const socketPath = join(directory, "worker.sock")
    await Effect.runPromise(
      Scope.addFinalizer(
        scope,
        Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
      )
    )
    const listener: WorkerListener = await Effect.runPromise(
      listen({ host: "127.0.0.1", port: 0, socketPath, workers, heartbeatMs, handshakeMs }).pipe(Scope.provide(scope))
    )
    seen.plane = new FakePlane(listener.port, socketPath, scope)
    return seen.plane
  }

  url(scheme: Scheme): string {
    return scheme.endsWith("unix") ? `${scheme}:${this.socketPath}` : `${scheme}://127.0.0.1:${this.port}`
  }

  /** The session number `index` once it is ready. */
  async session(index = 0): Promise<Session> {
    return until(
      `session ${index} is ready`,
      () => (this.sessions[index]?.of("Ready").length === 1 ? this.sessions[index] : undefined),
      () => this.sessions.map((session) => ({ messages: session.messages, closes: session.closes }))
    )
  }

  close(): Promise<void> {
    return Effect.runPromise(Scope.close(this.scope, Exit.void))
  }
}
