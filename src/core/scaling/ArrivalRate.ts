/**
 * What Little's law expects of the arrivals of the last two seconds: sustained rate times mean time in service.
 *
 * Both factors are lower bounds, so that the product never asks for more than the load will hold:
 * - The rate is that of the quietest of the last four half-seconds. A burst is not a rate: it leaves three of them empty.
 * - The mean time counts requests still in service as if they ended now.
 *
 * Laws: R1 a burst within one half-second is expected to bring nothing. R2 under a constant load with constant service
 * time the expectation does not exceed the load's true concurrency.
 *
 * @module
 */

export const bucketMs = 500
const bucketsKept = 4
/** Past service times count half after about 40 s. */
const memoryMs = 60_000

export interface ArrivalRate {
  readonly atMs: number
  readonly arrivalsTotal: number
  readonly inSystem: number
  readonly leased: number
  readonly bucket: number
  readonly bucketArrivals: number
  /** Whole buckets before the present one, newest first. */
  readonly recent: ReadonlyArray<number>
  /** Decayed sums: request-milliseconds in service, and requests that ended. */
  readonly serviceMs: number
  readonly completions: number
}

export interface Sample {
  readonly nowMs: number
  readonly arrivalsTotal: number
  readonly pending: number
  readonly leased: number
}

export const first = (sample: Sample): ArrivalRate => ({
  atMs: sample.nowMs,
  arrivalsTotal: sample.arrivalsTotal,
  inSystem: sample.pending + sample.leased,
  leased: sample.leased,
  bucket: Math.floor(sample.nowMs / bucketMs),
  bucketArrivals: 0,
  recent: [],
  serviceMs: 0,
  completions: 0
})

/** The next sample, and how many requests arrived since the one before. */
export const observe = (rate: ArrivalRate, sample: Sample): readonly [ArrivalRate, number] => {
  // A counter that fell began anew in another process: what it counted before is already in.
  const arrived = Math.max(0, sample.arrivalsTotal - rate.arrivalsTotal)
  const elapsedMs = Math.max(0, sample.nowMs - rate.atMs)
  const inSystem = sample.pending + sample.leased
  const kept = elapsedMs === 0 ? 1 : Math.exp(-elapsedMs / memoryMs)
  const bucket = Math.max(rate.bucket, Math.floor(sample.nowMs / bucketMs))
  const moved = bucket - rate.bucket
  const recent = moved === 0 ? rate.recent : shifted(rate, moved)
  const next: ArrivalRate = {
    atMs: Math.max(rate.atMs, sample.nowMs),
    arrivalsTotal: sample.arrivalsTotal,
    inSystem,
    leased: sample.leased,
    bucket,
    bucketArrivals: (moved === 0 ? rate.bucketArrivals : 0) + arrived,
    recent,
    // Service within the interval is forgotten as fast as what was before it, so that more looks sum to the same.
    serviceMs: rate.serviceMs * kept + rate.leased * memoryMs * (1 - kept),
    completions: rate.completions * kept + Math.max(0, arrived - (inSystem - rate.inSystem))
  }
  return [next, arrived]
}

/** The buckets before the present one, when it is `moved` later than it was. */
const shifted = ({ recent, bucketArrivals }: ArrivalRate, moved: number): ReadonlyArray<number> => {
  // Most versions are looked at seldom: nothing of what was is left then.
  if (moved > bucketsKept) return quiet
  const next: Array<number> = []
  for (let index = 1; index < moved; index++) next.push(0)
  next.push(bucketArrivals)
  for (let index = 0; next.length < bucketsKept && index < recent.length; index++) next.push(recent[index]!)
  return next
}

const quiet: ReadonlyArray<number> = new Array(bucketsKept).fill(0)

export interface Expectation {
  readonly perSecond: number
  readonly serviceMs: number
  /** Requests in service at a time. */
  readonly concurrency: number
}

export const expectation = (rate: ArrivalRate): Expectation => {
  const ended = rate.completions + rate.leased
  const serviceMs = ended > 0 ? rate.serviceMs / ended : 0
  const quietest = rate.recent.length < bucketsKept ? 0 : Math.min(...rate.recent)
  const perSecond = (quietest * 1000) / bucketMs
  // Nine places: what the last bits add is no request.
  return { perSecond, serviceMs, concurrency: Math.round((perSecond * serviceMs) / 1e-6) / 1e9 }
}
