/**
 * Knative's pod autoscaler (KPA) on concurrency: the mean load of a stable window, and of a short panic window when that
 * asks for twice what is ready.
 *
 * - Every `tickIntervalMs`: wanted = mean load of the window ÷ target, rounded up, for both windows; within the limits of
 *   the scale rates, counted from what is ready.
 * - Panic begins when the panic window wants `panicThreshold` times what is ready. In panic nothing decreases; it ends
 *   when the threshold was not reached for a whole stable window. A machine that begins with more than one ready
 *   instance begins in panic, so that the missing history removes none of them.
 * - To zero only after `scaleToZeroGraceMs` more. Upstream may go sooner within that time.
 * - From zero at the first request, without a tick, to one.
 * - Excess burst capacity decides upstream whether the activator stays in the path. Our buffer always is, so the figure
 *   is told and decides nothing.
 *
 * One deviation: panic begins from what is desired at that moment; upstream's first panic decision may be lower.
 *
 * Memory: one bucket a second of the longer window (60 by default, 3,600 at most).
 * Sources: knative.dev/docs/serving/autoscaling (KPA-specific configuration, scale to zero, target burst capacity);
 * `config-autoscaler` of knative/serving for defaults.
 *
 * Laws: L14, L15 and K1 to K3 in `property-tests/Policies.knative.laws.test.ts`.
 *
 * @module
 */
import * as LoadHistory from "./LoadHistory.ts"
import type { Decision, Inputs, Observation, Policy, Reading } from "./Policy.ts"
import { figure, plural, seconds, sum } from "./Policy.ts"
import * as Ticks from "./Ticks.ts"

export interface KnativeOptions {
  readonly stableWindowMs: number
  readonly panicWindowMs: number
  /** Panic begins at this many times of what is ready. */
  readonly panicThreshold: number
  /** Requests at a time that an instance is meant for; null = its slots. */
  readonly targetConcurrency: number | null
  /** Share of that which the autoscaler aims at. */
  readonly targetUtilization: number
  readonly maxScaleUpRate: number
  readonly maxScaleDownRate: number
  readonly scaleToZeroGraceMs: number
  readonly tickIntervalMs: number
  /** -1 = without limit. */
  readonly targetBurstCapacity: number
}

export const defaults: KnativeOptions = {
  stableWindowMs: 60_000,
  panicWindowMs: 6_000,
  panicThreshold: 2,
  targetConcurrency: null,
  targetUtilization: 0.7,
  maxScaleUpRate: 1_000,
  maxScaleDownRate: 2,
  scaleToZeroGraceMs: 30_000,
  tickIntervalMs: 2_000,
  targetBurstCapacity: 211
}

export interface Memory {
  readonly ticks: Ticks.Ticks | null
  readonly history: LoadHistory.LoadHistory | null
  /** When the threshold was last reached, and what panic has asked for at most; null = no panic. */
  readonly panic: { readonly sinceMs: number; readonly highest: number } | null
  /** When zero was first wanted without a break; null = it is not. */
  readonly zeroSinceMs: number | null
}

const empty: Memory = { ticks: null, history: null, panic: null, zeroSinceMs: null }
const bucketMs = 1_000

export const knative = (options: KnativeOptions = defaults): Policy<Memory> => {
  const { tickIntervalMs } = options
  const shape: LoadHistory.Shape = {
    bucketMs,
    bucketsKept: Math.ceil(Math.max(options.stableWindowMs, options.panicWindowMs) / bucketMs)
  }
  const decide = (memory: Memory, seen: Observation): readonly [Memory, Decision] => {
    const observation = Ticks.taken(memory.ticks, seen)
    const due = Ticks.due(memory.ticks, observation, tickIntervalMs)
    const [evaluated, looked] =
      due === null || memory.history === null ? [memory, null] : evaluate(memory, memory.history, due, shape, options)
    const decision = Ticks.told(looked, due, observation) ?? between(evaluated, observation, options)
    const history = LoadHistory.observe(
      shape,
      evaluated.history ?? LoadHistory.first(shape, signalOf(observation), observation.nowMs),
      signalOf(observation),
      observation.nowMs
    )
    const panic =
      memory.ticks === null && observation.ready > 1
        ? { sinceMs: observation.nowMs, highest: observation.ready }
        : evaluated.panic
    const next: Memory = { ...evaluated, history, panic, ticks: Ticks.look(observation, tickIntervalMs) }
    const answer = poke(decision, observation)
    const wakeAtMs = Ticks.isAtRest(answer.desired, observation)
      ? null
      : Ticks.nextMs(observation.nowMs, tickIntervalMs)
    return [next, { ...answer, wakeAtMs }]
  }
  return { name: "knative", empty, decide }
}

const loadOf = (observation: Observation): Reading => sum(observation.pending, observation.leased)

const signalOf = (observation: Observation): LoadHistory.Signal => ({
  load: loadOf(observation),
  ready: observation.ready,
  slots: observation.slotsPerInstance
})

const between = (memory: Memory, { desired, nowMs }: Observation, { tickIntervalMs }: KnativeOptions): Decision => ({
  desired,
  reason:
    `${plural(desired, "instance")} until the next of the looks at intervals of ${seconds(tickIntervalMs)}` +
    (memory.panic === null ? "" : ", in panic"),
  inputs: { desired, tickIntervalMs, nextTickMs: Ticks.nextMs(nowMs, tickIntervalMs) - nowMs },
  wakeAtMs: null
})

/** The first request for a version without instances is acted on at once. */
const poke = (decision: Decision, observation: Observation): Decision => {
  const load = loadOf(observation)
  if (decision.desired > 0 || load === "unknown" || load === 0) return decision
  return {
    desired: 1,
    reason: `${plural(load, "request")} came while nothing was wanted: 1 instance at once`,
    inputs: { load, desired: observation.desired },
    wakeAtMs: null
  }
}

/** Means are compared after 6 places, so that the noise of the last bits starts no instance. */
const rounded = (value: number): number => Math.round(value * 1e6) / 1e6

const evaluate = (
  memory: Memory,
  before: LoadHistory.LoadHistory,
  at: Observation,
  shape: LoadHistory.Shape,
  options: KnativeOptions
): readonly [Memory, Decision] => {
  const { nowMs, desired, ready } = at
  const history = LoadHistory.advance(shape, before, nowMs)
  const stable = LoadHistory.average(shape, history, options.stableWindowMs)
  const recent = LoadHistory.average(shape, history, options.panicWindowMs)
  if (stable === "unknown" || recent === "unknown") {
    return [{ ...memory, history }, holdUnknown(desired, stable, recent)]
  }

  const capacity = options.targetConcurrency ?? Math.max(1, at.slotsPerInstance)
  const target = Math.max(0.01, capacity * options.targetUtilization)
  const counted = Math.max(1, ready)
  const limitUp = Math.ceil(options.maxScaleUpRate * counted)
  const limitDown = Math.floor(counted / options.maxScaleDownRate)
  const stableLoad = rounded(stable)
  const panicLoad = rounded(recent)
  const wantedByPanic = Math.ceil(rounded(panicLoad / target))
  const limited = (wanted: number) => Math.min(Math.max(wanted, limitDown), limitUp)
  const byStable = limited(Math.ceil(rounded(stableLoad / target)))
  const byPanic = limited(wantedByPanic)

  const isOver = wantedByPanic / counted >= options.panicThreshold
  const isPanicOver = memory.panic !== null && !isOver && memory.panic.sinceMs + options.stableWindowMs < nowMs
  const begun = memory.panic ?? (isOver ? { sinceMs: nowMs, highest: desired } : null)
  const panic =
    begun === null || isPanicOver
      ? null
      : { sinceMs: isOver ? nowMs : begun.sinceMs, highest: Math.max(begun.highest, desired, byStable, byPanic) }

  const wanted = panic?.highest ?? byStable
  const zeroSinceMs = wanted > 0 ? null : (memory.zeroSinceMs ?? nowMs)
  const graceMs = zeroSinceMs === null ? 0 : zeroSinceMs + options.scaleToZeroGraceMs - nowMs
  const answer = wanted === 0 && desired > 0 && graceMs > 0 ? 1 : wanted
  const inputs: Inputs = {
    stableLoad,
    panicLoad,
    target,
    ready,
    desired,
    byStable,
    byPanic,
    limitUp,
    limitDown,
    stableWindowMs: options.stableWindowMs,
    panicWindowMs: options.panicWindowMs,
    panicSinceMs: panic === null ? null : nowMs - panic.sinceMs,
    scaleToZeroGraceMs: options.scaleToZeroGraceMs,
    excessBurstCapacity: excessBurst(at, panicLoad, capacity, options)
  }
  const isInPanic = panic !== null
  const reason = explain({ byStable, byPanic, isInPanic, wanted, answer, options, target, panicLoad, stableLoad })
  return [
    { ...memory, history, panic, zeroSinceMs },
    { desired: answer, reason, inputs, wakeAtMs: null }
  ]
}

const holdUnknown = (desired: number, stableLoad: Reading, panicLoad: Reading): Decision => ({
  desired,
  reason: `the load of a window is unknown: ${plural(desired, "instance")} kept as they are`,
  inputs: { desired, stableLoad, panicLoad },
  wakeAtMs: null
})

const excessBurst = (at: Observation, panicLoad: number, capacity: number, options: KnativeOptions): number => {
  const { targetBurstCapacity } = options
  if (targetBurstCapacity === 0) return 0
  return targetBurstCapacity < 0 ? -1 : Math.floor(at.ready * capacity - targetBurstCapacity - panicLoad)
}

interface Explained {
  readonly byStable: number
  readonly byPanic: number
  readonly isInPanic: boolean
  readonly wanted: number
  readonly answer: number
  readonly options: KnativeOptions
  readonly target: number
  readonly panicLoad: number
  readonly stableLoad: number
}

const explain = (facts: Explained): string => {
  const { byStable, byPanic, isInPanic, wanted, answer, options, target, panicLoad, stableLoad } = facts
  if (isInPanic) {
    return (
      `panic: ${figure(panicLoad)} requests at a time in ${seconds(options.panicWindowMs)} at a target of ` +
      `${figure(target)} want ${plural(byPanic, "instance")}, the stable window ${byStable}; ` +
      `nothing decreases in panic: ${answer}`
    )
  }
  if (wanted === 0 && answer > 0) {
    const graceText = seconds(options.scaleToZeroGraceMs)
    return `no load in ${seconds(options.stableWindowMs)}: ${plural(answer, "instance")} for the grace of ${graceText}`
  }
  return (
    `${figure(stableLoad)} requests at a time in ${seconds(options.stableWindowMs)} at a target of ` +
    `${figure(target)}: ${plural(answer, "instance")}`
  )
}
