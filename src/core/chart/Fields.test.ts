import { assert, describe, it } from "vitest"
import * as Fields from "./Fields.ts"

const notObjects = [undefined, null, 1, "a", [1], []]

describe("fields of objects of others", () => {
  it("what is no object has no fields", () => {
    for (const value of notObjects) assert.deepStrictEqual(Fields.record(value), {})
    assert.deepStrictEqual(Fields.record({ a: 1 }), { a: 1 })
    assert.deepStrictEqual(Fields.names(["a"]), [])
    assert.deepStrictEqual(Fields.names({ a: 1, b: 2 }), ["a", "b"])
  })

  it("only what an object itself has is found at a path", () => {
    assert.strictEqual(Fields.at({ a: { b: 1 } }, "a", "b"), 1)
    assert.strictEqual(Fields.at(5), 5)
    for (const value of [...notObjects, { a: 1 }]) {
      assert.isUndefined(Fields.at(value, "a", "b"))
      assert.isUndefined(Fields.at(value, "toString"))
    }
  })

  it("a text, a number and a list are only what is one", () => {
    const all = { text: "a", number: 1, list: [1] }
    assert.deepStrictEqual([Fields.text(all, "text"), Fields.text(all, "number")], ["a", undefined])
    assert.deepStrictEqual([Fields.number(all, "number"), Fields.number(all, "text")], [1, undefined])
    assert.deepStrictEqual(
      [Fields.list(all, "list"), Fields.list(all, "text"), Fields.list(all, "none")],
      [[1], [], []]
    )
  })

  it("each value is counted, what is there by reference each time, and no further than to the end", () => {
    assert.strictEqual(Fields.counted("a", 10), 9)
    assert.strictEqual(Fields.counted([1, { a: 2, b: [3] }], 10), 4)
    const shared = [1, 2]
    assert.strictEqual(Fields.counted([shared, shared], 10), 3)
    for (const max of [0, 1, 2, 3]) assert.strictEqual(Fields.counted([1, [2], 3], max), 0)
    for (const max of [0, -1]) assert.strictEqual(Fields.counted([], max), 0)
    let asked = 0
    const watched = new Proxy(["a", "b", "c"], {
      get: (values, name) => {
        if (name === "0" || name === "1" || name === "2") asked++
        return Reflect.get(values, name)
      }
    })
    assert.strictEqual(Fields.counted(watched, 2), 0)
    assert.strictEqual(asked, 2)
  })

  it("the one that is changed is another, the rest stays, and ways that are not there are made", () => {
    const object = { a: { b: 1, c: 2 }, d: 3 }
    const next = Fields.replaced(object, ["a", "b"], (value) => [value])
    assert.deepStrictEqual<unknown>(next, { a: { b: [1], c: 2 }, d: 3 })
    assert.deepStrictEqual(object, { a: { b: 1, c: 2 }, d: 3 })
    assert.deepStrictEqual<unknown>(
      Fields.replaced({}, ["x", "y"], (value) => String(value)),
      { x: { y: "undefined" } }
    )
    assert.strictEqual(
      Fields.replaced(object, [], () => "no"),
      object
    )
  })
})
