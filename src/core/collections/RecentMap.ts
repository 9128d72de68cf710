/**
 * A map that gives up what was set longest ago, for memories with a bound. Written in place.
 *
 * A `Map` keeps that order too, but whoever asks it for its first entry steps over all that were deleted since its table
 * was last built: with ten thousand entries, one in and one out took 90 microseconds, and here it takes a fraction of one.
 *
 * Laws (`RecentMap.test.ts`): Y1 it is the same as a map in which each `set` deletes the key first.
 *
 * @module
 */

interface Node<K, V> {
  readonly key: K
  value: V
  older: Node<K, V> | undefined
  newer: Node<K, V> | undefined
}

export class RecentMap<K, V> {
  readonly #nodes = new Map<K, Node<K, V>>()
  #oldest: Node<K, V> | undefined
  #newest: Node<K, V> | undefined

  get size(): number {
    return this.#nodes.size
  }

  has(key: K): boolean {
    return this.#nodes.has(key)
  }

  get(key: K): V | undefined {
    return this.#nodes.get(key)?.value
  }

  /** It is the newest from now on, also when it was there. */
  set(key: K, value: V): void {
    const found = this.#nodes.get(key)
    if (found !== undefined) {
      found.value = value
      if (found === this.#newest) return
      this.#unlink(found)
      return this.#link(found)
    }
    const node: Node<K, V> = { key, value, older: undefined, newer: undefined }
    this.#nodes.set(key, node)
    this.#link(node)
  }

  /** False: it was not there. */
  delete(key: K): boolean {
    const node = this.#nodes.get(key)
    if (node === undefined) return false
    this.#nodes.delete(key)
    this.#unlink(node)
    return true
  }

  /** Key and value of what was set longest ago. */
  oldest(): readonly [K, V] | undefined {
    return this.#oldest === undefined ? undefined : [this.#oldest.key, this.#oldest.value]
  }

  /** Gives up the oldest until there are no more than `sizeMax`. */
  trim(sizeMax: number): void {
    while (this.#nodes.size > sizeMax && this.#oldest !== undefined) this.delete(this.#oldest.key)
  }

  /** Oldest first. What is set or deleted meanwhile may be seen or not. */
  *values(): Generator<V> {
    for (let node = this.#oldest; node !== undefined; node = node.newer) yield node.value
  }

  #link(node: Node<K, V>): void {
    node.older = this.#newest
    node.newer = undefined
    if (this.#newest === undefined) this.#oldest = node
    else this.#newest.newer = node
    this.#newest = node
  }

  #unlink(node: Node<K, V>): void {
    if (node.older === undefined) this.#oldest = node.newer
    else node.older.newer = node.newer
    if (node.newer === undefined) this.#newest = node.older
    else node.newer.older = node.older
    // One that is gone must not hold those that came after it, not even for the collector of the young.
    node.older = undefined
    node.newer = undefined
  }
}
