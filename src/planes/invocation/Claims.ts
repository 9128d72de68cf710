/**
 * What callers ask about requests that were taken: their answers, at once or when they are there, as a whole or as a stream
 * of events; how they stand; that they are cancelled.
 *
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import * as CrashPoint from "../CrashPoint.ts"
import type { BlobStore } from "../fabric/BlobStore.ts"
import { type Asked, stamp } from "./Asked.ts"
import * as CallHeaders from "./CallHeaders.ts"
import { writeAnswer } from "./CallReply.ts"
import type { Entry } from "./Entry.ts"
import * as EventFrames from "./EventFrames.ts"
import * as EventReply from "./EventReply.ts"
import * as EventSource from "./EventSource.ts"
import type * as GatewayRoute from "./GatewayRoute.ts"
import { nowMs } from "./PlaneClock.ts"
import * as Problem from "./Problem.ts"
import type { RequestDirectory } from "./RequestDirectory.ts"
import * as Responder from "./Responder.ts"
import type { Shard } from "./Shard.ts"
import type { Shards } from "./Shards.ts"
import * as Wrapped from "./Wrapped.ts"

export interface ClaimsInit {
  readonly shards: Shards
  readonly blobs: BlobStore["Service"]
  readonly directory: RequestDirectory
  readonly defect: (error: unknown) => void
  /** No other gateway is to be asked about this request. */
  readonly isHere: (requestId: string) => boolean
  /** It waited here, and its request has another owner. */
  readonly follow: (asked: Asked, response: ServerResponse, requestId: string) => void
}

export interface Read {
  readonly asked: Asked
  readonly response: ServerResponse
  readonly requestId: string
  readonly wish: EventReply.Wish
  readonly untilMs: number
}

interface Claim {
  readonly asked: Asked
  readonly response: ServerResponse
  readonly shard: Shard
  readonly entry: Entry
  readonly wrapped: boolean
}

export class Claims {
  readonly #init: ClaimsInit

  constructor(init: ClaimsInit) {
    this.#init = init
  }

  /** NVCF's status polling: the answer of the function, or 202 after the poll time. */
  status(
    asked: Asked,
    response: ServerResponse,
    { requestId, wrapped }: Extract<GatewayRoute.GatewayRoute, { kind: "status" }>
  ): void {
    const found = this.#init.shards.byRequestId(requestId)
    if (found === undefined) return Responder.problem(response, stamp(asked), this.#unknown(requestId))
    const pollMs = wrapped ? CallHeaders.pollDefaultMs : CallHeaders.parsePollMs(asked.request.headers, true)
    if (typeof pollMs !== "number") return Responder.problem(response, stamp(asked), pollMs)
    this.#claim({ asked, response, shard: found.shard, entry: found.entry, wrapped }, pollMs)
  }

  aboutRequest(
    asked: Asked,
    response: ServerResponse,
    { requestId, part }: Extract<GatewayRoute.GatewayRoute, { kind: "request" }>
  ): void {
    if (part === "result" && this.#isRead(asked, response, requestId)) return
    const found = this.#init.shards.byRequestId(requestId)
    if (part === "cancel") {
      CrashPoint.hit("gateway.cancel.before")
      const outcome = this.#init.directory.cancel(requestId)
      CrashPoint.hit("gateway.cancel.after")
      if (outcome === "unknown") return Responder.problem(response, stamp(asked), Problem.unknownRequest())
      return Responder.json(response, stamp(asked, requestId), 200, { requestId, outcome })
    }
    if (part === "view") {
      const view = this.#init.directory.get(requestId)
      if (view === undefined) return Responder.problem(response, stamp(asked), Problem.unknownRequest())
      return Responder.json(response, stamp(asked), 200, view)
    }
    if (found === undefined) return Responder.problem(response, stamp(asked), this.#unknown(requestId))
    const wait = waitOf(asked.request) ?? "0"
    if (!/^\d{1,4}$/.test(wait) || Number(wait) > 3600) {
      return Responder.problem(
        response,
        stamp(asked, requestId),
        Problem.badRequest(`wait is ${Problem.quote(wait)}; expected whole seconds, at most 3600.`)
      )
    }
    this.#claim({ asked, response, shard: found.shard, entry: found.entry, wrapped: false }, Number(wait) * 1000)
  }

  /** Whether the caller reads an event stream, and is answered so. */
  #isRead(asked: Asked, response: ServerResponse, requestId: string): boolean {
    const withIds = CallHeaders.parseEventIds(asked.request.headers)
    if (typeof withIds !== "boolean") {
      Responder.problem(response, stamp(asked, requestId), withIds)
      return true
    }
    const wish = EventReply.wishOf(asked.request, withIds)
    if (wish === undefined) return false
    const wait = waitOf(asked.request)
    const waitMs = wait !== undefined && /^\d{1,4}$/.test(wait) ? Number(wait) * 1000 : CallHeaders.pollStreamDefaultMs
    this.read({ asked, response, requestId, wish, untilMs: nowMs() + waitMs })
    return true
  }

  /** The events of a request as they come, or its answer as it is claimed. */
  read(read: Read): void {
    this.#readOnce(read).catch((error: unknown) => {
      this.#init.defect(error)
      Responder.problem(read.response, stamp(read.asked, read.requestId), Problem.notRead())
    })
  }

  async #readOnce(read: Read): Promise<void> {
    const { asked, response, requestId, wish, untilMs } = read
    const { shards, isHere, follow } = this.#init
    if (!isHere(requestId)) return follow(asked, response, requestId)
    const source = await this.#sourceOf(requestId)
    if (response.destroyed) return
    const stamped = stamp(asked, requestId)
    if (source !== undefined) {
      const broken = () => this.#broken(requestId)
      return EventReply.answer({ requestId, response, stamp: stamped, wish, broken }, source)
    }
    const found = shards.byRequestId(requestId)
    if (found === undefined) return Responder.problem(response, stamped, this.#unknown(requestId))
    const { shard, entry } = found
    if (entry.end !== undefined) return this.#answerClaim({ asked, response, shard, entry, wrapped: false })
    const left = untilMs - nowMs()
    if (left > 0 && (await changed(entry, response, left))) return this.#readOnce(read)
    if (!response.destroyed) this.#inProgress(asked, response, shard, entry)
  }

  /** Undefined: nothing of an event stream is there, or not yet. */
  async #sourceOf(requestId: string): Promise<EventSource.EventSource | undefined> {
    const { shards, blobs } = this.#init
    const found = shards.byRequestId(requestId)
    const streamed = shards.eventStream(requestId)
    const isWhole = streamed?.stream.state === "complete" && streamed.stream.firstKept === 1
    if (found?.entry.end?.terminal === "responded" && !isWhole) {
      const answer = await found.shard.entries.answerOf(found.entry)
      if (answer !== undefined && EventFrames.isEventStream(answer.headers)) {
        return EventSource.ofAnswer(requestId, answer, blobs)
      }
    }
    if (streamed === undefined) return undefined
    const { shard, stream } = streamed
    if (stream.state === "open" && found !== undefined) {
      await stored(found.entry)
      await shard.show(found.entry, stream)
      // Its attempt may have been lost before it was known that somebody reads it.
      if (shards.eventStream(requestId)?.stream !== stream) return this.#sourceOf(requestId)
    }
    return EventSource.ofStream(stream)
  }

  #broken(requestId: string): Problem.Problem {
    return Problem.streamBroken(this.#init.directory.get(requestId)?.message ?? null)
  }

  /** One whose result was kept is remembered for a while after that. */
  #unknown(requestId: string): Problem.Problem {
    const view = this.#init.directory.get(requestId)
    const isExpired = view !== undefined && view.endedAtMs !== null && view.keepUntilMs !== null
    return isExpired ? Problem.resultExpired(view.keepUntilMs - view.endedAtMs) : Problem.unknownRequest()
  }

  /** The kept result, now or within `waitMs`; else 202. */
  #claim(claim: Claim, waitMs: number): void {
    const { asked, response, shard, entry, wrapped } = claim
    const { requestId } = entry
    let timer: NodeJS.Timeout | undefined
    let answered = false
    const answer = () => {
      if (answered) return
      answered = true
      clearTimeout(timer)
      this.#answerClaim(claim).catch((error: unknown) => {
        this.#init.defect(error)
        Responder.problem(response, stamp(asked, requestId), Problem.notRead())
      })
    }
    const stop = entry.onEnd(answer)
    if (answered) return
    response.on("close", () => {
      stop()
      clearTimeout(timer)
    })
    timer = setTimeout(() => {
      if (answered) return
      answered = true
      stop()
      if (wrapped) return Responder.json(response, stamp(asked), 202, Wrapped.inProgress(requestId))
      this.#inProgress(asked, response, shard, entry)
    }, waitMs)
  }

  #inProgress(asked: Asked, response: ServerResponse, shard: Shard, entry: Entry): void {
    const { requestId } = entry
    const progress = entry.progress === undefined ? [] : ["nvcf-percent-complete", String(entry.progress.percent)]
    const expires = new Date(shard.keptUntilMs(entry)).toISOString()
    Responder.json(response, stamp(asked, requestId), 202, { requestId, status: "in-progress", expires }, [
      "retry-after",
      "1",
      ...progress
    ])
  }

  async #answerClaim({ asked, response, shard, entry, wrapped }: Claim): Promise<void> {
    const { end, requestId } = entry
    if (entry.hasMoved) return this.#init.follow(asked, response, requestId)
    const { blobs } = this.#init
    CrashPoint.hit("gateway.claim.beforeRead")
    const answer = await shard.entries.answerOf(entry)
    CrashPoint.hit("gateway.claim.afterRead")
    if (answer === undefined) {
      if (this.#init.shards.eventStream(requestId)?.stream.state === "failed") {
        return Responder.problem(response, stamp(asked, requestId), this.#broken(requestId))
      }
      const { terminal, reason, message } = end ?? { terminal: "failed", reason: null, message: null }
      return Responder.problem(response, stamp(asked, requestId), Problem.fromEnd(terminal, reason, message))
    }
    if (!wrapped) return writeAnswer(response, stamp(asked, requestId), answer, blobs)
    const value = Wrapped.answer(requestId, await Wrapped.whole(blobs, answer))
    if ("kind" in value) return Responder.problem(response, stamp(asked, requestId), value)
    Responder.json(response, stamp(asked), value.status, value.body)
  }
}

const waitOf = (request: IncomingMessage): string | undefined =>
  new URL(request.url ?? "/", "http://localhost").searchParams.get("wait") ?? undefined

/** Or it is over, or heard of elsewhere. */
const stored = (entry: Entry): Promise<void> =>
  new Promise((resolve) => {
    entry.onStored(resolve)
    entry.onEnd(resolve)
  })

/** Whether the request ended or began to stream within this time, and its reader is still there. */
const changed = (entry: Entry, response: ServerResponse, waitMs: number): Promise<boolean> =>
  new Promise((resolve) => {
    const done = (isChanged: boolean) => {
      clearTimeout(timer)
      stopEnd()
      stopStream()
      response.off("close", left)
      resolve(isChanged)
    }
    const left = () => done(false)
    const timer = setTimeout(() => done(false), waitMs)
    response.on("close", left)
    const stopStream = entry.onStream(() => done(true))
    const stopEnd = entry.onEnd(() => queueMicrotask(() => done(true)))
  })
