/**
 * Persistent index of what is due when: ids (whole numbers) by the millisecond at which something must be done.
 *
 * Exact: an id that is no longer due is taken out, so there is nothing stale in it and the first entry is the next
 * thing to do. Times are rounded up to whole milliseconds: never early, at most 1 ms late.
 *
 * @module
 */
import * as IntMap from "./IntMap.ts"

export type DueIndex = IntMap.IntMap<IntMap.IntMap<true>>

/** Not due at all: neither added nor removed. */
export const never = Number.POSITIVE_INFINITY

export const empty: DueIndex = IntMap.empty()

export const add = (index: DueIndex, atMs: number, id: number): DueIndex => {
  if (atMs === never) return index
  const key = keyOf(atMs)
  return IntMap.set(index, key, IntMap.set(IntMap.get(index, key) ?? IntMap.empty<true>(), id, true))
}

/** `atMs` must be the time that it was added with. */
export const remove = (index: DueIndex, atMs: number, id: number): DueIndex => {
  if (atMs === never) return index
  const key = keyOf(atMs)
  const ids = IntMap.get(index, key)
  if (ids === undefined) return index
  const left = IntMap.remove(ids, id)
  return left.size === 0 ? IntMap.remove(index, key) : IntMap.set(index, key, left)
}

/** The earliest time at which `due` gives something. */
export const nextMs = (index: DueIndex): number | undefined => IntMap.firstKey(index)

/** The ids of the earliest time, smallest first, if that time has come. */
export const due = (index: DueIndex, nowMs: number): ReadonlyArray<number> => {
  const first = IntMap.firstKey(index)
  if (first === undefined || first > nowMs) return nothing
  return IntMap.keys(IntMap.get(index, first) ?? IntMap.empty<true>())
}

const nothing: ReadonlyArray<number> = []

// A time before 0 or beyond the safe integers cannot be a key; both ends keep the order.
const keyOf = (atMs: number): number => Math.min(Math.max(Math.ceil(atMs), 0), Number.MAX_SAFE_INTEGER)
