/**
 * One batch of a shard's log as messages of its stream.
 *
 * A batch is one message, or several in a row (parts) when it is larger than what a message may hold. M1 parts of a batch
 * that is not there whole are as if they were not there: whoever wrote them died or was deposed. M2 every message tells
 * where the log stands before it, so the last one tells where it ends. M3 a batch of no records marks an end whose records
 * were all truncated.
 *
 * @module
 */
import * as RecordBatch from "../embedded/RecordBatch.ts"
import type { StoredMessage } from "./StreamReader.ts"

const positionHeader = "Millrace-Position"
const countHeader = "Millrace-Records"
const partHeader = "Millrace-Part"

export interface LogMessage {
  readonly sequence: number
  /** Of the batch's first record. */
  readonly position: number
  readonly count: number
  /** Counts from 1. */
  readonly part: number
  readonly partCount: number
  readonly bytes: Uint8Array
}

export interface Part {
  readonly headers: Readonly<Record<string, string>>
  readonly data: Uint8Array
}

export const encode = (
  position: number,
  records: ReadonlyArray<Uint8Array>,
  partBytesMax: number
): ReadonlyArray<Part> => {
  const bytes = RecordBatch.encode(records)
  const partCount = Math.max(1, Math.ceil(bytes.byteLength / partBytesMax))
  return Array.from({ length: partCount }, (_, index) => ({
    headers: {
      [positionHeader]: String(position),
      [countHeader]: String(records.length),
      ...(partCount === 1 ? {} : { [partHeader]: `${index + 1}/${partCount}` })
    },
    data: bytes.subarray(index * partBytesMax, (index + 1) * partBytesMax)
  }))
}

/** Throws on a message that Millrace did not write. */
export const decode = ({ sequence, header, data }: StoredMessage): LogMessage => {
  const [position, count] = [Number(header(positionHeader)), Number(header(countHeader))]
  const [part, partCount] = (header(partHeader) ?? "1/1").split("/").map(Number)
  if (![position, count, part, partCount].every((value) => Number.isSafeInteger(value))) {
    throw new Error(`message ${sequence} of the log is none of Millrace's`)
  }
  return { sequence, position, count, part: part!, partCount: partCount!, bytes: data }
}

/** Where the log stands after this message when it is the last one. M1. */
export const endAfter = ({ position, count, part, partCount }: LogMessage): number =>
  part === partCount ? position + count : position

/** Of the message with which its batch begins. */
export const firstSequence = ({ sequence, part }: LogMessage): number => sequence - part + 1

/** Joins parts that come in order; answers a batch with its last part. */
export class Assembly {
  #parts: Array<LogMessage> = []

  add(message: LogMessage): { readonly position: number; readonly records: ReadonlyArray<Uint8Array> } | undefined {
    const last = this.#parts.at(-1)
    const continues =
      last !== undefined &&
      message.part === last.part + 1 &&
      message.partCount === last.partCount &&
      message.position === last.position &&
      message.sequence === last.sequence + 1
    if (!continues) this.#parts = []
    if (message.part !== this.#parts.length + 1) return undefined
    this.#parts.push(message)
    if (message.part < message.partCount) return undefined
    const bytes = this.#parts.length === 1 ? message.bytes : Buffer.concat(this.#parts.map((part) => part.bytes))
    this.#parts = []
    return { position: message.position, records: RecordBatch.decode(bytes, message.count) }
  }
}
