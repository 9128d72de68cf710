/**
 * E1, E2 and L20 of the lease in every order of events of a small world: two processes with equal clocks, one store, messages
 * that wait for as long as they like, one answer or write that is lost, one release, time in steps of half a ttl. A read
 * takes effect when it is asked for; its answer waits like any other message.
 *
 * Orders that lead to the same state are followed once, and two processes that never wanted it are one. The whole state is compared: what the machines know, the store,
 * the messages under way, the clock, and the epochs that were given.
 *
 * @module
 */
import { assert, describe, it } from "vitest"
import * as Lease from "../src/core/lease/Lease.ts"
import { Counterexample, enumerate, type Move, type Scope } from "./Enumeration.ts"
import { lawOptions } from "./LawOptions.ts"
import * as Bugs from "./zoo/leaseBugs.ts"

const stepMs = 45
const optionsOf = (who: number): Lease.Options => ({ me: `p${who}`, ttlMs: 90, renewMs: 30, marginMs: 10 })

type Message =
  | { readonly what: "write"; readonly who: number; readonly record: Lease.Record; readonly expectedRevision: number }
  | { readonly what: "seen" | "written"; readonly who: number; readonly seen: Lease.Seen }
  | { readonly what: "refused" | "unknown"; readonly who: number }

interface World {
  readonly nowMs: number
  readonly states: readonly [Lease.State, Lease.State]
  readonly store: Lease.Seen
  /** In an order of no meaning. */
  readonly messages: ReadonlyArray<Message>
  readonly epoch: number
  readonly isLost: boolean
  readonly isReleased: boolean
}

/** The machine hears of something; what it orders is under way from then on. */
const send = (machine: Bugs.Leases, world: World, who: number, event: Lease.Event): World => {
  const [state, commands] = machine.step(optionsOf(who), world.states[who]!, event)
  const messages = [...world.messages]
  let { epoch } = world
  for (const command of commands) {
    if (command._tag === "Read") messages.push({ what: "seen", who, seen: world.store })
    if (command._tag === "CompareAndSet") {
      messages.push({ what: "write", who, record: command.record, expectedRevision: command.expectedRevision })
    }
    if (command._tag === "Gained") {
      assert.isAbove(command.epoch, epoch, "E2: an epoch came again")
      epoch = command.epoch
    }
  }
  const states = who === 0 ? ([state, world.states[1]] as const) : ([world.states[0], state] as const)
  return { ...world, states, messages, epoch }
}

const arrives = (machine: Bugs.Leases, world: World, message: Message): World => {
  const { nowMs, store } = world
  const { who } = message
  const rest = { ...world, messages: world.messages.filter((each) => each !== message) }
  const answer = (given: Message, next = rest): World => ({ ...next, messages: [...next.messages, given] })
  switch (message.what) {
    case "write": {
      if (store.revision !== message.expectedRevision) return answer({ what: "refused", who })
      const seen = { record: message.record, revision: store.revision + 1 }
      return answer({ what: "written", who, seen }, { ...rest, store: seen })
    }
    case "seen":
      return send(machine, rest, who, Lease.Event.Seen({ nowMs, seen: message.seen }))
    case "written":
      return send(machine, rest, who, Lease.Event.Written({ nowMs, seen: message.seen }))
    case "refused":
      return send(machine, rest, who, Lease.Event.Refused({ nowMs }))
    case "unknown":
      return send(machine, rest, who, Lease.Event.WriteUnknown({ nowMs }))
  }
}

/** A read that is lost is never answered; a write may have happened or not, and nobody says which. */
const lost = (world: World, message: Message): World => {
  const rest = world.messages.filter((each) => each !== message)
  const messages: ReadonlyArray<Message> =
    message.what === "seen" ? rest : [...rest, { what: "unknown", who: message.who }]
  return { ...world, messages, isLost: true }
}

const check = (machine: Bugs.Leases, world: World): World => {
  const acting = world.states.filter((state, who) => machine.isActing(optionsOf(who), state, world.nowMs))
  assert.isAtMost(acting.length, 1, "E1: two act")
  return world
}

const scope = (machine: Bugs.Leases, lastMs: number): Scope<World> => ({
  start: () => ({
    nowMs: 0,
    states: [Lease.idle(0), Lease.idle(0)],
    store: { record: null, revision: 0 },
    messages: [],
    epoch: 0,
    isLost: false,
    isReleased: false
  }),
  moves: (world) => {
    const moves: Array<Move<World>> = []
    const add = (name: string, next: (world: World) => World, times = 1) =>
      moves.push({ name, times, next: (before) => check(machine, next(before)) })
    const isNew = world.states.every(({ _tag }) => _tag === "Idle") && world.store.revision === 0
    const { nowMs } = world
    if (nowMs < lastMs) add(`${stepMs} ms pass`, (before) => ({ ...before, nowMs: before.nowMs + stepMs }))
    for (const [who, state] of world.states.entries()) {
      if (state._tag === "Idle" && !world.isReleased && (who === 0 || !isNew)) {
        const event = Lease.Event.Wanted({ nowMs })
        add(`p${who} wants`, (before) => send(machine, before, who, event), isNew ? world.states.length : 1)
      }
      if (state._tag === "Holding" && !world.isReleased) {
        const event = Lease.Event.ReleaseWanted({ nowMs })
        add(`p${who} releases`, (before) => ({ ...send(machine, before, who, event), isReleased: true }))
      }
      if (Lease.wakeAtMs(optionsOf(who), state) <= nowMs) {
        add(`p${who} ticks`, (before) => send(machine, before, who, Lease.Event.Ticked({ nowMs })))
      }
    }
    for (const message of world.messages) {
      const what = `${message.what} of p${message.who}`
      add(`${what} arrives`, (before) => arrives(machine, before, message))
      if (!world.isLost && message.what !== "refused" && message.what !== "unknown") {
        add(`${what} is lost`, (before) => lost(before, message))
      }
    }
    return moves
  },
  key: ({ messages, ...rest }) => JSON.stringify([rest, messages.map((each) => JSON.stringify(each)).sort()])
})

/** Eleven take a minute, and show every wrong lease; nine show one in `npm test`. */
const depth = lawOptions.isThorough ? 11 : 9
const lastMs = 135
/** Of processor that others use as well. */
const timeout = lawOptions.isThorough ? 3_600_000 : 600_000

describe("lease: every order of events in a small world", () => {
  it("E1, E2: one acts at a time and each grant has a greater epoch, in every order of events", { timeout }, () => {
    const { orders, states, moves } = enumerate(scope(Bugs.sound, lastMs), depth)
    const [one, two, three] = [orders, states, moves].map((count) => count.toLocaleString("en"))
    console.log(`lease, depth ${depth}: ${one} orders of events, ${two} distinct states, ${three} steps checked`)
  })

  it("E1, E2 kill: one epoch for all, owning until told, counting from the answer, impatience, a yes that nobody said", {
    timeout
  }, () => {
    const { oneEpoch, ownsUntilTold, countsFromAnswer, impatient, takesUnknownForWritten } = Bugs
    const longer = lawOptions.isThorough ? { oneEpoch, ownsUntilTold, countsFromAnswer, impatient } : {}
    const bugs = { takesUnknownForWritten, ...longer }
    for (const [name, bug] of Object.entries(bugs)) {
      assert.throws(() => enumerate(scope(bug, lastMs), depth), Counterexample, /E1|E2/, `${name} lives`)
    }
  })
})
