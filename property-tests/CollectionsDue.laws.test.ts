/**
 * What is due when, against a list that is searched from end to end.
 *
 * C4: a `DueMap` is a map. C5: `nextMs` is never later than the earliest due time, and after `takeDue` at that time it is
 * later than that time. Times collide, are fractions, lie before 0, at the borders of the spans of 2^30 ms, beyond the
 * safe integers, and never.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as DueIndex from "../src/core/collections/DueIndex.ts"
import * as DueMap from "../src/core/collections/DueMap.ts"
import * as IntMap from "../src/core/collections/IntMap.ts"
import * as IntSet from "../src/core/collections/IntSet.ts"

const spanMs = 2 ** 30
const time = fc.oneof(
  { weight: 6, arbitrary: fc.nat(60) },
  { weight: 2, arbitrary: fc.double({ min: 0, max: 50, noNaN: true }) },
  { weight: 2, arbitrary: fc.constantFrom(spanMs - 1, spanMs, spanMs + 1, 5 * spanMs, 5 * spanMs + 3) },
  { weight: 1, arbitrary: fc.constantFrom(-5, 2 ** 53, 2 ** 60, DueIndex.never) }
)

/** A moment comes; `never` does not. */
const now = time.filter((atMs) => atMs !== DueIndex.never)

/** Rounded up to a whole millisecond within the safe integers. */
const wholeMs = (atMs: number): number => Math.min(Math.max(Math.ceil(atMs), 0), Number.MAX_SAFE_INTEGER)

describe("an index of what is due", () => {
  const action = fc.record({ isAdd: fc.constantFrom(true, true, false), at: time, id: fc.nat(8), edit: fc.nat(1) })
  type Pair = readonly [atMs: number, id: number]

  /** Each id at each whole millisecond once, sorted. */
  const pairsOf = (index: DueIndex.DueIndex): ReadonlyArray<Pair> => {
    const found: Array<Pair> = []
    DueIndex.forEach(index, (ids, atMs) => {
      for (const id of IntSet.toArray(ids)) found.push([atMs, id])
    })
    return found
  }

  const isEqual = (index: DueIndex.DueIndex, model: ReadonlyMap<string, Pair>, nowMs: number): void => {
    const all = [...model.values()].sort((one, other) => one[0] - other[0] || one[1] - other[1])
    const firstMs = all[0]?.[0]
    assert.deepStrictEqual(pairsOf(index), all)
    assert.strictEqual(DueIndex.nextMs(index), firstMs)
    const isFirst = (pair: Pair) => pair[0] === firstMs && pair[0] <= nowMs
    assert.deepStrictEqual(
      DueIndex.due(index, nowMs),
      all.filter(isFirst).map(([, id]) => id)
    )
    assert.deepStrictEqual(
      DueIndex.allDue(index, nowMs),
      all.filter(([atMs]) => atMs <= nowMs).map(([, id]) => id)
    )
  }

  it("it gives the ids of the earliest time, and of all times that have come, in order; older ones stay", () => {
    fc.assert(
      fc.property(
        fc.array(action, { maxLength: 30, size: "max" }),
        fc.array(time, { minLength: 1, maxLength: 4 }),
        (all, nows) => {
          let index = DueIndex.empty
          const model = new Map<string, Pair>()
          const older: Array<readonly [DueIndex.DueIndex, Map<string, Pair>]> = []
          all.forEach(({ isAdd, at, id, edit }, step) => {
            older.push([index, new Map(model)])
            const before = index
            const own = edit === 0 ? 0 : step + 1
            const pair: Pair = [wholeMs(at), id]
            index = isAdd ? DueIndex.add(index, at, id, own) : DueIndex.remove(index, at, id, own)
            const isNever = at === DueIndex.never
            if (isNever || (!isAdd && !model.has(String(pair)))) {
              assert.deepStrictEqual(pairsOf(index), pairsOf(before))
            }
            if (isNever) assert.strictEqual(index, before)
            else if (isAdd) model.set(String(pair), pair)
            else model.delete(String(pair))
            isEqual(index, model, 30)
          })
          for (const nowMs of nows) isEqual(index, model, nowMs)
          for (const [one, itsModel] of older) isEqual(one, itsModel, 30)
          for (const { at, id } of all) index = DueIndex.remove(index, at, id)
          assert.strictEqual(index, DueIndex.empty, "nothing is left of what was taken out")
        }
      ),
      { numRuns: 60 }
    )
  })
})

describe("what is never due", () => {
  it("is not in the index, and takes nothing out of it", () => {
    const far = DueIndex.add(DueIndex.empty, 2 ** 60, 1)
    assert.strictEqual(DueIndex.add(far, DueIndex.never, 2), far)
    assert.strictEqual(DueIndex.remove(far, DueIndex.never, 1), far)
  })
})

describe("a map with due times", () => {
  interface Value {
    readonly name: number
    readonly dueMs: number
  }
  const dueMsOf = ({ dueMs }: Value): number => dueMs

  /** Eight places of a large range: more than are held outside the trie. */
  const mapKey = fc.tuple(fc.nat(7), fc.nat(3)).map(([place, offset]) => place * 1_000 + offset * 11)
  const action = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant("set" as const), key: mapKey, at: time }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("remove" as const), key: mapKey, at: fc.constant(0) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("take" as const), key: mapKey, at: now }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("take next" as const), key: mapKey, at: fc.constant(0) }) }
  )

  const isSame = (map: DueMap.DueMap<Value>, model: ReadonlyMap<number, Value>): void => {
    const all = [...model].sort(([one], [other]) => one - other)
    assert.strictEqual(map.size, all.length)
    assert.deepStrictEqual(
      DueMap.keys(map),
      all.map(([key]) => key)
    )
    assert.deepStrictEqual(
      DueMap.values(map),
      all.map(([, value]) => value)
    )
    for (let key = 0; key < 8_000; key += 1_000) {
      for (const offset of [0, 5, 11, 22, 33]) {
        if (DueMap.get(map, key + offset) !== model.get(key + offset)) assert.fail(`wrong at ${key + offset}`)
      }
    }
    const earliestMs = Math.min(...all.map(([, { dueMs }]) => Math.ceil(dueMs)))
    const nextMs = DueMap.nextMs(map)
    if (nextMs === undefined) assert.strictEqual(earliestMs, Number.POSITIVE_INFINITY)
    else assert.isTrue(nextMs <= Math.max(earliestMs, 0), `${nextMs} is after ${earliestMs}`)
  }

  it("C4, C5: it is a map, wakes in time, and gives all that is due and nothing else; older ones stay", () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60, size: "max" }), fc.boolean(), (actions, withEdits) => {
        let map = DueMap.empty<Value>()
        const model = new Map<number, Value>()
        const older: Array<readonly [DueMap.DueMap<Value>, Map<number, Value>]> = []
        actions.forEach(({ kind, key, at }, index) => {
          // Three updates in a row share an edit, and what was before the first of them is kept.
          const edit = withEdits ? 1 + Math.floor(index / 3) : 0
          if (!withEdits || index % 3 === 0) older.push([map, new Map(model)])
          const before = map
          if (kind === "set") {
            const value = { name: index, dueMs: at }
            map = DueMap.set(map, key, value, at, edit)
            model.set(key, value)
          } else if (kind === "remove") {
            map = DueMap.remove(map, key, edit)
            if (!model.has(key)) assert.strictEqual(map, before, "nothing happened")
            model.delete(key)
          } else {
            // What is due before 0 or beyond the safe integers is kept at their ends: time itself stays between them.
            const wantedMs = kind === "take" ? at : (DueMap.nextMs(map) ?? 0)
            const nowMs = Math.min(Math.max(wantedMs, 0), Number.MAX_SAFE_INTEGER - 1)
            const [after, taken] = DueMap.takeDue(map, nowMs, dueMsOf, edit)
            const due = [...model].filter(([, { dueMs }]) => Math.ceil(dueMs) <= nowMs).map(([one]) => one)
            assert.deepStrictEqual([...taken].sort(), due.sort())
            assert.isTrue((DueMap.nextMs(after) ?? Number.POSITIVE_INFINITY) > nowMs)
            map = after
            for (const one of taken) {
              map = DueMap.remove(map, one, edit)
              model.delete(one)
            }
          }
          isSame(map, model)
        })
        for (const [one, itsModel] of older) isSame(one, itsModel)
      }),
      { numRuns: 60 }
    )
  })

  it("C5: after a take at the time that it names, that time is over, and what came too early costs nothing", () => {
    const value = (dueMs: number): Value => ({ name: 0, dueMs })
    let map = DueMap.set(DueMap.empty<Value>(), 1, value(40.2), 40.2)
    assert.strictEqual(DueMap.nextMs(map), 41)
    assert.deepStrictEqual(DueMap.takeDue(map, 40, dueMsOf), [map, []])
    map = DueMap.set(map, 1, value(90), 90)
    assert.strictEqual(DueMap.nextMs(map), 41, "put off: earlier than need be")
    const [after, taken] = DueMap.takeDue(map, 41, dueMsOf)
    assert.deepStrictEqual([taken, DueMap.nextMs(after)], [[], 90])
    assert.isUndefined(DueMap.nextMs(DueMap.remove(after, 1)), "the last of its chunk takes the time with it")
    assert.isUndefined(DueMap.nextMs(DueMap.set(DueMap.empty<Value>(), 1, value(DueIndex.never), DueIndex.never)))
  })

  it("C5: of what a take leaves behind the earliest is next, wherever it stands", () => {
    const dues = [10, 50, 90, 70]
    const filled = dues.reduce(
      (map, dueMs, key) => DueMap.set(map, key, { name: key, dueMs }, dueMs),
      DueMap.empty<Value>()
    )
    const [after, taken] = DueMap.takeDue(filled, 10, dueMsOf)
    assert.deepStrictEqual([taken, DueMap.nextMs(after)], [[0], 50])
  })

  it("nothing is left of chunks whose values are gone", () => {
    let map = DueMap.empty<Value>()
    for (let key = 0; key < 3_200; key += 32) {
      map = DueMap.remove(DueMap.set(map, key, { name: key, dueMs: 5 }, 5), key)
    }
    assert.deepStrictEqual([map.size, map.cold, map.coldDue], [0, IntMap.empty(), DueIndex.empty])
  })

  it("an edit copies once, and without an edit each update copies", () => {
    const value: Value = { name: 0, dueMs: 5 }
    const first = DueMap.set(DueMap.empty<Value>(), 1, value, 5, 1)
    assert.strictEqual(DueMap.set(first, 40, value, 5, 1), first)
    assert.strictEqual(DueMap.remove(first, 40, 1), first)
    assert.notStrictEqual(DueMap.set(first, 1, value, 5, 2), first)
    assert.notStrictEqual(DueMap.set(DueMap.set(first, 1, value, 5), 1, value, 5), first)
    assert.strictEqual(DueMap.takeDue(first, 5, dueMsOf, 1)[0], first)
    assert.strictEqual(DueMap.empty<Value>().size, 0, "the empty one stays empty")
  })
})
