/**
 * Brings a shard back from its log: snapshot, then every record after it through the very machine that serves. What
 * comes out is the state that a `Recovered` event turns live.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Buffer_ from "../../core/buffer/Buffer.ts"
import type { DurableRecord } from "../../core/buffer/BufferEvent.ts"
import type { BufferOptions } from "../../core/buffer/BufferOptions.ts"
import * as CrashPoint from "../CrashPoint.ts"
import type { FabricUnavailable } from "../fabric/FabricError.ts"
import type { Log, LogRecord } from "../fabric/Log.ts"
import { Entry } from "./Entry.ts"
import * as StoredRecord from "./StoredRecord.ts"

export interface Recovered {
  readonly state: Buffer_.State
  readonly entries: ReadonlyMap<number, Entry>
  readonly position: number
  readonly lastSequence: number
  readonly recordCount: number
  /** Dead letters that were replayed, with the request that each became. */
  readonly replays: ReadonlyMap<string, string>
}

/** A snapshot: the machine's durable state, and where each live request's bytes are in the log. */
interface SnapshotBody {
  readonly format: 1
  readonly machine: Buffer_.Snapshot
  readonly lastSequence: number
  readonly entries: ReadonlyArray<readonly [sequence: number, callPosition: number, answerPosition: number]>
}

const readChunk = 1024

/** Calls up to this size stay in memory while a log is replayed; larger ones are read back when they are dispatched. */
const keptCallBytesMax = 4 * 1024

/** Reads the whole log that is there; also the way to make a snapshot, so that a snapshot is by construction a replay. */
export const recover = (
  log: Log["Service"],
  shard: string,
  options: BufferOptions
): Effect.Effect<Recovered, FabricUnavailable> =>
  Effect.gen(function* () {
    CrashPoint.hit("invocation.recover.begin")
    const snapshot = yield* log.loadSnapshot(shard)
    const entries = new Map<number, Entry>()
    let state = Buffer_.empty(options)
    let lastSequence = 0
    let position = (yield* log.bounds(shard)).first
    let recordCount = 0
    const replays = new Map<string, string>()
    const noteReplay = (entry: Entry | undefined) => {
      if (entry?.replayOf !== undefined) replays.set(entry.replayOf, entry.requestId)
    }
    if (snapshot !== undefined) {
      const body = decodeSnapshot(snapshot.bytes)
      state = Buffer_.restore(body.machine, options)
      CrashPoint.hit("invocation.recover.snapshot")
      lastSequence = body.lastSequence
      position = snapshot.position
      for (const [sequence, callPosition, answerPosition] of body.entries) {
        const [record] = yield* log.read(shard, callPosition, 1)
        const entry =
          record === undefined ? undefined : entryOf(StoredRecord.decode(record.bytes), callPosition, options)
        if (entry === undefined) continue
        if (answerPosition >= 0) entry.answerPosition = answerPosition
        recall(entry, Buffer_.lookup(state, sequence))
        entries.set(sequence, entry)
        noteReplay(entry)
      }
    }
    for (;;) {
      const records: ReadonlyArray<LogRecord> = yield* log.read(shard, position, readChunk)
      if (records.length === 0) break
      for (const { bytes, position: at } of records) {
        const stored = StoredRecord.decode(bytes)
        const [next] = Buffer_.advance(state, { _tag: "Replayed", record: stored.record })
        state = next
        lastSequence = Math.max(lastSequence, sequenceOf(stored.record))
        noteReplay(remember(entries, stored, at, options))
        recordCount++
      }
      CrashPoint.hit("invocation.recover.chunk")
      position += records.length
    }
    CrashPoint.hit("invocation.recover.done")
    return { state, entries, position, lastSequence, recordCount, replays }
  })

const decodeSnapshot = (bytes: Uint8Array): SnapshotBody => {
  // Written by `encodeSnapshot` below and kept whole by the store.
  const body = JSON.parse(Buffer.from(bytes).toString("utf8")) as SnapshotBody
  if (body.format !== 1) throw new StoredRecord.UnreadableRecord("a snapshot of a newer Millrace: start that version")
  return body
}

/** The log before this position is not needed once the snapshot of `recovered` is saved. */
export const truncatable = (recovered: Recovered): number => {
  let first = recovered.position
  for (const entry of recovered.entries.values()) {
    if (entry.callPosition !== undefined && entry.callPosition < first) first = entry.callPosition
  }
  return first
}

export const encodeSnapshot = ({ state, entries, lastSequence }: Recovered): Uint8Array => {
  const live: Array<readonly [number, number, number]> = []
  for (const entry of entries.values()) {
    if (entry.callPosition !== undefined) live.push([entry.sequence, entry.callPosition, entry.answerPosition ?? -1])
  }
  const body: SnapshotBody = { format: 1, machine: Buffer_.snapshot(state), lastSequence, entries: live }
  return Buffer.from(JSON.stringify(body))
}

const sequenceOf = (record: DurableRecord): number =>
  record._tag === "RecordArrived" ? record.arrived.sequence : record.sequence

/** Answers the entry that came with it. */
const remember = (
  entries: Map<number, Entry>,
  stored: StoredRecord.StoredRecord,
  position: number,
  options: BufferOptions
): Entry | undefined => {
  const { record } = stored
  switch (record._tag) {
    case "RecordArrived": {
      const entry = entryOf(stored, position, options)
      if (entry !== undefined) entries.set(entry.sequence, entry)
      return entry
    }
    case "RecordEnded": {
      const entry = entries.get(record.sequence)
      if (entry === undefined) return undefined
      // Ended without a kept result and without anyone who may ask: the machine forgets it in the same step.
      if (stored.answer !== null) {
        entry.answerPosition = position
        entry.answerBlobId = stored.answer.body.kind === "blob" ? stored.answer.body.id : undefined
      }
      entry.end = {
        terminal: record.terminal,
        reason: record.reason,
        message: record.message,
        resultKept: record.resultKept
      }
      entry.times.endedMs = record.endedAtMs
      if (record.keepUntilMs > record.endedAtMs) entry.keepUntilMs = record.keepUntilMs
      entry.call = undefined
      return undefined
    }
    case "RecordForgotten":
      entries.delete(record.sequence)
      return undefined
    case "RecordLeased": {
      const entry = entries.get(record.sequence)
      if (entry !== undefined) entry.attempts = record.attempt
      return undefined
    }
    case "RecordAttemptFailed":
    case "RecordDetached":
      return undefined
  }
}

/** What the records before the snapshot said of it. */
const recall = (entry: Entry, figures: Buffer_.RequestFigures | undefined): void => {
  if (figures === undefined) return
  entry.attempts = figures.attempt
  if (figures.terminal === undefined) return
  const { terminal, reason = null, message = null, resultKept } = figures
  entry.end = { terminal, reason, message, resultKept }
  entry.times.endedMs = figures.endedAtMs
  entry.keepUntilMs = figures.keepUntilMs
  entry.call = undefined
}

const entryOf = (stored: StoredRecord.StoredRecord, position: number, options: BufferOptions): Entry | undefined => {
  const { record, call } = stored
  if (record._tag !== "RecordArrived" || call === null) return undefined
  const { arrived } = record
  const entry = new Entry({
    sequence: arrived.sequence,
    requestId: arrived.requestId,
    tenant: arrived.tenant,
    functionId: call.functionId,
    functionName: call.functionName,
    versionId: arrived.version,
    mode: arrived.mode,
    durability: arrived.durability,
    deadlineMs: arrived.deadlineMs,
    maxAttempts: arrived.maxAttempts,
    receivedMs: arrived.nowMs,
    arrivedMs: arrived.nowMs,
    head: call.head,
    body: call.body,
    caller: undefined,
    resultRetentionMs: arrived.resultRetentionMs ?? options.resultRetentionMs,
    isWritten: true,
    replayOf: call.replayOf
  })
  entry.callPosition = position
  entry.times.storedMs = arrived.nowMs
  entry.note(arrived.nowMs, "read back from the log after a restart")
  if (call.body.kind === "inline" && call.body.bytes.length > keptCallBytesMax) entry.call = undefined
  return entry
}
