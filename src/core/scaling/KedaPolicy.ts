/**
 * KEDA: activation between zero and one by polling, and Kubernetes' horizontal pod autoscaler between one and all.
 *
 * - The metric is what is pending and leased together.
 * - Polls, every `pollingIntervalMs`: above `activationThreshold` is active. Zero and active: to one, or to the minimum.
 *   Nothing active for more than `cooldownMs`: to zero, from whatever is there.
 * - Syncs, every `syncIntervalMs`, while something is there: metric ÷ `threshold` as an average value an instance, by the
 *   rules of `HpaRules.ts`, and never below one.
 * - Unknown: nothing changes, and a poll that saw nothing is not one that saw zero. KEDA's `fallback` is not offered:
 *   what is unknown never lowers the number anyway.
 *
 * Memory: see `HpaRules.ts`.
 * Sources: keda.sh, "Scaling Deployments, StatefulSets & Custom Resources" and "ScaledObject specification".
 *
 * Laws: L14, L15 and H2 in `property-tests/Policies.kubernetes.laws.test.ts`.
 *
 * @module
 */
import { outcome } from "./HpaPolicy.ts"
import * as HpaRules from "./HpaRules.ts"
import type { Decision, Observation, Policy } from "./Policy.ts"
import { figure, plural, seconds, sum } from "./Policy.ts"
import * as Ticks from "./Ticks.ts"

export interface KedaOptions extends HpaRules.Behaviour {
  readonly pollingIntervalMs: number
  readonly cooldownMs: number
  /** Requests an instance should hold; null = its slots. */
  readonly threshold: number | null
  /** Up to this many requests a version at zero stays there, as far as the laws allow. */
  readonly activationThreshold: number
  readonly syncIntervalMs: number
}

export const defaults: KedaOptions = {
  ...HpaRules.defaults,
  pollingIntervalMs: 30_000,
  cooldownMs: 300_000,
  threshold: null,
  activationThreshold: 0,
  syncIntervalMs: 15_000
}

export interface Memory {
  readonly polls: Ticks.Ticks | null
  readonly syncs: Ticks.Ticks | null
  /** The last poll that saw activity; null = none did. */
  readonly activeAtMs: number | null
  /** Null while nothing is there: the autoscaler underneath begins anew with each activation. */
  readonly rules: HpaRules.Memory | null
}

const empty: Memory = { polls: null, syncs: null, activeAtMs: null, rules: null }

export const keda = (options: KedaOptions = defaults): Policy<Memory> => ({
  name: "keda",
  empty,
  decide: (memory, seen) => {
    const observation = Ticks.taken(memory.polls, seen)
    const { nowMs } = observation
    let next = begin(memory, observation)
    let decision = between(observation, options)
    for (const { at, act } of dueLooks(memory, observation, options)) {
      const [after, answer] = act(next, { ...at, desired: decision.desired }, options)
      next = after
      if (answer !== null) decision = answer
    }
    const wakeAtMs = Ticks.isAtRest(decision.desired, observation)
      ? null
      : Math.min(Ticks.nextMs(nowMs, options.syncIntervalMs), Ticks.nextMs(nowMs, options.pollingIntervalMs))
    return [
      {
        ...next,
        rules: decision.desired > 0 ? next.rules : rulesAtZero(next, observation),
        polls: Ticks.look(observation, options.pollingIntervalMs),
        syncs: Ticks.look(observation, options.syncIntervalMs)
      },
      { ...decision, wakeAtMs }
    ]
  }
})

type Look = (memory: Memory, at: Observation, options: KedaOptions) => readonly [Memory, Decision | null]

/** In the order of time; of a sync and a poll at one moment the sync is first, as a poll may undo what it sets. */
const dueLooks = (memory: Memory, observation: Observation, options: KedaOptions) => {
  const sync = Ticks.due(memory.syncs, observation, options.syncIntervalMs)
  const poll = Ticks.due(memory.polls, observation, options.pollingIntervalMs)
  const looks: Array<{ readonly at: Observation; readonly act: Look }> = []
  if (sync !== null) looks.push({ at: sync, act: synced })
  if (poll !== null) looks.push({ at: poll, act: polled })
  return looks.sort((one, other) => one.at.nowMs - other.at.nowMs)
}

/** Work at zero is answered with an instance by the laws around every policy: what follows counts from there. */
const rulesAtZero = ({ rules }: Memory, { pending, leased, spec, nowMs }: Observation): HpaRules.Memory | null => {
  const hasWork = (pending !== "unknown" && pending > 0) || (leased !== "unknown" && leased > 0)
  return hasWork ? (rules ?? HpaRules.begin(Math.max(1, spec.minInstances), nowMs)) : null
}

/** Instances that were there before the first look, which takes them for desired, get a whole cooldown. */
const begin = (memory: Memory, { desired, nowMs }: Observation): Memory => ({
  ...memory,
  activeAtMs: memory.polls === null && desired > 0 ? nowMs : memory.activeAtMs,
  rules: memory.rules ?? (desired > 0 ? HpaRules.begin(desired, nowMs) : null)
})

const between = ({ desired }: Observation, { syncIntervalMs, pollingIntervalMs }: KedaOptions): Decision => ({
  desired,
  reason:
    `${plural(desired, "instance")} until the next look: a poll every ${seconds(pollingIntervalMs)}, ` +
    `a sync every ${seconds(syncIntervalMs)}`,
  inputs: { desired, pollingIntervalMs, syncIntervalMs },
  wakeAtMs: null
})

/** Null: the poll changes nothing, and what was decided before it stands. */
const polled: Look = (memory, at, options) => {
  const { pending, leased, desired, spec, nowMs } = at
  const { activationThreshold, cooldownMs } = options
  const load = sum(pending, leased)
  const inputs = { load, desired, activationThreshold, cooldownMs, minInstances: spec.minInstances }
  if (load === "unknown") return [memory, null]
  if (load > activationThreshold) {
    const next = { ...memory, activeAtMs: nowMs }
    if (desired > 0) return [next, null]
    const answer = Math.max(1, spec.minInstances)
    const reason = `${plural(load, "request")}, more than ${activationThreshold}, activate ${plural(answer, "instance")}`
    return [
      { ...next, rules: HpaRules.begin(answer, nowMs) },
      { desired: answer, reason, inputs, wakeAtMs: null }
    ]
  }
  const isCold = memory.activeAtMs === null || nowMs - memory.activeAtMs > cooldownMs
  if (desired === 0 || spec.minInstances > 0 || !isCold) return [memory, null]
  const reason = `not active for more than ${seconds(cooldownMs)}, the cooldown`
  return [
    { ...memory, rules: null },
    { desired: 0, reason, inputs, wakeAtMs: null }
  ]
}

const synced: Look = (memory, at, options) => {
  const { desired, spec, nowMs, ready, starting } = at
  const load = sum(at.pending, at.leased)
  if (memory.rules === null || desired === 0) return [memory, null]
  if (load === "unknown") {
    const reason = `the metric is unknown: ${plural(desired, "instance")} kept as they are`
    return [memory, { desired, reason, inputs: { load, desired }, wakeAtMs: null }]
  }
  const threshold = options.threshold ?? Math.max(1, at.slotsPerInstance)
  const existing = ready + starting
  const { replicas: recommended, ratio } = HpaRules.byTotal(
    { existing, total: load, targetPerPod: threshold },
    options.tolerance
  )
  const bounds = { current: desired, min: Math.max(1, spec.minInstances), max: Math.max(1, spec.maxInstances), nowMs }
  const [rules, { replicas, stabilized, limitUp, limitDown }] = HpaRules.normalize(
    memory.rules,
    recommended,
    bounds,
    options
  )
  const reason =
    `${plural(load, "request")} at a threshold of ${figure(threshold)}: ${plural(recommended, "instance")} ` +
    `recommended${outcome({ recommended, stabilized, replicas, options })}`
  return [
    { ...memory, rules },
    {
      desired: replicas,
      reason,
      inputs: {
        load,
        threshold,
        existing,
        desired,
        ratio,
        recommended,
        stabilized,
        replicas,
        limitUp,
        limitDown,
        tolerance: options.tolerance,
        stabilizationDownMs: options.stabilizationDownMs,
        stabilizationUpMs: options.stabilizationUpMs
      },
      wakeAtMs: null
    }
  ]
}
