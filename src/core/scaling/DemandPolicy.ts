/**
 * The default policy: driven by each arrival, up at once, down only when the higher demand has not come back.
 *
 * - Demand is pending + leased, or what Little's law expects of a sustained arrival rate if that is more
 *   (`ArrivalRate`). The two are not added: a request that waits is one of those that were expected.
 * - Desired is the demand divided by the slots of an instance, rounded up: from zero to all that is needed in one step.
 * - Down only to the greatest desire of the last `idleWindowMs`, so to zero only after that long without any request.
 *
 * Laws: L14 and L15 in `property-tests/Scaling.laws.test.ts`.
 *
 * @module
 */
import * as ArrivalRate from "./ArrivalRate.ts"
import type { Decision, Observation, Policy } from "./Policy.ts"
import { plural, seconds } from "./Policy.ts"
import * as StickyMaximum from "./StickyMaximum.ts"

export interface Memory {
  readonly rate: ArrivalRate.ArrivalRate | null
  /** What the demand of the last observation asked for; it lasted until the next one. */
  readonly held: number
  readonly levels: StickyMaximum.Levels
}

const empty: Memory = { rate: null, held: 0, levels: StickyMaximum.empty }

const decide = (memory: Memory, observation: Observation): readonly [Memory, Decision] => {
  const { nowMs, pending, leased, spec } = observation
  if (pending === "unknown" || leased === "unknown") return [memory, holdUnknown(observation)]

  const slots = Math.max(1, observation.slotsPerInstance)
  const sample = {
    nowMs,
    pending,
    leased,
    arrivalsTotal:
      observation.arrivalsTotal === "unknown" ? (memory.rate?.arrivalsTotal ?? 0) : observation.arrivalsTotal
  }
  const [rate, arrived] =
    memory.rate === null ? ([ArrivalRate.first(sample), 0] as const) : ArrivalRate.observe(memory.rate, sample)
  const present = pending + leased
  const expected = arrived > 0 ? ArrivalRate.expectation(rate).concurrency : 0
  const held = Math.ceil(present / slots)
  // Between two reports requests may have come and gone: they are demand although nothing is left of them.
  const momentary = arrived > 0 ? Math.max(1, Math.ceil(Math.max(present, expected) / slots)) : held

  // Instances that were here before this machine get the whole window before they may go.
  const before = memory.rate === null ? observation.ready + observation.starting : memory.held
  const levels = StickyMaximum.expire(
    StickyMaximum.seen(StickyMaximum.seen(memory.levels, before, nowMs), momentary, nowMs),
    nowMs,
    spec.idleWindowMs
  )
  const top = StickyMaximum.highest(levels)
  const desired = Math.max(held, top?.value ?? 0)
  const wakeAtMs = top !== undefined && top.value > held ? top.atMs + spec.idleWindowMs : null
  return [
    { rate, held, levels },
    {
      desired,
      reason: explain({ observation, pending, leased, slots, expected, held, desired, top }),
      inputs: {
        pending,
        leased,
        expectedConcurrency: Math.round(expected * 100) / 100,
        slotsPerInstance: slots,
        needed: held,
        highestNeeded: top?.value ?? 0,
        highestSinceMs: top === undefined ? null : nowMs - top.atMs,
        ready: observation.ready,
        starting: observation.starting,
        idleWindowMs: spec.idleWindowMs,
        oldestPendingMs: observation.oldestPendingMs
      },
      wakeAtMs
    }
  ]
}

interface Explained {
  readonly observation: Observation
  readonly pending: number
  readonly leased: number
  readonly slots: number
  readonly expected: number
  readonly held: number
  readonly desired: number
  readonly top: StickyMaximum.Level | undefined
}

const explain = (facts: Explained): string => {
  const { pending, leased, slots, expected, held, desired, top, observation } = facts
  const present = pending + leased
  if (desired === 0) {
    return `nothing was pending or leased for ${seconds(observation.spec.idleWindowMs)}, the idle window`
  }
  const demand = `${pending} pending + ${leased} leased at ${plural(slots, "slot")} an instance`
  if (desired === held || expected > present) {
    const expectedText = expected > present ? `, ${expected.toFixed(1)} at a time expected of the arrivals` : ""
    return `${demand}${expectedText}: ${plural(desired, "instance")}`
  }
  const since = top === undefined ? "" : ` ${seconds(observation.nowMs - top.atMs)} ago`
  return (
    `${demand} need ${plural(held, "instance")}; ${plural(desired, "instance")} were needed${since}, ` +
    `within the idle window of ${seconds(observation.spec.idleWindowMs)}`
  )
}

const holdUnknown = ({ desired, ready, starting }: Observation): Decision => ({
  desired: Math.max(desired, ready + starting),
  reason: `the demand is unknown: ${plural(Math.max(desired, ready + starting), "instance")} kept as they are`,
  inputs: { pending: "unknown", leased: "unknown", ready, starting, desired },
  wakeAtMs: null
})

export const demand: Policy<Memory> = { name: "demand", empty, decide }
