/**
 * What to order so that the instances of one version become what was decided: desired against observed.
 *
 * Laws (L17, `property-tests/Fleet.laws.test.ts`):
 * - Converges: carried out and planned again, the plan is empty.
 * - Touches its own members alone, each once, in whatever order they are told.
 * - Drains, never kills; nothing that holds work is drained while enough others hold none.
 * - Never more than `desired` of the present generation after a plan, and never fewer because of one.
 * - An older generation is never counted; it leaves at once when it holds nothing, else when a successor is ready.
 * - While a version fails and nothing of it is ready, one instance at a time is tried.
 *
 * @module
 */
import type { Reading } from "../scaling/Policy.ts"
import * as RestartBudget from "./RestartBudget.ts"

export interface Member {
  readonly id: string
  readonly generation: number
  readonly state: "requested" | "starting" | "ready" | "draining"
  /** Requests that its worker holds. */
  readonly leased: Reading
  readonly requestedAtMs: number
  /** Its cluster is being emptied: to be replaced as if it were of an older generation. */
  readonly leaving: boolean
}

export interface Desire {
  readonly desired: number
  /** The present one; null = undeployed, so that no generation counts. */
  readonly generation: number | null
  readonly members: ReadonlyArray<Member>
  readonly nowMs: number
  readonly budget: RestartBudget.State
}

export interface Plan {
  readonly create: number
  readonly drain: ReadonlyArray<{ readonly id: string; readonly reason: string }>
  /** Instances are missing, and the restart budget says not before then; null = nothing is held back by it. */
  readonly retryAtMs: number | null
}

const nothing: Plan = { create: 0, drain: [], retryAtMs: null }
const nobody: ReadonlyArray<Member> = []

export const plan = (desire: Desire): Plan => {
  // Most versions have nothing and want nothing.
  if (desire.members.length === 0 && desire.desired === 0) return nothing
  if (desire.members.length === 0) return firstPlan(desire)
  const [only] = desire.members
  // And of most others the one that is wanted is there.
  if (desire.members.length === 1 && only !== undefined && isRight(only, desire)) return nothing
  const live = desire.members.filter((member) => member.state !== "draining")
  const counted = live.filter((member) => isCounted(member, desire.generation))
  const replaced = live.filter((member) => !isCounted(member, desire.generation))
  const missing = desire.desired - counted.length
  const drain = [
    ...drainReplaced(
      replaced,
      desire,
      counted.some((member) => member.state === "ready")
    ),
    ...drainSurplus(counted, -missing, desire)
  ]
  if (missing <= 0 || desire.generation === null) return { create: 0, drain, retryAtMs: null }
  if (!RestartBudget.mayTry(desire.budget, desire.nowMs)) {
    return { create: 0, drain, retryAtMs: desire.budget.nextTryAtMs }
  }
  return { create: create(missing, counted, desire.budget), drain, retryAtMs: null }
}

/** Nothing is there. */
const firstPlan = ({ desired, generation, budget, nowMs }: Desire): Plan => {
  if (generation === null) return nothing
  if (!RestartBudget.mayTry(budget, nowMs)) return { create: 0, drain: nothing.drain, retryAtMs: budget.nextTryAtMs }
  return { create: create(desired, nobody, budget), drain: nothing.drain, retryAtMs: null }
}

const isCounted = (member: Member, generation: number | null) =>
  generation !== null && member.generation >= generation && !member.leaving

const isRight = (only: Member, { desired, generation }: Desire): boolean =>
  only.state === "draining" ? desired === 0 : desired === 1 && isCounted(only, generation)

/** A version that is broken starts one process at a time, not `desired` of them. */
const create = (missing: number, counted: ReadonlyArray<Member>, budget: RestartBudget.State): number => {
  if (budget.failures === 0 || counted.some((member) => member.state === "ready")) return missing
  return counted.length === 0 ? 1 : 0
}

const drainReplaced = (replaced: ReadonlyArray<Member>, desire: Desire, hasSuccessor: boolean) =>
  replaced
    .filter((member) => desire.generation === null || desire.desired === 0 || member.leased === 0 || hasSuccessor)
    .map((member) => ({
      id: member.id,
      reason:
        desire.generation === null
          ? "the version is not deployed any more"
          : member.leaving && member.generation >= desire.generation
            ? "its cluster is being drained"
            : `generation ${member.generation} is replaced by ${desire.generation}`
    }))

const drainSurplus = (counted: ReadonlyArray<Member>, surplus: number, desire: Desire) =>
  surplus <= 0
    ? []
    : [...counted]
        .sort(byWorth)
        .slice(0, surplus)
        .map((member) => ({ id: member.id, reason: `${desire.desired} desired and ${counted.length} are there` }))

/** Least worth first: what still starts, then what holds least, then the youngest. */
const byWorth = (left: Member, right: Member): number =>
  worth(left) - worth(right) ||
  held(left) - held(right) ||
  right.requestedAtMs - left.requestedAtMs ||
  (left.id < right.id ? -1 : left.id > right.id ? 1 : 0)

const worth = (member: Member): number => (member.state === "ready" || held(member) > 0 ? 1 : 0)

/** Unknown is taken for busy: what may hold work goes last. */
const held = (member: Member): number => (member.leased === "unknown" ? Number.MAX_SAFE_INTEGER : member.leased)
