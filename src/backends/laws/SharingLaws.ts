/**
 * Laws of living beside others: other clusters, strangers, an earlier life of the agent, a second agent.
 *
 * @module
 */
import assert from "node:assert/strict"
import * as Effect from "effect/Effect"
import type { Law } from "./Harness.ts"
import * as World from "./World.ts"

let clusters = 0
const newCluster = () => `law-cluster-${process.pid}-${++clusters}`

export const sharingLaws: ReadonlyArray<Law> = [
  {
    number: "C32",
    sentence: "what carries another's name or none is not listed and not ended",
    run: Effect.fnUntraced(function* (harness) {
      const { foreign } = harness
      assert.ok(foreign !== undefined, "give the harness something foreign, or say in skips why there can be nothing")
      const other = yield* foreign
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { backend, up, listed } = yield* World.open(harness)
          yield* up("a")
          assert.deepEqual(yield* listed, ["a"])
          yield* backend.terminate(other.instanceId, 0)
          assert.equal(yield* other.isRunning, true)
          yield* backend.terminate("a", 0)
        })
      )
      assert.equal(yield* other.isRunning, true)
    })
  },
  {
    number: "C33",
    sentence: "two clusters with the same ids see, count and end only their own",
    run: Effect.fnUntraced(function* (harness) {
      const here = yield* World.open(harness, { cluster: newCluster() })
      yield* Effect.scoped(
        Effect.gen(function* () {
          const there = yield* World.open(harness, { cluster: newCluster() })
          yield* here.up("a")
          yield* there.up("a")
          yield* there.up("b")
          assert.deepEqual([yield* here.listed, yield* there.listed], [["a"], ["a", "b"]])
          yield* here.backend.terminate("b", 0)
          yield* there.backend.terminate("a", 0)
          assert.deepEqual([yield* here.listed, yield* there.listed], [["a"], ["b"]])
          assert.deepEqual([here.tagsOf("a"), here.tagsOf("b")], [["Started"], []])
          yield* there.backend.terminate("b", 0)
        })
      )
      assert.deepEqual(yield* here.listed, ["a"])
      if (harness.countProcesses !== undefined) assert.equal(harness.countProcesses(here.mark), 1)
    })
  },
  {
    number: "C34",
    sentence: "instances end with the agent's process, unless the abilities say that they survive it",
    run: Effect.fnUntraced(function* (harness) {
      const count = harness.countProcesses
      assert.ok(count !== undefined, "give the harness countProcesses, or say in skips why it has none")
      const [mark, survives] = yield* Effect.scoped(
        Effect.gen(function* () {
          const { up, mark, backend } = yield* World.open(harness)
          yield* up("a", { kind: "ignores-sigterm" })
          yield* up("b", { kind: "ignores-sigterm" })
          assert.equal(count(mark), 2)
          return [mark, backend.abilities.survivesRestart] as const
        })
      )
      assert.equal(count(mark), survives ? 2 : 0)
    })
  },
  {
    number: "C35",
    sentence: "after a restart of the agent the list finds what runs, with its labels, and it can be ended",
    run: Effect.fnUntraced(function* (harness) {
      const cluster = newCluster()
      const labels = { "millrace.test/generation": "7" }
      const first = yield* Effect.scoped(
        Effect.gen(function* () {
          const { backend, spec, printed } = yield* World.open(harness, { cluster })
          yield* backend.launch(spec("a", { kind: "sleeps" }, { labels }))
          yield* printed("a", "up")
          return yield* backend.list
        })
      )
      const { backend, listed, free, exited, spec, observations } = yield* World.open(harness, { cluster })
      assert.deepEqual(yield* backend.list, first)
      assert.deepEqual(first[0]?.labels, labels)
      assert.equal(yield* free, 3)
      yield* backend.launch(spec("a", { kind: "sleeps" }, { labels }))
      assert.deepEqual(yield* backend.list, first)
      assert.equal(observations.filter((one) => one._tag === "Started").length, 0)
      yield* backend.terminate("a", 5_000)
      assert.deepEqual(yield* listed, [])
      assert.equal((yield* exited("a")).requested, true)
    })
  },
  {
    number: "C36",
    sentence: "two agents of one cluster that launch the same id at the same time have one instance",
    run: Effect.fnUntraced(function* (harness) {
      const cluster = newCluster()
      const one = yield* World.open(harness, { cluster })
      const other = yield* World.open(harness, { cluster })
      const spec = one.spec("a", { kind: "sleeps" })
      yield* Effect.all([one.backend.launch(spec), other.backend.launch(spec)], { concurrency: 2 })
      assert.deepEqual([yield* one.listed, yield* other.listed], [["a"], ["a"]])
      if (harness.countProcesses !== undefined) {
        yield* one.printed("a", "up")
        assert.equal(harness.countProcesses(one.mark), 1)
      }
      yield* other.backend.terminate("a", 0)
      assert.deepEqual(yield* other.listed, [])
      // The one that did not ask may list it until it has told its own watchers of the end.
      yield* one.exited("a")
      assert.deepEqual(yield* one.listed, [])
    })
  }
]
