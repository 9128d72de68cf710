/**
 * Group commit as the plane's log writer does it: one batch at a time, in order, at the position where the last one
 * ended; after a failed append nothing more; what there is no room for gives up its arrivals and is tried again.
 *
 * @module
 */
import type { DurableRecord, RecordRef } from "../../../src/core/buffer/BufferEvent.ts"
import type { Append, AppendOutcome, StoredRecord } from "./SimulatedDisk.ts"

export interface LogWriterPorts {
  readonly epoch: number
  readonly append: (append: Append, answer: (outcome: AppendOutcome) => void) => void
  readonly after: (delayMs: number, action: () => void) => void
  readonly encode: (record: DurableRecord, ref: RecordRef) => StoredRecord
  readonly started: (refs: ReadonlyArray<RecordRef>) => void
  readonly persisted: (refs: ReadonlyArray<RecordRef>) => void
  readonly failed: (refs: ReadonlyArray<RecordRef>, outcome: "failed" | "unknown" | "refused") => void
}

interface Waiting {
  readonly record: DurableRecord
  readonly ref: RecordRef
}

const lingerMs = 15
const retryMs = 60

export class SimulatedLogWriter {
  readonly #ports: LogWriterPorts
  readonly #waiting = new Map<string, Waiting>()
  #position: number
  #isBusy = false
  #isStopped = false
  #isLingering = false

  /** Every record before it was told as written. */
  get position(): number {
    return this.#position
  }

  constructor(ports: LogWriterPorts, position: number) {
    this.#ports = ports
    this.#position = position
  }

  add(record: DurableRecord, ref: RecordRef, urgent: boolean): void {
    if (this.#isStopped) return
    const key = `${ref.sequence} ${ref.kind}`
    if (!this.#waiting.has(key)) this.#waiting.set(key, { record, ref })
    this.#schedule(urgent)
  }

  drop(sequence: number): void {
    for (const [key, { ref }] of this.#waiting) if (ref.sequence === sequence) this.#waiting.delete(key)
  }

  #schedule(urgent: boolean): void {
    if (urgent) return this.#ports.after(0, () => this.#flush())
    if (this.#isLingering) return
    this.#isLingering = true
    this.#ports.after(lingerMs, () => {
      this.#isLingering = false
      this.#flush()
    })
  }

  #flush(): void {
    if (this.#isBusy || this.#isStopped || this.#waiting.size === 0) return
    const batch = [...this.#waiting.values()]
    this.#waiting.clear()
    this.#ports.started(batch.map(({ ref }) => ref))
    this.#append(batch)
  }

  #append(batch: ReadonlyArray<Waiting>): void {
    this.#isBusy = true
    const records = batch.map(({ record, ref }) => this.#ports.encode(record, ref))
    const refs = batch.map(({ ref }) => ref)
    this.#ports.append({ epoch: this.#ports.epoch, position: this.#position, records }, (outcome) => {
      if (outcome === "refused") return this.#refused(batch)
      this.#isBusy = false
      if (outcome === "persisted") {
        this.#position += records.length
        this.#ports.persisted(refs)
        return this.#flush()
      }
      this.#isStopped = true
      const left = [...this.#waiting.values()].map(({ ref }) => ref)
      this.#waiting.clear()
      this.#ports.failed(refs, outcome === "unknown" ? "unknown" : "failed")
      if (left.length > 0) this.#ports.failed(left, "failed")
    })
  }

  #refused(batch: ReadonlyArray<Waiting>): void {
    const arrivals = batch.filter(({ ref }) => ref.kind === "arrived").map(({ ref }) => ref)
    const given = new Set(arrivals.map(({ sequence }) => sequence))
    const rest = batch.filter(({ ref }) => !given.has(ref.sequence))
    // It stays busy: what is ordered meanwhile must not overtake the rest.
    if (rest.length > 0) this.#ports.after(retryMs, () => this.#append(rest))
    else this.#isBusy = false
    if (arrivals.length > 0) this.#ports.failed(arrivals, "refused")
    for (const sequence of given) this.drop(sequence)
    if (!this.#isBusy) this.#flush()
  }
}
