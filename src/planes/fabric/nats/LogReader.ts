/**
 * Reading the log of one shard from its stream: where it begins and ends by its leader, and what is in it, of whoever has
 * it.
 *
 * Laws: R1 what is read at a position is what was confirmed there. R2 reading many messages takes few questions, and what a
 * follower does not have yet is asked of the leader. R3 reading before the first position is refused, whatever is known here
 * of former times.
 *
 * @module
 */
import type { LogRecord } from "../Log.ts"
import * as LogMessage from "./LogMessage.ts"
import { NatsFailureError } from "./NatsFailureError.ts"
import { PositionIndex } from "./PositionIndex.ts"
import * as StreamReader from "./StreamReader.ts"
import type { StreamSpec, Streams } from "./Streams.ts"
import type { Supervisor } from "./Supervisor.ts"

/** Asked of the leader at once, where no server has many in a row. */
const readAhead = 16
/** Of one answer with messages in a row. */
const rowMessagesMax = 2048
const rowBytesMax = 4 * 1024 * 1024
const readBytesMax = 32 * 1024 * 1024
/** So many more are asked for than the average tells. */
const rowShareOver = 1.25
const boundsTries = 20

export interface Bounds {
  readonly first: number
  readonly end: number
  readonly firstSequence: number
  readonly lastSequence: number
  readonly bytes: number
  readonly bytesMax: number
}

const truncatedAway = (reason: string) => new NatsFailureError({ _tag: "Refused", reason })

export class LogReader {
  readonly #supervisor: Supervisor
  readonly #streams: Streams
  readonly #spec: StreamSpec
  readonly #index = new PositionIndex()
  /** The log reaches at least this far, and its stream at least to this message. */
  #knownEnd = 0
  #knownSequence = 0
  /** Every server that has the stream answers what it has of it, and not the leader alone. */
  #allowsDirect = false

  constructor(supervisor: Supervisor, streams: Streams, spec: StreamSpec) {
    this.#supervisor = supervisor
    this.#streams = streams
    this.#spec = spec
  }

  /** As the leader has it now; nothing there is a log that is empty. */
  async bounds(round = 1): Promise<Bounds> {
    const info = await this.#streams.look(this.#spec)
    if (info === undefined || info.state.last_seq === 0) {
      const bytesMax = info?.config.max_bytes ?? -1
      return { first: 0, end: 0, firstSequence: 1, lastSequence: 0, bytes: 0, bytesMax }
    }
    const { first_seq: firstSequence, last_seq: lastSequence, messages, bytes } = info.state
    if (messages === 0) {
      const reason = `the stream ${this.#spec.name} was emptied by hand: where its log ends is lost`
      throw new NatsFailureError({ _tag: "Refused", reason })
    }
    const [first, last] = await Promise.all([
      this.#message(firstSequence),
      firstSequence === lastSequence ? undefined : this.#message(lastSequence)
    ])
    if (first === undefined || (last === undefined && firstSequence !== lastSequence)) {
      // Somebody truncated or appended between the questions.
      if (round < boundsTries) return this.bounds(round + 1)
      const reason = `the first or the last message of the stream ${this.#spec.name} was removed by hand`
      throw new NatsFailureError({ _tag: "Refused", reason })
    }
    const end = LogMessage.endAfter(last ?? first)
    this.#allowsDirect = info.config.allow_direct === true
    this.#reaches(end, lastSequence)
    this.#index.dropBefore(firstSequence)
    this.#index.note(first.position, firstSequence)
    const bytesMax = info.config.max_bytes
    return { first: first.position, end, firstSequence, lastSequence, bytes, bytesMax }
  }

  /** Rejects with a refusal before the first position. */
  async read(position: number, limit: number): Promise<ReadonlyArray<LogRecord>> {
    const known = position < this.#knownEnd ? this.#index.startOf(position) : undefined
    if (known !== undefined) {
      const records = await this.#readFrom(known, position, limit)
      if (records.length > 0) return records
    }
    // Of an end that was not known, or of messages that another truncated meanwhile.
    const bounds = await this.bounds()
    if (position < bounds.first) throw truncatedAway(`${position} is before ${bounds.first}, load the snapshot`)
    if (position >= bounds.end) return []
    const records = await this.#readFrom(await this.seek(position, bounds), position, limit)
    if (records.length === 0) throw truncatedAway(`${position} went while it was read, load the snapshot`)
    return records
  }

  /** A batch stands there, and the log reaches to its end and the stream to its last message. */
  wrote(position: number, sequence: number, end: number, lastSequence: number): void {
    if (end > position) this.#index.note(position, sequence)
    this.#reaches(end, lastSequence)
  }

  /** What lies before this message is gone. */
  dropped(sequence: number): void {
    this.#index.dropBefore(sequence)
  }

  /** The message with which the batch begins that holds `position`, or the last one that is not behind it. */
  async seek(position: number, bounds: Bounds): Promise<number> {
    const known = this.#index.startOf(position)
    if (known !== undefined) return known
    const { before, after } = this.#index.around(position)
    let low = Math.max(bounds.firstSequence, before?.sequence ?? 0)
    let high = Math.min(bounds.lastSequence, (after?.sequence ?? Number.POSITIVE_INFINITY) - 1)
    let found = low
    while (low <= high) {
      const middle = (low + high) >> 1
      const message = await this.#message(middle)
      if (message === undefined) throw truncatedAway(`${position} went while it was looked for, load the snapshot`)
      if (message.position <= position) {
        found = LogMessage.firstSequence(message)
        low = middle + 1
      } else high = middle - 1
    }
    return found
  }

  async #message(sequence: number): Promise<LogMessage.LogMessage | undefined> {
    const stored = await StreamReader.message(this.#supervisor, this.#spec.name, { seq: sequence })
    return stored === undefined ? undefined : LogMessage.decode(stored)
  }

  async #readFrom(start: number, position: number, limit: number): Promise<ReadonlyArray<LogRecord>> {
    const records: Array<LogRecord> = []
    const assembly = new LogMessage.Assembly()
    let bytes = 0
    let next = start
    let askedLeader = !this.#allowsDirect
    while (records.length < limit && bytes < readBytesMax) {
      const count = this.#messagesFor(position + records.length, next, limit - records.length)
      // One alone is had of the leader as fast.
      const inRow = askedLeader || count === 1 ? [] : await this.#inRow(next, count)
      const messages = inRow.length > 0 ? inRow : await this.#ofLeader(next, Math.min(count, readAhead))
      askedLeader ||= inRow.length === 0
      if (messages.length === 0) break
      next += messages.length
      for (const message of messages) {
        const batch = assembly.add(message)
        if (batch === undefined) continue
        if (batch.records.length > 0) {
          this.#index.note(batch.position, LogMessage.firstSequence(message))
          // Whatever comes next begins there.
          this.#index.note(batch.position + batch.records.length, message.sequence + 1)
        }
        for (const [index, record] of batch.records.entries()) {
          const at = batch.position + index
          if (at < position || records.length === limit) continue
          records.push({ position: at, bytes: record })
          bytes += record.byteLength
        }
        if (records.length === limit) break
      }
      if (next > this.#knownSequence && records.length > 0) break
    }
    return records
  }

  /** How many messages from `next` on hold so many records from `position` on, as far as one can know. */
  #messagesFor(position: number, next: number, recordCount: number): number {
    const left = Math.max(1, this.#knownSequence - next + 1)
    const recordsLeft = Math.max(1, this.#knownEnd - position)
    const needed = recordCount >= recordsLeft ? left : Math.ceil((recordCount * left * rowShareOver) / recordsLeft)
    return Math.min(needed, left, rowMessagesMax)
  }

  async #inRow(seq: number, count: number): Promise<ReadonlyArray<LogMessage.LogMessage>> {
    const row = { seq, count, bytesMax: rowBytesMax }
    return (await StreamReader.inRow(this.#supervisor, this.#spec.name, row)).map(LogMessage.decode)
  }

  /** Those from `first` on, up to the first that is not there. */
  async #ofLeader(first: number, count: number): Promise<ReadonlyArray<LogMessage.LogMessage>> {
    const asked = await Promise.all(Array.from({ length: count }, (_, index) => this.#message(first + index)))
    const missing = asked.indexOf(undefined)
    // Nothing before the first that is missing is.
    return (missing === -1 ? asked : asked.slice(0, missing)) as ReadonlyArray<LogMessage.LogMessage>
  }

  #reaches(end: number, lastSequence: number): void {
    this.#knownEnd = Math.max(this.#knownEnd, end)
    this.#knownSequence = Math.max(this.#knownSequence, lastSequence)
  }
}
