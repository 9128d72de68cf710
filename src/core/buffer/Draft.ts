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
import type { State, Tenant, Version, Worker } from "./BufferState.ts"

export type Mutable<A> = { -readonly [K in keyof A]: A[K] }

interface OpenRow<Row> {
  readonly number: number
  readonly before: Row
  readonly after: Mutable<Row>
  readonly next: OpenRow<Row> | null
}

/** The rows of one table that this step touched. Nearly always one, so a list; a map once there are many. */
export interface OpenRows<Row> {
  first: OpenRow<Row> | null
  count: number
  byNumber: Map<number, Mutable<Row>> | null
}

export interface Draft {
  readonly state: Mutable<State>
  readonly commands: Array<Command>
  /** Of the event; 0 for the few that carry no time and need none. */
  readonly nowMs: number
  /** Whether the machine was live before the step. */
  readonly wasLive: boolean
  readonly versions: OpenRows<Version>
  readonly tenants: OpenRows<Tenant>
  readonly workers: OpenRows<Worker>
}

export const make = (state: State, nowMs: number): Draft => ({
  state: { ...state, edit: state.edit + 1 },
  commands: [],
  nowMs,
  wasLive: state.live,
  versions: { first: null, count: 0, byNumber: null },
  tenants: { first: null, count: 0, byNumber: null },
  workers: { first: null, count: 0, byNumber: null }
})

export const version = (draft: Draft, number: number): Mutable<Version> =>
  open(draft.versions, draft.state.versions, number)

export const tenant = (draft: Draft, number: number): Mutable<Tenant> =>
  open(draft.tenants, draft.state.tenants, number)

export const worker = (draft: Draft, number: number): Mutable<Worker> =>
  open(draft.workers, draft.state.workers, number)

export const request = (draft: Draft, sequence: number): RequestState | undefined =>
  DueMap.get(draft.state.requests, sequence)

/** Rows longer than this are looked up in a map: a tick can touch thousands of versions. */
const listMax = 16

const open = <Row extends object>(rows: OpenRows<Row>, table: Table.Table<Row>, number: number): Mutable<Row> => {
  const known = rows.byNumber === null ? listed(rows, number) : rows.byNumber.get(number)
  if (known !== undefined) return known
  const before = Table.row(table, number)
  invariant(before !== undefined, "a touched row is in its table")
  const after: Mutable<Row> = { ...before }
  rows.first = { number, before, after, next: rows.first }
  rows.count += 1
  if (rows.byNumber !== null) rows.byNumber.set(number, after)
  else if (rows.count > listMax) {
    rows.byNumber = new Map()
    for (let row: OpenRow<Row> | null = rows.first; row !== null; row = row.next) {
      rows.byNumber.set(row.number, row.after)
    }
  }
  return after
}

const listed = <Row>(rows: OpenRows<Row>, number: number): Mutable<Row> | undefined => {
  for (let row = rows.first; row !== null; row = row.next) if (row.number === number) return row.after
  return undefined
}

/** Puts the touched rows back into the tables, but not those that the step dropped. */
export const close = (draft: Draft): void => {
  const { state } = draft
  state.versions = putBack(state.versions, draft.versions)
  state.tenants = putBack(state.tenants, draft.tenants)
  state.workers = putBack(state.workers, draft.workers)
}

const putBack = <Row>(table: Table.Table<Row>, rows: OpenRows<Row>): Table.Table<Row> => {
  let next = table
  for (let row = rows.first; row !== null; row = row.next) {
    if (Table.row(next, row.number) !== undefined) next = Table.replace(next, row.number, row.after)
  }
  return next
}
