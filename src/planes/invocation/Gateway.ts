/**
 * The HTTP door of the invocation plane: takes calls, and answers what callers ask about their requests. Callbacks on
 * `node:http`, because a call costs more in any framework than all that Millrace does for it.
 *
 * @module
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http"
import type { Socket } from "node:net"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Buffer_ from "../../core/buffer/Buffer.ts"
import * as CrashPoint from "../CrashPoint.ts"
import type { ControlView } from "../control/ControlView.ts"
import type { RoutingTable } from "../control/RoutingTable.ts"
import type { BlobStore } from "../fabric/BlobStore.ts"
import * as HttpDoor from "../HttpDoor.ts"
import type { CannotListen } from "../Port.ts"
import * as Port from "../Port.ts"
import { ArrivingBodies } from "./ArrivingBodies.ts"
import { type Asked, stamp } from "./Asked.ts"
import * as BodyPace from "./BodyPace.ts"
import { Call, type CallContext, type CallInit } from "./Call.ts"
import * as CallHeaders from "./CallHeaders.ts"
import { Claims } from "./Claims.ts"
import * as EventReply from "./EventReply.ts"
import { Forwarder, type Job } from "./Forwarder.ts"
import * as GatewayRoute from "./GatewayRoute.ts"
import * as Peers from "./Peers.ts"
import { nowMs } from "./PlaneClock.ts"
import * as Problem from "./Problem.ts"
import * as Receipt from "./Receipt.ts"
import type { RequestDirectory } from "./RequestDirectory.ts"
import * as RequestId from "./RequestId.ts"
import * as Responder from "./Responder.ts"
import type { Shard } from "./Shard.ts"
import type { Shards } from "./Shards.ts"

export interface GatewayOptions {
  readonly host: string
  /** 0: any free one. */
  readonly port: number
  /** How long calls in flight may finish when the gateway closes. */
  readonly drainMs: number
  /** Default: `limitsDefault`. */
  readonly limits?: Partial<GatewayLimits> | undefined
}

/** What one caller may take of the gateway before anything was asked of a function. */
export interface GatewayLimits {
  /** From the connection, or from the end of the last request, to the end of a head. */
  readonly headersTimeoutMs: number
  readonly pace: BodyPace.PaceLimits
  /** More are closed as they come. */
  readonly connectionsMax: number
}

export interface GatewayParts {
  readonly routes: RoutingTable
  readonly shards: Shards
  readonly blobs: BlobStore["Service"]
  readonly control: Pick<ControlView, "startTimeline">
  readonly directory: RequestDirectory
  readonly defect: (error: unknown) => void
  /** Called before a call of this function is admitted. */
  readonly beforeCall?: ((functionName: string) => void) | undefined
  /** Of a fabric that several gateways share. */
  readonly peers?: PeersOptions | undefined
}

export interface PeersOptions {
  /** The same for all gateways of a fabric; nobody else may know it. */
  readonly secret: Uint8Array
  /** How long a call waits while its shard has no owner. Default: 10,000. */
  readonly holdMs?: number
}

export const limitsDefault: GatewayLimits = {
  headersTimeoutMs: 20_000,
  pace: BodyPace.defaults,
  connectionsMax: 20_000
}

/** An answer that comes at the deadline is still on its way. */
const deadlineGraceMs = 5_000

/** Takes calls until the scope closes; gives the port. */
export const listen = (
  options: GatewayOptions,
  parts: GatewayParts
): Effect.Effect<{ readonly port: number }, CannotListen, Scope.Scope> => {
  const gateway = new Gateway(parts, { ...limitsDefault, ...options.limits })
  const { host, port } = options
  return Effect.acquireRelease(
    Port.listen(gateway.server, { what: "gateway", host, port, flag: "--port or MILLRACE_PORT" }),
    () => Effect.promise(() => gateway.close(options.drainMs))
  ).pipe(Effect.map((opened) => ({ port: opened })))
}

class Gateway {
  readonly server: Server
  readonly #parts: GatewayParts
  readonly #context: CallContext
  readonly #failures: HttpDoor.Failures<Exchange>
  readonly #forwarder: Forwarder | undefined
  readonly #claims: Claims
  #closing = false

  constructor(parts: GatewayParts, limits: GatewayLimits) {
    this.#parts = parts
    this.#context = {
      blobs: parts.blobs,
      arriving: new ArrivingBodies((versionId) => {
        const shard = parts.shards.forVersion(versionId)
        if (shard === undefined) return 0
        const { leased, freeSlots } = Buffer_.counts(shard.state, versionId)
        return leased + freeSlots
      }),
      elsewhere: (call, requestId, body) => this.#callElsewhere(call, requestId, body),
      startTimeline: parts.control.startTimeline,
      defect: parts.defect,
      pace: limits.pace
    }
    this.#claims = new Claims({
      shards: parts.shards,
      blobs: parts.blobs,
      directory: parts.directory,
      defect: parts.defect,
      isHere: (requestId) => this.#isHere(requestId),
      follow: (asked, response, requestId) => this.#follow(asked, response, requestId)
    })
    if (parts.peers !== undefined) {
      this.#forwarder = new Forwarder({
        shards: parts.shards,
        secret: Peers.secretOf(parts.peers.secret),
        holdMs: parts.peers.holdMs,
        problem: ({ request, response, receivedMs }, problem) =>
          Responder.problem(response, stamp({ request, receivedMs }), problem),
        defect: parts.defect
      })
    }
    // Answers may take minutes and so may bodies, whose pace `BodyPace` looks at; a silent connection has its limits.
    this.server = createServer({
      ...HttpDoor.serverOptions(limits.headersTimeoutMs),
      requestTimeout: 0,
      // Longer than clients and balancers keep a connection (60 s is usual), so that it is never closed under a call.
      keepAliveTimeout: 75_000,
      noDelay: true
    })
    // Fields beyond it would be left out in silence; `HttpDoor` refuses them.
    this.server.maxHeadersCount = 0
    this.server.maxConnections = limits.connectionsMax
    this.#failures = new HttpDoor.Failures({
      encode: rawProblem,
      bodyFailed: ({ response, request, receivedMs, call }, fault) => {
        call?.bodyBroke()
        Responder.problem(response, stamp({ request, receivedMs }), Problem.badHttp(fault, call !== undefined), true)
      }
    })
    for (const event of ["request", "checkContinue", "checkExpectation"]) {
      this.server.on(event, (request: IncomingMessage, response: ServerResponse) => this.#handle(request, response))
    }
    this.server.on("connect", (_request, socket) => {
      const detail = "CONNECT is not served, this is no proxy: use another method."
      this.#failures.refuse(socket as Socket, { status: 405, detail, allow: HttpDoor.methodsServed })
    })
    this.server.on("clientError", (error, socket) => this.#failures.onError(error, socket as Socket))
  }

  async close(drainMs: number): Promise<void> {
    this.#closing = true
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()))
    // Kept-alive connections become idle one by one, as their calls finish.
    const idle = setInterval(() => this.server.closeIdleConnections(), 20)
    this.server.closeIdleConnections()
    const timer = setTimeout(() => this.server.closeAllConnections(), drainMs)
    await closed
    clearInterval(idle)
    clearTimeout(timer)
    this.#forwarder?.close()
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    if (HttpDoor.isClosing(request)) return
    const receivedMs = nowMs()
    const peer = request.headers[Peers.secretHeader] === undefined ? undefined : this.#forwarder?.sayOf(request)
    const exchange: Exchange = { request, response, receivedMs, peer, call: undefined }
    this.#failures.track(exchange)
    try {
      const fault = HttpDoor.faultOf(request)
      if (fault !== undefined) return Responder.problem(response, stamp(exchange), Problem.badHttp(fault, false), true)
      if (HttpDoor.asksForWebSocket(request)) return Responder.problem(response, stamp(exchange), notUpgraded, true)
      if (this.#closing && peer === undefined) {
        return Responder.problem(response, stamp({ request, receivedMs }), Problem.shuttingDown())
      }
      const route = GatewayRoute.resolve(request, this.#parts.routes)
      if (route.kind === "invoke") return this.#invoke(exchange, route)
      const asked: Asked = { request, receivedMs, peer }
      switch (route.kind) {
        case "status":
          if (this.#isAskedElsewhere(asked, response, route.requestId)) return
          return this.#claims.status(asked, response, route)
        case "request":
          if (this.#isAskedElsewhere(asked, response, route.requestId)) return
          return this.#claims.aboutRequest(asked, response, route)
        case "health":
          return Responder.json(response, stamp(asked), 200, { status: "OK" })
        case "preflight":
          return Responder.preflight(request, response, stamp(asked), route.allow)
        case "problem":
          return Responder.problem(response, stamp(asked), route.problem)
      }
    } catch (error) {
      this.#parts.defect(error)
      Responder.problem(response, stamp({ request, receivedMs }), {
        status: 500,
        kind: "defect",
        detail: "The gateway met a defect of its own while it took this call; nothing is known to have been enqueued."
      })
    }
  }

  #invoke(exchange: Exchange, { surface, route, path }: Extract<GatewayRoute.GatewayRoute, { kind: "invoke" }>): void {
    const { request, response, receivedMs, peer } = exchange
    const { deployment } = route
    const { shards } = this.#parts
    const refuse = (problem: Problem.Problem) => Responder.problem(response, stamp({ request, receivedMs }), problem)
    this.#parts.beforeCall?.(route.functionName)
    if (deployment === undefined) return refuse(Problem.notDeployed(route.functionName))
    const headers = CallHeaders.parse(request.headers, request.rawHeaders, receivedMs)
    if (CallHeaders.isProblem(headers)) return refuse(headers)
    let waitMs = headers.waitMs
    if (surface === "pexec") {
      const pollMs = CallHeaders.parsePollMs(request.headers, true)
      if (typeof pollMs !== "number") return refuse(pollMs)
      waitMs ??= pollMs
    }
    const index = shards.indexOf(route.versionId)
    const requestId = peer?.requestId ?? RequestId.make(receivedMs, index)
    const shard = shards.at(index)
    if (shard === undefined) {
      const isKeyed = headers.idempotencyKey !== undefined
      const job = this.#job({ asked: exchange, response, index, requestId, isKeyed }, () =>
        this.#invoke(exchange, { kind: "invoke", surface, route, path })
      )
      return peer?.isAttach === true ? this.#forwarder?.ask(job) : this.#elsewhere(job)
    }
    const isTooLarge = Number(request.headers["content-length"]) > deployment.spec.bodyBytesMax
    // A call that is here already was on its way to an owner of before, and arrives late: what lies here is enough.
    const isKnown = peer !== undefined && shard.entries.ofRequest(requestId) !== undefined
    const isAttach = isKnown || peer?.isAttach === true
    if (isAttach && !isKnown) return Peers.answer(response, "unknown-request")
    if (isKnown) request.resume()
    else if (request.headers.expect !== undefined && request.httpVersionMinor > 0 && !isTooLarge)
      response.writeContinue()
    CrashPoint.hit("gateway.call.begin")
    const call = new Call(this.#context, {
      request,
      response,
      requestId,
      shard,
      isPeer: peer !== undefined,
      receivedMs,
      route,
      deployment,
      path,
      headers,
      waitMs: surface === "exec" ? (waitMs ?? CallHeaders.pollDefaultMs) : waitMs,
      wrapped: surface === "exec",
      origin: surface === "pexec" || surface === "exec" ? request.headers.origin : undefined
    })
    exchange.call = call
    if (isAttach) return this.#attach(exchange, call, { shard, requestId, withIds: headers.eventIds })
    call.start()
  }

  /** Its caller waits here for the answer of what another owner had. */
  #attach(
    asked: Asked,
    call: Call,
    { shard, requestId, withIds }: { readonly shard: Shard; readonly requestId: string; readonly withIds: boolean }
  ): void {
    const entry = shard.entries.ofRequest(requestId)
    const { response } = call
    if (entry === undefined) return Peers.answer(response, "unknown-request")
    const wish = entry.mode === "sync" && !call.isTimed ? EventReply.wishOf(asked.request, withIds) : undefined
    if (wish === undefined) return call.attach(entry)
    // An event stream goes on as it comes, and is not kept back until it is whole.
    const untilMs = entry.deadlineMs + deadlineGraceMs
    this.#claims.read({ asked, response, requestId, wish, untilMs })
  }

  // --- other gateways ----------------------------------------------------------------------------------------------

  #job(
    about: {
      readonly asked: Asked
      readonly response: ServerResponse
      readonly index: number
      readonly requestId: string
      readonly isKeyed?: boolean
    },
    local: () => void
  ): Job {
    const { asked, response, index, requestId, isKeyed = false } = about
    const { request, receivedMs, peer } = asked
    const guarded = () => {
      try {
        local()
      } catch (error) {
        this.#parts.defect(error)
        Responder.problem(response, stamp(asked), Problem.ownerChanging())
      }
    }
    return { request, response, receivedMs, index, requestId, isPeer: peer !== undefined, isKeyed, local: guarded }
  }

  #elsewhere(job: Job): void {
    if (this.#forwarder !== undefined) return this.#forwarder.call(job)
    Responder.problem(job.response, stamp(job), Problem.shardMoving())
  }

  /** The shard of a call that was taken here is another's now. */
  #callElsewhere(init: CallInit, requestId: string, body: Uint8Array | undefined): void {
    const { request, response, receivedMs, isPeer, route, headers } = init
    const job: Job = {
      request,
      response,
      receivedMs,
      index: this.#parts.shards.indexOf(route.versionId),
      requestId,
      isPeer,
      isKeyed: headers.idempotencyKey !== undefined,
      body,
      local: () => {}
    }
    if (this.#forwarder === undefined) return Responder.problem(response, stamp(job), Problem.ownerChanging())
    if (body === undefined) return this.#forwarder.attach(job)
    if (isPeer) return Peers.answer(response, "not-owner")
    this.#forwarder.call(job)
  }

  #isHere(requestId: string): boolean {
    const { shards } = this.#parts
    return this.#forwarder === undefined || shards.at(RequestId.shardOf(requestId, shards.count)) !== undefined
  }

  /** Whether what is asked about this request is asked of its owner, since it is not this gateway. */
  #isAskedElsewhere(asked: Asked, response: ServerResponse, requestId: string): boolean {
    if (this.#forwarder === undefined || this.#isHere(requestId)) return false
    const index = RequestId.shardOf(requestId, this.#parts.shards.count)
    const again = () => this.#handle(asked.request, response)
    this.#forwarder.ask(this.#job({ asked, response, index, requestId }, again))
    return true
  }

  /** It waited here, and its request has another owner. */
  #follow(asked: Asked, response: ServerResponse, requestId: string): void {
    if (response.headersSent) response.destroy()
    else if (asked.peer !== undefined) Peers.answer(response, "moved")
    else if (!this.#isAskedElsewhere(asked, response, requestId)) this.#handle(asked.request, response)
  }
}

interface Exchange extends HttpDoor.Exchange, Asked {
  /** When it is one of a function. */
  call: Call | undefined
}

const rawProblem = (fault: HttpDoor.Fault): string => {
  const problem = Problem.badHttp(fault, false)
  const body = Problem.encode(problem)
  const allow = problem.allow === undefined ? "" : `allow: ${problem.allow}\r\n`
  return `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}\r\ncontent-type: application/problem+json\r\ncontent-length: ${body.length}\r\n${allow}server-timing: ${Receipt.serverTiming({ admit: 0 }, 0)}\r\nconnection: close\r\n\r\n${body.toString("utf8")}`
}

const notUpgraded = Problem.notServed("An upgraded connection (WebSocket)")
