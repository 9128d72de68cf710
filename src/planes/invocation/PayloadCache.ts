/**
 * Calls of stored requests that are still in memory, so that a worker gets them without a look at the log. Bounded:
 * beyond it they are read back when they are given out.
 *
 * Y1 what is counted is what entries with a call position hold; so a call leaves an entry only through here.
 *
 * @module
 */
import type { Body } from "./Body.ts"
import type { Entry } from "./Entry.ts"

/** Small beside 100,000 that wait, large beside what the workers take in a second. */
const bytesMax = 4 * 1024 * 1024

/** Of an object, and of a pair of strings, beside their characters. */
const objectBytes = 200
const pairBytes = 100

export class PayloadCache {
  #bytes = 0

  get isFull(): boolean {
    return this.#bytes > bytesMax
  }

  /** The call of this entry is in the log now; without room it is held no longer. */
  stored(entry: Entry): void {
    this.#bytes += memoryOf(entry.call)
    if (this.isFull) this.evict(entry)
  }

  /** Not a body that may still come in. */
  evict(entry: Entry): void {
    if (entry.callPosition !== undefined && entry.call?.body.kind !== "spool") this.drop(entry)
  }

  /** Also what cannot be read back. */
  drop(entry: Entry): void {
    if (entry.callPosition !== undefined) this.#bytes -= memoryOf(entry.call)
    entry.call = undefined
  }
}

/** About what a call takes of memory: its head often more than its body. */
const memoryOf = (call: Entry["call"]): number => {
  if (call === undefined) return 0
  let bytes = objectBytes + bytesOf(call.body)
  for (const [name, value] of call.head.headers) bytes += pairBytes + name.length + value.length
  return bytes
}

export const bytesOf = (body: Body | undefined): number => (body?.kind === "inline" ? body.bytes.length : 0)
