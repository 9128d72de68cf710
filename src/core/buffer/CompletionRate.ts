/**
 * How fast something completes, from the counts of the last one to two windows: cheap to keep, and it follows a
 * scale-up within seconds.
 *
 * @module
 */
export interface CompletionRate {
  readonly previousStartMs: number
  readonly previousCount: number
  readonly startMs: number
  readonly count: number
}

/** Long enough for a rate of one a second, short enough to follow a scale-up. */
const windowMs = 5_000

const rateOf = (previousStartMs: number, previousCount: number, startMs: number, count: number): CompletionRate => ({
  previousStartMs,
  previousCount,
  startMs,
  count
})

export const none: CompletionRate = rateOf(0, 0, 0, 0)

/** One more. */
export const add = (rate: CompletionRate, nowMs: number): CompletionRate => {
  const { previousStartMs, previousCount, startMs, count } = rate
  return nowMs - startMs < windowMs
    ? rateOf(previousStartMs, previousCount, startMs, count + 1)
    : rateOf(startMs, count, nowMs, 1)
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
