/**
 * What becomes of leases when workers come, go and fall silent.
 *
 * @module
 */
import * as DueIndex from "../collections/DueIndex.ts"
import * as IntSet from "../collections/IntSet.ts"
import * as Table from "../collections/Table.ts"
import { versionNumber } from "./Admission.ts"
import type { WorkerJoined } from "./BufferEvent.ts"
import { isLive } from "./BufferQueries.ts"
import * as Draft from "./Draft.ts"
import { apply } from "./Membership.ts"
import * as WorkerPool from "./WorkerPool.ts"

/** New, or back after its connection broke. */
export const join = (draft: Draft.Draft, event: WorkerJoined): void => {
  const { state } = draft
  const { workerId } = event
  const version = versionNumber(draft, event.version)
  let number = Table.find(state.workers, workerId)
  if (number !== undefined && Draft.worker(draft, number).version !== version) {
    // The same name for other work is another worker.
    loseAll(draft, number, "worker-lost", false)
    WorkerPool.drop(draft, number)
    number = undefined
  }
  number ??= WorkerPool.add(draft, workerId, version)
  keepListed(draft, number, event)
  const worker = Draft.worker(draft, number)
  worker.instanceId = event.instanceId
  worker.slots = Math.max(0, Math.floor(event.slots))
  worker.status = "ready"
  WorkerPool.heard(draft, number)
  WorkerPool.settle(draft, number)
}

/** Leases that both sides know of go on; the others are over on the side that still has them. */
const keepListed = (draft: Draft.Draft, number: number, event: WorkerJoined): void => {
  const { workerId } = event
  const { holds } = Draft.worker(draft, number)
  const listed = new Set<number>()
  for (const { sequence, token } of event.holds) {
    if (isLive(draft.state, sequence, workerId, token)) listed.add(sequence)
    else draft.commands.push({ _tag: "CancelAttempt", sequence, workerId, token, reason: "lease-expired" })
  }
  for (const sequence of IntSet.toArray(holds)) {
    if (!listed.has(sequence)) lose(draft, sequence, "worker-lost", false)
  }
}

export const heard = (draft: Draft.Draft, workerId: string): void => {
  const number = Table.find(draft.state.workers, workerId)
  if (number !== undefined) WorkerPool.heard(draft, number)
}

export const drain = (draft: Draft.Draft, workerId: string): void => {
  const number = Table.find(draft.state.workers, workerId)
  if (number === undefined) return
  const worker = Draft.worker(draft, number)
  if (worker.status === "away") return
  worker.status = "draining"
  WorkerPool.heard(draft, number)
  WorkerPool.settle(draft, number)
}

export const disconnect = (draft: Draft.Draft, workerId: string): void => {
  const number = Table.find(draft.state.workers, workerId)
  if (number === undefined) return
  Draft.worker(draft, number).status = "away"
  WorkerPool.settle(draft, number)
}

export const lost = (draft: Draft.Draft, workerId: string): void => {
  const number = Table.find(draft.state.workers, workerId)
  if (number === undefined) return
  loseAll(draft, number, "worker-lost", false)
  WorkerPool.drop(draft, number)
}

/** Ends the leases whose worker was not heard of for the visibility timeout. */
export const expireLeases = (draft: Draft.Draft): void => {
  const { nowMs } = draft
  for (let due = DueIndex.due(draft.state.dueWorkers, nowMs); due.length > 0; ) {
    for (const number of due) {
      if (WorkerPool.look(draft, number)) silence(draft, number)
    }
    due = DueIndex.due(draft.state.dueWorkers, nowMs)
  }
}

const silence = (draft: Draft.Draft, number: number): void => {
  const worker = Draft.worker(draft, number)
  const isConnected = worker.status !== "away"
  // Before its slots come free: a silent worker must not get back what it just lost.
  if (worker.status === "ready") worker.status = "silent"
  loseAll(draft, number, "lease-expired", isConnected)
}

const loseAll = (
  draft: Draft.Draft,
  number: number,
  reason: "worker-lost" | "lease-expired",
  cancel: boolean
): void => {
  for (const sequence of IntSet.toArray(Draft.worker(draft, number).holds)) lose(draft, sequence, reason, cancel)
}

const lose = (draft: Draft.Draft, sequence: number, reason: "worker-lost" | "lease-expired", cancel: boolean): void => {
  apply(draft, Draft.known(draft, sequence), { _tag: "AttemptLost", nowMs: draft.nowMs, reason, cancel })
}
