import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as RecordBatch from "./RecordBatch.ts"

const records = fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 20 })

describe("RecordBatch", () => {
  it("decoding what was encoded gives the same records, and the size was known before", () => {
    fc.assert(
      fc.property(records, (records) => {
        const bytes = RecordBatch.encode(records)
        assert.strictEqual(bytes.byteLength, RecordBatch.size(records))
        assert.deepStrictEqual(
          RecordBatch.decode(bytes, records.length).map((record) => [...record]),
          records.map((record) => [...record])
        )
      })
    )
  })

  it("encoding takes only the part that a view shows, and gives memory of its own", () => {
    const whole = new Uint8Array([1, 2, 3, 4, 5])
    const bytes = RecordBatch.encode([whole.subarray(1, 3)])
    assert.strictEqual(bytes.buffer.byteLength, bytes.byteLength)
    assert.deepStrictEqual([...RecordBatch.decode(bytes, 1)[0]!], [2, 3])
  })

  it("a batch that was cut, lengthened or miscounted is refused", () => {
    fc.assert(
      fc.property(records, fc.integer({ min: -60, max: 60 }), (records, change) => {
        fc.pre(change !== 0)
        const bytes = RecordBatch.encode(records)
        const length = Math.max(0, bytes.byteLength + change)
        fc.pre(length !== bytes.byteLength)
        const other = new Uint8Array(length)
        other.set(bytes.subarray(0, length))
        assert.throws(() => RecordBatch.decode(other, records.length), RangeError)
        assert.throws(() => RecordBatch.decode(bytes, records.length + 1), RangeError)
      })
    )
  })
})
