/**
 * Laws of who takes which shard. Members are few and their ids alike, so that shares and draws collide; announcements come
 * late, twice and out of order.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as Membership from "../src/core/sharding/Membership.ts"
import { upholds } from "./upholds.ts"
import { kills } from "./zoo/kills.ts"

type Ownership = typeof Membership.ownerOf

const ids = fc.uniqueArray(fc.constantFrom("a", "b", "c", "ab", "gateway-1", "gateway-2", "gateway-3"), {
  minLength: 1,
  maxLength: 6
})
const shards = Array.from({ length: 64 }, (_, index) => `shard-${index}`)
const options: Membership.Options = { deadAfterMs: 100, heirAfterMs: 200, blindAfterMs: 101 }

const heard = (nowMs: number, announcement: Membership.Announcement): Membership.Event => ({
  _tag: "Announced",
  nowMs,
  announcement,
  isFound: false
})

const owners = (ownerOf: Ownership, among: ReadonlyArray<string>) => shards.map((shard) => ownerOf(shard, among))

const oneOwner = (ownerOf: Ownership) =>
  fc.property(ids, fc.infiniteStream(fc.nat()), (among, picks) => {
    const shuffled = [...among]
    for (let at = shuffled.length - 1; at > 0; at--) {
      const other = Number(picks.next().value) % (at + 1)
      ;[shuffled[at], shuffled[other]] = [shuffled[other]!, shuffled[at]!]
    }
    const found = owners(ownerOf, among)
    assert.isTrue(found.every((owner) => owner !== undefined && new Set<string>(among).has(owner)))
    assert.deepStrictEqual(owners(ownerOf, shuffled), found)
  })

const littleMoves = (ownerOf: Ownership) =>
  fc.property(ids, fc.nat(), (among, pick) => {
    const gone = among[pick % among.length]!
    const left = among.filter((id) => id !== gone)
    const before = owners(ownerOf, among)
    const after = owners(ownerOf, left)
    for (const [index, owner] of before.entries()) {
      if (left.length === 0) assert.isUndefined(after[index])
      else if (owner !== gone) assert.strictEqual(after[index], owner, "a shard of another moved")
    }
  })

/** Everybody sees what everybody announces, each on a clock of its own and in an order of its own. */
const announcements = fc.array(
  fc.record({ who: fc.nat(3), isLeaving: fc.boolean(), byMs: fc.constantFrom(0, 1, 40, 99, 100, 101) }),
  { maxLength: 30 }
)

describe("sharding: laws", () => {
  it("M1, M3: each shard has one owner among those who are there, whatever the order they are named in", () => {
    upholds(oneOwner(Membership.ownerOf))
  })

  it("M2: when a member goes or comes, no shard moves between the others", () => {
    upholds(littleMoves(Membership.ownerOf))
  })

  it("M1, M2 kill: the first one takes all unless it is there last, and shares by number", () => {
    const byNumber: Ownership = (shard, among) => [...among].sort()[Number(shard.slice(6)) % among.length]
    const firstNamed: Ownership = (shard, among) => among[shard.length % among.length]
    kills(littleMoves, { byNumber })
    kills(oneOwner, { firstNamed })
  })

  it("every member of three has a share of 64 shards", () => {
    const found = owners(Membership.ownerOf, ["gateway-1", "gateway-2", "gateway-3"])
    for (const id of ["gateway-1", "gateway-2", "gateway-3"]) {
      assert.isAtLeast(found.filter((owner) => owner === id).length, 10)
    }
  })

  it("M1: two who have heard the same announcements lately want each shard once between them", () => {
    upholds(
      fc.property(announcements, (told) => {
        const names = ["p0", "p1", "p2", "p3"]
        const states = names.map((name) => Membership.make(name, 0))
        let nowMs = 0
        let revision = 0
        const last = new Map<string, Membership.Announcement>()
        for (const { who, isLeaving, byMs } of told) {
          nowMs += byMs
          const announcement = { memberId: names[who]!, revision: ++revision, isLeaving, watchesForMs: 0 }
          last.set(announcement.memberId, announcement)
          for (const [at, state] of states.entries()) {
            states[at] = Membership.step(options, state, heard(nowMs, announcement))
          }
        }
        // They settle: each that does not leave is heard of once more.
        for (const [index, name] of names.entries()) {
          if (last.get(name)?.isLeaving === true) {
            states[index] = Membership.step(options, states[index]!, { _tag: "LeaveWanted" })
          }
          const isLeaving = last.get(name)?.isLeaving === true
          const announcement = { memberId: name, revision: ++revision, isLeaving, watchesForMs: 0 }
          for (const [at, state] of states.entries()) {
            states[at] = Membership.step(options, state, heard(nowMs, announcement))
          }
        }
        for (const shard of shards.slice(0, 8)) {
          const wanting = names.filter(
            (name, index) => Membership.ownerOf(shard, Membership.members(options, states[index]!, nowMs)) === name
          )
          const isAnyThere = names.some((name) => last.get(name)?.isLeaving !== true)
          assert.strictEqual(wanting.length, isAnyThere ? 1 : 0)
        }
      })
    )
  })

  /** `members` as those who were heard of for less than `deadAfterMs` ago, of the time in which anything was heard. */
  const silence = (members: typeof Membership.members, blindAfterMs: number) =>
    fc.property(announcements, (told) => {
      const own = { ...options, blindAfterMs }
      let state = Membership.make("p0", 0)
      let nowMs = 0
      let watchedMs = 0
      let revision = 0
      const last = new Map<string, { readonly atMs: number; readonly isLeaving: boolean }>()
      for (const { who, isLeaving, byMs } of told) {
        nowMs += byMs
        if (byMs <= blindAfterMs) watchedMs += byMs
        const memberId = `p${who}`
        const announcement = { memberId, revision: ++revision, isLeaving, watchesForMs: 0 }
        state = Membership.step(own, state, heard(nowMs, announcement))
        if (who !== 0) last.set(memberId, { atMs: watchedMs, isLeaving })
        // Again, late: it tells nothing new.
        assert.strictEqual(Membership.step(own, state, heard(nowMs + 50, announcement)), state)
        for (const afterMs of [0, 1, blindAfterMs, 1_000]) {
          const ageMs = (atMs: number) => watchedMs + Math.min(afterMs, blindAfterMs) - atMs
          const there = [...last].filter(([, each]) => !each.isLeaving && ageMs(each.atMs) < own.deadAfterMs)
          assert.deepStrictEqual(members(own, state, nowMs + afterMs), ["p0", ...there.map(([id]) => id)].sort())
        }
        const leftMs = [...last.values()].map(({ atMs }) => atMs + own.deadAfterMs - watchedMs)
        const nextMs = Math.min(...leftMs.filter((ms) => ms > 0 && ms <= blindAfterMs), Number.POSITIVE_INFINITY)
        assert.strictEqual(Membership.nextDeathMs(own, state, nowMs), nowMs + nextMs)
      }
      const left = Membership.step(own, state, { _tag: "LeaveWanted" })
      assert.notInclude(members(own, left, nowMs), "p0")
    })

  it("M4, M5: the silent are not members until they are heard of again, and one counts itself until it leaves", () => {
    upholds(silence(Membership.members, 101))
  })

  it("M7: nobody goes for a silence of the store, and it counts for nobody when the store is back", () => {
    upholds(silence(Membership.members, 60))
  })

  it("M7 kills: counting by the clock alone, and a silence that is counted afterwards", () => {
    const byTheClock: typeof Membership.members = (own, state, nowMs) =>
      Membership.members({ ...own, blindAfterMs: Number.POSITIVE_INFINITY }, state, nowMs)
    const counted: typeof Membership.members = (own, state, nowMs) =>
      Membership.members(own, { ...state, heardMs: state.heardMs + state.blindMs, blindMs: 0 }, nowMs)
    kills((members: typeof Membership.members) => silence(members, 60), { byTheClock, counted })
  })

  it("a removal that is older than the last announcement changes nothing, and the forgotten are the silent ones", () => {
    let state = Membership.make("me", 0)
    const announce = (memberId: string, revision: number, nowMs: number) => {
      state = Membership.step(options, state, heard(nowMs, { memberId, revision, isLeaving: false, watchesForMs: 0 }))
    }
    announce("a", 5, 0)
    announce("b", 6, 40)
    state = Membership.step(options, state, { _tag: "Removed", memberId: "a", revision: 4 })
    assert.deepStrictEqual(Membership.members(options, state, 50), ["a", "b", "me"])
    assert.deepStrictEqual(Membership.forgotten(options, state, 100, 100), ["a"])
    state = Membership.step(options, state, { _tag: "Removed", memberId: "a", revision: 7 })
    assert.deepStrictEqual(Membership.members(options, state, 50), ["b", "me"])
  })

  type Heirs = typeof Membership.heirs

  const watched = fc.array(fc.nat(400), { minLength: 30, maxLength: 30 })

  const inherits = (heirs: Heirs) =>
    fc.property(announcements, watched, fc.nat(400), fc.constantFrom(60, 101), (told, says, sinceMs, blindAfterMs) => {
      const own = { ...options, blindAfterMs }
      let state = Membership.make("p0", sinceMs)
      let nowMs = sinceMs
      let watchedMs = sinceMs
      const since = new Map([["p0", sinceMs]])
      for (const [revision, { who, isLeaving, byMs }] of told.entries()) {
        nowMs += byMs
        if (byMs <= blindAfterMs) watchedMs += byMs
        else since.set("p0", watchedMs)
        const memberId = `p${who}`
        const watchesForMs = says[revision] ?? 0
        if (who !== 0) since.set(memberId, watchedMs - watchesForMs)
        state = Membership.step(own, state, heard(nowMs, { memberId, revision: revision + 1, isLeaving, watchesForMs }))
        const members = Membership.members(own, state, nowMs)
        const settled = members.filter((id) => watchedMs - since.get(id)! >= own.heirAfterMs)
        assert.deepStrictEqual(heirs(own, state, nowMs), settled.length > 0 ? settled : members)
        for (const afterMs of [0, 1, blindAfterMs, blindAfterMs + 1]) {
          const forMs = watchedMs + afterMs - since.get("p0")!
          const says = Membership.watchesForMs(own, state, nowMs + afterMs)
          assert.strictEqual(says, afterMs > blindAfterMs ? 0 : forMs)
        }
      }
    })

  it("M6: what a silent one had goes to those who were there for long enough, while there are any", () => {
    upholds(inherits(Membership.heirs))
  })

  it("M6 kills: newcomers that inherit, and nobody who inherits where all are new", () => {
    const settled: Heirs = (own, state, nowMs) => {
      const since = (id: string) => state.others.get(id)?.sinceMs ?? state.sinceMs
      return Membership.members(own, state, nowMs).filter((id) => nowMs - since(id) >= own.heirAfterMs)
    }
    kills(inherits, { newcomers: Membership.members, nobody: settled })
  })

  type Says = typeof Membership.watchesForMs

  /** Four of them, of which the last falls silent; the store is silent at times, and some are deaf at times. */
  const agreed = (says: Says) =>
    fc.property(
      fc.array(fc.record({ who: fc.nat(3), byMs: fc.constantFrom(0, 1, 40, 59, 60, 61, 130), deaf: fc.nat(15) }), {
        maxLength: 30
      }),
      fc.array(fc.nat(500), { minLength: 4, maxLength: 4 }),
      fc.nat(260),
      (told, clocks, moreMs) => {
        const own = { ...options, blindAfterMs: 60 }
        const names = ["p0", "p1", "p2", "p3"]
        const states = names.map((name, at) => Membership.make(name, clocks[at] ?? 0))
        let nowMs = 0
        let revision = 0
        const clock = (at: number) => nowMs + (clocks[at] ?? 0)
        const announce = (who: number, deaf = 0) => {
          const watchesForMs = says(own, states[who]!, clock(who))
          const announcement = { memberId: names[who]!, revision: ++revision, isLeaving: false, watchesForMs }
          for (const [at, state] of states.entries()) {
            if (((deaf >> at) & 1) === 0) states[at] = Membership.step(own, state, heard(clock(at), announcement))
          }
        }
        for (const { who, byMs, deaf } of told) {
          nowMs += byMs
          announce(who, deaf)
        }
        // All hear each other again, and say what they know by now; then the last one is not heard of any more.
        for (const _ of [1, 2]) for (const who of names.keys()) announce(who)
        for (const byMs of [...Array.from({ length: 3 + Math.floor(moreMs / 40) }, () => 40), moreMs % 40]) {
          nowMs += byMs
          for (const who of [0, 1, 2]) announce(who)
        }
        const left = names.slice(0, 3)
        for (const shard of shards.slice(0, 16)) {
          const wanting = left.filter(
            (name, at) => Membership.ownerOf(shard, Membership.heirs(own, states[at]!, clock(at))) === name
          )
          assert.strictEqual(wanting.length, 1, `${shard} is wanted by ${wanting.join(" and ") || "nobody"}`)
        }
      }
    )

  it("M6: what a silent one had is wanted by exactly one of the others, whoever was deaf and whenever the store was silent", () => {
    upholds(agreed(Membership.watchesForMs))
  })

  it("M6 kills: one that says it has always watched, and so is left what it leaves to others", () => {
    kills(agreed, { always: () => 10_000 })
  })

  const looks = fc.constantFrom(0, 1, 30, 59, 60, 61)
  const found = fc.array(fc.record({ isThere: fc.boolean(), afterMs: looks, isRemoved: fc.boolean() }), {
    maxLength: 4
  })

  const sure = (isSure: typeof Membership.isSure) =>
    fc.property(found, (all) => {
      const own = { ...options, blindAfterMs: 60 }
      let state = Membership.make("me", 0)
      const nameOf = (index: number) => `p${index}`
      for (const index of all.keys()) {
        const announcement = { memberId: nameOf(index), revision: index + 1, isLeaving: false, watchesForMs: 300 }
        state = Membership.step(own, state, { _tag: "Announced", nowMs: 0, announcement, isFound: true })
      }
      const known = new Set<string>()
      const gone = new Set<string>()
      for (let nowMs = 0; nowMs <= 70; nowMs++) {
        for (const [index, { isThere, afterMs, isRemoved }] of all.entries()) {
          if (afterMs !== nowMs || !(isThere || isRemoved)) continue
          const memberId = nameOf(index)
          const announcement = { memberId, revision: 10 + index, isLeaving: false, watchesForMs: 300 }
          const event = isThere ? heard(nowMs, announcement) : ({ _tag: "Removed", memberId, revision: 10 } as const)
          state = Membership.step(own, state, event)
          ;(isThere ? known : gone).add(memberId)
        }
        const isWaiting = nowMs < 60 && all.some((_, index) => !known.has(nameOf(index)) && !gone.has(nameOf(index)))
        assert.strictEqual(isSure(own, state, nowMs), !isWaiting, `at ${nowMs}`)
        if (!isWaiting) assert.deepStrictEqual(Membership.members(own, state, nowMs), ["me", ...known].sort())
      }
    })

  it("M8: one that starts is sure when each that it found was heard again, or would have been", () => {
    upholds(sure(Membership.isSure))
  })

  it("M8 kills: one that takes what it finds for what is there, and one that waits for all of them", () => {
    kills(sure, {
      atOnce: () => true,
      forAll: (_, state) => [...state.others.values()].every(({ foundMs }) => foundMs === undefined)
    })
  })
})
