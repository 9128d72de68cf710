/**
 * The connection to NATS, kept for as long as Millrace runs.
 *
 * C1 a lost connection is looked for again without end, with the credentials as they are then; also after the server
 * said that they have expired. C2 a server in lame duck mode is left at once where another one is known. C3 a connection
 * that the client gave up is replaced by a new one, and whoever hangs on it is told. C4 healthy means that a request to
 * JetStream was answered just now. C5 a server that keeps the connection open and says nothing is noticed by pings.
 *
 * @module
 */
import { readFileSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { type JetStreamClient, type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream"
import {
  type Authenticator,
  type ConnectionOptions,
  connect,
  credsAuthenticator,
  type NatsConnection,
  tokenAuthenticator,
  usernamePasswordAuthenticator
} from "@nats-io/transport-node"
import type { ReportFault } from "../embedded/ReportFault.ts"
import * as NatsFailure from "./NatsFailure.ts"
import { type Credentials, type NatsOptions, parseServer } from "./NatsOptions.ts"
import { payloadBytesMin } from "./Safety.ts"

const pingMs = 1_500
/** So many pings without an answer and the server is gone. */
const pingsOutMax = 2
const reconnectMs = 100
const connectTryMs = 2_000

export type Health =
  | { readonly _tag: "Healthy"; readonly roundTripMs: number }
  | { readonly _tag: "Unhealthy"; readonly reason: string }

/** What happened to the connection, newest last; for logs and tests. */
export type LinkEvent = "connected" | "disconnected" | "reconnected" | "lameDuck" | "authExpired" | "replaced"

export interface Link {
  readonly connection: NatsConnection
  readonly js: JetStreamClient
  readonly manager: JetStreamManager
}

const authenticator = (credentials: Credentials): Authenticator | undefined => {
  switch (credentials._tag) {
    case "Anonymous":
      return undefined
    case "UserPassword":
      return usernamePasswordAuthenticator(credentials.user, credentials.password)
    case "Token":
      return tokenAuthenticator(credentials.token)
    case "File":
      // C1: the file is read for each connect.
      return (nonce) => credsAuthenticator(readFileSync(credentials.path))(nonce)
  }
}

export const connectionOptions = (
  servers: ReadonlyArray<string>,
  credentials: Credentials,
  name: string
): ConnectionOptions => {
  const parsed = servers.map(parseServer)
  const own = parsed.find((server) => server.credentials._tag !== "Anonymous")?.credentials
  const chosen = authenticator(credentials._tag === "Anonymous" && own !== undefined ? own : credentials)
  return {
    servers: parsed.map((server) => server.server),
    name,
    ...(chosen === undefined ? {} : { authenticator: chosen }),
    timeout: connectTryMs,
    maxReconnectAttempts: -1,
    reconnectTimeWait: reconnectMs,
    reconnectJitter: reconnectMs,
    ignoreAuthErrorAbort: true,
    pingInterval: pingMs,
    maxPingOut: pingsOutMax
  }
}

export class Supervisor {
  readonly options: NatsOptions
  readonly #report: ReportFault
  #link: Link
  #isClosed = false
  #isConnected = true
  #maxPayloadBytes = payloadBytesMin
  readonly #events: Array<LinkEvent> = ["connected"]
  readonly #replaced = new Set<(link: Link) => void>()
  readonly #reconnected = new Set<() => void>()
  readonly #writes = new Set<Promise<unknown>>()

  private constructor(options: NatsOptions, report: ReportFault, link: Link) {
    this.options = options
    this.#report = report
    this.#link = link
    this.#watch(link.connection)
  }

  /** Fails when no server takes the connection within `connectLimitMs`, with the reason of the last try. */
  static async open(options: NatsOptions, report: ReportFault): Promise<Supervisor> {
    const endMs = performance.now() + options.connectLimitMs
    for (;;) {
      try {
        return new Supervisor(options, report, await makeLink(options))
      } catch (error) {
        if (performance.now() > endMs) throw error
        await sleep(reconnectMs)
      }
    }
  }

  get link(): Link {
    return this.#link
  }

  /** Between a disconnect and a reconnect it is not: what is sent then waits in the client. */
  get isConnected(): boolean {
    return this.#isConnected && !this.#isClosed
  }

  /** Of one message, as the server said when it was there last. */
  get maxPayloadBytes(): number {
    this.#maxPayloadBytes = this.#link.connection.info?.max_payload ?? this.#maxPayloadBytes
    return this.#maxPayloadBytes
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  get events(): ReadonlyArray<LinkEvent> {
    return this.#events
  }

  /** Called with the new connection after each replacement; answers how to stop that. */
  onReplaced(listener: (link: Link) => void): () => void {
    this.#replaced.add(listener)
    return () => this.#replaced.delete(listener)
  }

  /** Called when the client has its connection again; answers how to stop that. */
  onReconnected(listener: () => void): () => void {
    this.#reconnected.add(listener)
    return () => this.#reconnected.delete(listener)
  }

  /** C4. */
  async health(): Promise<Health> {
    const startMs = performance.now()
    try {
      await this.#link.manager.getAccountInfo()
      return { _tag: "Healthy", roundTripMs: performance.now() - startMs }
    } catch (error) {
      return { _tag: "Unhealthy", reason: NatsFailure.reasonOf(error) }
    }
  }

  /** `close` waits for it, for as long as one request may take. Answers what it was given. */
  track<A>(write: Promise<A>): Promise<A> {
    this.#writes.add(write)
    const forget = () => void this.#writes.delete(write)
    write.then(forget, forget)
    return write
  }

  /** What was begun is done when it resolves, and has reached the server, or cannot reach it any more. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    const limit = new AbortController()
    while (this.#writes.size > 0 && !limit.signal.aborted) {
      await Promise.race([
        Promise.allSettled([...this.#writes]),
        sleep(this.options.requestTimeoutMs, undefined, { signal: limit.signal }).then(
          () => limit.abort(),
          () => undefined
        )
      ])
    }
    limit.abort()
    this.#isClosed = true
    const { connection } = this.#link
    if (this.#isConnected) {
      // The timer that loses must not keep the process alive.
      const limitMs = sleep(this.options.requestTimeoutMs, undefined, { ref: false })
      await Promise.race([connection.flush().catch(() => undefined), limitMs])
    }
    await connection.close()
  }

  #note(event: LinkEvent): void {
    this.#events.push(event)
    if (this.#events.length > 100) this.#events.shift()
  }

  #watch(connection: NatsConnection): void {
    const follow = async () => {
      for await (const status of connection.status()) {
        if (status.type === "disconnect") {
          this.#isConnected = false
          this.#note("disconnected")
        } else if (status.type === "reconnect") {
          this.#isConnected = true
          this.#note("reconnected")
          for (const listener of [...this.#reconnected]) listener()
        } else if (status.type === "ldm") {
          this.#note("lameDuck")
          // C2. With nowhere to go the server says itself when it ends.
          if (connection.getServers().length > 1) void connection.reconnect().catch(() => undefined)
        } else if (status.type === "error" && status.error.name === "UserAuthenticationExpiredError") {
          this.#note("authExpired")
        }
      }
    }
    void follow().catch((error: unknown) => this.#report("the state of the connection to NATS is not followed", error))
    void connection.closed().then((error) => {
      if (this.#isClosed || this.#link.connection !== connection) return
      this.#isConnected = false
      this.#report("the client gave the connection to NATS up; another one is made", error)
      return this.#replace()
    })
  }

  /** C3. */
  async #replace(): Promise<void> {
    while (!this.#isClosed) {
      try {
        const link = await makeLink(this.options)
        if (this.#isClosed) return await link.connection.close()
        this.#link = link
        this.#isConnected = true
        this.#note("replaced")
        this.#watch(link.connection)
        for (const listener of [...this.#replaced]) listener(link)
        return
      } catch {
        await sleep(reconnectMs)
      }
    }
  }
}

const makeLink = async (options: NatsOptions): Promise<Link> => {
  const connection = await connect(
    connectionOptions(options.servers, options.credentials, `millrace-${options.prefix}`)
  )
  const timeout = options.requestTimeoutMs
  return {
    connection,
    js: jetstream(connection, { timeout }),
    manager: await jetstreamManager(connection, { timeout, checkAPI: false })
  }
}
