/**
 * Numbers that look random and come again with the same seed (mulberry32).
 *
 * @module
 */
export interface Random {
  /** From 0 up to, not including, 1. */
  readonly next: () => number
  /** Whole, from 0 up to, not including, `end`. */
  readonly below: (end: number) => number
  readonly pick: <A>(values: ReadonlyArray<A>) => A | undefined
  readonly chance: (share: number) => boolean
}

export const make = (seed: number): Random => {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  const below = (end: number) => Math.floor(next() * end)
  return { next, below, pick: (values) => values[below(values.length)], chance: (share) => next() < share }
}
