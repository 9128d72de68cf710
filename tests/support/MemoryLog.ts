/**
 * A log in memory for tests of what stands on one: batches take a turn of the event loop, and a test may lose what was
 * not confirmed, as a crash does.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { FabricUnavailable, PositionConflict } from "../../src/planes/fabric/FabricError.ts"
import type { Log } from "../../src/planes/fabric/Log.ts"

export interface MemoryLog {
  readonly service: Log["Service"]
  /** Bytes that the log holds. */
  readonly bytes: (shard: string) => number
  /** Every append from now on fails. */
  fail: boolean
  /** Appends are refused until it is set back, as by a disk without room. */
  isFull: boolean
  /** Appends that were refused for that. */
  refusedCount: number
}

interface Shard {
  first: number
  records: Array<Uint8Array>
}

export const make = (): MemoryLog => {
  const shards = new Map<string, Shard>()
  const of = (name: string): Shard => {
    const found = shards.get(name) ?? { first: 0, records: [] }
    shards.set(name, found)
    return found
  }
  const refuse = (operation: string, reason: string, retryable = false) =>
    new FabricUnavailable({ port: "Log", operation, reason, retryable })
  const memory: MemoryLog = {
    fail: false,
    isFull: false,
    refusedCount: 0,
    bytes: (name) => of(name).records.reduce((sum, record) => sum + record.length, 0),
    service: {
      append: (name, expected, records) =>
        Effect.callback((resume) => {
          setImmediate(() => {
            const shard = of(name)
            const actual = shard.first + shard.records.length
            if (memory.fail) return resume(Effect.fail(refuse("append", "the test says so")))
            if (memory.isFull) {
              memory.refusedCount++
              return resume(Effect.fail(refuse("append", "the test's disk is full", true)))
            }
            if (actual !== expected) return resume(Effect.fail(new PositionConflict({ shard: name, expected, actual })))
            shard.records.push(...records.map((record) => Uint8Array.from(record)))
            resume(Effect.succeed(actual + records.length))
          })
        }),
      read: (name, position, limit) =>
        Effect.suspend(() => {
          const { first, records } = of(name)
          if (position < first) return Effect.fail(refuse("read", `${position} was truncated`))
          const found = records.slice(position - first, position - first + limit)
          return Effect.succeed(found.map((bytes, index) => ({ position: position + index, bytes })))
        }),
      bounds: (name) => Effect.sync(() => ({ first: of(name).first, end: of(name).first + of(name).records.length })),
      truncate: (name, position) =>
        Effect.sync(() => {
          const shard = of(name)
          if (position <= shard.first) return
          shard.records.splice(0, position - shard.first)
          shard.first = position
        }),
      saveSnapshot: () => Effect.fail(refuse("saveSnapshot", "not in this log")),
      loadSnapshot: () => Effect.succeed(undefined)
    }
  }
  return memory
}
