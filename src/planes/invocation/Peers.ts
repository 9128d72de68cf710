/**
 * What gateways say to each other beside the calls that they pass on: three fields on a request, one on an answer. They
 * carry a secret, so that nobody else can say them, and never reach a function or a caller.
 *
 * P1 a request with the secret is never passed on again, so there are no loops.
 *
 * @module
 */
import { createHmac, timingSafeEqual } from "node:crypto"
import type { IncomingMessage, ServerResponse } from "node:http"
import * as CallHeaders from "./CallHeaders.ts"

export const secretHeader = "millrace-peer"
/** The id that the call is to have, or has. */
export const requestHeader = "millrace-peer-request"
/** Not a new call: its caller waits for this request, which the owner may have. */
export const attachHeader = "millrace-peer-attach"
const outcomeHeader = "millrace-peer-outcome"

/** Instead of an answer for the caller. */
export type Outcome =
  /** Nothing was taken: ask who has it. */
  | "not-owner"
  /** It was here, and has another owner now. */
  | "moved"
  /** Its owner does not know it. */
  | "unknown-request"

const outcomes: ReadonlyArray<Outcome> = ["not-owner", "moved", "unknown-request"]

/** Of the secret that all gateways share; tells nothing about it. */
export const secretOf = (secret: Uint8Array): string =>
  createHmac("sha256", secret).update("millrace gateways").digest("hex")

export interface PeerSay {
  readonly requestId: string
  readonly isAttach: boolean
}

/** Undefined: it comes from a caller, whatever it says. */
export const sayOf = ({ headers }: IncomingMessage, secret: string): PeerSay | undefined => {
  const given = headers[secretHeader]
  if (typeof given !== "string" || given.length !== secret.length) return undefined
  if (!timingSafeEqual(Buffer.from(given), Buffer.from(secret))) return undefined
  return { requestId: String(headers[requestHeader] ?? ""), isAttach: headers[attachHeader] !== undefined }
}

export const answer = (response: ServerResponse, outcome: Outcome): void => {
  if (response.headersSent) {
    response.destroy()
    return
  }
  // What comes behind the head of a call that was not taken would be read as the next one.
  const isOpen = !response.req.complete
  response.writeHead(503, [outcomeHeader, outcome, "content-length", "0", ...(isOpen ? ["connection", "close"] : [])])
  response.end()
}

export const outcomeOf = ({ headers }: IncomingMessage): Outcome | undefined =>
  outcomes.find((outcome) => outcome === headers[outcomeHeader])

/** Fields of a call as it is passed on. `bodyBytes`: of a body that was read already; undefined: as it comes. */
export const headersOf = (
  request: IncomingMessage,
  say: PeerSay & { readonly secret: string },
  bodyBytes: number | undefined
): Array<string> => {
  const flat: Array<string> = []
  for (const [name, value] of CallHeaders.forwarded(request.rawHeaders, request.headers.connection)) {
    if (name === "content-length" && bodyBytes !== undefined) continue
    flat.push(name, value)
  }
  flat.push(secretHeader, say.secret, requestHeader, say.requestId)
  if (say.isAttach) flat.push(attachHeader, "1")
  if (bodyBytes !== undefined) flat.push("content-length", String(bodyBytes))
  // The body stays here until the owner says that it takes the call.
  else flat.push("expect", "100-continue")
  if (bodyBytes === undefined && request.headers["content-length"] === undefined) {
    flat.push("transfer-encoding", "chunked")
  }
  return flat
}

/** Fields of an answer on its way to the caller. */
export const answerHeaders = (answered: IncomingMessage): Array<string> => {
  const flat: Array<string> = []
  const { rawHeaders } = answered
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? ""
    if (!CallHeaders.isConnectionHeader(name.toLowerCase())) flat.push(name, rawHeaders[at + 1] ?? "")
  }
  return flat
}
