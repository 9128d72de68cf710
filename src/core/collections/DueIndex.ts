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

/** By the upper and by the lower half of the time, because both are small numbers; see `IntMap`. */
export type DueIndex = IntMap.IntMap<Span>

type Span = IntMap.IntMap<IntSet.IntSet>

/** Not due at all: neither added nor removed. */
export const never = Number.POSITIVE_INFINITY

export const empty: DueIndex = IntMap.empty()

/** `edit`: see `IntMap`. */
export const add = (index: DueIndex, atMs: number, id: number, edit = 0): DueIndex => {
  if (atMs === never) return index
  const key = keyOf(atMs)
  const number = spanOf(key)
  const offset = key - number * spanMs
  const span = IntMap.get(index, number) ?? null
  const ids = IntSet.add(IntMap.get(span, offset) ?? IntSet.empty, id, edit)
  return IntMap.set(index, number, IntMap.set(span, offset, ids, edit), edit)
}

/** `atMs` must be the time that it was added with. `edit`: see `IntMap`. */
export const remove = (index: DueIndex, atMs: number, id: number, edit = 0): DueIndex => {
  if (atMs === never) return index
  const key = keyOf(atMs)
  const number = spanOf(key)
  const offset = key - number * spanMs
  const span = IntMap.get(index, number) ?? null
  const ids = IntMap.get(span, offset)
  if (ids === undefined) return index
  const left = IntSet.remove(ids, id, edit)
  return left.size === 0
    ? withSpan(index, number, IntMap.remove(span, offset, edit), edit)
    : withSpan(index, number, IntMap.set(span, offset, left, edit), edit)
}

/** The earliest time at which `due` gives something. */
export const nextMs = (index: DueIndex): number | undefined => {
  const number = IntMap.firstKey(index)
  return number === undefined ? undefined : number * spanMs + firstOf(index, number)
}

/** The ids of the earliest time, smallest first, if that time has come. */
export const due = (index: DueIndex, nowMs: number): ReadonlyArray<number> => {
  const first = nextMs(index)
  if (first === undefined || first > nowMs) return nothing
  const number = spanOf(first)
  // `nextMs` found them there.
  return IntSet.toArray(IntMap.get(IntMap.get(index, number)!, first - number * spanMs)!)
}

/** The ids of every time that has come. */
export const allDue = (index: DueIndex, nowMs: number): ReadonlyArray<number> => {
  const found: Array<number> = []
  let left = index
  for (let first = nextMs(left); first !== undefined && first <= nowMs; first = nextMs(left)) {
    for (const id of due(left, nowMs)) found.push(id)
    const number = spanOf(first)
    left = withSpan(left, number, IntMap.remove(IntMap.get(left, number)!, first - number * spanMs))
  }
  return found
}

/** Every time and its ids. */
export const forEach = (index: DueIndex, visit: (ids: IntSet.IntSet, atMs: number) => void): void =>
  IntMap.forEach(index, (span, number) => IntMap.forEach(span, (ids, offset) => visit(ids, number * spanMs + offset)))

const nothing: ReadonlyArray<number> = []

// A time before 0 or beyond the safe integers cannot be a key; both ends keep the order.
const keyOf = (atMs: number): number => Math.min(Math.max(Math.ceil(atMs), 0), Number.MAX_SAFE_INTEGER)

/** About twelve days, so that both halves of a time of this millennium are below 2^31. */
const spanMs = 2 ** 30

const spanOf = (key: number): number => Math.floor(key / spanMs)

/** A span without times is not in the index. */
const withSpan = (index: DueIndex, number: number, span: Span, edit = 0): DueIndex =>
  span === null ? IntMap.remove(index, number, edit) : IntMap.set(index, number, span, edit)

/** `number`: of a span that is in the index, which is never without times. */
const firstOf = (index: DueIndex, number: number): number => IntMap.firstKey(IntMap.get(index, number)!)!
