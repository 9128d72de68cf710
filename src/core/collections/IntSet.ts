/**
 * Persistent set of whole numbers (0 to 2^53 - 1) in order: an `IntMap` of words of 32 bits, so that neighbours share
 * an entry.
 *
 * @module
 */
import * as IntMap from "./IntMap.ts"

export interface IntSet {
  readonly size: number
  readonly words: IntMap.IntMap<number>
}

const bitsPerWord = 32

export const empty: IntSet = { size: 0, words: IntMap.empty() }

const wordOf = (key: number): number => Math.floor(key / bitsPerWord)

const bitOf = (key: number): number => 1 << (key % bitsPerWord)

export const has = (set: IntSet, key: number): boolean => ((IntMap.get(set.words, wordOf(key)) ?? 0) & bitOf(key)) !== 0

/** `edit`: see `IntMap`. */
export const add = (set: IntSet, key: number, edit = 0): IntSet => {
  const word = wordOf(key)
  const bits = IntMap.get(set.words, word) ?? 0
  const more = bits | bitOf(key)
  return more === bits ? set : { size: set.size + 1, words: IntMap.set(set.words, word, more, edit) }
}

/** `edit`: see `IntMap`. */
export const remove = (set: IntSet, key: number, edit = 0): IntSet => {
  const word = wordOf(key)
  const bits = IntMap.get(set.words, word) ?? 0
  const less = bits & ~bitOf(key)
  if (less === bits) return set
  const words = less === 0 ? IntMap.remove(set.words, word, edit) : IntMap.set(set.words, word, less, edit)
  return { size: set.size - 1, words }
}

export const first = (set: IntSet): number | undefined => {
  const word = IntMap.firstKey(set.words)
  if (word === undefined) return undefined
  const bits = IntMap.get(set.words, word) ?? 0
  return word * bitsPerWord + (31 - Math.clz32(bits & -bits))
}

/** In order. */
export const toArray = (set: IntSet): ReadonlyArray<number> => {
  const found: Array<number> = []
  IntMap.forEach(set.words, (bits, word) => {
    for (let left = bits; left !== 0; left &= left - 1) {
      found.push(word * bitsPerWord + (31 - Math.clz32(left & -left)))
    }
  })
  return found
}

/** How many are smaller than `key`. Costs a look at each of them, 32 at a time. */
export const countBelow = (set: IntSet, key: number): number => {
  const last = wordOf(key)
  let count = 0
  IntMap.forEach(set.words, (bits, word) => {
    if (word <= last) count += ones(word < last ? bits : bits & (bitOf(key) - 1))
  })
  return count
}

const ones = (bits: number): number => {
  let count = 0
  for (let left = bits; left !== 0; left &= left - 1) count += 1
  return count
}
