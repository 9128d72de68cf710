/**
 * The laws of the buffer machine as properties of any machine: for each the mix of events in which it is hard. The
 * right machine must hold all laws in every mix; a wrong one must break the law that its bug is about.
 *
 * @module
 */
import * as fc from "fast-check"
import { assert } from "vitest"
import * as Buffer from "../src/core/buffer/Buffer.ts"
import { type Arrivals, actionLists, actions, perform, usual, type Weights, warm } from "./BufferActions.ts"
import { firstDifference } from "./BufferIndexes.ts"
import { LawBroken } from "./BufferOutcomes.ts"
import { type Machine, World } from "./BufferWorld.ts"

export interface Mix {
  readonly weights?: Weights
  readonly arrivals?: Arrivals
  readonly numRuns?: number
  readonly maxCommands?: number
  /** Workers from the start; else in every other world. */
  readonly isWarm?: boolean
  readonly isHistoryKept?: boolean
  readonly finally?: (world: World) => void
}

/** `law`: the only one that is held; without it all are. */
export const worlds = (machine: Machine, mix: Mix, visit: (world: World) => void, law?: string) => {
  const commands = actions({ ...usual, ...mix.weights }, mix.arrivals ?? {}, mix.maxCommands ?? 60)
  return fc.property(commands, fc.boolean(), (commands, isWarm) => {
    try {
      const world = new World(machine, law === undefined ? {} : { law })
      world.isHistoryKept = mix.isHistoryKept ?? false
      if (isWarm || mix.isWarm === true) warm(world)
      fc.modelRun(() => ({ model: {}, real: world }), commands)
      visit(world)
    } catch (error) {
      // A machine so wrong that it falls over is not killed by a law that is about something else.
      if (law === undefined || !(error instanceof LawBroken) || error.law === law) throw error
    }
  })
}

/** One law in its mix, for wrong machines. */
export const law = (number: string, mix: Mix) => (machine: Machine) =>
  worlds(machine, mix, (world) => mix.finally?.(world), number)

const restarts: Weights = { restart: 3, save: 2, flush: 12, persist: 6 }

const settles = (world: World): void => world.settle(() => false)

const poisonStops = (world: World): void => {
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

/** The records of the whole log, and those after a snapshot, lead to what lives. */
const logRebuilds = (world: World): void => {
  world.flushAll()
  world.send({ _tag: "Ticked", nowMs: world.nowMs })
  world.flushAll()
  const lived = durable(world.state)
  assert.deepStrictEqual(durable(revive(world, world.replay(world.log, null))), lived)
  world.save()
  assert.deepStrictEqual(durable(revive(world, world.replay(world.log, world.saved))), lived)
}

const prefixesRebuild = (world: World): void => {
  world.flushAll()
  for (let length = 0; length <= world.log.length; length++) {
    const log = world.log.slice(0, length)
    const once = revive(world, world.replay(log, null))
    assert.strictEqual(firstDifference(once), null)
    assert.strictEqual(firstDifference(revive(world, world.replay([...log, ...log], null))), null)
  }
}

export const mixes = {
  ends: { weights: { restart: 1 }, finally: settles },
  conserves: { weights: { remove: 3, cancel: 4 } },
  endsOnce: { weights: { cancel: 4, leave: 6, detach: 4, answer: 20 } },
  fences: { weights: { lose: 5, join: 9, answer: 24, pass: 12 } },
  fencesOverRestarts: { weights: { ...restarts, join: 9, answer: 24 } },
  writesFirst: { weights: { flush: 3, persist: 3, refuse: 3, answer: 20, detach: 5 }, arrivals: { isPatient: true } },
  joinsByKey: { weights: { arrive: 24, flush: 10, persist: 8 }, arrivals: { isKeyed: true } },
  joinsByKeyOverRestarts: {
    weights: { ...restarts, arrive: 24, answer: 6 },
    arrivals: { isKeyed: true, isPatient: true }
  },
  showsOneAttempt: {
    weights: { answer: 24, flush: 14, persist: 8, join: 9, lose: 5 },
    arrivals: { mode: ["sync"], durability: ["accepted", "memory"], isPatient: true },
    isWarm: true
  },
  cutsOff: {
    weights: {
      arrive: 14,
      flush: 20,
      persist: 10,
      answer: 24,
      pass: 16,
      cancel: 3,
      refuse: 0,
      leave: 0,
      detach: 0,
      remove: 0
    },
    arrivals: { mode: ["sync"], durability: ["accepted", "memory"], deadlineInMs: [15, 40] },
    maxCommands: 90,
    isWarm: true
  },
  staysWithin: { weights: { arrive: 50, cancel: 4, flush: 10, persist: 8 }, arrivals: { isPatient: true } },
  sharesRoom: { weights: { arrive: 50, cancel: 6, answer: 10, flush: 10, persist: 8 }, arrivals: { isPatient: true } },
  remembersWithin: {
    weights: { arrive: 30, answer: 30, cancel: 8, pass: 2, flush: 20, persist: 8, lose: 0, disconnect: 0 },
    arrivals: { mode: ["async"], isPatient: true },
    isWarm: true
  },
  meetsDeadlines: {
    weights: { pass: 24, arrive: 20, answer: 30, flush: 20, persist: 12 },
    arrivals: { mode: ["sync"] }
  },
  stopsPoison: {
    weights: { cancel: 0, leave: 0, remove: 0 },
    arrivals: { isPatient: true },
    finally: poisonStops
  },
  restarts: { weights: restarts, numRuns: 200, finally: settles },
  logRebuilds: { weights: { flush: 10, persist: 8 }, finally: logRebuilds },
  prefixesRebuild: { weights: { flush: 12, persist: 10 }, finally: prefixesRebuild },
  storeFails: { weights: { ...restarts, break: 4, refuse: 4 }, numRuns: 200, finally: settles },
  isPure: {
    weights: { restart: 1, break: 1 },
    isHistoryKept: true,
    finally: (world: World) => world.checkHistory()
  }
} as const satisfies Readonly<Record<string, Mix>>

const timed = new Set(["nowMs", "deadlineMs", "notBeforeMs", "endedAtMs", "keepUntilMs"])

/** What was ordered, with all times moved back. */
const movedBack = (orders: string, byMs: number): string =>
  JSON.stringify(
    JSON.parse(orders, (key, value) => (timed.has(key) && typeof value === "number" ? value - byMs : value))
  )

/** L13: what the wall says means nothing. The same life at another time of the world is the same life. */
export const ignoresTheWall = (machine: Machine) =>
  fc.property(
    actionLists({ ...usual, ...restarts, break: 1 }, {}, 60),
    fc.constantFrom(1, 999, 3_600_000, 43_200_000, 1e12),
    (list, byMs) => {
      const [one, other] = [0, byMs].map((jumpMs) => {
        const world = new World(machine, { law: "L13", startMs: 1e7 + jumpMs })
        world.isHistoryKept = true
        for (const action of list) perform(world, action)
        return world
      })
      if (one === undefined || other === undefined) return
      for (const [index, { event, commands }] of one.history.entries()) {
        const moved = movedBack(other.history[index]?.commands ?? "null", byMs)
        // A deep comparison of each step costs more than the machine.
        if (moved !== commands) assert.strictEqual(moved, commands, `L13: ${event._tag} at another time`)
      }
      assert.strictEqual(other.history.length, one.history.length)
    }
  )

/** As a process that starts on the log would have it: leases without their workers, redelivery times that are over. */
const revive = (world: World, state: Buffer.State): Buffer.State => {
  const { step } = world.machine
  const [live] = step(state, { _tag: "Recovered", nowMs: world.nowMs, epoch: world.epoch })
  return step(live, { _tag: "Ticked", nowMs: world.nowMs })[0]
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
