/**
 * Persistent map from whole numbers (0 to 2^53 - 1) to values, ordered by key.
 *
 * A trie of 32-way branches over the bits of the key, with equal prefixes compressed: keys that lie close together
 * (sequences, milliseconds) cost one level for each factor of 32 in their spread, however large the numbers are.
 * An update copies one branch a level and shares the rest, so every older map stays as it was.
 *
 * Laws: C1 it is the same as a sorted list of pairs. C2 an update leaves every older map unchanged.
 * C3 its shape depends on its content alone, not on the order of the updates.
 *
 * @module
 */

/**
 * Covers the keys `prefix` to `prefix + 32 << shift`, less one. Bit i of `bitmap` says that the i-th of the 32 parts
 * is there; `children` holds those that are, in order: values where `shift` is 0, else branches with at least two
 * children between them and the values.
 */
interface Branch {
  readonly prefix: number
  readonly shift: number
  readonly bitmap: number
  readonly children: ReadonlyArray<unknown>
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

/** `value` must not be `undefined`: that means absent. */
export const set = <V>(map: IntMap<V>, key: number, value: V): IntMap<V> => {
  if (map.root === null) return { size: 1, root: lowest(key, value) }
  grown = 0
  const root = insert(map.root, key, value)
  return { size: map.size + grown, root }
}

/** The same map when the key is not there. */
export const remove = <V>(map: IntMap<V>, key: number): IntMap<V> => {
  if (map.root === null) return map
  const root = without(map.root, key)
  return root === map.root ? map : { size: map.size - 1, root }
}

export const firstKey = <V>(map: IntMap<V>): number | undefined => {
  let branch = map.root
  if (branch === null) return undefined
  // Every child above the lowest level is a branch.
  while (branch.shift > 0) branch = branch.children[0] as Branch
  return branch.prefix + (31 - Math.clz32(branch.bitmap & -branch.bitmap))
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

const insert = (branch: Branch, key: number, value: unknown): Branch => {
  const { prefix, shift, bitmap, children } = branch
  const offset = key - prefix
  if (!covers(branch, offset)) {
    grown = 1
    return join(branch, lowest(key, value))
  }
  const bit = 1 << slotOf(offset, shift)
  const index = indexOf(bitmap, bit)
  if ((bitmap & bit) === 0) {
    grown = 1
    const child = shift === 0 ? value : lowest(key, value)
    return { prefix, shift, bitmap: bitmap | bit, children: withInserted(children, index, child) }
  }
  // Above the lowest level every child is a branch.
  const child = shift === 0 ? value : insert(children[index] as Branch, key, value)
  return { prefix, shift, bitmap, children: withReplaced(children, index, child) }
}

/** `null`: nothing is left. The same branch: the key is not there. */
const without = (branch: Branch, key: number): Branch | null => {
  const { prefix, shift, bitmap, children } = branch
  const offset = key - prefix
  if (!covers(branch, offset)) return branch
  const bit = 1 << slotOf(offset, shift)
  if ((bitmap & bit) === 0) return branch
  const index = indexOf(bitmap, bit)
  if (shift > 0) {
    // Above the lowest level every child is a branch.
    const child = children[index] as Branch
    const left = without(child, key)
    if (left === child) return branch
    if (left !== null) return { prefix, shift, bitmap, children: withReplaced(children, index, left) }
    // A branch with one child says nothing that the child does not say (C3).
    if (children.length === 2) return children[1 - index] as Branch
  } else if (children.length === 1) return null
  return { prefix, shift, bitmap: bitmap & ~bit, children: withRemoved(children, index) }
}

/** The smallest branch over two that do not overlap. */
const join = (one: Branch, other: Branch): Branch => {
  const [low, high] = one.prefix < other.prefix ? [one, other] : [other, one]
  let shift = Math.max(low.shift, high.shift) + bitsPerLevel
  while (startOf(low.prefix, shift) !== startOf(high.prefix, shift)) shift += bitsPerLevel
  const prefix = startOf(low.prefix, shift)
  const bitmap = (1 << slotOf(low.prefix - prefix, shift)) | (1 << slotOf(high.prefix - prefix, shift))
  return { prefix, shift, bitmap, children: [low, high] }
}

const lowest = (key: number, value: unknown): Branch => {
  const prefix = startOf(key, 0)
  return { prefix, shift: 0, bitmap: 1 << (key - prefix), children: [value] }
}

const startOf = (key: number, shift: number): number => key - (key % (spanByShift[shift] ?? Number.POSITIVE_INFINITY))

const covers = (branch: Branch, offset: number): boolean =>
  offset >= 0 && offset < (spanByShift[branch.shift] ?? Number.POSITIVE_INFINITY)

const slotOf = (offset: number, shift: number): number =>
  shift <= intShiftMax ? offset >>> shift : Math.floor(offset / 2 ** shift)

/** Where the child of `bit` is, or would be. */
const indexOf = (bitmap: number, bit: number): number => {
  let bits = bitmap & (bit - 1)
  bits -= (bits >>> 1) & 0x55555555
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333)
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}

const withReplaced = (children: ReadonlyArray<unknown>, index: number, child: unknown): ReadonlyArray<unknown> => {
  const copy = children.slice()
  copy[index] = child
  return copy
}

// Loops, because `push` on a copy would leave room for growth in each of a million arrays.
const withInserted = (children: ReadonlyArray<unknown>, index: number, child: unknown): ReadonlyArray<unknown> => {
  const copy = new Array<unknown>(children.length + 1)
  for (let i = 0; i < index; i++) copy[i] = children[i]
  copy[index] = child
  for (let i = index; i < children.length; i++) copy[i + 1] = children[i]
  return copy
}

const withRemoved = (children: ReadonlyArray<unknown>, index: number): ReadonlyArray<unknown> => {
  const copy = new Array<unknown>(children.length - 1)
  for (let i = 0; i < index; i++) copy[i] = children[i]
  for (let i = index + 1; i < children.length; i++) copy[i - 1] = children[i]
  return copy
}

const walk = <V>(branch: Branch, visit: (value: V, key: number) => void): void => {
  let bits = branch.bitmap
  for (const child of branch.children) {
    // As in `get`: values at the lowest level, branches above it.
    if (branch.shift > 0) walk(child as Branch, visit)
    else visit(child as V, branch.prefix + (31 - Math.clz32(bits & -bits)))
    bits &= bits - 1
  }
}

const below = (branch: Branch, key: number): number => {
  if (key <= branch.prefix) return 0
  let count = 0
  let bits = branch.bitmap
  if (branch.shift === 0) {
    const offset = key - branch.prefix
    return offset >= 32 ? branch.children.length : indexOf(bits, 1 << offset)
  }
  // Above the lowest level every child is a branch.
  for (const child of branch.children) {
    count += below(child as Branch, key)
    bits &= bits - 1
  }
  return count
}
