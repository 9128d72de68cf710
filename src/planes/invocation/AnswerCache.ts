/**
 * Stored answers that are still in memory, because most are asked for soon after they came. Bounded: the ones that came
 * first go first, and are read back from the log when they are asked for.
 *
 * @module
 */
import { RecentMap } from "../../core/collections/RecentMap.ts"
import type { Entry } from "./Entry.ts"
import { bytesOf } from "./PayloadCache.ts"

const bytesMaxDefault = 4 * 1024 * 1024
/** Of an object with its headers. */
const objectBytes = 400

export class AnswerCache {
  readonly #bytesMax: number
  readonly #held = new RecentMap<Entry, number>()
  #bytes = 0

  constructor(bytesMax = bytesMaxDefault) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  /** The answer of this entry is in the log now. One that lies in a blob is only its name, and stays. */
  stored(entry: Entry): void {
    if (entry.answer?.body.kind !== "inline" || entry.answerPosition === undefined || this.#held.has(entry)) return
    const bytes = objectBytes + bytesOf(entry.answer.body)
    this.#held.set(entry, bytes)
    this.#bytes += bytes
    for (let oldest = this.#held.oldest(); oldest !== undefined; oldest = this.#held.oldest()) {
      if (this.#bytes <= this.#bytesMax) return
      this.drop(oldest[0])
    }
  }

  drop(entry: Entry): void {
    const bytes = this.#held.get(entry)
    if (bytes === undefined) return
    this.#held.delete(entry)
    this.#bytes -= bytes
    entry.answer = undefined
  }
}
