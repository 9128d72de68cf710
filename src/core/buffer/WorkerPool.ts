/**
 * Who can take a request, and how long a lease lives. A lease has no clock of its own: all leases of a worker live one
 * visibility timeout beyond the last sign of it, so a heartbeat costs the same whatever it holds.
 *
 * @module
 */
import * as DueIndex from "../collections/DueIndex.ts"
import * as IntMap from "../collections/IntMap.ts"
import * as IntSet from "../collections/IntSet.ts"
import { invariant } from "../collections/invariant.ts"
import * as Table from "../collections/Table.ts"
import type { Mutable, Version, Worker } from "./BufferState.ts"
import * as Draft from "./Draft.ts"

/** Free slots beyond this are not told apart when the freest worker is looked for. */
const rankedFreeMax = 2 ** 14 - 1

/** Smallest for the worker with the most free slots; -1: none is free. */
const rankOf = (free: number): number => (free === 0 ? -1 : rankedFreeMax - Math.min(free, rankedFreeMax))

/** Adds a worker that takes nothing yet; gives its number. */
export const add = (draft: Draft.Draft, workerId: string, version: number): number => {
  const { state } = draft
  const number = state.workers.next
  state.workers = Table.add<Worker>(state.workers, workerId, {
    workerId,
    instanceId: null,
    version,
    slots: 0,
    status: "away",
    heardMs: draft.nowMs,
    holds: IntSet.empty,
    free: 0,
    rank: -1,
    rankOrder: 0,
    order: state.nextOrder++,
    lookMs: DueIndex.never,
    edit: state.edit
  })
  const row = Draft.version(draft, version)
  row.workers = IntSet.add(row.workers, number, state.edit)
  // If nothing comes of it.
  mayBeGone(draft, number)
  return number
}

/** Its holds must have ended. */
export const drop = (draft: Draft.Draft, number: number): void => {
  const { state } = draft
  const worker = Draft.worker(draft, number)
  worker.status = "away"
  settleRow(draft, number, worker)
  file(draft)
  state.dueWorkers = DueIndex.remove(state.dueWorkers, worker.lookMs, number, state.edit)
  const version = Draft.version(draft, worker.version)
  version.workers = IntSet.remove(version.workers, number, state.edit)
  state.workers = Table.drop(state.workers, worker.workerId, number)
}

/** Brings the version's free slots up to what the worker is now, and sooner or later its place among the idle ones. */
export const settle = (draft: Draft.Draft, number: number): void =>
  settleRow(draft, number, Draft.worker(draft, number))

const settleRow = (draft: Draft.Draft, number: number, worker: Mutable<Worker>): void => {
  if (isGone(worker)) mayBeGone(draft, number)
  const free = worker.status === "ready" ? Math.max(0, worker.slots - worker.holds.size) : 0
  if (free === worker.free && (free === 0 || worker.order === worker.rankOrder)) return
  if (free !== worker.free) Draft.version(draft, worker.version).freeSlots += free - worker.free
  worker.free = free
  if (draft.unfiledWorker === number) return
  file(draft)
  draft.unfiledWorker = number
}

/**
 * Files the worker that is not yet where it belongs in its version's `idle`. At most one is not: the one that answered
 * last, which mostly is given the next request at once, and then nothing was to be done.
 */
export const file = (draft: Draft.Draft): void => {
  const number = draft.unfiledWorker
  if (number === -1) return
  draft.unfiledWorker = -1
  const worker = Draft.worker(draft, number)
  const rank = rankOf(worker.free)
  const { order } = worker
  if (rank === worker.rank && (rank === -1 || order === worker.rankOrder)) return
  const version = Draft.version(draft, worker.version)
  const { edit } = draft.state
  if (worker.rank >= 0) version.idle = without(version.idle, worker.rank, worker.rankOrder, edit)
  if (rank >= 0) {
    const equals = IntMap.get(version.idle, rank) ?? null
    version.idle = IntMap.set(version.idle, rank, IntMap.set(equals, order, number, edit), edit)
  }
  worker.rank = rank
  worker.rankOrder = rank === -1 ? 0 : order
}

const without = (idle: Version["idle"], rank: number, order: number, edit: number): Version["idle"] => {
  // It has the worker that leaves it.
  const left = IntMap.remove(IntMap.get(idle, rank)!, order, edit)
  return left === null ? IntMap.remove(idle, rank, edit) : IntMap.set(idle, rank, left, edit)
}

/** The worker that takes the next request. A slot must be free. */
export const freest = (draft: Draft.Draft, version: Version): number => {
  // None is filed, so the free slot is that of the one that is not.
  if (version.idle === null && draft.unfiledWorker !== -1) return draft.unfiledWorker
  file(draft)
  const rank = IntMap.firstKey(version.idle)
  invariant(rank !== undefined, "free slots are those of idle workers")
  // A rank without workers is not in the index.
  return IntMap.first(IntMap.get(version.idle, rank)!)!
}

export const hold = (draft: Draft.Draft, number: number, sequence: number): void => {
  const worker = Draft.worker(draft, number)
  // An idle worker may have been silent for long: its first lease gets a full timeout, later ones share its clock.
  if (worker.holds.size === 0) worker.heardMs = Math.max(worker.heardMs, draft.nowMs)
  worker.holds = IntSet.add(worker.holds, sequence, draft.state.edit)
  worker.order = draft.state.nextOrder++
  settleRow(draft, number, worker)
  watchRow(draft, number, worker)
}

export const release = (draft: Draft.Draft, number: number, sequence: number): void => {
  const worker = Draft.worker(draft, number)
  worker.holds = IntSet.remove(worker.holds, sequence, draft.state.edit)
  settleRow(draft, number, worker)
}

/** A sign of life. */
export const heard = (draft: Draft.Draft, number: number): void => {
  const worker = Draft.worker(draft, number)
  worker.heardMs = Math.max(worker.heardMs, draft.nowMs)
  if (worker.status !== "silent") return
  worker.status = "ready"
  settleRow(draft, number, worker)
}

/** When its leases run out unless it is heard of. */
export const leaseDeadlineMs = (worker: Worker, visibilityTimeoutMs: number): number =>
  worker.heardMs + visibilityTimeoutMs

/** Makes sure that somebody looks when its leases may have run out. Not while the log is read: time stands still. */
export const watch = (draft: Draft.Draft, number: number): void => watchRow(draft, number, Draft.worker(draft, number))

const watchRow = (draft: Draft.Draft, number: number, worker: Mutable<Worker>): void => {
  const { state } = draft
  if (!state.live || worker.holds.size === 0 || worker.lookMs !== DueIndex.never) return
  worker.lookMs = leaseDeadlineMs(worker, state.options.visibilityTimeoutMs)
  state.dueWorkers = DueIndex.add(state.dueWorkers, worker.lookMs, number, state.edit)
}

/** The look that `watch` asked for has come. True: its leases have run out. */
export const look = (draft: Draft.Draft, number: number): boolean => {
  const { state, nowMs } = draft
  const worker = Draft.worker(draft, number)
  state.dueWorkers = DueIndex.remove(state.dueWorkers, worker.lookMs, number, state.edit)
  worker.lookMs = DueIndex.never
  if (worker.holds.size === 0) return false
  if (leaseDeadlineMs(worker, state.options.visibilityTimeoutMs) <= nowMs) return true
  watchRow(draft, number, worker)
  return false
}

/** Away, and holds nothing: nobody needs to know of it any more. */
const isGone = ({ status, holds }: Worker): boolean => status === "away" && holds.size === 0

const mayBeGone = (draft: Draft.Draft, number: number): void => {
  if (draft.goneWorkers === null) draft.goneWorkers = [number]
  else draft.goneWorkers.push(number)
}

/** Drops the workers of which this step saw that they are gone, and that still are. */
export const sweep = (draft: Draft.Draft): void => {
  if (draft.goneWorkers === null) return
  const { state, goneWorkers } = draft
  for (const number of goneWorkers) {
    const worker = Table.row(state.workers, number)
    if (worker !== undefined && isGone(worker)) drop(draft, number)
  }
}
