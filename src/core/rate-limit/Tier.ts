/**
 * One limit (so much per period, so much at once) and what was used of it: the generic cell rate algorithm in its form
 * of a leaky bucket, in which units are kept and not instants, so that no accuracy is lost to the size of the clock.
 *
 * Laws: G1 to G4 in `RateLimit.ts`, which keeps one bucket for each tier of each key.
 *
 * @module
 */
import * as Schema from "effect/Schema"

const Positive = Schema.Finite.check(Schema.isGreaterThan(0))

/** A limit. `makeTier` fills in what is customary. */
export const Tier = Schema.Struct({
  /** Unique within a subject; shown to whom it refuses. */
  name: Schema.String.check(Schema.isMinLength(1)),
  /** Each request takes one, or as many as it has tokens. */
  meter: Schema.Literals(["requests", "tokens"]),
  /** Units that come back within `periodMs`, evenly. */
  limit: Positive,
  periodMs: Positive,
  /** Units that can be taken at once after a rest. A request that costs more never passes. */
  burst: Positive,
  /** Units by which true costs may exceed `burst`; what goes beyond is forgiven. Bounds the delay of those after. */
  debtMax: Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0))
})
export type Tier = typeof Tier.Type

/** `burst`: all of a period. `debtMax`: as much again. */
export const makeTier = (
  tier: Pick<Tier, "name" | "meter" | "limit" | "periodMs"> & { readonly burst?: number; readonly debtMax?: number }
): Tier => {
  const burst = tier.burst ?? tier.limit
  return { ...tier, burst, debtMax: tier.debtMax ?? burst }
}

/** A billionth of the burst: sums of fractions must not refuse what is exactly on time. */
const slack = ({ burst }: Tier): number => burst * 1e-9

const perMs = ({ limit, periodMs }: Tier): number => limit / periodMs

/** What is still used after `elapsedMs`. */
export const decay = (tier: Tier, used: number, elapsedMs: number): number =>
  Math.max(0, used - Math.max(0, elapsedMs) * perMs(tier))

export const costOf = ({ meter }: Tier, tokens: number): number => (meter === "requests" ? 1 : tokens)

export const lets = (tier: Tier, used: number, cost: number): boolean => used + cost <= tier.burst + slack(tier)

/** Whole milliseconds until it lets `cost` pass, if nothing else is taken; null = never. At least 1. */
export const waitMs = (tier: Tier, used: number, cost: number): number | null =>
  cost > tier.burst + slack(tier)
    ? null
    : Math.max(1, Math.ceil((used + cost - tier.burst - slack(tier)) / perMs(tier)))

/** Milliseconds until nothing of it is used. */
export const resetMs = (tier: Tier, used: number): number => used / perMs(tier)

/** Whole units that can be taken now. */
export const remaining = (tier: Tier, used: number): number => Math.floor(Math.max(0, tier.burst - used) + slack(tier))
