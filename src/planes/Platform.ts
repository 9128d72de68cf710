/**
 * All three planes, a fabric (embedded or NATS) and one agent in one process: what `millrace dev` and `millrace up` run.
 *
 * Order of start: registry, controller, shards (recovered), workers' port, agent, control API, gateway; the door for
 * callers opens last. It ends in the reverse order: no new calls, calls in flight finish, instances drain, then the log
 * and the store close.
 *
 * @module
 */
import { randomBytes } from "node:crypto"
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { type Abilities, ComputeBackend } from "../backends/ComputeBackend.ts"
import { type BufferOptions, defaults as bufferDefaults } from "../core/buffer/BufferOptions.ts"
import * as CrashPoint from "./CrashPoint.ts"
import * as Agent from "./compute/Agent.ts"
import * as AdminToken from "./control/AdminToken.ts"
import type * as ControlErrors from "./control/ControlErrors.ts"
import * as Controller from "./control/Controller.ts"
import * as ControlServer from "./control/ControlServer.ts"
import { DeadLettersSource, InstancesSource, LogsSource, RequestsSource } from "./control/ControlSources.ts"
import type { ControlView } from "./control/ControlView.ts"
import { defaultTenant, Registry, type StoreFailure } from "./control/Registry.ts"
import { BlobStore } from "./fabric/BlobStore.ts"
import * as EmbeddedFabric from "./fabric/EmbeddedFabric.ts"
import type { FabricUnavailable, UnsafeServer, UnsafeStore } from "./fabric/FabricError.ts"
import type * as NatsFabric from "./fabric/NatsFabric.ts"
import type * as Compactor from "./invocation/Compactor.ts"
import { DeadLetterBook } from "./invocation/DeadLetterBook.ts"
import * as DeadLetters from "./invocation/DeadLetters.ts"
import * as EventStreams from "./invocation/EventStreams.ts"
import * as Gateway from "./invocation/Gateway.ts"
import * as PlaneClock from "./invocation/PlaneClock.ts"
import { RequestBook } from "./invocation/RequestBook.ts"
import type { RequestDirectory } from "./invocation/RequestDirectory.ts"
import * as Shards from "./invocation/Shards.ts"
import * as WorkerHub from "./invocation/WorkerHub.ts"
import * as WorkerToken from "./invocation/WorkerToken.ts"
import * as WorkerListener from "./invocation/worker-transport/WorkerListener.ts"

export interface PlatformOptions {
  readonly stateDirectory: string
  /** Absent: the embedded one, in the state directory. Else NATS; bodies that are large stay in the state directory. */
  readonly fabric?: Omit<NatsFabric.NatsFabricOptions, "blobDirectory"> | undefined
  readonly host: string
  /** 0 = any free port, for each of the three. */
  readonly gatewayPort: number
  readonly controlPort: number
  readonly workerPort: number
  /**
   * Absolute path of a socket at which instances connect instead of the port: for backends that give them no network. Its
   * folder is made if it is missing, and should hold nothing else.
   */
  readonly workerSocket?: string
  /** `visibilityTimeoutMs`: three heartbeats where nothing is said. */
  readonly buffer: Partial<BufferOptions>
  readonly compact?: Partial<Compactor.CompactOptions>
  readonly deadLetters: Partial<DeadLetters.DeadLetterOptions>
  readonly eventStreams: Partial<EventStreams.EventStreamOptions>
  /** Between heartbeats of workers; three missed and the peer is gone. */
  readonly heartbeatMs: number
  /** How long calls in flight may finish on shutdown. */
  readonly drainMs: number
  /** Slow and many connections; what is left out is as in `Gateway`. */
  readonly gatewayLimits?: Partial<Gateway.GatewayLimits>
  /** Called before a call of this function is admitted; `dev` looks for saved files here. */
  readonly beforeCall?: (functionName: string) => void
}

export const defaults: Omit<PlatformOptions, "stateDirectory"> = {
  host: "127.0.0.1",
  gatewayPort: 8787,
  controlPort: 8788,
  workerPort: 8789,
  buffer: {},
  deadLetters: {},
  eventStreams: {},
  heartbeatMs: 5_000,
  drainMs: 10_000
}

/** A worker that missed so many heartbeats is gone: then its connection is given up, and what it held is given to others. */
const heartbeatsOfALease = 3

/** Of the buffers; a lease is over when the connection of a silent worker is given up, unless it is told otherwise. */
export const bufferOf = ({ buffer, heartbeatMs }: Pick<PlatformOptions, "buffer" | "heartbeatMs">): BufferOptions => ({
  ...bufferDefaults,
  visibilityTimeoutMs: heartbeatsOfALease * heartbeatMs,
  ...buffer
})

export interface Platform {
  readonly gatewayUrl: string
  readonly controlUrl: string
  readonly workerUrl: string
  readonly registry: Registry["Service"]
  readonly control: ControlView
  readonly directory: RequestDirectory
  readonly logs: LogsSource["Service"]
  readonly backend: Abilities
  /** Requests that were found in the log at the start. */
  readonly recordsReplayed: number
  /** Records that the shard logs have ever been given, over all lives of the state directory. */
  readonly recordsWritten: () => number
  /**
   * New instances for this version: what runs takes nothing new from this very moment and leaves when it is done. For
   * `dev`, whose versions change under their ids.
   */
  readonly restart: (
    versionId: string
  ) => Effect.Effect<
    void,
    ControlErrors.NotDeployed | ControlErrors.VersionNotFound | ControlErrors.ConcurrentChange | StoreFailure
  >
}

const clusterName = "local"
const workerTokenLifetimeMs = 3_600_000

/** Runs until the scope closes. All of it has one clock, which no jump of the wall clock moves. */
export const start = <E>(options: PlatformOptions, backend: Layer.Layer<ComputeBackend, E>) =>
  Effect.updateService(startBackendAndPlanes(options, backend), Clock.Clock, PlaneClock.effectClock)

const fabricLayer = ({
  fabric,
  stateDirectory
}: PlatformOptions): Layer.Layer<EmbeddedFabric.Fabric, UnsafeStore | UnsafeServer | FabricUnavailable> =>
  fabric === undefined
    ? EmbeddedFabric.layer({ directory: stateDirectory })
    : Layer.unwrap(
        // Who runs without NATS does not wait for its client to load.
        Effect.map(
          Effect.promise(() => import("./fabric/NatsFabric.ts")),
          (maker) => maker.layer({ ...fabric, blobDirectory: stateDirectory })
        )
      )

const startBackendAndPlanes = <E>(options: PlatformOptions, backend: Layer.Layer<ComputeBackend, E>) =>
  Effect.flatMap(
    // Built into the caller's scope: the store outlives this effect and closes after everything that uses it.
    Layer.build(Layer.merge(backend, Registry.layer.pipe(Layer.provideMerge(fabricLayer(options))))),
    (context) => Effect.provide(startPlanes(options), context)
  )

const startPlanes = Effect.fnUntraced(function* (options: PlatformOptions) {
  mkdirSync(options.stateDirectory, { recursive: true, mode: 0o700 })
  const registry = yield* Registry
  const blobs = yield* BlobStore
  const backend = yield* ComputeBackend
  const routes = registry.routing(defaultTenant)
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const defect = (error: unknown) => void runFork(Effect.logError("a defect was caught", error))

  const control = yield* Controller.make({ routes, versionIds: routes.deployedVersionIds(), silence: "zero" })
  const directory = new RequestBook(control)
  const shards = yield* Shards.open(
    {
      shardCount: 1,
      // The embedded store is locked by its process; on NATS another one may own the shard.
      storeIsExclusive: options.fabric === undefined,
      buffer: bufferOf(options),
      ...(options.compact === undefined ? {} : { compact: options.compact }),
      deadLetters: { ...DeadLetters.defaults, ...options.deadLetters },
      eventStreams: { ...EventStreams.defaults, ...options.eventStreams }
    },
    {
      ended: directory.remember,
      staleMessage: (workerId, event) =>
        void runFork(Effect.logDebug("refused a message of a worker whose lease is over", { workerId, event })),
      storeFailed: (message) =>
        void runFork(
          Effect.logFatal("the store failed: nothing more is accepted until this process is restarted", { message })
        ),
      storeFull: (message) =>
        void runFork(
          Effect.logError("the disk is full: nothing is accepted until there is room; what is accepted goes on", {
            message
          })
        ),
      defect
    }
  )
  directory.attach(shards)
  // A version that is gone for good takes its waiting requests with it; one that is only undeployed keeps them.
  const stopWatching = routes.onChange((versionId) => {
    if (routes.byVersionId(versionId) === undefined) shards.forVersion(versionId).removeVersion(versionId)
  })
  yield* Effect.addFinalizer(() => Effect.sync(stopWatching))

  CrashPoint.hit("platform.beforeSecret")
  const secret = loadSecret(join(options.stateDirectory, "worker-secret"))
  const hub = yield* WorkerHub.make(
    {
      region: clusterName,
      heartbeatMs: options.heartbeatMs,
      visibilityTimeoutMs: bufferOf(options).visibilityTimeoutMs,
      secret,
      tokenLifetimeMs: workerTokenLifetimeMs
    },
    shards,
    routes
  )
  const socketPath = options.workerSocket
  // Instances of another user enter the folder; who else can is decided by the folders above it.
  if (socketPath !== undefined) mkdirSync(dirname(socketPath), { recursive: true, mode: 0o755 })
  const workers = yield* WorkerListener.listen({
    host: options.host,
    port: options.workerPort,
    socketPath,
    workers: hub,
    heartbeatMs: options.heartbeatMs
  })
  const workerUrl = `ws://${options.host}:${workers.port}`
  // Asked before the agent carries out the first orders: what runs now was started by an earlier process.
  const isAnyLeft = (yield* backend.list).length > 0
  const agent = yield* Agent.make({
    cluster: clusterName,
    region: clusterName,
    workerUrl: socketPath === undefined ? workerUrl : `unix:${socketPath}`,
    workerToken: (create) =>
      WorkerToken.issue(secret, {
        instanceId: create.instanceId,
        functionId: create.functionId,
        versionId: create.versionId,
        expiresAtMs: PlaneClock.nowMs() + workerTokenLifetimeMs
      })
  })
  if (!isAnyLeft) for (const shard of shards.all) shard.loseAbsentWorkers()
  const logs: LogsSource["Service"] = { logs: agent.logs, followLogs: agent.followLogs }
  const controlServer = yield* ControlServer.listen({
    host: options.host,
    port: options.controlPort,
    adminToken: yield* AdminToken.load(options.stateDirectory)
  }).pipe(
    Effect.provideService(RequestsSource, directory),
    Effect.provideService(DeadLettersSource, new DeadLetterBook({ shards, routes, blobs })),
    Effect.provideService(InstancesSource, control),
    Effect.provideService(LogsSource, logs)
  )
  CrashPoint.hit("platform.beforeGateway")
  const gateway = yield* Gateway.listen(
    { host: options.host, port: options.gatewayPort, drainMs: options.drainMs, limits: options.gatewayLimits },
    { routes, shards, blobs, control, directory, defect, beforeCall: options.beforeCall }
  )
  const platform: Platform = {
    gatewayUrl: `http://${options.host}:${gateway.port}`,
    controlUrl: `http://${options.host}:${controlServer.port}`,
    workerUrl,
    registry,
    control,
    directory,
    logs,
    backend: backend.abilities,
    recordsReplayed: shards.recordsReplayed,
    recordsWritten: () => shards.all.reduce((sum, shard) => sum + shard.logPosition, 0),
    restart: (versionId) =>
      Effect.suspend(() => {
        shards.forVersion(versionId).drainVersion(versionId)
        return Effect.asVoid(registry.restart(defaultTenant, versionId))
      })
  }
  yield* announce(options.stateDirectory, platform)
  return platform
})

/** Other commands find the running platform by this file. */
const announce = (stateDirectory: string, platform: Platform): Effect.Effect<void, never, Scope.Scope> => {
  const path = join(stateDirectory, "endpoints.json")
  return Effect.acquireRelease(
    Effect.sync(() => {
      const { gatewayUrl, controlUrl, workerUrl } = platform
      const content = { gateway: gatewayUrl, control: controlUrl, worker: workerUrl, pid: process.pid }
      writeFileSync(`${path}.new`, `${JSON.stringify(content)}\n`)
      CrashPoint.hit("platform.announce.beforeRename")
      renameSync(`${path}.new`, path)
    }),
    () => Effect.sync(() => rmSync(path, { force: true }))
  )
}

/** Made once per state directory, readable by its owner only. */
const loadSecret = (path: string): Uint8Array => {
  try {
    const secret = Buffer.from(readFileSync(path, "utf8").trim(), "hex")
    if (secret.length >= 32) return secret
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error
  }
  const secret = randomBytes(32)
  writeFileSync(`${path}.new`, `${secret.toString("hex")}\n`, { mode: 0o600 })
  chmodSync(`${path}.new`, 0o600)
  CrashPoint.hit("platform.secret.beforeRename")
  renameSync(`${path}.new`, path)
  return secret
}
