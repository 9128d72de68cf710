import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as LogMessage from "./LogMessage.ts"
import type { StoredMessage } from "./StreamReader.ts"

const records = fc.array(fc.uint8Array({ maxLength: 30 }), { minLength: 1, maxLength: 5 })

/** How many parts of a batch were written before its writer died or was deposed; all of them for most. */
const batches = fc.array(fc.tuple(records, fc.option(fc.nat({ max: 6 }), { nil: undefined, freq: 2 })), {
  maxLength: 12
})

describe("batches as messages", () => {
  it("M1, M2: what is there whole is read in order, parts of what is not are passed over, and the last message tells the end", () => {
    fc.assert(
      fc.property(batches, fc.integer({ min: 5, max: 60 }), (batches, partBytesMax) => {
        const stream: Array<LogMessage.LogMessage> = []
        const written: Array<string> = []
        let end = 0
        for (const [records, partsWritten] of batches) {
          const parts = LogMessage.encode(end, records, partBytesMax)
          const count = Math.min(parts.length, partsWritten ?? parts.length)
          for (const { headers, data } of parts.slice(0, count)) {
            const stored: StoredMessage = {
              subject: "s",
              sequence: stream.length + 1,
              data,
              header: (name) => headers[name],
              storedAtMs: 0
            }
            stream.push(LogMessage.decode(stored))
          }
          if (count < parts.length) continue
          end += records.length
          written.push(...records.map((record) => Buffer.from(record).toString("hex")))
        }
        const assembly = new LogMessage.Assembly()
        const read: Array<string> = []
        for (const message of stream) {
          const batch = assembly.add(message)
          if (batch === undefined) continue
          assert.strictEqual(batch.position, read.length)
          read.push(...batch.records.map((record) => Buffer.from(record).toString("hex")))
        }
        assert.deepStrictEqual(read, written)
        const last = stream.at(-1)
        if (last !== undefined) assert.strictEqual(LogMessage.endAfter(last), end)
      })
    )
  })

  it("a message without Millrace's headers is refused", () => {
    const foreign = { subject: "s", sequence: 7, data: new Uint8Array(), header: () => undefined, storedAtMs: 0 }
    assert.throws(() => LogMessage.decode(foreign), "message 7")
  })
})
