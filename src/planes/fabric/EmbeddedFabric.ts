/**
 * The fabric of one process: SQLite in a thread, blobs as files, pub/sub in memory. The default; needs no service.
 *
 * Laws: those of the five ports, and: one process at a time uses a state directory; after a kill at any moment, the
 * next start finds everything that was confirmed.
 *
 * @module
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { BlobStore } from "./BlobStore.ts"
import * as EmbeddedBlobStore from "./embedded/EmbeddedBlobStore.ts"
import * as EmbeddedKeyValue from "./embedded/EmbeddedKeyValue.ts"
import * as EmbeddedLog from "./embedded/EmbeddedLog.ts"
import * as EmbeddedPubSub from "./embedded/EmbeddedPubSub.ts"
import * as EmbeddedWorkQueue from "./embedded/EmbeddedWorkQueue.ts"
import * as ReportFault from "./embedded/ReportFault.ts"
import * as StoreClient from "./embedded/StoreClient.ts"
import type { OpenRefusal } from "./embedded/StoreMessage.ts"
import { FabricUnavailable, UnsafeStore } from "./FabricError.ts"
import { KeyValue } from "./KeyValue.ts"
import { Log } from "./Log.ts"
import { PubSub } from "./PubSub.ts"
import { WorkQueue } from "./WorkQueue.ts"

export interface EmbeddedFabricOptions {
  /** The state directory; made when it is missing. Holds `millrace.db` and `blobs/`. On a local disk, not on NFS. */
  readonly directory: string
}

export type Fabric = Log | KeyValue | WorkQueue | PubSub | BlobStore

const openError = (refusal: OpenRefusal): UnsafeStore | FabricUnavailable =>
  refusal._tag === "Unsafe"
    ? new UnsafeStore({
        path: refusal.path,
        setting: refusal.setting,
        found: refusal.found,
        required: refusal.required
      })
    : new FabricUnavailable({
        port: "Store",
        operation: "open",
        reason: refusal.reason,
        retryable: refusal.retryable
      })

const openStore = (directory: string, report: ReportFault.ReportFault) =>
  Effect.tryPromise({
    try: () =>
      StoreClient.open({
        directory,
        onFailure: (reason) => report("the store failed and takes no more writes", reason)
      }),
    catch: (error) =>
      openError(
        error instanceof StoreClient.NotOpened
          ? error.refusal
          : { _tag: "Unavailable", reason: String(error), retryable: false }
      )
  })

const make = Effect.fnUntraced(function* ({ directory }: EmbeddedFabricOptions) {
  const report = yield* ReportFault.make
  const clock = yield* Clock.Clock
  const client = yield* Effect.acquireRelease(openStore(directory, report), (client) =>
    Effect.promise(() => client.close())
  )
  const { repaired } = client.opened
  if (repaired !== undefined) yield* Effect.logWarning(`the store was repaired: ${repaired}`)
  const queues = yield* Effect.acquireRelease(
    Effect.sync(() => EmbeddedWorkQueue.make({ client, nowMs: () => clock.currentTimeMillisUnsafe(), report })),
    (queues) => Effect.sync(queues.close)
  )
  const blobs = yield* EmbeddedBlobStore.make(directory, { isShared: false })
  return Context.make(Log, EmbeddedLog.make(client)).pipe(
    Context.add(KeyValue, EmbeddedKeyValue.make(client, report)),
    Context.add(WorkQueue, queues.service),
    Context.add(PubSub, EmbeddedPubSub.make(report)),
    Context.add(BlobStore, blobs)
  )
})

/**
 * All five ports on one state directory.
 *
 * Fails with `FabricUnavailable` when another process uses the directory (the reason names its pid and what to do) or it
 * cannot be written, and with `UnsafeStore` when what is there cannot be trusted. Closing the scope finishes what was
 * asked for and gives the directory back.
 */
export const layer = (options: EmbeddedFabricOptions): Layer.Layer<Fabric, UnsafeStore | FabricUnavailable> =>
  Layer.effectContext(make(options))
