/**
 * What can be asked of a buffer's state. Nothing here changes it.
 *
 * @module
 */
import * as DueIndex from "../collections/DueIndex.ts"
import * as DueMap from "../collections/DueMap.ts"
import * as IntMap from "../collections/IntMap.ts"
import * as IntSet from "../collections/IntSet.ts"
import * as Table from "../collections/Table.ts"
import type { Leased, Pending, State as RequestState, Responding } from "../request/RequestState.ts"
import type { Reason, ServiceClass, Terminal } from "./BufferEvent.ts"
import { pendingCount, type State, type Version } from "./BufferState.ts"
import * as CompletionRate from "./CompletionRate.ts"
import * as Lanes from "./Lanes.ts"
import { leaseDeadlineMs } from "./WorkerPool.ts"

/**
 * When to send the next `Ticked`: at the earliest deadline, redelivery, lease to be looked at or end of a retention.
 * Never later; earlier by what ended in the meantime, and then the tick only looks. Whole milliseconds; `undefined`:
 * only another event can change anything.
 */
export const nextDueMs = (state: State): number | undefined => {
  const request = DueMap.nextMs(state.requests)
  const worker = DueIndex.nextMs(state.dueWorkers)
  if (request === undefined) return worker
  return worker === undefined ? request : Math.min(request, worker)
}

/** Whether this worker may still speak for this request. Cheap: asked for each chunk. */
export const isLive = (state: State, sequence: number, workerId: string, token: number): boolean =>
  isLeasedTo(DueMap.get(state.requests, sequence), workerId, token)

/** Whether it is heard of and not forgotten. */
export const isKnown = (state: State, sequence: number): boolean => DueMap.get(state.requests, sequence) !== undefined

export const isLeasedTo = (
  request: RequestState | undefined,
  workerId: string,
  token: number
): request is Leased | Responding =>
  request !== undefined &&
  (request._tag === "Leased" || request._tag === "Responding") &&
  request.token === token &&
  request.workerId === workerId

/** One request, for people and for the shell. */
export interface RequestFigures {
  readonly sequence: number
  readonly requestId: string
  readonly tenant: string
  readonly version: string
  readonly mode: "sync" | "async"
  /** As it arrived. */
  readonly serviceClass: ServiceClass
  readonly state: "pending" | "leased" | "responding" | "terminal"
  readonly arrivedAtMs: number
  readonly deadlineMs: number
  /** 0 = never leased. */
  readonly attempt: number
  readonly maxAttempts: number
  /** `undefined` when it is not leased, like the three below. */
  readonly token: number | undefined
  readonly workerId: string | undefined
  /** `undefined` also for a worker that is known from the log alone. */
  readonly instanceId: string | undefined
  /** When the lease runs out unless the worker is heard of. */
  readonly leaseDeadlineMs: number | undefined
  /** A pending one that waits for its redelivery; else `undefined`. */
  readonly notBeforeMs: number | undefined
  /** The arrival is on stable storage. */
  readonly stored: boolean
  /** The result is, or will be, kept for a claim. */
  readonly kept: boolean
  /** A caller waits on the connection. */
  readonly waiting: boolean
  /** This and what follows: of an ended one. */
  readonly terminal: Terminal | undefined
  readonly reason: Reason | null | undefined
  readonly message: string | null | undefined
  readonly endedAtMs: number | undefined
  /** The end may be shown: `TellEnded` was ordered. */
  readonly told: boolean
  readonly resultKept: boolean
  readonly resultBytes: number
  /** When an ended one is forgotten; else `undefined`. */
  readonly keepUntilMs: number | undefined
}

/** `undefined`: never heard of, or forgotten. */
export const lookup = (state: State, sequence: number): RequestFigures | undefined => {
  const request = DueMap.get(state.requests, sequence)
  if (request === undefined) return undefined
  const { arrived } = request
  const lease = request._tag === "Leased" || request._tag === "Responding" ? request : undefined
  const worker = lease === undefined ? undefined : Table.row(state.workers, lease.worker)
  const ended = request._tag === "Terminal" ? request : undefined
  return {
    sequence,
    requestId: arrived.requestId,
    tenant: arrived.tenant,
    version: arrived.version,
    mode: arrived.mode,
    serviceClass: arrived.serviceClass === "opportunistic" ? "opportunistic" : "deadline",
    state: stateNames[request._tag],
    arrivedAtMs: arrived.nowMs,
    deadlineMs: arrived.deadlineMs,
    attempt: request.attempt,
    maxAttempts: arrived.maxAttempts,
    token: lease?.token,
    workerId: lease?.workerId,
    instanceId: worker?.instanceId ?? undefined,
    leaseDeadlineMs: worker === undefined ? undefined : leaseDeadlineMs(worker, state.options.visibilityTimeoutMs),
    notBeforeMs: request._tag === "Pending" && request.notBeforeMs > 0 ? request.notBeforeMs : undefined,
    stored: request.arrivedRecord === "stored",
    kept: request.audience !== "waiting",
    waiting: request.audience !== "claim" && ended?.told !== true,
    terminal: ended?.terminal,
    reason: ended?.reason,
    message: ended?.message,
    endedAtMs: ended?.endedAtMs,
    told: ended?.told ?? false,
    resultKept: ended?.resultKept ?? false,
    resultBytes: ended?.resultBytes ?? 0,
    keepUntilMs: ended?.keepUntilMs
  }
}

const stateNames = { Pending: "pending", Leased: "leased", Responding: "responding", Terminal: "terminal" } as const

/** Figures of one version, for the scaling machine. */
export interface Counts {
  /** With those that wait for a redelivery or for the disk. */
  readonly pending: number
  readonly leased: number
  /** Of workers that take requests. */
  readonly freeSlots: number
  /** Requests that were let in; starts again at 0 when the version was forgotten. */
  readonly arrivalsTotal: number
  readonly oldestPendingAtMs: number | null
}

export interface Demand extends Counts {
  /** Leases of each instance that has a worker here, also when it has none. */
  readonly leasedByInstance: Readonly<Record<string, number>>
}

const noCounts: Counts = { pending: 0, leased: 0, freeSlots: 0, arrivalsTotal: 0, oldestPendingAtMs: null }

/** Costs a look at each tenant that waits for the version. */
export const counts = (state: State, version: string): Counts => {
  const number = Table.find(state.versions, version)
  const row = number === undefined ? undefined : Table.row(state.versions, number)
  return row === undefined ? noCounts : countsOf(state, row)
}

const countsOf = (state: State, row: Version): Counts => {
  const { parked, parkedOpportunistic } = row
  let oldest = Math.min(first(parked), first(parkedOpportunistic))
  IntMap.forEach(row.lanes, (lane) => {
    oldest = Math.min(oldest, first(lane.queue))
  })
  return {
    pending: pendingCount(row),
    leased: row.leasedCount,
    freeSlots: row.freeSlots,
    arrivalsTotal: row.arrivalsTotal,
    // What a lane or a parked set has is among the requests.
    oldestPendingAtMs: oldest === Number.POSITIVE_INFINITY ? null : DueMap.get(state.requests, oldest)!.arrived.nowMs
  }
}

/** Costs a look at each worker of the version and each tenant that waits for it. */
export const demand = (state: State, version: string): Demand => {
  const number = Table.find(state.versions, version)
  const row = number === undefined ? undefined : Table.row(state.versions, number)
  if (row === undefined) return { ...noCounts, leasedByInstance: {} }
  const leasedByInstance = new Map<string, number>()
  for (const number of IntSet.toArray(row.workers)) {
    const worker = Table.row(state.workers, number)
    if (worker === undefined || worker.instanceId === null) continue
    leasedByInstance.set(worker.instanceId, (leasedByInstance.get(worker.instanceId) ?? 0) + worker.holds.size)
  }
  return { ...countsOf(state, row), leasedByInstance: Object.fromEntries(leasedByInstance) }
}

const first = (sequences: IntSet.IntSet): number => IntSet.first(sequences) ?? Number.POSITIVE_INFINITY

/**
 * How many pending requests of the same version are before it: those of its class that came earlier and, before an
 * opportunistic one, all of class `deadline`. `undefined`: it is not pending. Costs a look at each tenant that waits and
 * grows with what is before it.
 */
export const position = (state: State, sequence: number): number | undefined => {
  const found = pendingOf(state, sequence)
  return found === undefined ? undefined : aheadOf(found.row, found.request)
}

/**
 * When a pending request is expected to be leased, on the shard's clock: as soon as all that are before it and itself
 * have found a slot, at the rate at which leases of its version ended in the last seconds, and not before its
 * redelivery delay is over. `unknown`: it must wait for slots and no worker takes requests, or no lease ended lately.
 * `undefined`: it is not pending. An estimate: it knows neither of requests to come nor of the turns of tenants, and
 * may be later than the deadline.
 */
export const expectedStartMs = (state: State, sequence: number, nowMs: number): number | "unknown" | undefined => {
  const found = pendingOf(state, sequence)
  if (found === undefined) return undefined
  const { row, request } = found
  const startMs = Math.max(nowMs, request.notBeforeMs)
  const slotsNeeded = aheadOf(row, request) + 1 - row.freeSlots
  if (slotsNeeded <= 0) return startMs
  const perMs = CompletionRate.perMs(row.turnover, nowMs)
  if (perMs === undefined || slotsOf(state, row) === 0) return "unknown"
  return Math.max(startMs, nowMs + slotsNeeded / perMs)
}

const pendingOf = (
  state: State,
  sequence: number
): { readonly row: Version; readonly request: Pending } | undefined => {
  const request = DueMap.get(state.requests, sequence)
  if (request?._tag !== "Pending") return undefined
  // A version stays as long as a request of it is known.
  return { row: Table.row(state.versions, request.version)!, request }
}

const aheadOf = (row: Version, { arrived, waitsAs }: Pending): number => {
  const { sequence } = arrived
  const isLast = waitsAs === "opportunistic"
  let ahead = isLast
    ? row.parked.size + IntSet.countBelow(row.parkedOpportunistic, sequence)
    : IntSet.countBelow(row.parked, sequence)
  IntMap.forEach(row.lanes, ({ queue }, key) => {
    if (Lanes.classOf(key) === waitsAs) ahead += IntSet.countBelow(queue, sequence)
    else if (isLast) ahead += queue.size
  })
  return ahead
}

/** Of workers that take requests. */
const slotsOf = (state: State, row: Version): number =>
  IntSet.toArray(row.workers).reduce((sum, number) => {
    const worker = Table.row(state.workers, number)
    return worker?.status === "ready" ? sum + worker.slots : sum
  }, 0)

/** Versions that have requests or workers, or had. */
export const versions = (state: State): ReadonlyArray<string> =>
  IntMap.values(state.versions.rows).map(({ name }) => name)

/** Accepted = pending + leased + the ended ones of each kind (L2). Since the start, not over restarts. */
export interface TenantTotals {
  readonly accepted: number
  readonly pending: number
  readonly leased: number
  readonly ended: Readonly<Record<Terminal, number>>
}

/** By tenant. */
export const totals = (state: State): ReadonlyMap<string, TenantTotals> => {
  const all = new Map<string, TenantTotals>()
  IntMap.forEach(state.tenants.rows, (row) => {
    const { name, accepted, pending, leased, responded, failed, expired, cancelled, deadLettered } = row
    const ended = { responded, failed, expired, cancelled, "dead-lettered": deadLettered }
    all.set(name, { accepted, pending, leased, ended })
  })
  return all
}

/** Sequences of all requests that are not forgotten, oldest first: the payloads that the shell must keep. */
export const liveSequences = (state: State): ReadonlyArray<number> => DueMap.keys(state.requests)

/** Every request that is not forgotten, oldest first. */
export const allRequests = (state: State): ReadonlyArray<RequestState> => DueMap.values(state.requests)
