import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { RecentMap } from "./RecentMap.ts"

const action = fc.record({
  kind: fc.constantFrom("set", "set", "set", "delete", "trim"),
  key: fc.nat(6),
  value: fc.nat(3)
})

describe("RecentMap", () => {
  it("Y1: it is the same as a map in which each set deletes the key first", () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const map = new RecentMap<number, number>()
        const model = new Map<number, number>()
        for (const { kind, key, value } of actions) {
          if (kind === "set") {
            map.set(key, value)
            model.delete(key)
            model.set(key, value)
          } else if (kind === "delete") assert.strictEqual(map.delete(key), model.delete(key))
          else {
            // Less than nothing may stay of it, too.
            const sizeMax = key - 1
            map.trim(sizeMax)
            for (const oldest of [...model.keys()].slice(0, Math.max(0, model.size - sizeMax))) model.delete(oldest)
          }
          assert.deepStrictEqual([...map.values()], [...model.values()])
          assert.deepStrictEqual(map.oldest(), [...model][0])
          assert.strictEqual(map.size, model.size)
          for (let asked = 0; asked <= 6; asked++) {
            assert.strictEqual(map.has(asked), model.has(asked))
            assert.strictEqual(map.get(asked), model.get(asked))
          }
        }
      })
    )
  })
})
