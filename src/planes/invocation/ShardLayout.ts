/**
 * How many shards a fabric has: written by whoever opens it first. With another number versions would hash to other shards
 * than those that have their requests, so that is refused.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { FabricUnavailable, type OutcomeUnknown } from "../fabric/FabricError.ts"
import type { KeyValue } from "../fabric/KeyValue.ts"

const key = "shard-layout"

/** Fails with `FabricUnavailable` when the fabric has another number of shards. */
export const requireCount = Effect.fnUntraced(function* (
  keyValue: KeyValue["Service"],
  shardCount: number
): Effect.fn.Return<void, FabricUnavailable | OutcomeUnknown> {
  let entry = yield* keyValue.get(key)
  if (entry === undefined) {
    // Fabrics of before this was written had one.
    const had = (yield* keyValue.get("shards/shard-0/owner")) === undefined ? shardCount : 1
    yield* keyValue
      .put(key, Buffer.from(JSON.stringify({ shardCount: had })), 0)
      .pipe(Effect.catchTag("RevisionConflict", () => Effect.void))
    entry = yield* keyValue.get(key)
  }
  const found = Number(JSON.parse(Buffer.from(entry?.value ?? []).toString("utf8")).shardCount)
  if (found === shardCount) return
  return yield* new FabricUnavailable({
    port: "KeyValue",
    operation: "open",
    reason: `this fabric has ${found} shards and ${shardCount} were asked for: start with ${found}, since requests stay in the shard that they were stored in`,
    retryable: false
  })
})
