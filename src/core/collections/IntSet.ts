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

/** A word with bits is in one of three places; a place outside the trie without bits has the word -1. A class for the reason that `IntMap`'s branches are. */
export class IntSet {
  declare size: number
  declare firstWord: number
  declare firstBits: number
  declare words: IntMap.IntMap<number>
  declare lastWord: number
  declare lastBits: number
  declare readonly edit: number

  constructor(
    size: number,
    firstWord: number,
    firstBits: number,
    words: IntMap.IntMap<number>,
    lastWord: number,
    lastBits: number,
    edit: number
  ) {
    this.size = size
    this.firstWord = firstWord
    this.firstBits = firstBits
    this.words = words
    this.lastWord = lastWord
    this.lastBits = lastBits
    this.edit = edit
  }
}

const bitsPerWord = 32

export const empty: IntSet = new IntSet(0, -1, 0, IntMap.empty(), -1, 0, 0)

/** The set itself where this edit made it, else a copy of its own. */
const own = (set: IntSet, edit: number): IntSet =>
  set.edit === edit && edit !== 0
    ? set
    : new IntSet(set.size, set.firstWord, set.firstBits, set.words, set.lastWord, set.lastBits, edit)

export const has = (set: IntSet, key: number): boolean => {
  const word = wordOf(key)
  return (bitsOf(set, word) & bitOf(key, word)) !== 0
}

export const add = (set: IntSet, key: number, edit = 0): IntSet => {
  const word = wordOf(key)
  const before = bitsOf(set, word)
  const bits = before | bitOf(key, word)
  if (bits === before) return set
  const next = own(set, edit)
  next.size += 1
  if (word === next.lastWord) next.lastBits = bits
  else if (word === next.firstWord) next.firstBits = bits
  else if (word < next.lastWord || before !== 0) next.words = IntMap.set(next.words, word, bits, edit)
  else {
    if (next.lastWord !== -1) next.words = IntMap.set(next.words, next.lastWord, next.lastBits, edit)
    next.lastWord = word
    next.lastBits = bits
  }
  return next
}

export const remove = (set: IntSet, key: number, edit = 0): IntSet => {
  const word = wordOf(key)
  const before = bitsOf(set, word)
  const bits = before & ~bitOf(key, word)
  if (bits === before) return set
  const next = own(set, edit)
  next.size -= 1
  const left = bits === 0 ? -1 : word
  if (word === next.firstWord) {
    next.firstWord = left
    next.firstBits = bits
  } else if (word === next.lastWord) {
    next.lastWord = left
    next.lastBits = bits
  } else if (next.firstWord !== -1 && next.firstWord < word) {
    next.words = bits === 0 ? IntMap.remove(next.words, word, edit) : IntMap.set(next.words, word, bits, edit)
  } else {
    // Whoever takes from the front goes on there.
    next.words = IntMap.remove(next.words, word, edit)
    if (next.firstWord !== -1) next.words = IntMap.set(next.words, next.firstWord, next.firstBits, edit)
    next.firstWord = left
    next.firstBits = bits
  }
  return next
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
