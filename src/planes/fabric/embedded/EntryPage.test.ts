import fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as EntryPage from "./EntryPage.ts"
import type { StoredEntry } from "./StoreMessage.ts"

const unpacked = (bytes: Uint8Array): ReadonlyArray<StoredEntry> => {
  const found: Array<StoredEntry> = []
  EntryPage.forEach(bytes, (entry) => found.push({ ...entry, value: new Uint8Array(entry.value) }))
  return found
}

describe("a page of entries", () => {
  it("E1: what was added comes out, in the same order", () => {
    const entry = fc.record({
      key: fc.string({ unit: "grapheme", maxLength: 400 }),
      value: fc.oneof(
        fc.uint8Array({ maxLength: 40 }),
        fc.constantFrom(300_000, 700_000).map((size) => new Uint8Array(size))
      ),
      revision: fc.maxSafeInteger()
    })
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 12 }), (entries) => {
        const page = EntryPage.make()
        for (const one of entries) page.add(one)
        assert.deepStrictEqual(unpacked(page.bytes()), entries)
      })
    )
  })
})
