/**
 * The greatest value seen within a sliding window, as a stack of levels: a lower level is kept only if it was seen
 * later than every higher one.
 *
 * Laws: W1 `highest` is never below any value seen within the window. W2 it is at or below the greatest value within
 * the window unless levels were merged; merging never lowers it. W3 at most `levelsMax` levels are kept.
 *
 * @module
 */

export interface Level {
  readonly value: number
  /** When it was last seen. */
  readonly atMs: number
}

/** Strictly falling values, strictly rising times. */
export type Levels = ReadonlyArray<Level>

/** A ramp of ten thousand steps must not make each observation dearer; beyond this, the two lowest become one. */
export const levelsMax = 32

export const empty: Levels = []

/** `value` was seen at `nowMs`. Zero is not kept: nothing is below it. */
export const seen = (levels: Levels, value: number, nowMs: number): Levels => {
  if (value <= 0) return levels
  let higher = 0
  while (higher < levels.length && levels[higher]!.value > value) higher++
  // As long as it needs to be: every version keeps one, and what `push` grows has room for seventeen.
  const next = higher === 0 ? [{ value, atMs: nowMs }] : levels.slice(0, higher).concat({ value, atMs: nowMs })
  if (next.length <= levelsMax) return next
  // The value of the one and the time of the other: instances stay a little longer, never shorter.
  return [...next.slice(0, levelsMax - 1), { value: next[levelsMax - 1]!.value, atMs: nowMs }]
}

export const expire = (levels: Levels, nowMs: number, windowMs: number): Levels => {
  const first = levels[0]
  if (first === undefined || nowMs < first.atMs + windowMs) return levels
  return levels.filter((level) => nowMs < level.atMs + windowMs)
}

export const highest = (levels: Levels): Level | undefined => levels[0]
