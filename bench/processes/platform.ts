/**
 * A whole platform as a process to be measured: all planes, the process backend, functions of `bench/functions`.
 *
 * Says `{ port, functions }` when it takes calls; answers `{ ask: "starts" }` with the calls that waited for a start and
 * when the backend was told to launch for them. Ends when its channel closes.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import { ComputeBackend } from "../../src/backends/ComputeBackend.ts"
import * as ProcessBackend from "../../src/backends/process/ProcessBackend.ts"
import { type DeploymentSpec, deploymentDefaults, type VersionSpec } from "../../src/planes/control/Domain.ts"
import { defaultTenant } from "../../src/planes/control/Registry.ts"
import { nowMs } from "../../src/planes/invocation/PlaneClock.ts"
import * as Platform from "../../src/planes/Platform.ts"

/** A function of `bench/functions`, deployed. */
export interface BenchFunction {
  readonly name: string
  readonly file: string
  readonly deployment: Partial<DeploymentSpec>
  readonly version: Partial<VersionSpec>
}

export type BackendOptions = Pick<ProcessBackend.Options, "zygotes">

/** Servers of NATS. */
export type FabricOptions = NonNullable<Platform.PlatformOptions["fabric"]>

export interface StartedPlatform {
  readonly port: number
}

/** One call from zero: when it was here, and when the backend got the order to start something for it. */
export interface ObservedStart {
  readonly versionId: string
  readonly arrivedAtMs: number
  readonly launchedAtMs: number
}

const root = resolve(import.meta.dirname, "../..")
const send = (message: object) => process.send?.(message)

const launches: Array<{ readonly versionId: string; readonly atMs: number }> = []

/** The order to start is what `launch` is; what comes after it is the machine's and Node's time. */
const observed = (backend: ComputeBackend["Service"]): ComputeBackend["Service"] => ({
  ...backend,
  launch: (spec) =>
    Effect.suspend(() => {
      launches.push({ versionId: spec.versionId, atMs: nowMs() })
      return backend.launch(spec)
    })
})

const main = async (
  functions: ReadonlyArray<BenchFunction>,
  backendOptions: BackendOptions,
  fabric: FabricOptions | undefined
) => {
  const stateDirectory = mkdtempSync(join(tmpdir(), "millrace-bench-"))
  const scope = Effect.runSync(Scope.make())
  const backend = Layer.effect(
    ComputeBackend,
    Effect.map(
      ProcessBackend.make({ ...backendOptions, compileCacheDirectory: join(stateDirectory, "compile-cache") }),
      observed
    )
  )
  const platform = await Effect.runPromise(
    Platform.start(
      {
        ...Platform.defaults,
        stateDirectory,
        fabric,
        gatewayPort: 0,
        controlPort: 0,
        workerPort: 0,
        drainMs: 2_000,
        // A bench of accepting must not be stopped by the bound that protects memory.
        buffer: { pendingCountMax: 1_000_000 }
      },
      backend
    ).pipe(Scope.provide(scope), Effect.provide(Logger.layer([])))
  )
  for (const { name, file, deployment, version } of functions) {
    const tenant = defaultTenant
    const { id: functionId } = await Effect.runPromise(platform.registry.createFunction({ tenant, name }))
    const spec: VersionSpec = {
      command: ["node", join(root, "bench/functions", file)],
      workingDirectory: root,
      environment: {},
      durability: "accepted",
      inferencePath: "/",
      ...version
    }
    const { id: versionId } = await Effect.runPromise(platform.registry.createVersion({ tenant, functionId, spec }))
    await Effect.runPromise(
      platform.registry.deploy({ tenant, versionId, spec: { ...deploymentDefaults, graceMs: 2_000, ...deployment } })
    )
  }
  process.on("message", (message) => {
    if (typeof message !== "object" || message === null || !("ask" in message)) return
    if (message.ask === "instances")
      send({
        pids: platform.control
          .instances()
          .filter(isThere)
          .map((one) => one.pid)
      })
    if (message.ask === "starts") send({ starts: starts(platform) })
  })
  process.once("disconnect", async () => {
    await Effect.runPromise(Scope.close(scope, Exit.void))
    rmSync(stateDirectory, { recursive: true, force: true })
    process.exit(0)
  })
  send({ port: Number(new URL(platform.gatewayUrl).port) })
}

const isThere = ({ state }: { readonly state: string }) => state !== "stopped" && state !== "failed"

/** Pairs each launch with the newest call of its version that was there before it. */
const starts = (platform: Platform.Platform): ReadonlyArray<ObservedStart> => {
  const calls = platform.directory.list({ limit: 1_000 })
  return launches.flatMap(({ versionId, atMs }) => {
    const call = calls
      .filter((one) => one.versionId === versionId && one.arrivedAtMs <= atMs)
      .sort((a, b) => b.arrivedAtMs - a.arrivedAtMs)[0]
    return call === undefined ? [] : [{ versionId, arrivedAtMs: call.arrivedAtMs, launchedAtMs: atMs }]
  })
}

// Written by `bench/PlatformUnderTest.ts` alone.
const [functions = "[]", backendOptions = "{}", fabric] = process.argv.slice(2)
await main(JSON.parse(functions), JSON.parse(backendOptions), fabric === undefined ? undefined : JSON.parse(fabric))
