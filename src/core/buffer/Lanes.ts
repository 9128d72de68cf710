/**
 * Order of the ready requests of one version: first in, first out within a tenant, deficit round robin between tenants.
 *
 * Law: within a tenant the oldest ready request is the next one, redelivered or not. Between tenants that both have
 * something ready, the served cost differs by at most one quantum and one request.
 *
 * @module
 */
import * as IntMap from "../collections/IntMap.ts"
import { invariant } from "../collections/invariant.ts"
import type { Lane, Version } from "./BufferState.ts"
import type { Draft, Mutable } from "./Draft.ts"

/** What a tenant may spend each time its turn comes. */
const quantum = 1
/** What a request costs its tenant. One each: tenants share by count. */
const requestCost = 1

export const enter = (draft: Draft, version: Mutable<Version>, tenant: number, sequence: number): void => {
  const lane = IntMap.get(version.lanes, tenant)
  const turn = lane === undefined ? draft.state.nextOrder++ : lane.turn
  if (lane === undefined) version.ring = IntMap.set(version.ring, turn, tenant)
  const queue = IntMap.set(lane === undefined ? IntMap.empty<true>() : lane.queue, sequence, true)
  const deficit = lane === undefined ? quantum : lane.deficit
  version.lanes = IntMap.set<Lane>(version.lanes, tenant, { queue, deficit, turn })
  version.readyCount += 1
}

export const leave = (version: Mutable<Version>, tenant: number, sequence: number): void => {
  const lane = laneOf(version, tenant)
  const queue = IntMap.remove(lane.queue, sequence)
  version.readyCount -= 1
  if (queue.size > 0) {
    version.lanes = IntMap.set<Lane>(version.lanes, tenant, { queue, deficit: lane.deficit, turn: lane.turn })
    return
  }
  // A tenant that has nothing to be served saves nothing for later.
  version.lanes = IntMap.remove(version.lanes, tenant)
  version.ring = IntMap.remove(version.ring, lane.turn)
}

/** The request whose turn it is; its tenant pays for it. There must be one. */
export const choose = (draft: Draft, version: Mutable<Version>): number => {
  for (;;) {
    const turn = IntMap.firstKey(version.ring)
    invariant(turn !== undefined, "a version with ready requests has a tenant in its ring")
    const tenant = IntMap.get(version.ring, turn)
    invariant(tenant !== undefined, "a turn belongs to a tenant")
    const lane = laneOf(version, tenant)
    const sequence = IntMap.firstKey(lane.queue)
    invariant(sequence !== undefined, "a lane has a request")
    // Alone in the ring there is nobody to be fair to.
    if (version.ring.size === 1) return sequence
    if (lane.deficit >= requestCost) {
      version.lanes = IntMap.set<Lane>(version.lanes, tenant, { ...lane, deficit: lane.deficit - requestCost })
      return sequence
    }
    // Its turn is over. Each pass gives it a quantum, so a request is reached after cost / quantum passes.
    const later = draft.state.nextOrder++
    version.ring = IntMap.set(IntMap.remove(version.ring, turn), later, tenant)
    version.lanes = IntMap.set<Lane>(version.lanes, tenant, { ...lane, deficit: lane.deficit + quantum, turn: later })
  }
}

const laneOf = (version: Mutable<Version>, tenant: number): Lane => {
  const lane = IntMap.get(version.lanes, tenant)
  invariant(lane !== undefined, "a tenant with ready requests has a lane")
  return lane
}
