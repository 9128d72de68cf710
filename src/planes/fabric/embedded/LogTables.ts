/**
 * The shard logs in SQLite: one row per appended batch. Runs in the store thread, inside its transactions.
 *
 * Laws: T1 positions are checked against what this thread last wrote, before anything is written. T2 `truncate` moves
 * the first readable position at once; the rows go later in small slices, so that no commit waits for a large deletion.
 * T3 a snapshot is staged in parts and becomes visible whole or not at all; parts that nobody names any more are removed. T4 after a rollback `reload` brings memory back to the disk.
 * T9 every row is checked when it is read.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite"
import * as RowCheck from "./RowCheck.ts"
import { done, type StoredBatch, type StoreOrder, type TableAnswer } from "./StoreMessage.ts"

/** An order of this port. */
type Order<Tag extends StoreOrder["_tag"]> = Extract<StoreOrder, { readonly _tag: Tag }>

/** One answer may not fill the memory of both threads; the reader asks again. */
const readBytesMax = 8 * 1024 * 1024

/** Each shard costs about 200 bytes of memory for good. */
export const shardsMax = 65_536

/** Rows that one slice of `collectGarbage` removes: about a millisecond. */
const garbageRowsMax = 32

interface Shard {
  readonly id: number
  /** First readable position. */
  first: number
  end: number
}

const number = (row: Record<string, unknown> | undefined, column: string): number => {
  const value = row?.[column]
  if (typeof value !== "number") throw new Error(`column ${column} holds ${typeof value}, not a number`)
  return value
}

const bytes = (row: Record<string, unknown>, column: string): Uint8Array => {
  const value = row[column]
  if (!(value instanceof Uint8Array)) throw new Error(`column ${column} holds ${typeof value}, not bytes`)
  return value
}

export const make = (database: DatabaseSync) => {
  const selectShards = database.prepare("SELECT id, name, first, end_floor, sum FROM log_shard")
  const selectLast = database.prepare(
    "SELECT first, count FROM log_batch WHERE shard = ? AND first <= ? ORDER BY first DESC LIMIT 1"
  )
  const insertShard = database.prepare("INSERT INTO log_shard (id, name, first, end_floor, sum) VALUES (?, ?, 0, 0, ?)")
  const updateShard = database.prepare("UPDATE log_shard SET first = ?, end_floor = ?, sum = ? WHERE id = ?")
  const insertBatch = database.prepare("INSERT INTO log_batch (shard, first, count, bytes, sum) VALUES (?, ?, ?, ?, ?)")
  const selectBatches = database.prepare(
    "SELECT first, count, bytes, sum FROM log_batch WHERE shard = ? AND first >= ? ORDER BY first"
  )
  const deleteBatches = database.prepare(
    `DELETE FROM log_batch WHERE rowid IN (
       SELECT rowid FROM log_batch WHERE shard = ? AND first < ? ORDER BY first LIMIT ${garbageRowsMax})`
  )
  const insertPart = database.prepare("INSERT INTO log_snapshot_part (snapshot, part, bytes, sum) VALUES (?, ?, ?, ?)")
  const selectParts = database.prepare(
    "SELECT part, bytes, sum FROM log_snapshot_part WHERE snapshot = ? ORDER BY part"
  )
  const deleteParts = database.prepare(
    `DELETE FROM log_snapshot_part WHERE rowid IN (
       SELECT rowid FROM log_snapshot_part WHERE snapshot = ? ORDER BY part LIMIT ${garbageRowsMax})`
  )
  const countParts = database.prepare("SELECT count(*) AS count FROM log_snapshot_part WHERE snapshot = ?")
  const selectSnapshot = database.prepare("SELECT snapshot, position, sum FROM log_snapshot WHERE shard = ?")
  const replaceSnapshot = database.prepare(
    "INSERT OR REPLACE INTO log_snapshot (shard, snapshot, position, sum) VALUES (?, ?, ?, ?)"
  )
  const selectNextSnapshot = database.prepare(
    `SELECT 1 + max(
       coalesce((SELECT max(snapshot) FROM log_snapshot), 0),
       coalesce((SELECT max(snapshot) FROM log_snapshot_part), 0)) AS next`
  )
  const selectStaleSnapshots = database.prepare(
    "SELECT DISTINCT snapshot FROM log_snapshot_part WHERE snapshot NOT IN (SELECT snapshot FROM log_snapshot)"
  )

  const shards = new Map<string, Shard>()
  /** Shards that may have rows before `first`, and snapshots that nobody names. */
  const shardGarbage = new Set<Shard>()
  const snapshotGarbage = new Set<number>()
  /** The snapshot of each shard that is being staged. */
  const staged = new Map<string, number>()

  /** Ever appended, over all shards. */
  let recordCount = 0

  const load = () => {
    recordCount = 0
    for (const row of selectShards.all()) {
      const id = number(row, "id")
      const name = String(row["name"])
      RowCheck.require(row["sum"], `shard ${name}`, id, name, number(row, "first"), number(row, "end_floor"))
      const last = selectLast.get(id, Number.MAX_SAFE_INTEGER)
      const end = last === undefined ? 0 : number(last, "first") + number(last, "count")
      const shard = { id, first: number(row, "first"), end: Math.max(end, number(row, "end_floor")) }
      shards.set(name, shard)
      recordCount += shard.end
      if (shard.first > 0) shardGarbage.add(shard)
    }
  }

  const shardOf = (name: string): Shard | undefined => {
    const known = shards.get(name)
    if (known !== undefined) return known
    if (shards.size >= shardsMax) return undefined
    const shard = { id: shards.size + 1, first: 0, end: 0 }
    insertShard.run(shard.id, name, RowCheck.of(shard.id, name, 0, 0))
    shards.set(name, shard)
    return shard
  }

  const append = (order: Order<"Append">): TableAnswer<"Append"> => {
    const end = shards.get(order.shard)?.end ?? 0
    if (end !== order.expectedPosition) return { _tag: "Conflict", actual: end }
    const shard = shardOf(order.shard)
    if (shard === undefined) {
      return { _tag: "Refused", reason: `the store has ${shardsMax} shards, which is its limit`, retryable: false }
    }
    const sum = RowCheck.of(shard.id, shard.end, order.count, order.bytes)
    insertBatch.run(shard.id, shard.end, order.count, order.bytes, sum)
    recordCount += order.count
    shard.end += order.count
    return done(shard.end)
  }

  const read = (order: Order<"Read">): TableAnswer<"Read"> => {
    const shard = shards.get(order.shard)
    if (shard === undefined || order.position >= shard.end) return done([])
    if (order.position < shard.first) {
      return {
        _tag: "Refused",
        reason: `records of shard ${order.shard} before position ${shard.first} were truncated and ${order.position} was asked for: load the snapshot first`,
        retryable: false
      }
    }
    const containing = number(selectLast.get(shard.id, order.position), "first")
    const batches: Array<StoredBatch> = []
    let size = 0
    for (const row of selectBatches.iterate(shard.id, containing)) {
      const batch = { first: number(row, "first"), count: number(row, "count"), bytes: bytes(row, "bytes") }
      const where = `the batch at position ${batch.first} of ${order.shard}`
      RowCheck.require(row["sum"], where, shard.id, batch.first, batch.count, batch.bytes)
      batches.push(batch)
      size += batch.bytes.byteLength
      if (batch.first + batch.count >= order.position + order.limit || size >= readBytesMax) break
    }
    return done(batches)
  }

  const truncate = (order: Order<"Truncate">): TableAnswer<"Truncate"> => {
    const shard = shards.get(order.shard)
    if (shard === undefined || order.position <= shard.first) return done(undefined)
    // Only whole batches go: the one that holds `position` stays.
    const first = order.position >= shard.end ? shard.end : number(selectLast.get(shard.id, order.position), "first")
    updateShard.run(first, shard.end, RowCheck.of(shard.id, order.shard, first, shard.end), shard.id)
    shard.first = first
    shardGarbage.add(shard)
    return done(undefined)
  }

  const stageSnapshot = (order: Order<"StageSnapshot">): TableAnswer<"StageSnapshot"> => {
    const before = staged.get(order.shard)
    // Whoever staged it gave up, or it would have been saved.
    if (before !== undefined && before !== order.snapshot) snapshotGarbage.add(before)
    staged.set(order.shard, order.snapshot)
    const sum = RowCheck.of(order.snapshot, order.part, order.bytes)
    insertPart.run(order.snapshot, order.part, order.bytes, sum)
    return done(undefined)
  }

  const saveSnapshot = (order: Order<"SaveSnapshot">): TableAnswer<"SaveSnapshot"> => {
    const shard = shardOf(order.shard)
    if (shard === undefined) {
      return { _tag: "Refused", reason: `the store has ${shardsMax} shards, which is its limit`, retryable: false }
    }
    const partCount = number(countParts.get(order.snapshot), "count")
    if (partCount !== order.partCount) {
      const reason = `of ${order.partCount} parts of the snapshot ${partCount} are here: another one of the shard began meanwhile`
      return { _tag: "Refused", reason, retryable: true }
    }
    staged.delete(order.shard)
    const before = selectSnapshot.get(shard.id)
    const position = before === undefined ? 0 : number(before, "position")
    if (position > order.position) {
      snapshotGarbage.add(order.snapshot)
      const reason = `a snapshot at ${position} is there, and this one is at ${order.position}`
      return { _tag: "Refused", reason, retryable: false }
    }
    const sum = RowCheck.of(shard.id, order.snapshot, order.position)
    replaceSnapshot.run(shard.id, order.snapshot, order.position, sum)
    if (before !== undefined) snapshotGarbage.add(number(before, "snapshot"))
    return done(undefined)
  }

  const loadSnapshot = (order: Order<"LoadSnapshot">): TableAnswer<"LoadSnapshot"> => {
    const shard = shards.get(order.shard)
    const row = shard === undefined ? undefined : selectSnapshot.get(shard.id)
    if (shard === undefined || row === undefined) return done(undefined)
    const snapshot = number(row, "snapshot")
    const position = number(row, "position")
    const where = `the snapshot at position ${position} of ${order.shard}`
    RowCheck.require(row["sum"], where, shard.id, snapshot, position)
    const parts = selectParts.all(snapshot).map((part) => {
      const content = bytes(part, "bytes")
      RowCheck.require(part["sum"], where, snapshot, number(part, "part"), content)
      return content
    })
    return done({ position, parts })
  }

  load()
  for (const row of selectStaleSnapshots.all()) snapshotGarbage.add(number(row, "snapshot"))

  return {
    append,
    read,
    bounds: (order: Order<"Bounds">): TableAnswer<"Bounds"> => {
      const shard = shards.get(order.shard)
      return done({ first: shard?.first ?? 0, end: shard?.end ?? 0 })
    },
    stageSnapshot,
    saveSnapshot,
    loadSnapshot,
    truncate,
    /** T4. Garbage that a rollback brought back is found again at the next start. */
    reload: () => {
      shards.clear()
      shardGarbage.clear()
      load()
    },
    recordCount: (): number => recordCount,
    nextSnapshot: (): number => number(selectNextSnapshot.get(), "next"),
    hasGarbage: (): boolean => shardGarbage.size > 0 || snapshotGarbage.size > 0,
    /** Removes one slice. */
    collectGarbage: () => {
      for (const shard of shardGarbage) {
        if (deleteBatches.run(shard.id, shard.first).changes === garbageRowsMax) return
        shardGarbage.delete(shard)
      }
      for (const snapshot of snapshotGarbage) {
        if (deleteParts.run(snapshot).changes === garbageRowsMax) return
        snapshotGarbage.delete(snapshot)
      }
    }
  }
}

export type LogTables = ReturnType<typeof make>
