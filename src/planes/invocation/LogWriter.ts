/**
 * Group commit of one shard: collects the records that the buffer machine orders, and appends them as batches, one at a
 * time, each at the position where the last one ended.
 *
 * W1 records go to the log in the order in which they were added, so an urgent one takes those before it along and
 * leaves those after it. W2 a record is encoded when its batch starts, so one
 * that was dropped before costs nothing. W3 the machine hears `started` before the append leaves, and exactly one of
 * `persisted` or `failed` after it. W4 after a failed append nothing is written any more. W5 an append that was refused
 * because there is no room now gives up its arrivals, whose callers have not been told that they are accepted; the rest
 * is tried again, before everything that came later, until there is room.
 *
 * @module
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { DurableRecord, RecordRef } from "../../core/buffer/BufferEvent.ts"
import * as CrashPoint from "../CrashPoint.ts"
import { FabricUnavailable, type OutcomeUnknown, type PositionConflict } from "../fabric/FabricError.ts"
import type { AppendOptions } from "../fabric/Log.ts"
import { nowMs } from "./PlaneClock.ts"

/** Records in one append at the most: bounds the time and the memory of one commit. */
const batchRecordsMax = 4096

/**
 * A record that nobody waits for stays in memory for this long, and for twice as long at the most. Long enough that a warm synchronous call is answered
 * first and never written, also with a hundred others before it on a busy machine; short beside the time after which a
 * caller would come back for a result. Until then nobody was told that the call is accepted.
 */
const lingerMs = 50

/** Between two tries of what was refused for want of room. */
const retryMs = 250
/** After a refusal so long no arrival is added; then one may find out whether there is room. */
const probeMs = 1_000

export interface LogWriterEvents {
  readonly started: (refs: ReadonlyArray<RecordRef>) => void
  /** `positions[i]` is where `refs[i]` stands in the log. */
  readonly persisted: (refs: ReadonlyArray<RecordRef>, firstPosition: number) => void
  readonly failed: (refs: ReadonlyArray<RecordRef>, outcome: "failed" | "unknown" | "refused", message: string) => void
  /** There was room before and is none now. */
  readonly full: (message: string) => void
}

export interface LogWriterOptions {
  readonly position: number
  readonly append: (
    expectedPosition: number,
    records: ReadonlyArray<Uint8Array>,
    options: AppendOptions
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
  #closing = false
  /** What was refused waits to be tried again. */
  #retry: { readonly timer: NodeJS.Timeout; readonly now: () => void } | undefined
  #fullUntilMs = Number.NEGATIVE_INFINITY
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

  /** Arrivals would be given up: do not add any. False again after a while, so that one of them finds out. */
  get isFull(): boolean {
    return this.#retry !== undefined || nowMs() < this.#fullUntilMs
  }

  /** Nothing more is written: what waits is another owner's, or never was. An append under way ends as it ends. */
  stop(): void {
    this.#stopped = true
    clearTimeout(this.#retry?.timer)
    clearTimeout(this.#lingerTimer)
    this.#waiting.clear()
  }

  /** The last thing to ask: resolves when everything that was added is on disk (or never will be). */
  async flushed(): Promise<void> {
    this.#closing = true
    this.#retry?.now()
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
    this.#options.events.started(batch.map((waiting) => waiting.ref))
    this.#append(batch)
  }

  #append(batch: ReadonlyArray<Waiting>): void {
    const refs = batch.map((waiting) => waiting.ref)
    CrashPoint.hit("invocation.append.beforeEncode")
    const bytes = batch.map((waiting) => this.#options.encode(waiting.record, waiting.ref))
    const first = this.#position
    CrashPoint.hit("invocation.append.beforeWrite")
    this.#inFlight = true
    const mayUseReserve = refs.every((ref) => ref.kind !== "arrived")
    Effect.runCallback(this.#options.append(first, bytes, { mayUseReserve }), {
      onExit: (exit) => {
        this.#inFlight = false
        if (Exit.isSuccess(exit)) {
          CrashPoint.hit("invocation.append.afterWrite")
          this.#position = exit.value
          if (!mayUseReserve) this.#fullUntilMs = Number.NEGATIVE_INFINITY
          this.#options.events.persisted(refs, first)
          CrashPoint.hit("invocation.append.afterTold")
          if (this.#waiting.size > 0) this.#schedule()
          else this.#settleIdle()
          return
        }
        const error = Cause.squash(exit.cause)
        if (error instanceof FabricUnavailable && error.retryable && !this.#closing) {
          return this.#refused(batch, error.message)
        }
        this.#stopped = true
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

  /** W5. */
  #refused(batch: ReadonlyArray<Waiting>, message: string): void {
    if (!this.isFull) this.#options.events.full(message)
    this.#fullUntilMs = nowMs() + probeMs
    const arrivals = batch.filter((waiting) => waiting.ref.kind === "arrived").map((waiting) => waiting.ref)
    const given = new Set(arrivals.map((ref) => ref.sequence))
    const rest = batch.filter((waiting) => !given.has(waiting.ref.sequence))
    // Before anything is told: what the machine orders then must not overtake the rest.
    if (rest.length > 0) this.#tryAgain(rest)
    if (arrivals.length > 0) this.#options.events.failed(arrivals, "refused", message)
    for (const sequence of given) this.drop(sequence)
    if (rest.length > 0) return
    if (this.#waiting.size > 0) this.#schedule()
    else this.#settleIdle()
  }

  #tryAgain(batch: ReadonlyArray<Waiting>): void {
    this.#inFlight = true
    const now = () => {
      clearTimeout(timer)
      this.#retry = undefined
      this.#append(batch)
    }
    const timer = setTimeout(now, retryMs)
    this.#retry = { timer, now }
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
