/**
 * Laws of watching and of output: everything once, in order, bounded, and what is missed is said.
 *
 * @module
 */
import assert from "node:assert/strict"
import { existsSync } from "node:fs"
import * as Effect from "effect/Effect"
import type { InstanceObservation } from "../ComputeBackend.ts"
import type { Law } from "./Harness.ts"
import type { ShownSecrets } from "./Program.ts"
import * as World from "./World.ts"

const tagsOf = (all: ReadonlyArray<InstanceObservation>): ReadonlyArray<string> =>
  all.flatMap((one) => (one._tag === "Gap" || one._tag === "Phase" ? [] : [`${one.instanceId} ${one._tag}`]))

const openFileBits = 0o077

export const watchLaws: ReadonlyArray<Law> = [
  {
    number: "C23",
    sentence: "every watcher sees each instance start once and then end once, and nothing after its scope closed",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, observations, exited } = yield* World.open(harness)
      const early: Array<InstanceObservation> = []
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* backend.watch((observation) => early.push(observation))
          yield* backend.launch(spec("a", { kind: "exits", code: 0, says: "" }))
          yield* exited("a")
        })
      )
      yield* backend.launch(spec("b", { kind: "exits", code: 0, says: "" }))
      yield* exited("b")
      assert.deepEqual(tagsOf(early), ["a Started", "a Exited"])
      assert.deepEqual(tagsOf(observations), ["a Started", "a Exited", "b Started", "b Exited"])
    })
  },
  {
    number: "C24",
    sentence: "a watcher that throws harms neither the instance nor the other watchers",
    run: Effect.fnUntraced(function* (harness) {
      const backend = yield* harness.open({ places: 4 })
      yield* backend.watch(() => {
        throw new Error("a broken watcher, on purpose")
      })
      yield* backend.followLogs(() => {
        throw new Error("a broken follower, on purpose")
      })
      const { spec, exited, printed } = yield* World.around(harness, backend)
      yield* backend.launch(spec("a", { kind: "exits", code: 3, says: "said" }))
      assert.deepEqual((yield* exited("a")).exit, { kind: "code", code: 3 })
      yield* printed("a", "said")
    })
  },
  {
    number: "C25",
    sentence: "what is watched has no gaps: after many starts and ends at once it says what the list says",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, observations, exited, listed, eventually } = yield* World.open(harness, { places: 6 })
      const live = (id: string, index: number) =>
        Effect.gen(function* () {
          const ends = index % 2 === 0
          yield* backend.launch(spec(id, ends ? { kind: "exits", code: index, says: "" } : { kind: "sleeps" }))
          if (!ends && index % 4 === 1) yield* backend.terminate(id, 0)
          if (ends) yield* exited(id)
        })
      const ids = Array.from({ length: 10 }, (_, index) => `i${index}`)
      yield* Effect.forEach(ids, live, { concurrency: 3 })
      const stays = ["i3", "i7"]
      assert.deepEqual(yield* listed, stays)
      const running = Effect.sync(() => {
        const now = new Set<string>()
        for (const one of observations) {
          if (one._tag === "Started") now.add(one.instanceId)
          if (one._tag === "Exited") now.delete(one.instanceId)
        }
        return [...now].toSorted().join() === stays.join()
      })
      yield* eventually("the observations to say what the list says", running)
      const codes = observations.flatMap((one) =>
        one._tag === "Exited" && !one.requested ? [[one.instanceId, one.exit]] : []
      )
      const wanted = ids.flatMap((id, index) => (index % 2 === 0 ? [[id, { kind: "code", code: index }]] : []))
      assert.deepEqual(codes.toSorted(), wanted)
      const seen = tagsOf(observations)
      assert.equal(new Set(seen).size, seen.length, `told twice: ${seen}`)
    })
  },
  {
    number: "C26",
    sentence: "a watch that was cut off has missed nothing, or says that there is a gap",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, up, observations, exited, eventually, listed } = yield* World.open(harness)
      const { breakWatch } = harness
      assert.ok(breakWatch !== undefined, "give the harness breakWatch, or say in skips why its watch cannot break")
      yield* up("a")
      yield* breakWatch(backend)
      yield* backend.launch(spec("b", { kind: "exits", code: 5, says: "" }))
      yield* backend.terminate("a", 0)
      yield* eventually(
        "both to be gone",
        Effect.map(listed, (ids) => ids.length === 0)
      )
      yield* eventually(
        "a gap, or both ends",
        Effect.sync(() => {
          const gap = observations.some((one) => one._tag === "Gap")
          return gap || observations.filter((one) => one._tag === "Exited").length === 2
        })
      )
      yield* backend.launch(spec("c", { kind: "exits", code: 6, says: "" }))
      assert.deepEqual((yield* exited("c")).exit, { kind: "code", code: 6 })
    })
  },
  {
    number: "C27",
    sentence: "output is kept by stream and line, also the line without an end and after the instance ended",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, exited } = yield* World.open(harness)
      const pieces = [
        ["stdout", "one\ntw"],
        ["stdout", "o\r\n"],
        ["stderr", "bad\n"],
        ["stdout", "grüße ohne ende"]
      ] as const
      yield* backend.launch(spec("a", { kind: "prints", pieces }))
      yield* exited("a")
      const logs = yield* backend.logs("a")
      const of = (stream: string) => logs.filter((line) => line.stream === stream).map((line) => line.text)
      assert.deepEqual(of("stdout"), ["one", "two", "grüße ohne ende"])
      assert.deepEqual(of("stderr"), ["bad"])
      assert.deepEqual(yield* backend.logs("never-was"), [])
    })
  },
  {
    number: "C28",
    sentence: "output is bounded, and what stays is the newest",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, exited } = yield* World.open(harness)
      yield* backend.launch(spec("a", { kind: "floods" }))
      const end = yield* exited("a")
      const logs = yield* backend.logs("a")
      assert.ok(logs.length <= 1_000, `${logs.length} lines`)
      assert.ok(logs.every((line) => Buffer.byteLength(line.text) <= 8 * 1024))
      assert.ok(logs.reduce((sum, line) => sum + Buffer.byteLength(line.text), 0) <= 1024 * 1024)
      assert.equal(logs.at(-1)?.text, "n2999")
      assert.ok(Buffer.byteLength(end.lastOutput) <= 4096)
      assert.ok(end.lastOutput.endsWith("n2998\nn2999"), end.lastOutput.slice(-40))
    })
  },
  {
    number: "C29",
    sentence: "who follows the output hears every line once and in order",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, exited, lines, eventually } = yield* World.open(harness)
      const count = 500
      const text = Array.from({ length: count }, (_, index) => `line ${index}\n`).join("")
      yield* backend.launch(spec("a", { kind: "prints", pieces: [["stdout", text]] }))
      yield* exited("a")
      yield* eventually(
        "all lines",
        Effect.sync(() => lines.length >= count)
      )
      assert.deepEqual(
        lines.map((line) => line.text),
        Array.from({ length: count }, (_, index) => `line ${index}`)
      )
    })
  },
  {
    number: "C30",
    sentence: "the environment is the spec's and what the backend must add, and the spec wins",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, printed } = yield* World.open(harness)
      const ofOurs = "MILLRACE_LAW_SECRET_OF_THE_AGENT"
      process.env[ofOurs] = "of the agent"
      const environment = { COLOUR: "blue = green", LANG: "de_DE.UTF-8", EMPTY: "" }
      yield* backend.launch(spec("a", { kind: "shows-environment" }, { environment }))
      const shown: Record<string, string> = JSON.parse((yield* printed("a", "env ")).text.slice(4))
      delete process.env[ofOurs]
      for (const [name, value] of Object.entries(environment)) assert.equal(shown[name], value)
      const known = [...Object.keys(environment), World.markVariable, ...harness.environmentAdded]
      assert.deepEqual(
        Object.keys(shown).filter((name) => !known.includes(name)),
        []
      )
    })
  },
  {
    number: "C31",
    sentence: "secrets are files that only the instance can read, stand nowhere else, and go with it",
    run: Effect.fnUntraced(function* (harness) {
      const { backend, spec, printed } = yield* World.open(harness)
      const secrets = { token: "s3cret-of-the-law", "ca.pem": "first\nsecond\n" }
      yield* backend.launch(spec("a", { kind: "shows-secrets" }, { secrets }))
      const shown: ShownSecrets = JSON.parse((yield* printed("a", "secrets ")).text.slice(8))
      assert.deepEqual(Object.keys(shown.files).toSorted(), Object.keys(secrets).toSorted())
      for (const [name, content] of Object.entries(secrets)) {
        assert.equal(shown.files[name]?.content, content)
        assert.equal((shown.files[name]?.mode ?? 0o777) & openFileBits, 0, `others may read ${name}`)
      }
      assert.equal(shown.directoryMode & openFileBits, 0, "others may read the directory")
      assert.equal(shown.open.includes(secrets.token), false)
      yield* backend.terminate("a", 0)
      assert.equal(existsSync(shown.directory), false)
    })
  }
]
