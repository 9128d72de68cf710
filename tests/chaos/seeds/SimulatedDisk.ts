/**
 * The disk under one shard's log, which both gateways reach. What was appended is in its cache until it is synced; a power
 * cut keeps some of the batches that were not, in order, and a batch that it tore is dropped whole, as its checksum says.
 * A crash of a gateway alone loses nothing of what had reached the disk.
 *
 * An append names the position and the epoch, and is refused when another owner has opened the log since. After a failed
 * sync nothing is taken until the log is opened again, and what was not synced may be there then, or not.
 *
 * @module
 */
import type * as Buffer from "../../../src/core/buffer/Buffer.ts"
import type { DurableRecord } from "../../../src/core/buffer/BufferEvent.ts"
import type { Answer } from "../../history/History.ts"
import type { CallFacts } from "./CallFacts.ts"
import type { Dice, Timeline } from "./Timeline.ts"
import type { Weather } from "./Weather.ts"

export interface StoredRecord {
  readonly record: DurableRecord
  /** Beside an arrival. */
  readonly call: CallFacts | undefined
  /** Beside an end whose result is kept. */
  readonly answer: Answer | undefined
}

export interface SavedSnapshot {
  readonly position: number
  readonly machine: Buffer.Snapshot
  readonly entries: ReadonlyArray<{ readonly sequence: number; readonly stored: ReadonlyArray<StoredRecord> }>
}

export interface Append {
  readonly epoch: number
  readonly position: number
  readonly records: ReadonlyArray<StoredRecord>
}

/** `conflict`, `failed`: not written for certain. `refused`: no room now. `unknown`: nobody can tell. */
export type AppendOutcome = "persisted" | "conflict" | "failed" | "refused" | "unknown"

interface Batch {
  readonly records: ReadonlyArray<StoredRecord>
  isSynced: boolean
  isGone: boolean
}

export class SimulatedDisk {
  isFull = false
  saved: SavedSnapshot | undefined
  readonly met = { torn: 0, lost: 0, syncErrors: 0, conflicts: 0, refused: 0 }
  readonly #timeline: Timeline
  readonly #dice: Dice
  readonly #weather: () => Weather
  #batches: Array<Batch> = []
  #epoch = 0
  #isBroken = false
  /** Counts power cuts: what was under way to the disk is gone with one. */
  #power = 0

  constructor(timeline: Timeline, dice: Dice, weather: () => Weather) {
    this.#timeline = timeline
    this.#dice = dice
    this.#weather = weather
  }

  get position(): number {
    return this.#batches.reduce((sum, { records }) => sum + records.length, 0)
  }

  append(append: Append, answer: (outcome: AppendOutcome) => void): void {
    const power = this.#power
    const isLate = this.#dice.chance(this.#weather().lateAppendShare)
    const lateMs = isLate ? this.#dice.between(300, 2_500) : 0
    this.#timeline.after(lateMs + this.#dice.between(0, this.#weather().delayMaxMs), () => {
      if (power === this.#power) this.#arrive(append, answer)
    })
  }

  /** Everything that there is from the snapshot on; from now on only this epoch may append. */
  open(epoch: number): ReadonlyArray<StoredRecord> {
    this.#epoch = Math.max(this.#epoch, epoch)
    if (this.#isBroken) this.#keepSome()
    this.#isBroken = false
    for (const batch of this.#batches) batch.isSynced = true
    return this.#batches.flatMap(({ records }) => records).slice(this.saved?.position ?? 0)
  }

  cutPower(): void {
    this.#power++
    this.#isBroken = false
    this.#keepSome()
  }

  #arrive(append: Append, answer: (outcome: AppendOutcome) => void): void {
    const reply = (outcome: AppendOutcome) => this.#soon(() => answer(outcome))
    const { isDiskLying, isUnfenced, syncMaxMs, syncErrorShare, lostShare } = this.#weather()
    if (append.epoch < this.#epoch || append.position !== this.position) {
      this.met.conflicts++
      if (!isUnfenced) return reply("conflict")
    }
    if (this.#isBroken) return reply("failed")
    const hasArrivals = append.records.some(({ record }) => record._tag === "RecordArrived")
    // A reserve is kept for what must be settled, and runs out sometimes.
    if (this.isFull && (hasArrivals || this.#dice.chance(0.3))) {
      this.met.refused++
      return reply("refused")
    }
    const batch: Batch = { records: append.records, isSynced: false, isGone: false }
    this.#batches.push(batch)
    if (isDiskLying) {
      reply("persisted")
      return this.#timeline.after(this.#dice.between(500, 3_000), () => this.#sync(batch))
    }
    const power = this.#power
    this.#timeline.after(this.#dice.between(1, syncMaxMs), () => {
      if (power !== this.#power) return
      if (batch.isGone) return reply("unknown")
      if (this.#isBroken || this.#dice.chance(syncErrorShare)) {
        this.met.syncErrors++
        this.#isBroken = true
        return reply("unknown")
      }
      this.#sync(batch)
      reply(this.#dice.chance(lostShare) ? "unknown" : "persisted")
    })
  }

  /** With all before it. */
  #sync(batch: Batch): void {
    const index = this.#batches.indexOf(batch)
    for (const each of this.#batches.slice(0, index + 1)) each.isSynced = true
  }

  #keepSome(): void {
    const syncedCount = this.#batches.findIndex(({ isSynced }) => !isSynced)
    if (syncedCount < 0) return
    const left = this.#batches.length - syncedCount
    const kept = syncedCount + this.#dice.between(0, left)
    if (kept < this.#batches.length && this.#dice.chance(0.5)) this.met.torn++
    for (const batch of this.#batches.slice(kept)) {
      batch.isGone = true
      this.met.lost += batch.records.length
    }
    this.#batches = this.#batches.slice(0, kept)
    for (const batch of this.#batches) batch.isSynced = true
  }

  #soon(action: () => void): void {
    this.#timeline.after(this.#dice.between(0, this.#weather().delayMaxMs), action)
  }
}
