/**
 * The API server, asked by this process: credentials by `@kubernetes/client-node` (kubeconfig files, exec plugins, tokens,
 * the service account of a pod), requests by Node itself, because what a server does wrong must be seen here.
 *
 * A1 Every call is bounded: each try, and all tries together. A2 429 waits as long as the server says; 5xx and lost
 * connections are tried again with backoff; so every call that goes through here must be idempotent. A3 What cannot be
 * carried out for another reason (403, 404, 409, 422) is told at once, with the server's own words.
 *
 * @module
 */
import * as http from "node:http"
import * as https from "node:https"
import type { KubeConfig } from "@kubernetes/client-node"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"

/** `status` 0: no answer came, so whether the call had an effect is unknown. */
export class ApiFailure extends Data.TaggedError("ApiFailure")<{
  readonly operation: string
  readonly status: number
  /** The server's word for it, for example `AlreadyExists`. */
  readonly reason: string
  readonly detail: string
}> {
  override get message() {
    return `${this.operation}: ${this.status === 0 ? "no answer" : this.status} ${this.reason}: ${this.detail}`
  }
}

export interface Call {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE"
  readonly path: string
  readonly query?: Readonly<Record<string, string | number | undefined>>
  /** Text goes as it is. */
  readonly body?: unknown
  /** Of the body. Default: JSON. */
  readonly contentType?: string
  /** Only the metadata of what is answered: of one object, or of each in a list. */
  readonly metadataOf?: "object" | "list"
}

export interface Timing {
  /** Of one try. */
  readonly tryMs: number
  /** Of all tries together. */
  readonly deadlineMs: number
  readonly backoffMs: number
  readonly backoffMaxMs: number
}

export const timingDefault: Timing = { tryMs: 10_000, deadlineMs: 30_000, backoffMs: 100, backoffMaxMs: 5_000 }

const metadataOnly = {
  object: "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
  list: "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
}

const callsAtOnceMax = 32
const answerBytesMax = 64 * 1024 * 1024
const lineBytesMax = 4 * 1024 * 1024

export interface Api {
  /** The parsed answer; of text (logs) the text itself. */
  readonly call: (call: Call) => Effect.Effect<unknown, ApiFailure>
  /** As `call`, and undefined when there is no such object. */
  readonly find: (call: Call) => Effect.Effect<unknown, ApiFailure>
  /** Lines of an answer that goes on, until it ends; fails when nothing came for `idleMs`. Never tried again here. */
  readonly lines: (call: Call, options: LinesOptions) => Effect.Effect<void, ApiFailure>
  /** Requests that have left, tries counted each. */
  readonly requestCount: () => number
}

export interface LinesOptions {
  readonly idleMs: number
  readonly onLine: (line: string) => void
}

interface Answer {
  readonly status: number
  readonly retryAfterMs: number | undefined
  readonly text: string
}

/** What a request to the server needs beside its path; credentials may change while it lives. */
type Connection = () => Promise<{ readonly server: URL; readonly options: https.RequestOptions }>

/** `kubeconfig`: a file. Absent = what `KUBECONFIG`, `~/.kube/config` or the pod's service account says. */
export const connect = (kubeconfig: string | undefined): Effect.Effect<Connection, ApiFailure> =>
  Effect.tryPromise({
    try: async () => {
      // It takes 80 MiB and a second to load: only those who have a Kubernetes pay.
      const { KubeConfig } = await import("@kubernetes/client-node")
      const config = new KubeConfig()
      if (kubeconfig === undefined) config.loadFromDefault()
      else config.loadFromFile(kubeconfig)
      const cluster = config.getCurrentCluster()
      if (cluster === null) throw new Error("it names no current cluster")
      return connectionOf(config, new URL(cluster.server), cluster.proxyUrl !== undefined)
    },
    catch: (cause) =>
      new ApiFailure({
        operation: `read the kubeconfig ${kubeconfig ?? "of this environment"}`,
        status: 0,
        reason: "Unreadable",
        detail: String(cause)
      })
  })

const connectionOf = (config: KubeConfig, server: URL, isProxied: boolean): Connection => {
  const kept = { keepAlive: true, maxSockets: Number.POSITIVE_INFINITY }
  let agent: http.Agent | undefined
  let madeOf = ""
  return async () => {
    const options: https.RequestOptions = {}
    await config.applyToHTTPSOptions(options)
    if (isProxied) return { server, options }
    const { ca, cert, key, rejectUnauthorized, servername } = options
    const material = JSON.stringify([ca, cert, key].map(String))
    if (agent === undefined || material !== madeOf) {
      // The library's own agent opens a connection for each request.
      const tls = { ca, cert, key, rejectUnauthorized, servername }
      agent?.destroy()
      agent = server.protocol === "http:" ? new http.Agent(kept) : new https.Agent({ ...kept, ...definedOf(tls) })
      madeOf = material
    }
    return { server, options: { ...options, agent } }
  }
}

export const make = (connection: Connection, timing: Timing = timingDefault): Api => {
  const permits = Semaphore.makeUnsafe(callsAtOnceMax)
  let requestCount = 0

  const send = async (call: Call, signal: AbortSignal): Promise<http.IncomingMessage> => {
    const { server, options } = await connection()
    const text = typeof call.body === "string" || call.body === undefined ? call.body : JSON.stringify(call.body)
    const headers = {
      ...options.headers,
      accept: call.metadataOf === undefined ? "application/json, */*" : metadataOnly[call.metadataOf],
      ...(text === undefined ? {} : { "content-type": call.contentType ?? "application/json" }),
      ...(text === undefined ? {} : { "content-length": Buffer.byteLength(text) })
    }
    const prefix = server.pathname.replace(/\/$/, "")
    const path = `${prefix}${call.path}${queryOf(call.query)}`
    const { protocol, hostname, port } = server
    signal.throwIfAborted()
    requestCount++
    return new Promise((resolve, reject) => {
      const asked = { ...options, protocol, hostname: hostname.replace(/^\[|\]$/g, ""), port, path, headers, signal }
      const request = (protocol === "http:" ? http : https).request({ ...asked, method: call.method }, resolve)
      request.on("error", reject)
      request.end(text)
    })
  }

  const once = (call: Call): Effect.Effect<Answer, ApiFailure> =>
    Effect.tryPromise({
      try: async (signal) => {
        const response = await send(call, AbortSignal.any([signal, AbortSignal.timeout(timing.tryMs)]))
        const text = await textOf(response)
        return { status: response.statusCode ?? 0, retryAfterMs: retryAfterMsOf(response.headers["retry-after"]), text }
      },
      catch: (cause) => noAnswer(call, cause)
    })

  const call = Effect.fnUntraced(function* (request: Call) {
    const untilMs = performance.now() + timing.deadlineMs
    for (let attempt = 0; ; attempt++) {
      const result = yield* Effect.result(permits.withPermits(1)(once(request)))
      if (result._tag === "Success" && result.success.status < 300) return parse(result.success.text)
      const failure = result._tag === "Failure" ? result.failure : failureOf(request, result.success)
      const again = failure.status === 0 || failure.status === 429 || failure.status >= 500
      const asked = result._tag === "Success" ? result.success.retryAfterMs : undefined
      // Half of it by chance, so that many callers do not come back together.
      const backoffMs = Math.min(timing.backoffMaxMs, timing.backoffMs * 2 ** attempt) * (0.5 + Math.random() / 2)
      const waitMs = asked ?? backoffMs
      if (!again || performance.now() + waitMs >= untilMs) return yield* failure
      yield* Effect.sleep(waitMs)
    }
  })

  const lines = (request: Call, { idleMs, onLine }: LinesOptions): Effect.Effect<void, ApiFailure> =>
    Effect.tryPromise({
      try: async (signal) => {
        const idle = new AbortController()
        let timer = setTimeout(() => idle.abort(new Error(`nothing came for ${idleMs} ms`)), idleMs)
        try {
          const response = await send(request, AbortSignal.any([signal, idle.signal]))
          if ((response.statusCode ?? 0) >= 300) {
            throw failureOf(request, {
              status: response.statusCode ?? 0,
              retryAfterMs: 0,
              text: await textOf(response)
            })
          }
          let rest = ""
          for await (const piece of response.setEncoding("utf8")) {
            clearTimeout(timer)
            timer = setTimeout(() => idle.abort(new Error(`nothing came for ${idleMs} ms`)), idleMs)
            const [first = "", ...others] = String(piece).split("\n")
            rest += first
            for (const next of others) {
              if (rest !== "") onLine(rest)
              rest = next
            }
            if (rest.length > lineBytesMax) throw new Error(`a line of more than ${lineBytesMax} bytes`)
          }
          if (rest !== "") onLine(rest)
        } finally {
          clearTimeout(timer)
        }
      },
      catch: (cause) => (cause instanceof ApiFailure ? cause : noAnswer(request, cause))
    })

  return {
    call,
    find: (request) =>
      Effect.catch(call(request), (failure) => (failure.status === 404 ? Effect.succeed(undefined) : failure)),
    lines,
    requestCount: () => requestCount
  }
}

const definedOf = <A extends object>(values: A): Partial<A> =>
  // Keys with a value are of A, and of A's types.
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<A>

const queryOf = (query: Call["query"]): string => {
  const given = Object.entries(query ?? {}).flatMap(([name, value]) =>
    value === undefined ? [] : [`${encodeURIComponent(name)}=${encodeURIComponent(value)}`]
  )
  return given.length === 0 ? "" : `?${given.join("&")}`
}

const textOf = async (response: http.IncomingMessage): Promise<string> => {
  const pieces: Array<Buffer> = []
  let size = 0
  for await (const piece of response) {
    pieces.push(piece)
    size += piece.length
    if (size > answerBytesMax) throw new Error(`an answer of more than ${answerBytesMax} bytes`)
  }
  return Buffer.concat(pieces).toString("utf8")
}

/** Kubernetes says seconds; anything else is not followed. */
const retryAfterMsOf = (header: string | undefined): number | undefined =>
  header !== undefined && /^\d{1,4}$/.test(header) ? Number(header) * 1_000 : undefined

const operationOf = (call: Call): string => `${call.method} ${call.path}`

const noAnswer = (call: Call, cause: unknown): ApiFailure => {
  const detail = cause instanceof Error ? cause.message : String(cause)
  return new ApiFailure({ operation: operationOf(call), status: 0, reason: "NoAnswer", detail })
}

/** Kubernetes answers a `Status` object; what stands between may answer anything. */
const failureOf = (call: Call, { status, text }: Answer): ApiFailure => {
  const answer = parse(text)
  const field = (name: string): string | undefined => {
    const value: unknown = typeof answer === "object" && answer !== null ? Reflect.get(answer, name) : undefined
    return typeof value === "string" ? value : undefined
  }
  return new ApiFailure({
    operation: operationOf(call),
    status,
    reason: field("reason") ?? http.STATUS_CODES[status] ?? "Unknown",
    detail: (field("message") ?? text).slice(0, 2_000)
  })
}

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
