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
 * Keys from 2^31 are right but slow: the engine holds larger numbers in objects of their own, from then on for every map.
 * Who has such keys splits them; see `DueIndex`.
 *
 * Laws: C1 it is the same as a sorted list of pairs. C2 an update leaves every older map unchanged, but for those made
 * by the same edit. C3 its shape depends on its content alone, not on the order of the updates.
 *
 * @module
 */

/**
 * Covers the keys `prefix` to `prefix + 32 << shift`, less one. Bit i of `bitmap` says that slot i is taken: by a value
 * where `shift` is 0, else by a branch. `taken` has what is in the taken slots, in their order: most maps are small,
 * and what an update costs is what it copies.
 *
 * A class, though plain data: of what a literal makes, the engine learns from the first thousands whether it lives long,
 * and then puts all of it where only a whole collection frees it. A backlog that fills up teaches it wrongly: every copy
 * that a step made became old garbage, which held the young garbage that it referred to. Its fields are only declared, so
 * that they are not first set to `undefined`.
 */
class Branch {
  declare readonly prefix: number
  declare readonly shift: number
  declare bitmap: number
  declare readonly taken: Array<unknown>
  /** Values in it. */
  declare size: number
  /** That made it; 0: none in particular. */
  declare readonly edit: number

  constructor(prefix: number, shift: number, bitmap: number, taken: Array<unknown>, size: number, edit: number) {
    this.prefix = prefix
    this.shift = shift
    this.bitmap = bitmap
    this.taken = taken
    this.size = size
    this.edit = edit
  }
}

/** `null`: empty. `value` is never present: it ties the type of the values to the map. */
export type IntMap<V> = (Branch & { readonly value?: V }) | null

const bitsPerLevel = 5
/** By shift: how many keys a branch covers. Doubles, because the upper levels lie beyond 32-bit arithmetic. */
const spanByShift: ReadonlyArray<number> = Array.from({ length: 51 }, (_, shift) => 2 ** (shift + bitsPerLevel))
/** The last shift whose slots can be computed in 32-bit arithmetic: its offsets are below 2^30. */
const intShiftMax = 25

/**
 * By length: arrays to be copied. All arrays of a program that are copies of copies of these have one kind of elements
 * for the engine, whatever is in them; literals would have several, and every access would have to tell them apart.
 */
const blanks: ReadonlyArray<ReadonlyArray<unknown>> = Array.from({ length: 33 }, (_, length) =>
  new Array<unknown>(length).fill(undefined)
)

/** `length`: 0 to 32. */
export const blank = (length: number): Array<unknown> => blanks[length]!.slice()

export const empty = <V>(): IntMap<V> => null

export const size = <V>(map: IntMap<V>): number => (map === null ? 0 : map.size)

export const get = <V>(map: IntMap<V>, key: number): V | undefined => {
  let branch: Branch | null = map
  while (branch !== null) {
    const offset: number = key - branch.prefix
    if (!covers(branch, offset)) return undefined
    const slot = slotOf(offset, branch.shift)
    const { bitmap } = branch
    if (((bitmap >>> slot) & 1) === 0) return undefined
    const child: unknown = branch.taken[indexOfTaken(bitmap, slot)]
    // The lowest level holds what `set` put there, the others hold branches.
    if (branch.shift === 0) return child as V
    branch = child as Branch
  }
  return undefined
}

export const has = <V>(map: IntMap<V>, key: number): boolean => get(map, key) !== undefined

/** `value` must not be `undefined`: that means absent. `edit`: see the head. */
export const set = <V>(map: IntMap<V>, key: number, value: V, edit = 0): IntMap<V> =>
  map === null ? single(key, value, edit) : insert(map, key, value, edit)

/** Another value for a key that is there; the same map when it is not. `edit`: see the head. */
export const replace = <V>(map: IntMap<V>, key: number, value: V, edit = 0): IntMap<V> =>
  map === null ? map : replaceIn(map, key, value, edit)

/** The same map when the key is not there. `edit`: see the head. */
export const remove = <V>(map: IntMap<V>, key: number, edit = 0): IntMap<V> =>
  map === null || get(map, key) === undefined ? map : without(map, key, edit)

export const firstKey = <V>(map: IntMap<V>): number | undefined => {
  if (map === null) return undefined
  let branch: Branch = map
  // Above the lowest level a taken slot holds a branch.
  while (branch.shift > 0) branch = branch.taken[0] as Branch
  return branch.prefix + lowest(branch.bitmap)
}

/** Value of the first key. */
export const first = <V>(map: IntMap<V>): V | undefined => {
  if (map === null) return undefined
  let branch: Branch = map
  // Above the lowest level there are branches, and there the values that `set` put there.
  while (branch.shift > 0) branch = branch.taken[0] as Branch
  return branch.taken[0] as V
}

/** In the order of the keys. */
export const forEach = <V>(map: IntMap<V>, visit: (value: V, key: number) => void): void => {
  if (map !== null) walk(map, visit)
}

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

/** Slot of the lowest bit that is set. */
export const lowest = (bitmap: number): number => 31 - Math.clz32(bitmap & -bitmap)

/** How many of 32 bits are set. */
export const ones = (bits: number): number => {
  const pairs = bits - ((bits >>> 1) & 0x55555555)
  const nibbles = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333)
  return Math.imul((nibbles + (nibbles >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}

/** Of a slot's content among the taken ones. */
const indexOf = (bitmap: number, slot: number): number => ones(bitmap & ((1 << slot) - 1))

/** The same of a slot that is taken: mostly none before it is free, and then nothing is to be counted. */
const indexOfTaken = (bitmap: number, slot: number): number =>
  (bitmap & (bitmap + 1)) === 0 ? slot : indexOf(bitmap, slot)

const insert = (branch: Branch, key: number, value: unknown, edit: number): Branch => {
  const { prefix, shift, bitmap, taken } = branch
  const offset = key - prefix
  if (!covers(branch, offset)) return join(branch, single(key, value, edit), edit)
  const slot = slotOf(offset, shift)
  const index = indexOf(bitmap, slot)
  const isFree = ((bitmap >>> slot) & 1) === 0
  if (shift === 0) return isFree ? withMore(branch, slot, index, value, edit) : withOther(branch, index, value, 0, edit)
  if (isFree) return withMore(branch, slot, index, single(key, value, edit), edit)
  // Above the lowest level a taken slot holds a branch.
  const child = taken[index] as Branch
  const sizeBefore = child.size
  const after = insert(child, key, value, edit)
  return withOther(branch, index, after, after.size - sizeBefore, edit)
}

const replaceIn = (branch: Branch, key: number, value: unknown, edit: number): Branch => {
  const { shift, bitmap, taken } = branch
  const offset = key - branch.prefix
  if (!covers(branch, offset)) return branch
  const slot = slotOf(offset, shift)
  if (((bitmap >>> slot) & 1) === 0) return branch
  const index = indexOf(bitmap, slot)
  if (shift === 0) return withOther(branch, index, value, 0, edit)
  // Above the lowest level a taken slot holds a branch.
  const child = taken[index] as Branch
  const after = replaceIn(child, key, value, edit)
  return after === child ? branch : withOther(branch, index, after, 0, edit)
}

/** The key must be there. `null`: nothing is left. */
const without = (branch: Branch, key: number, edit: number): Branch | null => {
  if (branch.size === 1) return null
  const { shift, bitmap, taken } = branch
  const slot = slotOf(key - branch.prefix, shift)
  const index = indexOf(bitmap, slot)
  if (shift === 0) return withLess(branch, slot, index, edit)
  // Above the lowest level a taken slot holds a branch.
  const after = without(taken[index] as Branch, key, edit)
  if (after !== null) return withOther(branch, index, after, -1, edit)
  // A branch with one child says nothing that the child does not say (C3).
  if (taken.length === 2) return taken[1 - index] as Branch
  return withLess(branch, slot, index, edit)
}

/** The smallest branch over two that do not overlap. */
const join = (one: Branch, other: Branch, edit: number): Branch => {
  let shift = Math.max(one.shift, other.shift) + bitsPerLevel
  while (startOf(one.prefix, shift) !== startOf(other.prefix, shift)) shift += bitsPerLevel
  const prefix = startOf(one.prefix, shift)
  const taken = blank(2)
  const isInOrder = one.prefix < other.prefix
  taken[0] = isInOrder ? one : other
  taken[1] = isInOrder ? other : one
  const bitmap = (1 << slotOf(one.prefix - prefix, shift)) | (1 << slotOf(other.prefix - prefix, shift))
  return new Branch(prefix, shift, bitmap, taken, one.size + other.size, edit)
}

const single = (key: number, value: unknown, edit: number): Branch => {
  const prefix = startOf(key, 0)
  const taken = blank(1)
  taken[0] = value
  return new Branch(prefix, 0, 1 << (key - prefix), taken, 1, edit)
}

const isOwn = (branch: Branch, edit: number): boolean => branch.edit === edit && edit !== 0

/** With another content in a taken slot. */
const withOther = (branch: Branch, index: number, content: unknown, grown: number, edit: number): Branch => {
  if (isOwn(branch, edit)) {
    branch.taken[index] = content
    branch.size += grown
    return branch
  }
  const taken = branch.taken.slice()
  taken[index] = content
  return new Branch(branch.prefix, branch.shift, branch.bitmap, taken, branch.size + grown, edit)
}

/** With one value more, in a slot that is free. */
const withMore = (branch: Branch, slot: number, index: number, content: unknown, edit: number): Branch => {
  const { prefix, shift, bitmap, taken: before, size } = branch
  const after = bitmap | (1 << slot)
  if (isOwn(branch, edit)) {
    before.push(content)
    for (let i = before.length - 1; i > index; i--) before[i] = before[i - 1]
    before[index] = content
    branch.bitmap = after
    branch.size += 1
    return branch
  }
  const taken = blank(before.length + 1)
  for (let i = 0; i < index; i++) taken[i] = before[i]
  taken[index] = content
  for (let i = index; i < before.length; i++) taken[i + 1] = before[i]
  return new Branch(prefix, shift, after, taken, size + 1, edit)
}

/** With one value less and that slot free. */
const withLess = (branch: Branch, slot: number, index: number, edit: number): Branch => {
  const { prefix, shift, bitmap, taken: before, size } = branch
  const after = bitmap & ~(1 << slot)
  if (isOwn(branch, edit)) {
    for (let i = index + 1; i < before.length; i++) before[i - 1] = before[i]
    before.pop()
    branch.bitmap = after
    branch.size -= 1
    return branch
  }
  const taken = blank(before.length - 1)
  for (let i = 0; i < index; i++) taken[i] = before[i]
  for (let i = index + 1; i < before.length; i++) taken[i - 1] = before[i]
  return new Branch(prefix, shift, after, taken, size - 1, edit)
}

// `spanByShift` has every shift that a branch can have.
const spanOf = (shift: number): number => spanByShift[shift]!

/** In 32-bit arithmetic where that is possible, because the engine keeps what comes out of a division as a double. */
const startOf = (key: number, shift: number): number =>
  key <= 0x7fffffff && shift <= intShiftMax ? key & (-1 << (shift + bitsPerLevel)) : key - (key % spanOf(shift))

const covers = (branch: Branch, offset: number): boolean => offset >= 0 && offset < spanOf(branch.shift)

const slotOf = (offset: number, shift: number): number =>
  shift <= intShiftMax ? offset >>> shift : Math.floor(offset / 2 ** shift)

const walk = <V>(branch: Branch, visit: (value: V, key: number) => void): void => {
  let index = 0
  for (let bits = branch.bitmap; bits !== 0; bits &= bits - 1) {
    const child = branch.taken[index++]
    // As in `get`: values at the lowest level, branches above it.
    if (branch.shift > 0) walk(child as Branch, visit)
    else visit(child as V, branch.prefix + lowest(bits))
  }
}
