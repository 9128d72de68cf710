/**
 * Arrays that hold only what is there of 32 slots, with a bitmap that says which: the building stone of `IntMap` and
 * `DueMap`.
 *
 * @module
 */

/** Where the item of the slot `bit` is, or would be. */
export const indexOf = (bitmap: number, bit: number): number => {
  let bits = bitmap & (bit - 1)
  bits -= (bits >>> 1) & 0x55555555
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333)
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}

/** Slot of the lowest bit that is set. */
export const lowest = (bitmap: number): number => 31 - Math.clz32(bitmap & -bitmap)

// Loops, because `push` on a copy would leave room for growth in each of a million arrays.
export const withInserted = (items: ReadonlyArray<unknown>, index: number, item: unknown): Array<unknown> => {
  const copy = new Array<unknown>(items.length + 1)
  for (let i = 0; i < index; i++) copy[i] = items[i]
  copy[index] = item
  for (let i = index; i < items.length; i++) copy[i + 1] = items[i]
  return copy
}

export const withRemoved = (items: ReadonlyArray<unknown>, index: number): Array<unknown> => {
  const copy = new Array<unknown>(items.length - 1)
  for (let i = 0; i < index; i++) copy[i] = items[i]
  for (let i = index + 1; i < items.length; i++) copy[i - 1] = items[i]
  return copy
}
