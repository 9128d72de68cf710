import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import * as Alarms from "./Alarms.ts"

interface Item extends Alarms.Alarmed {
  readonly name: number
}

interface Rung {
  readonly name: number
  readonly atMs: number
}

const makeItem = (name: number): Item => ({ ...Alarms.unset(), name })

/** Alarms on the clock of the test, and what rang so far. */
const open = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const rung: Array<Rung> = []
  const alarms = Alarms.make<Item>({
    clock,
    fork: (effect) => runFork(effect),
    onDue: ({ name }, atMs) => rung.push({ name, atMs })
  })
  return { alarms, rung }
})

type Step = { readonly item: number; readonly inMs: number | null } | { readonly forMs: number }

const steps: fc.Arbitrary<ReadonlyArray<Step>> = fc.array(
  // Times collide and lie on both sides of what passes.
  fc.oneof(
    fc.record<Extract<Step, { readonly item: number }>>({
      item: fc.nat({ max: 4 }),
      inMs: fc.oneof(fc.constant(null), fc.integer({ min: -2, max: 12 }))
    }),
    fc.record({ forMs: fc.integer({ min: 1, max: 6 }) })
  ),
  { maxLength: 30 }
)

describe("alarms", () => {
  it("N1, N2: after any time that passes just those are left that are not due, and what rang did so once, at its last time, in order", () =>
    fc.assert(
      fc.asyncProperty(steps, (all) =>
        Effect.runPromise(
          Effect.gen(function* () {
            const { alarms, rung } = yield* open
            const items = [0, 1, 2, 3, 4].map(makeItem)
            const model = new Map<number, number>()
            const expected: Array<Rung> = []
            let nowMs = 0
            for (const step of all) {
              if ("item" in step) {
                const atMs = step.inMs === null ? null : nowMs + step.inMs
                alarms.set(items[step.item]!, atMs)
                if (atMs === null) model.delete(step.item)
                else model.set(step.item, atMs)
                continue
              }
              yield* TestClock.adjust(step.forMs)
              nowMs += step.forMs
              for (const [name, atMs] of model) {
                if (atMs > nowMs) continue
                expected.push({ name, atMs })
                model.delete(name)
              }
              assert.deepStrictEqual(rung.map(({ name }) => name).sort(), expected.map(({ name }) => name).sort())
              assert.deepStrictEqual(
                items.filter(({ alarmAtMs }) => alarmAtMs !== null).map(({ name }) => name),
                [...model.keys()].sort()
              )
            }
            assert.deepStrictEqual(
              rung.map(({ atMs }) => atMs),
              rung.map(({ atMs }) => atMs).sort((one, other) => one - other)
            )
          }).pipe(Effect.provide(TestClock.layer()))
        )
      ),
      { numRuns: 150 }
    ))

  it.effect("N1: none rings before its time, and it is told a time that is not before it", () =>
    Effect.gen(function* () {
      const { alarms, rung } = yield* open
      const [early, late] = [makeItem(1), makeItem(2)]
      alarms.set(late, 100)
      alarms.set(early, 40)
      yield* TestClock.adjust(39)
      assert.deepStrictEqual(rung, [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(rung, [{ name: 1, atMs: 40 }])
      yield* TestClock.adjust(60)
      assert.deepStrictEqual(rung[1], { name: 2, atMs: 100 })
    })
  )

  it.effect("one that rings may set others and itself again", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const runFork = Effect.runForkWith(yield* Effect.context<never>())
      const atMs: Array<number> = []
      const item = makeItem(1)
      const alarms = Alarms.make<Item>({
        clock,
        fork: (effect) => runFork(effect),
        onDue: (one, nowMs) => {
          atMs.push(nowMs)
          if (atMs.length < 3) alarms.set(one, nowMs + 10)
        }
      })
      alarms.set(item, 10)
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(atMs, [10, 20, 30])
    })
  )
})
