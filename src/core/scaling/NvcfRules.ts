/**
 * The decision of NVCF's function autoscaler, as a function of numbers: all of its arithmetic is in single precision, and
 * rounds where that rounds.
 *
 * - Up when the newest sample is above a threshold: ceil(base × factor), base = max(current, 1). Down when it is below
 *   another: max(1, floor(base × factor)). Up has precedence. With stickiness, enough of the last samples must say so.
 * - Zero only when nothing was invoked lately and the mean of all samples is below the lower threshold: applied last, so
 *   over everything else.
 * - No decision while nothing runs and something was requested a moment ago: applied first.
 * - How far a sample is beyond a threshold does not matter.
 *
 * Source: the NVCF function autoscaler (NVIDIA/nvcf, Apache-2.0); what is reproduced is in `docs/policies.md`.
 *
 * Laws: N1 to N4 in `property-tests/Policies.nvcf.laws.test.ts`.
 *
 * @module
 */

/** Any `requiredCount` of the last `windowCount` samples must be beyond the threshold. */
export interface Stickiness {
  readonly sizeMs: number
  readonly thresholdMs: number
}

export interface Direction {
  /** Percent of the slots. Strict: a sample that equals it does not count. */
  readonly thresholdPercent: number
  readonly factor: number
  readonly stickiness: Stickiness | null
}

export interface Rules {
  readonly up: Direction
  readonly down: Direction
  /** Weight of a sample per step of age: exp(-decayFactor). 0 = all weigh the same. */
  readonly decayFactor: number
}

export interface Figures {
  /** Utilisation in percent, oldest first, at most one a minute. */
  readonly samples: ReadonlyArray<number>
  readonly current: number
  readonly isRecentlyInvoked: boolean
  /** What was requested in the last minutes; null = nothing, or it is forgotten. */
  readonly requested: number | null
}

export type Rule = "stale-zero" | "zero" | "empty" | "up" | "down" | "rest"

export interface Verdict {
  /** Null = no decision. */
  readonly desired: number | null
  readonly rule: Rule
  readonly mean: number
}

const f32 = Math.fround
/** A sample a minute: stickiness is counted in these. */
export const stepMs = 60_000

export const decide = (rules: Rules, { samples, current, isRecentlyInvoked, requested }: Figures): Verdict => {
  if (current === 0 && requested !== null && requested > 0) return { desired: null, rule: "stale-zero", mean: 0 }
  const values = samples.map(sane)
  const mean = weightedMean(values, rules.decayFactor)
  const base = Math.max(current, 1)
  const [desired, rule] = step(rules, values, base)
  return !isRecentlyInvoked && mean < f32(rules.down.thresholdPercent)
    ? { desired: 0, rule: "zero", mean }
    : { desired, rule, mean }
}

/** What is no number counts as 0 there. */
const sane = (sample: number): number => (Number.isFinite(f32(sample)) ? f32(sample) : 0)

const step = (rules: Rules, values: ReadonlyArray<number>, base: number): readonly [number, Rule] => {
  if (values.length === 0) return [base, "empty"]
  const { up, down } = rules
  const above = f32(up.thresholdPercent)
  const below = f32(down.thresholdPercent)
  if (passes(values, up, (value) => value > above)) return [Math.ceil(f32(f32(base) * f32(up.factor))), "up"]
  if (passes(values, down, (value) => value < below)) {
    return [Math.max(1, Math.floor(f32(f32(base) * f32(down.factor)))), "down"]
  }
  return [base, "rest"]
}

const passes = (
  values: ReadonlyArray<number>,
  { stickiness }: Direction,
  isBeyond: (value: number) => boolean
): boolean => {
  const sizeCount = stickiness === null ? 0 : Math.floor(stickiness.sizeMs / stepMs)
  const thresholdCount = stickiness === null ? 0 : Math.floor(stickiness.thresholdMs / stepMs)
  const isSticky = sizeCount > 0 && thresholdCount > 0
  const last = values.slice(-(isSticky ? sizeCount : 1))
  return last.filter(isBeyond).length >= (isSticky ? thresholdCount : 1)
}

/** The newest sample weighs 1. */
export const weightedMean = (values: ReadonlyArray<number>, decayFactor: number): number => {
  if (values.length === 0) return 0
  let total = 0
  let weights = 0
  for (let index = 0; index < values.length; index++) {
    const age = values.length - 1 - index
    const weight = f32(Math.exp(f32(-f32(decayFactor) * f32(age))))
    total = f32(total + f32(weight * f32(values[index]!)))
    weights = f32(weights + weight)
  }
  return f32(total / weights)
}
