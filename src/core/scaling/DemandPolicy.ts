/**
 * The default policy: driven by each arrival, up at once, down only when the higher demand has not come back.
 *
 * - Demand is pending + leased, or what Little's law expects of a sustained arrival rate if that is more
 *   (`ArrivalRate`). The two are not added: a request that waits is one of those that were expected.
 * - Desired is the demand divided by the slots of an instance, rounded up: from zero to all that is needed in one step.
 * - Down to zero only after `idleWindowMs` without any request. Down to less, only when the higher need did not come
 *   back: within `idleWindowMs` at first, then within the time that its returns have shown to be worth the wait
 *   (`ReturnTimes`), which is never longer.
 *
 * Laws: L14 and L15 in `property-tests/Scaling.laws.test.ts`.
 *
 * @module
 */
import * as ArrivalRate from "./ArrivalRate.ts"
import type { Decision, Inputs, Observation, Policy } from "./Policy.ts"
import { plural, seconds } from "./Policy.ts"
import * as ReturnTimes from "./ReturnTimes.ts"
import * as StickyMaximum from "./StickyMaximum.ts"

export interface Memory {
  readonly rate: ArrivalRate.ArrivalRate | null
  /** What the demand of the last observation asked for; it lasted until the next one. */
  readonly held: number
  readonly levels: StickyMaximum.Levels
  readonly returns: ReturnTimes.ReturnTimes
}

const empty: Memory = { rate: null, held: 0, levels: StickyMaximum.empty, returns: ReturnTimes.empty }

const decide = (memory: Memory, observation: Observation): readonly [Memory, Decision] => {
  const { nowMs, pending, leased, spec } = observation
  if (pending === "unknown" || leased === "unknown") {
    return [{ ...memory, returns: ReturnTimes.interrupted(memory.returns) }, holdUnknown(observation)]
  }

  const slots = Math.max(1, observation.slotsPerInstance)
  const arrivalsTotal =
    observation.arrivalsTotal === "unknown" ? (memory.rate?.arrivalsTotal ?? 0) : observation.arrivalsTotal
  const sample = { nowMs, pending, leased, arrivalsTotal }
  const [rate, arrived] =
    memory.rate === null ? ([ArrivalRate.first(sample), 0] as const) : ArrivalRate.observe(memory.rate, sample)
  const present = pending + leased
  const expected = arrived > 0 ? ArrivalRate.expectation(rate).concurrency : 0
  const held = Math.ceil(present / slots)
  // Between two reports requests may have come and gone: they are demand although nothing is left of them.
  const momentary = arrived > 0 ? Math.max(1, Math.ceil(Math.max(present, expected) / slots)) : held

  // Instances that were here before this machine get the whole window before they may go.
  const before = memory.rate === null ? observation.ready + observation.starting : memory.held
  const { ready, starting } = observation
  const { idleWindowMs } = spec
  const returns = ReturnTimes.observe(memory.returns, { nowMs, need: momentary, ready, starting, idleWindowMs })
  const levels = StickyMaximum.expire(
    before === momentary
      ? StickyMaximum.seen(memory.levels, momentary, nowMs)
      : StickyMaximum.seen(StickyMaximum.seen(memory.levels, before, nowMs), momentary, nowMs),
    nowMs,
    idleWindowMs
  )
  const kept = highestLeft(levels, returns, nowMs, idleWindowMs)
  const desired = Math.max(held, kept?.need ?? 0)
  const wakeAtMs = kept !== undefined && kept.need > held ? nowMs + kept.forMs : null
  const explained = { observation, pending, leased, slots, expected, held, desired, kept }
  return [{ rate, held, levels, returns }, new DemandDecision(explained, wakeAtMs)]
}

/** Its sentence and its figures are made when somebody reads them. */
class DemandDecision implements Decision {
  readonly #facts: Explained
  readonly desired: number
  readonly wakeAtMs: number | null

  constructor(facts: Explained, wakeAtMs: number | null) {
    this.#facts = facts
    this.desired = facts.desired
    this.wakeAtMs = wakeAtMs
  }

  get reason(): string {
    return explain(this.#facts)
  }

  get inputs(): Inputs {
    const { observation, pending, leased, slots, expected, held, kept } = this.#facts
    return {
      pending,
      leased,
      expectedConcurrency: Math.round(expected * 100) / 100,
      slotsPerInstance: slots,
      needed: held,
      kept: kept?.need ?? 0,
      keptSinceMs: kept === undefined ? null : observation.nowMs - kept.level.atMs,
      keptForMs: kept?.forMs ?? null,
      highestNeeded: kept?.level.value ?? 0,
      ready: observation.ready,
      starting: observation.starting,
      idleWindowMs: observation.spec.idleWindowMs,
      oldestPendingMs: observation.oldestPendingMs
    }
  }
}

interface Kept extends ReturnTimes.Left {
  /** What it is left of. */
  readonly level: StickyMaximum.Level
}

/** What is kept of the needs of the idle window: of each what is left, and of these the most, for as long as can be. */
const highestLeft = (
  levels: StickyMaximum.Levels,
  returns: ReturnTimes.ReturnTimes,
  nowMs: number,
  idleWindowMs: number
): Kept | undefined => {
  let highest: Kept | undefined
  for (const level of levels) {
    const { need, forMs } = ReturnTimes.leftOf(returns, level.value, nowMs - level.atMs, idleWindowMs)
    const isMore = highest === undefined || need > highest.need || (need === highest.need && forMs > highest.forMs)
    if (need > 0 && isMore) highest = { need, forMs, level }
  }
  return highest
}

interface Explained {
  readonly observation: Observation
  readonly pending: number
  readonly leased: number
  readonly slots: number
  readonly expected: number
  readonly held: number
  readonly desired: number
  readonly kept: Kept | undefined
}

const explain = (facts: Explained): string => {
  const { pending, leased, slots, expected, held, desired, kept, observation } = facts
  const { idleWindowMs } = observation.spec
  const present = pending + leased
  if (desired === 0) {
    return `nothing was pending or leased for ${seconds(idleWindowMs)}, the idle window`
  }
  const demand = `${pending} pending + ${leased} leased at ${plural(slots, "slot")} an instance`
  if (kept === undefined || kept.need <= held || expected > present) {
    const expectedText = expected > present ? `, ${expected.toFixed(1)} at a time expected of the arrivals` : ""
    return `${demand}${expectedText}: ${plural(desired, "instance")}`
  }
  const { value: most, atMs } = kept.level
  const since = seconds(observation.nowMs - atMs)
  return (
    `${demand} need ${plural(held, "instance")}; ${plural(most, "instance")} were needed ${since} ago, ` +
    (most > desired
      ? `and ${desired} of them are worth the wait for their return`
      : `within the idle window of ${seconds(idleWindowMs)}`)
  )
}

const holdUnknown = ({ desired, ready, starting }: Observation): Decision => ({
  desired: Math.max(desired, ready + starting),
  reason: `the demand is unknown: ${plural(Math.max(desired, ready + starting), "instance")} kept as they are`,
  inputs: { pending: "unknown", leased: "unknown", ready, starting, desired },
  wakeAtMs: null
})

export const demand: Policy<Memory> = { name: "demand", empty, decide }
