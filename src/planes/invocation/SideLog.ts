/**
 * A log beside the one of a shard: what is kept for people and readers and never decides about a request, so it needs
 * no machine. Batches of what was added in the meantime, one append at a time.
 *
 * S1 records stand in the log in the order in which they were added. S2 `add` resolves with the position when the record
 * is on stable storage. S3 after a failed append everything fails until the next start, as for the shard's own log. S4 a
 * refusal that will pass (a full disk) is no failure: the batch waits, and with it what comes after it. What is kept here
 * belongs to accepted work, so it may use the reserve.
 *
 * @module
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { FabricUnavailable, type OutcomeUnknown } from "../fabric/FabricError.ts"
import type { Log, LogRecord } from "../fabric/Log.ts"
import * as LogFence from "./LogFence.ts"

const batchRecordsMax = 4096
/** Well below what the fabric takes in one batch; a single record is never larger than a few bodies. */
const batchBytesMax = 8 * 1024 * 1024
const readChunk = 512
const retryMs = 250

interface Waiting {
  readonly bytes: Uint8Array
  readonly resolve: (position: number) => void
  readonly reject: (error: Error) => void
}

/** The log takes nothing more. `outcome`: of the write that failed. */
export class SideLogFailed extends Error {
  readonly outcome: "failed" | "unknown"
  constructor(name: string, outcome: "failed" | "unknown", reason: string) {
    super(`the log ${name} failed: ${reason}`)
    this.outcome = outcome
  }
}

export class SideLog {
  readonly name: string
  readonly #log: Log["Service"]
  #position: number
  #first: number
  #waiting: Array<Waiting> = []
  #inFlight = false
  #isScheduled = false
  #failed: SideLogFailed | undefined
  /** Brings what was refused to its next try at once. */
  #tryNow: (() => void) | undefined
  #isClosing = false
  #idleListeners: Array<() => void> = []

  constructor(name: string, log: Log["Service"], bounds: { readonly first: number; readonly end: number }) {
    this.name = name
    this.#log = log
    this.#first = bounds.first
    this.#position = bounds.end
  }

  get failed(): SideLogFailed | undefined {
    return this.#failed
  }

  add(bytes: Uint8Array): Promise<number> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ bytes, resolve, reject })
      this.#schedule()
    })
  }

  async read(position: number): Promise<Uint8Array> {
    const [record] = await Effect.runPromise(this.#log.read(this.name, position, 1))
    if (record === undefined) throw new Error(`the log ${this.name} ends before position ${position}`)
    return record.bytes
  }

  /** Records before `position` are not needed any more. A failure costs disk space until the next call. */
  truncate(position: number): Promise<void> {
    if (position <= this.#first) return Promise.resolve()
    const done = Effect.sync(() => {
      this.#first = position
    })
    return Effect.runPromise(this.#log.truncate(this.name, position).pipe(Effect.andThen(done), Effect.ignore))
  }

  /** The last thing to ask: everything that was added is on disk, or never will be. */
  flushed(): Promise<void> {
    this.#isClosing = true
    this.#tryNow?.()
    if (!this.#inFlight && this.#waiting.length === 0) return Promise.resolve()
    return new Promise((resolve) => this.#idleListeners.push(resolve))
  }

  #schedule(): void {
    if (this.#inFlight || this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => this.#flush())
  }

  #flush(): void {
    this.#isScheduled = false
    this.#inFlight = true
    this.#append(this.#take())
  }

  #append(batch: ReadonlyArray<Waiting>): void {
    const first = this.#position
    const records = batch.map(({ bytes }) => bytes)
    Effect.runCallback(this.#log.append(this.name, first, records, { mayUseReserve: true }), {
      onExit: (exit) => {
        if (Exit.isFailure(exit)) {
          const error = Cause.squash(exit.cause)
          if (error instanceof FabricUnavailable && error.retryable && !this.#isClosing) return this.#tryAgain(batch)
          this.#fail(batch, error)
        } else {
          this.#position = exit.value
          for (const [index, { resolve }] of batch.entries()) resolve(first + index)
        }
        this.#inFlight = false
        if (this.#waiting.length > 0) return this.#schedule()
        const listeners = this.#idleListeners
        this.#idleListeners = []
        for (const listener of listeners) listener()
      }
    })
  }

  #tryAgain(batch: ReadonlyArray<Waiting>): void {
    const now = () => {
      clearTimeout(timer)
      this.#tryNow = undefined
      this.#append(batch)
    }
    const timer = setTimeout(now, retryMs)
    this.#tryNow = now
  }

  #fail(batch: ReadonlyArray<Waiting>, error: unknown): void {
    const isUnknown = !(error instanceof Error) || !("_tag" in error) || error._tag === "OutcomeUnknown"
    const reason = error instanceof Error ? error.message : String(error)
    this.#failed = new SideLogFailed(this.name, isUnknown ? "unknown" : "failed", reason)
    const left = this.#waiting
    this.#waiting = []
    for (const { reject } of batch) reject(this.#failed)
    for (const { reject } of left) reject(new SideLogFailed(this.name, "failed", reason))
  }

  #take(): ReadonlyArray<Waiting> {
    let count = 0
    let bytes = 0
    for (const waiting of this.#waiting) {
      if (count === batchRecordsMax || (count > 0 && bytes + waiting.bytes.length > batchBytesMax)) break
      bytes += waiting.bytes.length
      count++
    }
    return this.#waiting.splice(0, count)
  }
}

/**
 * Opens the log and shows every record that is in it, oldest first.
 */
export const open = Effect.fnUntraced(function* (
  log: Log["Service"],
  name: string,
  turn: LogFence.Turn,
  onRecord: (record: LogRecord) => void
): Effect.fn.Return<SideLog, FabricUnavailable | OutcomeUnknown> {
  const { first, end } = yield* log.bounds(name)
  const after = yield* LogFence.readToEnd(log, { name, from: first, end, chunk: readChunk, turn, onRecord })
  return new SideLog(name, log, { first, end: after })
})
