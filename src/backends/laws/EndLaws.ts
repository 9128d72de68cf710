/**
 * Laws of ending: gone when it is said, with its grace, and nothing else is touched.
 *
 * @module
 */
import assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Exit } from "../ComputeBackend.ts"
import type { Law } from "./Harness.ts"
import * as World from "./World.ts"

const numbers: Readonly<Record<string, number>> = { SIGKILL: 9, SIGUSR2: 12 }

/** As the system says it, or as a shell does. */
const isSignal = (exit: Exit, signal: string): boolean =>
  (exit.kind === "signal" && exit.signal === signal) ||
  (exit.kind === "code" && exit.code === 128 + (numbers[signal] ?? 0))

export const endLaws: ReadonlyArray<Law> = [
  {
    number: "C10",
    sentence: "terminate succeeds only when the instance is gone from the list and from the world",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, up, listed, mark } = yield* World.open(harness)
      yield* up("a", { kind: "finishes", afterMs: 100 })
      if (harness.countProcesses !== undefined) assert.equal(harness.countProcesses(mark), 1)
      yield* backend.terminate("a", 5_000)
      assert.deepEqual(yield* listed, [])
      if (harness.countProcesses !== undefined) assert.equal(harness.countProcesses(mark), 0)
    })
  },
  {
    number: "C11",
    sentence: "terminating twice, at the same time, or what never was, succeeds",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, up, exited, tagsOf } = yield* World.open(harness)
      yield* up("a")
      yield* Effect.all([backend.terminate("a", 5_000), backend.terminate("a", 5_000)], { concurrency: 2 })
      yield* backend.terminate("a", 5_000)
      yield* backend.terminate("never-was", 5_000)
      yield* exited("a")
      assert.deepEqual(tagsOf("a"), ["Started", "Exited"])
    })
  },
  {
    number: "C12",
    sentence: "an instance may use its grace to finish, and its last words are kept",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, up, exited } = yield* World.open(harness)
      yield* up("a", { kind: "finishes", afterMs: 150 })
      yield* backend.terminate("a", 10_000)
      const end = yield* exited("a")
      assert.deepEqual(end.exit, { kind: "code", code: 0 })
      assert.ok(end.lastOutput.includes("finished"), end.lastOutput)
      assert.equal(end.requested, true)
    })
  },
  {
    number: "C13",
    sentence: "what does not end within its grace is killed, and not before",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, up, exited, printed } = yield* World.open(harness)
      yield* up("a", { kind: "ignores-sigterm" })
      const from = performance.now()
      yield* backend.terminate("a", 300)
      const tookMs = performance.now() - from
      assert.ok(tookMs >= 295, `it took ${tookMs} ms of the 300 ms of grace`)
      yield* printed("a", "no")
      const end = yield* exited("a")
      assert.ok(isSignal(end.exit, "SIGKILL"), JSON.stringify(end.exit))
      assert.equal(end.requested, true)
    })
  },
  {
    number: "C14",
    sentence: "a grace of zero kills at once, also one that is in its grace",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, up, printed, listed } = yield* World.open(harness)
      yield* up("a", { kind: "ignores-sigterm" })
      const patient = yield* Effect.forkChild(backend.terminate("a", 600_000), { startImmediately: true })
      yield* printed("a", "no")
      yield* backend.terminate("a", 0)
      yield* Fiber.join(patient)
      assert.deepEqual(yield* listed, [])
    })
  },
  {
    number: "C15",
    sentence: "ending one instance leaves the others alone",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, up, tagsOf, listed, mark } = yield* World.open(harness)
      yield* up("a")
      yield* up("ab")
      yield* up("b")
      yield* backend.terminate("a", 5_000)
      assert.deepEqual(yield* listed, ["ab", "b"])
      assert.deepEqual([tagsOf("ab"), tagsOf("b")], [["Started"], ["Started"]])
      if (harness.countProcesses !== undefined) assert.equal(harness.countProcesses(mark), 2)
    })
  },
  {
    number: "C16",
    sentence: "children of an instance end with it, whether it was told to end or ended by itself",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, printed, exited, mark, eventually } = yield* World.open(harness)
      const count = harness.countProcesses
      assert.ok(count !== undefined, "give the harness countProcesses, or say in skips why it has none")
      const gone = Effect.sync(() => count(mark) === 0)
      yield* backend.launch(spec("told", { kind: "has-child", ends: false }))
      yield* printed("told", "child up")
      assert.equal(count(mark), 2)
      yield* backend.terminate("told", 300)
      yield* eventually("the child of the one that was told to end", gone)
      yield* backend.launch(spec("itself", { kind: "has-child", ends: true }))
      yield* exited("itself")
      yield* eventually("the child of the one that ended by itself", gone)
    })
  },
  {
    number: "C17",
    sentence: "an end by itself is reported with its code, its last words and its phase, and as not asked for",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, exited, listed, free } = yield* World.open(harness)
      yield* backend.launch(spec("a", { kind: "exits", code: 7, says: "out of cheese" }))
      const end = yield* exited("a")
      assert.deepEqual(end.exit, { kind: "code", code: 7 })
      assert.ok(end.lastOutput.includes("out of cheese"), end.lastOutput)
      assert.equal(end.requested, false)
      assert.equal(end.phase, "running")
      assert.deepEqual(yield* listed, [])
      assert.equal(yield* free, 4)
    })
  },
  {
    number: "C18",
    sentence: "work that is done ends with code 0",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, exited } = yield* World.open(harness)
      assert.equal(backend.abilities.tasks, true, "say in skips that it has no tasks")
      yield* backend.launch(spec("a", { kind: "exits", code: 0, says: "done" }))
      assert.deepEqual((yield* exited("a")).exit, { kind: "code", code: 0 })
    })
  },
  {
    number: "C19",
    sentence: "an end by a signal is reported with the signal",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, exited } = yield* World.open(harness)
      yield* backend.launch(spec("a", { kind: "signals-itself", signal: "SIGUSR2" }))
      const end = yield* exited("a")
      assert.ok(isSignal(end.exit, "SIGUSR2"), JSON.stringify(end.exit))
      assert.equal(end.requested, false)
    })
  },
  {
    number: "C20",
    sentence: "an instance that has no more memory is reported as such, and not as asked for",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, exited } = yield* World.open(harness)
      yield* backend.launch(spec("a", { kind: "eats-memory" }))
      const end = yield* exited("a")
      assert.deepEqual(end.exit, { kind: "out-of-memory" })
      assert.equal(end.requested, false)
      assert.equal(end.phase, "running")
    })
  },
  {
    number: "C21",
    sentence: "a crash loop is told end by end, each in its phase, because nothing is restarted by the backend",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, exited, tagsOf, up, listed } = yield* World.open(harness)
      for (let round = 0; round < 3; round++) {
        yield* backend.launch(spec("a", { kind: "exits", code: 10 + round, says: "again" }))
        const end = yield* exited("a", round)
        assert.deepEqual([end.exit, end.phase], [{ kind: "code", code: 10 + round }, "running"])
      }
      // As long as a whole other life takes, nobody brings it back.
      yield* up("b")
      yield* backend.terminate("b", 5_000)
      assert.deepEqual(tagsOf("a"), ["Started", "Exited", "Started", "Exited", "Started", "Exited"])
      assert.deepEqual(yield* listed, [])
    })
  },
  {
    number: "C22",
    sentence: "a start that outlasts its deadline is ended and reported as such, with the phase it stood in",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, exited, tagsOf, listed, free, observations } = yield* World.open(harness)
      const startDeadlineMs = 300
      const from = performance.now()
      const launched = yield* Effect.result(backend.launch(spec("a", { kind: "never-starts" }, { startDeadlineMs })))
      const told = launched._tag === "Failure" ? undefined : (yield* exited("a")).exit
      const error = launched._tag === "Failure" ? launched.failure : told?.kind === "start-failed" ? told.error : told
      assert.ok(performance.now() - from >= startDeadlineMs - 5, "it was ended before its deadline")
      assert.ok(error !== undefined && "_tag" in error && error._tag === "StartDeadlineExceeded", JSON.stringify(error))
      assert.ok(error.phase !== "" && error.phase !== "running", error.phase)
      assert.equal(error.startDeadlineMs, startDeadlineMs)
      const end = observations.find((one): one is World.Exited => one._tag === "Exited")
      if (end !== undefined) assert.equal(end.phase, error.phase)
      assert.equal(tagsOf("a").includes("Started"), false)
      assert.deepEqual(yield* listed, [])
      assert.equal(yield* free, 4)
    })
  }
]
