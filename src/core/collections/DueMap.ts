/**
 * Persistent map from whole numbers (0 to 2^53 - 1) to values that have a time at which something must be done with
 * them; made for keys that grow and for work that happens near a few places of a large range.
 *
 * Values live in chunks of 32 neighbouring keys. The few chunks that were written last are held outside the trie, so a
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
import { indexOf, lowest, withInserted, withRemoved } from "./slots.ts"

interface Chunk {
  /** Key of its first slot, divided by 32. */
  readonly number: number
  bitmap: number
  /** Those that are there, in order. */
  items: Array<unknown>
  /** No value in it is due before. Earlier than need be when the value that set it was removed or put off. */
  boundMs: number
  readonly edit: number
}

export interface DueMap<out V> {
  readonly size: number
  /** The one written last is first. */
  readonly hot: ReadonlyArray<Chunk>
  readonly cold: IntMap.IntMap<Chunk>
  readonly coldDue: DueIndex.DueIndex
  /** Never present: ties the value type to the map. */
  readonly value?: V
}

const chunkSize = 32
/** Arrivals, confirmations, leases and ends are four places; two more for those that lag behind. */
const hotMax = 6

const none: DueMap<never> = { size: 0, hot: [], cold: IntMap.empty(), coldDue: DueIndex.empty }

export const empty = <V>(): DueMap<V> => none

export const get = <V>(map: DueMap<V>, key: number): V | undefined => {
  const number = Math.floor(key / chunkSize)
  const chunk = find(map, number)
  if (chunk === undefined) return undefined
  const bit = 1 << (key - number * chunkSize)
  // Chunks hold what `set` put there.
  return (chunk.bitmap & bit) === 0 ? undefined : (chunk.items[indexOf(chunk.bitmap, bit)] as V)
}

/** `value` must not be `undefined`. `dueMs`: infinite when time alone changes nothing about it. */
export const set = <V>(map: DueMap<V>, key: number, value: V, dueMs: number, edit = 0): DueMap<V> => {
  const number = Math.floor(key / chunkSize)
  const bit = 1 << (key - number * chunkSize)
  const chunk = openChunk(map, number, edit)
  const index = indexOf(chunk.bitmap, bit)
  const isNew = (chunk.bitmap & bit) === 0
  if (dueMs < chunk.boundMs) chunk.boundMs = dueMs
  if (isNew) {
    chunk.bitmap |= bit
    chunk.items = withInserted(chunk.items, index, value)
  } else chunk.items[index] = value
  return withHot(map, chunk, isNew ? 1 : 0, edit)
}

/** The same map when the key is not there. */
export const remove = <V>(map: DueMap<V>, key: number, edit = 0): DueMap<V> => {
  const number = Math.floor(key / chunkSize)
  const bit = 1 << (key - number * chunkSize)
  if (((find(map, number)?.bitmap ?? 0) & bit) === 0) return map
  const chunk = openChunk(map, number, edit)
  chunk.items = withRemoved(chunk.items, indexOf(chunk.bitmap, bit))
  chunk.bitmap &= ~bit
  return withHot(map, chunk, -1, edit)
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
  const next = nextMs(map)
  if (next === undefined || next > nowMs) return [map, []]
  const found: Array<number> = []
  let left = map
  for (const chunk of ripe(map, nowMs)) {
    const after = openChunk(left, chunk.number, edit)
    after.boundMs = DueIndex.never
    eachOf<V>(chunk, (value, key) => {
      const dueMs = dueMsOf(value)
      if (Math.ceil(dueMs) <= nowMs) found.push(key)
      else if (dueMs < after.boundMs) after.boundMs = dueMs
    })
    left = withHot(left, after, 0, edit)
  }
  return [left, found]
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

const find = <V>(map: DueMap<V>, number: number): Chunk | undefined => {
  const { hot } = map
  for (let i = 0; i < hot.length; i++) if (hot[i]!.number === number) return hot[i]
  return IntMap.get(map.cold, number)
}

/** Chunks that may hold something due. */
const ripe = <V>(map: DueMap<V>, nowMs: number): ReadonlyArray<Chunk> => {
  const found = map.hot.filter(({ boundMs }) => Math.ceil(boundMs) <= nowMs)
  for (const number of DueIndex.allDue(map.coldDue, nowMs)) {
    const chunk = IntMap.get(map.cold, number)
    if (chunk !== undefined) found.push(chunk)
  }
  return found
}

/** The chunk of this number to be written to by this edit: itself if this edit made it, else a copy, or a new one. */
const openChunk = <V>(map: DueMap<V>, number: number, edit: number): Chunk => {
  const { hot } = map
  for (let i = 0; i < hot.length; i++) {
    const chunk = hot[i]!
    if (chunk.number === number) return chunk.edit === edit && edit !== 0 ? chunk : copyOf(chunk, edit)
  }
  // One in the trie is never written to: the index knows it by its bound.
  const chunk = IntMap.get(map.cold, number)
  return chunk === undefined ? { number, bitmap: 0, items: [], boundMs: DueIndex.never, edit } : copyOf(chunk, edit)
}

const copyOf = ({ number, bitmap, items, boundMs }: Chunk, edit: number): Chunk => ({
  number,
  bitmap,
  items: items.slice(),
  boundMs,
  edit
})

/** Puts the chunk first among the hot ones; an empty one nowhere. The one that was not written for longest cools down. */
const withHot = <V>(map: DueMap<V>, chunk: Chunk, grown: number, edit: number): DueMap<V> => {
  const { hot, cold, coldDue } = map
  const size = map.size + grown
  const isEmpty = chunk.bitmap === 0
  // The same chunk, changed in place.
  if (hot[0] === chunk && !isEmpty) return grown === 0 ? map : { size, hot, cold, coldDue }
  const next: Array<Chunk> = isEmpty ? [] : [chunk]
  for (let i = 0; i < hot.length; i++) if (hot[i]!.number !== chunk.number) next.push(hot[i]!)
  const wasHot = next.length === hot.length + (isEmpty ? -1 : 0)
  return wasHot ? { size, hot: next, cold, coldDue } : warmed(map, next, chunk.number, size, edit)
}

/** The chunk came from the trie, or is new. */
const warmed = <V>(map: DueMap<V>, hot: Array<Chunk>, number: number, size: number, edit: number): DueMap<V> => {
  let { cold, coldDue } = map
  const former = IntMap.get(cold, number)
  if (former !== undefined) {
    cold = IntMap.remove(cold, number, edit)
    coldDue = DueIndex.remove(coldDue, former.boundMs, number, edit)
  }
  const last = hot.length > hotMax ? hot.pop() : undefined
  if (last !== undefined) {
    cold = IntMap.set(cold, last.number, last, edit)
    coldDue = DueIndex.add(coldDue, last.boundMs, last.number, edit)
  }
  return { size, hot, cold, coldDue }
}

const eachOf = <V>(chunk: Chunk, visit: (value: V, key: number) => void): void => {
  let bits = chunk.bitmap
  for (const item of chunk.items) {
    // Chunks hold what `set` put there.
    visit(item as V, chunk.number * chunkSize + lowest(bits))
    bits &= bits - 1
  }
}
