/**
 * Who is leased next, and when (L21 to L23 of `src/core/buffer/Buffer.ts`).
 *
 * Each wrong ordering of `zoo/orderBugs.ts` is killed by the law that its bug is about.
 *
 * @module
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as Buffer from "../src/core/buffer/Buffer.ts"
import type { Event, ServiceClass } from "../src/core/buffer/BufferEvent.ts"
import { defaults } from "../src/core/buffer/BufferOptions.ts"
import { savedTurnsMax } from "../src/core/buffer/Lanes.ts"
import {
  bursts,
  everybodyIsServed,
  type Ordering,
  Queue,
  rightOrdering,
  scenarios,
  slots,
  workerId
} from "./BufferQueue.ts"
import { upholds } from "./upholds.ts"
import { kills } from "./zoo/kills.ts"
import * as Bugs from "./zoo/orderBugs.ts"

describe("order of a buffer", () => {
  it("L21, L22: deadline before opportunistic, then tenants in turn, then the oldest, over restarts as well", () =>
    upholds(scenarios(rightOrdering, everybodyIsServed), { numRuns: 60 }))

  it("L21: whoever comes in bursts is served before others for what was saved, and no longer", () => {
    let longest = 0
    const look = (queue: Queue) => {
      longest = Math.max(longest, queue.longestLead)
      everybodyIsServed(queue)
    }
    upholds(bursts(rightOrdering, look), { numRuns: 30 })
    assert.isAbove(longest, savedTurnsMax / 2, "nobody has saved anything")
  })

  it("L21 kills: turns that are saved without a round that passed, and a tenant that comes first", () => {
    const { savesAtOnce, prefersATenant } = Bugs
    kills((machine: Ordering) => bursts(machine, everybodyIsServed), { savesAtOnce, prefersATenant })
  })

  it("L21: what is written of those who wait, and who of their callers waits, changes nobody's turn", () => {
    const nowMs = 1_000
    const waiting = fc.record({
      tenant: fc.constantFrom("tenant-0", "tenant-1", "tenant-2"),
      serviceClass: fc.constantFrom<ServiceClass>("deadline", "opportunistic")
    })
    const fate = fc.record({ what: fc.constantFrom("flushed", "stored", "detached", "left"), of: fc.nat() })
    const leased = (state: Buffer.State, slots: number): ReadonlyArray<number> => {
      const joined = { workerId, instanceId: "instance", version: "version", slots, holds: [] }
      const [, commands] = Buffer.step(state, { _tag: "WorkerJoined", nowMs, ...joined })
      return commands.flatMap((command) => (command._tag === "Assign" ? [command.sequence] : []))
    }
    const eventOf = (what: string, sequence: number): Event => {
      const records = [{ kind: "arrived", sequence }] as const
      if (what === "flushed") return { _tag: "FlushStarted", records }
      if (what === "stored") return { _tag: "Persisted", nowMs, records }
      if (what === "detached") return { _tag: "Detached", nowMs, sequence }
      return { _tag: "CallerLeft", nowMs, sequence, cancel: false }
    }
    upholds(
      fc.property(fc.array(waiting, { minLength: 2, maxLength: 8 }), fc.array(fate, { maxLength: 8 }), (all, fates) => {
        const told = (state: Buffer.State, event: Event) => Buffer.step(state, event)[0]
        const arrived = all.map((each, index): Event => {
          const of = { sequence: index + 1, requestId: `r${index}`, version: "version", mode: "sync", ...each } as const
          const more = { durability: "accepted", deadlineMs: 2_000, sizeBytes: 1, maxAttempts: 3 } as const
          return { _tag: "Arrived", nowMs, ...of, ...more }
        })
        const recovered = told(Buffer.empty(defaults), { _tag: "Recovered", nowMs, epoch: 1 })
        const before = arrived.reduce(told, recovered)
        const after = fates.map(({ what, of }) => eventOf(what, 1 + (of % all.length))).reduce(told, before)
        assert.deepStrictEqual(leased(after, all.length), leased(before, all.length))
      }),
      { numRuns: 100 }
    )
  })

  it("L22: with an aging bound an opportunistic request is leased though others never stop to come", () =>
    upholds(
      fc.property(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 20 }), (waitMaxMs, stepMs) => {
        const queue = new Queue(waitMaxMs)
        queue.isWatched = false
        for (let i = 0; i < slots + 3; i++) queue.arrive("tenant-0", "deadline")
        const { nowMs } = queue
        queue.arrive("tenant-1", "opportunistic")
        const mine = queue.sequence
        const isWaiting = () => queue.waiting.some(({ sequence }) => sequence === mine)
        while (isWaiting()) {
          queue.pass(stepMs)
          queue.arrive("tenant-0", "deadline")
          queue.answer(false)
          // Two tenants take turns: at most one more is served after it aged.
          assert.isAtMost(queue.nowMs, nowMs + waitMaxMs + 3 * stepMs, "it still waits")
        }
        assert.isAtLeast(queue.nowMs, nowMs + waitMaxMs, "it did not wait for its turn")
      }),
      { numRuns: 50 }
    ))

  it("L23: the expected start is unknown without workers and without completions", () => {
    const queue = new Queue(null)
    for (let i = 0; i < slots + 2; i++) queue.arrive("tenant-0", undefined)
    const expected = () => Buffer.expectedStartMs(queue.state, queue.sequence, queue.nowMs)
    assert.strictEqual(expected(), "unknown")
    queue.pass(100)
    queue.answer(false)
    queue.pass(100)
    assert.isNumber(expected())
    queue.send({ _tag: "WorkerDisconnected", nowMs: queue.nowMs, workerId })
    assert.strictEqual(expected(), "unknown")
    assert.isUndefined(Buffer.expectedStartMs(queue.state, 1, queue.nowMs), "it ended")
  })

  it("L23: with a steady service requests start when they are expected to", () =>
    upholds(
      fc.property(fc.integer({ min: 20, max: 500 }), fc.integer({ min: 10, max: 60 }), (serviceMs, backlog) => {
        const queue = new Queue(null)
        queue.isWatched = false
        const run = (untilMs: number, started: Map<number, number>) => {
          // The two slots work in alternation.
          for (; queue.nowMs < untilMs && queue.leases.length > 0; ) {
            const leased = queue.leases.map(({ sequence }) => sequence)
            queue.nowMs += serviceMs / slots
            queue.answer(false)
            for (const { sequence } of queue.leases) if (!leased.includes(sequence)) started.set(sequence, queue.nowMs)
          }
        }
        const before = Math.ceil((7_000 * slots) / serviceMs)
        for (let i = 0; i < before + backlog; i++) queue.arrive("tenant-0", i % 2 === 0 ? "deadline" : undefined)
        run(queue.nowMs + 7_000, new Map())
        const { nowMs } = queue
        const expected = queue.waiting.map(({ sequence }) => {
          return [sequence, Buffer.expectedStartMs(queue.state, sequence, nowMs)] as const
        })
        const started = new Map<number, number>()
        run(Number.POSITIVE_INFINITY, started)
        for (const [sequence, expectedMs] of expected) {
          const startedMs = started.get(sequence)
          assert.isNumber(expectedMs)
          assert.isDefined(startedMs)
          // The window counts one completion too many or too few, in 5 s at least.
          const completions = (5_000 * slots) / serviceMs
          const toleranceMs = 2 * serviceMs + ((startedMs - nowMs) * 2) / completions
          assert.closeTo(Number(expectedMs), startedMs, toleranceMs, `${sequence} with a service of ${serviceMs} ms`)
        }
      }),
      { numRuns: 8 }
    ))

  const law = (number: string) => (machine: Ordering) => scenarios(machine, everybodyIsServed, number)

  it("L21 kills: a tenant that starves, redelivery without a pause, and a class that never ages", () => {
    const { starvesATenant, noBackoff, neverAges } = Bugs
    kills(law("L21"), { starvesATenant, noBackoff, neverAges })
  })

  it("L22 kills: opportunistic first, and no class", () => {
    kills(law("L22"), { opportunisticFirst: Bugs.opportunisticFirst, oneClass: Bugs.oneClass })
  })

  it("L23 kills: a position that counts too many, and an expected start of the past", () => {
    kills(law("L23"), { wrongPosition: Bugs.wrongPosition, expectsAtOnce: Bugs.expectsAtOnce })
  })

  it("the laws reach their hard cases", () => {
    const met = new Map<string, number>()
    const count = (queue: Queue) => {
      for (const [what, times] of queue.met) met.set(what, (met.get(what) ?? 0) + times)
    }
    upholds(scenarios(rightOrdering, count), { numRuns: 40, seed: 1 })
    console.log(`40 worlds, seed 1: ${[...met].map(([what, times]) => `${what} ${times}`).join(", ")}`)
    const wanted = [
      ["leased deadline later", 50],
      ["leased opportunistic later", 25],
      ["leased among tenants", 75],
      ["aged", 15],
      ["restart", 30],
      ["expected", 500]
    ] as const
    for (const [what, atLeast] of wanted) assert.isAtLeast(met.get(what) ?? 0, atLeast, what)
  })
})
