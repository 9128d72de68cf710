/**
 * How many instances one version should have. The machine around a policy: it asks the policy, holds the answer to the
 * laws, and tells what changed.
 *
 * Laws (L14), whatever the policy answers:
 * - min <= desired <= max while deployed; 0 once undeployed.
 * - Down to zero only when pending and leased are known to be 0.
 * - Something pending or leased => desired >= 1.
 * - Unknown demand never lowers desired below what runs, save for `maxInstances`; unknown is not zero.
 * L15: a steady load settles: after two stable windows nothing changes any more.
 *
 * Nothing here is stored. After a restart the windows begin anew, which can only delay a scale-down.
 *
 * @module
 */
import * as Data from "effect/Data"
import type { Decision, Inputs, Observation, Policy } from "./Policy.ts"
import { plural } from "./Policy.ts"

export interface State<Memory> {
  readonly memory: Memory
  readonly desired: number
}

export type Event = Data.TaggedEnum<{
  Observed: { readonly observation: Observation }
  Undeployed: { readonly nowMs: number }
}>
export const Event = Data.taggedEnum<Event>()

export type Command = Data.TaggedEnum<{
  SetDesired: {
    readonly from: number
    readonly to: number
    readonly policy: string
    readonly reason: string
    readonly inputs: Inputs
  }
  /** Ordered again with each observation, so that a timer that fired early is set again. */
  WakeAt: { readonly atMs: number }
}>
export const Command = Data.taggedEnum<Command>()

/** `desired`: what the machine before this one had decided, when the policy of a version is replaced. */
export const empty = <Memory>(policy: Policy<Memory>, desired = 0): State<Memory> => ({
  memory: policy.empty,
  desired
})

type Step<Memory> = readonly [State<Memory>, ReadonlyArray<Command>]

export const step = <Memory>(policy: Policy<Memory>, state: State<Memory>, event: Event): Step<Memory> => {
  if (event._tag === "Undeployed") return undeployed(policy, state)
  const seen = event.observation
  const observation = seen.desired === state.desired ? seen : { ...seen, desired: state.desired }
  const [memory, answer] = policy.decide(state.memory, observation)
  const decision = lawful(answer, observation)
  const next: State<Memory> = { memory, desired: decision.desired }
  if (decision.desired === state.desired && decision.wakeAtMs === null) return [next, none]
  const commands: Array<Command> = []
  if (decision.desired !== state.desired) {
    commands.push({
      _tag: "SetDesired",
      from: state.desired,
      to: decision.desired,
      policy: policy.name,
      reason: decision.reason,
      inputs: decision.inputs
    })
  }
  if (decision.wakeAtMs !== null) {
    commands.push({ _tag: "WakeAt", atMs: Math.max(decision.wakeAtMs, observation.nowMs + 1) })
  }
  return [next, commands]
}

const none: ReadonlyArray<Command> = []

const undeployed = <Memory>(policy: Policy<Memory>, state: State<Memory>): Step<Memory> => {
  const next: State<Memory> = { memory: policy.empty, desired: 0 }
  if (state.desired === 0) return [next, []]
  return [
    next,
    [
      {
        _tag: "SetDesired",
        from: state.desired,
        to: 0,
        policy: policy.name,
        reason: "the version is not deployed any more",
        inputs: {}
      }
    ]
  ]
}

/** The answer of any policy, held to L14. What had to be changed is said in the reason. */
export const lawful = (answer: Decision, observation: Observation): Decision => {
  const { pending, leased, spec } = observation
  const max = Math.max(1, spec.maxInstances)
  const min = Math.min(Math.max(0, spec.minInstances), max)
  const isKnown = pending !== "unknown" && leased !== "unknown"
  const hasWork = (pending !== "unknown" && pending > 0) || (leased !== "unknown" && leased > 0)

  const asked = Number.isFinite(answer.desired) ? Math.ceil(answer.desired) : observation.desired
  const present = Math.max(observation.desired, observation.ready + observation.starting)
  const kept = isKnown ? asked : Math.max(asked, present)
  const awake = hasWork ? Math.max(1, kept) : kept
  const desired = Math.min(Math.max(awake, min), max)
  if (desired === answer.desired) return answer

  const why =
    awake > max
      ? `maxInstances is ${max}`
      : awake < min
        ? `minInstances is ${min}`
        : !isKnown
          ? `the demand is unknown, so ${plural(desired, "instance")} stay`
          : hasWork && kept < 1
            ? "a request waits or runs, so one instance stays"
            : `the answer was ${answer.desired}`
  return { desired, reason: `${answer.reason}; ${why}`, inputs: answer.inputs, wakeAtMs: answer.wakeAtMs }
}

/** A machine whose policy is chosen at run time. */
export interface Running {
  readonly policy: string
  readonly desired: number
  readonly next: (event: Event) => readonly [Running, ReadonlyArray<Command>]
}

export const running = <Memory>(policy: Policy<Memory>, state: State<Memory> = empty(policy)): Running => ({
  policy: policy.name,
  desired: state.desired,
  next: (event) => {
    const [next, commands] = step(policy, state, event)
    return [running(policy, next), commands]
  }
})
