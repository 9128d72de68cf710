/**
 * The laws of a compute backend; every maker runs them. What a law needs of the world it makes with small programs in
 * plain JavaScript, which a maker turns into a spec it can run.
 *
 * @module
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import {
  ComputeBackend,
  type InstanceObservation,
  type InstanceSpec,
  type LogLine
} from "../../src/backends/ComputeBackend.ts"
import { waitFor } from "./waitFor.ts"

export interface Maker {
  readonly layer: (options: { readonly instancesMax: number }) => Layer.Layer<ComputeBackend>
  /** A spec that runs this JavaScript with Node; nothing but the given environment. */
  readonly spec: (
    instanceId: string,
    script: string,
    environment?: Readonly<Record<string, string>>,
    nodeFlags?: ReadonlyArray<string>
  ) => InstanceSpec
  /** A spec whose start must fail at once. */
  readonly failingSpec: (instanceId: string) => InstanceSpec
  /** What the environment of an instance may hold beyond the spec's. */
  readonly addedVariables: ReadonlyArray<string>
  /** Whether the group of processes behind `pid`, or what stands for it, still runs. */
  readonly isRunning: (pid: number) => boolean
}

/** Prints `up` and stays until SIGTERM, which it obeys. */
export const obedient = `console.log("up"); setInterval(() => {}, 1000)`
/** Prints `up` and does not obey. */
export const stubborn = `process.on("SIGTERM", () => console.log("no")); console.log("up"); setInterval(() => {}, 1000)`

type Exited = Extract<InstanceObservation, { _tag: "Exited" }>

/** Everything observed and printed since the call. */
const record = Effect.fnUntraced(function* () {
  const backend = yield* ComputeBackend
  const observations: Array<InstanceObservation> = []
  const lines: Array<LogLine & { readonly instanceId: string }> = []
  yield* backend.watch((observation) => observations.push(observation))
  yield* backend.followLogs((instanceId, line) => lines.push({ instanceId, ...line }))
  const seen = () => ({ observations, lines: lines.slice(-20) })
  const exited = (instanceId: string) =>
    waitFor(
      `the exit of ${instanceId}`,
      () => observations.find((one): one is Exited => one._tag === "Exited" && one.instanceId === instanceId),
      seen
    )
  const printed = (instanceId: string, text: string) =>
    waitFor(
      `${instanceId} to print ${text}`,
      () => lines.find((line) => line.instanceId === instanceId && line.text.includes(text)),
      seen
    )
  const ofInstance = (instanceId: string) =>
    observations.filter((one) => one.instanceId === instanceId && one._tag !== "Phase").map((one) => one._tag)
  return { backend, observations, lines, exited, printed, ofInstance }
})

export const backendLaws = (name: string, maker: Maker) => {
  const law = (sentence: string, body: () => Effect.Effect<void, unknown, ComputeBackend | Scope.Scope>) =>
    it.live(sentence, () => Effect.scoped(Effect.suspend(body)).pipe(Effect.provide(maker.layer({ instancesMax: 4 }))))

  describe(`backend laws: ${name}`, () => {
    law("C1: a launched instance is listed with its version and start time when launch succeeds", () =>
      Effect.gen(function* () {
        const { backend } = yield* record()
        const before = Date.now()
        yield* backend.launch(maker.spec("a", obedient))
        const [only, ...others] = yield* backend.list
        assert.strictEqual(others.length, 0)
        assert.strictEqual(only?.instanceId, "a")
        assert.strictEqual(only?.versionId, maker.spec("a", obedient).versionId)
        assert.isTrue(only !== undefined && only.startedAtMs >= before - 1 && only.startedAtMs <= Date.now() + 1)
      })
    )

    law("C2: launching the same id again finds the one that runs", () =>
      Effect.gen(function* () {
        const { backend, ofInstance } = yield* record()
        yield* backend.launch(maker.spec("a", obedient))
        const first = yield* backend.list
        yield* backend.launch(maker.spec("a", obedient))
        assert.deepStrictEqual(yield* backend.list, first)
        assert.deepStrictEqual(ofInstance("a"), ["Started"])
      })
    )

    law("C3: concurrent launches of one id start one instance", () =>
      Effect.gen(function* () {
        const { backend, ofInstance } = yield* record()
        yield* Effect.forEach([1, 2, 3, 4, 5], () => backend.launch(maker.spec("a", obedient)), {
          concurrency: "unbounded"
        })
        assert.strictEqual((yield* backend.list).length, 1)
        assert.deepStrictEqual(ofInstance("a"), ["Started"])
      })
    )

    law("C4: terminate succeeds only when the instance is gone from the list and from the machine", () =>
      Effect.gen(function* () {
        const { backend, printed } = yield* record()
        yield* backend.launch(maker.spec("a", obedient))
        yield* printed("a", "up")
        const [running] = yield* backend.list
        yield* backend.terminate("a", 5_000)
        assert.deepStrictEqual(yield* backend.list, [])
        if (running?.pid !== undefined) assert.isFalse(maker.isRunning(running.pid))
      })
    )

    law("C5: terminating twice, at the same time, or what never was, succeeds", () =>
      Effect.gen(function* () {
        const { backend, printed, ofInstance } = yield* record()
        yield* backend.launch(maker.spec("a", obedient))
        yield* printed("a", "up")
        yield* Effect.all([backend.terminate("a", 5_000), backend.terminate("a", 5_000)], { concurrency: 2 })
        yield* backend.terminate("a", 5_000)
        yield* backend.terminate("never-was", 5_000)
        assert.deepStrictEqual(ofInstance("a"), ["Started", "Exited"])
      })
    )

    law("C6: an instance may use its grace to finish, and its last words are kept", () =>
      Effect.gen(function* () {
        const { backend, printed, exited } = yield* record()
        const finishing = `process.on("SIGTERM", () => setTimeout(() => { console.log("finished"); process.exit(0) }, 150));
          console.log("up"); setInterval(() => {}, 1000)`
        yield* backend.launch(maker.spec("a", finishing))
        yield* printed("a", "up")
        yield* backend.terminate("a", 10_000)
        const exit = yield* exited("a")
        assert.deepStrictEqual(exit.exit, { kind: "code", code: 0 })
        assert.include(exit.lastOutput, "finished")
        assert.isTrue(exit.requested)
      })
    )

    law("C7: what does not end within its grace is killed, not before and not much later", () =>
      Effect.gen(function* () {
        const { backend, printed, exited } = yield* record()
        yield* backend.launch(maker.spec("a", stubborn))
        yield* printed("a", "up")
        const from = Date.now()
        yield* backend.terminate("a", 300)
        const tookMs = Date.now() - from
        assert.isTrue(tookMs >= 295 && tookMs < 3_000, `took ${tookMs} ms`)
        assert.deepStrictEqual((yield* exited("a")).exit, { kind: "signal", signal: "SIGKILL" })
      })
    )

    law("C8: a grace of zero kills at once, also one that is in its grace", () =>
      Effect.gen(function* () {
        const { backend, printed } = yield* record()
        yield* backend.launch(maker.spec("a", stubborn))
        yield* printed("a", "up")
        const patient = yield* Effect.forkChild(backend.terminate("a", 60_000), { startImmediately: true })
        yield* printed("a", "no")
        yield* backend.terminate("a", 0)
        yield* Fiber.join(patient)
        assert.deepStrictEqual(yield* backend.list, [])
      })
    )

    law("C9: ending one instance leaves the others alone", () =>
      Effect.gen(function* () {
        const { backend, printed, ofInstance } = yield* record()
        yield* backend.launch(maker.spec("a", obedient))
        yield* backend.launch(maker.spec("b", obedient))
        yield* printed("a", "up")
        yield* printed("b", "up")
        yield* backend.terminate("a", 5_000)
        const left = yield* backend.list
        assert.deepStrictEqual(
          left.map((one) => one.instanceId),
          ["b"]
        )
        assert.deepStrictEqual(ofInstance("b"), ["Started"])
        if (left[0]?.pid !== undefined) assert.isTrue(maker.isRunning(left[0].pid))
      })
    )

    law("C10: capacity is counted and never overcommitted, and comes back", () =>
      Effect.gen(function* () {
        const { backend } = yield* record()
        const free = Effect.map(backend.capacity, ({ instanceTypes }) => instanceTypes.map((one) => one.free))
        assert.deepStrictEqual(yield* free, [4])
        for (const id of ["a", "b", "c", "d"]) yield* backend.launch(maker.spec(id, obedient))
        assert.deepStrictEqual(yield* free, [0])
        const refused = yield* Effect.flip(backend.launch(maker.spec("e", obedient)))
        assert.strictEqual(refused.reason, "no-capacity")
        assert.isTrue(refused.retryable)
        assert.strictEqual((yield* backend.list).length, 4)
        yield* backend.terminate("a", 0)
        assert.deepStrictEqual(yield* free, [1])
        yield* backend.launch(maker.spec("e", obedient))
      })
    )

    law("C11: a start that fails says why and leaves nothing", () =>
      Effect.gen(function* () {
        const { backend, observations } = yield* record()
        const failed = yield* Effect.flip(backend.launch(maker.failingSpec("a")))
        assert.strictEqual(failed._tag, "LaunchFailed")
        assert.isFalse(failed.retryable)
        assert.deepStrictEqual(yield* backend.list, [])
        assert.deepStrictEqual((yield* backend.capacity).instanceTypes[0]?.free, 4)
        assert.deepStrictEqual(observations, [])
        yield* backend.launch(maker.spec("a", obedient))
      })
    )

    law("C12: a crash is reported with its code and last output, and as not asked for", () =>
      Effect.gen(function* () {
        const { backend, exited } = yield* record()
        yield* backend.launch(maker.spec("a", `console.error("out of cheese"); process.exitCode = 7`))
        const exit = yield* exited("a")
        assert.deepStrictEqual(exit.exit, { kind: "code", code: 7 })
        assert.include(exit.lastOutput, "out of cheese")
        assert.isFalse(exit.requested)
        assert.deepStrictEqual(yield* backend.list, [])
      })
    )

    law("C13: an end by a signal is reported with the signal", () =>
      Effect.gen(function* () {
        const { backend, exited } = yield* record()
        yield* backend.launch(maker.spec("a", `process.kill(process.pid, "SIGUSR2"); setInterval(() => {}, 1000)`))
        assert.deepStrictEqual((yield* exited("a")).exit, { kind: "signal", signal: "SIGUSR2" })
      })
    )

    law("C14: a full heap is reported as out of memory", () =>
      Effect.gen(function* () {
        const { backend, exited } = yield* record()
        const hungry = `const all = []; for (;;) all.push(new Array(1000).fill({}))`
        yield* backend.launch(maker.spec("a", hungry, {}, ["--max-old-space-size=20"]))
        assert.deepStrictEqual((yield* exited("a")).exit, { kind: "out-of-memory" })
      })
    )

    law("C15: every watcher sees each instance start once and then end once, and nothing after its scope closed", () =>
      Effect.gen(function* () {
        const { backend, observations, exited } = yield* record()
        const early: Array<InstanceObservation> = []
        yield* Effect.scoped(
          Effect.gen(function* () {
            yield* backend.watch((observation) => early.push(observation))
            yield* backend.launch(maker.spec("a", `process.exit(0)`))
            yield* exited("a")
          })
        )
        yield* backend.launch(maker.spec("b", `process.exit(0)`))
        yield* exited("b")
        const tags = (all: ReadonlyArray<InstanceObservation>) =>
          all.filter((one) => one._tag !== "Phase").map((one) => `${one.instanceId} ${one._tag}`)
        assert.deepStrictEqual(tags(early), ["a Started", "a Exited"])
        assert.deepStrictEqual(tags(observations), ["a Started", "a Exited", "b Started", "b Exited"])
      })
    )

    law("C16: a watcher that throws harms neither the instance nor the other watchers", () =>
      Effect.gen(function* () {
        const { backend } = yield* record()
        yield* backend.watch(() => {
          throw new Error("a broken watcher, on purpose")
        })
        yield* backend.followLogs(() => {
          throw new Error("a broken follower, on purpose")
        })
        const after = yield* record()
        yield* backend.launch(maker.spec("a", `console.log("said"); process.exit(3)`))
        assert.deepStrictEqual((yield* after.exited("a")).exit, { kind: "code", code: 3 })
        yield* after.printed("a", "said")
      })
    )

    law("C17: output is kept by stream and line, also the line without an end and after the instance ended", () =>
      Effect.gen(function* () {
        const { backend, exited } = yield* record()
        const talk = `process.stdout.write("one\\ntw"); process.stdout.write("o\\r\\n"); console.error("bad"); process.stdout.write("grüße ohne ende")`
        yield* backend.launch(maker.spec("a", talk))
        yield* exited("a")
        const logs = yield* backend.logs("a")
        const of = (stream: string) => logs.filter((line) => line.stream === stream).map((line) => line.text)
        assert.deepStrictEqual(of("stdout"), ["one", "two", "grüße ohne ende"])
        assert.deepStrictEqual(of("stderr"), ["bad"])
        assert.deepStrictEqual(yield* backend.logs("never-was"), [])
      })
    )

    law("C18: output is bounded, and what stays is the newest", () =>
      Effect.gen(function* () {
        const { backend, exited, lines } = yield* record()
        const flood = `const line = "x".repeat(20000); for (let i = 0; i < 400; i++) process.stdout.write(line + "\\n"); for (let i = 0; i < 3000; i++) process.stdout.write("n" + i + "\\n")`
        yield* backend.launch(maker.spec("a", flood))
        const exit = yield* exited("a")
        const logs = yield* backend.logs("a")
        assert.isTrue(logs.length <= 1000, `${logs.length} lines`)
        assert.isTrue(logs.every((line) => Buffer.byteLength(line.text) <= 8 * 1024))
        assert.strictEqual(logs.at(-1)?.text, "n2999")
        assert.isTrue(Buffer.byteLength(exit.lastOutput) <= 4096)
        assert.isTrue(exit.lastOutput.endsWith("n2998\nn2999"))
        assert.strictEqual(lines.filter((line) => line.text.startsWith("n")).length, 3000)
      })
    )

    law("C19: the environment is the spec's and what the backend must add, and the spec wins", () =>
      Effect.gen(function* () {
        const { backend, printed } = yield* record()
        process.env["MILLRACE_TEST_SECRET"] = "of the parent"
        const show = `console.log("env " + JSON.stringify(process.env)); setInterval(() => {}, 1000)`
        yield* backend.launch(maker.spec("a", show, { COLOUR: "blue = green", LANG: "de_DE.UTF-8", EMPTY: "" }))
        const shown: Record<string, string> = JSON.parse((yield* printed("a", "env ")).text.slice(4))
        delete process.env["MILLRACE_TEST_SECRET"]
        assert.strictEqual(shown["COLOUR"], "blue = green")
        assert.strictEqual(shown["LANG"], "de_DE.UTF-8")
        assert.strictEqual(shown["EMPTY"], "")
        const extra = Object.keys(shown).filter((key) => !["COLOUR", "LANG", "EMPTY"].includes(key))
        assert.deepStrictEqual(
          extra.filter((key) => !maker.addedVariables.includes(key)),
          []
        )
      })
    )

    law("C20: children of an instance end with it, whether it was told to end or ended by itself", () =>
      Effect.gen(function* () {
        const { backend, printed, exited } = yield* record()
        const nest = (then: string) =>
          `const { spawn } = require("node:child_process");
           const child = spawn(process.execPath, ["-e", "process.on('SIGTERM', () => {}); console.log('child ' + process.pid); setInterval(() => {}, 1000)"], { stdio: "inherit" });
           ${then}`
        const pidOf = (text: string) => Number(text.split(" ")[1])
        yield* backend.launch(maker.spec("told", nest("setInterval(() => {}, 1000)")))
        yield* backend.launch(maker.spec("itself", nest("process.on('SIGUSR2', () => process.exit(0))")))
        const told = pidOf((yield* printed("told", "child ")).text)
        const itself = pidOf((yield* printed("itself", "child ")).text)
        assert.isTrue(maker.isRunning(told) && maker.isRunning(itself))
        yield* backend.terminate("told", 5_000)
        yield* waitFor("the child of the one that was told", () => !maker.isRunning(told))
        const running = (yield* backend.list)[0]
        if (running?.pid !== undefined) process.kill(running.pid, "SIGUSR2")
        yield* exited("itself")
        yield* waitFor("the child of the one that ended by itself", () => !maker.isRunning(itself))
      })
    )
  })

  it.live(`C21 (${name}): nothing runs after the backend's scope closed, and another backend's instances do`, () =>
    Effect.gen(function* () {
      const pids = (backend: ComputeBackend["Service"]) =>
        Effect.map(backend.list, (all) => all.flatMap((one) => (one.pid === undefined ? [] : [one.pid])))
      const outer = yield* ComputeBackend
      yield* outer.launch(maker.spec("a", obedient))
      const inner = yield* Effect.gen(function* () {
        const backend = yield* ComputeBackend
        yield* backend.launch(maker.spec("a", stubborn))
        yield* backend.launch(maker.spec("b", stubborn))
        return yield* pids(backend)
      }).pipe(Effect.provide(maker.layer({ instancesMax: 2 }), { local: true }))
      assert.strictEqual(inner.filter(maker.isRunning).length, 0)
      assert.strictEqual((yield* outer.list).length, 1)
      assert.isTrue((yield* pids(outer)).every(maker.isRunning))
    }).pipe(Effect.provide(maker.layer({ instancesMax: 2 })))
  )
}
