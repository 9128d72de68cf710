/**
 * L24 of the buffer: `advance`, which changes in place, gives what `step` gives. Every world of the other laws is lived
 * twice: by states that stay as they were, and by one that is changed all along, from its beginning or from a snapshot.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as Buffer from "../src/core/buffer/Buffer.ts"
import { actions, usual, warm } from "./BufferActions.ts"
import { firstDifference } from "./BufferIndexes.ts"
import { type Machine, World } from "./BufferWorld.ts"
import { upholds } from "./upholds.ts"
import { kills } from "./zoo/kills.ts"

const figures = (state: Buffer.State) => ({
  snapshot: Buffer.snapshot(state),
  dueMs: Buffer.nextDueMs(state),
  totals: [...Buffer.totals(state)],
  demand: Buffer.versions(state).map((version) => Buffer.demand(state, version)),
  live: Buffer.liveSequences(state).map((sequence) => Buffer.position(state, sequence))
})

/** `step`, with a twin of each state that goes on in place. */
const twice = (advance: typeof Buffer.advance, met: { steps: number }): Machine => {
  const twins = new WeakMap<Buffer.State, Buffer.State>()
  const born = (make: () => Buffer.State) => {
    const state = make()
    twins.set(state, make())
    return state
  }
  return {
    empty: (options) => born(() => Buffer.empty(options)),
    restore: (snapshot, options) => born(() => Buffer.restore(snapshot, options)),
    step: (state, event) => {
      const [next, commands] = Buffer.step(state, event)
      const twin = twins.get(state)
      // An old state that is asked again has none any more.
      if (twin === undefined) return [next, commands]
      twins.delete(state)
      const [after, ordered] = advance(twin, event)
      assert.deepStrictEqual(ordered, commands)
      assert.deepStrictEqual(figures(after), figures(next))
      assert.strictEqual(firstDifference(after), null)
      twins.set(next, after)
      met.steps++
      return [next, commands]
    }
  }
}

const isStep =
  (met = { steps: 0 }) =>
  (advance: typeof Buffer.advance) =>
    fc.property(actions({ ...usual, restart: 2, save: 2 }, {}, 60), fc.boolean(), (commands, isWarm) => {
      const world = new World(twice(advance, met))
      if (isWarm) warm(world)
      fc.modelRun(() => ({ model: {}, real: world }), commands)
    })

/** Orders nothing where something is refused. */
const forgetsRefusals: typeof Buffer.advance = (state, event) => {
  const [next, commands] = Buffer.advance(state, event)
  return [next, commands.filter(({ _tag }) => _tag !== "Refuse")]
}

/** Gives back what it was given when nothing was ordered. */
const keepsTheQuiet: typeof Buffer.advance = (state, event) => {
  const [next, commands] = Buffer.step(state, event)
  return [commands.length === 0 ? state : next, commands]
}

/** As a log gives it back whose snapshot only names the arrivals. */
const rebuilt = (state: Buffer.State): Buffer.State => {
  const { epoch, lastSequence, nextToken, options } = state
  let rebuilt = Buffer.restore({ version: 1, epoch, lastSequence, nextToken, requests: [] }, options)
  for (const { arrived } of Buffer.snapshot(state).requests) {
    const later = Buffer.recordsAfterArrival(state, arrived.sequence) ?? []
    for (const record of [{ _tag: "RecordArrived", arrived } as const, ...later]) {
      const [next] = Buffer.advance(rebuilt, { _tag: "Replayed", record })
      rebuilt = next
    }
  }
  return rebuilt
}

describe("a buffer that is changed in place", () => {
  it("L24: gives what step gives, whatever happens", () => {
    const met = { steps: 0 }
    upholds(isStep(met)(Buffer.advance), { numRuns: 150 })
    assert.isAbove(met.steps, 2_000)
  })

  it("L24 kills: losing an order, and taking silence for nothing", () =>
    kills(isStep(), { forgetsRefusals, keepsTheQuiet }))

  it("L19: an arrival and what recordsAfterArrival gives rebuild what a snapshot does", () => {
    let steps = 0
    let compared = 0
    const checked: Machine = {
      empty: Buffer.empty,
      restore: Buffer.restore,
      step: (state, event) => {
        const [next, commands] = Buffer.step(state, event)
        if (++steps % 4 === 0) {
          compared += Buffer.snapshot(next).requests.length > 0 ? 1 : 0
          assert.deepStrictEqual(figures(rebuilt(next)), figures(Buffer.restore(Buffer.snapshot(next), next.options)))
        }
        return [next, commands]
      }
    }
    const property = fc.property(actions({ ...usual, restart: 2, save: 2 }, {}, 60), (commands) => {
      fc.modelRun(() => ({ model: {}, real: new World(checked) }), commands)
    })
    upholds(property, { numRuns: 60 })
    assert.isAbove(compared, 100)
  })

  it("a state that was given to step answers as before after its successor was changed in place", () => {
    const { options: tight } = new World({ empty: Buffer.empty, step: Buffer.step, restore: Buffer.restore })
    const options = { ...tight, tenantShareMax: 1 }
    const [old] = Buffer.step(Buffer.empty(options), { _tag: "Recovered", nowMs: 1, epoch: 1 })
    const arrived = (sequence: number) =>
      ({
        _tag: "Arrived",
        nowMs: 2,
        sequence,
        requestId: `r${sequence}`,
        tenant: "t",
        version: "v",
        mode: "sync",
        durability: "memory",
        deadlineMs: 100,
        sizeBytes: 1,
        maxAttempts: 1
      }) as const
    const [kept] = Buffer.step(old, arrived(1))
    const before = JSON.stringify(figures(kept))
    let [state] = Buffer.step(kept, arrived(2))
    for (let sequence = 3; sequence < 9; sequence++) [state] = Buffer.advance(state, arrived(sequence))
    assert.strictEqual(Buffer.liveSequences(state).length, 8)
    assert.strictEqual(JSON.stringify(figures(kept)), before)
  })
})
