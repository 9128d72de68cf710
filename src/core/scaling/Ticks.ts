/**
 * The beat of a policy that looks at fixed moments: the multiples of an interval.
 *
 * A look between two beats decides nothing, so looking more often changes nothing. A beat that nobody looked at is made
 * up for at the next look, with what stood at the beat: what is observed holds until it is observed to be otherwise. Of
 * several missed beats the latest is made up for, so that a long sleep costs no more than a short one.
 *
 * @module
 */
import type { Decision, Observation } from "./Policy.ts"
import { sum } from "./Policy.ts"

export interface Ticks {
  /** The beats up to this one are done with. */
  readonly index: number
  readonly last: Observation
}

export const indexAt = (nowMs: number, intervalMs: number): number => Math.floor(nowMs / intervalMs)

/** The first beat after `nowMs`. */
export const nextMs = (nowMs: number, intervalMs: number): number => (indexAt(nowMs, intervalMs) + 1) * intervalMs

export const look = (observation: Observation, intervalMs: number): Ticks => ({
  index: indexAt(observation.nowMs, intervalMs),
  last: observation
})

/**
 * The observation as a policy should take it. At the first look of all, what is there was decided before this machine
 * began, and a policy that keeps what is desired keeps it.
 */
export const taken = (ticks: Ticks | null, observation: Observation): Observation => {
  if (ticks !== null) return observation
  const { desired, ready, starting } = observation
  return { ...observation, desired: Math.max(desired, ready + starting) }
}

/** What stood at the beat that is due at this look; null = none is. The first look of all is no beat. */
export const due = (ticks: Ticks | null, observation: Observation, intervalMs: number): Observation | null => {
  if (ticks === null) return null
  const index = indexAt(observation.nowMs, intervalMs)
  if (index <= ticks.index) return null
  const nowMs = index * intervalMs
  return nowMs === observation.nowMs ? observation : { ...ticks.last, nowMs, desired: observation.desired }
}

/**
 * What a beat decided, as the answer of the look that found it due; null = nothing to tell. A beat that was made up for
 * and changed nothing is not told: with more looks it would have been told long ago.
 */
export const told = (
  decision: Decision | null,
  due: Observation | null,
  { nowMs, desired }: Observation
): Decision | null =>
  decision === null || due === null || (due.nowMs < nowMs && decision.desired === desired) ? null : decision

/** Nothing is wanted, runs or waits: no beat would change that, and the next request is what wakes it. */
export const isAtRest = (desired: number, { pending, leased, ready, starting }: Observation): boolean =>
  desired === 0 && sum(pending, leased) === 0 && ready + starting === 0
