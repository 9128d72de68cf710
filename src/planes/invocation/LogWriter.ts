/**
 * Group commit of one shard: collects the records that the buffer machine orders, and appends them as batches, one at a
 * time, each at the position where the last one ended.
 *
 * W1 records go to the log in the order in which they were added. W2 a record is encoded when its batch starts, so one
 * that was dropped before costs nothing. W3 the machine hears `started` before the append leaves, and exactly one of
 * `persisted` or `failed` after it. W4 after a failed append nothing is written any more.
 *
 * @module
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { DurableRecord, RecordRef } from "../../core/buffer/BufferEvent.ts"
import type { FabricUnavailable, OutcomeUnknown, PositionConflict } from "../fabric/FabricError.ts"

/** Records in one append at the most: bounds the time and the memory of one commit. */
const batchRecordsMax = 4096

/**
 * How long a record that nobody waits for may stay in memory. Long enough that a warm synchronous call is answered
 * first and never written, short beside the time that a person or a crash takes.
 */
const lingerMs = 10

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
}

const keyOf = (ref: RecordRef) => `${ref.sequence}/${ref.kind}`

export class LogWriter {
  readonly #options: LogWriterOptions
  readonly #waiting = new Map<string, Waiting>()
  readonly #bySequence = new Map<number, Array<string>>()
  #position: number
  #inFlight = false
  #scheduled: "no" | "linger" | "now" = "no"
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
    if (!this.#waiting.has(key)) {
      this.#waiting.set(key, { ref, record })
      const keys = this.#bySequence.get(ref.sequence)
      if (keys === undefined) this.#bySequence.set(ref.sequence, [key])
      else keys.push(key)
    }
    this.#schedule(urgent)
  }

  drop(sequence: number): void {
    const keys = this.#bySequence.get(sequence)
    if (keys === undefined) return
    for (const key of keys) this.#waiting.delete(key)
    this.#bySequence.delete(sequence)
  }

  /** Resolves when everything that was added is on disk (or never will be). */
  async flushed(): Promise<void> {
    if (!this.#inFlight && this.#waiting.size === 0) return
    this.#schedule(true)
    await new Promise<void>((resolve) => this.#idleListeners.push(resolve))
  }

  #schedule(urgent: boolean): void {
    if (this.#inFlight || this.#scheduled === "now" || this.#waiting.size === 0) return
    if (urgent) {
      if (this.#lingerTimer !== undefined) clearTimeout(this.#lingerTimer)
      this.#lingerTimer = undefined
      this.#scheduled = "now"
      // Not at once: everything that arrives in this turn of the event loop shares the commit.
      setImmediate(() => this.#flush())
      return
    }
    if (this.#scheduled === "linger") return
    this.#scheduled = "linger"
    this.#lingerTimer = setTimeout(() => this.#flush(), lingerMs)
  }

  #flush(): void {
    this.#scheduled = "no"
    this.#lingerTimer = undefined
    if (this.#inFlight || this.#stopped) return
    const batch = this.#take()
    if (batch.length === 0) return this.#settleIdle()
    const refs = batch.map((waiting) => waiting.ref)
    this.#options.events.started(refs)
    const bytes = batch.map((waiting) => this.#options.encode(waiting.record, waiting.ref))
    const first = this.#position
    this.#inFlight = true
    Effect.runCallback(this.#options.append(first, bytes), {
      onExit: (exit) => {
        this.#inFlight = false
        if (Exit.isSuccess(exit)) {
          this.#position = exit.value
          this.#options.events.persisted(refs, first)
          // Urgent: what came while the disk was busy has waited for a whole commit already.
          if (this.#waiting.size > 0) this.#schedule(true)
          else this.#settleIdle()
          return
        }
        this.#stopped = true
        const error = Cause.squash(exit.cause)
        const unknown = !(error instanceof Error) || !("_tag" in error) || error._tag === "OutcomeUnknown"
        const left = [...this.#waiting.values()].map((waiting) => waiting.ref)
        this.#waiting.clear()
        this.#bySequence.clear()
        const message = error instanceof Error ? error.message : String(error)
        this.#options.events.failed(refs, unknown ? "unknown" : "failed", message)
        if (left.length > 0) this.#options.events.failed(left, "failed", message)
        this.#settleIdle()
      }
    })
  }

  #take(): Array<Waiting> {
    const batch: Array<Waiting> = []
    for (const [key, waiting] of this.#waiting) {
      batch.push(waiting)
      this.#waiting.delete(key)
      this.#bySequence.delete(waiting.ref.sequence)
      if (batch.length === batchRecordsMax) break
    }
    return batch
  }

  #settleIdle(): void {
    const listeners = this.#idleListeners
    this.#idleListeners = []
    for (const listener of listeners) listener()
  }
}
