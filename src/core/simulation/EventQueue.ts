/**
 * What will happen, in order of time: a heap with four children, in typed arrays, so that ten million events make no
 * garbage. An event is a kind and two numbers.
 *
 * Laws: Q1 events come out in order of time. Q2 of the same time, in the order in which they were put in.
 *
 * @module
 */

export class EventQueue {
  #timesMs = new Float64Array(1_024)
  /** Ties are decided by it. */
  #orders = new Float64Array(1_024)
  #kinds = new Uint8Array(1_024)
  #firsts = new Float64Array(1_024)
  #seconds = new Float64Array(1_024)
  #size = 0
  #order = 0
  /** The event that `take` took. */
  atMs = 0
  kind = 0
  first = 0
  second = 0

  get size(): number {
    return this.#size
  }

  /** Infinite when nothing will happen. */
  get nextMs(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : this.#timesMs[0]!
  }

  put(atMs: number, kind: number, first = 0, second = 0): void {
    if (this.#size === this.#timesMs.length) this.#grow()
    const order = this.#order++
    let at = this.#size++
    while (at > 0) {
      const parent = (at - 1) >> 2
      // A new one is the last of its time.
      if (this.#timesMs[parent]! <= atMs) break
      this.#copy(parent, at)
      at = parent
    }
    this.#timesMs[at] = atMs
    this.#orders[at] = order
    this.#kinds[at] = kind
    this.#firsts[at] = first
    this.#seconds[at] = second
  }

  /** Brings the next event into the fields; false: there is none. */
  take(): boolean {
    if (this.#size === 0) return false
    this.atMs = this.#timesMs[0]!
    this.kind = this.#kinds[0]!
    this.first = this.#firsts[0]!
    this.second = this.#seconds[0]!
    this.#size -= 1
    if (this.#size > 0) this.#sink(this.#size)
    return true
  }

  /** Puts the event at `last` where the root was, and brings it to its place. */
  #sink(last: number): void {
    const size = this.#size
    const timeMs = this.#timesMs[last]!
    const order = this.#orders[last]!
    const kind = this.#kinds[last]!
    const first = this.#firsts[last]!
    const second = this.#seconds[last]!
    let at = 0
    for (;;) {
      const from = at * 4 + 1
      if (from >= size) break
      let least = from
      const to = Math.min(from + 4, size)
      for (let child = from + 1; child < to; child++) if (this.#isBefore(child, least)) least = child
      const isLess =
        this.#timesMs[least]! < timeMs || (this.#timesMs[least]! === timeMs && this.#orders[least]! < order)
      if (!isLess) break
      this.#copy(least, at)
      at = least
    }
    this.#timesMs[at] = timeMs
    this.#orders[at] = order
    this.#kinds[at] = kind
    this.#firsts[at] = first
    this.#seconds[at] = second
  }

  #isBefore(one: number, other: number): boolean {
    const difference = this.#timesMs[one]! - this.#timesMs[other]!
    return difference < 0 || (difference === 0 && this.#orders[one]! < this.#orders[other]!)
  }

  #copy(from: number, to: number): void {
    this.#timesMs[to] = this.#timesMs[from]!
    this.#orders[to] = this.#orders[from]!
    this.#kinds[to] = this.#kinds[from]!
    this.#firsts[to] = this.#firsts[from]!
    this.#seconds[to] = this.#seconds[from]!
  }

  #grow(): void {
    const length = this.#timesMs.length * 2
    this.#timesMs = grown(this.#timesMs, new Float64Array(length))
    this.#orders = grown(this.#orders, new Float64Array(length))
    this.#kinds = grown(this.#kinds, new Uint8Array(length))
    this.#firsts = grown(this.#firsts, new Float64Array(length))
    this.#seconds = grown(this.#seconds, new Float64Array(length))
  }
}

const grown = <A extends Float64Array<ArrayBuffer> | Uint8Array<ArrayBuffer>>(from: A, to: A): A => {
  to.set(from)
  return to
}
