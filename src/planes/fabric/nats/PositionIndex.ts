/**
 * Where some positions of a log lie in its stream: a hint, so that a read need not search.
 *
 * Laws: I1 `around` answers entries that were noted, the nearest before and after. I2 at most `entriesMax` are kept, spread
 * over the whole. I3 `startOf` is no more than a few messages before the one that holds the position.
 *
 * @module
 */

const entriesMax = 16_384
/** So many messages are read sooner than a search among them is made. */
const nearMessages = 4

export interface Entry {
  readonly position: number
  /** Of the message with which the batch at `position` begins. */
  readonly sequence: number
}

export class PositionIndex {
  /** Both grow. */
  #entries: Array<Entry> = []

  note(position: number, sequence: number): void {
    const index = this.#after(position)
    if (this.#entries[index - 1]?.position === position) return
    this.#entries.splice(index, 0, { position, sequence })
    if (this.#entries.length > entriesMax) this.#entries = this.#entries.filter((_, at) => at % 2 === 0)
  }

  around(position: number): { readonly before: Entry | undefined; readonly after: Entry | undefined } {
    const index = this.#after(position)
    return { before: this.#entries[index - 1], after: this.#entries[index] }
  }

  /** Where to begin to read in order to come to `position` soon; undefined: one has to search. */
  startOf(position: number): number | undefined {
    const { before, after } = this.around(position)
    if (before === undefined) return undefined
    if (before.position === position) return before.sequence
    return after !== undefined && after.sequence - before.sequence <= nearMessages ? before.sequence : undefined
  }

  /** What lies before this message is gone. */
  dropBefore(sequence: number): void {
    if ((this.#entries[0]?.sequence ?? sequence) >= sequence) return
    this.#entries = this.#entries.filter((entry) => entry.sequence >= sequence)
  }

  /** Index of the first entry behind `position`. */
  #after(position: number): number {
    let [low, high] = [0, this.#entries.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#entries[middle]!.position <= position) low = middle + 1
      else high = middle
    }
    return low
  }
}
