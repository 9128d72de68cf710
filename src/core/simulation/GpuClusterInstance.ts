/**
 * One instance of a `GpuCluster`, and what becomes of a node by itself.
 *
 * @module
 */
import * as IntMap from "../collections/IntMap.ts"
import type * as Table from "../collections/Table.ts"

export { unreachable } from "../collections/invariant.ts"

export interface Row {
  readonly instanceId: string
  readonly group: number
  readonly node: number
  readonly gpuCount: number
  /** Names and lengths of the phases of its start. */
  readonly phases: ReadonlyArray<string>
  readonly phaseMs: ReadonlyArray<number>
  /** Index of the phase it stands in; -1: none yet; as many as there are: it runs. */
  readonly phase: number
  readonly failsImage: boolean
  readonly failsMemory: boolean
  /** From its begin to the fault of a GPU; infinite = never. */
  readonly xidAfterMs: number
  readonly dueMs: number
}

export interface NodeFate {
  readonly kind: "node-loss" | "spot-loss" | "node-repaired"
  readonly atMs: number
}

export const isRunning = (row: Row): boolean => row.phase >= row.phases.length

/** In the order in which they were asked for. */
export const onNode = (table: Table.Table<Row>, group: number, node: number): ReadonlyArray<Row> => {
  const found: Array<Row> = []
  IntMap.forEach(table.rows, (row) => {
    if (row.group === group && row.node === node) found.push(row)
  })
  return found
}
