/**
 * The headers of a call that mean something to Millrace, read once at the border. Everything else is the function's.
 *
 * @module
 */
import type { HeaderList } from "../../worker-sdk/protocol/WorkerMessage.ts"
import { badHeader, notServed, type Problem } from "./Problem.ts"

export interface CallHeaders {
  /** Answer 202 at once and keep the result (`Prefer: respond-async`). */
  readonly respondAsync: boolean
  /** Answer 202 after this long (`Prefer: respond-async, wait=10`, `NVCF-POLL-SECONDS`). */
  readonly waitMs: number | undefined
  readonly idempotencyKey: string | undefined
  /** Unix ms. */
  readonly deadlineMs: number | undefined
  /** Undefined: as the deployment says. */
  readonly cancelOnDisconnect: boolean | undefined
  /** Events of a stream that have no id get one (`Millrace-Event-Ids: true`). */
  readonly eventIds: boolean
}

type Headers = NodeJS.Dict<string | Array<string>>

const none: CallHeaders = {
  respondAsync: false,
  waitMs: undefined,
  idempotencyKey: undefined,
  deadlineMs: undefined,
  cancelOnDisconnect: undefined,
  eventIds: false
}

export const isProblem = <A extends object>(value: A | Problem): value is Problem =>
  "kind" in value && "detail" in value

const single = (headers: Headers, name: string): string | undefined => {
  const value = headers[name]
  return Array.isArray(value) ? value.join(", ") : value
}

/** Two values of what may have one are joined by the parser, so only a value with this in it can be two. */
const joint = ", "

const count = (raw: ReadonlyArray<string>, wanted: string): number => {
  let found = 0
  for (let at = 0; at < raw.length; at += 2) if (raw[at]?.toLowerCase() === wanted) found++
  return found
}

/** `raw`: the same headers as they came, to tell two of a name from one. */
export const parse = (headers: Headers, raw: ReadonlyArray<string>, atMs: number): CallHeaders | Problem => {
  const prefer = single(headers, "prefer")
  const key = single(headers, "idempotency-key")
  const deadline = single(headers, "millrace-deadline")
  const onDisconnect = single(headers, "millrace-on-disconnect")
  if (headers["nvcf-input-asset-references"] !== undefined) {
    return notServed("The header NVCF-INPUT-ASSET-REFERENCES (input assets)")
  }
  const eventIds = parseEventIds(headers)
  if (typeof eventIds !== "boolean") return eventIds
  if (prefer === undefined && key === undefined && deadline === undefined && onDisconnect === undefined) {
    return eventIds ? { ...none, eventIds } : none
  }
  if (key !== undefined && !/^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$/.test(key)) {
    return badHeader("Idempotency-Key", key, "1 to 255 visible ASCII characters")
  }
  if (key?.includes(joint) === true && count(raw, "idempotency-key") > 1) {
    return badHeader("Idempotency-Key", key, "it once: two keys might mean two requests")
  }
  if (onDisconnect !== undefined && onDisconnect !== "cancel" && onDisconnect !== "continue") {
    return badHeader("Millrace-On-Disconnect", onDisconnect, "`cancel` or `continue`")
  }
  const deadlineMs = deadline === undefined ? undefined : parseDeadline(deadline, atMs)
  if (deadlineMs !== undefined && Number.isNaN(deadlineMs)) {
    return badHeader(
      "Millrace-Deadline",
      deadline ?? "",
      "a duration from now such as `30s`, `1500ms`, `5m` or `2h`, or a time such as `2030-01-31T12:00:00Z`, at most 24h from now"
    )
  }
  const preference = prefer === undefined ? { respondAsync: false, waitMs: undefined } : parsePrefer(prefer)
  return {
    ...preference,
    idempotencyKey: key,
    deadlineMs,
    cancelOnDisconnect: onDisconnect === undefined ? undefined : onDisconnect === "cancel",
    eventIds
  }
}

export const parseEventIds = (headers: Headers): boolean | Problem => {
  const given = single(headers, "millrace-event-ids")
  if (given === undefined || given === "false") return false
  return given === "true" ? true : badHeader("Millrace-Event-Ids", given, "`true` or `false`")
}

/** RFC 7240; preferences that we do not know are ignored, as it says. */
const parsePrefer = (prefer: string) => {
  let respondAsync = false
  let waitMs: number | undefined
  for (const part of prefer.split(",")) {
    const [name, value] = part.split(";")[0]?.trim().toLowerCase().split("=") ?? []
    if (name === "respond-async") respondAsync = true
    if (name === "wait" && value !== undefined && /^"?\d{1,5}"?$/.test(value)) {
      waitMs = Number(value.replaceAll('"', "")) * 1000
    }
  }
  // `wait` without `respond-async` is no request to be answered early.
  return respondAsync && waitMs !== undefined && waitMs > 0
    ? { respondAsync: false, waitMs }
    : { respondAsync, waitMs: undefined }
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
const durationMaxMs = 86_400_000
const dateTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/

/** NaN for what is neither. */
const parseDeadline = (text: string, atMs: number): number => {
  const duration = /^(\d{1,12})(ms|s|m|h)$/.exec(text)
  if (duration !== null) {
    const ms = Number(duration[1]) * (unitMs[duration[2] ?? ""] ?? Number.NaN)
    return ms > 0 && ms <= durationMaxMs ? atMs + ms : Number.NaN
  }
  const time = dateTime.test(text) ? Date.parse(text) : Number.NaN
  return time - atMs <= durationMaxMs ? time : Number.NaN
}

export const pollDefaultMs = 60_000
export const pollStreamDefaultMs = 1_200_000

/** `NVCF-POLL-SECONDS`: whole seconds, raised to 1, at most 3600. */
export const parsePollMs = (headers: Headers, streamDefault: boolean): number | Problem => {
  const text = single(headers, "nvcf-poll-seconds")
  if (text === undefined) {
    return streamDefault && single(headers, "accept") === "text/event-stream" ? pollStreamDefaultMs : pollDefaultMs
  }
  if (!/^\d{1,9}$/.test(text) || Number(text) > 3600) {
    const { detail } = badHeader("NVCF-POLL-SECONDS", text, "whole seconds from 0 to 3600")
    // NVCF's words first: its callers may look for them.
    return { status: 400, kind: "bad-header", detail: `failed to parse poll duration: ${detail}` }
  }
  return Math.max(1, Number(text)) * 1000
}

const hopByHop = new Set([
  "connection",
  "proxy-connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "expect",
  // Between gateways (`Peers`).
  "millrace-peer",
  "millrace-peer-request",
  "millrace-peer-attach"
])

/** What goes on to the function: names in lower case, hop-by-hop headers and what `Connection` names removed. */
export const forwarded = (raw: ReadonlyArray<string>, connection: string | undefined): HeaderList => {
  const named =
    connection === undefined || connection === "keep-alive" || connection === "close"
      ? undefined
      : new Set(connection.split(",").map((name) => name.trim().toLowerCase()))
  const headers: Array<readonly [string, string]> = []
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = (raw[at] ?? "").toLowerCase()
    if (hopByHop.has(name) || named?.has(name) === true) continue
    headers.push([name, raw[at + 1] ?? ""])
  }
  return headers
}

/** Headers of a function's answer that describe the connection to the worker, not the answer. */
export const isConnectionHeader = (name: string): boolean => hopByHop.has(name)
