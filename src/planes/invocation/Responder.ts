/**
 * Writes answers: a function's own, a problem, an acceptance. The only place that touches `ServerResponse`.
 *
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { HeaderList } from "../../worker-sdk/protocol/WorkerMessage.ts"
import * as HttpDoor from "../HttpDoor.ts"
import { isConnectionHeader } from "./CallHeaders.ts"
import * as Problem from "./Problem.ts"

/** Headers that every answer carries. */
export interface Stamp {
  readonly requestId: string | undefined
  readonly receipt: string
  /** Mirrored to callers of another origin; undefined where the function answers such questions itself. */
  readonly origin: string | undefined
}

const exposed = "nvcf-reqid"
const vary = "origin, access-control-request-method, access-control-request-headers"
const mirrored = new Set(["access-control-allow-origin", "access-control-allow-credentials"])

const stampHeaders = (stamp: Stamp, status: number): Array<string> => {
  const headers: Array<string> = []
  if (stamp.requestId !== undefined) {
    headers.push(
      "nvcf-reqid",
      stamp.requestId,
      "nvcf-status",
      status === 202 ? "in-progress" : status >= 200 && status < 400 ? "fulfilled" : "errored",
      "access-control-expose-headers",
      exposed
    )
  }
  headers.push("server-timing", stamp.receipt)
  if (stamp.origin !== undefined) {
    headers.push("access-control-allow-origin", stamp.origin, "access-control-allow-credentials", "true", "vary", vary)
  }
  return headers
}

const bodyless = (status: number) => status === 204 || status === 304 || status < 200

/** The length that a function announced, if it is one. */
const announced = (headers: HeaderList): number | undefined => {
  const lengths = headers.filter(([name]) => name === "content-length")
  const text = lengths.length === 1 ? lengths[0]?.[1] : undefined
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

/** Head of a function's answer; `bytes` when the whole body is known. */
const functionHeaders = (
  stamp: Stamp,
  status: number,
  headers: HeaderList,
  bytes: number | undefined,
  head: boolean
) => {
  const flat = stampHeaders(stamp, status)
  for (const [name, value] of headers) {
    if (isConnectionHeader(name)) continue
    // Ours is right for what is sent; for HEAD, and for a stream of announced length, the function's is.
    if (name === "content-length" && ((bytes !== undefined && !head) || announced(headers) === undefined)) continue
    // Two of them are none to a browser.
    if (stamp.origin !== undefined && mirrored.has(name)) continue
    flat.push(name, value)
  }
  if (bytes !== undefined && !head && !bodyless(status)) flat.push("content-length", String(bytes))
  return flat
}

export const whole = (
  response: ServerResponse,
  stamp: Stamp,
  status: number,
  headers: HeaderList,
  body: Uint8Array
): void => {
  const head = response.req.method === "HEAD"
  response.writeHead(status, functionHeaders(stamp, status, headers, body.length, head))
  if (head || bodyless(status)) response.end()
  else response.end(body)
}

/**
 * Begins a stream; `bytes` where its length is known for certain. Answers the length that the caller was told: with any
 * other number of bytes, the next answer on the connection would be misread.
 */
export const begin = (
  response: ServerResponse,
  stamp: Stamp,
  status: number,
  headers: HeaderList,
  bytes?: number
): number | undefined => {
  const head = response.req.method === "HEAD"
  response.writeHead(status, functionHeaders(stamp, status, headers, bytes, head))
  // A stream's head must not wait for its first chunk: SSE callers show "connected" by it.
  response.flushHeaders()
  return head ? undefined : (bytes ?? announced(headers))
}

/** Nothing is left to say. */
export const empty = (response: ServerResponse, stamp: Stamp): void => {
  response.writeHead(204, stampHeaders(stamp, 204))
  response.end()
}

/** Resolves when the socket takes more, or is gone. */
export const drained = (response: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    if (response.destroyed) return resolve()
    const goOn = () => {
      response.off("drain", goOn)
      response.off("close", goOn)
      resolve()
    }
    response.on("drain", goOn)
    response.on("close", goOn)
  })

/** `closes`: the connection is not trusted any more. It also ends when the body of the request is still coming in. */
export const problem = (response: ServerResponse, stamp: Stamp, value: Problem.Problem, closes = false): void => {
  if (response.headersSent) {
    response.destroy()
    return
  }
  const body = Problem.encode(value, stamp.requestId)
  const headers = stampHeaders(stamp, value.status)
  headers.push("content-type", "application/problem+json", "content-length", String(body.length))
  if (value.retryAfterSeconds !== undefined) headers.push("retry-after", String(value.retryAfterSeconds))
  if (value.allow !== undefined) headers.push("allow", value.allow)
  const { req } = response
  const isHead = req.method === "HEAD"
  // What is left of a refused body would be read as the next request.
  const isOpen = !req.complete && HttpDoor.hasBody(req)
  const isLast = isOpen || closes
  if (isLast) {
    HttpDoor.closeAfter(response)
    headers.push("connection", "close")
  }
  response.writeHead(value.status, headers)
  if (!isOpen || isHead) {
    response.end(isHead ? undefined : body)
    return
  }
  HttpDoor.endLingering(response, body)
}

export const json = (
  response: ServerResponse,
  stamp: Stamp,
  status: number,
  value: unknown,
  more: ReadonlyArray<string> = []
): void => {
  const body = Buffer.from(`${JSON.stringify(value)}\n`)
  const headers = stampHeaders(stamp, status)
  headers.push("content-type", "application/json", "content-length", String(body.length), ...more)
  response.writeHead(status, headers)
  response.end(response.req.method === "HEAD" ? undefined : body)
}

/** Mirrors the request (NVCF answers every preflight of its path routes with 200). */
export const preflight = (request: IncomingMessage, response: ServerResponse, stamp: Stamp, allow: string): void => {
  const headers = stampHeaders(stamp, 200)
  headers.push("access-control-max-age", "86400", "allow", allow, "content-length", "0")
  if (stamp.origin === undefined) headers.push("access-control-allow-credentials", "true", "vary", vary)
  const method = request.headers["access-control-request-method"]
  if (typeof method === "string") headers.push("access-control-allow-methods", method)
  const names = request.headers["access-control-request-headers"]
  if (typeof names === "string") headers.push("access-control-allow-headers", names)
  response.writeHead(200, headers)
  response.end()
}
