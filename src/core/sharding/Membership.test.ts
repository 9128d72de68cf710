import { assert, describe, it } from "vitest"
import * as Rendezvous from "../placement/Rendezvous.ts"
import type { Event, State } from "./Membership.ts"
import * as Membership from "./Membership.ts"

const options: Membership.Options = { deadAfterMs: 100, heirAfterMs: 200, blindAfterMs: 1_000 }
const start = Membership.make("me", 0)

const announced = (memberId: string, revision: number, nowMs: number, isLeaving = false, watchesForMs = 0): Event => ({
  _tag: "Announced",
  nowMs,
  announcement: { memberId, revision, isLeaving, watchesForMs },
  isFound: false
})
const found = (memberId: string, revision: number, nowMs: number): Event => ({
  _tag: "Announced",
  nowMs,
  announcement: { memberId, revision, isLeaving: false, watchesForMs: 0 },
  isFound: true
})
const removed = (memberId: string, revision: number): Event => ({ _tag: "Removed", memberId, revision })
const told = (...events: ReadonlyArray<Event>): State =>
  events.reduce((state, event) => Membership.step(options, state, event), start)
const seen = (state: State) => Object.fromEntries(state.others)
const heard = (revision: number, atMs: number, sinceMs: number, isLeaving = false) => ({
  revision,
  isLeaving,
  atMs,
  sinceMs,
  foundMs: undefined
})

describe("membership: who is there", () => {
  it("one that knows nobody takes all shards, until it leaves", () => {
    const nothing = { heardMs: 0, heardRevision: 0, blindMs: 0 }
    assert.deepStrictEqual(start, { me: "me", sinceMs: 0, isLeaving: false, others: new Map(), ...nothing })
    assert.deepStrictEqual(Membership.members(options, start, 0), ["me"])
    const left = told({ _tag: "LeaveWanted" })
    assert.deepStrictEqual(left, { ...start, isLeaving: true })
    assert.deepStrictEqual(Membership.members(options, left, 0), [])
    assert.strictEqual(Membership.step(options, left, { _tag: "LeaveWanted" }), left)
  })

  it("its own announcement tells it that the store speaks, once", () => {
    const own = told(announced("me", 9, 50, true))
    assert.deepStrictEqual(own, { ...start, heardMs: 50, heardRevision: 9 })
    for (const revision of [8, 9]) {
      assert.strictEqual(Membership.step(options, own, announced("me", revision, 60)), own)
    }
    // Of another a revision that is older than its own is news all the same.
    const other = Membership.step(options, own, announced("a", 3, 60))
    assert.deepStrictEqual([other.heardMs, other.heardRevision, other.others.size], [60, 9, 1])
  })

  it("nobody is gone for a silence of the store, and the silence counts for nobody afterwards", () => {
    const own = { deadAfterMs: 100, heirAfterMs: 200, blindAfterMs: 60 }
    const step = (state: State, event: Event) => Membership.step(own, state, event)
    const both = [announced("a", 1, 10), announced("me", 2, 40)].reduce(step, start)
    assert.strictEqual(Membership.nextDeathMs(own, both, 40), Number.POSITIVE_INFINITY)
    assert.deepStrictEqual(Membership.members(own, both, 99_999), ["a", "me"])
    // A silence of just so long is not one of the store.
    assert.strictEqual(step(both, announced("me", 3, 100)).blindMs, 0)
    const again = step(both, announced("me", 3, 101))
    assert.strictEqual(again.blindMs, 61)
    assert.deepStrictEqual(Membership.members(own, again, 101), ["a", "me"])
    // Silent for 30 before, so for 70 more.
    const later = step(again, announced("me", 4, 150))
    assert.strictEqual(Membership.nextDeathMs(own, later, 150), 171)
    assert.deepStrictEqual(Membership.members(own, later, 170), ["a", "me"])
    assert.deepStrictEqual(Membership.members(own, later, 171), ["me"])
    assert.deepStrictEqual(Membership.forgotten(own, later, 170, 100), [])
    assert.deepStrictEqual(Membership.forgotten(own, later, 171, 100), ["a"])
    assert.deepStrictEqual(seen(step(later, announced("a", 9, 160, false, 89))), { a: heard(9, 99, 10) })
    // What it knew before the silence is old.
    assert.deepStrictEqual([both.sinceMs, again.sinceMs, later.sinceMs], [0, 40, 40])
  })

  it("a newer announcement counts from when it was seen here; the same or an older one tells nothing", () => {
    const first = told(announced("a", 5, 10))
    assert.deepStrictEqual(seen(first), { a: heard(5, 10, 10) })
    for (const revision of [4, 5])
      assert.strictEqual(Membership.step(options, first, announced("a", revision, 60, true)), first)
    const newer = Membership.step(options, first, announced("a", 6, 60, true, 20))
    assert.deepStrictEqual(newer, {
      ...start,
      heardMs: 60,
      heardRevision: 6,
      others: new Map([["a", heard(6, 60, 40, true)]])
    })
    assert.deepStrictEqual(seen(first), { a: heard(5, 10, 10) }, "the former state is kept")
  })

  it("a removal takes one away unless it announced itself since", () => {
    const both = told(announced("a", 5, 10), announced("b", 6, 10), { _tag: "LeaveWanted" })
    assert.strictEqual(Membership.step(options, both, removed("c", 9)), both)
    assert.strictEqual(Membership.step(options, both, removed("a", 4)), both)
    for (const revision of [5, 7]) {
      assert.deepStrictEqual(Membership.step(options, both, removed("a", revision)), {
        ...both,
        others: new Map([["b", heard(6, 10, 10)]])
      })
    }
    assert.deepStrictEqual(Object.keys(seen(both)), ["a", "b"], "the former state is kept")
  })

  it("takers are told in order of their ids, without those who leave", () => {
    const state = told(announced("z", 1, 10), announced("b", 2, 10, true), announced("a", 3, 10))
    assert.deepStrictEqual(Membership.members(options, state, 20), ["a", "me", "z"])
    const left = Membership.step(options, state, { _tag: "LeaveWanted" })
    assert.deepStrictEqual(Membership.members(options, left, 20), ["a", "z"])
  })

  it("one is gone as soon as it was silent for the whole time, not a millisecond before", () => {
    const state = told(announced("a", 1, 10))
    assert.deepStrictEqual(Membership.members(options, state, 109), ["a", "me"])
    assert.deepStrictEqual(Membership.members(options, state, 110), ["me"])
    assert.isTrue(Membership.isHeard(options, state, "a", 109))
    assert.isFalse(Membership.isHeard(options, state, "a", 110))
    const again = Membership.step(options, state, announced("a", 2, 500))
    assert.deepStrictEqual(Membership.members(options, again, 500), ["a", "me"])
  })

  it("one that was found at the start counts for a shorter time, by the clock, and then as any other when it is heard", () => {
    const own = { deadAfterMs: 100, heirAfterMs: 200, blindAfterMs: 60 }
    const step = (state: State, event: Event) => Membership.step(own, state, event)
    const both = [found("a", 1, 10), found("b", 2, 10)].reduce(step, start)
    assert.deepStrictEqual(seen(both), {
      a: { ...heard(1, 10, 10), foundMs: 10 },
      b: { ...heard(2, 10, 10), foundMs: 10 }
    })
    assert.isFalse(Membership.isSure(own, both, 69))
    assert.isTrue(Membership.isSure(own, both, 70))
    assert.deepStrictEqual(
      [69, 70].map((nowMs) => Membership.members(own, both, nowMs).length),
      [3, 1]
    )
    assert.strictEqual(Membership.nextDeathMs(own, both, 69), 70)
    assert.strictEqual(Membership.nextDeathMs(own, both, 70), Number.POSITIVE_INFINITY)
    const one = step(both, announced("a", 3, 40))
    assert.isFalse(Membership.isSure(own, one, 69))
    // A silence of the store that ended since gives it no more time.
    const later = step(one, announced("a", 4, 140))
    assert.strictEqual(later.blindMs, 100)
    assert.isTrue(Membership.isSure(own, later, 140))
    assert.deepStrictEqual(Membership.members(own, later, 140), ["a", "me"])
    assert.isTrue(Membership.isSure(own, start, 0))
  })

  it("one says for how long it has watched, and nothing while it hears nothing", () => {
    const own = { deadAfterMs: 100, heirAfterMs: 200, blindAfterMs: 60 }
    const step = (state: State, event: Event) => Membership.step(own, state, event)
    const says = (state: State, nowMs: number) => Membership.watchesForMs(own, state, nowMs)
    const state = [announced("a", 1, 40), announced("me", 2, 90)].reduce(step, start)
    assert.deepStrictEqual(
      [90, 150, 151].map((nowMs) => says(state, nowMs)),
      [90, 150, 0]
    )
    const again = step(state, announced("me", 3, 200))
    assert.deepStrictEqual(
      [200, 230].map((nowMs) => says(again, nowMs)),
      [0, 30]
    )
  })

  it("who leaves is still heard, oneself is always heard, and who was never seen is not", () => {
    const state = told(announced("a", 1, 10, true), { _tag: "LeaveWanted" })
    assert.isTrue(Membership.isHeard(options, state, "a", 20))
    assert.isTrue(Membership.isHeard(options, state, "me", 9_999))
    assert.isFalse(Membership.isHeard(options, state, "b", 20))
  })

  it("who was there for long enough is an heir, and all are while nobody was", () => {
    const state = told(announced("b", 3, 150), announced("a", 4, 150, false, 140))
    const heirs = (nowMs: number) => Membership.heirs({ ...options, deadAfterMs: 1_000 }, state, nowMs)
    assert.deepStrictEqual(heirs(199), ["a", "b", "me"])
    assert.deepStrictEqual(heirs(200), ["me"])
    assert.deepStrictEqual(heirs(210), ["a", "me"])
    assert.deepStrictEqual(heirs(350), ["a", "b", "me"])
    assert.deepStrictEqual(Membership.heirs(options, state, 250), ["me"], "the silent inherit nothing")
    const left = Membership.step(options, state, { _tag: "LeaveWanted" })
    assert.deepStrictEqual(Membership.heirs({ ...options, deadAfterMs: 1_000 }, left, 200), ["a", "b"])
  })

  it("the next to count as gone is the one that was silent for longest and is not gone yet", () => {
    assert.strictEqual(Membership.nextDeathMs(options, start, 0), Number.POSITIVE_INFINITY)
    for (const events of [
      [announced("a", 1, 10), announced("b", 2, 30)],
      [announced("b", 2, 30), announced("a", 1, 10)]
    ]) {
      const state = told(...events)
      assert.strictEqual(Membership.nextDeathMs(options, state, 109), 110)
      assert.strictEqual(Membership.nextDeathMs(options, state, 110), 130)
      assert.strictEqual(Membership.nextDeathMs(options, state, 130), Number.POSITIVE_INFINITY)
    }
  })

  it("an event that is none stops the machine", () => {
    // Data that the compiler never saw.
    const strange = { _tag: "Strange" } as unknown as Event
    assert.throws(() => Membership.step(options, start, strange), 'unreachable case {"_tag":"Strange"}')
  })

  it("the forgotten are those that were silent for at least so long", () => {
    const state = told(announced("a", 1, 10), announced("b", 2, 30), announced("c", 3, 31))
    assert.deepStrictEqual(Membership.forgotten(options, state, 209, 200), [])
    assert.deepStrictEqual(Membership.forgotten(options, state, 210, 200), ["a"])
    assert.deepStrictEqual(Membership.forgotten(options, state, 230, 200), ["a", "b"])
  })
})

describe("membership: whose a shard is", () => {
  const shards = Array.from({ length: 200 }, (_, index) => `shard-${index}`)

  it("nobody's where nobody is, and the only one's where one is alone", () => {
    assert.isUndefined(Membership.ownerOf("shard-0", []))
    assert.strictEqual(Membership.ownerOf("shard-0", ["a"]), "a")
  })

  it("the greatest draw takes it, in whatever order the members are named", () => {
    for (const shard of shards) {
      const [greatest] = ["a", "b", "c"].toSorted(
        (one, other) => Rendezvous.draw(shard, other) - Rendezvous.draw(shard, one)
      )
      assert.strictEqual(Membership.ownerOf(shard, ["a", "b", "c"]), greatest)
      assert.strictEqual(Membership.ownerOf(shard, ["c", "b", "a"]), greatest)
    }
  })

  it("of two with the same draw the first by id takes it, whatever the order", () => {
    const [one, other] = ["berlin-seoul-2461", "delhi-accra-740"] as const
    const draw = Rendezvous.draw("shard-0", one)
    assert.strictEqual(Rendezvous.draw("shard-0", other), draw)
    assert.strictEqual(Membership.ownerOf("shard-0", [one, other]), one)
    assert.strictEqual(Membership.ownerOf("shard-0", [other, one]), one)
  })

  it("when one goes its shards alone move, and when it comes back they are its again", () => {
    const before = shards.map((shard) => Membership.ownerOf(shard, ["a", "b", "c"]))
    const without = shards.map((shard) => Membership.ownerOf(shard, ["a", "c"]))
    assert.includeMembers(before, ["a", "b", "c"])
    for (const [index, owner] of before.entries()) {
      if (owner === "b") assert.include(["a", "c"], without[index])
      else assert.strictEqual(without[index], owner)
    }
  })
})
