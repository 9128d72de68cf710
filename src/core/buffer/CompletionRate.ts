/**
 * How fast something completes, from the counts of the last one to two windows: cheap to keep, and it follows a
 * scale-up within seconds. `edit`: as in `IntMap`.
 *
 * @module
 */
export interface CompletionRate {
  readonly previousStartMs: number
  readonly previousCount: number
  readonly startMs: number
  count: number
  readonly edit: number
}

/** Long enough for a rate of one a second, short enough to follow a scale-up. */
const windowMs = 5_000

/** The one place where rates are made: for the engine, a literal with a constant in it is another kind of object. */
const rateOf = (
  previousStartMs: number,
  previousCount: number,
  startMs: number,
  count: number,
  edit: number
): CompletionRate => ({ previousStartMs, previousCount, startMs, count, edit })

export const none: CompletionRate = rateOf(0, 0, 0, 0, 0)

/** One more. */
export const add = (rate: CompletionRate, nowMs: number, edit = 0): CompletionRate => {
  const { previousStartMs, previousCount, startMs, count } = rate
  if (nowMs - startMs >= windowMs) return rateOf(startMs, count, nowMs, 1, edit)
  if (rate.edit !== edit || edit === 0) return rateOf(previousStartMs, previousCount, startMs, count + 1, edit)
  rate.count += 1
  return rate
}

/** Completions per ms; `undefined`: none lately, so nothing is known. */
export const perMs = (rate: CompletionRate, nowMs: number): number | undefined => {
  if (nowMs - rate.startMs > 2 * windowMs) return undefined
  // A previous window that ended long ago says nothing about now.
  const isPreviousRecent = rate.startMs - rate.previousStartMs < 2 * windowMs && rate.previousCount > 0
  const count = rate.count + (isPreviousRecent ? rate.previousCount : 0)
  const elapsedMs = nowMs - (isPreviousRecent ? rate.previousStartMs : rate.startMs)
  return count > 0 && elapsedMs > 0 ? count / elapsedMs : undefined
}
