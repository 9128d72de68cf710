/**
 * Puts ids into the event stream of a call that asked for them, frame by frame as they come.
 *
 * @module
 */
import type { ServerResponse } from "node:http"
import * as EventFrames from "./EventFrames.ts"

export class EventIds {
  readonly #requestId: string
  readonly #splitter = new EventFrames.Splitter()
  #count = 0

  constructor(requestId: string) {
    this.#requestId = requestId
  }

  /** False: the socket is full. */
  write(response: ServerResponse, bytes: Uint8Array): boolean {
    let isWritable = true
    const wasRaw = this.#splitter.isRaw
    const frames = this.#splitter.push(bytes)
    for (const [at, frame] of frames.entries()) {
      // A frame that outgrows every bound, and what comes after it, goes out as it is.
      const isRaw = wasRaw || (this.#splitter.isRaw && at === frames.length - 1)
      isWritable = response.write(isRaw ? frame : this.#withId(frame))
    }
    return isWritable
  }

  end(response: ServerResponse): void {
    const rest = this.#splitter.end()
    if (rest !== undefined) response.write(this.#withId(rest))
  }

  #withId(frame: Uint8Array): Uint8Array {
    return EventFrames.withId(frame, EventFrames.idOf(this.#requestId, ++this.#count))
  }
}
