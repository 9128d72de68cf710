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

/**
 * Covers the keys `prefix` to `prefix + 32 << shift`, less one. Bit i of `bitmap` says that slot i is taken: by a value
 * where `shift` is 0, else by a branch. All 32 slots are there, because copying a whole array costs less than making
 * one of another length.
 */
interface Branch {
  readonly prefix: number
  readonly shift: number
  bitmap: number
  readonly slots: Array<unknown>
  /** Values in it. */
  size: number
  /** That made it; 0: none in particular. */
  readonly edit: number
}

/** `null`: empty. `value` is never present: it ties the type of the values to the map. */
export type IntMap<V> = (Branch & { readonly value?: V }) | null

const bitsPerLevel = 5
/** By shift: how many keys a branch covers. Doubles, because the upper levels lie beyond 32-bit arithmetic. */
const spanByShift: ReadonlyArray<number> = Array.from({ length: 51 }, (_, shift) => 2 ** (shift + bitsPerLevel))
/** The last shift whose slots can be computed in 32-bit arithmetic: its offsets are below 2^30. */
const intShiftMax = 25

/** 32 free slots, to be copied. */
export const freeSlots: ReadonlyArray<unknown> = new Array<unknown>(32).fill(undefined)

export const empty = <V>(): IntMap<V> => null

export const size = <V>(map: IntMap<V>): number => (map === null ? 0 : map.size)

export const get = <V>(map: IntMap<V>, key: number): V | undefined => {
  let branch: Branch | null = map
  while (branch !== null) {
    const offset: number = key - branch.prefix
    if (!covers(branch, offset)) return undefined
    const child: unknown = branch.slots[slotOf(offset, branch.shift)]
    // The lowest level holds what `set` put there, the others hold branches; a free slot is undefined.
    if (branch.shift === 0 || child === undefined) return child as V | undefined
    branch = child as Branch
  }
  return undefined
}

export const has = <V>(map: IntMap<V>, key: number): boolean => get(map, key) !== undefined

/** `value` must not be `undefined`: that means absent. `edit`: see the head. */
export const set = <V>(map: IntMap<V>, key: number, value: V, edit = 0): IntMap<V> =>
  map === null ? single(key, value, edit) : insert(map, key, value, edit)

/** The same map when the key is not there. `edit`: see the head. */
export const remove = <V>(map: IntMap<V>, key: number, edit = 0): IntMap<V> =>
  map === null || get(map, key) === undefined ? map : without(map, key, edit)

export const firstKey = <V>(map: IntMap<V>): number | undefined => {
  if (map === null) return undefined
  let branch: Branch = map
  // Above the lowest level a taken slot holds a branch.
  while (branch.shift > 0) branch = branch.slots[lowest(branch.bitmap)] as Branch
  return branch.prefix + lowest(branch.bitmap)
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

const insert = (branch: Branch, key: number, value: unknown, edit: number): Branch => {
  const { prefix, shift } = branch
  const offset = key - prefix
  if (!covers(branch, offset)) return join(branch, single(key, value, edit), edit)
  const slot = slotOf(offset, shift)
  const before = branch.slots[slot]
  if (shift === 0) return withChild(branch, slot, value, before === undefined ? 1 : 0, edit)
  if (before === undefined) return withChild(branch, slot, single(key, value, edit), 1, edit)
  // Above the lowest level a taken slot holds a branch.
  const child = before as Branch
  const sizeBefore = child.size
  const after = insert(child, key, value, edit)
  return withChild(branch, slot, after, after.size - sizeBefore, edit)
}

/** The key must be there. `null`: nothing is left. */
const without = (branch: Branch, key: number, edit: number): Branch | null => {
  if (branch.size === 1) return null
  const { shift } = branch
  const slot = slotOf(key - branch.prefix, shift)
  if (shift === 0) return withChild(branch, slot, undefined, -1, edit)
  // Above the lowest level a taken slot holds a branch.
  const after = without(branch.slots[slot] as Branch, key, edit)
  if (after !== null) return withChild(branch, slot, after, -1, edit)
  const others = branch.bitmap & ~(1 << slot)
  // A branch with one child says nothing that the child does not say (C3).
  if ((others & (others - 1)) === 0) return branch.slots[lowest(others)] as Branch
  return withChild(branch, slot, undefined, -1, edit)
}

/** The smallest branch over two that do not overlap. */
const join = (one: Branch, other: Branch, edit: number): Branch => {
  let shift = Math.max(one.shift, other.shift) + bitsPerLevel
  while (startOf(one.prefix, shift) !== startOf(other.prefix, shift)) shift += bitsPerLevel
  const prefix = startOf(one.prefix, shift)
  const slots = freeSlots.slice()
  const [slot, otherSlot] = [slotOf(one.prefix - prefix, shift), slotOf(other.prefix - prefix, shift)]
  slots[slot] = one
  slots[otherSlot] = other
  return { prefix, shift, bitmap: (1 << slot) | (1 << otherSlot), slots, size: one.size + other.size, edit }
}

const single = (key: number, value: unknown, edit: number): Branch => {
  const prefix = startOf(key, 0)
  const slots = freeSlots.slice()
  slots[key - prefix] = value
  return { prefix, shift: 0, bitmap: 1 << (key - prefix), slots, size: 1, edit }
}

/** `undefined` frees the slot. */
const withChild = (branch: Branch, slot: number, child: unknown, grown: number, edit: number): Branch => {
  const bit = 1 << slot
  const bitmap = child === undefined ? branch.bitmap & ~bit : branch.bitmap | bit
  if (branch.edit === edit && edit !== 0) {
    branch.slots[slot] = child
    branch.bitmap = bitmap
    branch.size += grown
    return branch
  }
  const slots = branch.slots.slice()
  slots[slot] = child
  return { prefix: branch.prefix, shift: branch.shift, bitmap, slots, size: branch.size + grown, edit }
}

// `spanByShift` has every shift that a branch can have.
const spanOf = (shift: number): number => spanByShift[shift]!

const startOf = (key: number, shift: number): number => key - (key % spanOf(shift))

const covers = (branch: Branch, offset: number): boolean => offset >= 0 && offset < spanOf(branch.shift)

const slotOf = (offset: number, shift: number): number =>
  shift <= intShiftMax ? offset >>> shift : Math.floor(offset / 2 ** shift)

const walk = <V>(branch: Branch, visit: (value: V, key: number) => void): void => {
  for (let bits = branch.bitmap; bits !== 0; bits &= bits - 1) {
    const slot = lowest(bits)
    const child = branch.slots[slot]
    // As in `get`: values at the lowest level, branches above it.
    if (branch.shift > 0) walk(child as Branch, visit)
    else visit(child as V, branch.prefix + slot)
  }
}
