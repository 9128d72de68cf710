/**
 * Group commit of one shard: collects the records that the buffer machine orders, and appends them as batches, one at a
 * time, each at the position where the last one ended.
 *
 * W1 records go to the log in the order in which they were added, so an urgent one takes those before it along and
 * leaves those after it. W2 a record is encoded when its batch starts, so one
 * that was dropped before costs nothing. W3 the machine hears `started` before the append leaves, and exactly one of
 * `persisted` or `failed` after it. W4 after a failed append nothing is written any more.
 *
 * @module
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { DurableRecord, RecordRef } from "../../core/buffer/BufferEvent.ts"
import * as CrashPoint from "../CrashPoint.ts"
import type { FabricUnavailable, OutcomeUnknown, PositionConflict } from "../fabric/FabricError.ts"

/** Records in one append at the most: bounds the time and the memory of one commit. */
const batchRecordsMax = 4096

/**
 * A record that nobody waits for stays in memory for this long, and for twice as long at the most. Long enough that a warm synchronous call is answered
 * first and never written, also with a hundred others before it on a busy machine; short beside the time after which a
 * caller would come back for a result. Until then nobody was told that the call is accepted.
 */
const lingerMs = 50

export interface LogWriterEvents {
  readonly started: (refs: ReadonlyArray<RecordRef>) => void
  /** `positions[i]` is where `refs[i]` stands in the log. */
  readonly persisted: (refs: ReadonlyArray<RecordRef>, firstPosition: number) => void
  readonly failed: (refs: ReadonlyArray<RecordRef>, outcome: "failed" | "unknown", message: string) => void
}

export interface LogWriterOptions {
  readonly position: number
  readonly append: (
    expectedPosition: number,
    records: ReadonlyArray<Uint8Array>
  ) => Effect.Effect<number, PositionConflict | FabricUnavailable | OutcomeUnknown>
  readonly encode: (record: DurableRecord, ref: RecordRef) => Uint8Array
  readonly events: LogWriterEvents
}

interface Waiting {
  readonly ref: RecordRef
  readonly record: DurableRecord
  /** Counts the records that were added. */
  readonly index: number
}

const kindNumber: Readonly<Record<RecordRef["kind"], number>> = {
  arrived: 0,
  leased: 1,
  "attempt-failed": 2,
  ended: 3,
  forgotten: 4,
  detached: 5
}
const kindCount = 6

/** One number for each record that can wait: several strings for each call would be most of what a call costs here. */
const keyOf = (ref: RecordRef): number => ref.sequence * kindCount + kindNumber[ref.kind]

export class LogWriter {
  readonly #options: LogWriterOptions
  readonly #waiting = new Map<number, Waiting>()
  #position: number
  /** Index of the record that was added last. */
  #lastIndex = 0
  /** Somebody waits for the records up to this one. */
  #urgentIndex = 0
  /** No record up to this one waits any more. */
  #takenIndex = 0
  /** The records up to this one were there at the last look. */
  #agedIndex = 0
  #inFlight = false
  #flushIsScheduled = false
  #lingerTimer: NodeJS.Timeout | undefined
  #stopped = false
  #idleListeners: Array<() => void> = []

  constructor(options: LogWriterOptions) {
    this.#options = options
    this.#position = options.position
  }

  get position(): number {
    return this.#position
  }

  get waitingCount(): number {
    return this.#waiting.size
  }

  /** A ref that already waits only has its urgency raised. */
  add(record: DurableRecord, ref: RecordRef, urgent: boolean): void {
    if (this.#stopped) return
    const key = keyOf(ref)
    let waiting = this.#waiting.get(key)
    if (waiting === undefined) {
      waiting = { ref, record, index: ++this.#lastIndex }
      this.#waiting.set(key, waiting)
    }
    if (urgent && waiting.index > this.#urgentIndex) this.#urgentIndex = waiting.index
    this.#schedule()
  }

  drop(sequence: number): void {
    if (this.#waiting.size === 0) return
    const first = sequence * kindCount
    for (let key = first; key < first + kindCount; key++) this.#waiting.delete(key)
  }

  /** Resolves when everything that was added is on disk (or never will be). */
  async flushed(): Promise<void> {
    if (!this.#inFlight && this.#waiting.size === 0) return
    this.#urgentIndex = this.#lastIndex
    this.#schedule()
    await new Promise<void>((resolve) => this.#idleListeners.push(resolve))
  }

  #schedule(): void {
    if (this.#inFlight || this.#flushIsScheduled || this.#waiting.size === 0) return
    if (this.#urgentIndex > this.#takenIndex) {
      this.#flushIsScheduled = true
      // Not at once: everything that arrives in this turn of the event loop shares the commit.
      setImmediate(() => this.#flush(this.#urgentIndex))
      return
    }
    this.#lingerTimer ??= setTimeout(() => {
      this.#lingerTimer = undefined
      const aged = this.#agedIndex
      this.#agedIndex = this.#lastIndex
      if (!this.#inFlight && !this.#flushIsScheduled) this.#flush(aged)
    }, lingerMs)
  }

  #flush(upToIndex: number): void {
    this.#flushIsScheduled = false
    if (this.#inFlight || this.#stopped) return
    const batch = this.#take(upToIndex)
    if (batch.length === 0) {
      if (this.#waiting.size > 0) this.#schedule()
      else this.#settleIdle()
      return
    }
    const refs = batch.map((waiting) => waiting.ref)
    this.#options.events.started(refs)
    CrashPoint.hit("invocation.append.beforeEncode")
    const bytes = batch.map((waiting) => this.#options.encode(waiting.record, waiting.ref))
    const first = this.#position
    CrashPoint.hit("invocation.append.beforeWrite")
    this.#inFlight = true
    Effect.runCallback(this.#options.append(first, bytes), {
      onExit: (exit) => {
        this.#inFlight = false
        if (Exit.isSuccess(exit)) {
          CrashPoint.hit("invocation.append.afterWrite")
          this.#position = exit.value
          this.#options.events.persisted(refs, first)
          CrashPoint.hit("invocation.append.afterTold")
          if (this.#waiting.size > 0) this.#schedule()
          else this.#settleIdle()
          return
        }
        this.#stopped = true
        const error = Cause.squash(exit.cause)
        const unknown = !(error instanceof Error) || !("_tag" in error) || error._tag === "OutcomeUnknown"
        const left = [...this.#waiting.values()].map((waiting) => waiting.ref)
        this.#waiting.clear()
        const message = error instanceof Error ? error.message : String(error)
        this.#options.events.failed(refs, unknown ? "unknown" : "failed", message)
        if (left.length > 0) this.#options.events.failed(left, "failed", message)
        this.#settleIdle()
      }
    })
  }

  #take(upToIndex: number): Array<Waiting> {
    const batch: Array<Waiting> = []
    let takenIndex = upToIndex
    for (const [key, waiting] of this.#waiting) {
      if (waiting.index > upToIndex) break
      if (batch.length === batchRecordsMax) {
        takenIndex = waiting.index - 1
        break
      }
      batch.push(waiting)
      this.#waiting.delete(key)
    }
    if (takenIndex > this.#takenIndex) this.#takenIndex = takenIndex
    return batch
  }

  #settleIdle(): void {
    const listeners = this.#idleListeners
    this.#idleListeners = []
    for (const listener of listeners) listener()
  }
}
