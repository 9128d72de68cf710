/**
 * Which arrivals become requests: everything that can be refused is refused here, before anything is kept.
 *
 * @module
 */
import * as HashMap from "effect/HashMap"
import * as DueMap from "../collections/DueMap.ts"
import * as IntMap from "../collections/IntMap.ts"
import * as Table from "../collections/Table.ts"
import * as Request from "../request/Request.ts"
import { factsOf } from "../request/RequestState.ts"
import type { Arrived, Refusal } from "./BufferEvent.ts"
import { rememberedCountMaxDefault, tenantShareMaxDefault } from "./BufferOptions.ts"
import { emptyTenant, emptyVersion, idleRowsMax, type State, type Tenant, type Version } from "./BufferState.ts"
import * as CompletionRate from "./CompletionRate.ts"
import type * as Draft from "./Draft.ts"
import { keyOf, put } from "./Membership.ts"

export const arrive = (draft: Draft.Draft, arrived: Arrived): void => {
  const { state, commands } = draft
  const { sequence } = arrived
  const isDuplicate = sequence <= state.lastSequence
  if (!isDuplicate) state.lastSequence = sequence
  const refusal = isDuplicate ? duplicate : refusalOf(draft, arrived)
  if (refusal !== null) {
    commands.push({ _tag: "Refuse", sequence, refusal })
    return
  }
  const original = originalOf(state, arrived)
  if (original !== undefined) {
    commands.push(joinOrConflict(state, arrived, original))
    return
  }
  const knownTenant = Table.find(state.tenants, arrived.tenant)
  const full = fullness(draft, arrived, knownTenant)
  if (full !== null) {
    commands.push({ _tag: "Refuse", sequence, refusal: full })
    return
  }
  const version = versionNumber(draft, arrived.version)
  const tenant = knownTenant ?? tenantNumber(draft, arrived.tenant)
  const facts = factsOf(arrived, version, tenant, state.options.opportunisticWaitMaxMs)
  put(draft, null, Request.admit(facts, commands))
}

/** Number of the version's row, made when it is not there. */
export const versionNumber = (draft: Draft.Draft, name: string): number => {
  const { state } = draft
  const known = Table.find(state.versions, name)
  if (known !== undefined) return known
  const isIdle = (row: Version): boolean => row.knownCount === 0 && row.workers.size === 0
  state.versions = Table.add(withoutIdle(state.versions, isIdle), name, emptyVersion(name))
  return state.versions.next - 1
}

/** Number of the tenant's row, made when it is not there. */
export const tenantNumber = (draft: Draft.Draft, name: string): number => {
  const { state } = draft
  const known = Table.find(state.tenants, name)
  if (known !== undefined) return known
  const isIdle = (row: Tenant): boolean => row.knownCount === 0
  state.tenants = Table.add(withoutIdle(state.tenants, isIdle), name, emptyTenant(name))
  return state.tenants.next - 1
}

const duplicate: Refusal = { kind: "duplicate-sequence" }

const refusalOf = ({ state, nowMs }: Draft.Draft, arrived: Arrived): Refusal | null => {
  if (state.storeFailed) return { kind: "store-failed", kept: "nothing" }
  return arrived.deadlineMs <= nowMs ? { kind: "deadline-passed" } : null
}

/** The request that has this key: live, or remembered. */
export const originalOf = (state: State, arrived: Arrived): number | undefined => {
  if (arrived.idempotencyKey === undefined) return undefined
  const tenant = Table.find(state.tenants, arrived.tenant)
  const version = Table.find(state.versions, arrived.version)
  if (tenant === undefined || version === undefined) return undefined
  const found = HashMap.get(state.keys, keyOf(tenant, version, arrived.idempotencyKey))
  return found._tag === "Some" ? found.value : undefined
}

const joinOrConflict = (state: State, arrived: Arrived, original: number) => {
  const { sequence } = arrived
  const request = DueMap.get(state.requests, original)
  return request?.arrived.fingerprint === arrived.fingerprint
    ? ({ _tag: "Join", sequence, original, ended: request?._tag === "Terminal" && request.told } as const)
    : ({ _tag: "Refuse", sequence, refusal: { kind: "idempotency-conflict", sequence: original } } as const)
}

/** `number`: of the tenant's row; `undefined`: it has none. */
const fullness = (draft: Draft.Draft, arrived: Arrived, number: number | undefined): Refusal | null => {
  const { state } = draft
  const { options, liveCount, liveBytes } = state
  const { pendingCountMax, pendingBytesMax } = options
  const knownFree = pendingCountMax + (options.rememberedCountMax ?? rememberedCountMaxDefault) - state.requests.size
  const isCountFull = liveCount >= pendingCountMax || knownFree <= 0
  const isBytesFull = liveBytes + arrived.sizeBytes > pendingBytesMax
  if (isCountFull || isBytesFull) {
    return { kind: "queue-full", limit: isCountFull ? "count" : "bytes", retryAfterMs: retryAfterMs(draft) }
  }
  const tenant = number === undefined ? undefined : Table.row(state.tenants, number)
  if (tenant === undefined) return null
  const share = options.tenantShareMax ?? tenantShareMaxDefault
  const isCountTaken =
    isShareTaken(tenant.pending + tenant.leased, pendingCountMax - liveCount, share) ||
    isShareTaken(tenant.knownCount, knownFree, share)
  const isBytesTaken = isShareTaken(tenant.liveBytes, pendingBytesMax - liveBytes, share)
  if (!isCountTaken && !isBytesTaken) return null
  return { kind: "tenant-full", limit: isCountTaken ? "count" : "bytes", retryAfterMs: retryAfterMs(draft) }
}

/** L25. Whoever holds nothing is let in wherever there is room. */
const isShareTaken = (held: number, free: number, share: number): boolean =>
  held > 0 && held * (1 - share) >= free * share

/** Longer waits are guesses. */
const retryAfterMaxMs = 60_000
/** The share of the capacity that a refused caller waits for, so that the refused do not all come back for one slot. */
const freedShare = 0.01

const retryAfterMs = (draft: Draft.Draft): number => {
  const { options, liveCount, rate } = draft.state
  const perMs = CompletionRate.perMs(rate, draft.nowMs)
  if (perMs === undefined) return options.retryAfterMs
  return Math.max(1, Math.min(Math.ceil(Math.max(1, liveCount * freedShare) / perMs), retryAfterMaxMs))
}

/** The table itself until it is full of rows; then without those that only keep counters. */
const withoutIdle = <Row extends { readonly name: string }>(
  table: Table.Table<Row>,
  isIdle: (row: Row) => boolean
): Table.Table<Row> => {
  if (Table.count(table) < idleRowsMax) return table
  let left = table
  IntMap.forEach(table.rows, (row, number) => {
    if (isIdle(row)) left = Table.drop(left, row.name, number)
  })
  return left
}
