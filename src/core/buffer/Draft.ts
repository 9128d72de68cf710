/**
 * The next state while one step builds it. Rows are copied when a step first touches them and put back at its end, but
 * for those that carry the edit of the state: they are its own and are changed in place. A `step` begins an edit, so it
 * writes to nothing of the old state; an `advance` goes on with the edit of the state, which nobody else holds.
 *
 * @module
 */
import * as DueMap from "../collections/DueMap.ts"
import { invariant } from "../collections/invariant.ts"
import * as Table from "../collections/Table.ts"
import type { State as RequestState } from "../request/RequestState.ts"
import type { Command } from "./BufferEvent.ts"
import {
  copyTenant,
  copyVersion,
  copyWorker,
  type Mutable,
  pendingCount,
  type State,
  type Tenant,
  type Version,
  type Worker
} from "./BufferState.ts"

/** A row that this step touched, and those of the same table that it touched before. */
export interface OpenRow<Row> {
  readonly number: number
  readonly after: Mutable<Row>
  /** It is a copy, and not in the table yet. */
  readonly isCopy: boolean
  readonly next: OpenRow<Row> | null
  /** With `next`. */
  readonly count: number
  /** Once there are many, so that a tick that touches thousands of versions is not quadratic. */
  readonly byNumber: Map<number, Mutable<Row>> | null
}

/** A version that this step touched, with its figures before. */
export interface OpenVersion extends OpenRow<Version> {
  readonly next: OpenVersion | null
  readonly arrivalsTotal: number
  readonly leasedCount: number
  readonly freeSlots: number
  readonly pendingCount: number
}

export interface Draft {
  readonly state: Mutable<State>
  readonly commands: Array<Command>
  /** Of the event; 0 for the few that carry no time and need none. */
  readonly nowMs: number
  /** Whether the machine was live before the step. */
  readonly wasLive: boolean
  versions: OpenVersion | null
  tenants: OpenRow<Tenant> | null
  workers: OpenRow<Worker> | null
}

/** `state`: its caller's own, to be written to. */
export const make = (state: Mutable<State>, nowMs: number): Draft => ({
  state,
  commands: [],
  nowMs,
  wasLive: state.live,
  versions: null,
  tenants: null,
  workers: null
})

export const version = (draft: Draft, number: number): Mutable<Version> => {
  const known = find(draft.versions, number)
  if (known !== undefined) return known
  const row = Table.row(draft.state.versions, number)
  invariant(row !== undefined, "a touched version is in its table")
  const { edit } = draft.state
  const isCopy = row.edit !== edit
  const next = draft.versions
  const { arrivalsTotal, leasedCount, freeSlots } = row
  draft.versions = {
    number,
    after: isCopy ? copyVersion(row, edit) : row,
    isCopy,
    next,
    count: countOf(next),
    byNumber: indexOf(next),
    arrivalsTotal,
    leasedCount,
    freeSlots,
    pendingCount: pendingCount(row)
  }
  draft.versions.byNumber?.set(number, draft.versions.after)
  return draft.versions.after
}

export const tenant = (draft: Draft, number: number): Mutable<Tenant> => {
  const known = find(draft.tenants, number)
  if (known !== undefined) return known
  const row = Table.row(draft.state.tenants, number)
  invariant(row !== undefined, "a touched tenant is in its table")
  const { edit } = draft.state
  const isCopy = row.edit !== edit
  draft.tenants = opened(number, isCopy ? copyTenant(row, edit) : row, isCopy, draft.tenants)
  return draft.tenants.after
}

export const worker = (draft: Draft, number: number): Mutable<Worker> => {
  const known = find(draft.workers, number)
  if (known !== undefined) return known
  const row = Table.row(draft.state.workers, number)
  invariant(row !== undefined, "a touched worker is in its table")
  const { edit } = draft.state
  const isCopy = row.edit !== edit
  draft.workers = opened(number, isCopy ? copyWorker(row, edit) : row, isCopy, draft.workers)
  return draft.workers.after
}

export const request = (draft: Draft, sequence: number): RequestState | undefined =>
  DueMap.get(draft.state.requests, sequence)

/** Of a request that an index names. */
export const known = (draft: Draft, sequence: number): RequestState => {
  const found = request(draft, sequence)
  invariant(found !== undefined, "a request that an index names is there")
  return found
}

/** More rows than this are looked up in a map. */
const listMax = 16

const find = <Row>(rows: OpenRow<Row> | null, number: number): Mutable<Row> | undefined => {
  if (rows !== null && rows.byNumber !== null) return rows.byNumber.get(number)
  for (let row = rows; row !== null; row = row.next) if (row.number === number) return row.after
  return undefined
}

const opened = <Row>(number: number, after: Mutable<Row>, isCopy: boolean, next: OpenRow<Row> | null): OpenRow<Row> => {
  const row = { number, after, isCopy, next, count: countOf(next), byNumber: indexOf(next) }
  row.byNumber?.set(number, after)
  return row
}

/** With one row more than `next`. */
const countOf = <Row>(next: OpenRow<Row> | null): number => (next === null ? 1 : next.count + 1)

/** The map of all rows, made when there get to be many. */
const indexOf = <Row>(next: OpenRow<Row> | null): Map<number, Mutable<Row>> | null => {
  if (next === null || next.count < listMax) return null
  if (next.byNumber !== null) return next.byNumber
  const byNumber = new Map<number, Mutable<Row>>()
  for (let row: OpenRow<Row> | null = next; row !== null; row = row.next) byNumber.set(row.number, row.after)
  return byNumber
}

/** Puts the copied rows back into the tables, but not those that the step dropped. */
export const close = (draft: Draft): void => {
  const { state } = draft
  if (draft.versions !== null) state.versions = putBack(state.versions, draft.versions, state.edit)
  if (draft.tenants !== null) state.tenants = putBack(state.tenants, draft.tenants, state.edit)
  if (draft.workers !== null) state.workers = putBack(state.workers, draft.workers, state.edit)
}

const putBack = <Row>(table: Table.Table<Row>, rows: OpenRow<Row>, edit: number): Table.Table<Row> => {
  let next = table
  for (let row: OpenRow<Row> | null = rows; row !== null; row = row.next) {
    if (row.isCopy) next = Table.replace(next, row.number, row.after, edit)
  }
  return next
}
