/**
 * Laws of the bounded output (O1 to O3), against a model that keeps everything and cuts at the end. Bounds are tiny, so
 * that most runs meet them; text mixes one- to four-byte characters, so that cuts fall inside characters.
 *
 * @module
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import type { LogLine } from "../src/backends/ComputeBackend.ts"
import * as OutputTail from "../src/backends/OutputTail.ts"
import { upholds } from "./upholds.ts"

const bounds: OutputTail.Bounds = { lineBytesMax: 16, linesMax: 6, bytesMax: 60 }

const text = fc.string({ unit: fc.constantFrom("a", "\n", "\n", "ü", "€", "🙂", " "), maxLength: 60 })
const hostile = fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes))
/** Bytes in chunks that are cut anywhere. */
const chunked = (whole: fc.Arbitrary<Buffer>) =>
  fc.tuple(whole, fc.array(fc.nat({ max: 60 }), { maxLength: 6 })).map(([bytes, cuts]) => {
    const at = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length]
    return at.slice(1).map((end, index) => bytes.subarray(at[index], end))
  })

const writeAll = (chunks: ReadonlyArray<Buffer>, of: OutputTail.Bounds) => {
  const told: Array<LogLine> = []
  const tail = OutputTail.make((line) => told.push(line), of)
  for (const chunk of chunks) tail.write("stdout", chunk, 0)
  tail.end(0)
  return { tail, told }
}

const wide: OutputTail.Bounds = { lineBytesMax: 1_000, linesMax: 1_000, bytesMax: 100_000 }

describe("OutputTail", () => {
  it("O1, O2: lines and all of them together stay within their bounds, and the newest stay", () => {
    upholds(
      fc.property(chunked(fc.oneof(text.map(Buffer.from), hostile)), (chunks) => {
        const { tail, told } = writeAll(chunks, bounds)
        const kept = tail.lines()
        assert.isTrue(kept.length <= bounds.linesMax)
        // What is no UTF-8 becomes U+FFFD, three bytes for one.
        assert.isTrue(told.every((line) => Buffer.byteLength(line.text) <= 3 * bounds.lineBytesMax))
        assert.deepStrictEqual(kept, kept.length === 0 ? [] : told.slice(-kept.length))
      })
    )
  })

  it("O1: valid text is cut between characters, into lines of at most the bound, and loses nothing", () => {
    upholds(
      fc.property(chunked(text.map(Buffer.from)), (chunks) => {
        const { told } = writeAll(chunks, { ...wide, lineBytesMax: bounds.lineBytesMax })
        assert.isTrue(told.every((line) => Buffer.byteLength(line.text) <= bounds.lineBytesMax))
        const whole = Buffer.concat(chunks).toString()
        assert.strictEqual(told.map((line) => line.text).join(""), whole.replaceAll("\n", ""))
      })
    )
  })

  it("O3: within the bounds the lines are those of the text, however it was chunked", () => {
    upholds(
      fc.property(chunked(text.map(Buffer.from)), (chunks) => {
        const { tail } = writeAll(chunks, wide)
        const lines = Buffer.concat(chunks).toString().split("\n")
        if (lines.at(-1) === "") lines.pop()
        assert.deepStrictEqual(
          tail.lines().map((line) => line.text),
          lines
        )
      })
    )
  })

  it("O3: the two streams do not cut into each other's lines", () => {
    upholds(
      fc.property(fc.array(fc.tuple(fc.boolean(), text), { maxLength: 8 }), (writes) => {
        const tail = OutputTail.make(() => undefined, wide)
        for (const [isOut, part] of writes) tail.write(isOut ? "stdout" : "stderr", Buffer.from(part), 0)
        tail.end(0)
        for (const stream of ["stdout", "stderr"] as const) {
          const lines = writes
            .filter(([isOut]) => isOut === (stream === "stdout"))
            .map(([, part]) => part)
            .join("")
            .split("\n")
          if (lines.at(-1) === "") lines.pop()
          const kept = tail.lines().filter((line) => line.stream === stream)
          assert.deepStrictEqual(
            kept.map((line) => line.text),
            lines
          )
        }
      })
    )
  })

  it("the last output is a suffix of everything within its bytes", () => {
    upholds(
      fc.property(chunked(text.map(Buffer.from)), fc.integer({ min: 1, max: 40 }), (chunks, bytesMax) => {
        const { tail, told } = writeAll(chunks, wide)
        const last = tail.text(bytesMax)
        assert.isTrue(Buffer.byteLength(last) <= bytesMax)
        assert.isTrue(
          told
            .map((line) => line.text)
            .join("\n")
            .endsWith(last)
        )
      })
    )
  })
})
