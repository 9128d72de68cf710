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

export const make = (onLine: (line: LogLine) => void, bounds: Bounds = defaultBounds): OutputTail => {
  const kept: Array<{ readonly line: LogLine; readonly bytes: number }> = []
  const open = { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) }
  let keptBytes = 0

  const dropTo = (linesMax: number, bytesMax: number) => {
    while (kept.length > linesMax || (keptBytes > bytesMax && kept.length > 0)) {
      const oldest = kept.shift()
      keptBytes -= oldest === undefined ? 0 : oldest.bytes
    }
  }

  const keep = (stream: LogLine["stream"], bytes: Buffer, atMs: number) => {
    const end = bytes.length > 0 && bytes[bytes.length - 1] === 13 ? bytes.length - 1 : bytes.length
    const line: LogLine = { atMs, stream, text: bytes.toString("utf8", 0, end) }
    // What stays in memory is counted, the newline included, so that empty lines cost something too.
    kept.push({ line, bytes: bytes.length + 1 })
    keptBytes += bytes.length + 1
    dropTo(bounds.linesMax, bounds.bytesMax)
    onLine(line)
  }

  /** Cuts a line that is too long into pieces; answers the rest, shorter than the bound. */
  const cut = (stream: LogLine["stream"], bytes: Buffer, atMs: number): Buffer => {
    let rest = bytes
    while (rest.length > bounds.lineBytesMax) {
      const at = characterBoundary(rest, bounds.lineBytesMax)
      keep(stream, rest.subarray(0, at), atMs)
      rest = rest.subarray(at)
    }
    return rest
  }

  const text = (bytesMax: number): string => {
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

  return {
    write: (stream, chunk, atMs) => {
      let from = 0
      let end = chunk.indexOf(10)
      while (end !== -1) {
        const part = chunk.subarray(from, end)
        keep(stream, cut(stream, open[stream].length === 0 ? part : Buffer.concat([open[stream], part]), atMs), atMs)
        open[stream] = Buffer.alloc(0)
        from = end + 1
        end = chunk.indexOf(10, from)
      }
      if (from < chunk.length) {
        // Copied, so that 8 KiB of a line do not hold on to the 64 KiB buffer it was read into.
        open[stream] = Buffer.concat([cut(stream, Buffer.concat([open[stream], chunk.subarray(from)]), atMs)])
      }
    },
    end: (atMs) => {
      for (const stream of ["stdout", "stderr"] as const) {
        if (open[stream].length > 0) keep(stream, open[stream], atMs)
        open[stream] = Buffer.alloc(0)
      }
    },
    lines: () => kept.map((entry) => entry.line),
    text,
    shrink: (bytesMax) => dropTo(bounds.linesMax, bytesMax)
  }
}

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
