/**
 * Kubernetes' horizontal pod autoscaler on the utilisation of slots: what the ready instances hold ÷ their slots, every
 * `syncIntervalMs`, by the rules of `HpaRules.ts`.
 *
 * - It sees what runs and not what waits: utilisation saturates at 1, so the number grows by at most 1 ÷ target (25 % by
 *   default) and not faster than instances get ready.
 * - It never goes to zero, and cannot begin there.
 * - Unknown utilisation, or none because nothing is ready: nothing changes at that sync.
 *
 * Memory: see `HpaRules.ts`.
 * Sources: kubernetes.io, "Horizontal Pod Autoscaling"; kube-controller-manager for the sync period (15 s) and the
 * tolerance (0.1); 80 % is the target that autoscaling/v2 sets when none is given.
 *
 * Laws: L14, L15 and H1 in `property-tests/Policies.kubernetes.laws.test.ts`.
 *
 * @module
 */
import * as HpaRules from "./HpaRules.ts"
import type { Decision, Observation, Policy } from "./Policy.ts"
import { figure, plural, seconds } from "./Policy.ts"
import * as Ticks from "./Ticks.ts"

export interface HpaOptions extends HpaRules.Behaviour {
  readonly syncIntervalMs: number
  /** Share of the slots that should be in use. */
  readonly targetUtilization: number
}

export const defaults: HpaOptions = { ...HpaRules.defaults, syncIntervalMs: 15_000, targetUtilization: 0.8 }

export interface Memory {
  readonly ticks: Ticks.Ticks | null
  readonly rules: HpaRules.Memory | null
}

const empty: Memory = { ticks: null, rules: null }

export const hpa = (options: HpaOptions = defaults): Policy<Memory> => ({
  name: "hpa",
  empty,
  decide: (memory, seen) => {
    const observation = Ticks.taken(memory.ticks, seen)
    const { syncIntervalMs } = options
    const due = Ticks.due(memory.ticks, observation, syncIntervalMs)
    const rules = memory.rules ?? HpaRules.begin(floorOf(observation), observation.nowMs)
    const [next, decision] =
      due === null ? ([rules, between(observation, syncIntervalMs)] as const) : sync(rules, due, options)
    return [
      { ticks: Ticks.look(observation, syncIntervalMs), rules: next },
      { ...decision, wakeAtMs: Ticks.nextMs(observation.nowMs, syncIntervalMs) }
    ]
  }
})

const floorOf = ({ desired, spec }: Observation): number => Math.max(1, spec.minInstances, desired)

const between = (observation: Observation, syncIntervalMs: number): Decision => {
  const desired = floorOf(observation)
  return {
    desired,
    reason: `${plural(desired, "instance")} until the next sync, one every ${seconds(syncIntervalMs)}`,
    inputs: { desired, syncIntervalMs },
    wakeAtMs: null
  }
}

const sync = (rules: HpaRules.Memory, at: Observation, options: HpaOptions): readonly [HpaRules.Memory, Decision] => {
  const { leased, ready, starting, spec, nowMs } = at
  const current = floorOf(at)
  const slots = Math.max(1, at.slotsPerInstance)
  const targetPerInstance = slots * options.targetUtilization
  const recommendation =
    leased === "unknown"
      ? null
      : HpaRules.byPods(
          { current, ready, unready: starting, usage: leased, targetPerPod: targetPerInstance },
          options.tolerance
        )
  if (recommendation === null) {
    const why = ready === 0 ? `of 0 ready instances nothing is measured` : "the utilisation is unknown"
    const reason = `${why}: ${plural(current, "instance")} kept as they are`
    return [rules, { desired: current, reason, inputs: { desired: current, leased, ready, starting }, wakeAtMs: null }]
  }
  const bounds = { current, min: Math.max(1, spec.minInstances), max: Math.max(1, spec.maxInstances), nowMs }
  const [next, { replicas, stabilized, limitUp, limitDown }] = HpaRules.normalize(
    rules,
    recommendation.replicas,
    bounds,
    options
  )
  const { ratio, replicas: recommended } = recommendation
  const reason =
    `${plural(recommended, "instance")} recommended at ${figure(ratio)} times the target of ` +
    `${figure(targetPerInstance)} requests an instance${outcome({ recommended, stabilized, replicas, options })}`
  return [
    next,
    {
      desired: replicas,
      reason,
      inputs: {
        desired: current,
        leased,
        ready,
        starting,
        targetPerInstance,
        ratio,
        recommended,
        stabilized,
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

interface Outcome {
  readonly recommended: number
  readonly stabilized: number
  readonly replicas: number
  readonly options: HpaRules.Behaviour
}

/** What became of a recommendation, for a person. */
export const outcome = ({ recommended, stabilized, replicas, options }: Outcome): string => {
  const windowMs = stabilized > recommended ? options.stabilizationDownMs : options.stabilizationUpMs
  const held = stabilized === recommended ? "" : `, ${stabilized} in the window of ${seconds(windowMs)}`
  const limited = replicas === stabilized ? "" : `, ${replicas} within the limits`
  return `${held}${limited}`
}
