/**
 * The log of one shard in its stream: group commit, fencing, truncating; `LogReader` reads it.
 *
 * G1 appends that wait together become one message, in their order, one message in flight at a time. G2 each is published
 * with the sequence that the last one had, so a writer that was deposed is refused by the server. G3 a publish whose
 * outcome is unknown is tried again with the same message id; what still cannot be known after `unknownLimitMs` is answered
 * as unknown, and the tail is read anew before anything else is written. G4 an append that does not fit the end is answered
 * with the end as the server has it.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises"
import { nuid } from "@nats-io/transport-node"
import * as RecordBatch from "../embedded/RecordBatch.ts"
import type { LogRecord } from "../Log.ts"
import * as LogMessage from "./LogMessage.ts"
import { type Bounds, LogReader } from "./LogReader.ts"
import * as NatsFailure from "./NatsFailure.ts"
import { NatsFailureError } from "./NatsFailureError.ts"
import { publish } from "./Publish.ts"
import * as Retry from "./Retry.ts"
import * as StreamReader from "./StreamReader.ts"
import type { StreamSpec, Streams } from "./Streams.ts"
import type { Supervisor } from "./Supervisor.ts"

/** Of a message that carries records, for its headers and subject. */
const overheadBytes = 8 * 1024
/** Larger messages stall the server's other streams. */
const messageBytesMax = 1024 * 1024
/** In one message; an owner appends at most as many in one batch. */
const groupRecordsMax = 8192
const undecidedPauseMs = 20
/** The last part of the room is for what ends accepted work. */
const reserveShare = 0.1

export type Appended =
  | { readonly _tag: "Done"; readonly end: number }
  | { readonly _tag: "Conflict"; readonly actual: number }
  | { readonly _tag: "Refused"; readonly reason: string; readonly retryable: boolean }
  | { readonly _tag: "Unknown"; readonly reason: string }

/** The last message of the stream and what follows from it. */
interface Tail {
  lastSequence: number
  end: number
  bytes: number
  readonly bytesMax: number
}

interface Waiting {
  readonly expected: number
  readonly records: ReadonlyArray<Uint8Array>
  readonly bytes: number
  readonly mayUseReserve: boolean
  readonly answer: (appended: Appended) => void
  isWithdrawn: boolean
}

export class LogStream {
  readonly #supervisor: Supervisor
  readonly #streams: Streams
  readonly #spec: StreamSpec
  readonly #subject: string
  readonly #reader: LogReader
  #waiting: Array<Waiting> = []
  #isWriting = false
  #tail: Tail | undefined

  constructor(supervisor: Supervisor, streams: Streams, spec: StreamSpec) {
    this.#supervisor = supervisor
    this.#streams = streams
    this.#spec = spec
    this.#subject = spec.subjects[0]!
    this.#reader = new LogReader(supervisor, streams, spec)
  }

  /** Answers how to withdraw it, which works until it is sent. */
  append(
    expected: number,
    records: ReadonlyArray<Uint8Array>,
    mayUseReserve: boolean,
    answer: (appended: Appended) => void
  ): () => void {
    const waiting: Waiting = {
      expected,
      records,
      bytes: RecordBatch.size(records),
      mayUseReserve,
      answer,
      isWithdrawn: false
    }
    this.#waiting.push(waiting)
    this.#schedule()
    return () => {
      waiting.isWithdrawn = true
    }
  }

  /** As the leader has it now; nothing there is a log that is empty. */
  async bounds(): Promise<Bounds> {
    const bounds = await this.#reader.bounds()
    const { end, lastSequence, bytes, bytesMax } = bounds
    // What a writer would ask next.
    if (!this.#isWriting && lastSequence > 0) this.#tail ??= { lastSequence, end, bytes, bytesMax }
    return bounds
  }

  /** Rejects with a refusal before the first position. */
  read(position: number, limit: number): Promise<ReadonlyArray<LogRecord>> {
    return this.#reader.read(position, limit)
  }

  /** Removes what lies before `position`, whole batches only. */
  async truncate(position: number): Promise<void> {
    let bounds = await this.bounds()
    if (position <= bounds.first || bounds.end === bounds.first) return
    if (position >= bounds.end) {
      await this.#mark(bounds.end)
      bounds = await this.bounds()
    }
    // Behind the mark somebody may have written already; then this is the place of the mark all the same.
    const sequence = await this.#reader.seek(Math.min(position, bounds.end), bounds)
    await this.#supervisor.link.manager.streams.purge(this.#spec.name, { seq: sequence })
    this.#reader.dropped(sequence)
    if (this.#tail !== undefined) this.#tail.bytes = (await this.bounds()).bytes
  }

  /** M3: a batch of no records at the end, whatever it is by then. */
  async #mark(end: number): Promise<void> {
    const appended = await new Promise<Appended>((resolve) => this.append(end, [], true, resolve))
    if (appended._tag === "Refused") throw new NatsFailureError({ _tag: "Refused", reason: appended.reason })
    if (appended._tag === "Unknown") throw new NatsFailureError({ _tag: "Unknown", reason: appended.reason })
  }

  #schedule(): void {
    if (this.#isWriting) return
    this.#isWriting = true
    // Not at once: everything that is appended in this turn of the event loop shares the message.
    setImmediate(() => void this.#writeAll())
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      let group: ReadonlyArray<Waiting> = []
      try {
        let tail = await this.#loadTail()
        // What is known here may be old, of before another one wrote; an end never goes back.
        if (this.#isBehind(tail)) {
          this.#tail = undefined
          tail = await this.#loadTail()
        }
        group = this.#takeGroup(tail)
        if (group.length > 0) await this.#write(tail, group)
      } catch (error) {
        this.#tail = undefined
        const failure = NatsFailure.of(error)
        const { reason } = failure
        if (group.length > 0) {
          // It was being written, and what became of it could not be asked.
          this.#answerFailure(group, { _tag: "Unknown", reason })
          continue
        }
        const retryable = NatsFailure.mayPass(failure)
        for (const waiting of this.#waiting.splice(0)) waiting.answer({ _tag: "Refused", reason, retryable })
      }
    }
    this.#isWriting = false
  }

  #isBehind(tail: Tail): boolean {
    const next = this.#waiting.find((waiting) => !waiting.isWithdrawn)
    return next !== undefined && next.expected > tail.end
  }

  async #loadTail(): Promise<Tail> {
    if (this.#tail !== undefined) return this.#tail
    const { end, lastSequence, bytes, bytesMax } = await Retry.ask(this.#supervisor, async () => {
      await this.#streams.ensure(this.#spec)
      return this.bounds()
    })
    this.#tail = { lastSequence, end, bytes, bytesMax }
    return this.#tail
  }

  /** What goes into the next message: those that follow on each other from the end on. The others are answered. */
  #takeGroup(tail: Tail): ReadonlyArray<Waiting> {
    const group: Array<Waiting> = []
    let end = tail.end
    let count = 0
    let bytes = 0
    while (this.#waiting.length > 0) {
      const waiting = this.#waiting[0]!
      const fits = count + waiting.records.length <= groupRecordsMax && bytes + waiting.bytes <= messageBytesMax
      if (waiting.isWithdrawn) {
        this.#waiting.shift()
        continue
      }
      if (group.length > 0 && (waiting.expected !== end || !fits)) break
      this.#waiting.shift()
      if (waiting.expected !== end) {
        waiting.answer({ _tag: "Conflict", actual: end })
        continue
      }
      const full = this.#fullness(tail, bytes + waiting.bytes, waiting.mayUseReserve)
      if (full !== undefined) {
        waiting.answer({ _tag: "Refused", reason: full, retryable: true })
        continue
      }
      group.push(waiting)
      end += waiting.records.length
      count += waiting.records.length
      bytes += waiting.bytes
    }
    return group
  }

  #fullness(tail: Tail, bytes: number, mayUseReserve: boolean): string | undefined {
    if (mayUseReserve || tail.bytesMax <= 0) return undefined
    const room = tail.bytesMax * (1 - reserveShare)
    return tail.bytes + bytes <= room
      ? undefined
      : `the stream ${this.#spec.name} has ${tail.bytes} of ${tail.bytesMax} bytes (max_bytes), and the rest is for what ends accepted work`
  }

  async #write(tail: Tail, group: ReadonlyArray<Waiting>): Promise<void> {
    const records = group.flatMap((waiting) => waiting.records)
    const payloadMax = this.#supervisor.maxPayloadBytes
    const parts = LogMessage.encode(tail.end, records, Math.min(messageBytesMax, payloadMax - overheadBytes))
    const batchId = nuid.next()
    const start = tail.end
    for (const [index, { headers, data }] of parts.entries()) {
      const messageId = `${batchId}.${index}`
      const sequence = await this.#publishPart(tail, { headers, data, messageId }, index === 0)
      if (typeof sequence !== "number") return this.#answerFailure(group, sequence)
      tail.lastSequence = sequence
      tail.bytes += data.byteLength
    }
    const { lastSequence } = tail
    this.#reader.wrote(start, lastSequence - parts.length + 1, start + records.length, lastSequence)
    for (const waiting of group) {
      tail.end += waiting.records.length
      waiting.answer({ _tag: "Done", end: tail.end })
    }
  }

  /** Its sequence, or what to answer. G2, G3. */
  async #publishPart(
    tail: Tail,
    part: LogMessage.Part & { readonly messageId: string },
    mayMove: boolean
  ): Promise<number | Appended> {
    const endMs = performance.now() + this.#supervisor.options.unknownLimitMs
    const first = tail.lastSequence
    let wasTried = false
    for (;;) {
      const published = await publish(this.#supervisor, {
        subject: this.#subject,
        data: part.data,
        headers: part.headers,
        messageId: part.messageId,
        expectedLast: tail.lastSequence
      })
      if (published._tag === "Stored") return published.sequence
      this.#tail = undefined
      if (published._tag !== "Conflict") {
        const isUnknown = wasTried && published._tag === "Refused"
        return isUnknown ? { _tag: "Unknown", reason: published.reason } : published
      }
      wasTried ||= published.wasTried
      const own = wasTried ? await this.#findOwn([first + 1, tail.lastSequence + 1], part.messageId) : undefined
      if (own !== undefined) {
        this.#tail = tail
        return own
      }
      const now = await Retry.ask(this.#supervisor, () => this.bounds())
      // Nobody appended a record: a mark, or parts of one who was deposed, moved the sequence alone; or what comes next
      // is on its way through the cluster and not yet to be seen.
      if (!mayMove || now.end !== tail.end) return { _tag: "Conflict", actual: now.end }
      if (performance.now() > endMs) return { _tag: "Unknown", reason: "what was appended last is not decided" }
      await sleep(undecidedPauseMs)
      tail.lastSequence = now.lastSequence
      this.#tail = tail
    }
  }

  /** At one of the places where a try of it may have put it. */
  async #findOwn(sequences: ReadonlyArray<number>, messageId: string): Promise<number | undefined> {
    for (const seq of sequences) {
      const found = await Retry.ask(this.#supervisor, () =>
        StreamReader.message(this.#supervisor, this.#spec.name, { seq })
      )
      if (found?.header("Nats-Msg-Id") === messageId) return found.sequence
    }
    return undefined
  }

  #answerFailure(group: ReadonlyArray<Waiting>, appended: Appended): void {
    this.#tail = undefined
    for (const waiting of group) waiting.answer(appended)
  }
}
