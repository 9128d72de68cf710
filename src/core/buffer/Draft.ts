/**
 * The next state while one step builds it. A row is copied when a step first touches it, and the copy takes its place in
 * the table at once; but a row that carries the edit of the state is its own and is changed in place. A `step` begins an
 * edit, so it writes to nothing of the old state; an `advance` goes on with the edit of the state, which nobody else
 * holds.
 *
 * @module
 */
import * as DueMap from "../collections/DueMap.ts"
import * as IntMap from "../collections/IntMap.ts"
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

/** A version that this step touched, with its figures before, and those that it touched earlier. */
export interface OpenVersion {
  readonly number: number
  readonly after: Mutable<Version>
  readonly arrivalsTotal: number
  readonly leasedCount: number
  readonly freeSlots: number
  readonly pendingCount: number
  readonly next: OpenVersion | null
  /** With `next`. */
  readonly count: number
  /** Once there are many, so that a tick that touches thousands of versions is not quadratic. */
  readonly byNumber: Map<number, Mutable<Version>> | null
}

export interface Draft {
  readonly state: Mutable<State>
  readonly commands: Array<Command>
  /** Of the event; 0 for the few that carry no time and need none. */
  readonly nowMs: number
  /** Whether the machine was live before the step. */
  readonly wasLive: boolean
  versions: OpenVersion | null
  /** Workers that were away and held nothing at some moment of the step; see `WorkerPool.sweep`. */
  goneWorkers: Array<number> | null
  /** The one that may be out of place in its version's `idle`; -1: none. See `WorkerPool.file`. */
  unfiledWorker: number
}

/** Rarely does a step order more. */
const roomUsual = 6

/**
 * An empty list with room for what a step usually orders. One that begins without any gets room for 17 with its first
 * command, and would be the largest thing that a step makes.
 */
const roomForCommands = (): Array<Command> => {
  // What is popped leaves its room; nothing of it is ever seen as a command.
  const room = IntMap.blank(roomUsual) as Array<Command>
  for (let i = 0; i < roomUsual; i++) room.pop()
  return room
}

/** `state`: its caller's own, to be written to. */
export const make = (state: Mutable<State>, nowMs: number): Draft => ({
  state,
  commands: roomForCommands(),
  nowMs,
  wasLive: state.live,
  versions: null,
  goneWorkers: null,
  unfiledWorker: -1
})

export const version = (draft: Draft, number: number): Mutable<Version> => {
  const { versions } = draft
  const known = find(versions, number)
  if (known !== undefined) return known
  const { state } = draft
  const row = Table.row(state.versions, number)
  invariant(row !== undefined, "a touched version is in its table")
  const isOwn = row.edit === state.edit
  const after = isOwn ? row : copyVersion(row, state.edit)
  if (!isOwn) state.versions = Table.replace(state.versions, number, after, state.edit)
  const { arrivalsTotal, leasedCount, freeSlots } = row
  const count = versions === null ? 1 : versions.count + 1
  const byNumber = indexOf(versions)
  byNumber?.set(number, after)
  draft.versions = {
    number,
    after,
    arrivalsTotal,
    leasedCount,
    freeSlots,
    pendingCount: pendingCount(row),
    next: versions,
    count,
    byNumber
  }
  return after
}

export const tenant = (draft: Draft, number: number): Mutable<Tenant> => {
  const { state } = draft
  const row = Table.row(state.tenants, number)
  invariant(row !== undefined, "a touched tenant is in its table")
  if (row.edit === state.edit) return row
  const copy = copyTenant(row, state.edit)
  state.tenants = Table.replace(state.tenants, number, copy, state.edit)
  return copy
}

export const worker = (draft: Draft, number: number): Mutable<Worker> => {
  const { state } = draft
  const row = Table.row(state.workers, number)
  invariant(row !== undefined, "a touched worker is in its table")
  if (row.edit === state.edit) return row
  const copy = copyWorker(row, state.edit)
  state.workers = Table.replace(state.workers, number, copy, state.edit)
  return copy
}

export const request = (draft: Draft, sequence: number): RequestState | undefined =>
  DueMap.get(draft.state.requests, sequence)

/** Of a request that an index names. */
export const known = (draft: Draft, sequence: number): RequestState => {
  const found = request(draft, sequence)
  invariant(found !== undefined, "a request that an index names is there")
  return found
}

/** More versions than this are looked up in a map. */
const listMax = 16

const find = (versions: OpenVersion | null, number: number): Mutable<Version> | undefined => {
  if (versions !== null && versions.byNumber !== null) return versions.byNumber.get(number)
  for (let row = versions; row !== null; row = row.next) if (row.number === number) return row.after
  return undefined
}

/** The map of all versions, made when there get to be many. */
const indexOf = (versions: OpenVersion | null): Map<number, Mutable<Version>> | null => {
  if (versions === null || versions.count < listMax) return null
  if (versions.byNumber !== null) return versions.byNumber
  const byNumber = new Map<number, Mutable<Version>>()
  for (let row: OpenVersion | null = versions; row !== null; row = row.next) byNumber.set(row.number, row.after)
  return byNumber
}
