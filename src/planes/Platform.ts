/**
 * All three planes, a fabric (embedded or NATS) and one agent in one process: what `millrace dev` and `millrace up` run.
 *
 * Order of start: registry, controller, shards (recovered), workers' port, agent, control API, gateway; the door for
 * callers opens last. It ends in the reverse order: no new calls, calls in flight finish, instances drain, then the log
 * and the store close.
 *
 * @module
 */
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { type Abilities, ComputeBackend } from "../backends/ComputeBackend.ts"
import * as AgentPlane from "./AgentPlane.ts"
import * as ControlPlane from "./ControlPlane.ts"
import * as CrashPoint from "./CrashPoint.ts"
import * as AdminToken from "./control/AdminToken.ts"
import type * as ControlErrors from "./control/ControlErrors.ts"
import { type LogsSource, lettersOf, requestsOf } from "./control/ControlSources.ts"
import type { ControlView } from "./control/ControlView.ts"
import { defaultTenant, Registry, type StoreFailure } from "./control/Registry.ts"
import * as RegistrySnapshots from "./control/RegistrySnapshots.ts"
import * as EmbeddedFabric from "./fabric/EmbeddedFabric.ts"
import type { FabricUnavailable, UnsafeServer, UnsafeStore } from "./fabric/FabricError.ts"
import type * as NatsFabric from "./fabric/NatsFabric.ts"
import * as InvocationPlane from "./InvocationPlane.ts"
import * as PlaneClock from "./invocation/PlaneClock.ts"
import type { RequestDirectory } from "./invocation/RequestDirectory.ts"
import * as WorkerSecret from "./WorkerSecret.ts"

export interface PlatformOptions
  extends Omit<
    InvocationPlane.InvocationOptions,
    "region" | "workerSecret" | "workerTokenLifetimeMs" | "storeIsExclusive" | "workerUrl"
  > {
  readonly stateDirectory: string
  /** Absent: the embedded one, in the state directory. Else NATS; bodies that are large stay in the state directory. */
  readonly fabric?: Omit<NatsFabric.NatsFabricOptions, "blobDirectory"> | undefined
  /** 0 = any free port. */
  readonly controlPort: number
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

const registryLayer = ({ fabric, stateDirectory }: PlatformOptions) =>
  Registry.layer({ snapshots: fabric === undefined ? undefined : RegistrySnapshots.placeIn(stateDirectory) })

const startBackendAndPlanes = <E>(options: PlatformOptions, backend: Layer.Layer<ComputeBackend, E>) =>
  Effect.flatMap(
    // Built into the caller's scope: the store outlives this effect and closes after everything that uses it.
    Layer.build(Layer.merge(backend, registryLayer(options).pipe(Layer.provideMerge(fabricLayer(options))))),
    (context) => Effect.provide(startPlanes(options), context)
  )

const startPlanes = Effect.fnUntraced(function* (options: PlatformOptions) {
  mkdirSync(options.stateDirectory, { recursive: true, mode: 0o700 })
  const registry = yield* Registry
  const backend = yield* ComputeBackend

  const { control, listen } = yield* ControlPlane.open({ silence: "zero" })
  CrashPoint.hit("platform.beforeSecret")
  const workerSecret = WorkerSecret.fromFile(join(options.stateDirectory, "worker-secret"))
  const invocation = yield* InvocationPlane.open(
    {
      ...options,
      region: clusterName,
      workerSecret,
      workerTokenLifetimeMs: WorkerSecret.tokenLifetimeMs,
      // The embedded store is locked by its process; on NATS another one may own the shard.
      storeIsExclusive: options.fabric === undefined
    },
    control
  )
  const { shards, directory, deadLetters, workerUrl } = invocation
  // Asked before the agent carries out the first orders: what runs now was started by an earlier process.
  const isAnyLeft = (yield* backend.list).length > 0
  const { agent } = yield* AgentPlane.open({
    cluster: clusterName,
    site: { region: clusterName },
    workerUrl: invocation.instanceUrl,
    workerSecret,
    workerTokenLifetimeMs: WorkerSecret.tokenLifetimeMs
  })
  const logs: LogsSource["Service"] = { logs: agent.logs, followLogs: agent.followLogs }
  const controlServer = yield* listen(
    { host: options.host, port: options.controlPort, adminToken: yield* AdminToken.load(options.stateDirectory) },
    { requests: requestsOf(directory), deadLetters: lettersOf(deadLetters), logs }
  )
  const gatewayPort = yield* invocation.listen
  if (!isAnyLeft) for (const shard of shards.all) shard.workers.loseAbsent()
  const platform: Platform = {
    gatewayUrl: `http://${options.host}:${gatewayPort}`,
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
        shards.forVersion(versionId)?.workers.drainVersion(versionId)
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
