/**
 * What is put in order when a shard was recovered: marks and blobs that the end of an earlier owner left half done.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { BlobStore } from "../fabric/BlobStore.ts"
import type { FabricUnavailable } from "../fabric/FabricError.ts"
import { nowMs } from "./PlaneClock.ts"
import * as RequestId from "./RequestId.ts"
import type { Shard } from "./Shard.ts"

export interface ShardUpkeep {
  /** A replay whose request was stored, and whose mark at the dead letter, in any of `shards`, was not. */
  readonly noteReplays: (
    shards: ReadonlyArray<Shard>,
    replays: Iterable<readonly [letterId: string, requestId: string]>
  ) => Effect.Effect<void>
  /** Blobs of these shards that no live request names: their request is gone, or was never accepted. */
  readonly dropOrphanBlobs: (shards: ReadonlyMap<number, Shard>) => Effect.Effect<void, FabricUnavailable>
}

export const make = (blobs: BlobStore["Service"], shardCount: number): ShardUpkeep => ({
  noteReplays: (shards, replays) =>
    Effect.promise(async () => {
      for (const [letterId, requestId] of replays) {
        for (const { deadLetters } of shards) {
          // Where the store takes no writes, the next start notes it.
          await deadLetters.markReplayed(letterId, { requestId, atMs: nowMs() }).catch(() => {})
        }
      }
    }),
  dropOrphanBlobs: Effect.fnUntraced(function* (shards) {
    for (const id of yield* blobs.list()) {
      // A blob's name begins with the id of its request.
      const requestId = id.slice(0, 36)
      const shard = shards.get(RequestId.shardOf(requestId, shardCount))
      if (shard === undefined || !shard.isOpen) continue
      const isNamed = shard.entries.ofRequest(requestId) !== undefined || shard.deadLetters.has(requestId)
      if (!isNamed) yield* blobs.remove(id)
    }
  })
})
