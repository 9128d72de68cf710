/**
 * The platform of a chaos run, in a process that is there to be killed: `node platformMain.ts OPTIONS`, where OPTIONS is
 * the JSON of `LifeOptions`. Prints one line of JSON with its addresses; ends in order at SIGTERM.
 */
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as ProcessBackend from "../../src/backends/process/ProcessBackend.ts"
import * as CrashPoint from "../../src/planes/CrashPoint.ts"
import { deploymentDefaults } from "../../src/planes/control/Domain.ts"
import { defaultTenant } from "../../src/planes/control/Registry.ts"
import * as Platform from "../../src/planes/Platform.ts"
import type { LifeAddresses, LifeOptions } from "./PlatformLife.ts"

// Given by `PlatformLife.start`.
const options = JSON.parse(process.argv[2] ?? "{}") as LifeOptions
const { stateDirectory, durability } = options

const deploy = Effect.fnUntraced(function* ({ registry }: Platform.Platform, name: string, inOrder: boolean) {
  const tenant = defaultTenant
  const found = registry.listFunctions({ tenant, prefix: name, limit: 10 }).items.find((record) => record.name === name)
  // A crash can have cut any step of it off: each is made good by the next start.
  const record = found ?? (yield* registry.createFunction({ tenant, name }))
  if (record.activeVersionId !== null) return
  const versions = yield* registry.listVersions({ tenant, functionId: record.id, limit: 1 })
  const version =
    versions.items[0] ??
    (yield* registry.createVersion({
      tenant,
      functionId: record.id,
      spec: {
        command: ["node", options.functionFile ?? join(import.meta.dirname, "recorder.ts")],
        workingDirectory: join(import.meta.dirname, "../.."),
        environment: { ...options.environment },
        durability,
        inferencePath: "/"
      }
    }))
  const spec = {
    ...deploymentDefaults,
    graceMs: 500,
    idleWindowMs: options.idleWindowMs,
    maxAttempts: 100,
    ...(inOrder ? { maxInstances: 1, concurrency: 1 } : { maxInstances: 2 })
  }
  yield* registry.deploy({ tenant, versionId: version.id, spec })
})

const scope = Effect.runSync(Scope.make())
const platform = await Effect.runPromise(
  Platform.start(
    {
      ...Platform.defaults,
      stateDirectory,
      gatewayPort: 0,
      controlPort: 0,
      workerPort: 0,
      drainMs: 1_000,
      fabric: options.fabric,
      ...(options.heartbeatMs === undefined ? {} : { heartbeatMs: options.heartbeatMs }),
      // Many crashes in a row must not make a request wait for half a minute.
      buffer: { redeliveryDelayMs: 20, redeliveryDelayMaxMs: 200, ...options.buffer },
      ...(options.compactAfterRecords === undefined
        ? {}
        : { compact: { afterRecords: options.compactAfterRecords, checkMs: 50 } })
    },
    ProcessBackend.layer({
      instancesMax: 8,
      compileCacheDirectory: options.compileCache,
      onStep: CrashPoint.hit
    })
  ).pipe(Scope.provide(scope))
)
await Effect.runPromise(deploy(platform, "any", false))
await Effect.runPromise(deploy(platform, "lane", true))

process.on("SIGTERM", () => void Effect.runPromise(Scope.close(scope, Exit.void)).then(() => process.exit(0)))
const { gatewayUrl, workerUrl, recordsReplayed } = platform
const addresses: LifeAddresses = { gatewayUrl, workerUrl, recordsReplayed, pid: process.pid }
console.log(JSON.stringify(addresses))
