/**
 * From the log back to life: records rebuild the durable state without ordering anything, then the clock starts.
 *
 * @module
 */
import * as IntMap from "../collections/IntMap.ts"
import * as Table from "../collections/Table.ts"
import * as RequestReplay from "../request/RequestReplay.ts"
import { factsOf } from "../request/RequestState.ts"
import { originalOf, tenantNumber, versionNumber } from "./Admission.ts"
import type { Arrived, DurableRecord } from "./BufferEvent.ts"
import { firstTokenOf } from "./BufferState.ts"
import * as Draft from "./Draft.ts"
import { put } from "./Membership.ts"
import * as WorkerPool from "./WorkerPool.ts"

export const replay = (draft: Draft.Draft, record: DurableRecord): void => {
  if (record._tag === "RecordArrived") {
    replayArrived(draft, record.arrived)
    return
  }
  const { state } = draft
  if (record._tag === "RecordLeased") state.nextToken = Math.max(state.nextToken, record.token + 1)
  const request = Draft.request(draft, record.sequence)
  // It ended and was forgotten before the snapshot was taken.
  if (request === undefined) return
  const worker =
    record._tag === "RecordLeased" && request._tag !== "Terminal"
      ? workerNumber(draft, record.workerId, request.version)
      : 0
  const after = RequestReplay.replay(request, record, worker)
  if (after !== request) put(draft, request, after)
}

const replayArrived = (draft: Draft.Draft, arrived: Arrived): void => {
  const { state } = draft
  // The snapshot holds it already.
  if (Draft.request(draft, arrived.sequence) !== undefined) return
  state.lastSequence = Math.max(state.lastSequence, arrived.sequence)
  const version = versionNumber(draft, arrived.version)
  const tenant = tenantNumber(draft, arrived.tenant)
  // A second request with a key was let in, so the first was forgotten, whether or not the record of that was written.
  const former = originalOf(state, arrived)
  if (former !== undefined) replay(draft, { _tag: "RecordForgotten", sequence: former })
  const facts = factsOf(arrived, version, tenant, state.options.opportunisticWaitMaxMs)
  put(draft, null, RequestReplay.arrived(facts))
}

const workerNumber = (draft: Draft.Draft, workerId: string, version: number): number =>
  Table.find(draft.state.workers, workerId) ?? WorkerPool.add(draft, workerId, version)

/** Everything that was read back is live from now on, with fresh deadlines for its leases. */
export const recover = (draft: Draft.Draft, epoch: number): void => {
  const { state, nowMs } = draft
  state.live = true
  state.storeFailed = false
  state.epoch = Math.max(state.epoch, epoch)
  state.nextToken = Math.max(state.nextToken, firstTokenOf(state.epoch))
  IntMap.forEach(state.workers.rows, (_, number) => {
    const worker = Draft.worker(draft, number)
    worker.heardMs = Math.max(worker.heardMs, nowMs)
    WorkerPool.watch(draft, number)
  })
  // Touched, so that the figures are told for the first time.
  IntMap.forEach(state.versions.rows, (_, number) => {
    Draft.version(draft, number)
  })
}
