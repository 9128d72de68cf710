/**
 * `Log` over the store thread. Laws: see `Log`.
 *
 * Records are read when the batch is sent, not when `append` is called: leave them as they are until it answers. An
 * append that is interrupted before it was sent is withdrawn; what was appended behind it then meets a conflict.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { type FabricUnavailable, type OutcomeUnknown, PositionConflict } from "../FabricError.ts"
import type { Log, LogRecord, Snapshot } from "../Log.ts"
import { type Place, read, refuse, write } from "./Outcome.ts"
import * as RecordBatch from "./RecordBatch.ts"
import type { StoreClient } from "./StoreClient.ts"
import type { StoredBatch } from "./StoreMessage.ts"

export const recordsMax = 4096
/** Larger ones would hold up every other shard; bodies of that size belong into the blob store. */
export const batchBytesMax = 32 * 1024 * 1024
/** A snapshot goes to the disk in parts of this size, between the commits of others. */
const snapshotPartBytes = 256 * 1024
export const shardNameMax = 200

const place = (operation: string): Place => ({ port: "Log", operation })

const neverConflicts = (actual: number): FabricUnavailable => refuse(place("conflict"), `unexpected ${actual}`, false)

const isCount = (value: number) => Number.isSafeInteger(value) && value >= 0

const shardProblem = (shard: string): string | undefined =>
  shard.length > 0 && shard.length <= shardNameMax && shard.isWellFormed() && !shard.includes("\0")
    ? undefined
    : `a shard's name has 1 to ${shardNameMax} characters and ${JSON.stringify(shard.slice(0, 40))} is none`

const appendProblem = (shard: string, expectedPosition: number, records: ReadonlyArray<Uint8Array>, bytes: number) => {
  if (records.length === 0 || records.length > recordsMax) {
    return `a batch has 1 to ${recordsMax} records and this one has ${records.length}`
  }
  if (bytes > batchBytesMax) return `a batch has at most ${batchBytesMax} bytes and this one has ${bytes}`
  if (!isCount(expectedPosition)) return `${expectedPosition} is no position`
  return shardProblem(shard)
}

const recordsOf = (batches: ReadonlyArray<StoredBatch>, position: number, limit: number): ReadonlyArray<LogRecord> => {
  const records: Array<LogRecord> = []
  for (const batch of batches) {
    const decoded = RecordBatch.decode(batch.bytes, batch.count)
    const from = Math.max(0, position - batch.first)
    for (let index = from; index < decoded.length && records.length < limit; index++) {
      records.push({ position: batch.first + index, bytes: decoded[index]! })
    }
  }
  return records
}

const join = (parts: ReadonlyArray<Uint8Array>): Uint8Array => (parts.length === 1 ? parts[0]! : Buffer.concat(parts))

const partsOf = (bytes: Uint8Array): ReadonlyArray<Uint8Array> => {
  const parts: Array<Uint8Array> = []
  let offset = 0
  do {
    // A copy: a view would take the whole buffer under it to the other thread.
    parts.push(new Uint8Array(bytes.subarray(offset, offset + snapshotPartBytes)))
    offset += snapshotPartBytes
  } while (offset < bytes.byteLength)
  return parts
}

export const make = (client: StoreClient): Log["Service"] => {
  let nextSnapshot = client.opened.nextSnapshot

  const append: Log["Service"]["append"] = (shard, expectedPosition, records, options) => {
    const bytes = RecordBatch.size(records)
    const problem = appendProblem(shard, expectedPosition, records, bytes)
    if (problem !== undefined) return Effect.fail(refuse(place("append"), problem, false))
    return write({
      client,
      place: place("append"),
      bytes,
      order: () => ({
        _tag: "Append",
        shard,
        expectedPosition,
        count: records.length,
        bytes: RecordBatch.encode(records),
        mayUseReserve: options?.mayUseReserve === true
      }),
      conflict: (actual) => new PositionConflict({ shard, expected: expectedPosition, actual })
    })
  }

  const readRecords: Log["Service"]["read"] = (shard, position, limit) => {
    if (!isCount(position) || !isCount(limit) || limit === 0) {
      return Effect.fail(refuse(place("read"), `cannot read ${limit} records from position ${position} on`, false))
    }
    return Effect.flatMap(
      read<"Read">(client, place("read"), { _tag: "Read", shard, position, limit }),
      (batches): Effect.Effect<ReadonlyArray<LogRecord>, FabricUnavailable> => {
        try {
          return Effect.succeed(recordsOf(batches, position, limit))
        } catch (error) {
          return Effect.fail(refuse(place("read"), `shard ${shard} is damaged at ${position}: ${String(error)}`, false))
        }
      }
    )
  }

  const saveSnapshot = Effect.fnUntraced(function* (
    shard: string,
    snapshot: Snapshot
  ): Effect.fn.Return<void, FabricUnavailable | OutcomeUnknown> {
    const problem = isCount(snapshot.position) ? shardProblem(shard) : `${snapshot.position} is no position`
    if (problem !== undefined) return yield* refuse(place("saveSnapshot"), problem, false)
    const number = nextSnapshot++
    const shared = { client, place: place("saveSnapshot"), conflict: neverConflicts }
    const parts = partsOf(snapshot.bytes)
    for (const [part, bytes] of parts.entries()) {
      yield* write<"StageSnapshot", FabricUnavailable>({
        ...shared,
        bytes: bytes.byteLength,
        order: () => ({ _tag: "StageSnapshot", shard, snapshot: number, part, bytes })
      })
    }
    yield* write<"SaveSnapshot", FabricUnavailable>({
      ...shared,
      bytes: 0,
      order: () => ({
        _tag: "SaveSnapshot",
        shard,
        snapshot: number,
        partCount: parts.length,
        position: snapshot.position
      })
    })
  })

  return {
    append,
    read: readRecords,
    bounds: (shard) => read<"Bounds">(client, place("bounds"), { _tag: "Bounds", shard }),
    saveSnapshot,
    loadSnapshot: (shard) =>
      Effect.map(
        read<"LoadSnapshot">(client, place("loadSnapshot"), { _tag: "LoadSnapshot", shard }),
        (stored): Snapshot | undefined =>
          stored === undefined ? undefined : { position: stored.position, bytes: join(stored.parts) }
      ),
    truncate: (shard, position) =>
      write<"Truncate", FabricUnavailable>({
        client,
        place: place("truncate"),
        bytes: 0,
        order: () => ({ _tag: "Truncate", shard, position }),
        conflict: neverConflicts
      })
  }
}
