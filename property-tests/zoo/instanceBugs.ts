/**
 * Instances, fleets and restart budgets gone wrong on purpose: each has one bug that a named law must kill.
 *
 * @module
 */
import * as Fleet from "../../src/core/instance/Fleet.ts"
import * as Instance from "../../src/core/instance/Instance.ts"
import * as RestartBudget from "../../src/core/instance/RestartBudget.ts"

export type Step = typeof Instance.step
export type Plan = typeof Fleet.plan
export type Count = typeof RestartBudget.step

/** What its agent says last is true, also of what was given up. */
export const resurrects: Step = (state, event) => {
  const isBack = Instance.isEnded(state) && event._tag === "Reported" && event.report.state === "ready"
  return isBack ? [Instance.State.Ready({ facts: state.facts }), []] : Instance.step(state, event)
}

/** Waits for what starts as long as it takes. */
export const patient: Step = (state, event) => (event._tag === "Ticked" ? [state, []] : Instance.step(state, event))

/** Counts every end as a failure, also those that were asked for. */
export const countsOrders: Step = (state, event) => {
  const [next, commands] = Instance.step(state, event)
  if (state._tag !== "Draining" || next._tag !== "Stopped") return [next, commands]
  return [next, [...commands, Instance.Command.CountFailure({ readyForMs: null, retryable: true, detail: "ended" })]]
}

/** What was given up is forgotten, whether it runs or not. */
export const leavesOrphans: Step = (state, event) =>
  Instance.isEnded(state) && event._tag === "Reported" ? [state, []] : Instance.step(state, event)

/** Who is to drain is ended at once. */
export const killsInsteadOfDraining: Step = (state, event) => {
  const [next, commands] = Instance.step(state, event)
  return [next, commands.map((each) => (each._tag === "OrderTerminate" ? { ...each, drainMs: 0 } : each))]
}

/** What drains has its drain time and no more, whatever its worker holds. */
export const endsTheHeld: Step = (state, event) =>
  event._tag === "WorkerHolds" ? [state, []] : Instance.step(state, event)

/** An agent that is silent takes its ready instances with it. */
export const silenceKills: Step = (state, event) => {
  if (event._tag !== "AgentSilent" || state._tag !== "Ready") return Instance.step(state, event)
  const { facts } = state
  return [
    Instance.State.Failed({
      facts,
      endedAtMs: event.nowMs,
      detail: event.detail,
      retryable: true,
      orderedAtMs: event.nowMs
    }),
    [Instance.Command.OrderTerminate({ drainMs: 0, graceMs: facts.graceMs, reason: event.detail })]
  ]
}

/** Drains the busiest first. */
export const drainsTheBusy: Plan = (desire) =>
  Fleet.plan({
    ...desire,
    members: desire.members.map((member) => ({ ...member, leased: member.leased === 0 ? 9 : 0 }))
  })

/** What drains still counts, and is drained again. */
export const countsTheDraining: Plan = (desire) =>
  Fleet.plan({
    ...desire,
    members: desire.members.map((member) => (member.state === "draining" ? { ...member, state: "ready" } : member))
  })

/** Orders what is missing although it is on its way. */
export const forgetsTheRequested: Plan = (desire) =>
  Fleet.plan({ ...desire, members: desire.members.filter(({ state }) => state !== "requested") })

/** An instance is an instance, of whatever generation. */
export const keepsTheOld: Plan = (desire) =>
  Fleet.plan({
    ...desire,
    members: desire.members.map((member) => ({ ...member, generation: Number.MAX_SAFE_INTEGER }))
  })

/** A version that fails is started as often as it is desired. */
export const stormsOn: Plan = (desire) => Fleet.plan({ ...desire, budget: RestartBudget.empty })

/** The first of those that are worth the same are drained, in the order in which they come. */
export const byOrderOfCall: Plan = (desire) =>
  Fleet.plan({
    ...desire,
    members: desire.members.map((member, index) => ({ ...member, requestedAtMs: index }))
  })

/** Every instance that fails is a trial of its own. */
export const countsEach: Count = (state, event) =>
  RestartBudget.step(event._tag === "Failed" ? { ...state, lastFailureAtMs: Number.NEGATIVE_INFINITY } : state, event)

/** To become ready is to be healthy. */
export const readyIsHealthy: Count = (state, event) =>
  event._tag === "SeenReady" ? RestartBudget.empty : RestartBudget.step(state, event)

/** A worker that nobody has heard of holds nothing. */
export const unknownIsIdle: Plan = (desire) =>
  Fleet.plan({
    ...desire,
    members: desire.members.map((member) => ({ ...member, leased: member.leased === "unknown" ? 0 : member.leased }))
  })
