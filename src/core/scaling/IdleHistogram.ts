/**
 * How long a version is idle between two busy times: counts in bins of one length, and how many times were longer than
 * all bins together.
 *
 * Laws: I1 `headMs` is at or below, `tailMs` at or above the percentile that it stands for, by less than a bin. I2
 * `variation` is the coefficient of variation of the bin counts, zeros included. I3 the number of bins is fixed.
 *
 * @module
 */

export interface IdleHistogram {
  readonly binMs: number
  readonly counts: ReadonlyArray<number>
  /** Idle times within the bins. */
  readonly withinCount: number
  readonly beyondCount: number
  /** Sum of the squares of the counts. */
  readonly squares: number
}

export const empty = (binMs: number, binCount: number): IdleHistogram => ({
  binMs,
  counts: new Array<number>(binCount).fill(0),
  withinCount: 0,
  beyondCount: 0,
  squares: 0
})

export const record = (histogram: IdleHistogram, idleMs: number): IdleHistogram => {
  const bin = Math.floor(idleMs / histogram.binMs)
  const count = histogram.counts[bin]
  if (count === undefined) return { ...histogram, beyondCount: histogram.beyondCount + 1 }
  return {
    ...histogram,
    counts: histogram.counts.with(bin, count + 1),
    withinCount: histogram.withinCount + 1,
    squares: histogram.squares + 2 * count + 1
  }
}

export const rangeMs = ({ binMs, counts }: IdleHistogram): number => binMs * counts.length

/** Standard deviation of the bin counts ÷ their mean; 0 of nothing. High = concentrated. */
export const variation = ({ counts, withinCount, squares }: IdleHistogram): number => {
  if (withinCount === 0) return 0
  // In whole numbers until the division: a threshold that is met exactly must not be missed by a rounding.
  const { length } = counts
  return Math.sqrt((length * squares - withinCount * withinCount) / (withinCount * withinCount))
}

/** The lower edge of the bin in which the percentile lies. */
export const headMs = (histogram: IdleHistogram, percentile: number): number =>
  binOf(histogram, percentile) * histogram.binMs

/** The upper edge of the bin in which the percentile lies. */
export const tailMs = (histogram: IdleHistogram, percentile: number): number =>
  (binOf(histogram, percentile) + 1) * histogram.binMs

/** By the nearest rank; of nothing, the last. */
const binOf = ({ counts, withinCount }: IdleHistogram, percentile: number): number => {
  const rank = Math.max(1, Math.ceil((percentile / 100) * withinCount))
  let below = 0
  for (let bin = 0; bin < counts.length; bin++) {
    below += counts[bin]!
    if (below >= rank) return bin
  }
  return counts.length - 1
}
