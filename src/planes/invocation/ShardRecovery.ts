/**
 * Brings a shard back from its log: what the snapshot names, then every record after it, through the very machine that
 * serves. What comes out is the state that a `Recovered` event turns live.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Buffer_ from "../../core/buffer/Buffer.ts"
import type { DurableRecord } from "../../core/buffer/BufferEvent.ts"
import type { BufferOptions } from "../../core/buffer/BufferOptions.ts"
import * as CrashPoint from "../CrashPoint.ts"
import type { FabricUnavailable, OutcomeUnknown } from "../fabric/FabricError.ts"
import type { Log, LogRecord } from "../fabric/Log.ts"
import { Entry } from "./Entry.ts"
import * as LogFence from "./LogFence.ts"
import { PayloadCache } from "./PayloadCache.ts"
import * as ShardSnapshot from "./ShardSnapshot.ts"
import * as StoredRecord from "./StoredRecord.ts"
import { ownText, Texts } from "./Texts.ts"

export interface Recovered {
  readonly state: Buffer_.State
  readonly entries: ReadonlyMap<number, Entry>
  /** What of their calls is in memory. */
  readonly payloads: PayloadCache
  readonly position: number
  readonly lastSequence: number
  readonly recordCount: number
  /** Dead letters that were replayed, with the request that each became. */
  readonly replays: ReadonlyMap<string, string>
}

const readChunk = 1024

/** Larger calls are read back when they are dispatched. */
const keptCallBytesMax = 4 * 1024

export const recover = (
  log: Log["Service"],
  shard: string,
  options: BufferOptions,
  turn: LogFence.Turn = false
): Effect.Effect<Recovered, FabricUnavailable | OutcomeUnknown> =>
  Effect.gen(function* () {
    CrashPoint.hit("invocation.recover.begin")
    const saved = yield* log.loadSnapshot(shard)
    const found = new Found(options)
    const { first, end } = yield* log.bounds(shard)
    let position = first
    if (saved !== undefined) {
      const { machine, requests } = ShardSnapshot.decode(saved.bytes)
      found.begin(machine)
      CrashPoint.hit("invocation.recover.snapshot")
      position = saved.position
      yield* readNamed(log, shard, requests, found)
    }
    const after = yield* LogFence.readToEnd(log, {
      name: shard,
      from: position,
      end,
      chunk: readChunk,
      turn,
      onRecord: ({ bytes, position: at }) => found.replay(StoredRecord.decode(bytes), at),
      onChunk: () => CrashPoint.hit("invocation.recover.chunk")
    })
    CrashPoint.hit("invocation.recover.done")
    return found.recovered(after)
  })

/** Reads the calls that a snapshot names: neighbours together, and nothing of a long stretch between two of them. */
const readNamed = Effect.fnUntraced(function* (
  log: Log["Service"],
  shard: string,
  requests: ReadonlyArray<ShardSnapshot.Named>,
  found: Found
): Effect.fn.Return<void, FabricUnavailable> {
  let next = 0
  while (next < requests.length) {
    const { callPosition: from } = requests[next]!
    let to = from
    for (let ahead = next; ahead < requests.length; ahead++) {
      const { callPosition } = requests[ahead]!
      if (callPosition - from >= readChunk) break
      to = callPosition
    }
    const records: ReadonlyArray<LogRecord> = yield* log.read(shard, from, to - from + 1)
    if (records[0]?.position !== from) {
      throw new StoredRecord.UnreadableRecord(
        `the snapshot of ${shard} names the record at ${from} and the log does not have it: the store is damaged`
      )
    }
    for (const { bytes, position } of records) {
      const named = requests[next]
      if (named?.callPosition !== position) continue
      next++
      found.resume(StoredRecord.decode(bytes), named)
    }
    CrashPoint.hit("invocation.recover.chunk")
  }
})

/** What was found so far. */
class Found {
  readonly #options: BufferOptions
  readonly #entries = new Map<number, Entry>()
  readonly #replays = new Map<string, string>()
  readonly #texts = new Texts()
  readonly #payloads = new PayloadCache()
  #state: Buffer_.State
  #lastSequence = 0
  #recordCount = 0

  constructor(options: BufferOptions) {
    this.#options = options
    this.#state = Buffer_.empty(options)
  }

  begin(machine: Buffer_.Snapshot): void {
    this.#state = Buffer_.restore(machine, this.#options)
    this.#lastSequence = machine.lastSequence
  }

  /** A request of the snapshot. */
  resume(decoded: StoredRecord.StoredRecord, named: ShardSnapshot.Named): void {
    const stored = owned(decoded, this.#texts)
    const { record } = stored
    if (record._tag !== "RecordArrived") return
    this.#step(record)
    for (const later of named.records) this.#step(later)
    const entry = this.#arrived(stored, named.callPosition)
    if (entry === undefined) return
    recall(entry, named, Buffer_.lookup(this.#state, entry.sequence))
    if (entry.end !== undefined) this.#payloads.drop(entry)
  }

  replay(decoded: StoredRecord.StoredRecord, position: number): void {
    const stored = owned(decoded, this.#texts)
    this.#step(stored.record)
    this.#lastSequence = Math.max(this.#lastSequence, sequenceOf(stored.record))
    this.#remember(stored, position)
    this.#recordCount++
  }

  recovered(position: number): Recovered {
    for (const [sequence, entry] of this.#entries) {
      if (Buffer_.isKnown(this.#state, sequence)) continue
      // Ended and owed to nobody, or its key was taken by a later one: the machine forgot it without a record.
      this.#payloads.drop(entry)
      this.#entries.delete(sequence)
    }
    return {
      state: this.#state,
      entries: this.#entries,
      payloads: this.#payloads,
      position,
      lastSequence: this.#lastSequence,
      recordCount: this.#recordCount,
      replays: this.#replays
    }
  }

  #step(record: DurableRecord): void {
    const [next] = Buffer_.advance(this.#state, { _tag: "Replayed", record })
    this.#state = next
  }

  #remember(stored: StoredRecord.StoredRecord, position: number): void {
    const { record } = stored
    switch (record._tag) {
      case "RecordArrived":
        this.#arrived(stored, position)
        return
      case "RecordEnded":
        return this.#ended(record, stored.answer, position)
      case "RecordForgotten": {
        const entry = this.#entries.get(record.sequence)
        if (entry !== undefined) this.#payloads.drop(entry)
        this.#entries.delete(record.sequence)
        return
      }
      case "RecordLeased": {
        const entry = this.#entries.get(record.sequence)
        if (entry !== undefined) entry.attempts = record.attempt
        return
      }
      case "RecordAttemptFailed":
      case "RecordDetached":
        return
    }
  }

  #arrived(stored: StoredRecord.StoredRecord, position: number): Entry | undefined {
    const entry = entryOf(stored, position)
    if (entry === undefined) return undefined
    this.#entries.set(entry.sequence, entry)
    this.#payloads.stored(entry)
    if (entry.replayOf !== undefined) this.#replays.set(entry.replayOf, entry.requestId)
    return entry
  }

  #ended(
    record: Extract<DurableRecord, { _tag: "RecordEnded" }>,
    answer: StoredRecord.StoredAnswer | null,
    at: number
  ) {
    const entry = this.#entries.get(record.sequence)
    if (entry === undefined) return
    if (answer !== null) {
      entry.answerPosition = at
      entry.answerBlobId = answer.body.kind === "blob" ? answer.body.id : undefined
    }
    const { terminal, reason, message, resultKept } = record
    entry.end = { terminal, reason, message, resultKept }
    entry.endedMs = record.endedAtMs
    if (record.keepUntilMs > record.endedAtMs) entry.keepUntilMs = record.keepUntilMs
    this.#payloads.drop(entry)
  }
}

/** What stays in memory of a decoded arrival is its own. */
const owned = (stored: StoredRecord.StoredRecord, texts: Texts): StoredRecord.StoredRecord => {
  const { record, call, answer } = stored
  if (record._tag !== "RecordArrived" || call === null) return stored
  const { arrived } = record
  const { idempotencyKey, fingerprint } = arrived
  return {
    record: {
      _tag: record._tag,
      arrived: {
        ...arrived,
        _tag: "Arrived",
        requestId: ownText(arrived.requestId),
        tenant: texts.shared(arrived.tenant),
        version: texts.shared(arrived.version),
        // Few words, and each of the type that it was.
        mode: texts.shared(arrived.mode) as typeof arrived.mode,
        durability: texts.shared(arrived.durability) as typeof arrived.durability,
        ...(idempotencyKey === undefined ? {} : { idempotencyKey: ownText(idempotencyKey) }),
        ...(fingerprint === undefined ? {} : { fingerprint: ownText(fingerprint) })
      }
    },
    call: {
      ...call,
      functionId: texts.shared(call.functionId),
      functionName: texts.shared(call.functionName),
      head: { method: texts.shared(call.head.method), path: texts.shared(call.head.path), headers: call.head.headers }
    },
    answer
  }
}

const sequenceOf = (record: DurableRecord): number =>
  record._tag === "RecordArrived" ? record.arrived.sequence : record.sequence

/** What the records before the snapshot said of it. */
const recall = (entry: Entry, named: ShardSnapshot.Named, figures: Buffer_.RequestFigures | undefined): void => {
  if (named.answerPosition !== undefined) entry.answerPosition = named.answerPosition
  entry.answerBlobId = named.answerBlobId
  if (figures === undefined) return
  entry.attempts = figures.attempt
  if (figures.terminal === undefined) return
  const { terminal, reason = null, message = null, resultKept } = figures
  entry.end = { terminal, reason, message, resultKept }
  entry.endedMs = figures.endedAtMs
  entry.keepUntilMs = figures.keepUntilMs
}

const entryOf = (stored: StoredRecord.StoredRecord, position: number): Entry | undefined => {
  const { record, call } = stored
  if (record._tag !== "RecordArrived" || call === null) return undefined
  const { arrived } = record
  const entry = new Entry({
    arrived,
    functionId: call.functionId,
    functionName: call.functionName,
    receivedMs: arrived.nowMs,
    head: call.head,
    body: call.body,
    caller: undefined,
    isReadBack: true,
    replayOf: call.replayOf
  })
  entry.callPosition = position
  entry.storedMs = arrived.nowMs
  if (call.body.kind === "inline" && call.body.bytes.length > keptCallBytesMax) entry.call = undefined
  return entry
}
