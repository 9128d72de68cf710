/**
 * The last output of one instance, in lines, bounded in three ways: a chatty or hostile function must not be able to
 * fill the memory of the process that runs it.
 *
 * Laws: O1 a line is at most `lineBytesMax` bytes; a longer one is cut into several, never inside a character of valid
 * UTF-8. O2 at most `linesMax` lines and `bytesMax` bytes are kept, and what goes first is the oldest. O3 nothing within
 * the bounds is dropped, and each stream keeps its order.
 *
 * @module
 */
import type { LogLine } from "./ComputeBackend.ts"

export interface Bounds {
  readonly lineBytesMax: number
  readonly linesMax: number
  readonly bytesMax: number
}

export const defaultBounds: Bounds = { lineBytesMax: 8 * 1024, linesMax: 1000, bytesMax: 1024 * 1024 }

export interface OutputTail {
  readonly write: (stream: LogLine["stream"], chunk: Buffer, atMs: number) => void
  /** The unfinished last lines count as lines from now on: the process is gone. */
  readonly end: (atMs: number) => void
  /** Oldest first. */
  readonly lines: () => ReadonlyArray<LogLine>
  /** The last lines joined, at most `bytesMax` bytes, cut at the front. */
  readonly text: (bytesMax: number) => string
  /** Gives memory back: keeps the last lines of at most `bytesMax` bytes together. */
  readonly shrink: (bytesMax: number) => void
}

interface Kept {
  readonly line: LogLine
  readonly bytes: number
}

const nothing: Buffer = Buffer.alloc(0)
const nothingKept: ReadonlyArray<Kept> = []

/** Most instances say little: until they do, theirs is one small object. */
class Tail implements OutputTail {
  readonly #onLine: (line: LogLine) => void
  readonly #bounds: Bounds
  #kept: Array<Kept> | undefined
  #keptBytes = 0
  /** Unfinished last lines. */
  #stdout = nothing
  #stderr = nothing

  constructor(onLine: (line: LogLine) => void, bounds: Bounds) {
    this.#onLine = onLine
    this.#bounds = bounds
  }

  write(stream: LogLine["stream"], chunk: Buffer, atMs: number): void {
    let from = 0
    let end = chunk.indexOf(10)
    while (end !== -1) {
      const part = chunk.subarray(from, end)
      const begun = this.#begun(stream)
      this.#keep(stream, this.#cut(stream, begun.length === 0 ? part : Buffer.concat([begun, part]), atMs), atMs)
      this.#setBegun(stream, nothing)
      from = end + 1
      end = chunk.indexOf(10, from)
    }
    if (from < chunk.length) {
      const rest = this.#cut(stream, Buffer.concat([this.#begun(stream), chunk.subarray(from)]), atMs)
      // Copied, so that 8 KiB of a line do not hold on to the 64 KiB buffer it was read into.
      this.#setBegun(stream, Buffer.concat([rest]))
    }
  }

  end(atMs: number): void {
    for (const stream of ["stdout", "stderr"] as const) {
      if (this.#begun(stream).length > 0) this.#keep(stream, this.#begun(stream), atMs)
      this.#setBegun(stream, nothing)
    }
  }

  lines(): ReadonlyArray<LogLine> {
    return (this.#kept ?? nothingKept).map((entry) => entry.line)
  }

  text(bytesMax: number): string {
    const kept = this.#kept ?? nothingKept
    if (kept.length === 0) return ""
    const last: Array<string> = []
    let bytes = 0
    for (let index = kept.length - 1; index >= 0 && bytes < bytesMax; index--) {
      const entry = kept[index]!
      last.push(entry.line.text)
      bytes += entry.bytes
    }
    const joined = Buffer.from(last.reverse().join("\n"))
    if (joined.length <= bytesMax) return joined.toString()
    const from = joined.length - bytesMax
    return joined.toString("utf8", nextCharacter(joined, from))
  }

  shrink(bytesMax: number): void {
    this.#dropTo(this.#bounds.linesMax, bytesMax)
  }

  #begun(stream: LogLine["stream"]): Buffer {
    return stream === "stdout" ? this.#stdout : this.#stderr
  }

  #setBegun(stream: LogLine["stream"], bytes: Buffer): void {
    if (stream === "stdout") this.#stdout = bytes
    else this.#stderr = bytes
  }

  #dropTo(linesMax: number, bytesMax: number): void {
    const kept = this.#kept
    if (kept === undefined) return
    while (kept.length > linesMax || (this.#keptBytes > bytesMax && kept.length > 0)) {
      const oldest = kept.shift()
      this.#keptBytes -= oldest === undefined ? 0 : oldest.bytes
    }
  }

  #keep(stream: LogLine["stream"], bytes: Buffer, atMs: number): void {
    const end = bytes.length > 0 && bytes[bytes.length - 1] === 13 ? bytes.length - 1 : bytes.length
    const line: LogLine = { atMs, stream, text: bytes.toString("utf8", 0, end) }
    // What stays in memory is counted, the newline included, so that empty lines cost something too.
    this.#kept ??= []
    this.#kept.push({ line, bytes: bytes.length + 1 })
    this.#keptBytes += bytes.length + 1
    this.#dropTo(this.#bounds.linesMax, this.#bounds.bytesMax)
    this.#onLine(line)
  }

  /** Cuts a line that is too long into pieces; answers the rest, shorter than the bound. */
  #cut(stream: LogLine["stream"], bytes: Buffer, atMs: number): Buffer {
    const { lineBytesMax } = this.#bounds
    let rest = bytes
    while (rest.length > lineBytesMax) {
      const at = characterBoundary(rest, lineBytesMax)
      this.#keep(stream, rest.subarray(0, at), atMs)
      rest = rest.subarray(at)
    }
    return rest
  }
}

export const make = (onLine: (line: LogLine) => void, bounds: Bounds = defaultBounds): OutputTail =>
  new Tail(onLine, bounds)

const isContinuation = (byte: number | undefined) => byte !== undefined && (byte & 0b1100_0000) === 0b1000_0000

/** The last place at or before `at` where a character begins; `at` itself in what is no UTF-8. */
const characterBoundary = (bytes: Buffer, at: number): number => {
  for (let back = 0; back < 4; back++) {
    if (!isContinuation(bytes[at - back])) return at - back > 0 ? at - back : at
  }
  return at
}

const nextCharacter = (bytes: Buffer, at: number): number => {
  for (let ahead = 0; ahead < 4; ahead++) {
    if (!isContinuation(bytes[at + ahead])) return at + ahead
  }
  return at
}
