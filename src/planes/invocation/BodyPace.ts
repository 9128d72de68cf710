/**
 * Cuts callers that send the body of a call so slowly that they only hold a place. A body has a time of grace and then
 * must have come, since its head, at `bytesPerSecondMin` or more.
 *
 * Time does not count against the caller while its bytes wait for us or for the function, nor once the answer has begun:
 * such a call is a conversation, and its deadline ends it.
 *
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import { nowMs } from "./PlaneClock.ts"

export interface PaceLimits {
  /** From the head; in this time nothing is asked of the pace. */
  readonly graceMs: number
  readonly bytesPerSecondMin: number
}

export const defaults: PaceLimits = { graceMs: 20_000, bytesPerSecondMin: 500 }

/** Between two looks at a body that is in time. */
const lookAgainMs = 1_000

export class BodyPace {
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #limits: PaceLimits
  readonly #tooSlow: () => void
  readonly #bytesBefore: number
  #sinceMs: number
  #timer: NodeJS.Timeout

  constructor(request: IncomingMessage, response: ServerResponse, limits: PaceLimits, tooSlow: () => void) {
    this.#request = request
    this.#response = response
    this.#limits = limits
    this.#tooSlow = tooSlow
    this.#bytesBefore = request.socket.bytesRead
    this.#sinceMs = nowMs()
    this.#timer = setTimeout(() => this.#look(lookAgainMs), limits.graceMs)
  }

  /** The body is there, or nobody wants it any more. */
  stop(): void {
    clearTimeout(this.#timer)
  }

  #look(sinceLastMs: number): void {
    const request = this.#request
    if (request.complete || request.destroyed || this.#response.headersSent) return
    if (request.readableLength > 0) this.#sinceMs += sinceLastMs
    const bytes = request.socket.bytesRead - this.#bytesBefore
    const allowedMs = this.#limits.graceMs + (bytes / this.#limits.bytesPerSecondMin) * 1000
    const leftMs = this.#sinceMs + allowedMs - nowMs()
    if (leftMs <= 0) return this.#tooSlow()
    const waitMs = Math.min(lookAgainMs, Math.max(leftMs, 10))
    this.#timer = setTimeout(() => this.#look(waitMs), waitMs)
  }
}
