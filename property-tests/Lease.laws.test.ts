/**
 * Laws of the lease, each also run against the wrong ones of `zoo/leaseBugs.ts`.
 *
 * Several processes with their own clocks, one store with compare-and-set, and a network that delays, repeats and loses
 * answers. Generators collide on purpose: a ttl of 90 ms, delays up to 200 ms, steps of 1 to 40 ms.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as Lease from "../src/core/lease/Lease.ts"
import { upholds } from "./upholds.ts"
import { kills } from "./zoo/kills.ts"
import * as Bugs from "./zoo/leaseBugs.ts"

const optionsOf = (index: number): Lease.Options => ({ me: `p${index}`, ttlMs: 90, renewMs: 30, marginMs: 10 })

interface Flight {
  readonly atMs: number
  readonly run: () => void
}

/** `rate`: 1 = exact; the spread between two stays under marginMs per ttlMs. */
const makeWorld = (
  clocks: ReadonlyArray<{ readonly offsetMs: number; readonly rate: number }>,
  machine: Bugs.Leases = Bugs.sound
) => {
  let nowMs = 0
  let store: Lease.Seen = { record: null, revision: 0 }
  const flights: Array<Flight> = []
  const states = clocks.map((_, index) => Lease.idle(localOf(index)))
  /** What the watch of each has brought, in order; late like everything else. */
  const watched: Array<Lease.Watched> = clocks.map((_, index) => ({
    seen: { record: null, revision: 0 },
    sinceMs: localOf(index)
  }))
  const gained: Array<number> = []
  let faults: () => { readonly delayMs: number; readonly lose: boolean; readonly drop: boolean } = () => ({
    delayMs: 1,
    lose: false,
    drop: false
  })

  function localOf(index: number) {
    const clock = clocks[index]!
    return clock.offsetMs + nowMs * clock.rate
  }

  const acting = () => states.map((state, index) => machine.isActing(optionsOf(index), state, localOf(index)))

  const check = () => {
    const count = acting().filter(Boolean).length
    if (count > 1) assert.fail(`${count} act at ${nowMs}: ${JSON.stringify(states)}`)
  }

  const send = (index: number, make: (localMs: number) => Lease.Event) => {
    const options = optionsOf(index)
    const [next, commands] = machine.step(options, states[index]!, make(localOf(index)))
    states[index] = next
    for (const command of commands) perform(index, command)
    check()
  }

  const later = (delayMs: number, run: () => void) => flights.push({ atMs: nowMs + delayMs, run })

  const show = (index: number, seen: Lease.Seen) => {
    if (seen.revision > watched[index]!.seen.revision) watched[index] = { seen, sinceMs: localOf(index) }
  }

  const perform = (index: number, command: Lease.Command) => {
    const { delayMs, lose, drop } = faults()
    switch (command._tag) {
      case "Gained":
        gained.push(command.epoch)
        return
      case "Lost":
        return
      case "Read":
        return later(delayMs / 2, () => {
          const seen = store
          if (!lose) later(delayMs / 2, () => send(index, (now) => Lease.Event.Seen({ nowMs: now, seen })))
        })
      case "CompareAndSet": {
        if (drop) return later(delayMs, () => send(index, (now) => Lease.Event.WriteUnknown({ nowMs: now })))
        return later(delayMs / 2, () => {
          const isDone = store.revision === command.expectedRevision
          if (isDone) store = { record: command.record, revision: store.revision + 1 }
          const seen = store
          if (isDone) for (const other of clocks.keys()) later(faults().delayMs / 2, () => show(other, seen))
          later(delayMs / 2, () =>
            send(index, (now) =>
              lose
                ? Lease.Event.WriteUnknown({ nowMs: now })
                : isDone
                  ? Lease.Event.Written({ nowMs: now, seen })
                  : Lease.Event.Refused({ nowMs: now })
            )
          )
        })
      }
    }
  }

  const advance = (byMs: number) => {
    const untilMs = nowMs + byMs
    for (;;) {
      flights.sort((left, right) => left.atMs - right.atMs)
      const first = flights[0]
      if (first === undefined || first.atMs > untilMs) break
      flights.shift()
      nowMs = Math.max(nowMs, first.atMs)
      first.run()
      check()
    }
    nowMs = untilMs
    check()
  }

  return {
    send,
    advance,
    acting,
    localOf,
    gained,
    states,
    watched,
    setFaults: (next: typeof faults) => {
      faults = next
    }
  }
}

const clocks = fc.array(
  fc.record({ offsetMs: fc.constantFrom(0, -5_000, 1_000_000), rate: fc.constantFrom(1, 1.04, 0.97) }),
  { minLength: 2, maxLength: 3 }
)
const action = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("tick" as const), who: fc.nat(2), byMs: fc.integer({ min: 1, max: 40 }) })
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("want" as const), who: fc.nat(2), byMs: fc.integer({ min: 0, max: 20 }) })
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("watch" as const), who: fc.nat(2), byMs: fc.integer({ min: 0, max: 20 }) })
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("release" as const),
      who: fc.nat(2),
      byMs: fc.integer({ min: 0, max: 20 })
    })
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("pause" as const),
      who: fc.nat(2),
      byMs: fc.integer({ min: 50, max: 300 })
    })
  }
)
const fault = fc.record({
  delayMs: fc.constantFrom(1, 1, 5, 10, 20, 40, 120, 200),
  lose: fc.nat(4).map((n) => n === 0),
  drop: fc.nat(6).map((n) => n === 0)
})
interface Around {
  readonly actions: fc.Arbitrary<ReadonlyArray<{ readonly kind: string; readonly who: number; readonly byMs: number }>>
  readonly fault: fc.Arbitrary<{ readonly delayMs: number; readonly lose: boolean; readonly drop: boolean }>
}
const anything: Around = { actions: fc.array(action, { minLength: 40, maxLength: 80 }), fault }

/** Nothing is lost and all are awake, but some answers come when most of a ttl is over. */
const lateAnswers: Around = {
  actions: fc.array(
    fc.record({
      kind: fc.constantFrom("tick", "tick", "tick", "tick", "want"),
      who: fc.nat(2),
      byMs: fc.integer({ min: 1, max: 15 })
    }),
    { minLength: 80, maxLength: 120 }
  ),
  fault: fc.record({ delayMs: fc.constantFrom(1, 1, 50, 70), lose: fc.constant(false), drop: fc.constant(false) })
}

/** They want it, let go and want it again while what they asked before is still on its way. */
const changesOfMind: Around = {
  actions: fc
    .array(fc.record({ who: fc.constantFrom(0, 0, 0, 1), byMs: fc.constantFrom(1, 5, 31) }), {
      minLength: 6,
      maxLength: 12
    })
    .map((rounds) =>
      rounds.flatMap(({ who, byMs }) => [
        { kind: "want", who, byMs },
        { kind: "tick", who, byMs: 31 },
        { kind: "tick", who, byMs },
        { kind: "release", who, byMs }
      ])
    ),
  fault: fc.record({
    delayMs: fc.constantFrom(1, 1, 1, 80, 120, 200),
    lose: fc.constant(false),
    drop: fc.nat(3).map((n) => n === 0)
  })
}

const oneAtATime =
  (mix = { grants: 0 }, of = anything) =>
  (machine: Bugs.Leases) =>
    fc.property(clocks, of.actions, fc.array(of.fault, { minLength: 1, maxLength: 20 }), (c, actions, f) => {
      const world = makeWorld(c, machine)
      let next = 0
      world.setFaults(() => f[next++ % f.length]!)
      for (const { kind, who, byMs } of actions) {
        world.advance(byMs)
        const index = who % c.length
        if (kind === "tick") world.send(index, (nowMs) => Lease.Event.Ticked({ nowMs }))
        if (kind === "want") world.send(index, (nowMs) => Lease.Event.Wanted({ nowMs }))
        if (kind === "watch") {
          world.send(index, (nowMs) => Lease.Event.Wanted({ nowMs, watched: world.watched[index] }))
        }
        if (kind === "release") world.send(index, (nowMs) => Lease.Event.ReleaseWanted({ nowMs }))
      }
      for (let index = 1; index < world.gained.length; index++) {
        assert.isAbove(world.gained[index]!, world.gained[index - 1]!)
      }
      mix.grants += world.gained.length
    })

/** Released, or left alone, after some renewals. */
const stopsInTime = (machine: Bugs.Leases) =>
  fc.property(fc.integer({ min: 0, max: 20 }), (renewals) => {
    const options = optionsOf(0)
    const world = makeWorld([{ offsetMs: 0, rate: 1 }], machine)
    world.send(0, (nowMs) => Lease.Event.Wanted({ nowMs }))
    world.advance(5)
    for (let index = 0; index < renewals; index++) {
      world.advance(10)
      world.send(0, (nowMs) => Lease.Event.Ticked({ nowMs }))
    }
    world.advance(2)
    assert.deepStrictEqual(world.acting(), [true])
    const [released, commands] = machine.step(
      options,
      world.states[0]!,
      Lease.Event.ReleaseWanted({ nowMs: world.localOf(0) })
    )
    assert.isFalse(machine.isActing(options, released, world.localOf(0)))
    assert.deepStrictEqual(
      commands.map(({ _tag }) => _tag),
      ["Lost", "CompareAndSet"]
    )
    world.advance(100)
    assert.deepStrictEqual(world.acting(), [false], "nobody ticked it, and still it does not act")
  })

/** Ticked when it asks to be and at no other time, over a store that loses what the last argument says. */
const wakesItself = (machine: Bugs.Leases) =>
  fc.property(fc.integer({ min: 0, max: 6 }), (losses) => {
    const world = makeWorld([{ offsetMs: 0, rate: 1 }], machine)
    let left = losses
    world.setFaults(() => ({ delayMs: 2, lose: false, drop: left-- > 0 }))
    world.send(0, (nowMs) => Lease.Event.Wanted({ nowMs }))
    let actedMs = 0
    for (let atMs = 0; atMs < 600; atMs++) {
      world.advance(1)
      if (world.localOf(0) >= Lease.wakeAtMs(optionsOf(0), world.states[0]!)) {
        world.send(0, (nowMs) => Lease.Event.Ticked({ nowMs }))
      }
      if (world.acting()[0]) actedMs += 1
    }
    // Each loss costs a renewal's time at most, and what is held is kept.
    assert.isAtLeast(actedMs, 590 - losses * 32)
  })

describe("lease: laws", () => {
  it("E1, E2: whatever is delayed or lost, one acts at a time and each grant has a greater epoch", () => {
    const mix = { grants: 0 }
    upholds(oneAtATime(mix)(Bugs.sound), { numRuns: 1_000 })
    assert.isAbove(mix.grants, 1_000, "the law must reach worlds in which ownership moves")
    upholds(oneAtATime(undefined, lateAnswers)(Bugs.sound), { numRuns: 300 })
    upholds(oneAtATime(undefined, changesOfMind)(Bugs.sound), { numRuns: 1_000 })
  })

  it("E3: it has stopped acting when it asks to release, and at its end without any message", () => {
    upholds(stopsInTime(Bugs.sound), { numRuns: 30 })
  })

  it("E4: ticked only when it asks to be, it gets what is free and keeps it, whatever writes are lost at first", () => {
    upholds(wakesItself(Bugs.sound), { numRuns: 30 })
  })

  it("E1 kills: owning until told, counting from the answer, impatience, taking what was only seen as free", () => {
    const { ownsUntilTold, countsFromAnswer, impatient, believesItsWatchSaysAll } = Bugs
    kills(oneAtATime(), { ownsUntilTold, impatient, believesItsWatchSaysAll })
    kills(oneAtATime(undefined, lateAnswers), { countsFromAnswer })
  })

  it("E2 kills: one epoch for all, and a read of the past", () => {
    const { oneEpoch, believesOldReads } = Bugs
    kills(oneAtATime(), { oneEpoch })
    kills(oneAtATime(undefined, changesOfMind), { believesOldReads })
  })

  it("E3 kills: giving it away before it has stopped", () => kills(stopsInTime, { releasesFirst: Bugs.releasesFirst }))

  it("E4 kills: asking once, and holding without renewing", () => {
    const { asksOnce, neverRenews } = Bugs
    kills(wakesItself, { asksOnce, neverRenews })
  })

  it("E4: what was watched before it was wanted is taken when the rest of its time is over, and not before", () => {
    upholds(
      fc.property(fc.integer({ min: 0, max: 200 }), (watchedMs) => {
        const options = optionsOf(0)
        const record = { epoch: 3, holder: "p1", ttlMs: 90, sentAtMs: 5 }
        const watched = { seen: { record, revision: 8 }, sinceMs: 1_000 }
        const nowMs = 1_000 + watchedMs
        const [state, commands] = Lease.step(options, Lease.idle(0), Lease.Event.Wanted({ nowMs, watched }))
        const isTaken = commands.some(({ _tag }) => _tag === "CompareAndSet")
        assert.strictEqual(isTaken, watchedMs >= 90)
        if (!isTaken) assert.strictEqual(Lease.wakeAtMs(options, state), 1_090)
      })
    )
    const old = { seen: { record: null, revision: 3 }, sinceMs: 0 }
    const [state, commands] = Lease.step(optionsOf(0), Lease.idle(0, 4), Lease.Event.Wanted({ nowMs: 9, watched: old }))
    assert.strictEqual(state._tag, "Unread", "a watch that is behind its own writes is not believed")
    assert.deepStrictEqual(
      commands.map(({ _tag }) => _tag),
      ["Read"]
    )
  })

  it("every state takes every event, and leaves what makes no sense as it is", () => {
    upholds(
      fc.property(fc.array(fc.nat(6), { maxLength: 40 }), (picks) => {
        const options = optionsOf(0)
        let state: Lease.State = Lease.idle(0)
        picks.forEach((pick, nowMs) => {
          const seen: Lease.Seen = {
            record: { epoch: pick + 1, holder: "p1", ttlMs: 90, sentAtMs: 0 },
            revision: nowMs % 5
          }
          const events = [
            Lease.Event.Wanted({ nowMs }),
            Lease.Event.ReleaseWanted({ nowMs }),
            Lease.Event.Seen({ nowMs, seen }),
            Lease.Event.Written({ nowMs, seen }),
            Lease.Event.Refused({ nowMs }),
            Lease.Event.WriteUnknown({ nowMs }),
            Lease.Event.Ticked({ nowMs: nowMs * 50 })
          ]
          const [next, commands] = Lease.step(options, state, events[pick]!)
          if (Lease.isActing(options, next, nowMs) && !Lease.isActing(options, state, nowMs)) {
            assert.isTrue(commands.some(({ _tag }) => _tag === "Gained"))
          }
          state = next
        })
      })
    )
  })

  it("E4: when the faults are over, one who wants it has it within three ttl and keeps it", () => {
    upholds(
      fc.property(
        clocks,
        fc.array(action, { maxLength: 30 }),
        fc.array(fault, { minLength: 1, maxLength: 10 }),
        (c, actions, f) => {
          const world = makeWorld(c)
          let next = 0
          world.setFaults(() => f[next++ % f.length]!)
          for (const { kind, who, byMs } of actions) {
            world.advance(byMs)
            if (kind === "want") world.send(who % c.length, (nowMs) => Lease.Event.Wanted({ nowMs }))
            if (kind === "tick") world.send(who % c.length, (nowMs) => Lease.Event.Ticked({ nowMs }))
          }
          // Flights of the time of faults land first.
          world.advance(200)
          world.setFaults(() => ({ delayMs: 2, lose: false, drop: false }))
          for (const index of c.keys()) world.send(index, (nowMs) => Lease.Event.Wanted({ nowMs }))
          const run = (forMs: number) => {
            for (let at = 0; at < forMs; at += 5) {
              world.advance(5)
              // Every process watches the store, as its shell does.
              for (const index of c.keys()) world.send(index, (nowMs) => Lease.Event.Ticked({ nowMs }))
            }
          }
          run(3 * 90 + 30)
          assert.strictEqual(world.acting().filter(Boolean).length, 1, JSON.stringify(world.states))
          const before = world.gained.length
          run(500)
          assert.strictEqual(world.gained.length, before, "a healthy owner is not deposed")
        }
      ),
      { numRuns: 100 }
    )
  })

  it("the record survives the store: decode(encode(r)) = r, and what is no record is not one", () => {
    upholds(
      fc.property(
        fc.record({
          epoch: fc.integer({ min: 1 }),
          holder: fc.option(fc.string()),
          ttlMs: fc.integer({ min: 1 }),
          sentAtMs: fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => (Object.is(n, -0) ? 0 : n))
        }),
        (record) => assert.deepStrictEqual(Lease.decode(Lease.encode(record)), record)
      )
    )
    upholds(fc.property(fc.string(), (text) => assert.isUndefined(Lease.decode(text))))
    assert.isUndefined(Lease.decode(`{"epoch":0,"holder":null,"ttlMs":1,"sentAtMs":1}`))
  })
})
