import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { MessagepackWriter } from "./MessagepackWriter.ts"

/** What one of many connections does in one turn. */
type Act = { readonly at: number } & ({ readonly kind: "write"; readonly bytes: number } | { readonly kind: "finish" })

const connections = 8
const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ at: fc.nat(connections - 1), kind: fc.constant("write" as const), bytes: size() })
  },
  { weight: 2, arbitrary: fc.record({ at: fc.nat(connections - 1), kind: fc.constant("finish" as const) }) }
)

/** About the bounds of a part, of a chunk, and below. */
function size(): fc.Arbitrary<number> {
  return fc.oneof(fc.nat(40), fc.integer({ min: 900, max: 2_200 }), fc.integer({ min: 4_000, max: 140_000 }))
}

describe("MessagepackWriter", () => {
  it("frames that are written at the same time never share a byte, and none changes after it was given away", () => {
    fc.assert(
      fc.property(fc.array(act, { maxLength: 60 }), fc.constantFrom(0, 14), (acts, headroom) => {
        const writers = Array.from({ length: connections }, () => new MessagepackWriter())
        const expected = new Map<number, Array<Buffer>>()
        const given: Array<{ readonly frame: Buffer; readonly content: Buffer }> = []
        let mark = 0
        const finish = (at: number) => {
          const parts = expected.get(at)
          if (parts === undefined) return
          expected.delete(at)
          const size = writers[at]!.size
          const frame = writers[at]!.finish()
          frame.fill(255, 0, headroom)
          const content = Buffer.concat([Buffer.alloc(headroom, 255), ...parts])
          expect(size).toBe(content.length - headroom)
          given.push({ frame, content })
        }
        for (const one of acts) {
          if (one.kind === "finish") {
            finish(one.at)
            continue
          }
          const writer = writers[one.at]!
          const parts = expected.get(one.at) ?? []
          if (!expected.has(one.at)) writer.begin(headroom)
          expected.set(one.at, parts)
          const value = Buffer.alloc(one.bytes, ++mark % 250)
          const before = writer.size
          writer.bytes(value)
          // The header of its length is the writer's own affair: what follows it is the value.
          const header = writer.size - before - value.length
          parts.push(headerOf(value.length), value)
          expect(header).toBe(headerOf(value.length).length)
        }
        for (let at = 0; at < connections; at++) finish(at)
        for (const { frame, content } of given) expect(frame.equals(content)).toBe(true)
      }),
      { numRuns: 300 }
    )
  })

  it("ten thousand small frames that begin in one turn take two kilobytes each, not a chunk", () => {
    const writers = Array.from({ length: 10_000 }, () => new MessagepackWriter())
    for (const writer of writers) writer.begin(14)
    for (const writer of writers) writer.number(9)
    const chunks = new Set(writers.map((writer) => writer.finish().buffer))
    const bytes = [...chunks].reduce((sum, chunk) => sum + chunk.byteLength, 0)
    expect(bytes).toBeLessThan(10_000 * 2_300)
  })

  it("frames that are written one after the other fill a chunk", () => {
    const writer = new MessagepackWriter()
    const chunks = new Set<ArrayBufferLike>()
    for (let count = 0; count < 60; count++) {
      writer.begin(14)
      writer.bytes(Buffer.alloc(5_000))
      chunks.add(writer.finish().buffer)
    }
    expect(chunks.size).toBeLessThanOrEqual(8)
  })
})

const headerOf = (length: number): Buffer =>
  length < 0x100
    ? Buffer.from([0xc4, length])
    : length < 0x10000
      ? Buffer.from([0xc5, length >> 8, length & 0xff])
      : Buffer.from([0xc6, 0, (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff])
