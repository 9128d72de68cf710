import { crc32 } from "node:zlib"
import fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as RowCheck from "./RowCheck.ts"

/** As the sum was first written down: one call for each part. Stores that are there were summed like this. */
const plain = (fields: ReadonlyArray<RowCheck.Field>): number => {
  let sum = 0
  for (const field of fields) {
    const tag = Buffer.alloc(9)
    const bytes = typeof field === "string" ? Buffer.from(field, "utf8") : field
    tag[0] = field === null ? 0 : typeof field === "number" ? 1 : typeof field === "string" ? 2 : 3
    if (field !== null) tag.writeDoubleLE(typeof bytes === "number" ? bytes : (bytes?.byteLength ?? 0), 1)
    sum = crc32(tag, sum)
    if (bytes instanceof Uint8Array) sum = crc32(bytes, sum)
  }
  return sum
}

describe("the sum of a row", () => {
  it("is that of its parts one after the other, however long they are", () => {
    const length = fc.constantFrom(0, 1, 200, 4_095, 4_096, 4_097, 40_000)
    const field: fc.Arbitrary<RowCheck.Field> = fc.oneof(
      fc.constant(null),
      fc.double(),
      fc
        .tuple(fc.constantFrom("a", "\u00e4", "\u20ac", "\ud83d\ude00"), length)
        .map(([unit, count]) => unit.repeat(count)),
      length.map((count) => new Uint8Array(count).fill(count))
    )
    fc.assert(
      fc.property(fc.array(field, { maxLength: 8 }), (fields) => {
        assert.strictEqual(RowCheck.of(...fields), plain(fields))
      })
    )
  })
})
