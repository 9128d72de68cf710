/** What becomes of a worker's slots and leases, by what is heard of it. */
import { assert, describe, it } from "vitest"
import * as Buffer from "./Buffer.ts"
import type { Arrived, Command, Event } from "./BufferEvent.ts"
import { defaults } from "./BufferOptions.ts"
import { emptyVersion, nextState } from "./BufferState.ts"
import * as Draft from "./Draft.ts"
import * as WorkerPool from "./WorkerPool.ts"

const arrived = (sequence: number, more: Partial<Arrived> = {}): Arrived => ({
  _tag: "Arrived",
  nowMs: 10,
  sequence,
  requestId: `r${sequence}`,
  tenant: "t",
  version: "v",
  mode: "sync",
  durability: "accepted",
  deadlineMs: 1e9,
  sizeBytes: 1,
  maxAttempts: 5,
  ...more
})
const joined = (nowMs: number, slots = 2, more: object = {}): Event => {
  return { _tag: "WorkerJoined", nowMs, workerId: "w", instanceId: "i", version: "v", slots, holds: [], ...more }
}
const of = (_tag: "WorkerHeard" | "WorkerDraining" | "WorkerDisconnected" | "WorkerLost", nowMs: number): Event => ({
  _tag,
  nowMs,
  workerId: "w"
})
const told = (state: Buffer.State, ...events: ReadonlyArray<Event>): Buffer.State =>
  events.reduce((next, event) => Buffer.step(next, event)[0], state)
const living = (...events: ReadonlyArray<Event>): Buffer.State =>
  told(Buffer.empty(defaults), { _tag: "Recovered", nowMs: 1, epoch: 1 }, ...events)
const ordered = (state: Buffer.State, event: Event, tag: Command["_tag"]): ReadonlyArray<Command> =>
  Buffer.step(state, event)[1].filter(({ _tag }) => _tag === tag)

const firstToken = 2 ** 32 + 1
const working = living(joined(20), arrived(1))
const said = (state: Buffer.State): readonly [number, number | undefined] => [
  Buffer.demand(state, "v").freeSlots,
  Buffer.lookup(state, 1)?.leaseDeadlineMs
]

describe("a worker", () => {
  it("keeps its slots and lengthens its leases with each sign of life", () => {
    assert.deepStrictEqual(said(working), [1, 30_020])
    assert.deepStrictEqual(said(told(working, of("WorkerHeard", 50))), [1, 30_050])
    const message: Event = { _tag: "ResponseStarted", nowMs: 60, sequence: 1, workerId: "w", token: firstToken }
    assert.deepStrictEqual(said(told(working, message)), [1, 30_060])
    assert.deepStrictEqual(said(told(working, of("WorkerHeard", 5))), [1, 30_020])
  })

  it("has one clock for all its leases, and nothing is over while it was heard of in time", () => {
    const two = told(working, arrived(2, { nowMs: 50 }))
    assert.deepStrictEqual(
      [1, 2].map((sequence) => Buffer.lookup(two, sequence)?.leaseDeadlineMs),
      [30_020, 30_020]
    )
    const heard = told(working, of("WorkerHeard", 20_000), { _tag: "Ticked", nowMs: 30_020 })
    assert.deepStrictEqual(said(heard), [1, 50_000])
    assert.strictEqual(Buffer.nextDueMs(heard), 50_000)
    assert.isUndefined(Buffer.nextDueMs(living(joined(20), { _tag: "Recovered", nowMs: 30, epoch: 2 })))
  })

  it("with the most free slots is the next, and of those with thousands the one that waits longest", () => {
    const named = (workerId: string, slots: number): Event => joined(20, slots, { workerId })
    const takers = (state: Buffer.State): ReadonlyArray<string> => {
      let left = state
      return [1, 2].flatMap((sequence) => {
        const [next, commands] = Buffer.step(left, arrived(sequence))
        left = next
        return commands.flatMap((command) => (command._tag === "Assign" ? command.workerId : []))
      })
    }
    assert.deepStrictEqual(takers(living(named("few", 1), named("many", 3))), ["many", "many"])
    const thousands = living(named("first", 2 ** 14 - 1), named("second", 20_000), named("third", 2 ** 14 - 2))
    assert.deepStrictEqual(takers(thousands), ["first", "second"])
    const draft = Draft.make(nextState(Buffer.empty(defaults)), 0)
    assert.throws(
      () => WorkerPool.freest(draft, emptyVersion("v")),
      "invariant broken: free slots are those of idle workers"
    )
  })

  it("that drains takes nothing new, finishes what it holds, and that is a sign of life", () => {
    const draining = told(working, of("WorkerDraining", 50))
    assert.deepStrictEqual(said(draining), [0, 30_050])
    assert.deepStrictEqual(Buffer.demand(draining, "v").leasedByInstance, { i: 1 })
    assert.deepStrictEqual(ordered(draining, arrived(2), "Assign"), [])
    // It is still there, with nothing to do.
    const idle = told(living(joined(20)), of("WorkerDraining", 50))
    assert.deepStrictEqual(Buffer.demand(idle, "v").leasedByInstance, { i: 0 })
    assert.deepStrictEqual(Buffer.demand(told(idle, of("WorkerDisconnected", 60)), "v").leasedByInstance, {})
  })

  it("whose connection broke holds what it held, and its leases are not lengthened by that", () => {
    const away = told(working, of("WorkerDisconnected", 50))
    assert.deepStrictEqual(said(away), [0, 30_020])
    assert.deepStrictEqual(said(told(away, of("WorkerDraining", 60))), [0, 30_020])
    const back = told(away, joined(70, 2, { holds: [{ sequence: 1, token: firstToken }] }))
    assert.deepStrictEqual(said(back), [1, 30_070])
  })
})

describe("a lease that is lost", () => {
  /** Bytes of it were shown, so its end says why. */
  const shown = told(
    working,
    { _tag: "Persisted", nowMs: 25, records: [{ kind: "arrived", sequence: 1 }] },
    { _tag: "ResponseStarted", nowMs: 30, sequence: 1, workerId: "w", token: firstToken }
  )
  const ends = (event: Event, state = shown): ReadonlyArray<string> =>
    Buffer.step(state, event)[1].flatMap((command) =>
      command._tag === "CancelAttempt" || command._tag === "TellEnded" ? `${command._tag} ${command.reason}` : []
    )

  it("is told to nobody, where its worker is known to be gone, or is another one by now", () => {
    assert.deepStrictEqual(ends(of("WorkerLost", 50)), ["TellEnded worker-lost"])
    assert.deepStrictEqual(ends(joined(50, 2, { version: "other" })), ["TellEnded worker-lost"])
    const state = told(working, joined(50, 2, { version: "other" }))
    assert.deepStrictEqual(said(state), [0, undefined])
    assert.deepStrictEqual([Buffer.demand(state, "other").freeSlots, Buffer.demand(state, "v").pending], [2, 1])
  })

  it("is what a worker that came back does not name, and what it names in vain it is to stop", () => {
    assert.deepStrictEqual(ends(joined(50)), ["TellEnded worker-lost"])
    const [, commands] = Buffer.step(shown, joined(50, 2, { holds: [{ sequence: 1, token: firstToken - 1 }] }))
    assert.deepInclude(commands, {
      _tag: "CancelAttempt",
      sequence: 1,
      workerId: "w",
      token: firstToken - 1,
      reason: "lease-expired"
    })
    assert.deepStrictEqual(ends(joined(50, 2, { holds: [{ sequence: 1, token: firstToken }] })), [])
  })

  it("by silence is over on both sides, while the worker is connected, and it gets nothing until it is heard of", () => {
    const expired: Event = { _tag: "Ticked", nowMs: 30_030 }
    assert.deepStrictEqual(ends(expired), ["CancelAttempt lease-expired", "TellEnded lease-expired"])
    assert.deepStrictEqual(ends(expired, told(shown, of("WorkerDisconnected", 40))), ["TellEnded lease-expired"])
    const silent = told(working, { _tag: "Ticked", nowMs: 30_020 })
    assert.deepStrictEqual(said(silent), [0, undefined])
    assert.strictEqual(Buffer.demand(told(silent, of("WorkerHeard", 30_021)), "v").freeSlots, 2)
    const draining = told(working, of("WorkerDraining", 20), { _tag: "Ticked", nowMs: 30_020 })
    assert.strictEqual(Buffer.demand(told(draining, of("WorkerHeard", 30_021)), "v").freeSlots, 0)
  })
})

describe("the log", () => {
  it("has only those arrivals in hand that it was given", () => {
    const ended: Event = {
      _tag: "ResponseEnded",
      nowMs: 50,
      sequence: 1,
      workerId: "w",
      token: firstToken,
      resultBytes: 1
    }
    const drops = (kind: "arrived" | "leased") => {
      const flushing = told(working, { _tag: "FlushStarted", records: [{ kind, sequence: 1 }] })
      return ordered(flushing, ended, "DropAppend").length
    }
    assert.deepStrictEqual([drops("leased"), drops("arrived")], [1, 0])
  })

  it("may speak of requests that nobody knows", () => {
    const records = [{ kind: "arrived", sequence: 9 }] as const
    const unknown: ReadonlyArray<Event> = [
      { _tag: "FlushStarted", records },
      { _tag: "Persisted", nowMs: 50, records },
      { _tag: "PersistFailed", nowMs: 50, records, outcome: "refused" }
    ]
    for (const event of unknown) assert.deepStrictEqual(Buffer.step(working, event)[1], [], event._tag)
  })
})
