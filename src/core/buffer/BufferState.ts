/**
 * State of one shard's buffer machine: the requests, and the indexes that make each step cheap. Every index can be
 * derived from the requests; law L2 and the index law hold them to that.
 *
 * @module
 */
import * as HashMap from "effect/HashMap"
import * as DueIndex from "../collections/DueIndex.ts"
import * as DueMap from "../collections/DueMap.ts"
import * as IntMap from "../collections/IntMap.ts"
import * as IntSet from "../collections/IntSet.ts"
import * as Table from "../collections/Table.ts"
import type * as Request from "../request/RequestState.ts"
import type { BufferOptions } from "./BufferOptions.ts"
import * as CompletionRate from "./CompletionRate.ts"

export type Mutable<A> = { -readonly [K in keyof A]: A[K] }

/** Requests of one tenant and class for one version that may be leased now, oldest first; see `Lanes`. */
export interface Lane {
  readonly queue: IntSet.IntSet
  /** What the tenant may spend before its turn is over; of an empty lane what it had left. */
  readonly deficit: number
  /** Turns of the ring that it has seen; of an empty lane as it left. */
  readonly round: number
  /** Keys of the lanes before and after it in its ring; its own when it is alone, -1 when it is empty. */
  readonly previous: number
  readonly next: number
  readonly edit: number
}

export interface Version {
  readonly name: string
  /** By tenant and class, see `Lanes.keyOf`; some are empty. */
  readonly lanes: IntMap.IntMap<Lane>
  /** Of the empty ones. */
  readonly restingCount: number
  /** By class the lane whose turn it is; -1 when there is none. */
  readonly deadlineTurn: number
  readonly opportunisticTurn: number
  /** By class, of the last lane that became empty with no other in its ring. */
  readonly deadlineRound: number
  readonly opportunisticRound: number
  /** Pending of class `deadline`, but waiting for a redelivery delay or for the disk. */
  readonly parked: IntSet.IntSet
  /** The same, of the other class. */
  readonly parkedOpportunistic: IntSet.IntSet
  readonly readyCount: number
  readonly leasedCount: number
  /** Of leases that ended, however. */
  readonly turnover: CompletionRate.CompletionRate
  /** Requests in the state, the remembered ones as well. */
  readonly knownCount: number
  readonly arrivalsTotal: number
  readonly workers: IntSet.IntSet
  /** Rank → order → worker, for those with a free slot: most free slots first, then the one that waits longest. */
  readonly idle: IntMap.IntMap<IntMap.IntMap<number>>
  readonly freeSlots: number
  readonly edit: number
}

/**
 * `ready`: takes requests. `silent`: its leases ran out without a sign of it. `draining`: finishes what it holds.
 * `away`: its connection is gone, or it is known from the log alone; it may come back while it holds something.
 */
export type WorkerStatus = "ready" | "silent" | "draining" | "away"

export interface Worker {
  readonly workerId: string
  /** `null`: known from the log alone. */
  readonly instanceId: string | null
  readonly version: number
  readonly slots: number
  readonly status: WorkerStatus
  /** Its leases run out one visibility timeout after this. */
  readonly heardMs: number
  /** Sequences that are leased to it. */
  readonly holds: IntSet.IntSet
  /** Slots counted in the version's `freeSlots`. */
  readonly free: number
  /** Keys in the version's `idle`; -1 and 0: not there. */
  readonly rank: number
  readonly rankOrder: number
  /** Grows with each assignment of any worker. */
  readonly order: number
  /** When `dueWorkers` looks at it; infinite: not at all. Moved lazily, so that a heartbeat costs nothing there. */
  readonly lookMs: number
  readonly edit: number
}

export interface Tenant {
  readonly name: string
  readonly accepted: number
  readonly pending: number
  readonly leased: number
  readonly responded: number
  readonly failed: number
  readonly expired: number
  readonly cancelled: number
  readonly deadLettered: number
  readonly knownCount: number
  /** Of those that are pending or leased. */
  readonly liveBytes: number
  readonly edit: number
}

export interface State {
  readonly options: BufferOptions
  /** False while the log is read back: nothing is ordered. */
  readonly live: boolean
  /**
   * Grows with each `step`: what a step may change in place is what carries its own number, rows and lanes as well. See
   * `IntMap`. Stays with `advance`, so that it may change what the ones before it made.
   */
  readonly edit: number
  /** Of the shard's ownership. */
  readonly epoch: number
  readonly storeFailed: boolean
  readonly lastSequence: number
  readonly nextToken: number
  /** All that are not forgotten, by sequence; due as `dueMs` says. */
  readonly requests: DueMap.DueMap<Request.State>
  /** Pending and leased: what the capacity limits. */
  readonly liveCount: number
  readonly liveBytes: number
  /** Tenant, version and idempotency key → sequence. */
  readonly keys: HashMap.HashMap<string, number>
  readonly dueWorkers: DueIndex.DueIndex
  readonly versions: Table.Table<Version>
  readonly tenants: Table.Table<Tenant>
  readonly workers: Table.Table<Worker>
  /** Next order of a worker: grows with each use. */
  readonly nextOrder: number
  /** Of leased requests that ended, for the estimate in a refusal. */
  readonly rate: CompletionRate.CompletionRate
}

/** Tokens of one epoch: about 4 * 10^9 leases. See `firstTokenOf`. */
const tokensPerEpoch = 2 ** 32

/**
 * The smallest token that an owner of this epoch gives. Bounds: 2^21 epochs of 2^32 leases stay within the safe
 * integers. An epoch that outlives its 2^32 leases goes on into the range of the next; the next owner then starts
 * above the highest token that the log has.
 */
export const firstTokenOf = (epoch: number): number => epoch * tokensPerEpoch + 1

/** Rows of tenants and versions without any request are kept for their counters, up to this many. */
export const idleRowsMax = 16_384

export const empty = (options: BufferOptions): State => ({
  options,
  live: false,
  edit: 0,
  epoch: 0,
  storeFailed: false,
  lastSequence: -1,
  nextToken: firstTokenOf(0),
  requests: DueMap.empty(),
  liveCount: 0,
  liveBytes: 0,
  keys: HashMap.empty(),
  dueWorkers: DueIndex.empty,
  versions: Table.empty(),
  tenants: Table.empty(),
  workers: Table.empty(),
  nextOrder: 0,
  rate: CompletionRate.none
})

export const emptyVersion = (name: string): Version => ({
  name,
  lanes: IntMap.empty(),
  restingCount: 0,
  deadlineTurn: -1,
  opportunisticTurn: -1,
  deadlineRound: 0,
  opportunisticRound: 0,
  parked: IntSet.empty,
  parkedOpportunistic: IntSet.empty,
  readyCount: 0,
  leasedCount: 0,
  turnover: CompletionRate.none,
  knownCount: 0,
  arrivalsTotal: 0,
  workers: IntSet.empty,
  idle: IntMap.empty(),
  freeSlots: 0,
  edit: 0
})

export const emptyTenant = (name: string): Tenant => ({
  name,
  accepted: 0,
  pending: 0,
  leased: 0,
  responded: 0,
  failed: 0,
  expired: 0,
  cancelled: 0,
  deadLettered: 0,
  knownCount: 0,
  liveBytes: 0,
  edit: 0
})

export const pendingCount = (version: Version): number =>
  version.readyCount + version.parked.size + version.parkedOpportunistic.size

/** Looks at every request. */
export const requestsOf = (state: State, version: number): ReadonlyArray<Request.State> =>
  DueMap.values(state.requests).filter((request) => request.version === version)

// Written out, because a spread of these costs three times as much and every step makes several.

/** A copy that a step may write to, with an edit of its own. */
export const nextState = (state: State): Mutable<State> => ({
  options: state.options,
  live: state.live,
  edit: state.edit + 1,
  epoch: state.epoch,
  storeFailed: state.storeFailed,
  lastSequence: state.lastSequence,
  nextToken: state.nextToken,
  requests: state.requests,
  liveCount: state.liveCount,
  liveBytes: state.liveBytes,
  keys: state.keys,
  dueWorkers: state.dueWorkers,
  versions: state.versions,
  tenants: state.tenants,
  workers: state.workers,
  nextOrder: state.nextOrder,
  rate: state.rate
})

export const copyVersion = (row: Version, edit: number): Mutable<Version> => ({
  name: row.name,
  lanes: row.lanes,
  restingCount: row.restingCount,
  deadlineTurn: row.deadlineTurn,
  opportunisticTurn: row.opportunisticTurn,
  deadlineRound: row.deadlineRound,
  opportunisticRound: row.opportunisticRound,
  parked: row.parked,
  parkedOpportunistic: row.parkedOpportunistic,
  readyCount: row.readyCount,
  leasedCount: row.leasedCount,
  turnover: row.turnover,
  knownCount: row.knownCount,
  arrivalsTotal: row.arrivalsTotal,
  workers: row.workers,
  idle: row.idle,
  freeSlots: row.freeSlots,
  edit
})

export const copyTenant = (row: Tenant, edit: number): Mutable<Tenant> => ({
  name: row.name,
  accepted: row.accepted,
  pending: row.pending,
  leased: row.leased,
  responded: row.responded,
  failed: row.failed,
  expired: row.expired,
  cancelled: row.cancelled,
  deadLettered: row.deadLettered,
  knownCount: row.knownCount,
  liveBytes: row.liveBytes,
  edit
})

export const copyWorker = (row: Worker, edit: number): Mutable<Worker> => ({
  workerId: row.workerId,
  instanceId: row.instanceId,
  version: row.version,
  slots: row.slots,
  status: row.status,
  heardMs: row.heardMs,
  holds: row.holds,
  free: row.free,
  rank: row.rank,
  rankOrder: row.rankOrder,
  order: row.order,
  lookMs: row.lookMs,
  edit
})
