/**
 * Persistent map from whole numbers (0 to 2^53 - 1) to values, ordered by key.
 *
 * A trie of 32-way branches over the bits of the key, with equal prefixes compressed: keys that lie close together
 * (sequences, milliseconds) cost one level for each factor of 32 in their spread, however large the numbers are.
 * An update copies one branch a level and shares the rest, so every older map stays as it was.
 *
 * Several updates in a row can share their copies: what they have in common is an `edit`, a number above 0 that no
 * branch of the first map carries yet. A branch that carries the edit was made by it, so it is changed in place.
 *
 * Laws: C1 it is the same as a sorted list of pairs. C2 an update leaves every older map unchanged, but for those made
 * by the same edit. C3 its shape depends on its content alone, not on the order of the updates.
 *
 * @module
 */
import { indexOf, lowest, withInserted, withRemoved } from "./slots.ts"

/**
 * Covers the keys `prefix` to `prefix + 32 << shift`, less one. Bit i of `bitmap` says that the i-th of the 32 parts
 * is there; `children` holds those that are, in order: values where `shift` is 0, else branches with at least two
 * children between them and the values.
 */
interface Branch {
  readonly prefix: number
  readonly shift: number
  bitmap: number
  children: Array<unknown>
  /** That made it; 0: none in particular. */
  readonly edit: number
}

export interface IntMap<out V> {
  readonly size: number
  readonly root: Branch | null
  /** Never present: ties the value type to the map. */
  readonly value?: V
}

const bitsPerLevel = 5
/** By shift: how many keys a branch covers. Doubles, because the upper levels lie beyond 32-bit arithmetic. */
const spanByShift: ReadonlyArray<number> = Array.from({ length: 51 }, (_, shift) => 2 ** (shift + bitsPerLevel))
/** The last shift whose slots can be computed in 32-bit arithmetic: its offsets are below 2^30. */
const intShiftMax = 25

const none: IntMap<never> = { size: 0, root: null }

export const empty = <V>(): IntMap<V> => none

export const get = <V>(map: IntMap<V>, key: number): V | undefined => {
  let branch = map.root
  while (branch !== null) {
    const offset = key - branch.prefix
    if (!covers(branch, offset)) return undefined
    const bit = 1 << slotOf(offset, branch.shift)
    if ((branch.bitmap & bit) === 0) return undefined
    const child = branch.children[indexOf(branch.bitmap, bit)]
    // The lowest level holds what `set` put there, and nothing but `set` builds one.
    if (branch.shift === 0) return child as V
    branch = child as Branch
  }
  return undefined
}

export const has = <V>(map: IntMap<V>, key: number): boolean => get(map, key) !== undefined

/** `value` must not be `undefined`: that means absent. `edit`: see the head. */
export const set = <V>(map: IntMap<V>, key: number, value: V, edit = 0): IntMap<V> => {
  if (map.root === null) return { size: 1, root: single(key, value, edit) }
  grown = 0
  const root = insert(map.root, key, value, edit)
  return { size: map.size + grown, root }
}

/** The same map when the key is not there. `edit`: see the head. */
export const remove = <V>(map: IntMap<V>, key: number, edit = 0): IntMap<V> => {
  if (map.root === null || get(map, key) === undefined) return map
  return { size: map.size - 1, root: without(map.root, key, edit) }
}

export const firstKey = <V>(map: IntMap<V>): number | undefined => {
  let branch = map.root
  if (branch === null) return undefined
  // Every child above the lowest level is a branch.
  while (branch.shift > 0) branch = branch.children[0] as Branch
  return branch.prefix + lowest(branch.bitmap)
}

export const lastKey = <V>(map: IntMap<V>): number | undefined => {
  let branch = map.root
  if (branch === null) return undefined
  // As above.
  while (branch.shift > 0) branch = branch.children[branch.children.length - 1] as Branch
  return branch.prefix + (31 - Math.clz32(branch.bitmap))
}

/** In the order of the keys. */
export const forEach = <V>(map: IntMap<V>, visit: (value: V, key: number) => void): void => {
  if (map.root !== null) walk(map.root, visit)
}

/** How many keys are smaller than `key`. Costs a look at each of them, 32 at a time. */
export const countBelow = <V>(map: IntMap<V>, key: number): number => (map.root === null ? 0 : below(map.root, key))

/** Keys in order. */
export const keys = <V>(map: IntMap<V>): ReadonlyArray<number> => {
  const found: Array<number> = []
  forEach(map, (_, key) => found.push(key))
  return found
}

/** Values in the order of their keys. */
export const values = <V>(map: IntMap<V>): ReadonlyArray<V> => {
  const found: Array<V> = []
  forEach(map, (value) => found.push(value))
  return found
}

// Whether the insert under way made the map larger. A second result of `insert` would cost an allocation a level; no
// other code runs between its reset and its use in `set`.
let grown = 0

const insert = (branch: Branch, key: number, value: unknown, edit: number): Branch => {
  const { prefix, shift, bitmap, children } = branch
  const offset = key - prefix
  if (!covers(branch, offset)) {
    grown = 1
    return join(branch, single(key, value, edit), edit)
  }
  const bit = 1 << slotOf(offset, shift)
  const index = indexOf(bitmap, bit)
  if ((bitmap & bit) === 0) {
    grown = 1
    const child = shift === 0 ? value : single(key, value, edit)
    return changed(branch, bitmap | bit, withInserted(children, index, child), edit)
  }
  if (shift === 0) return withChild(branch, index, value, edit)
  // Above the lowest level every child is a branch.
  const before = children[index] as Branch
  const after = insert(before, key, value, edit)
  return after === before ? branch : withChild(branch, index, after, edit)
}

/** The key must be there. `null`: nothing is left. */
const without = (branch: Branch, key: number, edit: number): Branch | null => {
  const { prefix, shift, bitmap, children } = branch
  const bit = 1 << slotOf(key - prefix, shift)
  const index = indexOf(bitmap, bit)
  if (shift > 0) {
    // Above the lowest level every child is a branch.
    const before = children[index] as Branch
    const after = without(before, key, edit)
    if (after === before) return branch
    if (after !== null) return withChild(branch, index, after, edit)
    // A branch with one child says nothing that the child does not say (C3).
    if (children.length === 2) return children[1 - index] as Branch
  } else if (children.length === 1) return null
  return changed(branch, bitmap & ~bit, withRemoved(children, index), edit)
}

/** The smallest branch over two that do not overlap. */
const join = (one: Branch, other: Branch, edit: number): Branch => {
  const [low, high] = one.prefix < other.prefix ? [one, other] : [other, one]
  let shift = Math.max(low.shift, high.shift) + bitsPerLevel
  while (startOf(low.prefix, shift) !== startOf(high.prefix, shift)) shift += bitsPerLevel
  const prefix = startOf(low.prefix, shift)
  const bitmap = (1 << slotOf(low.prefix - prefix, shift)) | (1 << slotOf(high.prefix - prefix, shift))
  return { prefix, shift, bitmap, children: [low, high], edit }
}

const single = (key: number, value: unknown, edit: number): Branch => {
  const prefix = startOf(key, 0)
  return { prefix, shift: 0, bitmap: 1 << (key - prefix), children: [value], edit }
}

const isOwn = (branch: Branch, edit: number): boolean => branch.edit === edit && edit !== 0

/** `children` is an array that nothing else holds. */
const changed = (branch: Branch, bitmap: number, children: Array<unknown>, edit: number): Branch => {
  if (!isOwn(branch, edit)) return { prefix: branch.prefix, shift: branch.shift, bitmap, children, edit }
  branch.bitmap = bitmap
  branch.children = children
  return branch
}

const withChild = (branch: Branch, index: number, child: unknown, edit: number): Branch => {
  if (isOwn(branch, edit)) {
    branch.children[index] = child
    return branch
  }
  const children = branch.children.slice()
  children[index] = child
  return { prefix: branch.prefix, shift: branch.shift, bitmap: branch.bitmap, children, edit }
}

const startOf = (key: number, shift: number): number => key - (key % spanOf(shift))

// `spanByShift` has every shift that a branch can have.
const spanOf = (shift: number): number => spanByShift[shift]!

const covers = (branch: Branch, offset: number): boolean => offset >= 0 && offset < spanOf(branch.shift)

const slotOf = (offset: number, shift: number): number =>
  shift <= intShiftMax ? offset >>> shift : Math.floor(offset / 2 ** shift)

const walk = <V>(branch: Branch, visit: (value: V, key: number) => void): void => {
  let bits = branch.bitmap
  for (const child of branch.children) {
    // As in `get`: values at the lowest level, branches above it.
    if (branch.shift > 0) walk(child as Branch, visit)
    else visit(child as V, branch.prefix + lowest(bits))
    bits &= bits - 1
  }
}

const below = (branch: Branch, key: number): number => {
  if (key <= branch.prefix) return 0
  const { shift, bitmap, children } = branch
  const offset = key - branch.prefix
  if (shift === 0) return offset >= 32 ? children.length : indexOf(bitmap, 1 << offset)
  // Above the lowest level every child is a branch.
  return children.reduce<number>((count, child) => count + below(child as Branch, key), 0)
}
