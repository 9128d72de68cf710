/**
 * Persistent map from whole numbers (0 to 2^53 - 1) to values that have a time at which something must be done with
 * them; made for keys that grow and for work that happens near a few places of a large range.
 *
 * Values live in chunks of 32 neighbouring keys. A few chunks that were written lately are held outside the trie, so a
 * write there copies one chunk and not the path to it; the others are in the trie, and by the time of their earliest
 * value in a `DueIndex`.
 *
 * Laws: C4 it is the same as a map. C5 `nextMs` is never later than the earliest due time, and after `takeDue` at that
 * time it is later than that time. `edit`: as in `IntMap`.
 *
 * @module
 */
import * as DueIndex from "./DueIndex.ts"
import * as IntMap from "./IntMap.ts"

/** A class for the reason that `IntMap`'s branches are. */
class Chunk {
  /** Key of its first slot, divided by 32. */
  declare readonly number: number
  declare bitmap: number
  declare readonly slots: Array<unknown>
  /** No value in it is due before. Earlier than need be when the value that set it was removed or put off. */
  declare boundMs: number
  declare readonly edit: number

  constructor(number: number, bitmap: number, slots: Array<unknown>, boundMs: number, edit: number) {
    this.number = number
    this.bitmap = bitmap
    this.slots = slots
    this.boundMs = boundMs
    this.edit = edit
  }
}

export interface DueMap<out V> {
  size: number
  /** A chunk is here or in `cold`; one without values is here at most. */
  readonly hot: Array<Chunk>
  /** Index of the hot chunk that cools down next. */
  hand: number
  cold: IntMap.IntMap<Chunk>
  coldDue: DueIndex.DueIndex
  readonly edit: number
  /** Never present: ties the value type to the map. */
  readonly value?: V
}

const chunkSize = 32
/** Arrivals, confirmations, leases and ends are four places; two more for those that lag behind. */
const hotMax = 6

const none: DueMap<never> = { size: 0, hot: [], hand: 0, cold: IntMap.empty(), coldDue: DueIndex.empty, edit: 0 }

export const empty = <V>(): DueMap<V> => none

export const get = <V>(map: DueMap<V>, key: number): V | undefined => {
  const number = Math.floor(key / chunkSize)
  const { hot } = map
  for (let i = 0; i < hot.length; i++) {
    const chunk = hot[i]!
    // Chunks hold what `set` put there.
    if (chunk.number === number) return chunk.slots[key - number * chunkSize] as V | undefined
  }
  return IntMap.get(map.cold, number)?.slots[key - number * chunkSize] as V | undefined
}

/** `value` must not be `undefined`. `dueMs`: infinite when time alone changes nothing about it. */
export const set = <V>(map: DueMap<V>, key: number, value: V, dueMs: number, edit = 0): DueMap<V> => {
  const next = own(map, edit)
  const number = Math.floor(key / chunkSize)
  const chunk = openChunk(next, number, edit)
  const slot = key - number * chunkSize
  if (chunk.slots[slot] === undefined) next.size += 1
  chunk.slots[slot] = value
  chunk.bitmap |= 1 << slot
  if (dueMs < chunk.boundMs) chunk.boundMs = dueMs
  return next
}

/** The same map when the key is not there. */
export const remove = <V>(map: DueMap<V>, key: number, edit = 0): DueMap<V> => {
  if (get(map, key) === undefined) return map
  const next = own(map, edit)
  const number = Math.floor(key / chunkSize)
  const chunk = openChunk(next, number, edit)
  const slot = key - number * chunkSize
  next.size -= 1
  chunk.slots[slot] = undefined
  chunk.bitmap &= ~(1 << slot)
  if (chunk.bitmap === 0) chunk.boundMs = DueIndex.never
  return next
}

/** Whole milliseconds. Not later than the first due time (C5); `undefined`: nothing is ever due. */
export const nextMs = <V>(map: DueMap<V>): number | undefined => {
  let next = DueIndex.nextMs(map.coldDue) ?? DueIndex.never
  for (const { boundMs } of map.hot) if (boundMs < next) next = Math.min(next, Math.ceil(boundMs))
  return next === DueIndex.never ? undefined : next
}

/**
 * Keys of the values that are due, in no order, and the map that does not report them again: whoever takes them sets or
 * removes them. `dueMsOf` must be what `set` was given.
 */
export const takeDue = <V>(
  map: DueMap<V>,
  nowMs: number,
  dueMsOf: (value: V) => number,
  edit = 0
): readonly [DueMap<V>, ReadonlyArray<number>] => {
  const earliest = nextMs(map)
  if (earliest === undefined || earliest > nowMs) return [map, nothing]
  const next = own(map, edit)
  const found: Array<number> = []
  for (const number of ripe(next, nowMs)) {
    const chunk = openChunk(next, number, edit)
    chunk.boundMs = DueIndex.never
    eachOf<V>(chunk, (value, key) => {
      const dueMs = dueMsOf(value)
      if (Math.ceil(dueMs) <= nowMs) found.push(key)
      else if (dueMs < chunk.boundMs) chunk.boundMs = dueMs
    })
  }
  return [next, found]
}

/** In the order of the keys. */
export const forEach = <V>(map: DueMap<V>, visit: (value: V, key: number) => void): void => {
  let all = map.cold
  for (const chunk of map.hot) all = IntMap.set(all, chunk.number, chunk)
  IntMap.forEach(all, (chunk) => eachOf(chunk, visit))
}

/** Keys in order. */
export const keys = <V>(map: DueMap<V>): ReadonlyArray<number> => {
  const found: Array<number> = []
  forEach(map, (_, key) => found.push(key))
  return found
}

/** Values in the order of their keys. */
export const values = <V>(map: DueMap<V>): ReadonlyArray<V> => {
  const found: Array<V> = []
  forEach(map, (value) => found.push(value))
  return found
}

const nothing: ReadonlyArray<number> = []

const own = <V>(map: DueMap<V>, edit: number): DueMap<V> => {
  if (map.edit === edit && edit !== 0) return map
  const { size, hot, hand, cold, coldDue } = map
  return { size, hot: hot.slice(), hand, cold, coldDue, edit }
}

/** The hot chunk of this number, to be written to. `map` must be its caller's own. */
const openChunk = <V>(map: DueMap<V>, number: number, edit: number): Chunk => {
  const { hot } = map
  for (let i = 0; i < hot.length; i++) {
    const chunk = hot[i]!
    if (chunk.number !== number) continue
    if (chunk.edit === edit && edit !== 0) return chunk
    const copy = copyOf(chunk, edit)
    hot[i] = copy
    return copy
  }
  return warm(map, number, edit)
}

/** Takes the chunk from the trie, or makes one, and lets another cool down for it. */
const warm = <V>(map: DueMap<V>, number: number, edit: number): Chunk => {
  const { hot } = map
  const cold = IntMap.get(map.cold, number)
  // A chunk in the trie is never written to: the index knows it by its bound.
  const chunk =
    cold === undefined ? new Chunk(number, 0, IntMap.blank(chunkSize), DueIndex.never, edit) : copyOf(cold, edit)
  if (cold !== undefined) {
    map.cold = IntMap.remove(map.cold, number, edit)
    map.coldDue = DueIndex.remove(map.coldDue, cold.boundMs, number, edit)
  }
  if (hot.length < hotMax) {
    hot.push(chunk)
    return chunk
  }
  const cooled = hot[map.hand]!
  if (cooled.bitmap !== 0) {
    map.cold = IntMap.set(map.cold, cooled.number, cooled, edit)
    map.coldDue = DueIndex.add(map.coldDue, cooled.boundMs, cooled.number, edit)
  }
  hot[map.hand] = chunk
  map.hand = (map.hand + 1) % hotMax
  return chunk
}

const copyOf = (chunk: Chunk, edit: number): Chunk =>
  new Chunk(chunk.number, chunk.bitmap, chunk.slots.slice(), chunk.boundMs, edit)

/** Numbers of the chunks that may hold something due. */
const ripe = <V>(map: DueMap<V>, nowMs: number): ReadonlyArray<number> => [
  ...map.hot.filter(({ boundMs }) => Math.ceil(boundMs) <= nowMs).map(({ number }) => number),
  ...DueIndex.allDue(map.coldDue, nowMs)
]

const eachOf = <V>(chunk: Chunk, visit: (value: V, key: number) => void): void => {
  for (let bits = chunk.bitmap; bits !== 0; bits &= bits - 1) {
    const slot = IntMap.lowest(bits)
    // Chunks hold what `set` put there.
    visit(chunk.slots[slot] as V, chunk.number * chunkSize + slot)
  }
}
