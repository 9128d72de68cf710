/**
 * Order of the ready requests of one version: first in, first out within a tenant, deficit round robin between tenants.
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
  const { state } = draft
  const lane = IntMap.get(version.lanes, tenant)
  version.readyCount += 1
  if (lane !== undefined) return setLane(draft, version, tenant, { ...lane, queue: add(draft, lane.queue, sequence) })
  const turn = state.nextOrder++
  version.ring = IntMap.set(version.ring, turn, tenant, state.edit)
  setLane(draft, version, tenant, { queue: add(draft, IntSet.empty, sequence), deficit: quantum, turn })
}

export const leave = (draft: Draft, version: Mutable<Version>, tenant: number, sequence: number): void => {
  const { edit } = draft.state
  const lane = laneOf(version, tenant)
  const queue = IntSet.remove(lane.queue, sequence, edit)
  version.readyCount -= 1
  if (queue.size > 0) return setLane(draft, version, tenant, { ...lane, queue })
  // A tenant that has nothing to be served saves nothing for later.
  version.lanes = IntMap.remove(version.lanes, tenant, edit)
  version.ring = IntMap.remove(version.ring, lane.turn, edit)
}

/** The request whose turn it is; its tenant pays for it. There must be one. */
export const choose = (draft: Draft, version: Mutable<Version>): number => {
  const { state } = draft
  for (;;) {
    const turn = IntMap.firstKey(version.ring)
    invariant(turn !== undefined, "a version with ready requests has a tenant in its ring")
    const tenant = IntMap.get(version.ring, turn)
    invariant(tenant !== undefined, "a turn belongs to a tenant")
    const lane = laneOf(version, tenant)
    const sequence = IntSet.first(lane.queue)
    invariant(sequence !== undefined, "a lane has a request")
    // Alone in the ring there is nobody to be fair to.
    if (IntMap.size(version.ring) === 1) return sequence
    if (lane.deficit >= requestCost) {
      setLane(draft, version, tenant, { ...lane, deficit: lane.deficit - requestCost })
      return sequence
    }
    // Its turn is over. Each pass gives it a quantum, so a request is reached after cost / quantum passes.
    const later = state.nextOrder++
    version.ring = IntMap.set(IntMap.remove(version.ring, turn, state.edit), later, tenant, state.edit)
    setLane(draft, version, tenant, { ...lane, deficit: lane.deficit + quantum, turn: later })
  }
}

const add = (draft: Draft, queue: IntSet.IntSet, sequence: number): IntSet.IntSet =>
  IntSet.add(queue, sequence, draft.state.edit)

const setLane = (draft: Draft, version: Mutable<Version>, tenant: number, lane: Lane): void => {
  version.lanes = IntMap.set(version.lanes, tenant, lane, draft.state.edit)
}

const laneOf = (version: Mutable<Version>, tenant: number): Lane => {
  const lane = IntMap.get(version.lanes, tenant)
  invariant(lane !== undefined, "a tenant with ready requests has a lane")
  return lane
}
