/**
 * The agent with the real process backend and a fabric in memory: orders in, reports and processes out.
 *
 * @module
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type * as Scope from "effect/Scope"
import { ComputeBackend } from "../../src/backends/ComputeBackend.ts"
import * as ProcessBackend from "../../src/backends/process/ProcessBackend.ts"
import * as Agent from "../../src/planes/compute/Agent.ts"
import type { CreateInstance, TerminateInstance } from "../../src/planes/compute/AgentMessage.ts"
import { nodeSpec } from "../backends/nodeSpec.ts"
import { obedient, stubborn } from "../backends/scripts.ts"
import { isAlive, waitFor } from "../backends/waitFor.ts"
import * as FakeFabric from "./FakeFabric.ts"

const createOf = (instanceId: string, script: string, change: Partial<CreateInstance> = {}): CreateInstance => ({
  instanceId,
  tenant: "t",
  functionId: "f",
  functionName: "hello",
  versionId: "v",
  generation: 1,
  command: ["node", "-e", script],
  environment: {},
  concurrency: 16,
  gpu: { kind: "none", count: 0 },
  instanceType: "local",
  cpuMillis: 1_000,
  memoryBytes: 512 * 1024 * 1024,
  startDeadlineMs: 10_000,
  graceMs: 2_000,
  decidedAtMs: Date.now(),
  reason: "a test",
  ...change
})

const terminateOf = (instanceId: string, change: Partial<TerminateInstance> = {}): TerminateInstance => ({
  instanceId,
  versionId: "v",
  drainMs: 0,
  graceMs: 2_000,
  reason: "no longer needed",
  ...change
})

interface Bench {
  readonly fabric: FakeFabric.FakeFabric
  readonly backend: ComputeBackend["Service"]
  readonly agent: Agent.Agent["Service"]
  readonly create: (order: CreateInstance, messageId?: string) => void
  readonly terminate: (order: TerminateInstance, messageId?: string) => void
  readonly worker: (tag: "WorkerReady" | "WorkerGone", instanceId: string) => void
  /** States of an instance in the order they were reported. */
  readonly states: (instanceId: string) => ReadonlyArray<string>
  readonly last: (instanceId: string) => NonNullable<FakeFabric.Message["instance"]> | undefined
  readonly state: (instanceId: string, state: string) => Effect.Effect<void>
  readonly running: () => ReadonlyArray<string>
  readonly logged: ReadonlyArray<string>
}

const agentTest = (
  sentence: string,
  body: (bench: Bench) => Effect.Effect<void, unknown, Scope.Scope>,
  options: { readonly instancesMax?: number } = {}
) =>
  it.live(sentence, () => {
    const fabric = FakeFabric.make()
    const logged: Array<string> = []
    const logger = Logger.layer([Logger.make(({ message, logLevel }) => logged.push(`${logLevel} ${String(message)}`))])
    return Effect.gen(function* () {
      const backend = yield* ComputeBackend
      const agent = yield* Agent.make(agentOptions)
      yield* body(benchOf(fabric, backend, agent, logged))
    }).pipe(
      Effect.scoped,
      Effect.provide(Layer.mergeAll(ProcessBackend.layer({ instancesMax: 4, ...options }), fabric.layer)),
      Effect.provide(logger)
    )
  })

const agentOptions: Agent.Options = {
  cluster: "here",
  site: { region: "home" },
  heartbeatMs: 50,
  workerUrl: "ws://127.0.0.1:1",
  workerToken: (create) => `token of ${create.instanceId}`
}

const benchOf = (
  fabric: FakeFabric.FakeFabric,
  backend: ComputeBackend["Service"],
  agent: Agent.Agent["Service"],
  logged: ReadonlyArray<string>
): Bench => {
  const of = (instanceId: string) =>
    fabric.published.flatMap(({ subject, value }) =>
      subject === "cluster.here.report" && value.instance?.instanceId === instanceId ? [value.instance] : []
    )
  const states = (instanceId: string): ReadonlyArray<string> => of(instanceId).map((report) => report.state)
  return {
    fabric,
    backend,
    agent,
    logged,
    states,
    last: (instanceId) => of(instanceId).at(-1),
    create: (order, messageId) =>
      fabric.order("Create.NVCA.Function.here.none.local", messageId ?? `create ${order.instanceId}`, order),
    terminate: (order, messageId) =>
      fabric.order("Terminate.NVCA.here", messageId ?? `terminate ${order.instanceId}`, order),
    worker: (tag, instanceId) =>
      fabric.publish("instance.worker", {
        _tag: tag,
        instanceId,
        versionId: "v",
        ...(tag === "WorkerReady" ? { slots: 1, phases: { processMs: 1, initialiseMs: 1, connectMs: 1 } } : {})
      }),
    state: (instanceId, state) =>
      Effect.asVoid(
        waitFor(
          `${instanceId} to be ${state}`,
          () => states(instanceId).includes(state),
          () => ({ states: states(instanceId), last: of(instanceId).at(-1) })
        )
      ),
    running: () => Effect.runSync(backend.list).map((one) => one.instanceId)
  }
}

const logLine = (bench: Bench, instanceId: string, text: string) =>
  waitFor(`${instanceId} to print ${text}`, () =>
    Effect.runSync(bench.agent.logs(instanceId)).find((line) => line.text.startsWith(text))
  )

describe("Agent", () => {
  agentTest("a Create is a process, a report and an ack", (bench) =>
    Effect.gen(function* () {
      bench.create(createOf("a", obedient))
      yield* bench.state("a", "starting")
      const [running] = Effect.runSync(bench.backend.list)
      assert.isTrue(running?.pid !== undefined && isAlive(running.pid))
      assert.strictEqual(bench.fabric.outcome("create a"), "acked")
      const report = bench.last("a")
      assert.strictEqual(report?.phase, "process")
      assert.strictEqual(report?.pid, running?.pid)
      assert.isNumber(report?.startedAtMs)
    })
  )

  agentTest("the worker's variables are set and a version's own cannot replace them", (bench) =>
    Effect.gen(function* () {
      const show = `console.log("env " + JSON.stringify(process.env)); setInterval(() => {}, 1000)`
      const environment = { COLOUR: "blue", MILLRACE_WORKER_TOKEN: "forged" }
      const before = Date.now()
      bench.create(createOf("a", show, { environment }))
      const shown: Record<string, string> = JSON.parse((yield* logLine(bench, "a", "env ")).text.slice(4))
      const spawnedAtMs = Number(shown["MILLRACE_SPAWNED_AT_MS"])
      assert.isTrue(spawnedAtMs >= before && spawnedAtMs <= Date.now())
      const expected = {
        COLOUR: "blue",
        MILLRACE_WORKER_URL: "ws://127.0.0.1:1",
        MILLRACE_WORKER_TOKEN: "token of a",
        MILLRACE_INSTANCE_ID: "a",
        MILLRACE_FUNCTION_ID: "f",
        MILLRACE_FUNCTION_NAME: "hello",
        MILLRACE_VERSION_ID: "v",
        MILLRACE_SLOTS: "16"
      }
      for (const [name, value] of Object.entries(expected)) assert.strictEqual(shown[name], value, name)
    })
  )

  agentTest("A1: a Create that comes again starts nothing, while it runs and after it ended", (bench) =>
    Effect.gen(function* () {
      bench.create(createOf("a", obedient), "first")
      bench.create(createOf("a", obedient), "again")
      yield* bench.state("a", "starting")
      bench.create(createOf("a", obedient), "once more")
      assert.strictEqual(bench.running().length, 1)
      bench.terminate(terminateOf("a"))
      yield* bench.state("a", "stopped")
      bench.create(createOf("a", obedient), "late")
      assert.deepStrictEqual(bench.running(), [])
      assert.strictEqual(bench.last("a")?.state, "stopped")
      for (const messageId of ["first", "again", "once more", "late"])
        assert.strictEqual(bench.fabric.outcome(messageId), "acked")
    })
  )

  agentTest("A2: an instance that was told to end before it was told to start never starts", (bench) =>
    Effect.gen(function* () {
      bench.terminate(terminateOf("a"))
      bench.create(createOf("a", obedient))
      assert.deepStrictEqual(bench.running(), [])
      assert.strictEqual(bench.fabric.outcome("create a"), "acked")
      assert.strictEqual(bench.fabric.outcome("terminate a"), "acked")
      yield* Effect.void
    })
  )

  agentTest("A3: orders that nobody can read are put aside, said aloud, and stop nothing", (bench) =>
    Effect.gen(function* () {
      const hostile = ["{", "null", '"text"', JSON.stringify({ instanceId: "x" }), "\u0000\u00ff", "[".repeat(10_000)]
      hostile.forEach((payload, index) => {
        bench.fabric.order("Create.NVCA.Function.here.none.local", `create ${index}`, payload)
        bench.fabric.order("Terminate.NVCA.here", `terminate ${index}`, payload)
        assert.match(bench.fabric.outcome(`create ${index}`) ?? "", /^put aside: it cannot be read/)
        assert.match(bench.fabric.outcome(`terminate ${index}`) ?? "", /^put aside: it cannot be read/)
      })
      assert.strictEqual(bench.logged.filter((line) => /Error.*put aside/.test(line)).length, 2 * hostile.length)
      bench.fabric.publish("instance.worker", { _tag: "WorkerReady" })
      bench.create(createOf("a", obedient))
      yield* bench.state("a", "starting")
    })
  )

  agentTest(
    "A8: orders of a leader that was deposed start nothing and end nothing, and are told of as failed",
    (bench) =>
      Effect.gen(function* () {
        bench.create(createOf("of-two", obedient, { epoch: 2 }))
        yield* bench.state("of-two", "starting")
        bench.create(createOf("of-one", obedient, { epoch: 1 }), "late-create")
        bench.terminate(terminateOf("of-two", { epoch: 1 }), "late-terminate")
        bench.create(createOf("without", obedient), "no-epoch")
        for (const id of ["late-create", "late-terminate", "no-epoch"]) {
          assert.strictEqual(bench.fabric.outcome(id), "acked")
        }
        assert.include(bench.last("of-one")?.detail ?? "", "leader 2 leads now")
        assert.deepStrictEqual(bench.running(), ["of-two"])
        bench.terminate(terminateOf("of-two", { epoch: 2 }))
        yield* bench.state("of-two", "stopped")
      })
  )

  it.live("A9: one that another agent has replaced tells nothing, and ends nothing, also when it is shut down", () => {
    const fabric = FakeFabric.make()
    return Effect.gen(function* () {
      const backend = yield* ComputeBackend
      const lease: { epoch: number | undefined } = { epoch: 3 }
      yield* Effect.scoped(
        Effect.gen(function* () {
          const agent = yield* Agent.make({ ...agentOptions, shutdownMs: 5_000, epoch: () => lease.epoch })
          const bench = benchOf(fabric, backend, agent, [])
          bench.create(createOf("a", obedient))
          yield* bench.state("a", "starting")
          assert.strictEqual(fabric.published.at(-1)?.value.agentEpoch, 3)
          lease.epoch = undefined
          const told = fabric.published.length
          bench.worker("WorkerReady", "a")
          // Several heartbeats.
          yield* Effect.sleep(300)
          assert.deepStrictEqual(
            fabric.published.slice(told).map(({ subject }) => subject),
            ["instance.worker"]
          )
        })
      )
      assert.deepStrictEqual(
        (yield* backend.list).map(({ instanceId }) => instanceId),
        ["a"]
      )
      yield* backend.terminate("a", 0)
    }).pipe(
      Effect.scoped,
      Effect.provide(Layer.mergeAll(ProcessBackend.layer({ instancesMax: 4 }), fabric.layer)),
      Effect.provide(Logger.layer([]))
    )
  })

  agentTest("A4: a Create older than its start deadline is acked and reported as failed, and starts nothing", (bench) =>
    Effect.gen(function* () {
      bench.create(createOf("a", obedient, { startDeadlineMs: 1_000, decidedAtMs: Date.now() - 1_500 }))
      assert.deepStrictEqual(bench.running(), [])
      assert.strictEqual(bench.fabric.outcome("create a"), "acked")
      assert.strictEqual(bench.last("a")?.state, "failed")
      assert.isTrue(bench.last("a")?.retryable)
      assert.match(bench.last("a")?.detail ?? "", /ms old/)
      yield* Effect.void
    })
  )

  agentTest("A5: an instance whose worker is not ready within its start deadline is ended and failed", (bench) =>
    Effect.gen(function* () {
      bench.create(createOf("a", "", { command: ["/bin/sh", "-c", "echo loading; sleep 60"], startDeadlineMs: 1_000 }))
      yield* bench.state("a", "failed")
      yield* waitFor("its end", () => bench.running().length === 0)
      yield* waitFor("its last words", () => /not ready within .*1000 ms.*loading/s.test(bench.last("a")?.detail ?? ""))
      assert.isTrue(bench.last("a")?.retryable)
    })
  )

  agentTest(
    "a ready worker is past its start deadline, and one that does not come back within another is failed",
    (bench) =>
      Effect.gen(function* () {
        bench.create(createOf("a", obedient, { startDeadlineMs: 4_000 }))
        bench.create(createOf("b", obedient, { startDeadlineMs: 4_000 }))
        for (const id of ["a", "b"]) {
          yield* bench.state(id, "starting")
          bench.worker("WorkerReady", id)
        }
        assert.deepStrictEqual(bench.states("a"), ["starting", "ready"])
        bench.worker("WorkerGone", "b")
        assert.strictEqual(bench.last("b")?.phase, "reconnect")
        yield* bench.state("b", "failed")
        assert.deepStrictEqual(bench.states("a"), ["starting", "ready"])
      })
  )

  agentTest("a crash is reported as failed with its code and last output", (bench) =>
    Effect.gen(function* () {
      bench.create(createOf("a", `console.error("no model found"); process.exit(3)`))
      yield* bench.state("a", "failed")
      assert.match(bench.last("a")?.detail ?? "", /code 3.*no model found/s)
      assert.isTrue(bench.last("a")?.retryable)
      assert.isNumber(bench.last("a")?.endedAtMs)
    })
  )

  agentTest("a command that does not exist is failed, acked, and not worth another try", (bench) =>
    Effect.gen(function* () {
      bench.create(createOf("a", "", { command: ["no-such-program-here"] }))
      yield* bench.state("a", "failed")
      assert.isFalse(bench.last("a")?.retryable)
      assert.match(bench.last("a")?.detail ?? "", /no-such-program-here was not found/)
      assert.strictEqual(bench.fabric.outcome("create a"), "acked")
      assert.deepStrictEqual(yield* bench.agent.instances, [])
    })
  )

  agentTest(
    "an order for which there is no place is failed and worth another try",
    (bench) =>
      Effect.gen(function* () {
        bench.create(createOf("a", obedient))
        bench.create(createOf("b", obedient))
        assert.strictEqual(bench.last("b")?.state, "failed")
        assert.isTrue(bench.last("b")?.retryable)
        yield* bench.state("a", "starting")
        assert.deepStrictEqual(bench.running(), ["a"])
      }),
    { instancesMax: 1 }
  )

  agentTest("an instance is not ended before its drained worker is gone", (bench) =>
    Effect.gen(function* () {
      bench.create(createOf("a", obedient))
      yield* logLine(bench, "a", "up")
      bench.worker("WorkerReady", "a")
      bench.terminate(terminateOf("a", { drainMs: 60_000 }))
      const drain = bench.fabric.published.find(({ subject }) => subject === "instance.drain")?.value
      assert.deepStrictEqual(drain, { instanceId: "a", versionId: "v", reason: "no longer needed" })
      assert.strictEqual(bench.last("a")?.state, "draining")
      assert.strictEqual(bench.fabric.outcome("terminate a"), "acked")
      bench.worker("WorkerGone", "other")
      const beats = () => bench.fabric.published.filter(({ value }) => value._tag === "Heartbeat").length
      const before = beats()
      yield* waitFor("three more heartbeats", () => beats() >= before + 3)
      assert.deepStrictEqual(bench.running(), ["a"])
      bench.worker("WorkerGone", "a")
      yield* bench.state("a", "stopped")
      assert.match(bench.last("a")?.detail ?? "", /no longer needed/)
      assert.deepStrictEqual(bench.running(), [])
    })
  )

  agentTest("an instance whose worker left before the order came is ended at once, unless it is back", (bench) =>
    Effect.gen(function* () {
      for (const id of ["a", "b"]) {
        bench.create(createOf(id, obedient))
        yield* logLine(bench, id, "up")
        bench.worker("WorkerReady", id)
        bench.worker("WorkerGone", id)
      }
      bench.worker("WorkerReady", "b")
      for (const id of ["a", "b"]) bench.terminate(terminateOf(id, { drainMs: 60_000 }))
      yield* bench.state("a", "stopped")
      assert.deepStrictEqual(bench.running(), ["b"])
      assert.strictEqual(bench.last("b")?.state, "draining")
      bench.worker("WorkerGone", "b")
      yield* bench.state("b", "stopped")
    })
  )

  agentTest("a drain ends when the process does, and at the latest when its time is over", (bench) =>
    Effect.gen(function* () {
      bench.create(
        createOf(
          "itself",
          `console.log("up"); process.on("SIGUSR2", () => process.exit(0)); setInterval(() => {}, 1000)`
        )
      )
      bench.create(createOf("late", obedient))
      yield* logLine(bench, "itself", "up")
      yield* logLine(bench, "late", "up")
      bench.terminate(terminateOf("itself", { drainMs: 60_000 }))
      bench.terminate(terminateOf("late", { drainMs: 200 }))
      process.kill(bench.last("itself")?.pid ?? 0, "SIGUSR2")
      yield* bench.state("itself", "stopped")
      yield* bench.state("late", "stopped")
    })
  )

  agentTest("a second Terminate with less time shortens the first, one with more does not lengthen it", (bench) =>
    Effect.gen(function* () {
      for (const id of ["a", "b"]) {
        bench.create(createOf(id, obedient))
        yield* logLine(bench, id, "up")
      }
      bench.terminate(terminateOf("a", { drainMs: 60_000 }), "a1")
      bench.terminate(terminateOf("a", { drainMs: 0 }), "a2")
      bench.terminate(terminateOf("b", { drainMs: 100 }), "b1")
      bench.terminate(terminateOf("b", { drainMs: 60_000 }), "b2")
      yield* bench.state("a", "stopped")
      yield* bench.state("b", "stopped")
      const drains = bench.fabric.published.filter(({ subject }) => subject === "instance.drain")
      assert.strictEqual(drains.length, 2)
    })
  )

  agentTest("a heartbeat comes at once and then regularly, with capacity and all instances", (bench) =>
    Effect.gen(function* () {
      const beats = () => bench.fabric.published.filter(({ value }) => value._tag === "Heartbeat")
      assert.strictEqual(beats().length, 1)
      assert.strictEqual(beats()[0]?.value.region, "home")
      bench.create(createOf("a", obedient))
      yield* waitFor("a heartbeat with it", () => beats().at(-1)?.value.instances?.[0]?.instanceId === "a")
      assert.deepStrictEqual(
        beats()
          .at(-1)
          ?.value.instanceTypes?.map(({ free, total }) => [free, total]),
        [[3, 4]]
      )
    })
  )

  agentTest("what runs and nobody wants is ended within a heartbeat, and said aloud", (bench) =>
    Effect.gen(function* () {
      bench.create(createOf("wanted", obedient))
      yield* bench.backend.launch(nodeSpec("orphan", obedient))
      yield* waitFor("the orphan's end", () => !bench.running().includes("orphan"))
      assert.deepStrictEqual(bench.running(), ["wanted"])
      assert.isTrue(bench.logged.some((line) => line.includes("nobody wants")))
    })
  )

  agentTest("new lines of output can be followed", (bench) =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      yield* bench.agent.followLogs((instanceId, line) => lines.push(`${instanceId} ${line.stream} ${line.text}`))
      bench.create(createOf("a", obedient))
      yield* waitFor("its line", () => lines.includes("a stdout up"))
    })
  )

  it.live("A6: on shutdown every instance gets its grace and then ends, also one that ignores it", () => {
    const fabric = FakeFabric.make()
    // It ends when they have, long before either of these.
    const [graceMs, shutdownMs] = [30_000, 60_000]
    const gentle = `process.on("SIGTERM", () => { console.log("bye"); process.exit(0) }); console.log("up"); setInterval(() => {}, 1000)`
    return Effect.gen(function* () {
      const backend = yield* ComputeBackend
      const from = yield* Effect.scoped(
        Effect.gen(function* () {
          const bench = benchOf(fabric, backend, yield* Agent.make({ ...agentOptions, shutdownMs }), [])
          bench.create(createOf("gentle", gentle, { graceMs }))
          bench.create(createOf("stubborn", stubborn, { graceMs: 200 }))
          yield* logLine(bench, "gentle", "up")
          yield* logLine(bench, "stubborn", "up")
          return Date.now()
        })
      )
      assert.isBelow(Date.now() - from, graceMs)
      assert.deepStrictEqual(yield* backend.list, [])
      const said = (yield* backend.logs("gentle")).map((line) => line.text)
      assert.deepStrictEqual(said, ["up", "bye"])
      for (const instanceId of ["gentle", "stubborn"]) {
        const reports = fabric.published.flatMap(({ value }) => (value.instance === undefined ? [] : [value.instance]))
        assert.strictEqual(reports.findLast((one) => one.instanceId === instanceId)?.state, "stopped")
      }
    }).pipe(
      Effect.provide(Layer.mergeAll(ProcessBackend.layer({ instancesMax: 4 }), fabric.layer)),
      Effect.provide(Logger.layer([]))
    )
  })

  it.live("A6: a shutdown whose time is over leaves the rest to the backend, which kills it", () => {
    const fabric = FakeFabric.make()
    return Effect.gen(function* () {
      const graceMs = 30_000
      const { pid, from } = yield* Effect.gen(function* () {
        const backend = yield* ComputeBackend
        const agent = yield* Agent.make({ ...agentOptions, shutdownMs: 200 })
        const bench = benchOf(fabric, backend, agent, [])
        bench.create(createOf("a", stubborn, { graceMs }))
        yield* logLine(bench, "a", "up")
        return { pid: bench.last("a")?.pid ?? 0, from: Date.now() }
      }).pipe(
        Effect.scoped,
        Effect.provide(Layer.mergeAll(ProcessBackend.layer({ instancesMax: 4 }), fabric.layer)),
        Effect.provide(Logger.layer([]))
      )
      assert.isBelow(Date.now() - from, graceMs)
      assert.isFalse(isAlive(pid))
    })
  })
})
