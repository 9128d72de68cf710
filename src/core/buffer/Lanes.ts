/**
 * Order of the ready requests of one version: class `deadline` before class `opportunistic`; within a class deficit
 * round robin between tenants; within a tenant first in, first out.
 *
 * A lane is what one tenant has ready in one class. The lanes of a class form a ring, each knowing its neighbours; the
 * version knows the lane whose turn it is. A lane that enters gets its turn last.
 *
 * A tenant that lets rounds pass saves its turns, up to `savedTurnsMax`, and spends them one after the other when it has
 * something ready: so who stays below its share does not wait longer because another has a long queue. A lane that became
 * empty rests outside of the ring for this; of many that rest some are forgotten, and have saved nothing.
 *
 * Laws: L21 within a tenant and class the oldest ready request is the next one, redelivered or not; while a tenant has
 * something ready in a class, no other is served more often there than it is, but for the saved turns and two. L22 nothing
 * opportunistic is chosen while something of class `deadline` is ready.
 *
 * @module
 */
import * as IntMap from "../collections/IntMap.ts"
import * as IntSet from "../collections/IntSet.ts"
import { invariant } from "../collections/invariant.ts"
import type { ServiceClass } from "./BufferEvent.ts"
import type { Lane, Mutable, Version } from "./BufferState.ts"
import type { Draft } from "./Draft.ts"

/** What a tenant may spend each time its turn comes. */
const quantum = 1
/** What a request costs its tenant. One each: tenants share by count. */
const requestCost = 1
/** Of a tenant that had nothing ready: what it may spend at once beyond its quantum. Others wait for so many more. */
export const savedTurnsMax = 8
/** So many empty lanes may rest before they are swept out. */
export const restingMax = 256

/** No lane: the ring is empty. */
export const nobody = -1

/** Of a lane. The last bit is the class. */
export const keyOf = (tenant: number, waitsAs: ServiceClass): number =>
  tenant * 2 + (waitsAs === "opportunistic" ? 1 : 0)

export const classOf = (key: number): ServiceClass => (key % 2 === 1 ? "opportunistic" : "deadline")

export const enter = (draft: Draft, version: Mutable<Version>, key: number, sequence: number): void => {
  const { edit } = draft.state
  version.readyCount += 1
  const lane = IntMap.get(version.lanes, key)
  if (lane !== undefined && lane.queue.size > 0) {
    own(draft, version, key, lane).queue = IntSet.add(lane.queue, sequence, edit)
    return
  }
  const queue = IntSet.add(IntSet.empty, sequence, edit)
  const turn = turnOf(version, key)
  const previous = turn === nobody ? key : laneOf(version, turn).previous
  const round = turn === nobody ? lastRoundOf(version, key) : laneOf(version, previous).round
  // Not known, or forgotten: it has saved nothing.
  const saved = lane === undefined ? 0 : lane.deficit - quantum + Math.max(0, round - lane.round)
  const deficit = quantum + Math.min(savedTurnsMax, saved)
  if (lane !== undefined) version.restingCount -= 1
  if (turn === nobody) {
    setTurn(version, key, key)
    return setLane(version, key, { queue, deficit, round, previous: key, next: key, edit })
  }
  setLane(version, key, { queue, deficit, round, previous, next: turn, edit })
  link(draft, version, previous, key)
  link(draft, version, key, turn)
}

export const leave = (draft: Draft, version: Mutable<Version>, key: number, sequence: number): void => {
  const { edit } = draft.state
  const lane = own(draft, version, key, laneOf(version, key))
  const { previous, next } = lane
  lane.queue = IntSet.remove(lane.queue, sequence, edit)
  version.readyCount -= 1
  if (lane.queue.size > 0) return
  rest(version, lane)
  if (next === key) {
    setLastRound(version, key, lane.round)
    setTurn(version, key, nobody)
    return
  }
  link(draft, version, previous, next)
  if (turnOf(version, key) === key) setTurn(version, key, next)
}

/** The request whose turn it is; its tenant pays for it. There must be one. */
export const choose = (draft: Draft, version: Mutable<Version>): number => {
  for (;;) {
    const key = version.deadlineTurn === nobody ? version.opportunisticTurn : version.deadlineTurn
    const lane = laneOf(version, key)
    const { queue, deficit, next } = lane
    const sequence = IntSet.first(queue)
    invariant(sequence !== undefined, "a lane has a request")
    const isServed = deficit >= requestCost
    const left = isServed ? deficit - requestCost : deficit
    // Who cannot pay for another is over and may spend a quantum more the next time; so a request is reached after
    // cost / quantum rounds. Alone in the ring each request is a round, and costs what was saved.
    const isOver = left < requestCost || next === key
    const owned = own(draft, version, key, lane)
    owned.deficit = left < requestCost ? left + quantum : left
    if (isOver) {
      owned.round += 1
      setTurn(version, key, next)
    }
    if (isServed) return sequence
  }
}

/** An empty lane leaves the ring and stays, for what its tenant has saved and will. */
const rest = (version: Mutable<Version>, lane: Mutable<Lane>): void => {
  lane.queue = IntSet.empty
  lane.previous = nobody
  lane.next = nobody
  version.restingCount += 1
  if (version.restingCount > Math.max(restingMax, IntMap.size(version.lanes) / 2)) sweep(version, lane.edit)
}

const sweep = (version: Mutable<Version>, edit: number): void => {
  const resting: Array<number> = []
  IntMap.forEach(version.lanes, ({ queue }, key) => {
    if (queue.size === 0) resting.push(key)
  })
  for (const key of resting) version.lanes = IntMap.remove(version.lanes, key, edit)
  version.restingCount = 0
}

/** Makes `next` the lane after `previous`; both must be there. */
const link = (draft: Draft, version: Mutable<Version>, previous: number, next: number): void => {
  own(draft, version, previous, laneOf(version, previous)).next = next
  own(draft, version, next, laneOf(version, next)).previous = previous
}

/** The lane itself where it carries the edit of the state, else a copy that takes its place. */
const own = (draft: Draft, version: Mutable<Version>, key: number, lane: Lane): Mutable<Lane> => {
  const { edit } = draft.state
  if (lane.edit === edit) return lane
  const { queue, deficit, round, previous, next } = lane
  const copy = { queue, deficit, round, previous, next, edit }
  setLane(version, key, copy)
  return copy
}

/** Of the class of `key`. */
const turnOf = (version: Mutable<Version>, key: number): number =>
  classOf(key) === "deadline" ? version.deadlineTurn : version.opportunisticTurn

const setTurn = (version: Mutable<Version>, key: number, turn: number): void => {
  if (classOf(key) === "deadline") version.deadlineTurn = turn
  else version.opportunisticTurn = turn
}

/** The round in which the ring of this class became empty. */
const lastRoundOf = (version: Mutable<Version>, key: number): number =>
  classOf(key) === "deadline" ? version.deadlineRound : version.opportunisticRound

const setLastRound = (version: Mutable<Version>, key: number, round: number): void => {
  if (classOf(key) === "deadline") version.deadlineRound = round
  else version.opportunisticRound = round
}

const setLane = (version: Mutable<Version>, key: number, lane: Lane): void => {
  version.lanes = IntMap.set(version.lanes, key, lane, lane.edit)
}

const laneOf = (version: Mutable<Version>, key: number): Lane => {
  const lane = IntMap.get(version.lanes, key)
  invariant(lane !== undefined, "a tenant with ready requests has a lane")
  return lane
}
