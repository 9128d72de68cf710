/**
 * NVCF's function autoscaler on our observations: what its queries would have read, then `NvcfRules.ts`.
 *
 * - Every `loopIntervalMs`: utilisation of the look-back, one sample a minute that ends at the present, each the busy
 *   time of a window ÷ window ÷ slots at its end. Its instances are the worker-thread series, which every instance of ours
 *   would have; it sees neither the queue nor what is starting.
 * - The count of instances is that of the last settled minute, 60 to 120 s old, and of up to five minutes before when
 *   none ran at that one. `countIsSettled: false` takes the present count instead.
 * - Recently invoked: a request began within the idle timeout, or within five minutes more, as the query adds them.
 * - An answer equal to the one requested in the last five minutes is not sent again: nothing changes.
 * - Samples of time without slots do not exist; nor do those of which nothing is known, which NVCF would not count as
 *   zero either: its queries return no row. Unknown at the moment of a look: the version is skipped.
 *
 * What it cannot do here: leave a request waiting at zero. The laws around every policy start an instance for it at once.
 *
 * Memory: (look-back + window) ÷ greatest common divisor of window, loop interval and a minute: 68 buckets by default,
 * at most 1,024.
 *
 * Laws: L14, L15 and N1 to N6 in `property-tests/Policies.nvcf.laws.test.ts`.
 *
 * @module
 */
import { invariant } from "../collections/invariant.ts"
import * as LoadHistory from "./LoadHistory.ts"
import * as NvcfRules from "./NvcfRules.ts"
import type { Decision, Inputs, Observation, Policy } from "./Policy.ts"
import { figure, plural, seconds } from "./Policy.ts"
import * as Ticks from "./Ticks.ts"

export interface NvcfOptions extends NvcfRules.Rules {
  readonly loopIntervalMs: number
  readonly lookbackMs: number
  /** Window of the increase of busy time. */
  readonly utilizationWindowMs: number
  readonly idleTimeoutMs: number
  readonly countIsSettled: boolean
}

/** As shipped for self-managed installations. */
export const defaults: NvcfOptions = {
  loopIntervalMs: 30_000,
  lookbackMs: 600_000,
  utilizationWindowMs: 70_000,
  decayFactor: 0.1,
  idleTimeoutMs: 1_800_000,
  up: { thresholdPercent: 70, factor: 1.2, stickiness: null },
  down: { thresholdPercent: 30, factor: 0.8, stickiness: null },
  countIsSettled: true
}

/** What its code takes where a setting is missing. */
export const codeDefaults: NvcfOptions = { ...defaults, loopIntervalMs: 15_000, decayFactor: 0 }

export interface Memory {
  readonly ticks: Ticks.Ticks | null
  readonly history: LoadHistory.LoadHistory | null
  readonly arrivalsTotal: number | "unknown"
  /** When a request last began, as far as is known; null = never. */
  readonly invokedAtMs: number | null
  /** The answer that was last sent. */
  readonly requested: { readonly count: number; readonly atMs: number } | null
  /** No later look would find more than the last one did, which was nothing, unless something happens. */
  readonly isQuiet: boolean
}

const empty: Memory = {
  ticks: null,
  history: null,
  arrivalsTotal: "unknown",
  invokedAtMs: null,
  requested: null,
  isQuiet: true
}

const minuteMs = 60_000
const requestedTtlMs = 300_000
/** The inner window of the query for recent invocations. */
const invocationWindowMs = 300_000
const countLookbackMs = 300_000
export const bucketsMax = 1_024

const divisor = (one: number, other: number): number => (other === 0 ? one : divisor(other, one % other))

/** Buckets that begin and end at every look, every minute and every edge of a window. */
export const shapeOf = (
  options: Pick<NvcfOptions, "loopIntervalMs" | "utilizationWindowMs" | "lookbackMs">
): LoadHistory.Shape => {
  const bucketMs = divisor(divisor(options.loopIntervalMs, options.utilizationWindowMs), minuteMs)
  const longestMs = Math.max(options.lookbackMs + options.utilizationWindowMs, 2 * minuteMs + countLookbackMs)
  return { bucketMs, bucketsKept: Math.ceil(longestMs / bucketMs) + 1 }
}

/** Throws when that would take more than `bucketsMax` buckets. */
export const nvcf = (options: NvcfOptions = defaults): Policy<Memory> => {
  const shape = shapeOf(options)
  invariant(shape.bucketsKept <= bucketsMax, `${shape.bucketsKept} buckets of ${shape.bucketMs} ms are too many`)
  return {
    name: "nvcf",
    empty,
    decide: (memory, seen) => {
      const observation = Ticks.taken(memory.ticks, seen)
      const { nowMs } = observation
      const due = Ticks.due(memory.ticks, observation, options.loopIntervalMs)
      // What was heard at this look was not yet heard at a beat that was missed.
      const before = due !== null && due.nowMs < nowMs ? memory : heard(memory, observation)
      const [evaluated, looked] =
        due === null || before.history === null ? [before, null] : look(before, before.history, due, shape, options)
      const decision = Ticks.told(looked, due, observation) ?? between(observation, options)
      const known = heard(evaluated, observation)
      const signal = signalOf(observation)
      const history = LoadHistory.observe(
        shape,
        evaluated.history ?? LoadHistory.first(shape, signal, nowMs),
        signal,
        nowMs
      )
      const hasRested = Ticks.isAtRest(decision.desired, observation)
      const isQuiet = known.isQuiet && hasRested
      const wakeAtMs = isQuiet ? null : Ticks.nextMs(nowMs, options.loopIntervalMs)
      return [
        { ...known, history, isQuiet, ticks: Ticks.look(observation, options.loopIntervalMs) },
        { ...decision, wakeAtMs }
      ]
    }
  }
}

/** What drains is still there and still works. */
const signalOf = ({ leased, ready, draining, slotsPerInstance }: Observation): LoadHistory.Signal => ({
  load: leased,
  ready,
  slots: (ready + draining) * Math.max(1, slotsPerInstance)
})

/** Whether requests began since the last look. What ran or waited before the first one counts as begun at it. */
const heard = (memory: Memory, observation: Observation): Memory => {
  const { arrivalsTotal, nowMs, pending, leased, ready, starting, desired } = observation
  if (arrivalsTotal === "unknown") return memory
  const isFirst = memory.arrivalsTotal === "unknown"
  const hasWork = (pending !== "unknown" && pending > 0) || (leased !== "unknown" && leased > 0)
  const isInvoked = isFirst
    ? hasWork || ready + starting + desired > 0
    : arrivalsTotal !== memory.arrivalsTotal && arrivalsTotal > 0
  return {
    ...memory,
    arrivalsTotal,
    invokedAtMs: isInvoked ? nowMs : memory.invokedAtMs,
    isQuiet: memory.isQuiet && !isInvoked
  }
}

const between = ({ desired }: Observation, { loopIntervalMs }: NvcfOptions): Decision => ({
  desired,
  reason: `${plural(desired, "instance")} until the next look, one every ${seconds(loopIntervalMs)}`,
  inputs: { desired, loopIntervalMs },
  wakeAtMs: null
})

const look = (
  memory: Memory,
  before: LoadHistory.LoadHistory,
  at: Observation,
  shape: LoadHistory.Shape,
  options: NvcfOptions
): readonly [Memory, Decision] => {
  const { nowMs, desired } = at
  const history = LoadHistory.advance(shape, before, nowMs)
  const skip = (reason: string, inputs: Inputs, isQuiet = false): readonly [Memory, Decision] => [
    { ...memory, history, isQuiet },
    { desired, reason: `${reason}: ${plural(desired, "instance")} as before`, inputs, wakeAtMs: null }
  ]
  if (at.leased === "unknown" || at.arrivalsTotal === "unknown") {
    return skip("the utilisation or the invocations are unknown", {
      desired,
      leased: at.leased,
      arrivalsTotal: at.arrivalsTotal
    })
  }
  const current = options.countIsSettled ? settledCount(shape, history, nowMs) : at.ready
  if (memory.invokedAtMs === null && current === 0) return skip("it was never invoked", { desired, current }, true)

  const samples = samplesOf(shape, history, options)
  const sinceInvokedMs = memory.invokedAtMs === null ? null : nowMs - memory.invokedAtMs
  const isRecentlyInvoked = sinceInvokedMs !== null && sinceInvokedMs < options.idleTimeoutMs + invocationWindowMs
  const requested =
    memory.requested !== null && nowMs - memory.requested.atMs < requestedTtlMs ? memory.requested.count : null
  const verdict = NvcfRules.decide(options, { samples, current, isRecentlyInvoked, requested })
  const newest = samples.at(-1) ?? null
  const isQuiet = !isRecentlyInvoked && history.closed.every(({ ready, slots }) => ready === 0 && slots === 0)
  const inputs: Inputs = {
    desired,
    current,
    ready: at.ready,
    newestPercent: newest,
    meanPercent: verdict.mean,
    samples: samples.length,
    requested,
    rule: verdict.rule,
    answer: verdict.desired,
    upPercent: options.up.thresholdPercent,
    upFactor: options.up.factor,
    downPercent: options.down.thresholdPercent,
    downFactor: options.down.factor,
    idleTimeoutMs: options.idleTimeoutMs,
    sinceInvokedMs
  }
  const text = explain({ verdict, newest, current, requested, sinceInvokedMs, options })
  if (verdict.desired === null) return skip(text, inputs)
  if (verdict.desired === requested) {
    return skip(
      `${text}, which was requested less than ${seconds(requestedTtlMs)} ago`,
      { ...inputs, requestedTtlMs },
      isQuiet
    )
  }
  return [
    { ...memory, history, isQuiet, requested: { count: verdict.desired, atMs: nowMs } },
    { desired: verdict.desired, reason: text, inputs, wakeAtMs: null }
  ]
}

/** The last of the six minutes that end with the settled one at which anything ran. */
const settledCount = (shape: LoadHistory.Shape, history: LoadHistory.LoadHistory, nowMs: number): number => {
  const endMs = Math.floor(nowMs / minuteMs) * minuteMs - minuteMs
  for (let atMs = endMs; atMs >= endMs - countLookbackMs; atMs -= minuteMs) {
    const ready = LoadHistory.bucketAt(shape, history, nowMs - atMs).ready
    if (ready > 0) return ready
  }
  return 0
}

const samplesOf = (
  shape: LoadHistory.Shape,
  history: LoadHistory.LoadHistory,
  { lookbackMs, utilizationWindowMs }: NvcfOptions
): ReadonlyArray<number> => {
  const samples: Array<number> = []
  for (let agoMs = Math.floor(lookbackMs / minuteMs) * minuteMs; agoMs >= 0; agoMs -= minuteMs) {
    const slots = LoadHistory.bucketAt(shape, history, agoMs).slots
    const busy = LoadHistory.average(shape, history, utilizationWindowMs, agoMs)
    if (slots > 0 && busy !== "unknown") samples.push((100 * busy) / slots)
  }
  return samples
}

interface Explained {
  readonly verdict: NvcfRules.Verdict
  readonly newest: number | null
  readonly current: number
  readonly requested: number | null
  readonly sinceInvokedMs: number | null
  readonly options: NvcfOptions
}

const explain = ({ verdict, newest, current, requested, sinceInvokedMs, options }: Explained): string => {
  const { desired, rule, mean } = verdict
  const answer = plural(desired ?? 0, "instance")
  const last = figure(newest ?? 0)
  const { up, down } = options
  switch (rule) {
    case "stale-zero":
      return `${plural(current, "instance")} counted although ${requested} were requested, so no decision`
    case "zero": {
      const since = sinceInvokedMs === null ? "never invoked" : `not invoked for ${seconds(sinceInvokedMs)}`
      return `${since}, and a mean of ${figure(mean)} % is below ${down.thresholdPercent} %: ${answer}`
    }
    case "empty":
      return `no sample of utilisation, ${current} counted: ${answer}`
    case "up":
      return `${beyond(up, "above", last)}, ${current} counted × ${up.factor}: ${answer}`
    case "down":
      return `${beyond(down, "below", last)}, ${current} counted × ${down.factor}: ${answer}`
    case "rest": {
      const isWithin = newest !== null && newest >= down.thresholdPercent && newest <= up.thresholdPercent
      const text = isWithin ? "is within" : "is not for long enough outside of"
      return `${last} % ${text} ${down.thresholdPercent} to ${up.thresholdPercent} %: ${answer}`
    }
  }
}

/** Sticky, the newest sample need not be beyond the threshold itself. */
const beyond = (
  { thresholdPercent, stickiness }: NvcfRules.Direction,
  side: "above" | "below",
  last: string
): string =>
  stickiness === null
    ? `${last} % is ${side} ${thresholdPercent} %`
    : `enough samples are ${side} ${thresholdPercent} %, the newest is ${last} %`
