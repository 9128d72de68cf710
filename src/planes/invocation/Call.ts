/**
 * One call on its connection, from the head of the request to its end: when it is submitted, what its caller waits for, and
 * what becomes of it when somebody leaves. `CallIntake` takes its body in, `CallReply` writes what goes out.
 *
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { HeaderList } from "../../worker-sdk/protocol/WorkerMessage.ts"
import * as CrashPoint from "../CrashPoint.ts"
import type { ControlView } from "../control/ControlView.ts"
import type { Route } from "../control/RoutingTable.ts"
import type { BlobStore } from "../fabric/BlobStore.ts"
import type { ArrivingBodies } from "./ArrivingBodies.ts"
import type { PaceLimits } from "./BodyPace.ts"
import { type CallHeaders, forwarded } from "./CallHeaders.ts"
import { CallIntake, type TakenIn } from "./CallIntake.ts"
import { CallReply } from "./CallReply.ts"
import type { Answer, Caller, End, Entry } from "./Entry.ts"
import { nowMs } from "./PlaneClock.ts"
import * as Problem from "./Problem.ts"
import * as Receipt from "./Receipt.ts"
import { redeliveryOf } from "./Redelivery.ts"
import type * as Responder from "./Responder.ts"
import type { Shard } from "./Shard.ts"

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
  readonly #reply: CallReply
  #intake: CallIntake | undefined
  #entry: Entry | undefined
  #waitTimer: NodeJS.Timeout | undefined
  #stopWaiting: (() => void) | undefined
  #over = false
  #replayed = false
  #isAttached = false

  constructor(context: CallContext, init: CallInit) {
    this.#context = context
    this.#init = init
    this.#shard = init.shard
    const { response, wrapped, headers } = init
    const { blobs, defect } = context
    const stamp = () => this.#stamp()
    this.#reply = new CallReply({ response, stamp, wrapped, eventIds: headers.eventIds, blobs, defect })
  }

  get response(): ServerResponse {
    return this.#init.response
  }

  /** Its caller is to have a 202 at some moment. */
  get isTimed(): boolean {
    return this.#init.waitMs !== undefined || this.#init.wrapped
  }

  start(): void {
    const { request, response, requestId, path, headers, deployment, route, wrapped } = this.#init
    const { blobs, arriving, pace, defect } = this.#context
    response.on("close", () => this.#onClose())
    response.on("drain", () => {
      if (this.#entry !== undefined) this.#shard.callerDrained(this.#entry)
    })
    const keyed = headers.idempotencyKey !== undefined
    this.#intake = new CallIntake({
      request,
      response,
      requestId,
      versionId: route.versionId,
      path,
      bytesMax: deployment.spec.bodyBytesMax,
      wrapped,
      keyed,
      early: !keyed && !headers.respondAsync && route.version.durability !== "always",
      blobs,
      arriving,
      pace,
      ready: (taken) => this.#submit(taken),
      broken: (problem) => this.#bodyBroken(problem),
      defect
    })
    this.#intake.start()
  }

  /** Its caller has waited at another owner for what is this request. */
  attach(entry: Entry): void {
    this.#init.response.on("close", () => this.#onClose())
    this.#isAttached = true
    this.#await(entry)
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
    this.#reply.problem(problem)
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
    if (this.#reply.head(status, headers)) clearTimeout(this.#waitTimer)
  }

  chunk(bytes: Uint8Array): boolean {
    return this.#reply.chunk(bytes)
  }

  done(): void {
    this.#finish()
    this.#reply.done()
  }

  whole(answer: Answer): void {
    if (this.#over) return
    CrashPoint.hit("gateway.whole.before")
    this.#finish()
    this.#reply.whole(answer, this.#replayed)
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
    this.#reply.problem(Problem.fromEnd(end.terminal, end.reason, end.message))
  }

  // --- inside ------------------------------------------------------------------------------------------------------

  #submit({ body, bytes, digest, headers: ownHeaders, waitMs }: TakenIn): void {
    if (this.#over) return
    this.#armWait(waitMs)
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
      const rest = this.#intake?.rest
      if (rest === undefined) this.#detach()
      else void rest.then(() => this.#detach())
    }, waitMs)
  }

  #detach(): void {
    CrashPoint.hit("gateway.detach")
    if (this.#entry !== undefined && !this.#over) this.#shard.detach(this.#entry)
  }

  /** 202; whoever calls this knows that the request is on stable storage, or never will be by its durability. */
  #accept(entry: Entry): void {
    const { response, request, route, headers } = this.#init
    if (this.#over || response.headersSent) return
    this.#finish()
    this.#reply.accepted(entry.requestId, {
      host: request.headers.host ?? "localhost",
      // P1 does not hold for such a version, and whoever gets the 202 must know.
      durable: route.version.durability !== "memory" || headers.idempotencyKey !== undefined,
      keptUntilMs: this.#shard.keptUntilMs(entry)
    })
  }

  /** Answers with the kept result of a request that another call began. */
  #answerFrom(original: Entry): void {
    if (original.hasMoved) return this.moved(original)
    if (this.#over) return
    this.#finish()
    this.#shard.entries.answerOf(original).then(
      (answer) => {
        if (answer !== undefined) return this.#reply.whole(answer, this.#replayed)
        const end = original.end
        this.#reply.problem(Problem.fromEnd(end?.terminal ?? "failed", end?.reason ?? null, end?.message ?? null))
      },
      (error: unknown) => this.#reply.failed(error)
    )
  }

  #bodyBroken(problem: Problem.Problem | undefined): void {
    this.#stopAttempt()
    if (problem === undefined) this.#finish()
    else this.refused(problem)
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
      const isHalfSent = this.#intake?.rest !== undefined && !this.#init.request.complete
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

  #finish(): void {
    this.#over = true
    this.#intake?.stop()
    clearTimeout(this.#waitTimer)
    this.#stopWaiting?.()
  }

  #stamp(): Responder.Stamp & { readonly requestId: string } {
    const requestId = this.#entry?.requestId ?? this.#init.requestId
    return { requestId, receipt: this.#receipt(), origin: this.#init.origin }
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
