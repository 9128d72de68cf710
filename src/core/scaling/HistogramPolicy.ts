/**
 * The hybrid histogram policy of Azure Functions: learns how long a version is idle, and keeps an instance for just that
 * part of an idle time in which the next request is likely.
 *
 * - Busy: what is pending and leased needs, and the greatest such need of the last `idleWindowMs`. The paper speaks of one
 *   instance; this part is ours.
 * - Idle, with a histogram that is representative: nothing until the head percentile (less a margin), one instance from
 *   there until the tail percentile (plus the margin), then nothing. With a head in the first bin nothing is stopped
 *   first.
 * - Not representative (few idle times, bins about as full as each other, or too many idle times beyond all bins): kept
 *   for `fixedKeepAliveMs`. The paper's forecast for times beyond the bins is not made; they get the fixed time.
 * - An idle time that something unknown fell into, or that began before the first look, is not counted.
 *
 * Memory: `binCount` counts (240), and the levels of `StickyMaximum.ts`.
 * Source: Shahrad et al., "Serverless in the Wild", USENIX ATC 2020, section 4.
 *
 * Laws: L14, L15 and G1 to G3 in `property-tests/Policies.histogram.laws.test.ts`.
 *
 * @module
 */
import * as IdleHistogram from "./IdleHistogram.ts"
import type { Decision, Inputs, Observation, Policy } from "./Policy.ts"
import { figure, plural, seconds, sum } from "./Policy.ts"
import * as StickyMaximum from "./StickyMaximum.ts"

export interface HistogramOptions {
  readonly binMs: number
  readonly binCount: number
  /** Multiplies the bins and the fixed time: 1/60 for a lab in which a minute takes a second. */
  readonly timeScale: number
  readonly headPercentile: number
  readonly tailPercentile: number
  /** The head comes earlier, the tail later, by this share of itself. */
  readonly marginShare: number
  readonly idleTimesMin: number
  /** Below this coefficient of variation of the bin counts, no time stands out. */
  readonly variationMin: number
  /** Of all idle times, the share that may be beyond the bins. */
  readonly beyondShareMax: number
  /** Null = as long as all bins together. */
  readonly fixedKeepAliveMs: number | null
}

export const defaults: HistogramOptions = {
  binMs: 60_000,
  binCount: 240,
  timeScale: 1,
  headPercentile: 5,
  tailPercentile: 99,
  marginShare: 0.1,
  idleTimesMin: 5,
  variationMin: 2,
  beyondShareMax: 0.5,
  fixedKeepAliveMs: null
}

/** What becomes of the instances in an idle time, counted from its beginning. */
export interface Plan {
  readonly warmFromMs: number
  readonly warmUntilMs: number
  readonly reason: string
  readonly inputs: Inputs
}

export interface Idle {
  readonly sinceMs: number
  /** Seen from its beginning, and known all along: it counts once it ends. */
  readonly isWhole: boolean
  readonly plan: Plan
}

export interface Memory {
  readonly histogram: IdleHistogram.IdleHistogram | null
  readonly idle: Idle | null
  readonly arrivalsTotal: number | null
  /** What the load of the last look needed; it lasted until the next one. */
  readonly held: number
  readonly levels: StickyMaximum.Levels
}

const empty: Memory = { histogram: null, idle: null, arrivalsTotal: null, held: 0, levels: StickyMaximum.empty }

export const histogram = (options: HistogramOptions = defaults): Policy<Memory> => ({
  name: "histogram",
  empty,
  decide: (memory, observation) => decide(memory, observation, options)
})

const decide = (memory: Memory, observation: Observation, options: HistogramOptions): readonly [Memory, Decision] => {
  const { nowMs, spec, slotsPerInstance } = observation
  const load = sum(observation.pending, observation.leased)
  if (load === "unknown") return holdUnknown(memory, observation)

  const isFirst = memory.histogram === null
  const counted = observation.arrivalsTotal === "unknown" ? memory.arrivalsTotal : observation.arrivalsTotal
  const arrived = memory.arrivalsTotal === null || counted === null ? 0 : Math.max(0, counted - memory.arrivalsTotal)
  const slots = Math.max(1, slotsPerInstance)
  const need = Math.ceil(load / slots)
  // A request that came and went between two looks was demand although nothing is left of it.
  const momentary = arrived > 0 ? Math.max(1, need) : need
  // Instances that were here before this machine get the idle window before they may go.
  const before = isFirst ? observation.ready + observation.starting : memory.held
  const levels = StickyMaximum.expire(
    StickyMaximum.seen(StickyMaximum.seen(memory.levels, before, nowMs), momentary, nowMs),
    nowMs,
    spec.idleWindowMs
  )
  const top = StickyMaximum.highest(levels)
  const recent = top?.value ?? 0
  const learned = isBusyNow(load, arrived) ? learn(memory, nowMs, options) : memoryOf(memory, options)
  const idle = idleAfter({ memory, learned, observation, load, arrived, isFirst, options })
  const next: Memory = { histogram: learned, idle, arrivalsTotal: counted, held: need, levels }
  const expiresAtMs = top !== undefined && top.value > need ? top.atMs + spec.idleWindowMs : null
  if (idle === null) {
    const desired = Math.max(need, recent)
    const reason =
      `${plural(load, "request")} at ${plural(slots, "slot")} an instance need ${plural(need, "instance")}` +
      (desired > need ? `, ${desired} within the idle window of ${seconds(spec.idleWindowMs)}` : "")
    const inputs = { load, slotsPerInstance: slots, need, desired, idleWindowMs: spec.idleWindowMs }
    return [next, { desired, reason, inputs, wakeAtMs: expiresAtMs }]
  }
  return [next, whileIdle({ idle, recent, expiresAtMs, nowMs })]
}

const isBusyNow = (load: number, arrived: number): boolean => load > 0 || arrived > 0

const memoryOf = (memory: Memory, { binMs, binCount, timeScale }: HistogramOptions): IdleHistogram.IdleHistogram =>
  memory.histogram ?? IdleHistogram.empty(Math.max(1, Math.round(binMs * timeScale)), binCount)

const learn = (memory: Memory, nowMs: number, options: HistogramOptions): IdleHistogram.IdleHistogram => {
  const known = memoryOf(memory, options)
  const { idle } = memory
  return idle?.isWhole === true ? IdleHistogram.record(known, nowMs - idle.sinceMs) : known
}

/** What is unknown breaks an idle time off: it may have ended and begun again. */
const holdUnknown = (memory: Memory, { desired, ready, starting }: Observation): readonly [Memory, Decision] => {
  const kept = Math.max(desired, ready + starting)
  return [
    memory.idle === null ? memory : { ...memory, idle: { ...memory.idle, isWhole: false } },
    {
      desired: kept,
      reason: `the demand is unknown: ${plural(kept, "instance")} kept as they are`,
      inputs: { kept, pending: "unknown", leased: "unknown" },
      wakeAtMs: null
    }
  ]
}

interface Looked {
  readonly memory: Memory
  readonly learned: IdleHistogram.IdleHistogram
  readonly observation: Observation
  readonly load: number
  readonly arrived: number
  readonly isFirst: boolean
  readonly options: HistogramOptions
}

const idleAfter = ({ memory, learned, observation, load, arrived, isFirst, options }: Looked): Idle | null => {
  if (load > 0) return null
  const { nowMs, desired, ready, starting } = observation
  if (memory.idle !== null && arrived === 0) return memory.idle
  if (!isFirst) return { sinceMs: nowMs, isWhole: true, plan: planOf(learned, options) }
  // A version that nobody ever called is not kept warm; what runs at the first look gets its time.
  const isThere = desired + ready + starting > 0
  const never: Plan = { warmFromMs: 0, warmUntilMs: 0, reason: "nothing was ever seen of it", inputs: {} }
  return { sinceMs: nowMs, isWhole: false, plan: isThere ? planOf(learned, options) : never }
}

/** When an instance is kept, by what is learned so far. */
export const planOf = (known: IdleHistogram.IdleHistogram, options: HistogramOptions): Plan => {
  const { withinCount, beyondCount } = known
  const idleTimes = withinCount + beyondCount
  const variation = IdleHistogram.variation(known)
  const beyondShare = idleTimes === 0 ? 0 : beyondCount / idleTimes
  const inputs: Inputs = {
    idleTimes,
    variation,
    beyondCount,
    beyondShare,
    idleTimesMin: options.idleTimesMin,
    variationMin: options.variationMin,
    beyondShareMax: options.beyondShareMax
  }
  const fixed = (why: string): Plan => {
    const warmUntilMs =
      options.fixedKeepAliveMs === null
        ? IdleHistogram.rangeMs(known)
        : Math.round(options.fixedKeepAliveMs * options.timeScale)
    return { warmFromMs: 0, warmUntilMs, reason: `${why}, so the fixed time`, inputs }
  }
  if (idleTimes < options.idleTimesMin)
    return fixed(`${plural(idleTimes, "idle time")} of ${options.idleTimesMin} are known`)
  if (beyondShare > options.beyondShareMax) {
    return fixed(`${beyondCount} of ${idleTimes} idle times are beyond all bins`)
  }
  if (variation < options.variationMin) {
    return fixed(`a variation of ${figure(variation)}, below ${options.variationMin}, tells nothing`)
  }
  const headMs = IdleHistogram.headMs(known, options.headPercentile)
  const tailMs = IdleHistogram.tailMs(known, options.tailPercentile)
  return {
    warmFromMs: Math.floor(headMs * (1 - options.marginShare)),
    warmUntilMs: Math.ceil(tailMs * (1 + options.marginShare)),
    reason: `${plural(idleTimes, "idle time")} are known, most of ${seconds(headMs)} to ${seconds(tailMs)}`,
    inputs: { ...inputs, headMs, tailMs }
  }
}

interface Idling {
  readonly idle: Idle
  /** The greatest need of the last idle window. */
  readonly recent: number
  readonly expiresAtMs: number | null
  readonly nowMs: number
}

const whileIdle = ({ idle, recent, expiresAtMs, nowMs }: Idling): Decision => {
  const { warmFromMs, warmUntilMs } = idle.plan
  const idleMs = nowMs - idle.sinceMs
  const inputs: Inputs = { ...idle.plan.inputs, idleMs, warmFromMs, warmUntilMs, recent }
  if (idleMs < warmFromMs) {
    const reason = `idle for ${seconds(idleMs)}, and the next request is not due before ${seconds(warmFromMs)}: ${idle.plan.reason}`
    return { desired: 0, reason, inputs, wakeAtMs: idle.sinceMs + warmFromMs }
  }
  if (idleMs >= warmUntilMs) {
    const reason = `idle for ${seconds(idleMs)}, and ${seconds(warmUntilMs)} is the end: ${idle.plan.reason}`
    return { desired: 0, reason, inputs, wakeAtMs: null }
  }
  const endsAtMs = idle.sinceMs + warmUntilMs
  // What is stopped at first comes back as one; what is kept shrinks with the idle window.
  const desired = warmFromMs > 0 ? 1 : Math.max(1, recent)
  const shrinksAtMs = desired > 1 && expiresAtMs !== null ? expiresAtMs : endsAtMs
  return {
    desired,
    reason: `idle for ${seconds(idleMs)}, ${plural(desired, "instance")} until ${seconds(warmUntilMs)}: ${idle.plan.reason}`,
    inputs,
    wakeAtMs: Math.min(endsAtMs, shrinksAtMs)
  }
}
