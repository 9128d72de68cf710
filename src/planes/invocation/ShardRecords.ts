/**
 * What a shard writes of its requests: the records of its log, and the dead letters that stand before them.
 *
 * H2 every record that the machine orders goes to the log in that order, but for the end of a dead letter, which waits
 * for the letter: whoever hears of a dead letter can rely on finding it.
 *
 * @module
 */
import type { Command, RecordRef } from "../../core/buffer/BufferEvent.ts"
import * as CrashPoint from "../CrashPoint.ts"
import type { BlobStore } from "../fabric/BlobStore.ts"
import type { DeadLetters } from "./DeadLetters.ts"
import type { End, Entry } from "./Entry.ts"
import * as EntryRecord from "./EntryRecord.ts"
import { Letters } from "./Letters.ts"
import { LogWriter, type LogWriterOptions } from "./LogWriter.ts"
import { nowMs } from "./PlaneClock.ts"
import type { ShardEntries } from "./ShardEntries.ts"
import type { ShardMachine } from "./ShardMachine.ts"
import { SideLogFailed } from "./SideLog.ts"

export interface ShardRecordsInit {
  readonly machine: ShardMachine
  readonly entries: ShardEntries
  /** Where the log ends. */
  readonly position: number
  readonly append: LogWriterOptions["append"]
  readonly deadLetters: DeadLetters
  readonly deadLetterRetentionMs: number
  readonly blobs: BlobStore["Service"]
  readonly storeFailed: (message: string) => void
  readonly storeFull: (message: string) => void
}

export class ShardRecords {
  readonly #init: ShardRecordsInit
  readonly #log: LogWriter
  readonly #letters: Letters

  constructor(init: ShardRecordsInit) {
    this.#init = init
    const { machine, entries } = init
    this.#letters = new Letters({
      deadLetters: init.deadLetters,
      retentionMs: init.deadLetterRetentionMs,
      blobs: init.blobs,
      loadCall: (entry) => entries.loadCall(entry)
    })
    this.#log = new LogWriter({
      position: init.position,
      append: init.append,
      encode: (record, ref) => EntryRecord.encode(entries.get(ref.sequence), record, ref),
      events: {
        started: (records) => machine.send({ _tag: "FlushStarted", records }),
        persisted: (records, first) => this.#persisted(records, first),
        full: init.storeFull,
        failed: (records, outcome, message) => {
          if (outcome !== "refused") init.storeFailed(message)
          machine.send({ _tag: "PersistFailed", nowMs: nowMs(), records, outcome })
        }
      }
    })
  }

  /** Where the log ends. */
  get position(): number {
    return this.#log.position
  }

  /** There is no room: arrivals would be given up. */
  get isFull(): boolean {
    return this.#log.isFull
  }

  add({ record, ref, urgent }: Extract<Command, { _tag: "Append" }>): void {
    const entry = this.#init.entries.get(ref.sequence)
    if (record._tag !== "RecordEnded" || record.terminal !== "dead-lettered" || entry === undefined) {
      return this.#log.add(record, ref, urgent)
    }
    this.letterOf(entry, record).then(
      () => this.#log.add(record, ref, urgent),
      (error: unknown) => {
        const outcome = error instanceof SideLogFailed ? error.outcome : "failed"
        this.#init.storeFailed(error instanceof Error ? error.message : String(error))
        this.#init.machine.send({ _tag: "PersistFailed", nowMs: nowMs(), records: [ref], outcome })
      }
    )
  }

  /** What is not under way yet of this request is not written. */
  drop(sequence: number): void {
    this.#log.drop(sequence)
  }

  /** Resolves when its dead letter is on stable storage. */
  letterOf(entry: Entry, end: Pick<End, "reason" | "message">): Promise<void> {
    return this.#letters.of(entry, end)
  }

  /** Everything ordered so far is on disk, or never will be. */
  async flushed(): Promise<void> {
    await this.#letters.settled()
    await this.#log.flushed()
  }

  /** Nothing more is written: what waits is another owner's. */
  stop(): void {
    this.#log.stop()
  }

  #persisted(records: ReadonlyArray<RecordRef>, first: number): void {
    const { machine, entries } = this.#init
    const atMs = nowMs()
    entries.stored(records, first, atMs)
    CrashPoint.hit("invocation.persisted.beforeStep")
    machine.send({ _tag: "Persisted", nowMs: atMs, records })
    CrashPoint.hit("invocation.persisted.afterStep")
    entries.settled(records)
  }
}
