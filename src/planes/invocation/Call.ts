/**
 * One call on its connection: from the head of the request to the last byte of the answer.
 *
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import * as Effect from "effect/Effect"
import type { HeaderList } from "../../worker-sdk/protocol/WorkerMessage.ts"
import * as CrashPoint from "../CrashPoint.ts"
import type { ControlView } from "../control/ControlView.ts"
import type { Route } from "../control/RoutingTable.ts"
import type { BlobStore } from "../fabric/BlobStore.ts"
import * as HttpDoor from "../HttpDoor.ts"
import type { ArrivingBodies } from "./ArrivingBodies.ts"
import { type Body, chunks, emptyBody } from "./Body.ts"
import { BodyPace, type PaceLimits } from "./BodyPace.ts"
import * as CallBody from "./CallBody.ts"
import { type CallHeaders, forwarded } from "./CallHeaders.ts"
import type { Answer, Caller, End, Entry } from "./Entry.ts"
import * as EventFrames from "./EventFrames.ts"
import { EventIds } from "./EventIds.ts"
import * as EventReply from "./EventReply.ts"
import * as EventSource from "./EventSource.ts"
import { nowMs } from "./PlaneClock.ts"
import * as Problem from "./Problem.ts"
import * as Receipt from "./Receipt.ts"
import { redeliveryOf } from "./Redelivery.ts"
import * as Responder from "./Responder.ts"
import type { Shard } from "./Shard.ts"
import * as Wrapped from "./Wrapped.ts"

export interface CallContext {
  readonly blobs: BlobStore["Service"]
  readonly arriving: ArrivingBodies
  /** The shard of this call has another owner. `body`: of one that no owner has; else one may have it. */
  readonly elsewhere: (call: CallInit, requestId: string, body: Uint8Array | undefined) => void
  readonly startTimeline: ControlView["startTimeline"]
  readonly defect: (error: unknown) => void
  /** How slowly a body may come. */
  readonly pace: PaceLimits
}

export interface CallInit {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly requestId: string
  readonly shard: Shard
  /** Another gateway passed it on. */
  readonly isPeer: boolean
  readonly receivedMs: number
  readonly route: Route
  readonly deployment: NonNullable<Route["deployment"]>
  readonly path: string
  readonly headers: CallHeaders
  /** Answer 202 when the function has not answered by then. */
  readonly waitMs: number | undefined
  /** `exec`: the answer goes out wrapped in NVCF's JSON. */
  readonly wrapped: boolean
  /** Of the page that calls, where its browser is to be told that it may read the answer. */
  readonly origin: string | undefined
}

export class Call implements Caller {
  readonly #context: CallContext
  readonly #init: CallInit
  readonly #shard: Shard
  #entry: Entry | undefined
  #waitTimer: NodeJS.Timeout | undefined
  #stopWaiting: (() => void) | undefined
  #over = false
  #replayed = false
  #isAttached = false
  #wrapper: Wrapped.Collector | undefined
  /** Bytes that the caller was told to expect, and those that came. */
  #announcedBytes: number | undefined
  /** While the body of the call still comes in. */
  #rest: Promise<unknown> | undefined
  /** Of a body that is still coming in. */
  #pace: BodyPace | undefined
  #stopArriving: (() => void) | undefined
  #shownBytes = 0
  /** Puts ids into an event stream. */
  #eventIds: EventIds | undefined

  constructor(context: CallContext, init: CallInit) {
    this.#context = context
    this.#init = init
    this.#shard = init.shard
    if (init.wrapped) this.#wrapper = new Wrapped.Collector()
  }

  get response(): ServerResponse {
    return this.#init.response
  }

  /** Its caller is to have a 202 at some moment. */
  get isTimed(): boolean {
    return this.#init.waitMs !== undefined || this.#init.wrapped
  }

  start(): void {
    const { request, response, headers, deployment, route } = this.#init
    response.on("close", () => this.#onClose())
    response.on("drain", () => {
      if (this.#entry !== undefined) this.#shard.callerDrained(this.#entry)
    })
    const keyed = headers.idempotencyKey !== undefined
    const { bodyBytesMax } = deployment.spec
    if (HttpDoor.hasBody(request)) {
      this.#pace = new BodyPace(request, response, this.#context.pace, () => this.#bodyTooSlow())
    }
    if (this.#init.wrapped) {
      this.#startWrapped(Math.min(bodyBytesMax, Wrapped.bodyBytesMax))
      return
    }
    const inline = CallBody.small(request, bodyBytesMax, (bytes) => {
      if (typeof bytes === "string") return this.#noBody({ kind: bytes }, bodyBytesMax)
      const body: Body = bytes.length === 0 ? emptyBody : { kind: "inline", bytes }
      this.#submit(body, bytes.length, keyed ? this.#digest().update(bytes).digest() : undefined)
    })
    if (inline) return
    const early = !keyed && !headers.respondAsync && route.version.durability !== "always"
    CallBody.intake(request, {
      requestId: this.#init.requestId,
      bytesMax: bodyBytesMax,
      early,
      digest: keyed ? this.#digest() : undefined,
      blobs: this.#context.blobs
    }).then(
      (intake) => {
        switch (intake.kind) {
          case "ready":
            return this.#submit(intake.body, intake.bytes, intake.digest)
          case "streaming":
            return this.#startArriving(intake)
          default:
            return this.#noBody(intake, bodyBytesMax)
        }
      },
      (error: unknown) => this.#noBody({ kind: "unwritten", error }, bodyBytesMax)
    )
  }

  /** Its caller has waited at another owner for what is this request. */
  attach(entry: Entry): void {
    this.#init.response.on("close", () => this.#onClose())
    this.#isAttached = true
    this.#await(entry)
  }

  /** Begins before its body is there when it may, else when it is. */
  #startArriving({ body, rest }: Extract<CallBody.Intake, { kind: "streaming" }>): void {
    const { request, route, deployment } = this.#init
    let hasBegun = false
    const leave = this.#context.arriving.ask(route.versionId, () => {
      hasBegun = true
      this.#rest = rest
      this.#submit(body, Number(request.headers["content-length"] ?? 0), undefined)
    })
    this.#stopArriving = leave
    void rest.then((end) => {
      leave()
      this.#rest = undefined
      this.#pace?.stop()
      if (end.kind !== "complete") {
        this.#stopAttempt()
        return this.#noBody(end, deployment.spec.bodyBytesMax, hasBegun)
      }
      if (hasBegun) return
      if (this.#over) return void Effect.runFork(this.#context.blobs.remove(body.id).pipe(Effect.ignore))
      this.#submit({ kind: "blob", id: body.id }, body.spool.written, undefined)
    })
  }

  /** The body will never be whole. The gateway answers; an attempt that had begun is stopped. */
  bodyBroke(): void {
    if (this.#over) return
    this.#finish()
    this.#stopAttempt()
  }

  // --- told by the shard -------------------------------------------------------------------------------------------

  accepted(entry: Entry): void {
    this.#accept(entry)
  }

  refused(problem: Problem.Problem): void {
    if (this.#over) return
    this.#finish()
    Responder.problem(this.#init.response, this.#stamp(), problem)
  }

  joined(original: Entry): void {
    CrashPoint.hit("gateway.joined")
    this.#replayed = true
    this.#await(original)
  }

  moved(entry: Entry): void {
    if (this.#over) return
    const { response } = this.#init
    this.#finish()
    // Bytes of its answer were shown: a broken stream is the only honest end.
    if (response.headersSent) response.destroy()
    else this.#context.elsewhere(this.#init, entry.requestId, undefined)
  }

  #await(original: Entry): void {
    this.#entry = original
    // The same key again: the same id again.
    if (this.#init.headers.respondAsync) {
      this.#stopWaiting = original.onEnd(() => {
        if (original.hasMoved) return this.moved(original)
        // Every request with a key is stored, unless the store failed.
        if (original.storedMs === undefined) this.#answerFrom(original)
      })
      return original.onStored(() => this.#accept(original))
    }
    const { waitMs } = this.#init
    this.#stopWaiting = original.onEnd(() => this.#answerFrom(original))
    if (waitMs === undefined || this.#over) return
    this.#waitTimer ??= setTimeout(() => original.onStored(() => this.#accept(original)), waitMs)
  }

  head(status: number, headers: HeaderList): void {
    if (this.#wrapper !== undefined) return this.#wrapper.head(status, headers)
    clearTimeout(this.#waitTimer)
    CrashPoint.hit("gateway.head.before")
    const hasIds = this.#init.headers.eventIds && EventFrames.isEventStream(headers)
    if (hasIds) this.#eventIds = new EventIds(this.#stamp().requestId ?? "")
    const shown = hasIds ? EventReply.withoutLength(headers) : headers
    this.#announcedBytes = Responder.begin(this.#init.response, this.#stamp(), status, shown)
    CrashPoint.hit("gateway.head.after")
  }

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
    this.#finish()
    if (this.#wrapper !== undefined) return this.#answerWrapped(this.#wrapper.answer())
    const { response } = this.#init
    CrashPoint.hit("gateway.done")
    this.#eventIds?.end(response)
    if (this.#announcedBytes !== undefined && this.#shownBytes !== this.#announcedBytes) response.destroy()
    else response.end()
  }

  whole(answer: Answer): void {
    if (this.#over) return
    CrashPoint.hit("gateway.whole.before")
    this.#finish()
    this.#write(answer)
    CrashPoint.hit("gateway.whole.after")
  }

  ended(end: End): void {
    if (this.#over) return
    this.#finish()
    const { response } = this.#init
    if (response.headersSent) {
      // Bytes of this attempt were shown: a broken stream is the only honest end.
      response.destroy()
      return
    }
    CrashPoint.hit("gateway.ended.before")
    Responder.problem(response, this.#stamp(), Problem.fromEnd(end.terminal, end.reason, end.message))
  }

  // --- inside ------------------------------------------------------------------------------------------------------

  #startWrapped(bytesMax: number): void {
    const { request, requestId } = this.#init
    CallBody.intake(request, { requestId, bytesMax, early: false, digest: undefined, blobs: this.#context.blobs })
      .then(async (intake) => {
        if (intake.kind === "streaming") return this.#noBody({ kind: "left" }, bytesMax)
        if (intake.kind !== "ready") return this.#noBody(intake, bytesMax)
        const parts: Array<Uint8Array> = []
        for await (const part of chunks(this.#context.blobs, intake.body)) parts.push(part)
        const call = Wrapped.parse(Buffer.concat(parts))
        if ("kind" in call) return this.refused(call)
        this.#armWait(call.pollMs)
        const keyed = this.#init.headers.idempotencyKey !== undefined
        const digest = keyed ? this.#digest().update(call.body).digest() : undefined
        this.#submit({ kind: "inline", bytes: call.body }, call.body.length, digest, [
          ["content-type", "application/json"],
          ["content-length", String(call.body.length)]
        ])
      })
      .catch((error: unknown) => {
        this.#context.defect(error)
        this.refused(Problem.badRequest("The body could not be read."))
      })
  }

  #submit(body: Body, bytes: number, digest: Buffer | undefined, ownHeaders?: HeaderList): void {
    if (this.#rest === undefined) this.#pace?.stop()
    if (this.#over) return
    const { request, headers, route, deployment, path, requestId, receivedMs, wrapped } = this.#init
    const head = {
      method: wrapped ? "POST" : (request.method ?? "GET"),
      path,
      headers: ownHeaders ?? forwarded(request.rawHeaders, request.headers.connection)
    }
    const { durability } = route.version
    if (!this.#shard.takesCalls && body.kind === "inline" && ownHeaders === undefined) {
      this.#finish()
      return this.#context.elsewhere(this.#init, requestId, body.bytes)
    }
    CrashPoint.hit("gateway.submit.before")
    const entry = this.#shard.submit(
      {
        requestId,
        tenant: route.tenant,
        functionId: route.functionId,
        functionName: route.functionName,
        versionId: route.versionId,
        mode: headers.respondAsync ? "async" : "sync",
        durability,
        deadlineMs: headers.deadlineMs ?? receivedMs + deployment.spec.requestTimeoutMs,
        maxAttempts: deployment.spec.maxAttempts,
        resultRetentionMs: deployment.spec.resultRetentionMs,
        redelivery: redeliveryOf(deployment.spec),
        receivedMs,
        head,
        body,
        sizeBytes: bytes + request.rawHeaders.length * 24,
        idempotencyKey: headers.idempotencyKey,
        fingerprint: digest?.toString("base64")
      },
      this
    )
    CrashPoint.hit("gateway.submit.after")
    // `joined` may have set another one in the same turn.
    this.#entry ??= entry
    if (!this.#replayed && !this.#over) this.#armWait(this.#init.waitMs)
  }

  #armWait(waitMs: number | undefined): void {
    if (waitMs === undefined || this.#waitTimer !== undefined || this.#init.headers.respondAsync) return
    this.#waitTimer = setTimeout(() => {
      // 202 promises that the request is on stable storage, and its body is a part of it.
      if (this.#rest === undefined) this.#detach()
      else void this.#rest.then(() => this.#detach())
    }, waitMs)
  }

  #detach(): void {
    CrashPoint.hit("gateway.detach")
    if (this.#entry !== undefined && !this.#over) this.#shard.detach(this.#entry)
  }

  /** 202; whoever calls this knows that the request is on stable storage, or never will be by its durability. */
  #accept(entry: Entry): void {
    const { response, request, route, headers } = this.#init
    const { requestId } = entry
    if (this.#over || response.headersSent) return
    this.#finish()
    if (this.#wrapper !== undefined) {
      return Responder.json(response, this.#stampWithoutId(), 202, Wrapped.inProgress(requestId))
    }
    CrashPoint.hit("gateway.accepted.before")
    const base = `http://${request.headers.host ?? "localhost"}/requests/${requestId}`
    Responder.json(
      response,
      this.#stamp(),
      202,
      {
        requestId,
        status: "in-progress",
        statusUrl: base,
        resultUrl: `${base}/result`,
        cancelUrl: `${base}/cancel`,
        // P1 does not hold for such a version, and whoever gets the 202 must know.
        durable: route.version.durability !== "memory" || headers.idempotencyKey !== undefined,
        expires: new Date(this.#shard.keptUntilMs(entry)).toISOString()
      },
      ["location", `/requests/${requestId}`, "retry-after", "1"]
    )
    CrashPoint.hit("gateway.accepted.after")
  }

  /** Answers with the kept result of a request that another call began. */
  #answerFrom(original: Entry): void {
    if (original.hasMoved) return this.moved(original)
    if (this.#over) return
    this.#finish()
    this.#shard.answerOf(original).then(
      (answer) => {
        if (answer !== undefined) return this.#write(answer)
        const end = original.end
        const problem = Problem.fromEnd(end?.terminal ?? "failed", end?.reason ?? null, end?.message ?? null)
        Responder.problem(this.#init.response, this.#stamp(), problem)
      },
      (error: unknown) => this.#failed(error)
    )
  }

  #write(answer: Answer): void {
    const { response } = this.#init
    const { blobs } = this.#context
    if (this.#wrapper !== undefined) {
      Wrapped.whole(blobs, answer).then(
        (whole) => this.#answerWrapped(whole),
        (error: unknown) => this.#failed(error)
      )
      return
    }
    const stamp = this.#stamp()
    if (this.#init.headers.eventIds && EventFrames.isEventStream(answer.headers)) {
      const requestId = stamp.requestId ?? ""
      const wish = { lastEventId: undefined, withIds: true }
      const broken = () => Problem.streamBroken(null)
      const source = EventSource.ofAnswer(requestId, answer, blobs)
      EventReply.answer({ requestId, response, stamp, wish, broken }, source).catch((error: unknown) =>
        this.#failed(error)
      )
      return
    }
    const headers: HeaderList = this.#replayed ? [...answer.headers, ["idempotency-replayed", "true"]] : answer.headers
    writeAnswer(response, stamp, { ...answer, headers }, blobs).catch((error: unknown) => this.#failed(error))
  }

  #answerWrapped(answer: Answer): void {
    const { response } = this.#init
    const wrapped = Wrapped.answer(this.#entry?.requestId ?? this.#init.requestId, answer)
    if ("kind" in wrapped) return Responder.problem(response, this.#stamp(), wrapped)
    Responder.json(response, this.#stampWithoutId(), wrapped.status, wrapped.body)
  }

  /** A kept answer could not be read back; breaks off what has begun. */
  #failed(error: unknown): void {
    this.#context.defect(error)
    Responder.problem(this.#init.response, this.#stamp(), Problem.notRead())
  }

  #noBody(why: CallBody.NoBody, bytesMax: number, hasBegun = false): void {
    switch (why.kind) {
      case "too-large":
        return this.refused(Problem.bodyTooLarge(bytesMax))
      case "left":
        return this.#finish()
      case "unwritten":
        this.#context.defect(why.error)
        return this.refused(Problem.bodyUnwritten(why.error, hasBegun))
    }
  }

  /** A call whose body never came whole cannot be run again, whatever its caller wishes. */
  #stopAttempt(): void {
    if (this.#entry === undefined || this.#replayed) return
    this.#shard.callerLeft(this.#entry, true)
    this.#shard.cancel(this.#entry)
  }

  #onClose(): void {
    clearTimeout(this.#waitTimer)
    if (this.#over) return
    this.#finish()
    if (this.#entry !== undefined && !this.#replayed) {
      CrashPoint.hit("gateway.callerLeft")
      const isHalfSent = this.#rest !== undefined && !this.#init.request.complete
      const { headers, deployment } = this.#init
      const isCancelled = headers.cancelOnDisconnect ?? deployment.spec.onCallerGone === "cancel"
      if (this.#isAttached) {
        // Its next owner never had this caller, and keeps the result.
        if (isCancelled) this.#shard.cancel(this.#entry)
        return
      }
      this.#shard.callerLeft(this.#entry, isCancelled || isHalfSent)
    }
  }

  #bodyTooSlow(): void {
    if (this.#over) return
    this.bodyBroke()
    Responder.problem(this.#init.response, this.#stamp(), Problem.bodyTooSlow())
  }

  #finish(): void {
    this.#over = true
    this.#pace?.stop()
    this.#stopArriving?.()
    clearTimeout(this.#waitTimer)
    this.#stopWaiting?.()
  }

  #digest() {
    return CallBody.digestOf(this.#init.request.method ?? "GET", this.#init.path)
  }

  #stamp(): Responder.Stamp {
    const requestId = this.#entry?.requestId ?? this.#init.requestId
    return { requestId, receipt: this.#receipt(), origin: this.#init.origin }
  }

  /** `exec` says the id in its JSON and nowhere else. */
  #stampWithoutId(): Responder.Stamp {
    return { requestId: undefined, receipt: this.#receipt(), origin: this.#init.origin }
  }

  #receipt(): string {
    const { receivedMs } = this.#init
    const untilMs = nowMs()
    const entry = this.#entry
    if (entry === undefined || this.#replayed || this.#isAttached) return Receipt.admitted(receivedMs, untilMs)
    const start = entry.lastInstanceId === undefined ? undefined : this.#context.startTimeline(entry.lastInstanceId)
    return Receipt.serverTiming(Receipt.phases(entry, start, untilMs), untilMs - receivedMs)
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
