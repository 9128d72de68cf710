/**
 * What goes out on the connection of one call: the answer of the function, as it comes or whole, as it is, with ids on its
 * events, or wrapped in NVCF's JSON; an acceptance; or a problem. One of them, once.
 *
 * @module
 */
import type { ServerResponse } from "node:http"
import * as Effect from "effect/Effect"
import type { HeaderList } from "../../worker-sdk/protocol/WorkerMessage.ts"
import * as CrashPoint from "../CrashPoint.ts"
import type { BlobStore } from "../fabric/BlobStore.ts"
import { chunks } from "./Body.ts"
import type { Answer } from "./Entry.ts"
import * as EventFrames from "./EventFrames.ts"
import { EventIds } from "./EventIds.ts"
import * as EventReply from "./EventReply.ts"
import * as EventSource from "./EventSource.ts"
import * as Problem from "./Problem.ts"
import * as Responder from "./Responder.ts"
import * as Wrapped from "./Wrapped.ts"

export interface CallReplyInit {
  readonly response: ServerResponse
  /** Of this moment. */
  readonly stamp: () => Responder.Stamp & { readonly requestId: string }
  /** `exec`: the answer goes out wrapped in NVCF's JSON. */
  readonly wrapped: boolean
  /** Its caller wants ids on the events of a stream. */
  readonly eventIds: boolean
  readonly blobs: BlobStore["Service"]
  readonly defect: (error: unknown) => void
}

/** What a 202 tells. */
export interface Acceptance {
  /** Where its caller found us. */
  readonly host: string
  /** The request outlives the process. */
  readonly durable: boolean
  /** Its result is kept until then, in Unix ms. */
  readonly keptUntilMs: number
}

export class CallReply {
  readonly #init: CallReplyInit
  /** Of a wrapped answer that comes in parts. */
  readonly #wrapper: Wrapped.Collector | undefined
  #eventIds: EventIds | undefined
  /** Bytes that the caller was told to expect, and those that came. */
  #announcedBytes: number | undefined
  #shownBytes = 0

  constructor(init: CallReplyInit) {
    this.#init = init
    this.#wrapper = init.wrapped ? new Wrapped.Collector() : undefined
  }

  // --- an answer as it comes ---------------------------------------------------------------------------------------

  /** Answers whether its caller sees it now; it does not where the answer is put together first. */
  head(status: number, headers: HeaderList): boolean {
    const { response, stamp, eventIds } = this.#init
    if (this.#wrapper !== undefined) {
      this.#wrapper.head(status, headers)
      return false
    }
    CrashPoint.hit("gateway.head.before")
    const hasIds = eventIds && EventFrames.isEventStream(headers)
    if (hasIds) this.#eventIds = new EventIds(stamp().requestId)
    const shown = hasIds ? EventReply.withoutLength(headers) : headers
    this.#announcedBytes = Responder.begin(response, stamp(), status, shown)
    CrashPoint.hit("gateway.head.after")
    return true
  }

  /** False: the socket is full. */
  chunk(bytes: Uint8Array): boolean {
    if (this.#wrapper !== undefined) return this.#wrapper.chunk(bytes)
    CrashPoint.hit("gateway.chunk")
    const { response } = this.#init
    if (this.#eventIds !== undefined) return this.#eventIds.write(response, bytes)
    this.#shownBytes += bytes.length
    if (this.#announcedBytes !== undefined && this.#shownBytes > this.#announcedBytes) {
      response.destroy()
      return false
    }
    return response.write(bytes)
  }

  done(): void {
    if (this.#wrapper !== undefined) return this.#wrapped(this.#wrapper.answer())
    const { response } = this.#init
    CrashPoint.hit("gateway.done")
    this.#eventIds?.end(response)
    if (this.#announcedBytes !== undefined && this.#shownBytes !== this.#announcedBytes) response.destroy()
    else response.end()
  }

  // --- all at once -------------------------------------------------------------------------------------------------

  /** `isReplay`: of a request that another call began. */
  whole(answer: Answer, isReplay: boolean): void {
    this.#whole(answer, isReplay).catch((error: unknown) => this.failed(error))
  }

  #whole(answer: Answer, isReplay: boolean): Promise<void> {
    const { response, blobs, eventIds } = this.#init
    if (this.#wrapper !== undefined) return Wrapped.whole(blobs, answer).then((whole) => this.#wrapped(whole))
    const stamp = this.#init.stamp()
    if (eventIds && EventFrames.isEventStream(answer.headers)) {
      const { requestId } = stamp
      const wish = { lastEventId: undefined, withIds: true }
      const broken = () => Problem.streamBroken(null)
      const source = EventSource.ofAnswer(requestId, answer, blobs)
      return EventReply.answer({ requestId, response, stamp, wish, broken }, source)
    }
    const headers: HeaderList = isReplay ? [...answer.headers, ["idempotency-replayed", "true"]] : answer.headers
    return writeAnswer(response, stamp, { ...answer, headers }, blobs)
  }

  #wrapped(answer: Answer): void {
    const { response, stamp } = this.#init
    const wrapped = Wrapped.answer(stamp().requestId, answer)
    if ("kind" in wrapped) return this.problem(wrapped)
    Responder.json(response, this.#stampWithoutId(), wrapped.status, wrapped.body)
  }

  /** 202. */
  accepted(requestId: string, { host, durable, keptUntilMs }: Acceptance): void {
    const { response, stamp } = this.#init
    if (this.#wrapper !== undefined) {
      return Responder.json(response, this.#stampWithoutId(), 202, Wrapped.inProgress(requestId))
    }
    CrashPoint.hit("gateway.accepted.before")
    const base = `http://${host}/requests/${requestId}`
    Responder.json(
      response,
      stamp(),
      202,
      {
        requestId,
        status: "in-progress",
        statusUrl: base,
        resultUrl: `${base}/result`,
        cancelUrl: `${base}/cancel`,
        durable,
        expires: new Date(keptUntilMs).toISOString()
      },
      ["location", `/requests/${requestId}`, "retry-after", "1"]
    )
    CrashPoint.hit("gateway.accepted.after")
  }

  /** After the first bytes of an answer the connection is broken off: that is the only honest end then. */
  problem(problem: Problem.Problem): void {
    Responder.problem(this.#init.response, this.#init.stamp(), problem)
  }

  /** A kept answer could not be read back. */
  failed(error: unknown): void {
    this.#init.defect(error)
    this.problem(Problem.notRead())
  }

  /** `exec` says the id in its JSON and nowhere else. */
  #stampWithoutId(): Responder.Stamp {
    return { ...this.#init.stamp(), requestId: undefined }
  }
}

/** A kept or whole answer; from a blob it streams with backpressure. */
export const writeAnswer = async (
  response: ServerResponse,
  stamp: Responder.Stamp,
  answer: Answer,
  blobs: BlobStore["Service"]
): Promise<void> => {
  if (answer.body.kind === "inline") {
    return Responder.whole(response, stamp, answer.status, answer.headers, answer.body.bytes)
  }
  const bytesCount = await Effect.runPromise(blobs.size(answer.body.id))
  Responder.begin(response, stamp, answer.status, answer.headers, bytesCount)
  for await (const bytes of chunks(blobs, answer.body)) {
    if (response.destroyed) return
    if (!response.write(bytes)) await Responder.drained(response)
  }
  response.end()
}
