/**
 * The whole platform in the test's process, on free ports and a state directory of its own, with real instances as child
 * processes.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as ProcessBackend from "../../src/backends/process/ProcessBackend.ts"
import { register } from "../../src/cli/dev/FunctionRegistrar.ts"
import * as FunctionFile from "../../src/cli/FunctionFile.ts"
import { type DeploymentSpec, deploymentDefaults, type VersionSpec } from "../../src/planes/control/Domain.ts"
import { defaultTenant } from "../../src/planes/control/Registry.ts"
import * as Platform from "../../src/planes/Platform.ts"

export const root = resolve(import.meta.dirname, "../..")
export const probe = join(root, "tests/functions/probe.ts")

export interface TestFunction {
  readonly name: string
  readonly functionId: string
  readonly versionId: string
  /** Without a slash at the end. */
  readonly url: string
}

export interface TestPlatform {
  readonly platform: Platform.Platform
  readonly stateDirectory: string
  readonly deploy: (
    name: string,
    deployment?: Partial<DeploymentSpec>,
    version?: Partial<VersionSpec>
  ) => Promise<TestFunction>
  /** An example as it stands in its folder, but with an idle window of 2 s. */
  readonly deployExample: (name: string, deployment?: Partial<DeploymentSpec>) => Promise<TestFunction>
  readonly run: <A, E>(effect: Effect.Effect<A, E>) => Promise<A>
  /** `keep` leaves the state directory for a next start. */
  readonly close: (options?: { readonly keep?: boolean }) => Promise<void>
}

export const start = async (
  options: Partial<Platform.PlatformOptions> & { readonly instancesMax?: number } = {}
): Promise<TestPlatform> => {
  const stateDirectory = options.stateDirectory ?? mkdtempSync(join(tmpdir(), "millrace-test-"))
  const scope = Effect.runSync(Scope.make())
  const platform = await Effect.runPromise(
    Platform.start(
      {
        ...Platform.defaults,
        gatewayPort: 0,
        controlPort: 0,
        workerPort: 0,
        drainMs: 2_000,
        ...options,
        stateDirectory
      },
      ProcessBackend.layer({ instancesMax: options.instancesMax ?? 16 })
    ).pipe(Scope.provide(scope))
  )
  const { registry } = platform
  return {
    platform,
    stateDirectory,
    run: Effect.runPromise,
    deploy: async (name, deployment = {}, version = {}) => {
      const tenant = defaultTenant
      const record = await Effect.runPromise(registry.createFunction({ tenant, name }))
      const created = await Effect.runPromise(
        registry.createVersion({
          tenant,
          functionId: record.id,
          spec: {
            command: ["node", probe],
            workingDirectory: root,
            environment: {},
            durability: "accepted",
            inferencePath: "/inspect",
            ...version
          }
        })
      )
      const spec = { ...deploymentDefaults, idleWindowMs: 2_000, graceMs: 2_000, ...deployment }
      await Effect.runPromise(registry.deploy({ tenant, versionId: created.id, spec }))
      return { name, functionId: record.id, versionId: created.id, url: `${platform.gatewayUrl}/f/${name}` }
    },
    deployExample: async (name, deployment = {}) => {
      const file = await Effect.runPromise(FunctionFile.load(join(root, "examples", name)))
      const { record, version } = await Effect.runPromise(
        register(registry, { ...file, deployment: { ...file.deployment, idleWindowMs: 2_000, ...deployment } })
      )
      return { name, functionId: record.id, versionId: version.id, url: `${platform.gatewayUrl}/f/${name}` }
    },
    close: async ({ keep = false } = {}) => {
      await Effect.runPromise(Scope.close(scope, Exit.void))
      if (!keep) rmSync(stateDirectory, { recursive: true, force: true })
    }
  }
}

const ended: ReadonlyArray<string> = ["stopped", "failed"]

/** Instances of this function that are there in any way, by state. */
export const liveInstances = ({ platform }: TestPlatform, { versionId }: TestFunction) =>
  platform.control.instances({ versionId }).filter(({ state }) => !ended.includes(state))

/** Waits until nothing of the function runs. */
export const atZero = (test: TestPlatform, fn: TestFunction) =>
  eventually(`${fn.name} is back at zero`, () => liveInstances(test, fn).length === 0 || undefined, 30_000)

/** Waits for a fact, and says what was seen when it does not come. */
export const eventually = async <A>(
  what: string,
  look: () => A | undefined | Promise<A | undefined>,
  deadlineMs = 60_000
): Promise<A> => {
  const until = performance.now() + deadlineMs
  let seen: unknown
  for (;;) {
    try {
      const value = await look()
      if (value !== undefined && value !== false) return value
      seen = value
    } catch (error) {
      seen = error
    }
    if (performance.now() > until) throw new Error(`not within ${deadlineMs} ms: ${what}; last seen: ${String(seen)}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
