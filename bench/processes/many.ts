/**
 * All planes in one process with very many functions, for `bench/many.ts`: `many.ts STATE_DIRECTORY COUNT [FABRIC]`, the last as JSON where
 * it is on NATS. Functions
 * `function-0` ... are registered and deployed where the state directory has none; their instances are SDK workers in a child
 * process (`many-workers.ts`), started at once. Both run what is built, as `millrace up` does: reading types out of the sources
 * would take a second of each start and tens of megabytes.
 *
 * Says `ManyStarted` when it takes calls. Ends when its channel closes.
 *
 * @module
 */
import { fork } from "node:child_process"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import type * as BackendKit from "../../src/backends/BackendKit.ts"
import type * as SimulatedBackend from "../../src/backends/simulated/SimulatedBackend.ts"
import type { Registry } from "../../src/planes/control/Registry.ts"
import { built } from "./built.ts"
import type { FromWorkers, ToWorkers } from "./many-workers.ts"

export interface ManyStarted {
  readonly port: number
  /** From the start of this process until it took calls; the making of functions is not in it. */
  readonly readyMs: number
  readonly registered: number
}

const [stateDirectory = "", count = "0", fabric] = process.argv.slice(2)
// As the command does.
const { reuseCompiled } = (await built(
  "cli/dev/StateDirectory"
)) as typeof import("../../src/cli/dev/StateDirectory.ts")
reuseCompiled(stateDirectory)

// Each is built of the source that its type is of.
const { ComputeBackend } = (await built(
  "backends/ComputeBackend"
)) as typeof import("../../src/backends/ComputeBackend.ts")
const Simulated = (await built("backends/simulated/SimulatedBackend")) as typeof SimulatedBackend
const StartModel = (await built(
  "core/simulation/StartModel"
)) as typeof import("../../src/core/simulation/StartModel.ts")
const { deploymentDefaults } = (await built(
  "planes/control/Domain"
)) as typeof import("../../src/planes/control/Domain.ts")
const { defaultTenant } = (await built(
  "planes/control/Registry"
)) as typeof import("../../src/planes/control/Registry.ts")
const Platform = (await built("planes/Platform")) as typeof import("../../src/planes/Platform.ts")

const instancesMax = 20_000
/** As `millrace serve` has it. */
const shardsOnNats = 16
/** Writes on their way at once while the functions are made. */
const makersAtOnce = 256

const nodeFlags = ["--max-semi-space-size=64"]

const workers = fork(join(import.meta.dirname, "many-workers.ts"), [], { execArgv: nodeFlags })
const lives = new Map<string, Parameters<SimulatedBackend.Runner>[1]>()
workers.on("message", (message: FromWorkers) => {
  const life = lives.get(message.instanceId)
  if (message.kind === "started") return life?.started()
  lives.delete(message.instanceId)
  life?.ended(message.exit)
})

const elsewhere: SimulatedBackend.Runner = (spec, life): BackendKit.Instance => {
  const tell = (message: ToWorkers) => workers.send(message)
  lives.set(spec.instanceId, life)
  tell({ kind: "start", spec })
  return { signal: (signal) => void tell({ kind: "signal", instanceId: spec.instanceId, signal }) }
}

const backend = Layer.effect(
  ComputeBackend,
  Effect.map(
    Simulated.make({ slots: instancesMax, start: StartModel.fixed(0), run: elsewhere }),
    (simulated) => simulated.backend
  )
)

const scope = Effect.runSync(Scope.make())
const platform = await Effect.runPromise(
  Platform.start(
    {
      ...Platform.defaults,
      stateDirectory,
      // Written by `bench/many.ts` alone.
      fabric: fabric === undefined ? undefined : JSON.parse(fabric),
      shardCount: fabric === undefined ? 1 : shardsOnNats,
      gatewayPort: 0,
      controlPort: 0,
      workerPort: 0,
      drainMs: 2_000
    },
    backend
  ).pipe(Scope.provide(scope), Effect.provide(Logger.layer([])))
)
const readyMs = performance.now()

const make = Effect.fnUntraced(function* (registry: Registry["Service"], index: number) {
  const tenant = defaultTenant
  const { id: functionId } = yield* registry.createFunction({ tenant, name: `function-${index}` })
  const spec = {
    command: ["millrace-simulated", "echo"],
    environment: {},
    durability: "accepted",
    inferencePath: "/"
  } as const
  const { id: versionId } = yield* registry.createVersion({ tenant, functionId, spec })
  yield* registry.deploy({
    tenant,
    versionId,
    spec: { ...deploymentDefaults, maxInstances: 1, idleWindowMs: 86_400_000, graceMs: 1_000 }
  })
})

const { registry } = platform
if (registry.listFunctions({ tenant: defaultTenant, limit: 1 }).items.length === 0) {
  await Effect.runPromise(
    Effect.forEach(
      Array.from({ length: Number(count) }, (_, index) => index),
      (index) => make(registry, index),
      { concurrency: makersAtOnce, discard: true }
    )
  )
}

process.once("disconnect", async () => {
  await Effect.runPromise(Scope.close(scope, Exit.void))
  process.exit(0)
})
const started: ManyStarted = { port: Number(new URL(platform.gatewayUrl).port), readyMs, registered: Number(count) }
process.send?.(started)
