/**
 * The process backend as the laws want it: with zygotes or without.
 *
 * @module
 */
import { spawn } from "node:child_process"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import type * as Scope from "effect/Scope"
import type { ComputeBackend, InstanceSpec } from "../../src/backends/ComputeBackend.ts"
import { countProcessesOnLinux, type Harness, type Program, scriptOf } from "../../src/backends/laws/index.ts"
import { whyNot } from "./controlGroups.ts"
import { isAlive } from "./waitFor.ts"

type SpecOf = (
  instanceId: string,
  script: string,
  environment: Readonly<Record<string, string>>,
  nodeFlags: ReadonlyArray<string>
) => InstanceSpec

export interface Maker {
  readonly name: string
  readonly make: (places: number) => Effect.Effect<ComputeBackend["Service"], unknown, Scope.Scope>
  readonly specOf: SpecOf
  readonly cannotStart: Partial<InstanceSpec>
}

const specOf =
  (maker: Maker) =>
  (instanceId: string, program: Program, change: Partial<InstanceSpec> = {}): InstanceSpec => {
    if (program.kind === "cannot-start") return { ...maker.specOf(instanceId, "", {}, []), ...maker.cannotStart }
    const isHungry = program.kind === "eats-memory"
    // Without control groups V8 ends itself at this size, as the kernel would.
    const flags = isHungry && whyNot !== undefined ? ["--max-old-space-size=20"] : []
    const { environment = {}, ...rest } = change
    const memory = isHungry && whyNot === undefined ? { memoryBytes: 96 * 1024 * 1024 } : {}
    return { ...maker.specOf(instanceId, scriptOf(program), environment, flags), ...memory, ...rest }
  }

const foreign = Effect.acquireRelease(
  Effect.sync(() => spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" })),
  (child) => Effect.sync(() => child.kill("SIGKILL"))
).pipe(Effect.map(({ pid = 0 }) => ({ instanceId: String(pid), isRunning: Effect.sync(() => isAlive(pid)) })))

const endsWithUs = "its instances end with the process that launched them, so there is nothing to find again"

export const harnessOf = (maker: Maker): Harness => ({
  name: maker.name,
  open: ({ places }) => Effect.orDie(maker.make(places)).pipe(Effect.provide(Logger.layer([]))),
  spec: specOf(maker),
  environmentAdded: ["PATH", "HOME", "TMPDIR", "LANG", "MILLRACE_BACKEND_ID"],
  countProcesses: countProcessesOnLinux,
  foreign,
  skips: {
    C22: "a command begins at once: there is no phase before its process that could last",
    C26: "what it watches is its own child over a pipe; when that breaks its instances are lost, and told as lost",
    C35: endsWithUs,
    C36: endsWithUs
  }
})
