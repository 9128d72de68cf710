/**
 * The laws of the buffer machine (numbers and text in `src/core/buffer/Buffer.ts`).
 *
 * Every run checks every law after every step; each test draws the mix in which its law is hard. `the laws reach their
 * hard cases` draws all mixes again from a fixed seed and prints how often each case was met.
 *
 * @module
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as Buffer from "../src/core/buffer/Buffer.ts"
import { type Arrivals, actions, usual, type Weights, warm } from "./BufferActions.ts"
import { firstDifference } from "./BufferIndexes.ts"
import { rightMachine, World } from "./BufferWorld.ts"

interface Mix {
  readonly weights?: Weights
  readonly arrivals?: Arrivals
  readonly numRuns?: number
  readonly maxCommands?: number
  /** Workers from the start; else in every other world. */
  readonly isWarm?: boolean
  readonly isHistoryKept?: boolean
  readonly finally?: (world: World) => void
}

/** `MILLRACE_LAW_RUNS=50` looks for rare cases; give vitest the time for it. */
const runsFactor = Number(process.env["MILLRACE_LAW_RUNS"] ?? 1)

const worlds = (mix: Mix, visit: (world: World) => void) => {
  const commands = actions({ ...usual, ...mix.weights }, mix.arrivals ?? {}, mix.maxCommands ?? 60)
  return fc.property(commands, fc.boolean(), (commands, isWarm) => {
    const world = new World(rightMachine)
    world.isHistoryKept = mix.isHistoryKept ?? false
    if (isWarm || mix.isWarm === true) warm(world)
    fc.modelRun(() => ({ model: {}, real: world }), commands)
    visit(world)
  })
}

/** Of all laws that ran. */
const mixes: Array<Mix> = []

const holds = (mix: Mix): void => {
  mixes.push(mix)
  const numRuns = (mix.numRuns ?? 100) * runsFactor
  fc.assert(
    worlds(mix, (world) => mix.finally?.(world)),
    { numRuns }
  )
}

/** The seed is fixed, so what is met depends on the mixes alone: a rare case is not missed by bad luck. */
const measureSeed = 1

/** How often each case was met in 60 worlds of each mix. */
const measured = (): ReadonlyMap<string, number> => {
  const met = new Map<string, number>()
  const count = (world: World) => {
    for (const [what, times] of world.auditor.met) met.set(what, (met.get(what) ?? 0) + times)
  }
  for (const mix of mixes) fc.assert(worlds(mix, count), { numRuns: 60, seed: measureSeed })
  return met
}

const restarts: Weights = { restart: 3, save: 2, flush: 12, persist: 6 }

describe("buffer", () => {
  it("L1, L18: whatever happens, every accepted request ends and is told once everything works again", () =>
    holds({ weights: { restart: 1 }, finally: (world) => world.settle(() => false) }))

  it("L2: accepted requests of a tenant are pending, leased or ended, and every index equals the requests", () =>
    holds({ weights: { remove: 3, cancel: 4 } }))

  it("L3, L5: one end is told and nothing happens after it", () =>
    holds({ weights: { cancel: 4, leave: 6, detach: 4, answer: 20 } }))

  it("L4: a stale or foreign token changes nothing", () =>
    holds({ weights: { lose: 5, join: 9, answer: 24, pass: 12 } }))

  it("L6: what is told was written before, and `memory` is never written", () =>
    holds({ weights: { flush: 3, persist: 3, answer: 20, detach: 5 }, arrivals: { isPatient: true } }))

  it("L7: a key has one request, and asking again joins it or conflicts", () =>
    holds({ weights: { arrive: 24, flush: 10, persist: 8 }, arrivals: { isKeyed: true } }))

  it("L9: bytes of one attempt are shown, and no other attempt follows them", () =>
    holds({
      weights: { answer: 24, flush: 14, persist: 8, join: 9, lose: 5 },
      arrivals: { mode: ["sync"], isPatient: true }
    }))

  it("L9, L11: what was shown to a caller can still be cut off, by a deadline too, and is then told as partial", () =>
    holds({
      weights: { arrive: 14, flush: 20, persist: 10, answer: 24, pass: 16, cancel: 3, leave: 0, detach: 0, remove: 0 },
      arrivals: { mode: ["sync"], durability: ["accepted", "memory"], deadlineInMs: [15, 40] },
      isWarm: true
    }))

  it("L10: pending, leased and remembered requests stay within their limits, and only then", () =>
    holds({ weights: { arrive: 50, cancel: 4, flush: 10, persist: 8 }, arrivals: { isPatient: true } }))

  it("L11: no lease at or after the deadline, and nothing is due after a tick", () =>
    holds({ weights: { pass: 24, arrive: 20, answer: 30, flush: 20, persist: 12 }, arrivals: { mode: ["sync"] } }))

  it("L12: a poisoned request stops as dead letter and the others are answered", () =>
    holds({
      weights: { cancel: 0, leave: 0, remove: 0 },
      arrivals: { isPatient: true },
      finally: (world) => {
        const { nowMs } = world
        for (const workerId of ["worker-0", "worker-1", "worker-2"]) world.send({ _tag: "WorkerLost", nowMs, workerId })
        const isPoison = (sequence: number) => sequence % 3 === 0
        const live = Buffer.liveSequences(world.state)
        const pending = live.filter((sequence) => Buffer.lookup(world.state, sequence)?.state === "pending")
        world.settle(isPoison)
        for (const sequence of pending) {
          const wanted = isPoison(sequence) ? "dead-lettered" : "responded"
          assert.strictEqual(world.auditor.toldOf(sequence), wanted, `${sequence} ended otherwise`)
        }
      }
    }))

  it("L13, L19: after a restart nothing that was told is untrue, and leases have fresh deadlines", () =>
    holds({ weights: restarts, numRuns: 200, finally: (world) => world.settle(() => false) }))

  it("L19: the records of the log rebuild the durable state that lives", () =>
    holds({
      weights: { flush: 10, persist: 8 },
      finally: (world) => {
        world.flushAll()
        world.send({ _tag: "Ticked", nowMs: world.nowMs })
        world.flushAll()
        const lived = durable(world.state)
        assert.deepStrictEqual(durable(revive(world, world.replay(world.log, null))), lived)
        world.save()
        assert.deepStrictEqual(durable(revive(world, world.replay(world.log, world.saved))), lived)
      }
    }))

  it("L19: any beginning of the log, read once or twice, is a state with right indexes", () =>
    holds({
      weights: { flush: 12, persist: 10 },
      finally: (world) => {
        world.flushAll()
        for (let length = 0; length <= world.log.length; length++) {
          const log = world.log.slice(0, length)
          const once = revive(world, world.replay(log, null))
          assert.strictEqual(firstDifference(once), null)
          assert.strictEqual(firstDifference(revive(world, world.replay([...log, ...log], null))), null)
        }
      }
    }))

  it("a store that fails lies to nobody, and after a restart everything ends", () =>
    holds({ weights: { ...restarts, break: 4 }, numRuns: 200, finally: (world) => world.settle(() => false) }))

  it("purity: a step leaves the old state as it was, and old states answer the same again", () =>
    holds({ weights: { restart: 1, break: 1 }, isHistoryKept: true, finally: (world) => world.checkHistory() }))

  it("the laws reach their hard cases", () => {
    // About half of what is met.
    const wanted = [
      ["stale", 700],
      ["redelivered", 70],
      ["released", 40],
      ["collected", 170],
      ["detached", 70],
      ["joined", 100],
      ["conflict", 50],
      ["restart", 100],
      ["lease recovered", 15],
      ["refused queue-full", 100],
      ["refused deadline-passed", 200],
      ["refused duplicate-sequence", 100],
      ["refused store-failed", 100],
      ["refused after admission", 15],
      ["told responded", 80],
      ["told failed partial", 10],
      ["told expired", 100],
      ["told expired partial", 4],
      ["told cancelled", 80],
      ["told cancelled partial", 2],
      ["told dead-lettered", 70],
      ["sync always", 100],
      ["async memory", 100],
      ["sync memory keyed", 80]
    ] as const
    const met = measured()
    const mix = [...met].sort(([one], [other]) => (one < other ? -1 : 1)).map(([what, times]) => `${what} ${times}`)
    console.log(`${mixes.length} mixes, 60 worlds each, seed ${measureSeed}: ${mix.join(", ")}`)
    for (const [what, atLeast] of wanted) assert.isAtLeast(met.get(what) ?? 0, atLeast, what)
  })
})

/** As a process that starts on the log would have it: leases without their workers, redelivery times that are over. */
const revive = (world: World, state: Buffer.State): Buffer.State => {
  const [live] = Buffer.step(state, { _tag: "Recovered", nowMs: world.nowMs, epoch: world.epoch })
  return Buffer.step(live, { _tag: "Ticked", nowMs: world.nowMs })[0]
}

/** What must survive, of every request that was written. */
const durable = (state: Buffer.State) =>
  Buffer.liveSequences(state).flatMap((sequence) => {
    const found = Buffer.lookup(state, sequence)
    if (found?.stored !== true) return []
    const { attempt, token, workerId, notBeforeMs, terminal, reason, message, resultKept, keepUntilMs } = found
    const place = found.state === "responding" ? "leased" : found.state
    return {
      sequence,
      place,
      attempt,
      token,
      workerId,
      notBeforeMs,
      terminal,
      reason,
      message,
      resultKept,
      keepUntilMs
    }
  })
