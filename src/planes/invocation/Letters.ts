/**
 * The dead letters that a shard is writing: one for each request that died, however many ask for it.
 *
 * @module
 */
import type { BlobStore } from "../fabric/BlobStore.ts"
import type { DeadLetters } from "./DeadLetters.ts"
import * as DeadLetterWriter from "./DeadLetterWriter.ts"
import type { End, Entry } from "./Entry.ts"
import { nowMs } from "./PlaneClock.ts"

export class Letters {
  readonly #deadLetters: DeadLetters
  readonly #retentionMs: number
  readonly #blobs: BlobStore["Service"]
  readonly #loadCall: (entry: Entry) => Promise<NonNullable<Entry["call"]>>
  readonly #open = new Set<Promise<void>>()

  constructor(init: {
    readonly deadLetters: DeadLetters
    readonly retentionMs: number
    readonly blobs: BlobStore["Service"]
    /** Reads the call back where memory let it go. */
    readonly loadCall: (entry: Entry) => Promise<NonNullable<Entry["call"]>>
  }) {
    this.#deadLetters = init.deadLetters
    this.#retentionMs = init.retentionMs
    this.#blobs = init.blobs
    this.#loadCall = init.loadCall
  }

  /** Resolves when the dead letter is on stable storage. */
  of(entry: Entry, end: Pick<End, "reason" | "message">): Promise<void> {
    if (entry.letter !== undefined) return entry.letter
    const call = entry.call === undefined ? this.#loadCall(entry) : Promise.resolve(entry.call)
    const letter = DeadLetterWriter.write(this.#deadLetters, this.#blobs, entry, call, {
      reason: end.reason ?? "attempts-exhausted",
      message: end.message,
      deadAtMs: nowMs(),
      retentionMs: this.#retentionMs
    })
    entry.letter = letter
    this.#open.add(letter)
    letter.catch(() => {}).finally(() => this.#open.delete(letter))
    return letter
  }

  /** All that are open now are written, or failed. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#open)
  }
}
