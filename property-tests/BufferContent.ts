/**
 * Everything that is in a buffer's state, as plain values in a fixed order and without the shape of its collections: two
 * states with the same content do the same from there on, as far as the collections keep their own laws (C1 to C5).
 *
 * @module
 */
import * as HashMap from "effect/HashMap"
import type { Arrived, DurableRecord } from "../src/core/buffer/BufferEvent.ts"
import type { State } from "../src/core/buffer/BufferState.ts"
import * as DueIndex from "../src/core/collections/DueIndex.ts"
import * as DueMap from "../src/core/collections/DueMap.ts"
import * as IntMap from "../src/core/collections/IntMap.ts"
import * as IntSet from "../src/core/collections/IntSet.ts"

/** Where each request id arrives once and always as the same, this is all of an arrival. */
export const nameOf = ({ requestId, sequence, nowMs }: Arrived): string => `${requestId} as ${sequence} at ${nowMs}`

export const recordOf = (record: DurableRecord): unknown =>
  record._tag === "RecordArrived" ? nameOf(record.arrived) : record

const entries = <V, R>(map: IntMap.IntMap<V>, of: (value: V) => R): ReadonlyArray<readonly [number, R]> => {
  const all: Array<readonly [number, R]> = []
  IntMap.forEach(map, (value, key) => all.push([key, of(value)]))
  return all
}

/** Which step made a part says nothing about what it is. */
const withoutEdit = <A extends { readonly edit: number }>({ edit: _, ...rest }: A): Omit<A, "edit"> => rest

export const contentOf = (state: State): unknown => {
  const { requests, keys, dueWorkers, versions, tenants, workers, rate, options: _, edit: __, ...scalars } = state
  const dues: Array<readonly [number, ReadonlyArray<number>]> = []
  DueIndex.forEach(dueWorkers, (ids, atMs) => dues.push([atMs, IntSet.toArray(ids)]))
  return [
    scalars,
    withoutEdit(rate),
    [DueMap.nextMs(requests), versions.next, tenants.next, workers.next],
    DueMap.values(requests).map((request) => {
      const { arrived, version, tenant, ...rest } = request
      return [nameOf(arrived), version, tenant, rest]
    }),
    [...HashMap.entries(keys)].sort(),
    dues,
    entries(versions.rows, ({ lanes, parked, parkedOpportunistic, workers, idle, turnover, ...row }) => [
      withoutEdit(row),
      withoutEdit(turnover),
      entries(lanes, ({ queue, ...lane }) => [IntSet.toArray(queue), withoutEdit(lane)]),
      [parked, parkedOpportunistic, workers].map(IntSet.toArray),
      entries(idle, (orders) => entries(orders, (worker) => worker))
    ]),
    entries(tenants.rows, withoutEdit),
    entries(workers.rows, ({ holds, lookMs, ...row }) => [withoutEdit(row), String(lookMs), IntSet.toArray(holds)])
  ]
}
