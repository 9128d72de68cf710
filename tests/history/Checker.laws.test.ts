/**
 * The checker against histories that a small honest platform could have made, and against each of them with one entry
 * dropped, doubled or altered. A change is flagged, or it is one of the few that prove nothing (`harmless`), each with
 * its reason.
 *
 * The last test counts the kinds of change, and fails when one is never caught.
 */
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { check } from "./Checker.ts"
import type { Answer, Attempted, Called, Claimed, Effected, Entry, History, Settled } from "./History.ts"
import {
  accepted,
  answered,
  call,
  claim,
  claimed,
  crash,
  effect,
  ended,
  refused,
  settled,
  start,
  unknown
} from "./Sketch.ts"

const shapes = [
  "answered",
  "claimed",
  "keyed",
  "joined",
  "crashed",
  "redelivered",
  "stale",
  "dead",
  "refused",
  "unknown",
  "forgotten",
  "lane"
] as const
type Shape = (typeof shapes)[number]

/** What becomes of one item; the halves lie before and after the crash. Tokens grow over the whole history. */
const story = (shape: Shape, item: string, index: number): readonly [Array<Entry>, Array<Entry>] => {
  const R = `R-${item}`
  const [low, high] = [index * 2 + 1, index * 2 + 2]
  const late = 100_000 + index
  const after = { attempt: 2, plane: "p2" }
  const key = { key: `key-${item}` }
  const run = (token: number, more: Partial<Attempted> = {}) => [start(item, token, more), effect(`${item}#${token}`)]
  switch (shape) {
    case "answered":
      return [[call(item, item), ...run(low), answered(item, item, low)], []]
    case "claimed":
      return [[call(item, item), accepted(item, R), ...run(low)], [claimed(item, low)]]
    case "keyed":
      return [[call(item, item, key), ...run(low), answered(item, item, low)], [claimed(item, low)]]
    case "joined":
      return [
        [call(item, item, key), start(item, low), unknown(item), effect(`${item}#${low}`)],
        [call(`${item}+`, item, key), answered(`${item}+`, item, low), claimed(item, low)]
      ]
    case "crashed":
      return [
        [call(item, item), accepted(item, R), ...run(low)],
        [...run(late, after), claimed(item, late), claimed(item, late)]
      ]
    case "redelivered":
      return [
        [call(item, item), accepted(item, R), start(item, low), claim(R, { kind: "pending" })],
        [...run(late, after), claimed(item, late)]
      ]
    case "stale":
      return [
        [
          call(item, item),
          accepted(item, R),
          start(item, low),
          start(item, high, { attempt: 2 }),
          effect(`${item}#${high}`),
          settled(R, high, true),
          settled(R, low, false)
        ],
        [claimed(item, high)]
      ]
    case "dead":
      return [
        [call(item, item, key), start(item, low), ended(item, R, "dead-lettered")],
        [claim(R, { kind: "ended", terminal: "dead-lettered" })]
      ]
    case "refused":
      return [[call(item, item), refused(item)], []]
    case "unknown":
      return [[call(item, item), start(item, low), unknown(item)], run(late, after)]
    case "forgotten":
      return [[call(item, item), ...run(low), answered(item, item, low)], run(late, after)]
    case "lane":
      return [[call(item, item, { lane: "one" }), accepted(item, R), ...run(low)], [claimed(item, low)]]
  }
}

/** Takes from several lists, each in its own order. */
const interleave = (lists: ReadonlyArray<ReadonlyArray<Entry>>, picks: ReadonlyArray<number>): Array<Entry> => {
  const left = lists.map((list) => [...list])
  const merged: Array<Entry> = []
  let turn = 0
  for (;;) {
    const open = left.filter((list) => list.length > 0)
    if (open.length === 0) return merged
    const next = open[(picks[turn++ % picks.length] ?? 0) % open.length]?.shift()
    if (next !== undefined) merged.push(next)
  }
}

const stamped = (entries: ReadonlyArray<Entry>): History =>
  entries.map((entry, index) => ({ ...entry, atMs: (index + 1) * 10 }))

const goodHistory: fc.Arbitrary<History> = fc
  .record({
    shapes: fc.array(fc.constantFrom(...shapes), { minLength: 1, maxLength: 8 }),
    before: fc.array(fc.nat(20), { minLength: 1, maxLength: 20 }),
    after: fc.array(fc.nat(20), { minLength: 1, maxLength: 20 })
  })
  .map(({ shapes, before, after }) => {
    const stories = shapes.map((shape, index) => ({ shape, halves: story(shape, `i${index}`, index) }))
    // A lane is one worker with one slot: its requests come and start one after another.
    const inLane = stories.filter(({ shape }) => shape === "lane").flatMap(({ halves }) => halves[0])
    const others = stories.filter(({ shape }) => shape !== "lane").map(({ halves }) => halves[0])
    return stamped([
      ...interleave([...others, inLane], before),
      crash,
      ...interleave(
        stories.map(({ halves }) => halves[1]),
        after
      )
    ])
  })

// --- mutations -------------------------------------------------------------------------------------------------------

type Change = { readonly [Key in keyof (Called & Attempted & Answer & Effected & Settled)]?: unknown }

const otherResult = (result: Claimed["result"]): Claimed["result"] =>
  result.kind === "answer" ? { kind: "answer", answer: { ...result.answer, digest: "torn" } } : { kind: "absent" }

/** Every field of every entry that can be wrong, as another value that it could have. */
const alterations = (entry: Entry): ReadonlyArray<readonly [field: string, altered: Entry]> => {
  const each = (fields: Change): ReadonlyArray<readonly [string, Entry]> =>
    // The fields are given beside the entry that they belong to, below.
    Object.entries(fields).map(([field, value]) => [field, { ...entry, [field]: value } as Entry])
  switch (entry._tag) {
    case "Called":
      return each({ call: "another", tenant: "another", item: "another", body: "another", deadlineAtMs: -5_000 })
    case "Attempted":
      return each({
        run: "another",
        item: "another",
        body: "another",
        requestId: "R-another",
        tenant: "another",
        token: entry.token + 0.5
      })
    case "Effected":
      return each({ run: "another", digest: "another" })
    case "Settled":
      return each({ requestId: "R-another", token: 0.5, taken: !entry.taken })
    case "Accepted":
    case "Ended":
      return [["requestId", { ...entry, requestId: "R-another" }]]
    case "Answered": {
      const { answer } = entry
      const told = (field: keyof Answer, value: string | number): readonly [string, Entry] => [
        `answer.${field}`,
        { ...entry, answer: { ...answer, [field]: value } }
      ]
      return [
        ["requestId", { ...entry, requestId: "R-another" }],
        told("run", "another"),
        told("digest", "another"),
        told("item", "another"),
        told("requestId", "another"),
        told("tenant", "another"),
        told("token", answer.token - 0.5)
      ]
    }
    case "Claimed":
      return [
        ["requestId", { ...entry, requestId: "R-another" }],
        ["tenant", { ...entry, tenant: "another" }],
        ["result", { ...entry, result: otherResult(entry.result) }]
      ]
    case "Refused":
      return [["outcome", { _tag: "Accepted", atMs: entry.atMs, call: entry.call, requestId: "R-another" }]]
    case "Unknown":
      return [["call", { ...entry, call: "another" }]]
    case "Crashed":
      return []
  }
}

interface Mutant {
  readonly entries: History
  readonly entry: Entry
  readonly how: string
}

const mutants = (entries: History): ReadonlyArray<Mutant> =>
  entries.flatMap((entry, index) => {
    const put = (how: string, ...instead: ReadonlyArray<Entry>): Mutant => ({
      entries: [...entries.slice(0, index), ...instead, ...entries.slice(index + 1)],
      entry,
      how
    })
    return [put("drop"), put("double", entry, entry), ...alterations(entry).map(([how, altered]) => put(how, altered))]
  })

const isAnsweredBy = (run: string, entries: ReadonlyArray<Entry>): boolean =>
  entries.some(
    (entry) =>
      (entry._tag === "Answered" && entry.answer.run === run) ||
      (entry._tag === "Claimed" && entry.result.kind === "answer" && entry.result.answer.run === run)
  )

/** Why a change of this entry says nothing about Millrace, or undefined when it must be flagged. */
const harmless = ({ entry, how }: Mutant, original: History): string | undefined => {
  const others = original.filter((other) => other !== entry)
  const promised = (requestId: string) =>
    others.some((other) => other._tag === "Claimed" && other.requestId === requestId)
  switch (entry._tag) {
    case "Crashed":
      return "what a crash excuses may not have happened"
    case "Claimed": {
      if (how === "double") return "asking again is allowed"
      const again = others.some(
        (other) =>
          other._tag === "Claimed" && other.requestId === entry.requestId && other.result.kind === entry.result.kind
      )
      if (how === "drop" && (entry.result.kind === "pending" || again)) return "another claim shows the end"
      if (how === "result" && entry.result.kind === "pending") return "it had no end yet, which absent does not deny"
      return undefined
    }
    case "Settled":
      if (how === "drop") return "what a worker is told is seen at its answer, too"
      if (how === "double" && !entry.taken) return "a refused answer may come again"
      if (how === "taken" && entry.taken) return "the answer that counts is seen at the caller"
      return undefined
    case "Attempted": {
      const hasEffect = others.some((other) => other._tag === "Effected" && other.run === entry.run)
      const hasSettled = others.some(
        (other) => other._tag === "Settled" && other.requestId === entry.requestId && other.token === entry.token
      )
      if (how === "run" && !hasEffect) return "nothing else names this run"
      if (how === "drop" && !hasEffect && !hasSettled) return "a run without an effect or an answer leaves no trace"
      if (how === "token" && !hasSettled && !isAnsweredBy(entry.run, others)) return "nothing else names this token"
      return undefined
    }
    case "Effected": {
      const isAnswered = isAnsweredBy(entry.run, others)
      if (isAnswered || how === "double" || how === "run") return undefined
      return "nobody was told of this run's answer"
    }
    case "Called": {
      // Its lane and its key bind only what others of them say.
      const keyed = entry.key !== undefined
      if (how === "deadlineAtMs") {
        const starts = others.some((other) => other._tag === "Attempted" && other.item === entry.item)
        const retried = others.some((other) => other._tag === "Called" && other.item === entry.item)
        return starts && !retried ? undefined : "nothing started after it, or a retry had another deadline"
      }
      const runs = others.some((other) => other._tag === "Attempted" && other.item === entry.item)
      if (!keyed && !runs && how !== "call" && how !== "drop" && how !== "double")
        return "a refused call is nobody's work"
      return undefined
    }
    case "Accepted":
    case "Ended":
      return how === "requestId" && !promised(entry.requestId) ? "nobody asked for it again" : undefined
    default:
      return undefined
  }
}

const show = (entries: History) => entries.map((entry) => JSON.stringify(entry)).join("\n")

describe("the checker", () => {
  it("K0: passes every history that an honest platform makes", () => {
    fc.assert(
      fc.property(goodHistory, (entries) => {
        expect(check(entries).verdicts, show(entries)).toEqual([])
      }),
      { numRuns: 500 }
    )
  })

  it("K9: flags every change of one entry, unless the change proves nothing", () => {
    const flagged = new Map<string, number>()
    const passed = new Map<string, number>()
    const count = (into: Map<string, number>, what: string) => into.set(what, (into.get(what) ?? 0) + 1)
    fc.assert(
      fc.property(goodHistory, (entries) => {
        for (const mutant of mutants(entries)) {
          const what = `${mutant.entry._tag}: ${mutant.how}`
          if (check(mutant.entries).verdicts.length > 0) {
            count(flagged, what)
            continue
          }
          count(passed, what)
          const reason = harmless(mutant, entries)
          expect(reason, `${what} of ${JSON.stringify(mutant.entry)} passes in\n${show(entries)}`).toBeDefined()
        }
      }),
      { numRuns: 40 }
    )
    const kinds = new Set([...flagged.keys(), ...passed.keys()])
    expect(kinds.size).toBeGreaterThan(35)
    // Every kind of change is caught in some history, but these, which mean nothing in any.
    const never = [...kinds].filter((kind) => !flagged.has(kind)).sort()
    expect(never).toEqual(["Claimed: double", "Crashed: double", "Crashed: drop", "Settled: drop"])
  })
})
