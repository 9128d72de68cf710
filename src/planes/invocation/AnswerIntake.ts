/**
 * What workers say about the requests that they were given: answers as they come, failures, progress, credit.
 *
 * H3 every message is checked against the live token before it touches a byte. What is wrong with an answer ends its
 * attempt and nothing else.
 *
 * @module
 */
import * as Buffer_ from "../../core/buffer/Buffer.ts"
import type { FromWorker } from "../../worker-sdk/protocol/WorkerMessage.ts"
import * as CrashPoint from "../CrashPoint.ts"
import type { BlobStore } from "../fabric/BlobStore.ts"
import { tooLargeToKeep, whyNotAHead } from "./AnswerRules.ts"
import type { Attempt } from "./Attempt.ts"
import * as EventFrames from "./EventFrames.ts"
import type { EventStreams } from "./EventStreams.ts"
import { bytesOf } from "./PayloadCache.ts"
import { nowMs } from "./PlaneClock.ts"
import type { ShardMachine } from "./ShardMachine.ts"
import type { WorkerState } from "./WorkerState.ts"

export type AboutRequest = Exclude<FromWorker, { _tag: "Ready" | "Draining" | "Heartbeat" }>

export interface AnswerIntakeInit {
  readonly machine: ShardMachine
  readonly blobs: BlobStore["Service"]
  readonly eventStreams: EventStreams
  /** A message about a lease that is over. */
  readonly stale: (workerId: string, event: string) => void
}

/** A note of progress is a line for people, and stays in memory as long as its request. */
const noteLengthMax = 300

export class AnswerIntake {
  readonly #init: AnswerIntakeInit

  constructor(init: AnswerIntakeInit) {
    this.#init = init
  }

  /** Of a worker, about a request that it was given. */
  take(worker: WorkerState, message: AboutRequest): void {
    const attempt = worker.attempts.get(message.requestId)
    if (attempt === undefined || attempt.token !== message.token || attempt.over || !this.#isLive(attempt)) {
      return this.#init.stale(worker.identity.workerId, message._tag)
    }
    const { entry } = attempt
    const atMs = nowMs()
    if (atMs >= entry.deadlineMs) {
      // The timer of this very millisecond may be behind this message; an answer after the deadline is none.
      this.#init.machine.send({ _tag: "Ticked", nowMs: atMs })
      if (!this.#isLive(attempt)) return
    }
    switch (message._tag) {
      case "ResponseHead": {
        if (attempt.status !== undefined) return this.fail(attempt, false, "the worker answered twice")
        const wrong = whyNotAHead(message.status, message.headers)
        if (wrong !== undefined) return this.fail(attempt, false, wrong)
        CrashPoint.hit("invocation.response.head")
        attempt.status = message.status
        attempt.headers = message.headers
        entry.headMs = nowMs()
        if (message.end) {
          entry.answer = {
            status: message.status,
            headers: message.headers,
            body: { kind: "inline", bytes: message.body }
          }
          return this.#responseEnded(attempt, message.body.length)
        }
        if (entry.isWritten && EventFrames.isEventStream(message.headers)) this.#beginStream(attempt)
        this.#init.machine.send({
          _tag: "ResponseStarted",
          nowMs: nowMs(),
          sequence: entry.sequence,
          workerId: worker.identity.workerId,
          token: attempt.token
        })
        if (message.body.length > 0) attempt.chunk(message.body, this.#init.blobs)
        return
      }
      case "ResponseChunk":
        if (attempt.status === undefined) return this.fail(attempt, true, "the worker sent a body without a head")
        if (!attempt.mayTake(message.bytes.length))
          return this.fail(attempt, false, "the worker sent more than it had credit for")
        CrashPoint.hit("invocation.response.chunk")
        return attempt.chunk(message.bytes, this.#init.blobs)
      case "ResponseEnd":
        return this.#onResponseEnd(attempt)
      case "Failed":
        return this.#attemptFailed(attempt, message.retryable, message.message)
      case "Progress":
        entry.progress = {
          percent: Math.min(100, Math.max(0, message.percent)),
          note: message.note.slice(0, noteLengthMax)
        }
        return
      case "Credit":
        return attempt.addCredit(message.bytes)
    }
  }

  #beginStream(attempt: Attempt): void {
    const { entry, worker, token, status = 200, headers } = attempt
    const { requestId, tenant, attempts } = entry
    const { workerId } = worker.identity
    const facts = { requestId, tenant, token, attempt: attempts, workerId, status, headers }
    // A caller that waits is about to see it; else a reader may come.
    const kept = Buffer_.lookup(this.#init.machine.state, entry.sequence)?.kept ?? false
    attempt.stream = this.#init.eventStreams.begin(facts, entry.caller !== undefined && !kept)
    entry.tellStream()
  }

  #onResponseEnd(attempt: Attempt): void {
    if (attempt.status === undefined) return this.fail(attempt, true, "the worker ended an answer without a head")
    attempt.complete = true
    const { entry, status, headers } = attempt
    const held = attempt.heldBody()
    if (held !== undefined) {
      entry.answer = { status, headers, body: held }
      return this.#responseEnded(attempt, bytesOf(held))
    }
    if (attempt.released) return this.#responseEnded(attempt, 0)
    attempt.collectedBody().then(
      (body) => {
        if (attempt.over) return
        entry.answer = body === undefined ? tooLargeToKeep : { status, headers, body }
        this.#responseEnded(attempt, bytesOf(body))
      },
      (error: unknown) => this.fail(attempt, true, `its answer could not be stored: ${String(error)}`)
    )
  }

  #responseEnded(attempt: Attempt, resultBytes: number): void {
    CrashPoint.hit("invocation.response.beforeEnd")
    this.#init.machine.send({
      _tag: "ResponseEnded",
      nowMs: nowMs(),
      sequence: attempt.entry.sequence,
      workerId: attempt.worker.identity.workerId,
      token: attempt.token,
      resultBytes
    })
  }

  /** We end it: the worker does not know yet and must stop, or the call would hold its slot for ever. */
  fail(attempt: Attempt, retryable: boolean, message: string): void {
    if (attempt.over) return
    const { entry, worker, token } = attempt
    worker.send({ _tag: "Cancel", requestId: entry.requestId, token, reason: "handler-failed" })
    this.#attemptFailed(attempt, retryable, message)
  }

  #attemptFailed(attempt: Attempt, retryable: boolean, message: string): void {
    if (attempt.over) return
    const { entry, worker, token } = attempt
    CrashPoint.hit("invocation.attemptFailed")
    const atMs = nowMs()
    entry.note(atMs, `attempt ${entry.attempts} failed: ${message.slice(0, 300)}`)
    worker.attempts.delete(entry.requestId)
    this.#init.machine.send({
      _tag: "AttemptFailed",
      nowMs: atMs,
      sequence: entry.sequence,
      workerId: worker.identity.workerId,
      token,
      retryable,
      message: message.slice(0, 2000)
    })
  }

  #isLive(attempt: Attempt): boolean {
    return Buffer_.isLive(
      this.#init.machine.state,
      attempt.entry.sequence,
      attempt.worker.identity.workerId,
      attempt.token
    )
  }
}
