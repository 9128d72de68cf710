/**
 * A caller at the level of HTTP/1.1 that hides nothing: the host is its own, bodies go out when it says so, answers are
 * read when it wants to, and every connection is its own.
 *
 * @module
 */
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from "node:http"
import { connect, type Socket } from "node:net"

export interface CallOptions {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string | ReadonlyArray<string>>>
  readonly body?: string | Uint8Array
  /** Instead of the URL's own. */
  readonly host?: string
  /** Chunked, even though the whole body is known. */
  readonly chunked?: boolean
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: ReadonlyArray<string>
  readonly bytes: Buffer
  readonly text: string
  /** Wall time from before the connection to the last byte. */
  readonly wallMs: number
  // What a function or a problem says is looked at by the test that asked for it.
  readonly json: () => Record<string, unknown>
}

export interface OpenCall {
  readonly write: (bytes: string | Uint8Array) => boolean
  readonly drained: () => Promise<void>
  readonly end: (bytes?: string | Uint8Array) => void
  /** The caller's connection is cut. */
  readonly leave: () => void
  /** Resolves with the head of the answer. */
  readonly answer: Promise<IncomingMessage>
}

/** Begins a call whose body is still open. */
export const open = (url: string, options: CallOptions = {}): OpenCall => {
  const target = new URL(url)
  const request = httpRequest({
    host: target.hostname,
    port: target.port,
    path: `${target.pathname}${target.search}`,
    method: options.method ?? "POST",
    agent: false,
    headers: { ...(options.host === undefined ? {} : { host: options.host }), ...mutable(options.headers) }
  })
  const answer = new Promise<IncomingMessage>((resolve, reject) => {
    request.on("response", resolve)
    request.on("error", reject)
  })
  // Looked at by the tests that care; a call that is left on purpose fails on purpose.
  answer.catch(() => {})
  return {
    write: (bytes) => request.write(bytes),
    drained: () => new Promise((resolve) => request.once("drain", resolve)),
    end: (bytes) => void (bytes === undefined ? request.end() : request.end(bytes)),
    leave: () => request.destroy(),
    answer
  }
}

const mutable = (headers: CallOptions["headers"]): Record<string, string | Array<string>> =>
  Object.fromEntries(
    Object.entries(headers ?? {}).map(([name, value]) => [name, typeof value === "string" ? value : [...value]])
  )

/** One whole call. Rejects when the connection breaks before the answer's end. */
export const call = async (url: string, options: CallOptions = {}): Promise<Answer> => {
  const startedMs = performance.now()
  const { body, chunked = false } = options
  const method = options.method ?? (body === undefined ? "GET" : "POST")
  const length = body === undefined || chunked ? {} : { "content-length": String(Buffer.byteLength(body)) }
  const opened = open(url, { ...options, method, headers: { ...length, ...options.headers } })
  opened.end(body)
  return readAll(await opened.answer, startedMs)
}

export const readAll = async (message: IncomingMessage, startedMs = performance.now()): Promise<Answer> => {
  const parts: Array<Buffer> = []
  for await (const part of message) parts.push(part)
  const bytes = Buffer.concat(parts)
  return {
    status: message.statusCode ?? 0,
    headers: message.headers,
    rawHeaders: message.rawHeaders,
    bytes,
    text: bytes.toString("utf8"),
    wallMs: performance.now() - startedMs,
    json: () => JSON.parse(bytes.toString("utf8"))
  }
}

/** What a server says to exactly these bytes, until it closes or `until` is seen. */
export const raw = (url: string, bytes: string, until?: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url)
    let seen = ""
    const socket: Socket = connect(Number(port), hostname, () => socket.write(bytes, "latin1"))
    const finish = () => {
      clearTimeout(timer)
      socket.destroy()
      resolve(seen)
    }
    const timer = setTimeout(() => reject(new Error(`the connection stays open after ${JSON.stringify(seen)}`)), 10_000)
    socket.on("data", (chunk) => {
      seen += chunk.toString("latin1")
      if (until !== undefined && seen.includes(until)) finish()
    })
    socket.on("close", finish)
    socket.on("error", finish)
  })

/** The phases of a `Server-Timing` header in milliseconds. */
export const phases = (headers: IncomingHttpHeaders): Readonly<Record<string, number>> =>
  Object.fromEntries(
    String(headers["server-timing"] ?? "")
      .split(", ")
      .map((part) => part.split(";dur="))
      .map(([name = "", value]) => [name, Number(value)])
  )
