/**
 * NVCF's `exec` form: the call and the answer travel inside JSON.
 *
 * @module
 */
import type { HeaderList } from "../../worker-sdk/protocol/WorkerMessage.ts"
import type { BlobStore } from "../fabric/BlobStore.ts"
import { chunks } from "./Body.ts"
import type { Answer } from "./Entry.ts"
import { badRequest, notServed, type Problem } from "./Problem.ts"

/** The limit of the framework that NVCF is built with. */
export const bodyBytesMax = 2 * 1024 * 1024

/** A wrapped answer is JSON in memory, so it has a bound; beyond it the call fails and says so. */
const answerBytesMax = 16 * 1024 * 1024

/** NVCF's words first: its callers may look for them. */
const pollWrong =
  'failed to parse poll duration: "pollDurationSeconds" must be whole seconds from 0 to 3600. Nothing was enqueued.'

export interface WrappedCall {
  readonly body: Uint8Array
  readonly pollMs: number | undefined
}

export const parse = (bytes: Uint8Array): WrappedCall | Problem => {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(bytes).toString("utf8"))
  } catch (error) {
    return badRequest(
      `The body is not JSON (${error instanceof Error ? error.message : "unreadable"}); exec calls take {"requestHeader": {...}, "requestBody": ...}. Nothing was enqueued.`
    )
  }
  if (typeof value !== "object" || value === null || !("requestBody" in value)) {
    return badRequest(
      'The body has no member "requestBody", whose value becomes the body of the call. Nothing was enqueued.'
    )
  }
  const header: unknown = "requestHeader" in value ? value.requestHeader : undefined
  if (header !== undefined && header !== null && (typeof header !== "object" || Array.isArray(header))) {
    return badRequest('"requestHeader" must be an object. Nothing was enqueued.')
  }
  const poll =
    typeof header === "object" && header !== null && "pollDurationSeconds" in header
      ? header.pollDurationSeconds
      : undefined
  const assets =
    typeof header === "object" && header !== null && "inputAssetReferences" in header
      ? header.inputAssetReferences
      : undefined
  if (Array.isArray(assets) && assets.length > 0) return notServed('"inputAssetReferences" (input assets)')
  if (poll !== undefined && (typeof poll !== "number" || !Number.isInteger(poll) || poll < 0 || poll > 3600)) {
    return { status: 400, kind: "bad-request", detail: pollWrong }
  }
  return {
    body: Buffer.from(JSON.stringify(value.requestBody)),
    pollMs: poll === undefined ? undefined : Math.max(1, Number(poll)) * 1000
  }
}

export const inProgress = (requestId: string) => ({ reqId: requestId, status: "in-progress" })

/** With its body in memory, if that fits: a kept one may be a blob. */
export const whole = async (blobs: BlobStore["Service"], value: Answer): Promise<Answer> => {
  if (value.body.kind === "inline" || value.status !== 200) return value
  const collector = new Collector()
  collector.head(value.status, value.headers)
  for await (const bytes of chunks(blobs, value.body)) {
    collector.chunk(bytes)
    if (collector.isFull) break
  }
  return collector.answer()
}

export const answer = (
  requestId: string,
  value: Answer
): { readonly status: number; readonly body: unknown } | Problem => {
  if (value.status !== 200) {
    return { status: value.status, body: { reqId: requestId, status: "errored", errorCode: value.status } }
  }
  if (value.body.kind !== "inline") {
    return {
      status: 500,
      kind: "answer-too-large",
      detail: "The answer is too large for exec: call the function through pexec or by its host."
    }
  }
  try {
    const response: unknown = JSON.parse(Buffer.from(value.body.bytes).toString("utf8"))
    return { status: 200, body: { reqId: requestId, status: "fulfilled", percentComplete: 100, response } }
  } catch {
    return {
      status: 500,
      kind: "answer-not-json",
      detail: "The function answered 200 with a body that is not JSON, which exec cannot wrap: call it through pexec."
    }
  }
}

/** Puts a streamed answer together. */
export class Collector {
  #status = 500
  #headers: HeaderList = []
  #chunks: Array<Uint8Array> = []
  #bytes = 0

  head(status: number, headers: HeaderList): void {
    this.#status = status
    this.#headers = headers
  }

  /** What comes is not kept any more. */
  get isFull(): boolean {
    return this.#bytes > answerBytesMax
  }

  chunk(bytes: Uint8Array): boolean {
    this.#bytes += bytes.length
    if (!this.isFull) this.#chunks.push(bytes)
    return true
  }

  answer(): Answer {
    return this.isFull
      ? { status: this.#status, headers: this.#headers, body: { kind: "blob", id: "" } }
      : { status: this.#status, headers: this.#headers, body: { kind: "inline", bytes: Buffer.concat(this.#chunks) } }
  }
}
