/**
 * The offline optimum: the fewest instance-milliseconds with which the requests of one function can be served so that
 * none waits longer than a bound, by somebody who knows all of them in advance. The yardstick for policies.
 *
 * Dynamic programming over windows of time. A state is the number of instances and the work that is done; between two
 * windows instances may be added, each for the price of a start (it is held while it starts), or let go for nothing.
 * Of two ways to the same number of instances, the one that has done less and cost more is dropped.
 *
 * What it finds is a schedule, of work that is divisible (a request of 3 s may be done by three slots in one) and of starts
 * that take their typical time, so it is hardly above the true optimum: only whole windows can be held, which costs at
 * most two windows for each start, and where more than `waysMax` ways to a number of instances are left, some are given
 * up. (Merging them into ways that nobody can go, for a bound from below, does not do: the little that each merge gives
 * adds up over thousands of windows to a schedule that is nearly free.)
 *
 * Laws: O1 where no way is given up, never more than any run of the simulation that keeps the bound costs, but for those
 * two windows a start. O2 there a longer wait does not cost more. O3 without a price of starting and without waiting, it is
 * the work in flight, rounded up to instances, window by window. O4 whatever is given up, it can be done: it never costs
 * less than with all ways, and there is a schedule where there was one.
 *
 * @module
 */

export interface Job {
  readonly atMs: number
  readonly serviceMs: number
}

export interface Terms {
  /** What one start costs in instance-milliseconds. */
  readonly startMs: number
  readonly slots: number
  readonly minInstances: number
  readonly maxInstances: number
  /** No request waits longer. */
  readonly waitMs: number
  /** Length of a window; shorter is nearer to the truth and dearer. */
  readonly windowMs: number
  /** Ways that are kept to each number of instances, 1 at least; more is nearer to the truth and dearer. */
  readonly waysMax: number
}

/** One way to be where it is: what it cost, and how much work is done. */
interface Way {
  readonly cost: number
  readonly done: number
}

/** Instance-milliseconds; `undefined`: even `maxInstances` cannot keep the bound. `jobs` in any order. */
export const instanceMs = (jobs: ReadonlyArray<Job>, terms: Terms): number | undefined => {
  if (jobs.length === 0) return 0
  const { windowMs, slots } = terms
  const firstMs = jobs.reduce((least, job) => Math.min(least, job.atMs), Number.POSITIVE_INFINITY)
  const lastMs = jobs.reduce((most, job) => Math.max(most, job.atMs + terms.waitMs + job.serviceMs), 0)
  const windows = Math.max(1, Math.ceil((lastMs - firstMs) / windowMs))
  const possible = workAvailable(jobs, { fromMs: firstMs, windowMs, windows, delayMs: 0 })
  const required = workAvailable(jobs, { fromMs: firstMs, windowMs, windows, delayMs: terms.waitMs })
  const useful = instancesUseful(possible, windowMs * slots)
  const top = Math.min(terms.maxInstances, Math.max(terms.minInstances, useful))
  const bottom = Math.min(terms.minInstances, top)
  let fronts: Array<ReadonlyArray<Way>> = Array.from({ length: top + 1 }, (_, count) =>
    count < bottom ? [] : [{ cost: count * terms.startMs, done: 0 }]
  )
  for (let window = 1; window <= windows; window++) {
    const most = possible[window]!
    // A hair less, so that sums of doubles in another order do not count as too late.
    const least = required[window]! * (1 - 1e-9) - 1e-6
    fronts = change(
      fronts.map((ways, count) => {
        const cost = count * windowMs
        const work = count * windowMs * slots
        const next: Array<Way> = []
        for (const way of ways) {
          const done = Math.min(most, way.done + work)
          if (done >= least) next.push({ cost: way.cost + cost, done })
        }
        return next
      }),
      terms,
      bottom
    )
  }
  let best: number | undefined
  for (const ways of fronts) for (const way of ways) if (best === undefined || way.cost < best) best = way.cost
  return best
}

/** More than this could never be busy. */
const instancesUseful = (possible: Float64Array, workPerInstance: number): number => {
  let most = 1
  for (let window = 1; window < possible.length; window++) {
    most = Math.max(most, Math.ceil((possible[window]! - possible[window - 1]!) / workPerInstance - 1e-9))
  }
  return most
}

interface Grid {
  readonly fromMs: number
  readonly windowMs: number
  readonly windows: number
  /** Every request is looked at as if it came so much later. */
  readonly delayMs: number
}

/** Work, in request-milliseconds, that can be done by the end of each window if each request starts when it comes. */
const workAvailable = (jobs: ReadonlyArray<Job>, { fromMs, windowMs, windows, delayMs }: Grid): Float64Array => {
  // The rate of work changes by one where a request begins and ends: twice summed up, this is the work.
  const slopes = new Float64Array(windows + 2)
  const steps = new Float64Array(windows + 2)
  const bend = (atMs: number, by: number) => {
    const at = (atMs - fromMs) / windowMs
    const window = Math.min(windows + 1, Math.floor(at) + 1)
    if (window > windows) return
    // What is left of its own window, and all of the later ones.
    steps[window]! += by * (window - at) * windowMs
    slopes[window + 1]! += by * windowMs
  }
  for (const { atMs, serviceMs } of jobs) {
    bend(atMs + delayMs, 1)
    bend(atMs + delayMs + serviceMs, -1)
  }
  const work = new Float64Array(windows + 1)
  let slope = 0
  for (let window = 1; window <= windows; window++) {
    slope += slopes[window]!
    work[window] = work[window - 1]! + slope + steps[window]!
  }
  return work
}

/** Every number of instances may become every other one: fewer for nothing, more for the price of the starts. */
const change = (
  fronts: ReadonlyArray<ReadonlyArray<Way>>,
  { startMs, waysMax }: Terms,
  bottom: number
): Array<ReadonlyArray<Way>> => {
  const next: Array<ReadonlyArray<Way>> = fronts.slice()
  const improve = (count: number, by: number, price: number) => {
    next[count] = thinned(best(next[count]!, next[by]!, price), waysMax)
  }
  for (let count = next.length - 2; count >= bottom; count--) improve(count, count + 1, 0)
  for (let count = bottom + 1; count < next.length; count++) improve(count, count - 1, startMs)
  return next
}

/** Of both, what nothing else beats; the second at a price. Both, and the answer, in order of cost. */
const best = (own: ReadonlyArray<Way>, others: ReadonlyArray<Way>, price: number): ReadonlyArray<Way> => {
  const kept: Array<Way> = []
  let left = 0
  let right = 0
  let done = -1
  while (left < own.length || right < others.length) {
    const one = own[left]
    const other = others[right]
    const isOwn = other === undefined || (one !== undefined && one.cost <= other.cost + price)
    // One of the two is there, or the loop would have ended.
    const way = isOwn ? one! : { cost: other.cost + price, done: other.done }
    if (isOwn) left += 1
    else right += 1
    if (way.done <= done) continue
    done = way.done
    // As cheap and further than the one before it.
    if (kept.at(-1)?.cost === way.cost) kept.pop()
    kept.push(way)
  }
  return kept
}

/** Some of them, at even distances, from the furthest (whatever can be done in time still can) to the cheapest. */
const thinned = (ways: ReadonlyArray<Way>, waysMax: number): ReadonlyArray<Way> => {
  if (ways.length <= waysMax) return ways
  const last = ways.length - 1
  const step = last / Math.max(1, waysMax - 1)
  return Array.from({ length: waysMax }, (_, part) => ways[last - Math.floor(part * step)]!).reverse()
}
