/**
 * The laws of the buffer machine (numbers and text in `src/core/buffer/Buffer.ts`).
 *
 * Every run checks every law after every step; each test draws the mix in which its law is hard. `reaches its hard
 * cases` shows that they are met.
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
  readonly isHistoryKept?: boolean
  readonly finally?: (world: World) => void
}

/** `MILLRACE_LAW_RUNS=50` looks for rare cases; give vitest the time for it. */
const runsFactor = Number(process.env["MILLRACE_LAW_RUNS"] ?? 1)

/** How often each hard case was met in all runs of this file. */
const met = new Map<string, number>()

const holds = (mix: Mix): void => {
  const commands = actions({ ...usual, ...mix.weights }, mix.arrivals ?? {}, mix.maxCommands ?? 60)
  const property = fc.property(commands, fc.boolean(), (commands, isWarm) => {
    const world = new World(rightMachine)
    world.isHistoryKept = mix.isHistoryKept ?? false
    if (isWarm) warm(world)
    fc.modelRun(() => ({ model: {}, real: world }), commands)
    mix.finally?.(world)
    for (const [what, count] of world.auditor.met) met.set(what, (met.get(what) ?? 0) + count)
  })
  fc.assert(property, { numRuns: (mix.numRuns ?? 100) * runsFactor })
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

  it("L10: pending, leased and remembered requests stay within their limits, and only then", () =>
    holds({ weights: { arrive: 50, cancel: 4, flush: 10, persist: 8 }, arrivals: { isPatient: true } }))

  it("L11: no lease at or after the deadline, and nothing is due after a tick", () =>
    holds({ weights: { pass: 24, arrive: 20, answer: 24, flush: 12 }, arrivals: { mode: ["sync"] } }))

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
    const wanted = [
      ["stale", 100],
      ["redelivered", 100],
      ["released", 30],
      ["collected", 100],
      ["detached", 100],
      ["joined", 100],
      ["conflict", 100],
      ["restart", 100],
      ["lease recovered", 50],
      ["refused queue-full", 100],
      ["refused deadline-passed", 100],
      ["refused duplicate-sequence", 50],
      ["refused store-failed", 100],
      ["refused after admission", 30],
      ["told responded", 100],
      ["told failed partial", 20],
      ["told expired", 100],
      ["told expired partial", 1],
      ["told cancelled", 50],
      ["told dead-lettered", 100],
      ["sync always", 100],
      ["async memory", 100],
      ["sync memory keyed", 50]
    ] as const
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
