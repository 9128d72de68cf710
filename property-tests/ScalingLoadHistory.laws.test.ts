/**
 * Averages over windows of time, against the integral of the raw steps.
 *
 * Generators: steps of 250 ms and of up to 100 times that, looks anywhere, a quarter unknown; windows of up to 12
 * buckets of 20.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as LoadHistory from "../src/core/scaling/LoadHistory.ts"
import * as World from "./PoliciesWorld.ts"
import { upholds } from "./upholds.ts"

const shape: LoadHistory.Shape = { bucketMs: 1_000, bucketsKept: 20 }
const histories = World.steps({ gridMs: 250, gapMax: 100, unknownShare: 25, lengthMax: 20 })

const signalOf = (step: World.Step): LoadHistory.Signal => ({
  load: World.demandOf(step),
  ready: step.ready,
  slots: step.ready * 2
})

/** Everything that happened until `nowMs`, with looks in between. */
const observed = (history: ReadonlyArray<World.Step>, looksMs: ReadonlyArray<number>, nowMs: number) => {
  let known = LoadHistory.first(shape, signalOf(history[0]!), history[0]!.atMs)
  const moments = [...history.map(({ atMs }) => atMs), ...looksMs].filter((atMs) => atMs <= nowMs)
  for (const atMs of moments.sort((one, other) => one - other)) {
    const step = World.stepAt(history, atMs)
    if (step !== undefined) known = LoadHistory.observe(shape, known, signalOf(step), atMs)
  }
  return LoadHistory.advance(shape, known, nowMs)
}

describe("scaling: the history of a load", () => {
  it("T1, T2: an average is the integral over the known part of its window, however often somebody looked", () => {
    upholds(
      fc.property(
        histories,
        fc.array(fc.nat(60_000)),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 12 }),
        fc.nat(8),
        (history, offsets, afterS, windowS, agoS) => {
          const firstMs = history[0]!.atMs
          const nowMs = Math.ceil(history.at(-1)!.atMs / 1_000 + afterS) * 1_000
          const looks = offsets.map((offset) => firstMs + offset)
          const known = observed(history, looks, nowMs)
          const untilMs = nowMs - agoS * 1_000
          const { loadMs, knownMs } = World.integral(history, World.demandOf, {
            fromMs: untilMs - windowS * 1_000,
            untilMs
          })
          const average = LoadHistory.average(shape, known, windowS * 1_000, agoS * 1_000)
          if (knownMs === 0) assert.strictEqual(average, "unknown")
          else assert.strictEqual(average, loadMs / knownMs)
          const before = World.stepAt(history, untilMs, false) ?? history[0]!
          assert.strictEqual(LoadHistory.bucketAt(shape, known, agoS * 1_000)?.ready, before.ready)
        }
      ),
      { numRuns: 500 }
    )
  })

  it("T3: as many buckets are kept as were asked for, after any sleep", () => {
    upholds(
      fc.property(histories, fc.constantFrom(1, 999, 20_000, 31_536_000_000), (history, sleepMs) => {
        const known = observed(history, [], history.at(-1)!.atMs + sleepMs)
        assert.strictEqual(known.closed.length, shape.bucketsKept)
      }),
      { numRuns: 100 }
    )
  })
})
