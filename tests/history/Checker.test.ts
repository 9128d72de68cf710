/**
 * The checker itself: what it must flag, with the right verdict, and what it must let pass.
 */
import { describe, expect, it } from "vitest"
import { check } from "./Checker.ts"
import type { Entry, History } from "./History.ts"
import {
  accepted,
  answered,
  answerOf,
  at,
  call,
  claim,
  claimed,
  crash,
  effect,
  ended,
  history,
  refused,
  settled,
  start,
  timed,
  unknown
} from "./Sketch.ts"

const pending = { kind: "pending" } as const
const absent = { kind: "absent" } as const
const dead = { kind: "ended", terminal: "dead-lettered" } as const
const key = { key: "k" }
const plane2 = { plane: "p2" }

/** Accepted, run, claimed: nothing wrong with it. */
const whole = (item: string, token: number): ReadonlyArray<Entry> => [
  call(item, item),
  accepted(item, `R-${item}`),
  start(item, token),
  effect(`${item}#${token}`),
  claimed(item, token)
]

/** Accepted requests in order, of which some are lost. */
const promisedInOrder = (lost: ReadonlyArray<string>, ...groups: ReadonlyArray<ReadonlyArray<string>>): History => {
  const entries: Array<Entry> = []
  let token = 0
  for (const group of groups) {
    if (entries.length > 0) entries.push(crash)
    for (const item of group) entries.push(call(item, item), accepted(item, `R-${item}`))
  }
  for (const item of groups.flat()) {
    if (lost.includes(item)) entries.push(claim(`R-${item}`, absent))
    else entries.push(start(item, ++token, plane2), effect(`${item}#${token}`), claimed(item, token))
  }
  return history(...entries)
}

/** Told to a call as the answer of another request. */
const answeredAs = (name: string, requestId: string, item: string, token: number): Entry => ({
  _tag: "Answered",
  atMs: 0,
  call: name,
  requestId,
  answer: answerOf(item, token)
})

const lane = { lane: "one" }

const good: Readonly<Record<string, History>> = {
  "nothing at all": [],
  "a call that is answered": history(call("1", "a"), start("a", 1), effect("a#1"), answered("1", "a", 1)),
  "an accepted call that is claimed": history(...whole("a", 1)),
  "claims that find it pending before they find it": history(
    call("1", "a"),
    accepted("1", "R-a"),
    claim("R-a", pending),
    start("a", 1),
    claim("R-a", pending),
    effect("a#1"),
    claimed("a", 1),
    claimed("a", 1)
  ),
  "a refused call": history(call("1", "a"), refused("1")),
  "an unknown call that never ran": history(call("1", "a"), unknown("1"), crash),
  "an unknown call that ran": history(call("1", "a"), start("a", 1), unknown("1"), effect("a#1")),
  "an unknown call that runs after the crash": history(
    call("1", "a"),
    unknown("1"),
    crash,
    start("a", 9, plane2),
    effect("a#9")
  ),
  "a run that dies with its instance and a second one that answers": history(
    call("1", "a"),
    accepted("1", "R-a"),
    start("a", 1),
    start("a", 2, { attempt: 2 }),
    effect("a#2"),
    claimed("a", 2)
  ),
  "a run whose effect came and whose answer was lost": history(
    call("1", "a"),
    accepted("1", "R-a"),
    start("a", 1),
    effect("a#1"),
    crash,
    start("a", 9, { attempt: 2, ...plane2 }),
    effect("a#9"),
    claimed("a", 9)
  ),
  "a retry with the same key that joins": history(
    call("1", "a", key),
    start("a", 1),
    unknown("1"),
    call("2", "a", key),
    effect("a#1"),
    answered("2", "a", 1),
    claimed("a", 1)
  ),
  "a retry with the same key whose first call was never stored": history(
    call("1", "a", key),
    start("a", 1, { requestId: "R-old", run: "old" }),
    unknown("1"),
    crash,
    call("2", "a", key),
    start("a", 9, plane2),
    effect("a#9"),
    answered("2", "a", 9),
    claimed("a", 9)
  ),
  "a call without a promise that was answered and runs again after a crash": history(
    call("1", "a"),
    start("a", 1),
    effect("a#1"),
    answered("1", "a", 1),
    crash,
    start("a", 9, { attempt: 2, ...plane2 }),
    effect("a#9")
  ),
  "a dead letter that stays one": history(
    call("1", "a"),
    accepted("1", "R-a"),
    start("a", 1),
    start("a", 2, { attempt: 2 }),
    claim("R-a", dead),
    claim("R-a", dead)
  ),
  "a call that ends by its deadline": history(
    call("1", "a", { deadlineAtMs: 30 }),
    ended("1", "R-a", "expired"),
    call("2", "b"),
    refused("2")
  ),
  "a start in the moment of its deadline, seen a little later": history(
    call("1", "a", { deadlineAtMs: 500 }),
    accepted("1", "R-a"),
    at(900, start("a", 1)),
    claim("R-a", { kind: "ended", terminal: "expired" })
  ),
  "a cancelled request whose worker had just been told to start": history(
    call("1", "a", key),
    ended("1", "R-a", "cancelled"),
    start("a", 1),
    claim("R-a", { kind: "ended", terminal: "cancelled" })
  ),
  "a late answer that is refused": history(
    call("1", "a"),
    accepted("1", "R-a"),
    start("a", 1),
    start("a", 2, { attempt: 2 }),
    settled("R-a", 2, true),
    settled("R-a", 1, false),
    effect("a#2"),
    claimed("a", 2)
  ),
  "a start whose lease was over long ago": history(
    call("1", "a"),
    accepted("1", "R-a"),
    start("a", 5, { attempt: 2 }),
    effect("a#5"),
    claimed("a", 5),
    start("a", 3),
    claimed("a", 5)
  ),
  "a lane in order": history(
    call("1", "a", lane),
    accepted("1", "R-a"),
    call("2", "b", lane),
    accepted("2", "R-b"),
    start("a", 1),
    effect("a#1"),
    start("b", 2),
    effect("b#2"),
    claimed("a", 1),
    claimed("b", 2)
  ),
  "calls of a lane that overlap, in either order": history(
    call("1", "a", lane),
    call("2", "b", lane),
    accepted("1", "R-a"),
    accepted("2", "R-b"),
    start("b", 1),
    effect("b#1"),
    start("a", 2),
    effect("a#2"),
    claimed("a", 2),
    claimed("b", 1)
  ),
  "a second attempt that starts behind others of its lane": history(
    call("1", "a", lane),
    accepted("1", "R-a"),
    call("2", "b", lane),
    accepted("2", "R-b"),
    start("b", 1),
    effect("b#1"),
    start("a", 3, { attempt: 2 }),
    effect("a#3"),
    claimed("a", 3),
    claimed("b", 1)
  ),
  "lanes that overtake each other": history(
    call("1", "a", { lane: "one" }),
    accepted("1", "R-a"),
    call("2", "b", { lane: "two" }),
    accepted("2", "R-b"),
    start("b", 1),
    effect("b#1"),
    start("a", 2),
    effect("a#2"),
    claimed("a", 2),
    claimed("b", 1)
  ),
  "two tenants with the same key": history(
    call("1", "a", key),
    start("a", 1),
    effect("a#1"),
    answered("1", "a", 1),
    call("2", "b", { ...key, tenant: "other" }),
    start("b", 2, { tenant: "other" }),
    effect("b#2"),
    answered("2", "b", 2, { tenant: "other" }),
    claimed("a", 1),
    claim("R-b", { kind: "answer", answer: answerOf("b", 2, { tenant: "other" }) }, "other")
  ),
  "another tenant that asks and finds nothing": history(...whole("a", 1), claim("R-a", absent, "other"))
}

const bad: Readonly<Record<string, readonly [laws: string, history: History]>> = {
  "an accepted request that is gone": ["lost", history(call("1", "a"), accepted("1", "R-a"), claim("R-a", absent))],
  "an accepted request that never ends": ["lost", history(call("1", "a"), accepted("1", "R-a"), claim("R-a", pending))],
  "an accepted request that nobody looked for": ["lost", history(call("1", "a"), accepted("1", "R-a"))],
  "an answer to a key that is gone": [
    "lost",
    history(call("1", "a", key), start("a", 1), effect("a#1"), answered("1", "a", 1), claim("R-a", absent))
  ],
  "a result that was there and is gone": ["lost", history(...whole("a", 1), claim("R-a", absent))],
  "a request that was answered twice": [
    "doubled",
    history(
      ...whole("a", 1).slice(0, 4),
      claimed("a", 1),
      start("a", 2, { attempt: 2 }),
      effect("a#2"),
      claimed("a", 2)
    )
  ],
  "the same run with other bytes": [
    "from-nowhere, doubled",
    history(...whole("a", 1), claimed("a", 1, { digest: "another digest" }))
  ],
  "one key with two requests": [
    "doubled",
    history(
      call("1", "a", key),
      accepted("1", "R-a"),
      call("2", "a", key),
      accepted("2", "R-b"),
      start("a", 1),
      effect("a#1"),
      claimed("a", 1),
      claim("R-b", dead)
    )
  ],
  "one token that is delivered twice": [
    "doubled",
    history(
      call("1", "a"),
      accepted("1", "R-a"),
      start("a", 1),
      start("a", 1, { run: "again" }),
      effect("again"),
      claimed("a", 1, { run: "again", digest: "digest of again" })
    )
  ],
  "a run with two effects": ["doubled", history(...whole("a", 1), effect("a#1"))],
  "a promised request that starts after it was answered": [
    "doubled",
    history(...whole("a", 1), crash, start("a", 9, plane2), claimed("a", 1))
  ],
  "a call without a promise that starts again in the same life": [
    "doubled",
    history(call("1", "a"), start("a", 1), effect("a#1"), answered("1", "a", 1), start("a", 2))
  ],
  "a dead letter that runs again": [
    "doubled",
    history(
      call("1", "a"),
      accepted("1", "R-a"),
      start("a", 1),
      claim("R-a", dead),
      at(5_000, start("a", 2)),
      claim("R-a", dead)
    )
  ],
  "a dead letter that has an answer later": [
    "doubled",
    history(call("1", "a"), accepted("1", "R-a"), start("a", 1), claim("R-a", dead), effect("a#1"), claimed("a", 1))
  ],
  "two answers that settled": ["doubled", history(...whole("a", 1), settled("R-a", 1, true), settled("R-a", 1, true))],
  "a run that nobody called for": ["from-nowhere", history(start("a", 1))],
  "a run with another body": [
    "from-nowhere",
    history(call("1", "a"), start("a", 1, { body: "other" }), effect("a#1"), answered("1", "a", 1))
  ],
  "a refused call that runs": ["from-nowhere", history(call("1", "a"), refused("1"), start("a", 1))],
  "an answer that no run gave": ["from-nowhere", history(call("1", "a"), answered("1", "a", 1))],
  "an answer of a run that had not done its work": [
    "from-nowhere",
    history(call("1", "a"), start("a", 1), answered("1", "a", 1), effect("a#1"))
  ],
  "an answer with bytes that its run did not give": [
    "from-nowhere",
    history(call("1", "a"), start("a", 1), effect("a#1"), answered("1", "a", 1, { digest: "torn" }))
  ],
  "the answer of another request": [
    "from-nowhere",
    history(
      call("1", "a"),
      call("2", "b"),
      start("a", 1),
      effect("a#1"),
      start("b", 2),
      effect("b#2"),
      answeredAs("1", "R-a", "b", 2),
      answered("2", "b", 2)
    )
  ],
  "one request for two items": [
    "from-nowhere",
    history(call("1", "a"), accepted("1", "R-a"), call("2", "b"), accepted("2", "R-a"), claim("R-a", dead))
  ],
  "a run for another tenant": [
    "wrong-tenant",
    history(
      call("1", "a"),
      start("a", 1, { tenant: "other" }),
      effect("a#1"),
      answered("1", "a", 1, { tenant: "other" })
    )
  ],
  "a claim by another tenant that finds it": [
    "wrong-tenant",
    history(...whole("a", 1), claim("R-a", pending, "other"))
  ],
  "a late answer that counts": [
    "stale-token",
    history(
      call("1", "a"),
      accepted("1", "R-a"),
      start("a", 1),
      start("a", 2, { attempt: 2 }),
      effect("a#1"),
      claimed("a", 1)
    )
  ],
  "a late answer that counts, to a waiting caller": [
    "stale-token",
    history(call("1", "a"), start("a", 1), start("a", 2, { attempt: 2 }), effect("a#1"), answered("1", "a", 1))
  ],
  "an old token that settles": [
    "stale-token",
    history(call("1", "a"), start("a", 1), start("a", 2), settled("R-a", 1, true), ended("1", "R-a", "failed"))
  ],
  "a start long after the deadline": [
    "late-start",
    history(call("1", "a", { deadlineAtMs: 100 }), at(2_000, start("a", 1)), effect("a#1"), answered("1", "a", 1))
  ],
  "a lane out of order": [
    "order-broken",
    history(
      call("1", "a", lane),
      accepted("1", "R-a"),
      call("2", "b", lane),
      accepted("2", "R-b"),
      start("b", 1),
      effect("b#1"),
      start("a", 2),
      effect("a#2"),
      claimed("a", 2),
      claimed("b", 1)
    )
  ],
  "a call without an outcome": ["broken-record", history(call("1", "a"))],
  "a call with two outcomes": ["broken-record", history(call("1", "a"), unknown("1"), unknown("1"))],
  "entries out of their order": ["broken-record", [at(20, call("1", "a")), at(10, unknown("1"))]]
}

describe("the checker passes", () => {
  it.each(Object.entries(good))("%s", (_, entries) => {
    expect(check(entries).verdicts).toEqual([])
  })
})

describe("the checker flags", () => {
  it.each(Object.entries(bad))("%s", (_, [laws, entries]) => {
    const found = new Set(check(entries).verdicts.map((verdict) => verdict.law))
    expect([...found].join(", ")).toBe(laws)
  })
})

describe("where the lost ones lie", () => {
  const where = (entries: History) =>
    Object.fromEntries(check(entries).verdicts.map((verdict) => [verdict.about.slice(2), verdict.where]))

  it("is told for those since the first, those until the crash, and those between", () => {
    const found = where(promisedInOrder(["a", "b", "d", "f", "g"], ["a", "b", "c", "d", "e", "f", "g"], ["h"]))
    expect(found).toEqual({ a: "prefix", b: "prefix", d: "middle", f: "postfix", g: "postfix" })
  })

  it("is told when nothing of one life of the platform is left", () => {
    expect(where(promisedInOrder(["b", "c"], ["a"], ["b", "c"], ["d"]))).toEqual({ b: "all", c: "all" })
  })
})

describe("the counts", () => {
  it("say what was promised and what of it is there", () => {
    const { counts } = check(promisedInOrder(["b"], ["a", "b"], ["c"]))
    expect(counts).toEqual({
      calls: 3,
      accepted: 3,
      claimable: 2,
      answered: 0,
      ended: 0,
      refused: 0,
      unknown: 0,
      runs: 2,
      reruns: 0,
      crashes: 1
    })
  })
})

describe("the cost", () => {
  const long = (count: number): History =>
    timed(Array.from({ length: count }, (_, index) => whole(`i${index}`, index + 1)).flat())
  /** How often anything of any entry is looked at. */
  const looksAt = (entries: History): number => {
    let looks = 0
    const get = (entry: Entry, key: string | symbol): unknown => {
      looks++
      return Reflect.get(entry, key)
    }
    expect(check(entries.map((entry) => new Proxy<Entry>(entry, { get }))).verdicts).toEqual([])
    return looks
  }

  it("grows with the length of the history, not with its square", () => {
    // To put them in order takes a little more than ten times as much; every two of them, a hundred times.
    expect(looksAt(long(20_000)) / looksAt(long(2_000))).toBeLessThan(20)
  })
})
