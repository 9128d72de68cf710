/**
 * When the agent asks a backend again that did not answer. On a clock of the test.
 *
 * @module
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { TestClock } from "effect/testing"
import { ComputeBackend, type InstanceObservation } from "../../src/backends/ComputeBackend.ts"
import { BackendUnavailable } from "../../src/backends/LaunchError.ts"
import * as Agent from "../../src/planes/compute/Agent.ts"
import type { CreateInstance } from "../../src/planes/compute/AgentMessage.ts"
import * as FakeFabric from "./FakeFabric.ts"

const order: CreateInstance = {
  instanceId: "a",
  tenant: "t",
  functionId: "f",
  functionName: "hello",
  versionId: "v",
  generation: 1,
  command: ["node"],
  environment: {},
  concurrency: 1,
  gpu: { kind: "none", count: 0 },
  instanceType: "local",
  cpuMillis: 1_000,
  memoryBytes: 1_048_576,
  startDeadlineMs: 3_600_000,
  graceMs: 0,
  decidedAtMs: 0,
  reason: "a test"
}

const silent = new BackendUnavailable({ backend: "silent", operation: "launch", detail: "no answer came" })

interface Conduct {
  /** Answers from so many tries on. */
  readonly launch: number
  readonly terminate: number
  /** How long a launch takes that is answered; absent = no time. */
  readonly launchMs?: number
}

const backendOf = ({ launchMs = 0, ...answersFrom }: Conduct) => {
  const atMs = { launch: [] as number[], terminate: [] as number[] }
  const running = new Set<string>()
  const watchers = new Set<(observation: InstanceObservation) => void>()
  const tried = (what: keyof typeof atMs, act: () => void, takesMs = 0) =>
    Effect.flatMap(
      Effect.clockWith((clock) => clock.currentTimeMillis),
      (nowMs) => {
        if (atMs[what].push(nowMs) < answersFrom[what]) return Effect.fail(silent)
        return Effect.delay(Effect.sync(act), takesMs)
      }
    )
  const tell = (observation: InstanceObservation) => {
    for (const watcher of watchers) watcher(observation)
  }
  const backend = ComputeBackend.of({
    abilities: {
      name: "silent",
      isolation: "none",
      image: false,
      command: true,
      gpuKinds: [],
      preWarm: false,
      tasks: true,
      limits: [],
      survivesRestart: false
    },
    capacity: Effect.succeed({ instanceTypes: [] }),
    launch: ({ instanceId }) =>
      tried(
        "launch",
        () => {
          running.add(instanceId)
          tell({ _tag: "Started", instanceId, atMs: 0 })
        },
        launchMs
      ),
    terminate: (instanceId) =>
      tried("terminate", () => {
        running.delete(instanceId)
        const exit = { kind: "code", code: 0 } as const
        tell({ _tag: "Exited", instanceId, atMs: 0, exit, phase: "running", lastOutput: "", requested: true })
      }),
    list: Effect.sync(() =>
      [...running].map((instanceId) => ({ instanceId, versionId: "v", startedAtMs: 0, labels: {} }))
    ),
    watch: (onObservation) => Effect.sync(() => void watchers.add(onObservation)),
    logs: () => Effect.succeed([]),
    followLogs: () => Effect.void
  })
  return { backend, atMs }
}

const agentTest = (
  sentence: string,
  { backend }: ReturnType<typeof backendOf>,
  body: (fabric: FakeFabric.FakeFabric) => Effect.Effect<void>
) =>
  it.effect(sentence, () => {
    const fabric = FakeFabric.make()
    return Effect.gen(function* () {
      const agent = { cluster: "here", site: { region: "home" }, heartbeatMs: 3_600_000, shutdownMs: 0 }
      yield* Agent.make({ ...agent, workerUrl: "ws://127.0.0.1:1", workerToken: () => "token" })
      yield* body(fabric)
    }).pipe(
      Effect.scoped,
      Effect.provide(Layer.mergeAll(Layer.succeed(ComputeBackend, backend), fabric.layer)),
      Effect.provide(Logger.layer([]))
    )
  })

/** In small steps: a retry is due at a time, not at the end of a jump. */
const pass = (ms: number) =>
  Effect.forEach(Array.from({ length: ms / 50 }), () => TestClock.adjust(50), { discard: true })

const last = (fabric: FakeFabric.FakeFabric) =>
  fabric.published.flatMap(({ value }) => (value.instance === undefined ? [] : [value.instance])).at(-1)

describe("an agent whose backend does not answer", () => {
  const never = backendOf({ launch: Number.POSITIVE_INFINITY, terminate: 1 })
  agentTest(
    "launches seven times in about six seconds, then tells that it failed and may be tried again",
    never,
    (fabric) =>
      Effect.gen(function* () {
        fabric.order("Create.NVCA.Function.here.none.local", "create a", order)
        yield* pass(6_250)
        assert.strictEqual(fabric.outcome("create a"), "out")
        yield* pass(30_000)
        assert.deepStrictEqual(never.atMs.launch, [0, 100, 300, 700, 1_500, 3_100, 6_300])
        assert.deepInclude(last(fabric), { state: "failed", retryable: true })
        assert.strictEqual(fabric.outcome("create a"), "acked")
      })
  )

  const late = backendOf({ launch: 3, terminate: 1 })
  agentTest("stops asking with the first answer", late, (fabric) =>
    Effect.gen(function* () {
      fabric.order("Create.NVCA.Function.here.none.local", "create a", order)
      yield* pass(10_000)
      assert.deepStrictEqual(late.atMs.launch, [0, 100, 300])
      assert.strictEqual(last(fabric)?.state, "starting")
    })
  )

  const slow = backendOf({ launch: 1, terminate: 1, launchMs: 100_000 })
  agentTest(
    "keeps an order until the backend has taken it, however long that takes, and launches it once",
    slow,
    (fabric) =>
      Effect.gen(function* () {
        fabric.order("Create.NVCA.Function.here.none.local", "create a", order)
        // Whatever keeps it alive must come within the time that the queue gives, which is 30 s.
        for (let waitedMs = 0; waitedMs < 90_000; waitedMs += 15_000) {
          const before = fabric.extensions("create a")
          yield* pass(15_000)
          assert.isAbove(fabric.extensions("create a"), before, `in the 15 s after ${waitedMs} ms`)
        }
        fabric.again("create a")
        yield* pass(1_000)
        assert.strictEqual(fabric.outcome("create a"), "out", "another agent would not know of it")
        yield* pass(10_000)
        assert.strictEqual(fabric.outcome("create a"), "acked")
        assert.deepStrictEqual(slow.atMs.launch, [0])
        const told = fabric.extensions("create a")
        yield* pass(60_000)
        assert.strictEqual(fabric.extensions("create a"), told)
      })
  )

  const prompt = backendOf({ launch: 1, terminate: 1 })
  agentTest("tells the backend once to end what ends in the very turn in which it is told", prompt, (fabric) =>
    Effect.gen(function* () {
      fabric.order("Create.NVCA.Function.here.none.local", "create a", order)
      yield* pass(50)
      const end = { instanceId: "a", versionId: "v", drainMs: 0, graceMs: 0, reason: "a test" }
      fabric.order("Terminate.NVCA.here", "terminate a", end)
      yield* pass(30_000)
      assert.lengthOf(prompt.atMs.terminate, 1)
      assert.strictEqual(last(fabric)?.state, "stopped")
    })
  )

  const held = backendOf({ launch: 1, terminate: 9 })
  agentTest("asks for an end until it is told of it, each five seconds at the most", held, (fabric) =>
    Effect.gen(function* () {
      fabric.order("Create.NVCA.Function.here.none.local", "create a", order)
      yield* pass(50)
      const end = { instanceId: "a", versionId: "v", drainMs: 0, graceMs: 0, reason: "a test" }
      fabric.order("Terminate.NVCA.here", "terminate a", end)
      yield* pass(30_000)
      const [first = 0] = held.atMs.terminate
      const after = held.atMs.terminate.map((ms) => ms - first)
      assert.deepStrictEqual(after, [0, 100, 300, 700, 1_500, 3_100, 6_300, 11_300, 16_300])
      assert.strictEqual(last(fabric)?.state, "stopped")
    })
  )
})
