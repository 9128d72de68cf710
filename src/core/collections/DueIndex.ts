/**
 * Persistent index of what is due when: ids (whole numbers) by the millisecond at which something must be done.
 *
 * Exact: an id that is no longer due is taken out, so there is nothing stale in it and the first entry is the next
 * thing to do. Times are rounded up to whole milliseconds: never early, at most 1 ms late.
 *
 * @module
 */
import * as IntMap from "./IntMap.ts"
import * as IntSet from "./IntSet.ts"

export type DueIndex = IntMap.IntMap<IntSet.IntSet>

/** Not due at all: neither added nor removed. */
export const never = Number.POSITIVE_INFINITY

export const empty: DueIndex = IntMap.empty()

/** `edit`: see `IntMap`. */
export const add = (index: DueIndex, atMs: number, id: number, edit = 0): DueIndex => {
  if (atMs === never) return index
  const key = keyOf(atMs)
  return IntMap.set(index, key, IntSet.add(IntMap.get(index, key) ?? IntSet.empty, id, edit), edit)
}

/** `atMs` must be the time that it was added with. `edit`: see `IntMap`. */
export const remove = (index: DueIndex, atMs: number, id: number, edit = 0): DueIndex => {
  if (atMs === never) return index
  const key = keyOf(atMs)
  const ids = IntMap.get(index, key)
  if (ids === undefined) return index
  const left = IntSet.remove(ids, id, edit)
  return left.size === 0 ? IntMap.remove(index, key, edit) : IntMap.set(index, key, left, edit)
}

/** The earliest time at which `due` gives something. */
export const nextMs = (index: DueIndex): number | undefined => IntMap.firstKey(index)

/** The ids of the earliest time, smallest first, if that time has come. */
export const due = (index: DueIndex, nowMs: number): ReadonlyArray<number> => {
  const first = IntMap.firstKey(index)
  if (first === undefined || first > nowMs) return nothing
  return IntSet.toArray(IntMap.get(index, first) ?? IntSet.empty)
}

/** The ids of every time that has come. */
export const allDue = (index: DueIndex, nowMs: number): ReadonlyArray<number> => {
  const found: Array<number> = []
  let left = index
  for (let first = nextMs(left); first !== undefined && first <= nowMs; first = nextMs(left)) {
    found.push(...due(left, nowMs))
    left = IntMap.remove(left, first)
  }
  return found
}

const nothing: ReadonlyArray<number> = []

// A time before 0 or beyond the safe integers cannot be a key; both ends keep the order.
const keyOf = (atMs: number): number => Math.min(Math.max(Math.ceil(atMs), 0), Number.MAX_SAFE_INTEGER)
