/**
 * One gateway as it stands beside others: shards, worker port and door over a fabric that it shares. No control plane and
 * no agent: whoever tests it starts workers by itself.
 *
 * @module
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { defaults as bufferDefaults } from "../../src/core/buffer/BufferOptions.ts"
import { defaultTenant, Registry } from "../../src/planes/control/Registry.ts"
import { BlobStore } from "../../src/planes/fabric/BlobStore.ts"
import type { Fabric } from "../../src/planes/fabric/EmbeddedFabric.ts"
import { OutcomeUnknown } from "../../src/planes/fabric/FabricError.ts"
import { KeyValue } from "../../src/planes/fabric/KeyValue.ts"
import { Log } from "../../src/planes/fabric/Log.ts"
import * as DeadLetters from "../../src/planes/invocation/DeadLetters.ts"
import * as EventStreams from "../../src/planes/invocation/EventStreams.ts"
import * as Gateway from "../../src/planes/invocation/Gateway.ts"
import { RequestBook } from "../../src/planes/invocation/RequestBook.ts"
import * as Shards from "../../src/planes/invocation/Shards.ts"
import * as WorkerHub from "../../src/planes/invocation/WorkerHub.ts"
import * as WorkerListener from "../../src/planes/invocation/worker-transport/WorkerListener.ts"

export const host = "127.0.0.1"
export const secret = Buffer.alloc(32, 7)

export interface GatewayOptions {
  readonly shardCount: number
  readonly ownership?: Shards.ShardsOptions["ownership"]
  readonly members?: Shards.ShardsOptions["members"]
  readonly heartbeatMs?: number
  /** Default: any free one. */
  readonly gatewayPort?: number
  readonly workerPort?: number
  readonly holdMs?: number
  readonly drainMs?: number
  /** What of it does not reach the key-value store at that moment: what it says of its leases, or anything. */
  readonly brokenStore?: () => "nothing" | "leases" | "everything"
  /** It begins to read the log of a shard. */
  readonly onRead?: (shard: string) => void
  readonly onMoved?: (shard: string, what: string) => void
  readonly onDefect?: (error: unknown) => void
}

export interface GatewayLife {
  readonly url: string
  readonly workerUrl: string
  readonly shards: Shards.Shards
  /** In order: hands over what it has, then closes. */
  readonly close: () => Promise<void>
}

const start = Effect.fnUntraced(function* (options: GatewayOptions) {
  const { heartbeatMs = 1_000, drainMs = 10_000 } = options
  const registry = yield* Registry
  const blobs = yield* BlobStore
  const routes = registry.routing(defaultTenant)
  const control = { startTimeline: () => undefined, whyWaiting: () => undefined }
  const directory = new RequestBook(control)
  const defect = options.onDefect ?? ((error: unknown) => console.error("defect", error))
  const visibilityTimeoutMs = 15_000
  const shards = yield* Shards.open(
    {
      shardCount: options.shardCount,
      storeIsExclusive: false,
      buffer: { ...bufferDefaults, visibilityTimeoutMs, redeliveryDelayMs: 20, redeliveryDelayMaxMs: 200 },
      deadLetters: DeadLetters.defaults,
      eventStreams: EventStreams.defaults,
      ...(options.ownership === undefined ? {} : { ownership: options.ownership }),
      ...(options.members === undefined ? {} : { members: options.members })
    },
    {
      ended: directory.remember,
      staleMessage: directory.countStale,
      storeFailed: (message) => console.error("the store failed", message),
      storeFull: (message) => console.error("the store is full", message),
      defect,
      moved: options.onMoved ?? (() => {})
    }
  )
  directory.attach(shards)
  const hub = yield* WorkerHub.make(
    { region: "test", heartbeatMs, visibilityTimeoutMs, secret, tokenLifetimeMs: 3_600_000 },
    shards,
    routes
  )
  const workers = yield* WorkerListener.listen({ host, port: options.workerPort ?? 0, workers: hub, heartbeatMs })
  const { port } = yield* Gateway.listen(
    { host, port: options.gatewayPort ?? 0, drainMs },
    {
      routes,
      shards,
      blobs,
      control,
      directory,
      defect,
      peers: { secret, ...(options.holdMs === undefined ? {} : { holdMs: options.holdMs }) }
    }
  )
  const address = { peerUrl: `http://${host}:${port}`, workerUrl: `ws://${host}:${workers.port}` }
  yield* shards.join(address)
  yield* Effect.addFinalizer(() => shards.leave(drainMs))
  return { url: address.peerUrl, workerUrl: address.workerUrl, shards }
})

const breaking = (
  keyValue: KeyValue["Service"],
  broken: () => "nothing" | "leases" | "everything"
): KeyValue["Service"] => ({
  ...keyValue,
  put: (key, value, expected) =>
    broken() === "everything" || (broken() === "leases" && key.startsWith("shards/"))
      ? Effect.fail(new OutcomeUnknown({ port: "KeyValue", operation: "put", reason: "the test says so" }))
      : keyValue.put(key, value, expected)
})

/** Over what others have open too. */
export const startGateway = async (
  fabric: Context.Context<Fabric | Registry>,
  options: GatewayOptions
): Promise<GatewayLife> => {
  const scope = Effect.runSync(Scope.make())
  const { brokenStore = () => "nothing", onRead = () => {} } = options
  const log = Context.get(fabric, Log)
  const own = fabric.pipe(
    Context.add(KeyValue, breaking(Context.get(fabric, KeyValue), brokenStore)),
    Context.add(Log, {
      ...log,
      bounds: (shard) => {
        onRead(shard)
        return log.bounds(shard)
      }
    })
  )
  const started = await Effect.runPromise(start(options).pipe(Scope.provide(scope), Effect.provide(own)))
  let closed: Promise<void> | undefined
  return {
    ...started,
    close: () => {
      closed ??= Effect.runPromise(Scope.close(scope, Exit.void))
      return closed
    }
  }
}

export interface OpenFabric {
  readonly context: Context.Context<Fabric | Registry>
  readonly close: () => Promise<void>
}

export const openFabric = async <E>(layer: Layer.Layer<Fabric, E>): Promise<OpenFabric> => {
  const scope = Effect.runSync(Scope.make())
  const context = await Effect.runPromise(
    Layer.build(Registry.layer().pipe(Layer.provideMerge(layer))).pipe(Scope.provide(scope))
  )
  return { context, close: () => Effect.runPromise(Scope.close(scope, Exit.void)) }
}
