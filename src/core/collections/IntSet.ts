/**
 * Persistent set of whole numbers (0 to 2^53 - 1) in order, in words of 32 bits. Made to be a queue of growing numbers:
 * one word that numbers are taken from and one that they are added to are held outside the trie, so that either mostly
 * costs one small object.
 *
 * Law: C6 it is the same as a sorted list without repetitions. `edit`: as in `IntMap`.
 *
 * @module
 */
import * as IntMap from "./IntMap.ts"

/** A word with bits is in one of three places; a place outside the trie without bits has the word -1. */
export interface IntSet {
  readonly size: number
  readonly firstWord: number
  readonly firstBits: number
  readonly words: IntMap.IntMap<number>
  readonly lastWord: number
  readonly lastBits: number
}

const bitsPerWord = 32

/** The one place where sets are made: for the engine, a literal with a constant in it is another kind of object. */
const setOf = (
  size: number,
  firstWord: number,
  firstBits: number,
  words: IntMap.IntMap<number>,
  lastWord: number,
  lastBits: number
): IntSet => ({ size, firstWord, firstBits, words, lastWord, lastBits })

export const empty: IntSet = setOf(0, -1, 0, IntMap.empty(), -1, 0)

export const has = (set: IntSet, key: number): boolean => {
  const word = wordOf(key)
  return (bitsOf(set, word) & bitOf(key, word)) !== 0
}

export const add = (set: IntSet, key: number, edit = 0): IntSet => {
  const word = wordOf(key)
  const before = bitsOf(set, word)
  const bits = before | bitOf(key, word)
  if (bits === before) return set
  const size = set.size + 1
  const { firstWord, firstBits, words, lastWord, lastBits } = set
  if (word === lastWord) return setOf(size, firstWord, firstBits, words, lastWord, bits)
  if (word === firstWord) return setOf(size, firstWord, bits, words, lastWord, lastBits)
  if (word < lastWord || before !== 0) {
    return setOf(size, firstWord, firstBits, IntMap.set(words, word, bits, edit), lastWord, lastBits)
  }
  const filed = lastWord === -1 ? words : IntMap.set(words, lastWord, lastBits, edit)
  return setOf(size, firstWord, firstBits, filed, word, bits)
}

export const remove = (set: IntSet, key: number, edit = 0): IntSet => {
  const word = wordOf(key)
  const before = bitsOf(set, word)
  const bits = before & ~bitOf(key, word)
  if (bits === before) return set
  const size = set.size - 1
  const { firstWord, firstBits, words, lastWord, lastBits } = set
  const left = bits === 0 ? -1 : word
  if (word === firstWord) return setOf(size, left, bits, words, lastWord, lastBits)
  if (word === lastWord) return setOf(size, firstWord, firstBits, words, left, bits)
  if (firstWord !== -1 && firstWord < word) {
    const rest = bits === 0 ? IntMap.remove(words, word, edit) : IntMap.set(words, word, bits, edit)
    return setOf(size, firstWord, firstBits, rest, lastWord, lastBits)
  }
  // Whoever takes from the front goes on there.
  const taken = IntMap.remove(words, word, edit)
  const filed = firstWord === -1 ? taken : IntMap.set(taken, firstWord, firstBits, edit)
  return setOf(size, left, bits, filed, lastWord, lastBits)
}

export const first = (set: IntSet): number | undefined => {
  if (set.size === 0) return undefined
  let word = IntMap.firstKey(set.words) ?? Number.POSITIVE_INFINITY
  if (set.firstWord !== -1 && set.firstWord < word) word = set.firstWord
  if (set.lastWord !== -1 && set.lastWord < word) word = set.lastWord
  return word * bitsPerWord + IntMap.lowest(bitsOf(set, word))
}

/** In order. */
export const toArray = (set: IntSet): ReadonlyArray<number> => {
  const found: Array<number> = []
  IntMap.forEach(filed(set), (bits, word) => {
    for (let left = bits; left !== 0; left &= left - 1) found.push(word * bitsPerWord + IntMap.lowest(left))
  })
  return found
}

/** How many are smaller than `key`. Costs a look at each word. */
export const countBelow = (set: IntSet, key: number): number => {
  const last = wordOf(key)
  let count = 0
  IntMap.forEach(filed(set), (bits, word) => {
    if (word <= last) count += IntMap.ones(word < last ? bits : bits & (bitOf(key, last) - 1))
  })
  return count
}

const wordOf = (key: number): number => Math.floor(key / bitsPerWord)

const bitOf = (key: number, word: number): number => 1 << (key - word * bitsPerWord)

const bitsOf = (set: IntSet, word: number): number => {
  if (word === set.lastWord) return set.lastBits
  if (word === set.firstWord) return set.firstBits
  return IntMap.get(set.words, word) ?? 0
}

/** All words in one place. */
const filed = ({ firstWord, firstBits, words, lastWord, lastBits }: IntSet): IntMap.IntMap<number> => {
  const one = firstWord === -1 ? words : IntMap.set(words, firstWord, firstBits)
  return lastWord === -1 ? one : IntMap.set(one, lastWord, lastBits)
}
