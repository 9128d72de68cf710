/**
 * What operators said about clusters: cordoned, drained. Kept in the key-value store under `cluster-orders/{name}`, so that
 * it holds for every copy of the control plane, those to come too, and followed by a watch: it acts where it is heard.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { FabricUnavailable, OutcomeUnknown } from "../fabric/FabricError.ts"
import { type Change, KeyValue } from "../fabric/KeyValue.ts"

export const ClusterOrder = Schema.Struct({
  /** Takes no new instances. */
  cordoned: Schema.Boolean,
  /** And those that it has are replaced elsewhere, and leave when they are done. */
  draining: Schema.Boolean
})
export type ClusterOrder = typeof ClusterOrder.Type

const prefix = "cluster-orders/"
const none: ClusterOrder = { cordoned: false, draining: false }
const decode = Schema.decodeUnknownResult(Schema.fromJsonString(ClusterOrder))

export interface ClusterOrders {
  /** Durable when it succeeds; the latest of two wins. */
  readonly set: (cluster: string, order: ClusterOrder) => Effect.Effect<void, FabricUnavailable | OutcomeUnknown>
}

/** Calls `onOrder` with each that is there, then with every change. */
export const make = (
  onOrder: (cluster: string, order: ClusterOrder) => void
): Effect.Effect<ClusterOrders, FabricUnavailable, KeyValue | Scope.Scope> =>
  Effect.gen(function* () {
    const keyValue = yield* KeyValue
    const known = new Set<string>()
    const take = (change: Change) => {
      if (change._tag === "CaughtUp") return
      if (change._tag === "Deleted") {
        known.delete(change.key)
        return onOrder(change.key.slice(prefix.length), none)
      }
      const order = decode(Buffer.from(change.entry.value).toString("utf8"))
      if (Result.isFailure(order)) return
      known.add(change.entry.key)
      onOrder(change.entry.key.slice(prefix.length), order.success)
    }
    yield* keyValue.watch(prefix, take, { known: () => known })
    return {
      set: (cluster, order) =>
        keyValue.put(`${prefix}${cluster}`, Buffer.from(JSON.stringify(order))).pipe(
          // Without an expected revision there is none to be in conflict with.
          Effect.catchTag("RevisionConflict", (conflict) => Effect.die(conflict)),
          Effect.asVoid
        )
    }
  })
