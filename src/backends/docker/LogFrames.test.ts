import * as FastCheck from "fast-check"
import { describe, expect, it } from "vitest"
import * as LogFrames from "./LogFrames.ts"

const frame = (kind: number, text: string): Buffer => {
  const payload = Buffer.from(text)
  const header = Buffer.alloc(8)
  header[0] = kind
  header.writeUInt32BE(payload.length, 4)
  return Buffer.concat([header, payload])
}

const time = "2026-11-21T20:40:25.27Z"

const read = (chunks: ReadonlyArray<Buffer>) => {
  const entries: Array<readonly [string, string, string]> = []
  const next = LogFrames.reader(({ stream, time, bytes }) => entries.push([stream, time, bytes.toString()]))
  for (const chunk of chunks) next(chunk)
  return entries
}

describe("the daemon's frames of output", () => {
  it("F1 cut anywhere, the same bytes give the same entries", () => {
    const text = FastCheck.string({ unit: "binary", maxLength: 40 })
    const entry = FastCheck.tuple(FastCheck.constantFrom(1, 2), text)
    const cuts = FastCheck.array(FastCheck.nat(400), { maxLength: 10 })
    FastCheck.assert(
      FastCheck.property(FastCheck.array(entry, { maxLength: 8 }), cuts, (entries, places) => {
        const bytes = Buffer.concat(entries.map(([kind, said]) => frame(kind, `${time} ${said}`)))
        const ends = [...places.map((place) => Math.min(place, bytes.length)), bytes.length].toSorted((a, b) => a - b)
        const chunks = ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end))
        expect(read(chunks)).toEqual(
          entries.map(([kind, said]) => [kind === 1 ? "stdout" : "stderr", time, Buffer.from(said).toString()])
        )
      })
    )
  })

  it("F2 what claims to be too long, or is of no stream, ends the reading", () => {
    const long = frame(1, "")
    long.writeUInt32BE(LogFrames.entryBytesMax + 1, 4)
    expect(() => read([long])).toThrow("no frames")
    expect(() => read([frame(7, "x")])).toThrow("no frames")
  })

  it("a time is passed back to the nanosecond, and what is no time asks for all", () => {
    expect(LogFrames.sinceOf("2026-11-21T20:40:25.270000001Z")).toBe("1795293625.270000001")
    expect(LogFrames.sinceOf(time)).toBe("1795293625.270000000")
    expect(LogFrames.sinceOf("yesterday")).toBe("0")
  })
})
