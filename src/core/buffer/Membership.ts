/**
 * Keeps every index of the buffer equal to what the requests say: the one place where a request is put, moved and
 * dropped.
 *
 * @module
 */
import * as HashMap from "effect/HashMap"
import * as DueMap from "../collections/DueMap.ts"
import * as IntSet from "../collections/IntSet.ts"
import * as Request from "../request/Request.ts"
import type { Leased, Pending, State as RequestState, Responding, Terminal } from "../request/RequestState.ts"
import { dueMs, type Place, place } from "../request/RequestState.ts"
import type { Command } from "./BufferEvent.ts"
import type { Mutable, Tenant, Version } from "./BufferState.ts"
import * as CompletionRate from "./CompletionRate.ts"
import * as Draft from "./Draft.ts"
import * as Lanes from "./Lanes.ts"
import * as WorkerPool from "./WorkerPool.ts"

type Live = Pending | Leased | Responding
type VersionRow = Mutable<Version>
type TenantRow = Mutable<Tenant>

/** Lets the request decide, passes its orders on, and files it where it now belongs. */
export const apply = (draft: Draft.Draft, before: RequestState, event: Request.Event): void => {
  const { state, commands } = draft
  if (state.storeFailed) return applyUnwritten(draft, before, event)
  const after = Request.advance(before, event, state.options, commands)
  if (after !== before) put(draft, before, after)
}

/**
 * Once the store failed nothing is written before `Recovered`: a log with a hole in it would tell another story than
 * the one that happened.
 */
const applyUnwritten = (draft: Draft.Draft, before: RequestState, event: Request.Event): void => {
  const ordered: Array<Command> = []
  const after = Request.advance(before, event, draft.state.options, ordered)
  let isEndUnstored = false
  for (const command of ordered) {
    if (command._tag === "Append") isEndUnstored ||= command.ref.kind === "ended"
    else draft.commands.push(command)
  }
  if (after !== before) put(draft, before, after)
  if (isEndUnstored) apply(draft, after, { _tag: "RecordFailed", kind: "ended", nowMs: draft.nowMs, isUnknown: true })
}

/** `before`: `null` for a request that comes in. */
export const put = (draft: Draft.Draft, before: RequestState | null, after: RequestState): void => {
  const { state } = draft
  const { sequence } = after.arrived
  const isGone = after._tag === "Terminal" && after.gone
  const { edit } = state
  state.requests = isGone
    ? DueMap.remove(state.requests, sequence, edit)
    : DueMap.set(state.requests, sequence, after, dueMs(after), edit)
  if (before?._tag === "Terminal") countAgain(draft, before, after)
  else {
    const from = before === null ? null : place(before)
    if (from !== place(after) || hasMoved(before, after)) move(draft, before, after, from)
  }
  if (isGone) forget(draft, after)
}

/** What has ended stays ended, though the log may know another end than the one that was seen. */
const countAgain = (draft: Draft.Draft, before: Terminal, after: RequestState): void => {
  if (after._tag !== "Terminal" || before.terminal === after.terminal) return
  const tenant = Draft.tenant(draft, after.tenant)
  tenant[counterOf(before.terminal)] -= 1
  tenant[counterOf(after.terminal)] += 1
}

/** Its rows are looked up here, once for all that counts in them. */
const move = (draft: Draft.Draft, before: Live | null, after: RequestState, from: Place | null): void => {
  const version = Draft.version(draft, after.version)
  const tenant = Draft.tenant(draft, after.tenant)
  if (before === null) admit(draft, after, version, tenant)
  else leave(draft, before, version, tenant)
  if (after._tag !== "Terminal") enter(draft, after, version, tenant)
  else end(draft, after, tenant, from === "leased")
}

/** Within its place: to another class, or to another lease. */
const hasMoved = (before: Live | null, after: RequestState): boolean => {
  if (before?._tag === "Pending") return after._tag === "Pending" && before.waitsAs !== after.waitsAs
  // Only the log leases a request that is leased already: the record between the two was lost with a crash.
  const wasLeased = before?._tag === "Leased" || before?._tag === "Responding"
  return wasLeased && (after._tag === "Leased" || after._tag === "Responding") && before.token !== after.token
}

const admit = (draft: Draft.Draft, request: RequestState, version: VersionRow, tenant: TenantRow): void => {
  const { state } = draft
  const { arrived } = request
  const { sequence, sizeBytes, idempotencyKey } = arrived
  state.liveCount += 1
  state.liveBytes += sizeBytes
  if (idempotencyKey !== undefined) {
    state.keys = HashMap.set(state.keys, keyOf(request.tenant, request.version, idempotencyKey), sequence)
  }
  version.arrivalsTotal += 1
  version.knownCount += 1
  tenant.accepted += 1
  tenant.knownCount += 1
  tenant.liveBytes += sizeBytes
}

/** An end is final: what has ended is forgotten where it is. */
const leave = (draft: Draft.Draft, request: Live, version: VersionRow, tenant: TenantRow): void => {
  const { sequence } = request.arrived
  const { edit } = draft.state
  if (request._tag !== "Pending") {
    version.turnover = CompletionRate.add(version.turnover, draft.nowMs, edit)
    version.leasedCount -= 1
    tenant.leased -= 1
    return WorkerPool.release(draft, request.worker, sequence)
  }
  tenant.pending -= 1
  if (place(request) === "ready") return Lanes.leave(draft, version, laneOf(request), sequence)
  const parked = parkedOf(request)
  version[parked] = IntSet.remove(version[parked], sequence, edit)
}

const enter = (draft: Draft.Draft, request: Live, version: VersionRow, tenant: TenantRow): void => {
  const { sequence } = request.arrived
  if (request._tag !== "Pending") {
    version.leasedCount += 1
    tenant.leased += 1
    return WorkerPool.hold(draft, request.worker, sequence)
  }
  tenant.pending += 1
  if (place(request) === "ready") return Lanes.enter(draft, version, laneOf(request), sequence)
  const parked = parkedOf(request)
  version[parked] = IntSet.add(version[parked], sequence, draft.state.edit)
}

const laneOf = ({ tenant, waitsAs }: Pending): number => Lanes.keyOf(tenant, waitsAs)

const parkedOf = ({ waitsAs }: Pending): "parked" | "parkedOpportunistic" =>
  waitsAs === "opportunistic" ? "parkedOpportunistic" : "parked"

const end = (draft: Draft.Draft, request: Terminal, tenant: TenantRow, wasLeased: boolean): void => {
  const { state } = draft
  const { sizeBytes } = request.arrived
  state.liveCount -= 1
  state.liveBytes -= sizeBytes
  tenant.liveBytes -= sizeBytes
  tenant[counterOf(request.terminal)] += 1
  if (wasLeased) state.rate = CompletionRate.add(state.rate, draft.nowMs, state.edit)
}

const forget = (draft: Draft.Draft, request: RequestState): void => {
  const { state } = draft
  const { version, tenant, arrived } = request
  Draft.version(draft, version).knownCount -= 1
  Draft.tenant(draft, tenant).knownCount -= 1
  if (arrived.idempotencyKey === undefined) return
  // It is the one that holds its key: a later one comes in when it is forgotten, from the log as well (`Recovery`).
  state.keys = HashMap.remove(state.keys, keyOf(tenant, version, arrived.idempotencyKey))
}

/** Tenant and version are numbers, so the first two slashes end them whatever the key contains. */
export const keyOf = (tenant: number, version: number, key: string): string => `${tenant}/${version}/${key}`

type Counter = "responded" | "failed" | "expired" | "cancelled" | "deadLettered"

const counterOf = (terminal: Terminal["terminal"]): Counter & keyof Tenant =>
  terminal === "dead-lettered" ? "deadLettered" : terminal
