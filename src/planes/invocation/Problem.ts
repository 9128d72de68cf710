/**
 * Errors as callers see them: problem details (RFC 9457) with a status, a stable kind and a sentence that says what
 * happened, what it means and what to do.
 *
 * @module
 */
import { STATUS_CODES } from "node:http"
import type { Reason, Refusal, Terminal } from "../../core/buffer/BufferEvent.ts"
import { FabricUnavailable } from "../fabric/FabricError.ts"
import type * as HttpDoor from "../HttpDoor.ts"

export interface Problem {
  readonly status: number
  /** Stable, for programs; becomes `type: urn:millrace:problem:{kind}`. */
  readonly kind: string
  readonly detail: string
  readonly retryAfterSeconds?: number
  readonly allow?: string
}

export const encode = (problem: Problem, requestId?: string): Buffer =>
  Buffer.from(
    JSON.stringify({
      type: `urn:millrace:problem:${problem.kind}`,
      title: STATUS_CODES[problem.status] ?? "Error",
      status: problem.status,
      detail: problem.detail,
      ...(requestId === undefined ? {} : { instance: `urn:uuid:${requestId}` })
    })
  )

const problem = (status: number, kind: string, detail: string, more?: Partial<Problem>): Problem => ({
  status,
  kind,
  detail,
  ...more
})

/** What a caller named came from outside: shown shortened and without control characters. */
export const quote = (text: string): string => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is taken out
  const printable = text.replace(/[\u0000-\u001f\u007f-\u009f]/g, "?")
  return JSON.stringify(printable.length > 120 ? `${printable.slice(0, 117)}...` : printable)
}

export const unknownFunction = (name: string) =>
  problem(
    404,
    "unknown-function",
    `No function or version ${quote(name)} is registered: check the name, or deploy it with \`millrace deploy\`.`
  )

export const notDeployed = (name: string) =>
  problem(
    409,
    "not-deployed",
    `The function ${quote(name)} exists and its version is not deployed, so nothing may run it: deploy it with \`millrace deploy\`.`
  )

export const unknownRoute = (path: string) =>
  problem(
    404,
    "unknown-route",
    `Nothing is served at ${quote(path)}: call /f/{name}/..., /v2/nvcf/pexec/functions/{id} or the host {functionId}.invocation.localhost.`
  )

export const unknownRequest = () =>
  problem(
    404,
    "unknown-request",
    "No request with this id is known: it never was accepted here, it was answered to its waiting caller, or its result was kept and has expired."
  )

export const resultExpired = (keptMs: number) =>
  problem(
    410,
    "result-expired",
    `The request has ended and its result was kept for ${Math.round(keptMs)} ms (resultRetentionMs), which are over: claim results earlier, or have them kept longer.`
  )

export const unknownEvent = (id: string) =>
  problem(
    409,
    "unknown-event",
    `The stream of this request has no event with the id ${quote(id)}: read it from its beginning, without Last-Event-ID.`
  )

export const eventsNotKept = () =>
  problem(
    410,
    "events-not-kept",
    "Events that follow are not kept any more (they are kept for a bounded time and size), so the stream cannot be continued without a gap."
  )

export const streamBroken = (message: string | null) =>
  problem(
    502,
    "stream-broken",
    `The stream broke off and is not continued by another attempt, because a part of it had been seen.${message === null || message === "" ? "" : ` ${message}`} Call again.`
  )

export const methodNotAllowed = (allow: string) =>
  problem(405, "method-not-allowed", `This address takes ${allow} only.`, { allow })

export const notServed = (what: string) =>
  problem(501, "not-served", `${what} is part of the NVCF interface and is not served by this version of Millrace.`)

export const badHeader = (name: string, value: string, expected: string) =>
  problem(400, "bad-header", `The header ${name} is ${quote(value)}; expected ${expected}. Nothing was enqueued.`)

/** `mayHaveBegun`: a call may run before its body is there. */
export const badHttp = ({ status, detail, allow }: HttpDoor.Fault, mayHaveBegun: boolean) =>
  problem(
    status,
    status === 405 ? "method-not-allowed" : status === 408 ? "too-slow" : "bad-http",
    `${detail} ${mayHaveBegun ? "If the function had begun, it is stopped; nothing is kept." : "Nothing was enqueued."}`,
    allow === undefined ? {} : { allow }
  )

export const badRequest = (detail: string) => problem(400, "bad-request", detail)

export const bodyTooLarge = (limit: number) =>
  problem(
    413,
    "body-too-large",
    `The body exceeds ${limit} bytes, the limit of this deployment (bodyBytesMax): send less, or raise the limit. Nothing was enqueued.`
  )

export const bodyTooSlow = () =>
  problem(
    408,
    "too-slow",
    "The body of this call came too slowly, so the connection is closed and the call is not kept: send it again, faster."
  )

/** `hasArrived`: it may have begun to run while its record was on the way to the disk. */
export const storeFull = (hasArrived: boolean) =>
  problem(
    503,
    "store-full",
    `The disk of Millrace is full, so nothing more is accepted until there is room: free some, no restart is needed. ${
      hasArrived ? "This call was not accepted, and may have begun to run." : "Nothing was enqueued."
    }`,
    { retryAfterSeconds: 5 }
  )

/** Its body could not be put on the disk. `hasArrived`: it may have begun to run meanwhile. */
export const bodyUnwritten = (error: unknown, hasArrived: boolean) =>
  error instanceof FabricUnavailable && error.retryable
    ? storeFull(hasArrived)
    : problem(
        503,
        "store-failed",
        `The store could not take the body of this call: look at the log of this process for what its folder of blobs refused. ${
          hasArrived ? "This call was not accepted, and may have begun to run." : "Nothing was enqueued."
        }`,
        { retryAfterSeconds: 5 }
      )

/** What is kept of a request or its answer could not be read. */
export const notRead = () =>
  problem(
    503,
    "store-failed",
    "The store could not be read, so the answer cannot be shown now: look at the log of this process. What was kept is still kept: ask again.",
    { retryAfterSeconds: 5 }
  )

export const shuttingDown = () =>
  problem(503, "shutting-down", "This gateway is shutting down and accepts nothing new: try again shortly.", {
    retryAfterSeconds: 1
  })

/** Its shard is between two owners, or its owner cannot be reached. */
export const shardMoving = () =>
  problem(
    503,
    "shard-moving",
    "The gateway that takes calls of this function is changing, or cannot be reached from here: nothing was enqueued. Try again shortly.",
    { retryAfterSeconds: 1 }
  )

/** The owner of its shard was lost while it had the call. */
export const ownerLost = () =>
  problem(
    503,
    "owner-lost",
    "The gateway that had this call was lost before anybody was told that it is accepted, and its successor does not have it: it was not kept, and may have begun to run. Whether it ran is not known. Ask again with an Idempotency-Key, then it runs once.",
    { retryAfterSeconds: 1 }
  )

/** Its owner changes, and what became of it cannot be asked now. */
export const ownerChanging = () =>
  problem(
    503,
    "owner-changing",
    "The gateway that has this request is changing, or cannot be reached from here, so what became of it is not known now. What was accepted is kept: ask for it again by its id, or call again with the same Idempotency-Key.",
    { retryAfterSeconds: 1 }
  )

export const fromRefusal = (refusal: Refusal): Problem => {
  switch (refusal.kind) {
    case "queue-full":
      return problem(
        429,
        "queue-full",
        `The queue is full (limit by ${refusal.limit}): nothing was enqueued, try again later.`,
        { retryAfterSeconds: Math.max(1, Math.ceil(refusal.retryAfterMs / 1000)) }
      )
    case "tenant-full":
      return problem(
        429,
        "tenant-queue-full",
        `Your requests hold your share of the queue (limit by ${refusal.limit}); what is left is for others: nothing was enqueued, try again later.`,
        { retryAfterSeconds: Math.max(1, Math.ceil(refusal.retryAfterMs / 1000)) }
      )
    case "idempotency-conflict":
      return problem(
        409,
        "idempotency-conflict",
        "This Idempotency-Key was used with another method, path or body: use a new key for a new request."
      )
    case "deadline-passed":
      return problem(504, "deadline-passed", "The deadline had passed when the request came: nothing was enqueued.")
    case "duplicate-sequence":
      return problem(
        500,
        "defect",
        "The shard refused its own numbering; nothing was enqueued. This is a defect of Millrace."
      )
    case "store-failed":
      return problem(
        503,
        "store-failed",
        `The store failed, so nothing can be accepted: look at the log of this process, free or replace the disk, and restart it. Accepted requests are kept. ${
          refusal.kept === "nothing"
            ? "Nothing of this call was kept."
            : "Whether this call was kept is not known: it may run after the restart. Ask again with the same Idempotency-Key, or look for it by its id."
        }`,
        { retryAfterSeconds: 5 }
      )
  }
}

/** A request that ended without an answer of the function. */
export const fromEnd = (terminal: Terminal, reason: Reason | null, message: string | null): Problem => {
  const said = message === null || message === "" ? "" : ` ${message}`
  switch (terminal) {
    case "expired":
      return problem(504, "deadline-passed", `The deadline of this request passed before an answer was there.${said}`)
    case "cancelled":
      return problem(409, "cancelled", `The request was cancelled.${said}`)
    case "dead-lettered":
      return problem(
        502,
        "attempts-exhausted",
        `Every attempt of this request was lost, so it was set aside as a dead letter.${said}`
      )
    case "failed":
      return reason === "store-failed"
        ? problem(503, "store-failed", `The store failed before the answer could be kept.${said}`, {
            retryAfterSeconds: 5
          })
        : reason === "function-removed"
          ? problem(410, "function-removed", `The function was removed while the request waited.${said}`)
          : problem(502, "function-failed", `The function failed.${said}`)
    case "responded":
      return problem(410, "result-not-kept", `The request was answered and its result was not kept.${said}`)
  }
}
