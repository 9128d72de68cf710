/**
 * A process backend whose zygotes wait already, which they do not before the first start.
 *
 * @module
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { ComputeBackend, type InstanceSpec } from "../../src/backends/ComputeBackend.ts"
import * as ProcessBackend from "../../src/backends/process/ProcessBackend.ts"
import { nodeSpec } from "./nodeSpec.ts"
import { parentOf, waitingZygotes } from "./processTree.ts"
import { waitFor } from "./waitFor.ts"

// Inside the repository, so that entries in it find `millrace/worker`.
const temporary = resolve(import.meta.dirname, "../.tmp")
mkdirSync(temporary, { recursive: true })
const directory = mkdtempSync(join(temporary, "zygotes-"))
process.once("exit", () => rmSync(directory, { recursive: true, force: true }))

/** Of compiled code. */
export const cacheDirectory = join(directory, "cache")

let files = 0

/** Writes a file of its own with this extension; answers its path. */
export const writeEntry = (text: string, extension = "cjs"): string => {
  const path = join(directory, `entry-${++files}.${extension}`)
  writeFileSync(path, text)
  return path
}

/** As `nodeSpec`, but of a file, as functions are: flags make it one that no zygote may run. */
export const entrySpec = (
  instanceId: string,
  script: string,
  environment: Readonly<Record<string, string>> = {},
  nodeFlags: ReadonlyArray<string> = []
): InstanceSpec => ({
  ...nodeSpec(instanceId, "", environment),
  command: ["node", ...nodeFlags, writeEntry(script)]
})

const spawners = new WeakMap<ComputeBackend["Service"], number>()

/** Of a backend of this file. */
export const spawnerOf = (backend: ComputeBackend["Service"]): number => spawners.get(backend) ?? 0

/** Pids of those that are ready, at least `count`. */
export const untilWaiting = (backend: ComputeBackend["Service"], count = 1): Effect.Effect<ReadonlyArray<number>> =>
  waitFor(`${count} zygotes that wait`, () => {
    const pids = waitingZygotes(spawnerOf(backend))
    return pids.length >= count && pids
  })

export const make = Effect.fnUntraced(function* (options: ProcessBackend.Options = {}) {
  const zygotes = options.zygotes ?? 1
  const backend = yield* ProcessBackend.make({ zygoteCalmMs: 0, ...options, zygotes })
  yield* Effect.orDie(backend.launch(entrySpec("first", "setInterval(() => {}, 1000)")))
  const [first] = yield* Effect.orDie(backend.list)
  spawners.set(backend, parentOf(first?.pid ?? 0))
  yield* Effect.orDie(backend.terminate("first", 0))
  yield* untilWaiting(backend, zygotes)
  return backend
})

export const layer = (
  options: ProcessBackend.Options = {},
  loggers: Layer.Layer<never> = Logger.layer([])
): Layer.Layer<ComputeBackend> => Layer.effect(ComputeBackend, make(options)).pipe(Layer.provide(loggers))
