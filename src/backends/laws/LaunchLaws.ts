/**
 * Laws of launching: once per id, listed at once, and what cannot start leaves nothing.
 *
 * @module
 */
import assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { isRetryable } from "../LaunchError.ts"
import type { Law } from "./Harness.ts"
import * as World from "./World.ts"

/** Clocks of servers may count in whole seconds. */
const clockSlackMs = 2_000

export const launchLaws: ReadonlyArray<Law> = [
  {
    number: "C1",
    sentence: "a launched instance is listed with its version, start time and labels when launch succeeds",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec } = yield* World.open(harness)
      const before = Date.now()
      const labels = { "millrace.test/one": "1", two: "zwei" }
      yield* backend.launch(spec("a", { kind: "sleeps" }, { labels }))
      const [only, ...others] = yield* backend.list
      assert.equal(others.length, 0)
      assert.equal(only?.instanceId, "a")
      assert.equal(only.versionId, spec("a", { kind: "sleeps" }).versionId)
      assert.deepEqual(only.labels, labels)
      assert.ok(only.startedAtMs >= before - clockSlackMs && only.startedAtMs <= Date.now() + clockSlackMs)
    })
  },
  {
    number: "C2",
    sentence: "launching the same id again finds the one that runs",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, up, tagsOf, free } = yield* World.open(harness)
      yield* up("a")
      const first = yield* backend.list
      yield* backend.launch(spec("a", { kind: "sleeps" }))
      assert.deepEqual(yield* backend.list, first)
      assert.deepEqual(tagsOf("a"), ["Started"])
      assert.equal(yield* free, 3)
    })
  },
  {
    number: "C3",
    sentence: "concurrent launches of one id start one instance",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, listed, tagsOf, printed, lines, mark } = yield* World.open(harness)
      yield* Effect.forEach([1, 2, 3, 4, 5], () => backend.launch(spec("a", { kind: "sleeps" })), {
        concurrency: "unbounded"
      })
      yield* printed("a", "up")
      assert.deepEqual(yield* listed, ["a"])
      assert.deepEqual(tagsOf("a"), ["Started"])
      assert.equal(lines.filter((line) => line.text === "up").length, 1)
      if (harness.countProcesses !== undefined) assert.equal(harness.countProcesses(mark), 1)
    })
  },
  {
    number: "C4",
    sentence: "an id can be used again after its end, and what is new is not mixed with what was",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, exited, tagsOf, listed } = yield* World.open(harness)
      yield* backend.launch(spec("a", { kind: "exits", code: 1, says: "first" }))
      yield* exited("a")
      yield* backend.launch(spec("a", { kind: "exits", code: 2, says: "second" }))
      const second = yield* exited("a", 1)
      assert.deepEqual(second.exit, { kind: "code", code: 2 })
      assert.equal(second.lastOutput.includes("first"), false)
      assert.deepEqual(tagsOf("a"), ["Started", "Exited", "Started", "Exited"])
      assert.deepEqual(yield* listed, [])
    })
  },
  {
    number: "C5",
    sentence: "a start that fails says why, to whom and that trying again is of no use, and leaves nothing",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, exited, listed, free, tagsOf, up } = yield* World.open(harness)
      const before = yield* free
      const launched = yield* Effect.result(backend.launch(spec("a", { kind: "cannot-start" })))
      let error = launched._tag === "Failure" ? launched.failure : undefined
      if (error === undefined) {
        // What cannot be known at once comes as its end.
        const { exit } = yield* exited("a")
        assert.equal(exit.kind, "start-failed")
        error = exit.kind === "start-failed" ? exit.error : undefined
      } else {
        assert.deepEqual(tagsOf("a"), [])
      }
      assert.ok(error !== undefined && !isRetryable(error))
      assert.ok(error._tag !== "BackendUnavailable" && error.instanceId === "a" && error.message.includes("a"))
      assert.equal(tagsOf("a").includes("Started"), false)
      assert.deepEqual(yield* listed, [])
      assert.equal(yield* free, before)
      yield* up("a")
    })
  },
  {
    number: "C6",
    sentence: "what the abilities do not name is refused as a bad spec that says what to do, and leaves nothing",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, listed, observations } = yield* World.open(harness)
      const good = spec("a", { kind: "sleeps" })
      const { image: _, ...imageless } = good
      const bad = [
        { ...imageless, command: [] },
        { ...good, gpu: { kind: "no-such-gpu", count: 1 } },
        { ...good, instanceType: "no-such-type" },
        { ...good, secrets: { "../outside": "x" } },
        // A chart is instead of a command and an image.
        { ...good, chart: { manifests: "kind: Pod", serviceName: "front", servicePort: 80 } },
        ...(backend.abilities.image ? [] : [{ ...good, command: [], image: "registry.invalid/some/image:1" }]),
        ...(backend.abilities.command ? [] : [{ ...imageless, command: ["node", "-e", ""] }])
      ]
      for (const each of bad) {
        const refused = yield* Effect.flip(backend.launch(each))
        assert.equal(refused._tag, "BadSpec", `${refused._tag}: ${refused.message}`)
        assert.ok(refused._tag === "BadSpec" && refused.instanceId === "a" && refused.detail.length > 10)
      }
      assert.deepEqual(yield* listed, [])
      assert.deepEqual(observations, [])
    })
  },
  {
    number: "C7",
    sentence: "an end that is asked for during the launch leaves nothing that cannot be seen and ended",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, listed, free, mark, eventually } = yield* World.open(harness)
      const launching = yield* Effect.forkChild(Effect.exit(backend.launch(spec("a", { kind: "sleeps" }))), {
        startImmediately: true
      })
      yield* backend.terminate("a", 0)
      const launched = yield* Fiber.join(launching)
      const left = yield* listed
      if (Exit.isFailure(launched)) assert.deepEqual(left, [])
      yield* backend.terminate("a", 0)
      assert.deepEqual(yield* listed, [])
      assert.equal(yield* free, 4)
      const count = harness.countProcesses
      if (count !== undefined) {
        yield* eventually(
          "nothing of it to run",
          Effect.sync(() => count(mark) === 0)
        )
      }
    })
  },
  {
    number: "C8",
    sentence: "capacity is counted and never overcommitted, and comes back",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, free, listed } = yield* World.open(harness)
      const sleeps = (id: string) => backend.launch(spec(id, { kind: "sleeps" }))
      assert.equal(yield* free, 4)
      for (const [index, id] of ["a", "b", "c", "d"].entries()) {
        yield* sleeps(id)
        assert.equal(yield* free, 3 - index)
      }
      const refused = yield* Effect.flip(sleeps("e"))
      assert.equal(refused._tag, "NoCapacity", refused.message)
      assert.ok(isRetryable(refused))
      assert.deepEqual(yield* listed, ["a", "b", "c", "d"])
      yield* backend.terminate("a", 0)
      assert.equal(yield* free, 1)
      yield* sleeps("e")
      assert.equal(yield* free, 0)
    })
  },
  {
    number: "C9",
    sentence: "of launches at the same time as many succeed as there are places",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, free, listed } = yield* World.open(harness, { places: 2 })
      const all = yield* Effect.forEach(
        ["a", "b", "c", "d", "e"],
        (id) => Effect.result(backend.launch(spec(id, { kind: "sleeps" }))),
        { concurrency: "unbounded" }
      )
      const failures = all.flatMap((one) => (one._tag === "Failure" ? [one.failure._tag] : []))
      assert.deepEqual(failures, ["NoCapacity", "NoCapacity", "NoCapacity"])
      assert.equal((yield* listed).length, 2)
      assert.equal(yield* free, 0)
    })
  }
]
