/**
 * How long something takes, as plain data that can be written down, compared and cited. Milliseconds, never below 0.
 *
 * @module
 */
import { unreachable } from "../collections/invariant.ts"
import * as Random from "./Random.ts"

export type Distribution =
  | { readonly kind: "constant"; readonly ms: number }
  | { readonly kind: "exponential"; readonly meanMs: number }
  | { readonly kind: "log-normal"; readonly medianMs: number; readonly sigma: number }
  | { readonly kind: "gamma"; readonly shape: number; readonly scaleMs: number }
  | { readonly kind: "weibull"; readonly shape: number; readonly scaleMs: number }
  /**
   * Known at a few shares, [share, ms], both rising: between two of them the logarithm of the time is linear. Below the
   * first and above the last the line of the two nearest goes on, up to the shares 0.001 and 0.999.
   */
  | { readonly kind: "quantiles"; readonly points: ReadonlyArray<readonly [share: number, ms: number]> }

export const constant = (ms: number): Distribution => ({ kind: "constant", ms })

export const draw = (random: Random.Random, distribution: Distribution): number => {
  switch (distribution.kind) {
    case "constant":
      return distribution.ms
    case "exponential":
      return Random.exponential(random, distribution.meanMs)
    case "log-normal":
      return Random.logNormal(random, distribution.medianMs, distribution.sigma)
    case "gamma":
      return Random.gamma(random, distribution.shape, distribution.scaleMs)
    case "weibull":
      return Random.weibull(random, distribution.shape, distribution.scaleMs)
    case "quantiles":
      return quantile(distribution.points, Random.uniform(random))
    default:
      return unreachable(distribution)
  }
}

const shareMin = 0.001
const shareMax = 0.999

/** The time at `share` of a distribution that is known at a few points. */
export const quantile = (points: ReadonlyArray<readonly [number, number]>, share: number): number => {
  const first = points[0]
  if (first === undefined) return 0
  if (points.length === 1) return first[1]
  const wanted = Math.min(shareMax, Math.max(shareMin, share))
  let right = 1
  while (right < points.length - 1 && points[right]![0] < wanted) right += 1
  const [leftShare, leftMs] = points[right - 1]!
  const [rightShare, rightMs] = points[right]!
  const part = (wanted - leftShare) / (rightShare - leftShare)
  return Math.exp(Math.log(Math.max(leftMs, 1e-9)) * (1 - part) + Math.log(Math.max(rightMs, 1e-9)) * part)
}

/** For the offline optimum, which knows only one start time. */
export const median = (distribution: Distribution): number => {
  switch (distribution.kind) {
    case "constant":
      return distribution.ms
    case "exponential":
      return distribution.meanMs * Math.LN2
    case "log-normal":
      return distribution.medianMs
    case "gamma":
      // Wilson and Hilferty.
      return distribution.shape * distribution.scaleMs * Math.max(0, 1 - 1 / (9 * distribution.shape)) ** 3
    case "weibull":
      return distribution.scaleMs * Math.LN2 ** (1 / distribution.shape)
    case "quantiles":
      return quantile(distribution.points, 0.5)
    default:
      return unreachable(distribution)
  }
}
