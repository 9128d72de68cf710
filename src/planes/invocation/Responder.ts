/**
 * Writes answers: a function's own, a problem, an acceptance. The only place that touches `ServerResponse`.
 *
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { HeaderList } from "../../worker-sdk/protocol/WorkerMessage.ts"
import { isConnectionHeader } from "./CallHeaders.ts"
import * as Problem from "./Problem.ts"

/** Headers that every answer to a call carries; receipt and id are known only then. */
export interface Stamp {
  readonly requestId: string | undefined
  readonly receipt: string | undefined
}

const exposed = "nvcf-reqid"

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
  if (stamp.receipt !== undefined) headers.push("server-timing", stamp.receipt)
  return headers
}

const bodyless = (status: number) => status === 204 || status === 304 || status < 200

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
    if (name === "content-length" && bytes !== undefined && !head) continue
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

export const begin = (response: ServerResponse, stamp: Stamp, status: number, headers: HeaderList): void => {
  response.writeHead(status, functionHeaders(stamp, status, headers, undefined, response.req.method === "HEAD"))
  // A stream's head must not wait for its first chunk: SSE callers show "connected" by it.
  response.flushHeaders()
}

export const problem = (response: ServerResponse, stamp: Stamp, value: Problem.Problem): void => {
  if (response.headersSent) {
    response.destroy()
    return
  }
  const body = Problem.encode(value, stamp.requestId)
  const headers = stampHeaders(stamp, value.status)
  headers.push("content-type", "application/problem+json", "content-length", String(body.length))
  if (value.retryAfterSeconds !== undefined) headers.push("retry-after", String(value.retryAfterSeconds))
  if (value.allow !== undefined) headers.push("allow", value.allow)
  // What is left of a refused body would be read as the next request.
  if (!response.req.complete) headers.push("connection", "close")
  response.writeHead(value.status, headers)
  response.end(response.req.method === "HEAD" ? undefined : body)
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
export const preflight = (request: IncomingMessage, response: ServerResponse): void => {
  const headers: Array<string> = [
    "access-control-allow-credentials",
    "true",
    "access-control-max-age",
    "86400",
    "vary",
    "origin, access-control-request-method, access-control-request-headers",
    "content-length",
    "0"
  ]
  const { origin } = request.headers
  if (origin !== undefined) headers.push("access-control-allow-origin", origin)
  const method = request.headers["access-control-request-method"]
  if (typeof method === "string") headers.push("access-control-allow-methods", method)
  const names = request.headers["access-control-request-headers"]
  if (typeof names === "string") headers.push("access-control-allow-headers", names)
  response.writeHead(200, headers)
  response.end()
}
