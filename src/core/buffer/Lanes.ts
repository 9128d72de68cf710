/**
 * Order of the ready requests of one version: first in, first out within a tenant, deficit round robin between tenants.
 *
 * The lanes of the tenants that have something ready form a ring, each knowing its neighbours; the version knows the
 * lane whose turn it is. A new lane gets its turn last.
 *
 * Law: within a tenant the oldest ready request is the next one, redelivered or not. Between tenants that both have
 * something ready, the served cost differs by at most one quantum and one request.
 *
 * @module
 */
import * as IntMap from "../collections/IntMap.ts"
import * as IntSet from "../collections/IntSet.ts"
import { invariant } from "../collections/invariant.ts"
import type { Lane, Mutable, Version } from "./BufferState.ts"
import type { Draft } from "./Draft.ts"

/** What a tenant may spend each time its turn comes. */
const quantum = 1
/** What a request costs its tenant. One each: tenants share by count. */
const requestCost = 1

export const enter = (draft: Draft, version: Mutable<Version>, tenant: number, sequence: number): void => {
  const { edit } = draft.state
  version.readyCount += 1
  const lane = IntMap.get(version.lanes, tenant)
  if (lane !== undefined) {
    const { deficit, previous, next } = lane
    return setLane(draft, version, tenant, { queue: IntSet.add(lane.queue, sequence, edit), deficit, previous, next })
  }
  const queue = IntSet.add(IntSet.empty, sequence, edit)
  const { turn } = version
  if (turn === nobody) {
    version.turn = tenant
    return setLane(draft, version, tenant, { queue, deficit: quantum, previous: tenant, next: tenant })
  }
  const { previous } = laneOf(version, turn)
  setLane(draft, version, tenant, { queue, deficit: quantum, previous, next: turn })
  link(draft, version, previous, tenant)
  link(draft, version, tenant, turn)
}

export const leave = (draft: Draft, version: Mutable<Version>, tenant: number, sequence: number): void => {
  const { edit } = draft.state
  const lane = laneOf(version, tenant)
  const { deficit, previous, next } = lane
  const queue = IntSet.remove(lane.queue, sequence, edit)
  version.readyCount -= 1
  if (queue.size > 0) return setLane(draft, version, tenant, { queue, deficit, previous, next })
  // A tenant that has nothing to be served saves nothing for later.
  version.lanes = IntMap.remove(version.lanes, tenant, edit)
  if (next === tenant) {
    version.turn = nobody
    return
  }
  link(draft, version, previous, next)
  if (version.turn === tenant) version.turn = next
}

/** The request whose turn it is; its tenant pays for it. There must be one. */
export const choose = (draft: Draft, version: Mutable<Version>): number => {
  for (;;) {
    const tenant = version.turn
    const { queue, deficit, previous, next } = laneOf(version, tenant)
    const sequence = IntSet.first(queue)
    invariant(sequence !== undefined, "a lane has a request")
    // Alone in the ring there is nobody to be fair to.
    if (next === tenant) return sequence
    const isServed = deficit >= requestCost
    const left = isServed ? deficit - requestCost : deficit
    // Who cannot pay for another is over and may spend a quantum more the next time; so a request is reached after
    // cost / quantum rounds.
    const isOver = left < requestCost
    setLane(draft, version, tenant, { queue, deficit: isOver ? left + quantum : left, previous, next })
    if (isOver) version.turn = next
    if (isServed) return sequence
  }
}

/** No lane: the ring is empty. */
export const nobody = -1

/** Makes `next` the lane after `previous`; both must be there. */
const link = (draft: Draft, version: Mutable<Version>, previous: number, next: number): void => {
  const one = laneOf(version, previous)
  setLane(draft, version, previous, { queue: one.queue, deficit: one.deficit, previous: one.previous, next })
  const other = laneOf(version, next)
  setLane(draft, version, next, { queue: other.queue, deficit: other.deficit, previous, next: other.next })
}

const setLane = (draft: Draft, version: Mutable<Version>, tenant: number, lane: Lane): void => {
  version.lanes = IntMap.set(version.lanes, tenant, lane, draft.state.edit)
}

const laneOf = (version: Mutable<Version>, tenant: number): Lane => {
  const lane = IntMap.get(version.lanes, tenant)
  invariant(lane !== undefined, "a tenant with ready requests has a lane")
  return lane
}
