/**
 * The agent on the real embedded fabric: orders that outlive agents.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { ComputeBackend } from "../../src/backends/ComputeBackend.ts"
import * as ProcessBackend from "../../src/backends/process/ProcessBackend.ts"
import * as Agent from "../../src/planes/compute/Agent.ts"
import type { CreateInstance } from "../../src/planes/compute/AgentMessage.ts"
import * as EmbeddedFabric from "../../src/planes/fabric/EmbeddedFabric.ts"
import { WorkQueue } from "../../src/planes/fabric/WorkQueue.ts"
import { obedient } from "../backends/scripts.ts"
import { waitFor } from "../backends/waitFor.ts"

const createOf = (instanceId: string): CreateInstance => ({
  instanceId,
  tenant: "t",
  functionId: "f",
  functionName: "hello",
  versionId: "v",
  generation: 1,
  command: ["node", "-e", obedient],
  environment: {},
  concurrency: 1,
  gpu: { kind: "none", count: 0 },
  instanceType: "local",
  cpuMillis: 1_000,
  memoryBytes: 512 * 1024 * 1024,
  startDeadlineMs: 60_000,
  graceMs: 1_000,
  decidedAtMs: Date.now(),
  reason: "a test"
})

const agent = Agent.layer({
  cluster: "here",
  site: { region: "home" },
  workerUrl: "ws://127.0.0.1:1",
  workerToken: () => "token"
})

const running = (backend: ComputeBackend["Service"]) => Effect.runSync(backend.list).map((one) => one.instanceId)

it.live("an order that no agent was there to take is carried out by the next one, once, and never by a later one", () =>
  Effect.acquireUseRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "millrace-agent-"))),
    (directory) => {
      const order = (instanceId: string) =>
        WorkQueue.use((queue) =>
          queue.publish(
            "Create.NVCA.Function.here.none.local",
            `create ${instanceId}`,
            new TextEncoder().encode(JSON.stringify(createOf(instanceId)))
          )
        )
      /** One life of the whole process: fabric, backend and, if asked for, an agent. */
      const life = <A>(withAgent: boolean, body: Effect.Effect<A, unknown, ComputeBackend | WorkQueue>) =>
        body.pipe(
          Effect.provide(withAgent ? agent : Layer.empty),
          Effect.provide(Layer.mergeAll(ProcessBackend.layer(), EmbeddedFabric.layer({ directory })), { local: true }),
          Effect.provide(Logger.layer([]))
        )
      return Effect.gen(function* () {
        yield* life(false, order("early"))
        yield* life(
          true,
          Effect.gen(function* () {
            const backend = yield* ComputeBackend
            yield* waitFor("the early one", () => running(backend).includes("early"))
            yield* order("late")
            yield* waitFor("both", () => running(backend).length === 2)
            assert.strictEqual(yield* order("late"), "duplicate")
          })
        )
        yield* life(
          true,
          Effect.gen(function* () {
            const backend = yield* ComputeBackend
            yield* order("new")
            yield* waitFor("the new one", () => running(backend).length > 0)
            assert.deepStrictEqual(running(backend), ["new"])
          })
        )
      })
    },
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )
)
