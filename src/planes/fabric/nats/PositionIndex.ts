/**
 * Where some positions of a log lie in its stream: a hint, so that a read need not search.
 *
 * Laws: I1 `around` answers entries that were noted, the nearest before and after. I2 at most `entriesMax` are kept, spread
 * over the whole.
 *
 * @module
 */

const entriesMax = 16_384

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

  /** What lies before this message is gone. */
  dropBefore(sequence: number): void {
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
