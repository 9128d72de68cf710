/**
 * The body of one call as it comes in: whole at once, first into a blob, or still coming when the call begins.
 *
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import * as Effect from "effect/Effect"
import type { HeaderList } from "../../worker-sdk/protocol/WorkerMessage.ts"
import type { BlobStore } from "../fabric/BlobStore.ts"
import * as HttpDoor from "../HttpDoor.ts"
import type { ArrivingBodies } from "./ArrivingBodies.ts"
import { type Body, chunks, emptyBody } from "./Body.ts"
import { BodyPace, type PaceLimits } from "./BodyPace.ts"
import * as CallBody from "./CallBody.ts"
import * as Problem from "./Problem.ts"
import * as Wrapped from "./Wrapped.ts"

/** What was taken in of a call. */
export interface TakenIn {
  readonly body: Body
  readonly bytes: number
  readonly digest: Buffer | undefined
  /** Instead of those that its caller sent. */
  readonly headers?: HeaderList
  /** Its body says for how long its caller waits. */
  readonly waitMs?: number | undefined
}

export interface CallIntakeInit {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly requestId: string
  readonly versionId: string
  readonly path: string
  readonly bytesMax: number
  /** `exec`: the body is wrapped in NVCF's JSON. */
  readonly wrapped: boolean
  /** It is to be compared with that of another call. */
  readonly keyed: boolean
  /** The call may begin before its body is whole. */
  readonly early: boolean
  readonly blobs: BlobStore["Service"]
  readonly arriving: ArrivingBodies
  readonly pace: PaceLimits
  /** The call may begin; what of its body is still to come is `rest`. */
  readonly ready: (taken: TakenIn) => void
  /** There is no whole body and never will be, also of a call that has begun. Undefined: whoever sent it left. */
  readonly broken: (problem: Problem.Problem | undefined) => void
  readonly defect: (error: unknown) => void
}

export class CallIntake {
  readonly #init: CallIntakeInit
  readonly #pace: BodyPace | undefined
  #rest: Promise<unknown> | undefined
  #leaveArriving: (() => void) | undefined
  #isStopped = false

  constructor(init: CallIntakeInit) {
    this.#init = init
    const { request, response, pace, broken } = init
    this.#pace = HttpDoor.hasBody(request)
      ? new BodyPace(request, response, pace, () => broken(Problem.bodyTooSlow()))
      : undefined
  }

  /** While the body of a call that has begun still comes in. */
  get rest(): Promise<unknown> | undefined {
    return this.#rest
  }

  start(): void {
    const { request, requestId, bytesMax, keyed, early, blobs } = this.#init
    if (this.#init.wrapped) return this.#startWrapped()
    const inline = CallBody.small(request, bytesMax, (bytes) => {
      if (typeof bytes === "string") return this.#broken({ kind: bytes })
      const body: Body = bytes.length === 0 ? emptyBody : { kind: "inline", bytes }
      this.#ready({ body, bytes: bytes.length, digest: keyed ? this.#digest().update(bytes).digest() : undefined })
    })
    if (inline) return
    const digest = keyed ? this.#digest() : undefined
    CallBody.intake(request, { requestId, bytesMax, early, digest, blobs }).then(
      (intake) => {
        switch (intake.kind) {
          case "ready":
            return this.#ready(intake)
          case "streaming":
            return this.#startArriving(intake)
          default:
            return this.#broken(intake)
        }
      },
      (error: unknown) => this.#broken({ kind: "unwritten", error })
    )
  }

  /** Nobody wants the body any more. */
  stop(): void {
    this.#isStopped = true
    this.#pace?.stop()
    this.#leaveArriving?.()
  }

  /** Begins before its body is there when it may, else when it is. */
  #startArriving({ body, rest }: Extract<CallBody.Intake, { kind: "streaming" }>): void {
    const { request, versionId, blobs } = this.#init
    let hasBegun = false
    const leave = this.#init.arriving.ask(versionId, () => {
      hasBegun = true
      this.#rest = rest
      this.#ready({ body, bytes: Number(request.headers["content-length"] ?? 0), digest: undefined })
    })
    this.#leaveArriving = leave
    void rest.then((end) => {
      leave()
      this.#rest = undefined
      this.#pace?.stop()
      if (end.kind !== "complete") return this.#broken(end, hasBegun)
      if (hasBegun) return
      if (this.#isStopped) return void Effect.runFork(blobs.remove(body.id).pipe(Effect.ignore))
      this.#ready({ body: { kind: "blob", id: body.id }, bytes: body.spool.written, digest: undefined })
    })
  }

  #startWrapped(): void {
    const { request, requestId, keyed, blobs, broken, defect } = this.#init
    const bytesMax = this.#bytesMax
    CallBody.intake(request, { requestId, bytesMax, early: false, digest: undefined, blobs })
      .then(async (intake) => {
        if (intake.kind === "streaming") return this.#broken({ kind: "left" })
        if (intake.kind !== "ready") return this.#broken(intake)
        const parts: Array<Uint8Array> = []
        for await (const part of chunks(blobs, intake.body)) parts.push(part)
        const call = Wrapped.parse(Buffer.concat(parts))
        if ("kind" in call) return broken(call)
        this.#ready({
          body: { kind: "inline", bytes: call.body },
          bytes: call.body.length,
          digest: keyed ? this.#digest().update(call.body).digest() : undefined,
          headers: [
            ["content-type", "application/json"],
            ["content-length", String(call.body.length)]
          ],
          waitMs: call.pollMs
        })
      })
      .catch((error: unknown) => {
        defect(error)
        broken(Problem.badRequest("The body could not be read."))
      })
  }

  get #bytesMax(): number {
    const { bytesMax, wrapped } = this.#init
    return wrapped ? Math.min(bytesMax, Wrapped.bodyBytesMax) : bytesMax
  }

  #digest() {
    return CallBody.digestOf(this.#init.request.method ?? "GET", this.#init.path)
  }

  #ready(taken: TakenIn): void {
    if (this.#rest === undefined) this.#pace?.stop()
    this.#init.ready(taken)
  }

  #broken(why: CallBody.NoBody, hasBegun = false): void {
    switch (why.kind) {
      case "too-large":
        return this.#init.broken(Problem.bodyTooLarge(this.#bytesMax))
      case "left":
        return this.#init.broken(undefined)
      case "unwritten":
        this.#init.defect(why.error)
        return this.#init.broken(Problem.bodyUnwritten(why.error, hasBegun))
    }
  }
}
