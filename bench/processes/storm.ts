/**
 * A control plane, an agent and a simulated cluster in one process, on the embedded fabric, under a storm of functions that
 * wake from zero: the start order of each is timed from the moment at which its demand was due.
 *
 * Says `{ ready: true }`; answers `{ ask: "storm", perSecond, seconds }` with `StormFigures`. Ends when its channel closes.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import { ComputeBackend } from "../../src/backends/ComputeBackend.ts"
import * as SimulatedBackend from "../../src/backends/simulated/SimulatedBackend.ts"
import * as StartModel from "../../src/core/simulation/StartModel.ts"
import * as Agent from "../../src/planes/compute/Agent.ts"
import { type DemandReport, subjects, type WorkerReport } from "../../src/planes/compute/AgentMessage.ts"
import * as AgentMessageCheck from "../../src/planes/compute/AgentMessageCheck.ts"
import * as Controller from "../../src/planes/control/Controller.ts"
import { type DeploymentSpec, deploymentDefaults } from "../../src/planes/control/Domain.ts"
import type { Route, RoutingTable } from "../../src/planes/control/RoutingTable.ts"
import * as EmbeddedFabric from "../../src/planes/fabric/EmbeddedFabric.ts"
import { Log } from "../../src/planes/fabric/Log.ts"
import { Message } from "../../src/planes/fabric/Message.ts"
import { PubSub } from "../../src/planes/fabric/PubSub.ts"

export interface StormFigures {
  readonly offered: number
  /** Milliseconds from due demand to start order, each. */
  readonly latenciesMs: ReadonlyArray<number>
  readonly lost: number
  /** Start orders beyond one for each demand. */
  readonly doubles: number
  readonly tookMs: number
  readonly cpuMs: number
  /** Writes to the logs that requests live in. */
  readonly logAppends: number
}

const functionCount = 10_000
const gpuNodes = 1_250
const offerEveryMs = 4
const settleMs = 20_000

const spec: DeploymentSpec = {
  ...deploymentDefaults,
  maxInstances: 1,
  concurrency: 1,
  idleWindowMs: 100,
  startDeadlineMs: 60_000,
  graceMs: 1_000,
  instanceType: "H100.1x",
  gpu: { kind: "H100", count: 1 }
}

const routeOf = (index: number): Route => ({
  tenant: `tenant-${index % 50}`,
  functionId: `function-${index}`,
  functionName: `function-${index}`,
  versionId: `version-${index}`,
  version: { command: ["modelled"], environment: {}, durability: "accepted", inferencePath: "/" },
  deployment: { spec, generation: 1 }
})

const routes = new Map(Array.from({ length: functionCount }, (_, index) => [`version-${index}`, routeOf(index)]))
const table: RoutingTable = {
  byName: () => undefined,
  byFunctionId: () => undefined,
  byVersionId: (versionId) => routes.get(versionId),
  deployedVersionIds: () => [...routes.keys()],
  onChange: () => () => undefined
}

/** What the storm knows of one version. Written in place, so that what is collected is what Millrace leaves behind. */
interface Woken {
  readonly versionId: string
  /** When its demand was due, until its start order; NaN: nothing is. */
  dueMs: number
  arrivals: number
}

const versions = new Map(
  [...routes.keys()].map((versionId) => [versionId, { versionId, dueMs: Number.NaN, arrivals: 0 }])
)
/** Versions at zero, oldest first, in a ring: their demand has been served and their instance is gone. */
const atZero: Array<Woken | undefined> = [...versions.values()]
let oldest = 0
let zeroCount = functionCount
/** Demands that wait for their start order. */
let waiting = 0
let latenciesMs: Array<number> = []
let doubles = 0

const directory = mkdtempSync(join(tmpdir(), "millrace-storm-"))
const scope = Effect.runSync(Scope.make())
const run = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>): Promise<A> =>
  Effect.runPromise(effect.pipe(Scope.provide(scope), Effect.provide(Logger.layer([]))))

const embedded = await run(Layer.build(EmbeddedFabric.layer({ directory })))
const log = Context.get(embedded, Log)
let logAppends = 0
const fabric = Context.add(
  embedded,
  Log,
  Log.of({
    ...log,
    append: (...given) => {
      logAppends++
      return log.append(...given)
    }
  })
)
const pubSub = Context.get(fabric, PubSub)

const simulated = await run(
  SimulatedBackend.make({
    gpus: [{ gpuKind: "H100", gpusPerNode: 8, nodes: gpuNodes }],
    slots: 0,
    gpuStart: StartModel.fixed(1)
  })
)
await run(Controller.make({ routes: table, silence: "zero" }).pipe(Effect.provideContext(fabric)))

const demand = ({ versionId, arrivals }: Woken, pending: number, instanceId?: string) => {
  const report: DemandReport = {
    shard: "shard-0",
    versionId,
    pending,
    leased: 0,
    leasedByInstance: instanceId === undefined ? {} : { [instanceId]: 0 },
    arrivalsTotal: arrivals,
    oldestPendingMs: pending > 0 ? 0 : null
  }
  pubSub.publish(subjects.demand, new Message(AgentMessageCheck.demandReport, report))
}

const worker = (report: WorkerReport) =>
  pubSub.publish(subjects.worker, new Message(AgentMessageCheck.workerReport, report))

/** By instance. A worker goes once, however often it is asked to. */
const workers = new Map<string, { readonly version: Woken; isLeaving: boolean }>()
await run(
  simulated.backend.watch((observation) => {
    if (observation._tag === "Started") {
      const { instanceId } = observation
      // Its worker connects, takes the one request, and answers.
      setImmediate(() => {
        const version = workers.get(instanceId)?.version
        if (version === undefined) return
        const { versionId } = version
        const phases = { processMs: 1, initialiseMs: 0, connectMs: 0 }
        worker({ _tag: "WorkerReady", instanceId, versionId, slots: 1, phases })
        demand(version, 0, instanceId)
      })
    }
    if (observation._tag === "Exited") {
      const version = workers.get(observation.instanceId)?.version
      workers.delete(observation.instanceId)
      if (version !== undefined) atZero[(oldest + zeroCount++) % functionCount] = version
    }
  })
)
await run(
  pubSub.hear(subjects.drain, (payload) => {
    const { instanceId, versionId } = Result.getOrThrow(AgentMessageCheck.drain(payload))
    const one = workers.get(instanceId)
    if (one === undefined || one.isLeaving) return
    one.isLeaving = true
    setImmediate(() => worker({ _tag: "WorkerGone", instanceId, versionId }))
  })
)
/** The start order is what `launch` is. */
const observed: ComputeBackend["Service"] = {
  ...simulated.backend,
  launch: (order) =>
    Effect.suspend(() => {
      const version = versions.get(order.versionId)
      if (version === undefined || Number.isNaN(version.dueMs)) doubles++
      else {
        latenciesMs.push(performance.now() - version.dueMs)
        version.dueMs = Number.NaN
        waiting--
      }
      if (version !== undefined) workers.set(order.instanceId, { version, isLeaving: false })
      return simulated.backend.launch(order)
    })
}
await run(
  Agent.make({
    cluster: "storm",
    site: { region: "here" },
    workerUrl: "ws://127.0.0.1:1",
    workerToken: () => "token"
  }).pipe(Effect.provideService(ComputeBackend, observed), Effect.provideContext(fabric))
)

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

const storm = async (perSecond: number, seconds: number): Promise<StormFigures> => {
  latenciesMs = []
  doubles = 0
  const before = process.cpuUsage()
  const startMs = performance.now()
  const total = perSecond * seconds
  let offered = 0
  while (offered < total) {
    const elapsedMs = performance.now() - startMs
    // What is late stays late: a demand is timed from when it was due, not from when it could be given.
    while (offered < total && (offered * 1_000) / perSecond <= elapsedMs) {
      const version = zeroCount === 0 ? undefined : atZero[oldest]
      if (version === undefined) break
      oldest = (oldest + 1) % functionCount
      zeroCount--
      version.dueMs = startMs + (offered * 1_000) / perSecond
      version.arrivals++
      waiting++
      offered++
      demand(version, 1)
    }
    await wait(offerEveryMs)
  }
  for (const untilMs = performance.now() + settleMs; waiting > 0 && performance.now() < untilMs; ) await wait(20)
  const tookMs = performance.now() - startMs
  const { user, system } = process.cpuUsage(before)
  return {
    offered,
    latenciesMs,
    lost: waiting,
    doubles,
    tookMs,
    cpuMs: (user + system) / 1_000,
    logAppends
  }
}

process.on("message", (message) => {
  // Written by `bench/storm.ts` alone.
  const { perSecond, seconds } = message as { readonly perSecond: number; readonly seconds: number }
  storm(perSecond, seconds).then((figures) => process.send?.(figures))
})
process.once("disconnect", async () => {
  await Effect.runPromise(Scope.close(scope, Exit.void))
  rmSync(directory, { recursive: true, force: true })
  process.exit(0)
})
await wait(100)
process.send?.({ ready: true })
