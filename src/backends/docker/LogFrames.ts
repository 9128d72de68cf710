/**
 * The daemon's stream of output: frames of one entry each, `kind, 0, 0, 0, length` and then a time, a space and the text.
 * A line longer than 16 KiB comes as several entries, of which only the last ends with a newline.
 *
 * Laws: F1 cut anywhere, the same bytes give the same entries. F2 what claims to be longer than `entryBytesMax` ends the
 * reading, so that a broken stream fills no memory.
 *
 * @module
 */
import type { LogLine } from "../ComputeBackend.ts"

export interface LogEntry {
  readonly stream: LogLine["stream"]
  /** As the daemon writes it, RFC 3339 with nanoseconds. */
  readonly time: string
  readonly bytes: Buffer
}

const headerBytes = 8
/** Of one entry: the daemon cuts at 16 KiB. */
export const entryBytesMax = 1024 * 1024

const streams: Readonly<Record<number, LogLine["stream"]>> = { 1: "stdout", 2: "stderr" }

/** Answers a function to be called with each chunk; it throws at what is no such stream. */
export const reader = (onEntry: (entry: LogEntry) => void): ((chunk: Buffer) => void) => {
  let rest: Buffer = Buffer.alloc(0)
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (rest.length >= headerBytes) {
      const stream = streams[rest[0] ?? 0]
      const length = rest.readUInt32BE(4)
      if (stream === undefined || length > entryBytesMax) throw new Error("the daemon's output has no frames")
      if (rest.length < headerBytes + length) return
      const payload = rest.subarray(headerBytes, headerBytes + length)
      rest = rest.subarray(headerBytes + length)
      const space = payload.indexOf(32)
      if (space < 0) continue
      onEntry({ stream, time: payload.toString("latin1", 0, space), bytes: payload.subarray(space + 1) })
    }
  }
}

/** The daemon's `since`, for what comes at or after this time; "0" for a time that is none. */
export const sinceOf = (time: string): string => {
  const ms = Date.parse(time)
  if (Number.isNaN(ms)) return "0"
  const fraction = /\.(\d{1,9})/.exec(time)?.[1] ?? ""
  return `${Math.floor(ms / 1000)}.${fraction.padEnd(9, "0")}`
}
