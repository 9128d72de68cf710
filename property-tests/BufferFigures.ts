/**
 * What can be asked of a buffer as a whole, counted again from what it says of each request (L2, L11).
 *
 * @module
 */
import * as Buffer from "../src/core/buffer/Buffer.ts"

export interface WrongAnswer {
  readonly law: "L2" | "L11"
  readonly what: string
}

/** `null`: all answers are right. */
export const wrongAnswer = (state: Buffer.State): WrongAnswer | null => {
  const known = Buffer.liveSequences(state)
  const all = known.flatMap((sequence) => Buffer.lookup(state, sequence) ?? [])
  if (all.length !== known.length || !known.every((sequence) => Buffer.isKnown(state, sequence))) {
    return { law: "L2", what: `not all of ${known} are known` }
  }
  const next = Math.max(0, ...known) + 1
  if (Buffer.isKnown(state, next)) return { law: "L2", what: `${next} is known` }
  for (const version of Buffer.versions(state)) {
    const mine = all.filter((request) => request.version === version)
    const waiting = mine.filter((request) => request.state === "pending")
    const leased = mine.filter((request) => request.state === "leased" || request.state === "responding")
    const { freeSlots: _, arrivalsTotal: __, leasedByInstance, ...said } = Buffer.demand(state, version)
    const counted = {
      pending: waiting.length,
      leased: leased.length,
      oldestPendingAtMs: waiting[0]?.arrivedAtMs ?? null
    }
    if (JSON.stringify(said) !== JSON.stringify(counted)) {
      return { law: "L2", what: `${version} has ${JSON.stringify(counted)}, and ${JSON.stringify(said)} is said` }
    }
    const { freeSlots: ___, arrivalsTotal: ____, ...alone } = Buffer.counts(state, version)
    if (JSON.stringify(alone) !== JSON.stringify(counted)) return { law: "L2", what: `${version} has other counts` }
    // An instance without a lease may be named, with none.
    const named = leased.flatMap(({ instanceId }) => instanceId ?? [])
    for (const instance of new Set([...named, ...Object.keys(leasedByInstance)])) {
      const count = named.filter((each) => each === instance).length
      const isRight = leasedByInstance[instance] === count
      if (!isRight) return { law: "L2", what: `${instance} has ${count} leases, not ${leasedByInstance[instance]}` }
    }
  }
  const dueMs = Buffer.nextDueMs(state) ?? Number.POSITIVE_INFINITY
  const late = state.live ? all.find((request) => dueOf(request) < dueMs) : undefined
  return late === undefined ? null : { law: "L11", what: `nobody looks at ${late.sequence} before ${dueMs}` }
}

/** When something becomes of it without an event. */
const dueOf = ({
  state,
  deadlineMs,
  leaseDeadlineMs,
  notBeforeMs,
  told,
  keepUntilMs
}: Buffer.RequestFigures): number =>
  state === "terminal"
    ? told
      ? (keepUntilMs ?? Number.POSITIVE_INFINITY)
      : Number.POSITIVE_INFINITY
    : Math.min(deadlineMs, leaseDeadlineMs ?? Number.POSITIVE_INFINITY, notBeforeMs ?? Number.POSITIVE_INFINITY)
