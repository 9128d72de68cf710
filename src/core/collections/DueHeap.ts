/**
 * Items by the time at which something must be done about them, the first to be had at once: a binary heap that is
 * written in place, whose items know their place in it.
 *
 * Laws (`DueHeap.test.ts`): Z1 what is first is due first, each item is there once and by its last time, and what was
 * removed is not there.
 *
 * @module
 */

/** Its fields are written by the heap alone. */
export interface Due {
  /** Of any one clock. */
  dueMs: number
  /** Place in the heap; -1: it is not there. */
  duePlace: number
}

export const unset = (): Due => ({ dueMs: 0, duePlace: -1 })

export class DueHeap<A extends Due> {
  readonly #heap: Array<A> = []

  get first(): A | undefined {
    return this.#heap[0]
  }

  /** It is due then, and at no other time. */
  set(item: A, dueMs: number): void {
    this.remove(item)
    item.dueMs = dueMs
    this.#heap.push(item)
    this.#rise(item, this.#heap.length - 1)
  }

  remove(item: A): void {
    const place = item.duePlace
    if (place < 0) return
    item.duePlace = -1
    // An item that is there makes the heap hold one at least.
    const last = this.#heap.pop()!
    if (last === item) return
    this.#rise(last, place)
    this.#sink(last, last.duePlace)
  }

  #put(item: A, place: number): void {
    this.#heap[place] = item
    item.duePlace = place
  }

  #rise(item: A, from: number): void {
    let place = from
    while (place > 0) {
      const above = (place - 1) >> 1
      const parent = this.#heap[above]!
      if (parent.dueMs <= item.dueMs) break
      this.#put(parent, place)
      place = above
    }
    this.#put(item, place)
  }

  #sink(item: A, from: number): void {
    const heap = this.#heap
    let place = from
    for (;;) {
      let below = 2 * place + 1
      if (below >= heap.length) break
      if (below + 1 < heap.length && heap[below + 1]!.dueMs < heap[below]!.dueMs) below += 1
      const child = heap[below]!
      if (child.dueMs >= item.dueMs) break
      this.#put(child, place)
      place = below
    }
    this.#put(item, place)
  }
}
