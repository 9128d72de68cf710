/**
 * The persistent collections against those of the language.
 *
 * C1 and C6: the same as a sorted list. C2: an update leaves every older one as it was, but for those of the same edit.
 * C3: the shape depends on the content alone. C7: the same as a map of the language, in all its versions. Keys collide on purpose: few near each other, around the borders of the
 * words of 32, of 2^31 and of the safe integers.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as IntMap from "../src/core/collections/IntMap.ts"
import * as IntSet from "../src/core/collections/IntSet.ts"
import { invariant, unreachable } from "../src/core/collections/invariant.ts"
import * as NameMap from "../src/core/collections/NameMap.ts"
import * as Table from "../src/core/collections/Table.ts"

const places = [0, 64, 1_000, 2 ** 15, 2 ** 25, 2 ** 30 - 3, 2 ** 31 - 3, 2 ** 32, 2 ** 40 - 20, 2 ** 52]
const key = fc.oneof(
  { weight: 3, arbitrary: fc.nat(70) },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.constantFrom(...places), fc.nat(40)).map(([place, offset]) => place + offset)
  },
  { weight: 1, arbitrary: fc.constantFrom(Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER - 1) }
)

const action = fc.record({
  kind: fc.constantFrom("set", "set", "set", "replace", "remove", "remove first"),
  key,
  /** Of the update: the same edit as the one before, a new one, or none. */
  edit: fc.constantFrom("same", "same", "new", "none")
})

/** Entries of the model in the order of their keys. */
const sorted = <V>(model: ReadonlyMap<number, V>): ReadonlyArray<readonly [number, V]> =>
  [...model].sort(([one], [other]) => one - other)

const entries = <V>(map: IntMap.IntMap<V>): ReadonlyArray<readonly [number, V]> => {
  const found: Array<readonly [number, V]> = []
  IntMap.forEach(map, (value, at) => found.push([at, value]))
  return found
}

const isEqual = (map: IntMap.IntMap<number>, model: ReadonlyMap<number, number>, asked: Iterable<number>): void => {
  const all = sorted(model)
  assert.deepStrictEqual(entries(map), all)
  assert.deepStrictEqual(
    IntMap.keys(map),
    all.map(([at]) => at)
  )
  assert.deepStrictEqual(
    IntMap.values(map),
    all.map(([, value]) => value)
  )
  assert.strictEqual(IntMap.size(map), model.size)
  assert.strictEqual(IntMap.firstKey(map), all[0]?.[0])
  assert.strictEqual(IntMap.first(map), all[0]?.[1])
  for (const at of asked) {
    if (IntMap.get(map, at) !== model.get(at) || IntMap.has(map, at) !== model.has(at)) assert.fail(`wrong at ${at}`)
  }
}

/** Without the edits, which are no part of the shape. */
const shape = (map: unknown): unknown => JSON.parse(JSON.stringify(map), (name, value) => (name === "edit" ? 0 : value))

describe("a map from whole numbers", () => {
  it("C1, C2: it is a sorted list of pairs, and every older one stays as it was", () => {
    fc.assert(
      fc.property(
        fc.array(action, { maxLength: 40, size: "max" }),
        fc.array(key, { maxLength: 10, size: "max" }),
        (actions, others) => {
          let map = IntMap.empty<number>()
          let edit = 0
          let lastEdit = 0
          const model = new Map<number, number>()
          const asked = [...new Set([...actions.flatMap(({ key: at }) => [at, at + 1, at + 32]), ...others])]
          const older: Array<readonly [IntMap.IntMap<number>, Map<number, number>]> = []
          actions.forEach((each, index) => {
            if (each.edit === "new") edit = ++lastEdit
            if (each.edit === "none") edit = 0
            if (each.edit !== "same" || edit === 0) older.push([map, new Map(model)])
            const at = each.kind === "remove first" ? (IntMap.firstKey(map) ?? each.key) : each.key
            const before = map
            if (each.kind === "set") map = IntMap.set(map, at, index, edit)
            else if (each.kind === "replace") map = IntMap.replace(map, at, index, edit)
            else map = IntMap.remove(map, at, edit)
            if (each.kind !== "set" && !model.has(at)) assert.strictEqual(map, before, "nothing happened")
            if (each.kind === "set" || (each.kind === "replace" && model.has(at))) model.set(at, index)
            if (each.kind.startsWith("remove")) model.delete(at)
            isEqual(map, model, [at])
          })
          isEqual(map, model, asked)
          for (const [one, itsModel] of older) isEqual(one, itsModel, asked)
        }
      ),
      { numRuns: 60 }
    )
  })

  it("C3: its shape is that of its content, whatever the order of the updates", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(key, { maxLength: 40, size: "max" }),
        fc.array(key, { maxLength: 20, size: "max" }),
        fc.nat(1),
        (kept, gone, edit) => {
          let map = IntMap.empty<number>()
          for (const at of gone) map = IntMap.set(map, at, 0, edit)
          for (const at of kept) map = IntMap.set(map, at, at, edit)
          for (const at of gone) if (!kept.includes(at)) map = IntMap.remove(map, at, edit)
          let straight = IntMap.empty<number>()
          for (const at of [...kept].sort((one, other) => one - other)) straight = IntMap.set(straight, at, at, 7)
          assert.deepStrictEqual(shape(map), shape(straight))
        }
      ),
      { numRuns: 60 }
    )
  })

  it("C2: an edit copies a branch once, and without an edit each update copies", () => {
    const built = [1, 2, 33, 2_000, 2 ** 40].reduce((map, at) => IntMap.set(map, at, at), IntMap.empty<number>())
    const first = IntMap.set(built, 33, 0, 1)
    assert.notStrictEqual(first, built)
    assert.strictEqual(IntMap.set(first, 33, 5, 1), first)
    assert.strictEqual(IntMap.set(first, 34, 5, 1), first)
    assert.strictEqual(IntMap.replace(first, 34, 6, 1), first)
    assert.strictEqual(IntMap.remove(first, 34, 1), first)
    assert.strictEqual(IntMap.remove(IntMap.set(first, 3_000, 5, 1), 3_000, 1), first)
    assert.notStrictEqual(IntMap.set(first, 33, 7, 2), first)
    assert.notStrictEqual(IntMap.set(built, 33, 7, 0), built)
    const leaf = IntMap.set(IntMap.set(IntMap.empty<number>(), 1, 1, 3), 2, 2, 3)
    for (const at of [0, 5, 31]) assert.strictEqual(IntMap.set(leaf, at, at, 3), leaf)
    for (const at of [0, 31]) assert.strictEqual(IntMap.remove(leaf, at, 3), leaf)
    assert.deepStrictEqual(IntMap.keys(leaf), [1, 2, 5])
    assert.strictEqual(IntMap.replace(built, 3_000, 1), built)
    assert.strictEqual(IntMap.replace(built, 34, 1), built)
    assert.strictEqual(IntMap.replace(built, 2 ** 41, 1), built)
    const eight = IntMap.set(IntMap.empty<number>(), 8, 1)
    assert.strictEqual(IntMap.replace(eight, 40, 2), eight, "the same place of another branch")
  })

  it("the arithmetic of bits is that of a loop over 32", () => {
    fc.assert(
      fc.property(fc.integer(), (bits) => {
        const set = Array.from({ length: 32 }, (_, slot) => slot).filter((slot) => ((bits >>> slot) & 1) === 1)
        assert.strictEqual(IntMap.ones(bits), set.length)
        if (bits !== 0) assert.strictEqual(IntMap.lowest(bits), set[0])
      })
    )
    for (let length = 0; length <= 32; length++) {
      assert.deepStrictEqual(IntMap.blank(length), new Array(length).fill(undefined))
    }
    assert.notStrictEqual(IntMap.blank(3), IntMap.blank(3), "each caller has its own")
  })
})

describe("a set of whole numbers", () => {
  const setAction = fc.record({
    kind: fc.constantFrom("add", "add", "add", "add", "remove", "remove one", "remove first"),
    key: fc.oneof({ weight: 4, arbitrary: fc.nat(200) }, { weight: 1, arbitrary: key }),
    edit: fc.constantFrom(0, 1, 2)
  })

  const isSame = (set: IntSet.IntSet, model: ReadonlySet<number>, asked: Iterable<number>): void => {
    const all = [...model].sort((one, other) => one - other)
    assert.deepStrictEqual(IntSet.toArray(set), all)
    assert.strictEqual(set.size, all.length)
    assert.strictEqual(IntSet.first(set), all[0])
    for (const at of asked) {
      if (IntSet.has(set, at) !== model.has(at)) assert.fail(`has ${at}`)
      if (IntSet.countBelow(set, at) !== all.filter((each) => each < at).length) assert.fail(`below ${at}`)
    }
  }

  it("C6: it is a sorted list without repetitions, and every older one stays as it was", () => {
    fc.assert(
      fc.property(fc.array(setAction, { maxLength: 80, size: "max" }), (actions) => {
        let set = IntSet.empty
        const model = new Set<number>()
        const asked = [...new Set(actions.flatMap((each) => [each.key, each.key + 1, each.key + 31]))]
        const older: Array<readonly [IntSet.IntSet, Set<number>]> = []
        actions.forEach(({ kind, key: any, edit }, index) => {
          const all = [...model]
          const one = kind === "remove first" ? IntSet.first(set) : all[any % Math.max(1, all.length)]
          const at = kind === "remove first" || kind === "remove one" ? (one ?? any) : any
          const before = set
          older.push([set, new Set(model)])
          // An edit of its own for each update, or none, so that all older ones are kept.
          const own = edit === 0 ? 0 : index + 1
          set = kind === "add" ? IntSet.add(set, at, own) : IntSet.remove(set, at, own)
          if (model.has(at) === (kind === "add")) assert.strictEqual(set, before, "nothing happened")
          if (kind === "add") model.add(at)
          else model.delete(at)
          isSame(set, model, [at])
        })
        isSame(set, model, asked)
        for (const [one, itsModel] of older) isSame(one, itsModel, [])
      }),
      { numRuns: 60 }
    )
  })

  it("C6: a word that was emptied is nowhere, and a word is in one place", () => {
    const apply = (steps: ReadonlyArray<number>) =>
      steps.reduce((set, step) => (step < 0 ? IntSet.remove(set, -step) : IntSet.add(set, step)), IntSet.empty)
    // The word of 1 is held as the first one while that of 40 is emptied.
    const emptied = apply([1, 2, 40, 80, 120, -1, -40, -2])
    assert.deepStrictEqual([IntSet.first(emptied), IntSet.toArray(emptied)], [80, [80, 120]])
    // The last word was emptied, so the next one that is written to is the last; it was among the others.
    const moved = apply([1, 40, -40, 2, -1, -2])
    assert.deepStrictEqual([IntSet.first(moved), IntSet.has(moved, 1), moved.size], [undefined, false, 0])
  })

  it("C6: a queue, filled at one end and emptied at the other, holds what was not taken", () => {
    let set = IntSet.empty
    let taken = 0
    for (let next = 0; next < 500; next++) {
      set = IntSet.add(set, next, 1)
      if (next % 3 === 0) {
        assert.strictEqual(IntSet.first(set), taken)
        set = IntSet.remove(set, taken++, 1)
      }
    }
    assert.deepStrictEqual(
      IntSet.toArray(set),
      Array.from({ length: 500 - taken }, (_, index) => taken + index)
    )
    while (set.size > 0) {
      assert.strictEqual(IntSet.first(set), taken)
      set = IntSet.remove(set, taken++, 1)
    }
    assert.strictEqual(taken, 500)
    assert.isUndefined(IntSet.first(set))
  })
})

describe("a map from names", () => {
  const name = fc.constantFrom("", "a", "b", "ab", "fn-1", "constructor")
  const names = ["", "a", "b", "ab", "fn-1", "constructor", "never set"]

  it("C7: it is a map, and every older one stays as it was, also when something else is made of it", () => {
    // `from`: of the maps that there are, the last one is 0. Half of the updates go on from the newest.
    const from = fc.oneof(fc.constant(0), fc.nat(20))
    const update = fc.record({ from, isSet: fc.boolean(), name, asked: fc.array(fc.nat(20), { maxLength: 3 }) })
    fc.assert(
      fc.property(fc.array(update, { maxLength: 50, size: "max" }), (updates) => {
        const all = [{ map: NameMap.empty(), model: new Map<string, number>() }]
        const at = (back: number) => all[all.length - 1 - (back % all.length)]!
        const isSame = ({ map, model }: (typeof all)[number]) => {
          assert.strictEqual(NameMap.count(map), model.size)
          for (const each of names) assert.strictEqual(NameMap.get(map, each), model.get(each))
        }
        updates.forEach(({ from, isSet, name, asked }, index) => {
          const { map, model } = at(from)
          const next = new Map(model)
          if (isSet) next.set(name, index)
          else next.delete(name)
          all.push({ map: isSet ? NameMap.set(map, name, index) : NameMap.remove(map, name), model: next })
          for (const back of asked) isSame(at(back))
        })
        for (const each of all) isSame(each)
      })
    )
  })

  it("a name that is not there is removed for nothing", () => {
    const one = NameMap.set(NameMap.empty(), "a", 1)
    assert.strictEqual(NameMap.remove(one, "b"), one)
    assert.notStrictEqual(NameMap.remove(one, "a"), one)
  })
})

describe("a table", () => {
  it("a row has a name and a number, and a number is never used twice", () => {
    const none = Table.empty<string>()
    assert.strictEqual(Table.count(none), 0)
    const two = Table.add(Table.add(none, "a", "row a"), "b", "row b")
    assert.deepStrictEqual([Table.find(two, "a"), Table.find(two, "b"), Table.find(two, "c")], [0, 1, undefined])
    assert.deepStrictEqual([Table.row(two, 0), Table.row(two, 1), Table.row(two, 2)], ["row a", "row b", undefined])
    const other = Table.replace(two, 1, "another b")
    assert.deepStrictEqual([Table.find(other, "b"), Table.row(other, 1), Table.count(other)], [1, "another b", 2])
    assert.strictEqual(Table.row(Table.replace(two, 5, "nobody's"), 5), undefined)
    const one = Table.drop(other, "a", 0)
    assert.deepStrictEqual([Table.find(one, "a"), Table.row(one, 0), Table.count(one)], [undefined, undefined, 1])
    const again = Table.add(one, "a", "a again")
    assert.deepStrictEqual([Table.find(again, "a"), Table.row(again, 2), again.next], [2, "a again", 3])
    assert.strictEqual(Table.row(two, 1), "row b", "older tables stay as they were")
  })
})

describe("an invariant", () => {
  it("stops the machine where it is broken, and says what was", () => {
    invariant(true, "one is one")
    assert.throws(() => invariant(false, "one is two"), "invariant broken: one is two")
    // As `never`: what no type allows can still come from outside.
    assert.throws(() => unreachable({ _tag: "Strange" } as never), 'unreachable case {"_tag":"Strange"}')
  })
})
