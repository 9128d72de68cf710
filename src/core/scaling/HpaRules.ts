/**
 * The arithmetic of Kubernetes' horizontal pod autoscaler (autoscaling/v2): from a metric to a number of replicas, and
 * from that, through stabilisation and rate limits, to the number that is set.
 *
 * - A ratio of metric to target within the tolerance of 1 changes nothing.
 * - `byPods`: a mean over the ready pods. On the way up, pods that are not ready yet count as idle; if that turns the
 *   direction, nothing changes. On the way down they are left out.
 * - `byTotal`: a figure for all pods together, shared among them (an external metric with an average value).
 * - Stabilisation: down only to the highest recommendation of the window, up only to the lowest of its own.
 * - Rate limits: of several policies the one that allows most. What was added or removed within the period counts.
 *
 * Memory: one recommendation and one change a sync period, so window ÷ sync + 1 of each (21 and 2 by default).
 * Source: kubernetes.io, "Horizontal Pod Autoscaling": algorithm details, configurable scaling behaviour.
 *
 * @module
 */

export interface RateLimit {
  /** Percent of what was there at the start of the period; null = not limited that way. */
  readonly percent: number | null
  /** Instances a period; null = not limited that way. */
  readonly pods: number | null
  readonly periodMs: number
}

export interface Behaviour {
  readonly tolerance: number
  readonly stabilizationDownMs: number
  readonly stabilizationUpMs: number
  readonly scaleUp: RateLimit
  readonly scaleDown: RateLimit
}

export const defaults: Behaviour = {
  tolerance: 0.1,
  stabilizationDownMs: 300_000,
  stabilizationUpMs: 0,
  scaleUp: { percent: 100, pods: 4, periodMs: 15_000 },
  scaleDown: { percent: 100, pods: null, periodMs: 15_000 }
}

export interface Timed {
  readonly atMs: number
  readonly value: number
}

export interface Memory {
  readonly recommendations: ReadonlyArray<Timed>
  /** Changes of the number of instances, negative for removals. */
  readonly changes: ReadonlyArray<Timed>
}

/** A controller that begins recommends what is there. */
export const begin = (current: number, nowMs: number): Memory => ({
  recommendations: [{ atMs: nowMs, value: current }],
  changes: []
})

export interface Recommendation {
  readonly replicas: number
  /** Metric ÷ target as it was decided by; null = there was nothing to divide. */
  readonly ratio: number | null
}

export interface PodFigures {
  readonly current: number
  readonly ready: number
  /** Not ready yet. */
  readonly unready: number
  /** Sum of the metric over the ready pods. */
  readonly usage: number
  readonly targetPerPod: number
}

/** Null when no ready pod gives a metric: nothing is decided then. */
export const byPods = (
  figures: PodFigures,
  tolerance: number
): (Recommendation & { readonly ratio: number }) | null => {
  const { current, ready, unready, usage, targetPerPod } = figures
  if (ready === 0) return null
  const ratio = usage / ready / targetPerPod
  const countsUnready = unready > 0 && ratio > 1
  const counted = countsUnready ? ready + unready : ready
  const decisive = usage / counted / targetPerPod
  const isTurned = ratio > 1 && decisive < 1
  if (isTurned || isTolerable(decisive, tolerance)) return { replicas: current, ratio: decisive }
  return { replicas: roundedUp(decisive * counted), ratio: decisive }
}

export interface TotalFigures {
  /** Pods that exist, ready or not. */
  readonly existing: number
  readonly total: number
  readonly targetPerPod: number
}

export const byTotal = ({ existing, total, targetPerPod }: TotalFigures, tolerance: number): Recommendation => {
  if (existing === 0) return { replicas: roundedUp(total / targetPerPod), ratio: null }
  const ratio = total / (targetPerPod * existing)
  return { replicas: isTolerable(ratio, tolerance) ? existing : roundedUp(total / targetPerPod), ratio }
}

/** Upstream counts a metric in thousandths, so the noise of the last bits adds no pod there either. */
const roundedUp = (value: number): number => Math.ceil(Math.round(value * 1e9) / 1e9)

const isTolerable = (ratio: number, tolerance: number): boolean =>
  Math.round(Math.abs(1 - ratio) * 1e9) / 1e9 <= tolerance

export interface Bounds {
  readonly current: number
  readonly min: number
  readonly max: number
  readonly nowMs: number
}

export interface Normalized {
  readonly replicas: number
  /** After stabilisation, before the limits of rate. */
  readonly stabilized: number
  readonly limitUp: number
  readonly limitDown: number
}

export const normalize = (
  memory: Memory,
  recommended: number,
  { current, min, max, nowMs }: Bounds,
  behaviour: Behaviour
): readonly [Memory, Normalized] => {
  const longestMs = Math.max(behaviour.stabilizationDownMs, behaviour.stabilizationUpMs)
  const before = memory.recommendations.filter(({ atMs }) => atMs > nowMs - longestMs)
  const recommendations = [...before, { atMs: nowMs, value: recommended }]
  const valuesWithin = (windowMs: number) => [
    recommended,
    ...before.filter(({ atMs }) => atMs > nowMs - windowMs).map(({ value }) => value)
  ]
  const lowest = Math.min(...valuesWithin(behaviour.stabilizationUpMs))
  const highest = Math.max(...valuesWithin(behaviour.stabilizationDownMs))
  const stabilized = current < lowest ? lowest : current > highest ? highest : current

  const periodMs = Math.max(behaviour.scaleUp.periodMs, behaviour.scaleDown.periodMs)
  const changes = memory.changes.filter(({ atMs }) => atMs > nowMs - periodMs)
  const limitUp = Math.max(current, allowed(behaviour.scaleUp, current - changed(changes, nowMs, behaviour.scaleUp), 1))
  const limitDown = Math.min(
    current,
    allowed(behaviour.scaleDown, current - changed(changes, nowMs, behaviour.scaleDown), -1)
  )
  const replicas = Math.min(Math.max(stabilized, min, limitDown), Math.max(min, Math.min(max, limitUp)))
  const change = replicas - current
  return [
    { recommendations, changes: change === 0 ? changes : [...changes, { atMs: nowMs, value: change }] },
    { replicas, stabilized, limitUp, limitDown }
  ]
}

const changed = (changes: ReadonlyArray<Timed>, nowMs: number, { periodMs }: RateLimit): number =>
  changes.reduce((total, { atMs, value }) => (atMs > nowMs - periodMs ? total + value : total), 0)

/** How far the most generous of the limits lets it go from what was there at the start of the period. */
const allowed = ({ percent, pods }: RateLimit, start: number, direction: 1 | -1): number => {
  const far = direction * Number.POSITIVE_INFINITY
  if (percent === null && pods === null) return far
  const byPercent = percent === null ? start : start * (1 + (direction * percent) / 100)
  const byPercentWhole = direction === 1 ? Math.ceil(byPercent) : Math.trunc(byPercent)
  const byCount = pods === null ? start : start + direction * pods
  return direction === 1 ? Math.max(byPercentWhole, byCount) : Math.min(byPercentWhole, byCount)
}
