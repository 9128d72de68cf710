/**
 * Law A7: a scenario of the agent is recorded once, and then run again with a fault at each place that was recorded: the
 * agent dies at each call of its backend, before or after it was carried out; the answer of each call is lost; each
 * observation is dropped; each list is old.
 *
 * @module
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as AgentWorld from "./AgentWorld.ts"

const roundsMax = 10

const slots = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => `s${from + index}`)

/** Starts, ends, deaths and a stray, a heartbeat after each few. */
const scenario: ReadonlyArray<(world: ReturnType<typeof AgentWorld.make>) => void> = [
  (world) => slots(1, 4).forEach(world.create),
  (world) => slots(5, 8).forEach(world.create),
  (world) => world.drop("s1", 0),
  (world) => world.die("s2"),
  (world) => world.stray("stray.1"),
  (world) => slots(9, 12).forEach(world.create),
  (world) => world.drop("s3", 2_000),
  (world) => {
    for (const slot of slots(4, 6)) world.drop(slot, 0)
  },
  (world) => world.die("s9"),
  (world) => slots(13, 15).forEach(world.create),
  (world) => world.drop("s10", 500),
  (world) => world.create("s1")
]

const run = (fault: AgentWorld.Fault) =>
  Effect.gen(function* () {
    const world = AgentWorld.make(fault)
    yield* world.round
    for (const act of scenario) {
      act(world)
      yield* world.round
    }
    let rounds = 0
    while (!world.isConverged() && rounds < 3 * roundsMax) {
      yield* world.round
      rounds++
    }
    const seen = { fault, rounds, ...world.seen() }
    yield* world.close
    return { ...seen, isConverged: world.isConverged() || rounds < 3 * roundsMax }
  })

type Outcome = Effect.Success<ReturnType<typeof run>>

const assertGood = (outcome: Outcome) => {
  const said = JSON.stringify(outcome)
  assert.isTrue(outcome.isConverged, `it does not converge: ${said}`)
  assert.isAtMost(outcome.rounds, roundsMax, said)
  assert.strictEqual(outcome.counts.doubles, 0, said)
  assert.strictEqual(outcome.counts.foreignDeletes, 0, said)
}

const faultsAt = (count: number, kinds: ReadonlyArray<Exclude<AgentWorld.Fault["kind"], "none">>) =>
  Array.from({ length: count }, (_, index) => kinds.map((kind): AgentWorld.Fault => ({ kind, at: index + 1 }))).flat()

describe("A7: an agent", () => {
  it.effect("carries out the scenario, which takes forty calls of the backend or more", () =>
    Effect.gen(function* () {
      const outcome = yield* run({ kind: "none" })
      assertGood(outcome)
      assert.isAtLeast(outcome.counts.calls, 40)
      assert.isAtLeast(outcome.counts.events, 20)
      assert.isAtLeast(outcome.counts.lists, 10)
      assert.strictEqual(outcome.counts.lives, 1)
    })
  )

  const each = (
    sentence: string,
    kinds: Parameters<typeof faultsAt>[1],
    countOf: (counts: AgentWorld.Counts) => number
  ) =>
    it.effect(
      sentence,
      () =>
        Effect.gen(function* () {
          const recorded = yield* run({ kind: "none" })
          for (const fault of faultsAt(countOf(recorded.counts), kinds)) {
            const outcome = yield* run(fault)
            assertGood(outcome)
            if (fault.kind.startsWith("crash")) assert.strictEqual(outcome.counts.lives, 2, JSON.stringify(outcome))
          }
        }),
      60_000
    )

  each(
    "that dies at any call, carried out or not, is followed by one that converges",
    ["crash-before", "crash-after"],
    ({ calls }) => calls
  )
  each("converges when the answer of any call is lost", ["answer-lost"], ({ calls }) => calls)
  each("converges when any observation is dropped", ["event-dropped"], ({ events }) => events)
  each("converges when any list is old", ["list-stale"], ({ lists }) => lists)

  it.effect("with a backend that lies for ever is seen to have doubles, so the world can tell", () =>
    Effect.gen(function* () {
      const outcome = yield* run({ kind: "lists-empty", at: 5 })
      assert.isAbove(outcome.counts.doubles, 0)
    })
  )
})
