import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { type Due, DueHeap, unset } from "./DueHeap.ts"

/** Few items and few times, so that items are set again and share a time. */
const action = fc.record({ item: fc.nat(7), dueMs: fc.nat(5), isSet: fc.boolean() })

/** What is left, in the order in which it is first. */
const drained = (heap: DueHeap<Due>): ReadonlyArray<Due> => {
  const items: Array<Due> = []
  for (let first = heap.first; first !== undefined; first = heap.first) {
    items.push(first)
    heap.remove(first)
  }
  return items
}

describe("DueHeap", () => {
  it("Z1: what is first is due first, each item is there once and by its last time, and what was removed is not there", () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const heap = new DueHeap<Due>()
        const items = Array.from({ length: 8 }, unset)
        const model = new Map<Due, number>()
        for (const { item, dueMs, isSet } of actions) {
          const one = items[item]!
          if (isSet) {
            heap.set(one, dueMs)
            model.set(one, dueMs)
          } else {
            heap.remove(one)
            model.delete(one)
          }
          const least = model.size === 0 ? undefined : Math.min(...model.values())
          assert.strictEqual(heap.first?.dueMs, least)
          for (const each of items) assert.strictEqual(each.duePlace >= 0, model.has(each))
        }
        const left = drained(heap)
        assert.sameMembers([...left], [...model.keys()])
        assert.deepStrictEqual(
          left.map(({ dueMs }) => dueMs),
          [...model.values()].sort((one, other) => one - other)
        )
        assert.isTrue(items.every(({ duePlace }) => duePlace === -1))
      }),
      { numRuns: 500 }
    )
  })
})
