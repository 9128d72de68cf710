/**
 * The control API on `node:http`, and what a request must pass before it reaches a route: a name of this machine in
 * `Host`, the admin token, a JSON body of bounded size.
 *
 * Laws (`tests/control/ControlServer.laws.test.ts`): C1 every failure is problem details. C2 without the token only
 * `/healthz`, `/openapi.json` and `/docs` answer. C3 no request, however malformed, stops the next one from being
 * answered. C4 after the scope closes nothing listens and no connection is left.
 *
 * @module
 */
import { isUtf8 } from "node:buffer"
import type { IncomingMessage, Server, ServerResponse } from "node:http"
import { isIP, type Socket } from "node:net"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as HttpDoor from "../HttpDoor.ts"
import type { CannotListen } from "../Port.ts"
import * as Port from "../Port.ts"
import * as AdminToken from "./AdminToken.ts"
import * as ControlRoutes from "./ControlRoutes.ts"
import type {
  ClusterOrdersSource,
  DeadLettersSource,
  InstancesSource,
  LogsSource,
  RequestsSource
} from "./ControlSources.ts"
import * as Problem from "./Problem.ts"
import type { Registry } from "./Registry.ts"

// Not by import: that reads all exports of node:http, one of which loads undici, 100 ms and 13 MB that nobody needs.
const Http = process.getBuiltinModule("node:http")

export const bodyBytesMax = 1_048_576
const connectionsMax = 512
const headersTimeoutMs = 10_000
/** Longer than clients and balancers keep a connection (60 s is usual), so that it is never closed under a call. */
const keepAliveTimeoutMs = 75_000
const requestTimeoutMs = 30_000
/** How long calls that are being answered may go on once the scope closes. */
const closeGraceMs = 2_000

/** There are no keys yet: whoever reaches the port is the operator, so only this machine may reach it. */
export class AddressNotLocal extends Schema.TaggedError<AddressNotLocal>()("AddressNotLocal", {
  host: Schema.String
}) {
  override get message() {
    return (
      `the control API does not listen on ${this.host}: it has no keys for strangers yet, so it serves this machine ` +
      `only. Use 127.0.0.1, and reach it from elsewhere through a tunnel (ssh -L)`
    )
  }
}

export interface Options {
  /** A loopback address or `localhost`. */
  readonly host: string
  /** 0 = any free one. */
  readonly port: number
  readonly adminToken: string
}

export interface Listening {
  readonly host: string
  readonly port: number
  readonly url: string
}

const isLoopback = (host: string): boolean =>
  host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."))

/** Listens until the scope closes. */
export const listen = (
  options: Options
): Effect.Effect<
  Listening,
  AddressNotLocal | CannotListen,
  Registry | RequestsSource | DeadLettersSource | InstancesSource | LogsSource | ClusterOrdersSource | Scope.Scope
> =>
  Effect.gen(function* () {
    if (!isLoopback(options.host)) return yield* new AddressNotLocal({ host: options.host })
    const handler = yield* ControlRoutes.make
    const live = new Set<Exchange>()
    const server = Http.createServer({
      ...HttpDoor.serverOptions(headersTimeoutMs),
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: keepAliveTimeoutMs
    })
    // Fields beyond it would be left out in silence; `HttpDoor` refuses them.
    server.maxHeadersCount = 0
    server.maxConnections = connectionsMax
    const failures = new HttpDoor.Failures<Exchange>({
      encode: rawAnswer,
      bodyFailed: (exchange, fault) => refuse(exchange, tagOf[fault.status], fault.detail)
    })
    const runFork = Effect.runForkWith(yield* Effect.context<never>())
    const onRequest = (request: IncomingMessage, response: ServerResponse) => {
      if (HttpDoor.isClosing(request)) return
      const exchange = makeExchange(request, response)
      failures.track(exchange)
      live.add(exchange)
      response.once("close", () => live.delete(exchange))
      serve(exchange, { handler, adminToken: options.adminToken }).catch((cause: unknown) => {
        response.destroy()
        if (!exchange.abort.signal.aborted) runFork(Effect.logError("an answer of the control API broke off", cause))
      })
    }
    for (const event of ["request", "checkContinue", "checkExpectation"]) server.on(event, onRequest)
    server.on("connect", (_, socket) =>
      failures.refuse(socket as Socket, { status: 405, detail: "CONNECT is not served: use another method" })
    )
    server.on("clientError", (error, socket) => failures.onError(error, socket as Socket))
    const { host } = options
    const door = { what: "control API", host, port: options.port, flag: "--control-port or MILLRACE_CONTROL_PORT" }
    const port = yield* Effect.acquireRelease(Port.listen(server, door), () => close(server, live))
    const shownHost = isIP(options.host) === 6 ? `[${options.host}]` : options.host
    return { host: options.host, port, url: `http://${shownHost}:${port}` }
  })

/** One request being answered. */
interface Exchange extends HttpDoor.Exchange {
  readonly abort: AbortController
  /** Set while the answer is a stream without an end of its own. */
  stream: Readable | undefined
}

const makeExchange = (request: IncomingMessage, response: ServerResponse): Exchange => {
  const abort = new AbortController()
  response.once("close", () => {
    if (!response.writableFinished) abort.abort()
  })
  return { request, response, abort, stream: undefined }
}

/** Endless answers end at once and cleanly; the others get a moment. */
const close = (server: Server, live: ReadonlySet<Exchange>): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    const timer = setTimeout(() => server.closeAllConnections(), closeGraceMs)
    server.close(() => {
      clearTimeout(timer)
      resume(Effect.void)
    })
    for (const exchange of live) endStream(exchange)
    server.closeIdleConnections()
  })

const endStream = ({ stream, response }: Exchange) => {
  if (stream === undefined) return
  stream.unpipe(response)
  response.end(() => stream.destroy())
}

const pathOf = (request: IncomingMessage) => ControlRoutes.pathOf(request.url ?? "/")

const headersOf = (problem: Problem.Problem, more: Readonly<Record<string, string>> = {}) => {
  const body = JSON.stringify(problem)
  return { body, headers: { "content-type": Problem.contentType, "content-length": Buffer.byteLength(body), ...more } }
}

/** Answers without reading the body, and ends the connection. */
const refuse = (
  { request, response }: Exchange,
  tag: Problem.ServerErrorTag,
  detail: string,
  more: Readonly<Record<string, string>> = {}
) => {
  if (response.headersSent) return void response.destroy()
  const problem = Problem.fromServerError(tag, { instance: pathOf(request), detail })
  const { body, headers } = headersOf(problem, { connection: "close", ...more })
  HttpDoor.closeAfter(response)
  response.writeHead(problem.status, headers)
  if (request.method === "HEAD" || request.complete || !HttpDoor.hasBody(request)) {
    response.end(request.method === "HEAD" ? undefined : body)
  } else HttpDoor.endLingering(response, Buffer.from(body))
}

const hostRefusal = (request: IncomingMessage): string | undefined => {
  const host = request.headers.host ?? ""
  const name = /^(\[[^\]]+\]|[^:]*)(?::\d{1,5})?$/
    .exec(host)?.[1]
    ?.toLowerCase()
    .replace(/^\[|\]$/g, "")
  if (name !== undefined && isLoopback(name)) return undefined
  return `${host} is not a name of this machine. A web page of another site may be behind this call: use localhost`
}

const isAuthorized = (request: IncomingMessage, adminToken: string): boolean => {
  const given = /^bearer +(\S+) *$/i.exec(request.headers.authorization ?? "")?.[1]
  return given !== undefined && AdminToken.equals(given, adminToken)
}

const isJson = (contentType: string | undefined): boolean =>
  contentType?.split(";", 1)[0]?.trim().toLowerCase() === "application/json"

const serve = async (
  exchange: Exchange,
  { handler, adminToken }: { readonly handler: ControlRoutes.WebHandler; readonly adminToken: string }
): Promise<void> => {
  const { request, response } = exchange
  const fault = HttpDoor.faultOf(request)
  if (fault !== undefined) return refuse(exchange, tagOf[fault.status], fault.detail)
  const hostProblem = hostRefusal(request)
  if (hostProblem !== undefined) return refuse(exchange, "HostNotAllowed", hostProblem)
  const path = pathOf(request)
  if (!ControlRoutes.publicPaths.has(path) && !isAuthorized(request, adminToken)) {
    const detail =
      "the admin token is missing or wrong: send `authorization: Bearer ...` with what the file admin-token in the " +
      "state directory holds"
    return refuse(exchange, "Unauthorized", detail, { "www-authenticate": 'Bearer realm="millrace"' })
  }
  const url = urlOf(request)
  if (url === undefined) return refuse(exchange, "RequestNotValid", "the request target is not a path")
  if (HttpDoor.hasBody(request) && !isJson(request.headers["content-type"])) {
    return refuse(exchange, "ContentTypeUnsupported", "send JSON, with `content-type: application/json`")
  }
  if (request.headers.expect !== undefined && request.httpVersionMinor > 0) response.writeContinue()
  const body = await readBody(request)
  if (body === "too-large") {
    return refuse(exchange, "BodyTooLarge", `a body may have ${bodyBytesMax} bytes at most`)
  }
  if (body === "broken-off") return
  // Decoding would put other characters in the place of what is none, and store those.
  if (!isUtf8(body)) return refuse(exchange, "RequestNotValid", "the body is not UTF-8: send JSON in UTF-8")
  const method = request.method ?? "GET"
  // `Request` refuses these by throwing; no route takes them.
  const answer = ["CONNECT", "TRACE", "TRACK"].includes(method)
    ? undefined
    : await handler(
        new Request(url, {
          method,
          headers: webHeaders(request),
          signal: exchange.abort.signal,
          ...(body.length === 0 || method === "GET" || method === "HEAD" ? {} : { body })
        })
      )
  if (answer === undefined) {
    const methods = ControlRoutes.allowed(path).join(", ")
    return refuse(exchange, "MethodNotAllowed", `${path} does not take ${method}`, { allow: methods })
  }
  await write(exchange, response, answer)
}

/** Only origin form: an authority in the target would be another way around the Host check. */
const urlOf = (request: IncomingMessage): URL | undefined => {
  const target = request.url ?? ""
  return target.startsWith("/") ? (URL.parse(`http://localhost${target}`) ?? undefined) : undefined
}

const webHeaders = (request: IncomingMessage): Headers => {
  const headers = new Headers()
  const { accept } = request.headers
  const contentType = request.headers["content-type"]
  // No route reads more than these, so nothing else can be smuggled through.
  if (accept !== undefined) headers.set("accept", accept)
  if (contentType !== undefined) headers.set("content-type", "application/json")
  return headers
}

const readBody = (request: IncomingMessage): Promise<Uint8Array<ArrayBuffer> | "too-large" | "broken-off"> =>
  new Promise((resolve) => {
    if (Number(request.headers["content-length"] ?? 0) > bodyBytesMax) return resolve("too-large")
    const chunks: Array<Buffer> = []
    let size = 0
    const onData = (chunk: Buffer) => {
      size += chunk.length
      if (size <= bodyBytesMax) chunks.push(chunk)
      else {
        request.off("data", onData)
        resolve("too-large")
      }
    }
    request.on("data", onData)
    request.once("end", () => resolve(Uint8Array.from(Buffer.concat(chunks))))
    request.once("error", () => resolve("broken-off"))
    request.once("close", () => resolve("broken-off"))
  })

const write = async (exchange: Exchange, response: ServerResponse, answer: Response): Promise<void> => {
  response.writeHead(answer.status, Object.fromEntries(answer.headers))
  if (answer.body === null) {
    response.end()
    return
  }
  if (answer.headers.has("content-length")) {
    response.end(new Uint8Array(await answer.arrayBuffer()))
    return
  }
  const stream = Readable.fromWeb(answer.body)
  exchange.stream = stream
  // The reader sees that the stream is open before the first line.
  response.flushHeaders()
  await pipeline(stream, response).catch((cause: unknown) => {
    if (!response.writableEnded && !exchange.abort.signal.aborted) throw cause
  })
}

const tagOf = {
  400: "RequestNotValid",
  405: "MethodNotAllowed",
  408: "RequestTimedOut",
  413: "BodyTooLarge",
  414: "TargetTooLong",
  417: "ExpectationFailed",
  431: "HeadersTooLarge",
  501: "NotImplemented",
  505: "VersionNotSupported"
} as const satisfies Record<HttpDoor.Fault["status"], Problem.ServerErrorTag>

/** What is not HTTP at all ends its own connection. */
const rawAnswer = ({ status, detail }: HttpDoor.Fault): string => {
  const problem = Problem.fromServerError(tagOf[status], { instance: "/", detail })
  const { body, headers } = headersOf(problem, { connection: "close" })
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${problem.status} ${problem.title}\r\n${head.join("")}\r\n${body}`
}
