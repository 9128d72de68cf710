/**
 * What the load was, in buckets of one length: the integral of requests over time, how much of that time the load was
 * known, and what ran at the end of each bucket. The load is taken to hold from one look to the next, so averages over
 * whole buckets are exact, however seldom or often somebody looks.
 *
 * Laws: T1 the average over whole buckets equals the integral of the steps that were observed. T2 time in which the load
 * was unknown counts for nothing, neither as zero nor as anything else. T3 at most `bucketsKept` buckets are kept, and a
 * look after a long sleep costs no more than that many. As properties in `property-tests/ScalingLoadHistory.laws.test.ts`.
 *
 * @module
 */
import type { Reading } from "./Policy.ts"

export interface Shape {
  readonly bucketMs: number
  readonly bucketsKept: number
}

export interface Signal {
  /** Requests at a time. */
  readonly load: Reading
  readonly ready: number
  /** Room for requests in all that runs. */
  readonly slots: number
}

export interface Bucket {
  /** Requests times milliseconds, over the known part. */
  readonly loadMs: number
  readonly knownMs: number
  /** At the end of the bucket. */
  readonly ready: number
  readonly slots: number
}

export interface LoadHistory {
  /** Everything before this is in. */
  readonly untilMs: number
  readonly signal: Signal
  /** Whole buckets, oldest first; the last one ends where the open one begins. */
  readonly closed: ReadonlyArray<Bucket>
  readonly openLoadMs: number
  readonly openKnownMs: number
}

/** What ran before the first look is taken to be what runs at it; the load before it is unknown. */
export const first = ({ bucketsKept }: Shape, signal: Signal, nowMs: number): LoadHistory => ({
  untilMs: nowMs,
  signal,
  closed: new Array<Bucket>(bucketsKept).fill({ loadMs: 0, knownMs: 0, ready: signal.ready, slots: signal.slots }),
  openLoadMs: 0,
  openKnownMs: 0
})

/** The load of the last look went on until `nowMs`. */
export const advance = (shape: Shape, history: LoadHistory, nowMs: number): LoadHistory => {
  if (nowMs <= history.untilMs) return history
  const { signal } = history
  const { bucketMs, bucketsKept } = shape
  const isKnown = signal.load !== "unknown"
  const load = signal.load === "unknown" ? 0 : signal.load
  let { untilMs, openLoadMs, openKnownMs } = history
  let openEndMs = (Math.floor(untilMs / bucketMs) + 1) * bucketMs
  if (nowMs < openEndMs) {
    const elapsedMs = isKnown ? nowMs - untilMs : 0
    return {
      ...history,
      untilMs: nowMs,
      openLoadMs: openLoadMs + load * elapsedMs,
      openKnownMs: openKnownMs + elapsedMs
    }
  }
  const more: Array<Bucket> = []
  while (openEndMs <= nowMs) {
    const elapsedMs = isKnown ? openEndMs - untilMs : 0
    more.push({
      loadMs: openLoadMs + load * elapsedMs,
      knownMs: openKnownMs + elapsedMs,
      ready: signal.ready,
      slots: signal.slots
    })
    openLoadMs = 0
    openKnownMs = 0
    // Buckets that would be dropped again at once need not be made.
    const skipped = Math.max(0, Math.floor((nowMs - openEndMs) / bucketMs) - bucketsKept)
    untilMs = openEndMs + skipped * bucketMs
    openEndMs = untilMs + bucketMs
  }
  const elapsedMs = isKnown ? nowMs - untilMs : 0
  return {
    untilMs: nowMs,
    signal,
    closed: [...history.closed, ...more].slice(-bucketsKept),
    openLoadMs: load * elapsedMs,
    openKnownMs: elapsedMs
  }
}

export const observe = (shape: Shape, history: LoadHistory, signal: Signal, nowMs: number): LoadHistory => ({
  ...advance(shape, history, nowMs),
  signal
})

/**
 * The mean load of the `windowMs` that ended `agoMs` before the last whole bucket did; both are whole buckets.
 * `"unknown"` when nothing is known of it.
 */
export const average = ({ bucketMs }: Shape, { closed }: LoadHistory, windowMs: number, agoMs = 0): Reading => {
  const end = closed.length - agoMs / bucketMs
  let loadMs = 0
  let knownMs = 0
  for (let index = Math.max(0, end - windowMs / bucketMs); index < end; index++) {
    const bucket = closed[index]!
    loadMs += bucket.loadMs
    knownMs += bucket.knownMs
  }
  return knownMs === 0 ? "unknown" : loadMs / knownMs
}

/** The bucket that ended `agoMs` before the last whole one; within what is kept, in whole buckets. */
export const bucketAt = ({ bucketMs }: Shape, { closed }: LoadHistory, agoMs: number): Bucket =>
  closed[closed.length - 1 - agoMs / bucketMs]!
