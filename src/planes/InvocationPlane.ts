/**
 * The invocation plane: shards recovered from their logs, the port of workers, and last the door for callers. Needs the
 * fabric and the registry, which it reads from the key-value store itself: a control plane that is away stops nothing here.
 *
 * It ends in the reverse order: no new calls, calls in flight finish, workers are let go, then the logs close.
 *
 * @module
 */
import { randomUUID } from "node:crypto"
import { mkdirSync } from "node:fs"
import { dirname } from "node:path"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type BufferOptions, defaults as bufferDefaults } from "../core/buffer/BufferOptions.ts"
import * as CrashPoint from "./CrashPoint.ts"
import type { ControlView } from "./control/ControlView.ts"
import { defaultTenant, Registry } from "./control/Registry.ts"
import { BlobStore } from "./fabric/BlobStore.ts"
import type { FabricUnavailable } from "./fabric/FabricError.ts"
import type { KeyValue } from "./fabric/KeyValue.ts"
import type { Log } from "./fabric/Log.ts"
import type { PubSub } from "./fabric/PubSub.ts"
import type * as Compactor from "./invocation/Compactor.ts"
import { DeadLetterBook } from "./invocation/DeadLetterBook.ts"
import type { DeadLetterDirectory } from "./invocation/DeadLetterDirectory.ts"
import * as DeadLetters from "./invocation/DeadLetters.ts"
import * as DemandAnswers from "./invocation/DemandAnswers.ts"
import * as EventStreams from "./invocation/EventStreams.ts"
import * as Gateway from "./invocation/Gateway.ts"
import * as InvocationQuestions from "./invocation/InvocationQuestions.ts"
import { RequestBook } from "./invocation/RequestBook.ts"
import type { RequestDirectory } from "./invocation/RequestDirectory.ts"
import * as Shards from "./invocation/Shards.ts"
import * as WorkerHub from "./invocation/WorkerHub.ts"
import * as WorkerListener from "./invocation/worker-transport/WorkerListener.ts"
import type { CannotListen } from "./Port.ts"
import * as Answering from "./peer/Answering.ts"
import * as Rehearsal from "./Rehearsal.ts"
import type { CannotListenAt } from "./SocketFile.ts"

export interface InvocationOptions {
  readonly host: string
  /** 0 = any free port. */
  readonly gatewayPort: number
  readonly workerPort: number
  /**
   * Absolute path of a socket at which instances connect instead of the port: for backends that give them no network. Its
   * folder is made if it is missing, and should hold nothing else.
   */
  readonly workerSocket?: string | undefined
  /**
   * `host:port` at which instances reach the worker port, for backends whose instances are elsewhere. The worker port then
   * listens on all addresses of this machine; what connects there shows its token.
   */
  readonly workerAddress?: string | undefined
  /** Where workers of other machines reach the worker port. Default: host and port. */
  readonly workerUrl?: string | undefined
  readonly region: string
  /** Signs workers' tokens. */
  readonly workerSecret: Uint8Array
  readonly workerTokenLifetimeMs: number
  /** True of a fabric that one process alone can have open. */
  readonly storeIsExclusive: boolean
  /** 1 to 64, the same for the whole life of a fabric. Default: 1. */
  readonly shardCount?: number | undefined
  /** Where other gateways reach the door for callers. Default: host and port. */
  readonly peerUrl?: string | undefined
  /** `visibilityTimeoutMs`: three heartbeats where nothing is said. */
  readonly buffer: Partial<BufferOptions>
  readonly compact?: Partial<Compactor.CompactOptions> | undefined
  readonly deadLetters: Partial<DeadLetters.DeadLetterOptions>
  readonly eventStreams: Partial<EventStreams.EventStreamOptions>
  /** Between heartbeats of workers; three missed and the peer is gone. */
  readonly heartbeatMs: number
  /** How long calls in flight may finish on shutdown. */
  readonly drainMs: number
  readonly gatewayLimits?: Partial<Gateway.GatewayLimits> | undefined
  /** Called before a call of this function is admitted. */
  readonly beforeCall?: ((functionName: string) => void) | undefined
}

export interface InvocationPlane {
  readonly shards: Shards.Shards
  readonly directory: RequestDirectory
  readonly deadLetters: DeadLetterDirectory
  /** Where workers connect that have a network. */
  readonly workerUrl: string
  /** Where instances of this machine connect: the socket where there is one. */
  readonly instanceUrl: string
  /** Why nothing is accepted any more, or not for some shard of its own; undefined = all is well. */
  readonly failure: () => string | undefined
  /** Opens the door for callers; answers its port. */
  readonly listen: Effect.Effect<number, CannotListen, Scope.Scope>
  /** Says to other processes that it is there, and answers what they ask. */
  readonly answer: Effect.Effect<void, never, PubSub | Scope.Scope>
}

/** A worker that missed so many heartbeats is gone: then its connection is given up, and what it held is given to others. */
const heartbeatsOfALease = 3

/** Of the buffers; a lease is over when the connection of a silent worker is given up, unless it is told otherwise. */
export const bufferOf = ({
  buffer,
  heartbeatMs
}: Pick<InvocationOptions, "buffer" | "heartbeatMs">): BufferOptions => ({
  ...bufferDefaults,
  visibilityTimeoutMs: heartbeatsOfALease * heartbeatMs,
  ...buffer
})

/** Succeeds when all shards are owned and replayed and workers can connect; `control` tells of starts and waits. */
export const open = (
  options: InvocationOptions,
  control: Pick<ControlView, "startTimeline" | "whyWaiting">
): Effect.Effect<
  InvocationPlane,
  FabricUnavailable | CannotListen | CannotListenAt,
  Registry | Log | KeyValue | PubSub | BlobStore | Scope.Scope
> =>
  Effect.gen(function* () {
    const registry = yield* Registry
    const blobs = yield* BlobStore
    const routes = registry.routing(defaultTenant)
    const runFork = Effect.runForkWith(yield* Effect.context<never>())
    const defect = (error: unknown) => void runFork(Effect.logError("a defect was caught", error))
    let failure: string | undefined

    Rehearsal.arrival(bufferOf(options))
    const directory = new RequestBook(control)
    const shards = yield* Shards.open(
      {
        shardCount: options.shardCount ?? 1,
        storeIsExclusive: options.storeIsExclusive,
        buffer: bufferOf(options),
        ...(options.compact === undefined ? {} : { compact: options.compact }),
        deadLetters: { ...DeadLetters.defaults, ...options.deadLetters },
        eventStreams: { ...EventStreams.defaults, ...options.eventStreams }
      },
      {
        ended: directory.remember,
        staleMessage: (workerId, event) => {
          directory.countStale()
          runFork(Effect.logDebug("refused a message of a worker whose lease is over", { workerId, event }))
        },
        storeFailed: (message) => {
          failure ??= message
          runFork(
            Effect.logFatal("the store failed: nothing more is accepted until this process is restarted", { message })
          )
        },
        storeFull: (message) =>
          void runFork(
            Effect.logError("the disk is full: nothing is accepted until there is room; what is accepted goes on", {
              message
            })
          ),
        moved: (shard, what) => void runFork(Effect.logInfo("a shard moved", { shard, what })),
        defect
      }
    )
    directory.attach(shards)
    yield* DemandAnswers.serve(shards)
    // A version that is gone for good takes its waiting requests with it; one that is only undeployed keeps them.
    const stopWatching = routes.onChange((versionId) => {
      if (routes.byVersionId(versionId) === undefined) shards.forVersion(versionId)?.removeVersion(versionId)
    })
    yield* Effect.addFinalizer(() => Effect.sync(stopWatching))

    const hub = yield* WorkerHub.make(
      {
        region: options.region,
        heartbeatMs: options.heartbeatMs,
        visibilityTimeoutMs: bufferOf(options).visibilityTimeoutMs,
        secret: options.workerSecret,
        tokenLifetimeMs: options.workerTokenLifetimeMs
      },
      shards,
      routes
    )
    const socketPath = options.workerSocket
    // Instances of another user enter the folder; who else can is decided by the folders above it.
    if (socketPath !== undefined) mkdirSync(dirname(socketPath), { recursive: true, mode: 0o755 })
    const workers = yield* WorkerListener.listen({
      host: options.workerAddress === undefined ? options.host : "0.0.0.0",
      port: options.workerPort,
      socketPath,
      workers: hub,
      heartbeatMs: options.heartbeatMs
    })
    const workerUrl = options.workerUrl ?? `ws://${options.host}:${workers.port}`
    const deadLetters = new DeadLetterBook({ shards, routes, blobs })
    const id = randomUUID()
    return {
      shards,
      directory,
      deadLetters,
      workerUrl,
      instanceUrl: instanceUrlOf(options, workerUrl),
      failure: () => failure ?? shards.problem(),
      listen: Effect.gen(function* () {
        CrashPoint.hit("platform.beforeGateway")
        const { port } = yield* Gateway.listen(
          { host: options.host, port: options.gatewayPort, drainMs: options.drainMs, limits: options.gatewayLimits },
          {
            routes,
            shards,
            blobs,
            control,
            directory,
            defect,
            beforeCall: options.beforeCall,
            ...(options.storeIsExclusive ? {} : { peers: { secret: options.workerSecret } })
          }
        )
        yield* shards.join({ peerUrl: options.peerUrl ?? `http://${options.host}:${port}`, workerUrl })
        // Before the door closes, so that callers still have a way to whoever takes over.
        yield* Effect.addFinalizer(() => shards.leave(options.drainMs))
        return port
      }),
      answer: Answering.serve(
        () => ({ plane: "invocation", id, workerUrl }),
        InvocationQuestions.handlers(directory, deadLetters)
      )
    }
  })

/** Where instances connect. */
const instanceUrlOf = (
  { workerSocket, workerAddress }: Pick<InvocationOptions, "workerSocket" | "workerAddress">,
  workerUrl: string
): string => {
  if (workerSocket !== undefined) return `unix:${workerSocket}`
  return workerAddress === undefined ? workerUrl : `ws://${workerAddress}`
}
