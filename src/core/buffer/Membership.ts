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
import type { State as RequestState, Terminal } from "../request/RequestState.ts"
import { dueMs, type Place, place } from "../request/RequestState.ts"
import type { Command } from "./BufferEvent.ts"
import type { Tenant } from "./BufferState.ts"
import * as Draft from "./Draft.ts"
import * as Lanes from "./Lanes.ts"
import * as WorkerPool from "./WorkerPool.ts"

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
  if (isEndUnstored) apply(draft, after, { _tag: "RecordFailed", kind: "ended", nowMs: draft.nowMs })
}

/** `before`: `null` for a request that comes in. */
export const put = (draft: Draft.Draft, before: RequestState | null, after: RequestState): void => {
  const { state } = draft
  const { sequence } = after.facts.arrived
  const isGone = after._tag === "Terminal" && after.gone
  const { edit } = state
  state.requests = isGone
    ? DueMap.remove(state.requests, sequence, edit)
    : DueMap.set(state.requests, sequence, after, dueMs(after), edit)
  const from = before === null ? null : place(before)
  const to = place(after)
  if (before === null) admit(draft, after)
  if (from !== to || hasMoved(before, after)) {
    if (before !== null && from !== null) leave(draft, before, from)
    enter(draft, after, to)
    if (to === "ended" && from !== "ended" && after._tag === "Terminal") end(draft, after, from === "leased")
  } else if (before?._tag === "Terminal" && after._tag === "Terminal" && before.terminal !== after.terminal) {
    const tenant = Draft.tenant(draft, after.facts.tenant)
    tenant[counterOf(before.terminal)] -= 1
    tenant[counterOf(after.terminal)] += 1
  }
  if (isGone) forget(draft, after)
}

/** Only the log leases a request that is leased already: the record between the two was lost with a crash. */
const hasMoved = (before: RequestState | null, after: RequestState): boolean =>
  (before?._tag === "Leased" || before?._tag === "Responding") &&
  (after._tag === "Leased" || after._tag === "Responding") &&
  before.token !== after.token

const admit = (draft: Draft.Draft, request: RequestState): void => {
  const { state } = draft
  const { facts } = request
  const { arrived } = facts
  state.liveCount += 1
  state.liveBytes += arrived.sizeBytes
  if (arrived.idempotencyKey !== undefined) {
    state.keys = HashMap.set(state.keys, keyOf(facts.tenant, facts.version, arrived.idempotencyKey), arrived.sequence)
  }
  const version = Draft.version(draft, facts.version)
  version.arrivalsTotal += 1
  version.knownCount += 1
  const tenant = Draft.tenant(draft, facts.tenant)
  tenant.accepted += 1
  tenant.knownCount += 1
}

const leave = (draft: Draft.Draft, request: RequestState, from: Place): void => {
  const { version: versionNumber, tenant: tenantNumber, arrived } = request.facts
  const version = Draft.version(draft, versionNumber)
  const tenant = Draft.tenant(draft, tenantNumber)
  if (from === "ready") {
    Lanes.leave(draft, version, tenantNumber, arrived.sequence)
    tenant.pending -= 1
  } else if (from === "parked") {
    version.parked = IntSet.remove(version.parked, arrived.sequence, draft.state.edit)
    tenant.pending -= 1
  } else if (request._tag === "Leased" || request._tag === "Responding") {
    version.leasedCount -= 1
    tenant.leased -= 1
    WorkerPool.release(draft, request.worker, arrived.sequence)
  }
}

const enter = (draft: Draft.Draft, request: RequestState, to: Place): void => {
  const { version: versionNumber, tenant: tenantNumber, arrived } = request.facts
  const version = Draft.version(draft, versionNumber)
  const tenant = Draft.tenant(draft, tenantNumber)
  if (to === "ready") {
    Lanes.enter(draft, version, tenantNumber, arrived.sequence)
    tenant.pending += 1
  } else if (to === "parked") {
    version.parked = IntSet.add(version.parked, arrived.sequence, draft.state.edit)
    tenant.pending += 1
  } else if (request._tag === "Leased" || request._tag === "Responding") {
    version.leasedCount += 1
    tenant.leased += 1
    WorkerPool.hold(draft, request.worker, arrived.sequence)
  }
}

const end = (draft: Draft.Draft, request: Terminal, wasLeased: boolean): void => {
  const { state } = draft
  state.liveCount -= 1
  state.liveBytes -= request.facts.arrived.sizeBytes
  Draft.tenant(draft, request.facts.tenant)[counterOf(request.terminal)] += 1
  if (wasLeased) countCompletion(draft)
}

const forget = (draft: Draft.Draft, request: RequestState): void => {
  const { state } = draft
  const { version, tenant, arrived } = request.facts
  Draft.version(draft, version).knownCount -= 1
  Draft.tenant(draft, tenant).knownCount -= 1
  if (arrived.idempotencyKey === undefined) return
  const key = keyOf(tenant, version, arrived.idempotencyKey)
  const holder = HashMap.get(state.keys, key)
  // A replayed log may lack the record that freed the key for a later request.
  if (holder._tag === "Some" && holder.value === arrived.sequence) state.keys = HashMap.remove(state.keys, key)
}

/** Tenant and version are numbers, so the first two slashes end them whatever the key contains. */
export const keyOf = (tenant: number, version: number, key: string): string => `${tenant}/${version}/${key}`

type Counter = "responded" | "failed" | "expired" | "cancelled" | "deadLettered"

const counterOf = (terminal: Terminal["terminal"]): Counter & keyof Tenant =>
  terminal === "dead-lettered" ? "deadLettered" : terminal

/** Long enough for a rate of one a second, short enough to follow a scale-up. */
const rateWindowMs = 5_000

const countCompletion = (draft: Draft.Draft): void => {
  const { state, nowMs } = draft
  const { rate } = state
  const { previousStartMs, previousCount, startMs, count } = rate
  state.rate =
    nowMs - startMs < rateWindowMs
      ? { previousStartMs, previousCount, startMs, count: count + 1 }
      : { previousStartMs: startMs, previousCount: count, startMs: nowMs, count: 1 }
}

/** Completions per ms over the last one to two windows; `undefined`: none lately. */
export const completionsPerMs = (draft: Draft.Draft): number | undefined => {
  const { state, nowMs } = draft
  const { rate } = state
  if (nowMs - rate.startMs > 2 * rateWindowMs) return undefined
  // A previous window that ended long ago says nothing about now.
  const isPreviousRecent = rate.startMs - rate.previousStartMs < 2 * rateWindowMs && rate.previousCount > 0
  const count = rate.count + (isPreviousRecent ? rate.previousCount : 0)
  const elapsedMs = nowMs - (isPreviousRecent ? rate.previousStartMs : rate.startMs)
  return count > 0 && elapsedMs > 0 ? count / elapsedMs : undefined
}
