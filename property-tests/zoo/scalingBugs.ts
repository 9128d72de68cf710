/**
 * Scaling gone wrong on purpose: each has one bug that a named law must kill. A law that lets its bug live is no law.
 *
 * @module
 */
import { demand } from "../../src/core/scaling/DemandPolicy.ts"
import * as HistogramPolicy from "../../src/core/scaling/HistogramPolicy.ts"
import * as HpaPolicy from "../../src/core/scaling/HpaPolicy.ts"
import * as KedaPolicy from "../../src/core/scaling/KedaPolicy.ts"
import * as KnativePolicy from "../../src/core/scaling/KnativePolicy.ts"
import * as NvcfPolicy from "../../src/core/scaling/NvcfPolicy.ts"
import * as NvcfRules from "../../src/core/scaling/NvcfRules.ts"
import type { Decision, Observation, Policy, Reading } from "../../src/core/scaling/Policy.ts"
import * as Scaling from "../../src/core/scaling/Scaling.ts"

/** A machine under test: what the laws need of `Scaling.running`. */
export type Start = () => Scaling.Running

const withPolicy =
  <Memory>(policy: Policy<Memory>): Start =>
  () =>
    Scaling.running(policy)

/** The machine without the guard around its policy: what the policy says is done. */
const unguarded = <Memory>(policy: Policy<Memory>): Start => {
  const running = (state: Scaling.State<Memory>): Scaling.Running => ({
    policy: policy.name,
    desired: state.desired,
    next: (event) => {
      if (event._tag === "Undeployed") return [running({ memory: policy.empty, desired: 0 }), []]
      const observation = { ...event.observation, desired: state.desired }
      const [memory, decision] = policy.decide(state.memory, observation)
      const commands =
        decision.wakeAtMs === null
          ? []
          : [Scaling.Command.WakeAt({ atMs: Math.max(decision.wakeAtMs, observation.nowMs + 1) })]
      return [running({ memory, desired: decision.desired }), commands]
    }
  })
  return () => running(Scaling.empty(policy))
}

const answer = (desired: number) => ({ desired, reason: "", inputs: {}, wakeAtMs: null })

/** Unknown read as zero: what a dashboard without data does to a fleet. */
export const unknownIsZero = unguarded<null>({
  name: "unknown-is-zero",
  empty: null,
  decide: (memory, { pending, leased }) => {
    const present = (pending === "unknown" ? 0 : pending) + (leased === "unknown" ? 0 : leased)
    return [memory, answer(present)]
  }
})

/** No bounds. */
export const boundless = unguarded(demand)

/** Looks at the queue alone, as if what runs needed nothing to run on. */
export const pendingOnly = unguarded<null>({
  name: "pending-only",
  empty: null,
  decide: (memory, { pending, spec }) => [
    memory,
    answer(Math.min(Math.max(pending === "unknown" ? 0 : pending, spec.minInstances), Math.max(1, spec.maxInstances)))
  ]
})

/** Utilisation of what is ready: at zero instances it is zero, and stays so. */
export const neverFromZero = unguarded<null>({
  name: "never-from-zero",
  empty: null,
  decide: (memory, { ready, spec }) => [
    memory,
    answer(Math.min(Math.max(ready, spec.minInstances), Math.max(1, spec.maxInstances)))
  ]
})

/** Asks for more than it has, for ever. */
export const restless = withPolicy<number>({
  name: "restless",
  empty: 0,
  decide: (count, { spec }) => [count + 1, answer(spec.minInstances + (count % 2))]
})

/** Adds what is expected to what is there, so that each request counts twice. */
export const countsTwice = withPolicy<null>({
  name: "counts-twice",
  empty: null,
  decide: (memory, { pending, leased, slotsPerInstance }) => {
    const present = pending === "unknown" || leased === "unknown" ? 0 : pending + leased
    return [memory, answer(Math.ceil((2 * present) / slotsPerInstance))]
  }
})

/** Forgets that it was busy a moment ago. */
export const impatient = withPolicy<null>({
  name: "impatient",
  empty: null,
  decide: (memory, { pending, leased, slotsPerInstance }) => {
    const present = pending === "unknown" || leased === "unknown" ? 0 : pending + leased
    return [memory, answer(Math.ceil(present / slotsPerInstance))]
  }
})

/** Goes down in the end, but orders no wake-up and waits for luck. */
export const sleepsOver = (): Scaling.Running => {
  const silent = (inner: Scaling.Running): Scaling.Running => ({
    policy: inner.policy,
    desired: inner.desired,
    next: (event) => {
      const [next, commands] = inner.next(event)
      return [silent(next), commands.filter(({ _tag }) => _tag !== "WakeAt")]
    }
  })
  return silent(Scaling.running(demand))
}

/** Shrinks after so many looks, however little time they took. */
export const countsLooks: Policy<number> = {
  name: "counts-looks",
  empty: 0,
  decide: (looks, observation) => [
    looks + 1,
    { desired: looks > 5 ? 0 : 3, reason: "so many looks were enough", inputs: {}, wakeAtMs: observation.nowMs + 9_000 }
  ]
}

/** Says something that nobody measured. */
export const makesFiguresUp: Policy<null> = {
  name: "makes-figures-up",
  empty: null,
  decide: (memory, { ready }) => [
    memory,
    { desired: ready, reason: `${ready} of 4711 instances are enough`, inputs: { ready }, wakeAtMs: null }
  ]
}

/** 1 and 2 in turn. */
export const alternating = (name: string, first: number): Policy<number> => ({
  name,
  empty: first,
  decide: (turn, _) => [turn + 1, { desired: 1 + (turn % 2), reason: `${name} again`, inputs: {}, wakeAtMs: null }]
})

const knativeWith =
  (bug: (memory: KnativePolicy.Memory, observation: Observation) => KnativePolicy.Memory) =>
  (options: KnativePolicy.KnativeOptions): Policy<KnativePolicy.Memory> => {
    const policy = KnativePolicy.knative(options)
    return { ...policy, decide: (memory, observation) => policy.decide(bug(memory, observation), observation) }
  }

/** Knative with one thing forgotten. */
export const knatives = {
  noGrace: (options: KnativePolicy.KnativeOptions) => KnativePolicy.knative({ ...options, scaleToZeroGraceMs: 0 }),
  noPanic: knativeWith((memory) => ({ ...memory, panic: null })),
  panicEndsAtOnce: knativeWith((memory, { nowMs }) => ({
    ...memory,
    panic: memory.panic === null || memory.panic.sinceMs < nowMs - 2_000 ? null : memory.panic
  })),
  unknownIsNothing: (options: KnativePolicy.KnativeOptions): Policy<KnativePolicy.Memory> => {
    const policy = KnativePolicy.knative(options)
    const zero = (reading: Reading) => (reading === "unknown" ? 0 : reading)
    return {
      ...policy,
      decide: (memory, observation) =>
        policy.decide(memory, {
          ...observation,
          pending: zero(observation.pending),
          leased: zero(observation.leased)
        })
    }
  }
} as const

/** In panic, and yet it goes down with the load. */
export const panicLetsGo = (options: KnativePolicy.KnativeOptions): Policy<KnativePolicy.Memory> => {
  const policy = KnativePolicy.knative(options)
  return {
    ...policy,
    decide: (memory, observation) =>
      policy.decide(
        memory.panic === null ? memory : { ...memory, panic: { ...memory.panic, highest: 0 } },
        memory.panic === null ? observation : { ...observation, desired: 0 }
      )
  }
}

type HpaOptions = HpaPolicy.HpaOptions

/** Kubernetes' autoscaler with one thing forgotten. */
export const hpas = {
  noStabilization: (options: HpaOptions) => HpaPolicy.hpa({ ...options, stabilizationDownMs: 0 }),
  noTolerance: (options: HpaOptions) => HpaPolicy.hpa({ ...options, tolerance: 0 }),
  noRateLimit: (options: HpaOptions) =>
    HpaPolicy.hpa({ ...options, scaleUp: { percent: null, pods: null, periodMs: 1_000 } }),
  unreadyIsBusy: (options: HpaOptions): Policy<HpaPolicy.Memory> => {
    const policy = HpaPolicy.hpa(options)
    return { ...policy, decide: (memory, observation) => policy.decide(memory, { ...observation, starting: 0 }) }
  }
} as const

type KedaOptions = KedaPolicy.KedaOptions

/** KEDA with one thing forgotten. */
export const kedas = {
  noCooldown: (options: KedaOptions) => KedaPolicy.keda({ ...options, cooldownMs: 0 }),
  activatesTooSoon: (options: KedaOptions) =>
    KedaPolicy.keda({ ...options, activationThreshold: options.activationThreshold - 1 }),
  unknownIsInactive: (options: KedaOptions): Policy<KedaPolicy.Memory> => {
    const policy = KedaPolicy.keda(options)
    return {
      ...policy,
      decide: (memory, observation) =>
        policy.decide(memory, observation.leased === "unknown" ? { ...observation, leased: 0 } : observation)
    }
  }
} as const

type NvcfDecide = typeof NvcfRules.decide

/** The rules of NVCF with one thing otherwise. */
export const nvcfs: Readonly<Record<string, NvcfDecide>> = {
  doublePrecision: (rules, figures) => {
    const verdict = NvcfRules.decide(rules, figures)
    const base = Math.max(1, figures.current)
    return verdict.rule === "up" ? { ...verdict, desired: Math.ceil((base * (rules.up.factor * 10)) / 10) } : verdict
  },
  downFirst: (rules, figures) => {
    const verdict = NvcfRules.decide(rules, figures)
    if (verdict.rule !== "up") return verdict
    const flipped = NvcfRules.decide({ ...rules, up: { ...rules.up, thresholdPercent: 1e9 } }, figures)
    return flipped.rule === "down" ? flipped : verdict
  },
  thresholdCounts: (rules, figures) =>
    NvcfRules.decide({ ...rules, up: { ...rules.up, thresholdPercent: rules.up.thresholdPercent - 1e-5 } }, figures),
  zeroWaits: (rules, figures) => {
    const verdict = NvcfRules.decide(rules, figures)
    if (verdict.rule !== "zero") return verdict
    const awake = NvcfRules.decide(rules, { ...figures, isRecentlyInvoked: true })
    return awake.rule === "up" ? awake : verdict
  },
  staleZeroForgotten: (rules, figures) => NvcfRules.decide(rules, { ...figures, requested: null })
}

type NvcfOptions = NvcfPolicy.NvcfOptions

/** NVCF's loop with one thing otherwise. */
export const nvcfLoops = {
  presentCount: (options: NvcfOptions) => NvcfPolicy.nvcf({ ...options, countIsSettled: false }),
  forgetful: (options: NvcfOptions): Policy<NvcfPolicy.Memory> => {
    const policy = NvcfPolicy.nvcf(options)
    return {
      ...policy,
      decide: (memory, observation) => policy.decide({ ...memory, requested: null }, observation)
    }
  },
  unknownIsIdle: (options: NvcfOptions): Policy<NvcfPolicy.Memory> => {
    const policy = NvcfPolicy.nvcf(options)
    return {
      ...policy,
      decide: (memory, observation) =>
        policy.decide(memory, observation.leased === "unknown" ? { ...observation, leased: 0 } : observation)
    }
  }
} as const

type HistogramOptions = HistogramPolicy.HistogramOptions

/** The histogram policy with one thing forgotten. */
export const histograms = {
  neverPreWarms: (options: HistogramOptions) => HistogramPolicy.histogram({ ...options, headPercentile: 0 }),
  noMargin: (options: HistogramOptions) => HistogramPolicy.histogram({ ...options, marginShare: 0 }),
  beyondIsWithin: (options: HistogramOptions) => HistogramPolicy.histogram({ ...options, beyondShareMax: 1 }),
  learnsFromTheUnknown: (options: HistogramOptions): Policy<HistogramPolicy.Memory> => {
    const policy = HistogramPolicy.histogram(options)
    return {
      ...policy,
      decide: (memory, observation) => {
        const idle = memory.idle === null ? null : { ...memory.idle, isWhole: true }
        return policy.decide({ ...memory, idle }, observation)
      }
    }
  }
} as const

const wakesAgain = (desired: number, { nowMs }: Observation): Decision => ({
  desired,
  reason: "again",
  inputs: {},
  wakeAtMs: nowMs + 60_000
})

/** Under a steady load: to and fro, or ever more. */
export const unsettled: Readonly<Record<string, Policy<number>>> = {
  toAndFro: {
    name: "to-and-fro",
    empty: 0,
    decide: (turn, observation) => [turn + 1, wakesAgain(40 + (turn % 2), observation)]
  },
  everMore: {
    name: "ever-more",
    empty: 0,
    decide: (turn, observation) => [turn + 1, wakesAgain(40 + turn / 10, observation)]
  }
}
