/**
 * Cuts the bytes of an event stream (`text/event-stream`, WHATWG HTML 9.2) into frames: everything up to and including a
 * blank line. Frames are what is numbered, kept and resumed after; their bytes are never changed.
 *
 * E1 the frames of a stream, and what is left at its end, are its bytes, however they came in pieces. E2 every frame has a
 * line that is not blank and ends with a blank line; leading blank lines belong to the frame after them. E3 an inserted id
 * changes no other field, and is inserted only where the function gave none.
 *
 * @module
 */
import type { HeaderList } from "../../worker-sdk/protocol/WorkerMessage.ts"

/** A frame beyond it makes the rest of the stream one without frames: it cannot be held in memory until its end. */
export const frameBytesMax = 1024 * 1024

const lineFeed = 10
const carriageReturn = 13
const byteOrderMark = [0xef, 0xbb, 0xbf]

export const isEventStream = (headers: HeaderList): boolean =>
  headers.some(
    ([name, value]) => name.toLowerCase() === "content-type" && /^\s*text\/event-stream\s*(?:;|$)/i.test(value)
  )

export class Splitter {
  #parts: Array<Uint8Array> = []
  #bytes = 0
  /** The frame has a line that is not blank. */
  #hasContent = false
  #isLineStart = true
  #wasReturn = false
  /** A blank line ended the frame, by a carriage return that a line feed may still follow. */
  #isEnding = false
  #isRaw = false
  /** Bytes of a byte order mark, which is no content. */
  #seen = 0

  /** From here on there are no frames; `end` was not reached. */
  get isRaw(): boolean {
    return this.#isRaw
  }

  /** The frames that are whole with these bytes. Once `isRaw`, the bytes themselves. */
  push(bytes: Uint8Array): ReadonlyArray<Uint8Array> {
    if (this.#isRaw) return [bytes]
    const frames: Array<Uint8Array> = []
    let start = 0
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at]
      if (this.#isEnding) {
        const end = byte === lineFeed ? at + 1 : at
        frames.push(this.#cut(bytes.subarray(start, end)))
        start = end
        if (byte === lineFeed) continue
      }
      if (byte === lineFeed && this.#wasReturn) {
        this.#wasReturn = false
        continue
      }
      const isMark = this.#seen < 3 && byte === byteOrderMark[this.#seen]
      this.#seen = isMark ? this.#seen + 1 : 3
      if (isMark) continue
      this.#wasReturn = byte === carriageReturn
      if (byte !== lineFeed && byte !== carriageReturn) {
        this.#isLineStart = false
        this.#hasContent = true
        continue
      }
      const isBlank = this.#isLineStart
      this.#isLineStart = true
      if (!isBlank || !this.#hasContent) continue
      if (byte === carriageReturn) this.#isEnding = true
      else {
        frames.push(this.#cut(bytes.subarray(start, at + 1)))
        start = at + 1
      }
    }
    if (start < bytes.length) this.#hold(bytes.subarray(start))
    if (this.#bytes <= frameBytesMax) return frames
    this.#isRaw = true
    return [...frames, this.#take()]
  }

  /** What is left: a frame that waited for its line feed, or bytes that no blank line ends. Undefined: nothing. */
  end(): Uint8Array | undefined {
    return this.#bytes === 0 ? undefined : this.#take()
  }

  #hold(bytes: Uint8Array): void {
    this.#parts.push(bytes)
    this.#bytes += bytes.length
  }

  #cut(last: Uint8Array): Uint8Array {
    this.#hold(last)
    this.#hasContent = false
    this.#isLineStart = true
    this.#wasReturn = false
    this.#isEnding = false
    return this.#take()
  }

  #take(): Uint8Array {
    const [only] = this.#parts
    const whole = this.#parts.length === 1 && only !== undefined ? only : Buffer.concat(this.#parts)
    this.#parts = []
    this.#bytes = 0
    return whole
  }
}

/** The id that the function gave the frame, its bytes as latin-1; undefined: none. The last `id` line counts. */
export const ownId = (frame: Uint8Array): string | undefined => {
  const text = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength).toString("latin1")
  let found: string | undefined
  for (const line of text.replace(/^\u00ef\u00bb\u00bf/, "").split(/\r\n|\n|\r/)) {
    const match = /^id(?::( ?)([\s\S]*))?$/.exec(line)
    const value = match === null ? undefined : (match[2] ?? "")
    // The standard ignores such a line.
    if (value !== undefined && !value.includes("\0")) found = value
  }
  return found
}

/** The id that we give: the n-th frame of this request's stream, from 1. */
export const idOf = (requestId: string, index: number): string => `${requestId}:${index}`

/** The number in an id that we gave, or that a reader who counts put together. */
export const indexOf = (requestId: string, id: string): number | undefined => {
  const match = /^([0-9a-f-]{36}):(\d{1,15})$/i.exec(id)
  return match?.[1]?.toLowerCase() === requestId ? Number(match[2]) : undefined
}

/** The frame with our id in front, unless the function gave one. */
export const withId = (frame: Uint8Array, id: string): Uint8Array => {
  if (ownId(frame) !== undefined) return frame
  let at = frame[0] === 0xef && frame[1] === 0xbb && frame[2] === 0xbf ? 3 : 0
  while (at < frame.length && (frame[at] === lineFeed || frame[at] === carriageReturn)) at++
  return Buffer.concat([frame.subarray(0, at), Buffer.from(`id: ${id}\n`), frame.subarray(at)])
}
