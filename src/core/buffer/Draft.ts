/**
 * The next state while one step builds it. Rows are copied once when a step first touches them and put back at its
 * end; nothing of the old state is ever written to.
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
  nextState,
  type State,
  type Tenant,
  type Version,
  type Worker
} from "./BufferState.ts"

/** A row that this step touched, and those of the same table that it touched before. */
export interface OpenRow<Row> {
  readonly number: number
  readonly before: Row
  readonly after: Mutable<Row>
  readonly next: OpenRow<Row> | null
  /** With `next`. */
  readonly count: number
  /** Once there are many, so that a tick that touches thousands of versions is not quadratic. */
  readonly byNumber: Map<number, Mutable<Row>> | null
}

export interface Draft {
  readonly state: Mutable<State>
  readonly commands: Array<Command>
  /** Of the event; 0 for the few that carry no time and need none. */
  readonly nowMs: number
  /** Whether the machine was live before the step. */
  readonly wasLive: boolean
  versions: OpenRow<Version> | null
  tenants: OpenRow<Tenant> | null
  workers: OpenRow<Worker> | null
}

export const make = (state: State, nowMs: number): Draft => ({
  state: nextState(state),
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
  const before = Table.row(draft.state.versions, number)
  invariant(before !== undefined, "a touched version is in its table")
  draft.versions = opened(number, before, copyVersion(before), draft.versions)
  return draft.versions.after
}

export const tenant = (draft: Draft, number: number): Mutable<Tenant> => {
  const known = find(draft.tenants, number)
  if (known !== undefined) return known
  const before = Table.row(draft.state.tenants, number)
  invariant(before !== undefined, "a touched tenant is in its table")
  draft.tenants = opened(number, before, copyTenant(before), draft.tenants)
  return draft.tenants.after
}

export const worker = (draft: Draft, number: number): Mutable<Worker> => {
  const known = find(draft.workers, number)
  if (known !== undefined) return known
  const before = Table.row(draft.state.workers, number)
  invariant(before !== undefined, "a touched worker is in its table")
  draft.workers = opened(number, before, copyWorker(before), draft.workers)
  return draft.workers.after
}

export const request = (draft: Draft, sequence: number): RequestState | undefined =>
  DueMap.get(draft.state.requests, sequence)

/** More rows than this are looked up in a map. */
const listMax = 16

const find = <Row>(rows: OpenRow<Row> | null, number: number): Mutable<Row> | undefined => {
  if (rows !== null && rows.byNumber !== null) return rows.byNumber.get(number)
  for (let row = rows; row !== null; row = row.next) if (row.number === number) return row.after
  return undefined
}

const opened = <Row>(number: number, before: Row, after: Mutable<Row>, next: OpenRow<Row> | null): OpenRow<Row> => {
  if (next === null) return { number, before, after, next, count: 1, byNumber: null }
  let { byNumber } = next
  if (byNumber === null && next.count === listMax) {
    byNumber = new Map()
    for (let row: OpenRow<Row> | null = next; row !== null; row = row.next) byNumber.set(row.number, row.after)
  }
  byNumber?.set(number, after)
  return { number, before, after, next, count: next.count + 1, byNumber }
}

/** Puts the touched rows back into the tables, but not those that the step dropped. */
export const close = (draft: Draft): void => {
  const { state } = draft
  if (draft.versions !== null) state.versions = putBack(state.versions, draft.versions, state.edit)
  if (draft.tenants !== null) state.tenants = putBack(state.tenants, draft.tenants, state.edit)
  if (draft.workers !== null) state.workers = putBack(state.workers, draft.workers, state.edit)
}

const putBack = <Row>(table: Table.Table<Row>, rows: OpenRow<Row>, edit: number): Table.Table<Row> => {
  let next = table
  for (let row: OpenRow<Row> | null = rows; row !== null; row = row.next) {
    next = Table.replace(next, row.number, row.after, edit)
  }
  return next
}
