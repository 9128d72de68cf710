/**
 * Why nothing runs for a version, as one sentence for a person who waits.
 *
 * @module
 */
import type * as Instance from "../../core/instance/Instance.ts"
import type * as RestartBudget from "../../core/instance/RestartBudget.ts"
import type * as Placement from "../../core/placement/Placement.ts"
import { plural, type Reading, seconds } from "../../core/scaling/Policy.ts"

export interface Waiting {
  readonly nowMs: number
  readonly exists: boolean
  readonly spec: { readonly maxInstances: number; readonly concurrency: number } | undefined
  readonly desired: number
  readonly pending: Reading
  readonly instances: ReadonlyArray<{
    readonly id: string
    readonly state: Instance.State
    readonly leased: Reading
    readonly slots: number
  }>
  readonly budget: RestartBudget.State
  /** Why no cluster takes what is missing; null = it is not for want of a cluster. */
  readonly nowhere: string | null
  /** When an order that could not be sent is tried again; null = none. */
  readonly ordersHeldUntilMs: number | null
}

/** Others that could have taken it too, by name. */
const othersMax = 3

/** Why an instance goes to the cluster that was chosen for it. */
export const whyThere = ({ cluster, explanations }: Placement.Placed): string => {
  const fit = explanations.filter(({ isEligible }) => isEligible)
  const others = fit.filter((each) => each.cluster !== cluster)
  const chosen = fit.find((each) => each.cluster === cluster)
  const named = others.slice(0, othersMax).map((each) => `${each.cluster} (${each.text})`)
  if (others.length > othersMax) named.push(`${others.length - othersMax} more`)
  return `${cluster} (${chosen?.text ?? ""})${named.length === 0 ? "" : ` rather than ${named.join(", ")}`}`
}

/** Undefined: a ready instance has a free slot. */
export const whyWaiting = (facts: Waiting): string | undefined => {
  if (!facts.exists) return "the version does not exist"
  if (facts.spec === undefined) return "the version is not deployed"
  const ready = facts.instances.filter(({ state }) => state._tag === "Ready")
  const isFree = ready.some(({ leased, slots }) => leased === "unknown" || leased < slots)
  if (isFree) return undefined
  const parts = [busy(facts, ready.length), starting(facts), failed(facts), held(facts)].filter((part) => part !== "")
  if (parts.length > 0) return parts.join("; ")
  if (facts.desired > 0) return `${plural(facts.desired, "instance")} wanted, none ordered yet`
  if (facts.pending === "unknown")
    return "no instance runs and the demand is unknown: no shard has reported this version"
  return "no instance runs because nothing is pending"
}

const busy = (facts: Waiting, readyCount: number): string => {
  if (readyCount === 0) return ""
  const { leased, slots } = facts.instances
    .filter(({ state }) => state._tag === "Ready")
    .reduce(
      (sum, each) => ({
        leased: sum.leased + (each.leased === "unknown" ? 0 : each.leased),
        slots: sum.slots + each.slots
      }),
      { leased: 0, slots: 0 }
    )
  const limit =
    facts.spec !== undefined && facts.desired >= facts.spec.maxInstances
      ? `, and maxInstances is ${facts.spec.maxInstances}`
      : ""
  return `${readyCount === 1 ? "the ready instance is" : `all ${readyCount} ready instances are`} busy (${leased} of ${plural(slots, "slot")} taken${limit})`
}

const starting = (facts: Waiting): string => {
  const all = facts.instances.filter(({ state }) => state._tag === "Requested" || state._tag === "Starting")
  const oldest = all.reduce<(typeof all)[number] | undefined>(
    (first, each) =>
      first === undefined || each.state.facts.requestedAtMs < first.state.facts.requestedAtMs ? each : first,
    undefined
  )
  if (oldest === undefined) return ""
  const { state } = oldest
  const phase =
    state._tag === "Starting" ? `in phase ${state.phase}` : "ordered, and its agent has not begun to start it"
  if (state.facts.readyAtMs !== null)
    return `instance ${oldest.id} lost the connection of its worker, which may come back`
  const others = all.length > 1 ? ` (and ${all.length - 1} more)` : ""
  return (
    `instance ${oldest.id}${others} is starting since ${seconds(facts.nowMs - state.facts.requestedAtMs)}, ` +
    `${phase}, deadline ${seconds(state.facts.startDeadlineMs)}`
  )
}

const failed = ({ budget, nowMs }: Waiting): string => {
  if (budget.failures === 0) return ""
  const next = budget.nextTryAtMs > nowMs ? `, next try in ${seconds(budget.nextTryAtMs - nowMs)}` : ""
  const last = budget.lastDetail === "" ? "" : `; last: ${budget.lastDetail}`
  return `the start failed ${plural(budget.failures, "time")}${next}${last}`
}

const held = (facts: Waiting): string => {
  if (facts.ordersHeldUntilMs !== null && facts.ordersHeldUntilMs > facts.nowMs) {
    return `the order to start could not be sent, next try in ${seconds(facts.ordersHeldUntilMs - facts.nowMs)}`
  }
  return facts.nowhere ?? ""
}
