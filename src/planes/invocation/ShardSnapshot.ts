/**
 * What shortens the replay of a shard's log. A snapshot names the records in the log that still matter and holds only
 * what came to them later, so making one takes no second copy of what waits, and a request that only waits costs a few
 * bytes in it.
 *
 * N1 it belongs to a position: what is before it and not named does not matter any more. N2 recovery from it and the
 * records after it gives what recovery from the whole log gives. N3 it is taken from a state that stays as it was, a
 * part at a time, while the shard goes on; what the shard forgot meanwhile is left out.
 *
 * @module
 */
import { Packr } from "msgpackr"
import * as Buffer_ from "../../core/buffer/Buffer.ts"
import type { DurableRecord } from "../../core/buffer/BufferEvent.ts"
import type { Entry } from "./Entry.ts"
import { UnreadableRecord } from "./StoredRecord.ts"

/** Arrivals that follow one another in the log and of which there is nothing more to say. */
type Run = readonly [firstPosition: number, count: number]
/** `answerPosition`: -1 when there is none. */
type Touched = readonly [
  callPosition: number,
  answerPosition: number,
  answerBlobId: string | null,
  records: ReadonlyArray<DurableRecord>
]

type Header = readonly [format: 2, epoch: number, lastSequence: number, nextToken: number]
type Part = readonly [runs: ReadonlyArray<Run>, touched: ReadonlyArray<Touched>]

export interface Named {
  readonly callPosition: number
  readonly answerPosition: number | undefined
  readonly answerBlobId: string | undefined
  /** What happened to it after its arrival, in order. */
  readonly records: ReadonlyArray<DurableRecord>
}

export interface ShardSnapshot {
  /** Before the first request. */
  readonly machine: Buffer_.Snapshot
  /** In the order of their call positions. */
  readonly requests: ReadonlyArray<Named>
}

export interface Taken {
  readonly bytes: Uint8Array
  /** The log before this position is not needed once the snapshot is saved. */
  readonly firstNeeded: number
}

/** Looked at in one turn of the event loop: about a millisecond. */
const partSize = 2_048

const packr = new Packr({ useRecords: false })

export const take = async (source: {
  /** Is not changed any more: see `Shard.freeze`. */
  readonly state: Buffer_.State
  /** Records before it are in the state. */
  readonly position: number
  readonly entryOf: (sequence: number) => Entry | undefined
  /** Between two parts. */
  readonly rest: () => Promise<void>
}): Promise<Taken> => {
  const { state, position, entryOf, rest } = source
  const { epoch, lastSequence, nextToken } = state
  const header: Header = [2, epoch, lastSequence, nextToken]
  const chunks: Array<Uint8Array> = [packr.pack(header)]
  const sequences = Buffer_.liveSequences(state)
  let firstNeeded = position
  for (let from = 0; from < sequences.length; from += partSize) {
    if (from > 0) await rest()
    const runs: Array<[number, number]> = []
    const touched: Array<Touched> = []
    for (const sequence of sequences.slice(from, from + partSize)) {
      const records = Buffer_.recordsAfterArrival(state, sequence)
      const entry = entryOf(sequence)
      const callPosition = entry?.callPosition
      if (records === undefined || entry === undefined || callPosition === undefined) continue
      if (callPosition < firstNeeded) firstNeeded = callPosition
      if (records.length > 0) {
        touched.push([callPosition, entry.answerPosition ?? -1, blobIdOf(entry), records])
        continue
      }
      const last = runs.at(-1)
      if (last !== undefined && last[0] + last[1] === callPosition) last[1]++
      else runs.push([callPosition, 1])
    }
    const part: Part = [runs, touched]
    chunks.push(packr.pack(part))
  }
  return { bytes: Buffer.concat(chunks), firstNeeded }
}

const blobIdOf = ({ answer, answerBlobId }: Entry): string | null =>
  answer?.body.kind === "blob" ? answer.body.id : (answerBlobId ?? null)

/** Of the one format before this, which held arrivals as well: the first byte of a JSON object. */
const formerFirstByte = 0x7b

export const decode = (bytes: Uint8Array): ShardSnapshot => {
  if (bytes[0] === formerFirstByte) return decodeFormer(bytes)
  // Written by `take` above and kept whole by the store.
  const [header, ...parts] = packr.unpackMultiple(bytes) as [Header, ...Array<Part>]
  const [format, epoch, lastSequence, nextToken] = header
  if (format !== 2) throw newer()
  const requests: Array<Named> = []
  for (const [runs, touched] of parts) {
    for (const [first, count] of runs) {
      for (let index = 0; index < count; index++) {
        requests.push(named(first + index, -1, null, nothing))
      }
    }
    for (const one of touched) requests.push(named(...one))
  }
  requests.sort((left, right) => left.callPosition - right.callPosition)
  return { machine: { version: 1, epoch, lastSequence, nextToken, requests: [] }, requests }
}

const named = (...[callPosition, answerPosition, answerBlobId, records]: Touched): Named => ({
  callPosition,
  answerPosition: answerPosition < 0 ? undefined : answerPosition,
  answerBlobId: answerBlobId ?? undefined,
  records
})

const nothing: ReadonlyArray<DurableRecord> = []

interface FormerBody {
  readonly format: 1
  readonly machine: Buffer_.Snapshot
  readonly lastSequence: number
  readonly entries: ReadonlyArray<readonly [sequence: number, callPosition: number, answerPosition: number]>
}

const decodeFormer = (bytes: Uint8Array): ShardSnapshot => {
  // Written by a former release and kept whole by the store.
  const body = JSON.parse(Buffer.from(bytes).toString("utf8")) as FormerBody
  if (body.format !== 1) throw newer()
  const records = new Map(body.machine.requests.map((request) => [request.arrived.sequence, request.records]))
  const requests: Array<Named> = []
  for (const [sequence, callPosition, answerPosition] of body.entries) {
    const found = records.get(sequence)
    // Its entries outlived what the machine knew.
    if (found === undefined) continue
    requests.push(named(callPosition, answerPosition, null, found))
  }
  requests.sort((left, right) => left.callPosition - right.callPosition)
  const { epoch, nextToken } = body.machine
  return { machine: { version: 1, epoch, lastSequence: body.lastSequence, nextToken, requests: [] }, requests }
}

const newer = () => new UnreadableRecord("a snapshot of a newer Millrace: start that version")
