/**
 * Laws E1 to E3. Streams are made of few line kinds and all three line ends, so that blank lines, carriage returns at the
 * end of a piece and ids in odd places are common; pieces are mostly of one to four bytes.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as EventFrames from "../../src/planes/invocation/EventFrames.ts"

const line = fc.oneof(
  fc.constantFrom("data: x", "data:", "id: 7", "id:", "id", "id: a\0b", "id:  two", ": ping", "event: e", "é"),
  fc.constant("")
)
const ending = fc.constantFrom("\n", "\r\n", "\r")
const streamText = fc
  .tuple(
    fc.constantFrom("", "\ufeff", "\ufeff\n", "\n"),
    fc.array(
      fc.tuple(line, ending).map((parts) => parts.join("")),
      { maxLength: 30 }
    ),
    fc.constantFrom("", "data: cut o")
  )
  .map(([start, lines, rest]) => start + lines.join("") + rest)

const pieces = fc.tuple(streamText, fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1 }))

const cut = (text: string, sizes: ReadonlyArray<number>): ReadonlyArray<Buffer> => {
  const bytes = Buffer.from(text)
  const parts: Array<Buffer> = []
  for (let at = 0, index = 0; at < bytes.length; index++) {
    const size = sizes[index % sizes.length] ?? 1
    parts.push(bytes.subarray(at, at + size))
    at += size
  }
  return parts
}

const split = (parts: ReadonlyArray<Uint8Array>) => {
  const splitter = new EventFrames.Splitter()
  const frames = parts.flatMap((part) => splitter.push(part))
  return { frames, rest: splitter.end() }
}

/** What a browser makes of a stream, from the standard's own steps: id and data of each event that it dispatches. */
const dispatched = (text: string) => {
  const events: Array<{ id: string; data: string; event: string }> = []
  let id = ""
  let data = ""
  let event = ""
  const lines = text.replace(/^\ufeff/, "").split(/\r\n|\n|\r/)
  // What no line end follows is no line.
  lines.pop()
  for (const line of lines) {
    if (line === "") {
      if (data !== "") events.push({ id, data, event })
      data = ""
      event = ""
      continue
    }
    const colon = line.indexOf(":")
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "")
    if (field === "data") data += `${value}\n`
    if (field === "event") event = value
    if (field === "id" && !value.includes("\0")) id = value
  }
  return events
}

describe("event frames", () => {
  it("E1, E2: are the bytes of the stream, cut after blank lines, in whatever pieces it came", () => {
    let framesCount = 0
    fc.assert(
      fc.property(pieces, ([text, sizes]) => {
        const { frames, rest } = split(cut(text, sizes))
        framesCount += frames.length
        assert.strictEqual(Buffer.concat([...frames, rest ?? new Uint8Array(0)]).toString(), text)
        const whole = split([Buffer.from(text)])
        assert.deepEqual(
          frames.map((frame) => Buffer.from(frame).toString()),
          whole.frames.map((frame) => Buffer.from(frame).toString())
        )
        for (const frame of frames) {
          const content = Buffer.from(frame).toString()
          assert.match(content, /(?:\n\n|\r\r|\r\n\r\n|\r\n\r|\n\r\n?|\r\r\n|\r\n\n)$/)
          assert.match(content, /[^\r\n]/)
          // One blank line after content, and it is the last.
          const lines = content
            .replace(/^\ufeff/, "")
            .replace(/^[\r\n]+/, "")
            .split(/\r\n|\n|\r/)
          assert.strictEqual(lines.indexOf(""), lines.length - 2)
        }
      }),
      { numRuns: 2_000 }
    )
    assert.isAbove(framesCount, 1_000)
  })

  it("E3: an inserted id changes no event but its id, and only where the function gave none", () => {
    fc.assert(
      fc.property(streamText, (text) => {
        const cutUp = split([Buffer.from(text)])
        const frames = cutUp.rest === undefined ? cutUp.frames : [...cutUp.frames, cutUp.rest]
        const shown = frames.map((frame, index) => EventFrames.withId(frame, `r:${index + 1}`))
        const before = dispatched(text)
        const after = dispatched(Buffer.concat(shown).toString())
        assert.deepEqual(
          after.map(({ data, event }) => ({ data, event })),
          before.map(({ data, event }) => ({ data, event }))
        )
        frames.forEach((frame, index) => {
          const own = EventFrames.ownId(frame)
          if (own !== undefined) assert.strictEqual(shown[index], frame)
          else assert.strictEqual(EventFrames.ownId(shown[index] ?? frame), `r:${index + 1}`)
        })
        for (const { id } of after) assert.isTrue(id !== "" || text.includes("id"))
      }),
      { numRuns: 2_000 }
    )
  })

  it("of a stream that never ends a line are given up at a bound, without losing a byte", () => {
    const splitter = new EventFrames.Splitter()
    const piece = Buffer.alloc(100_000, "x")
    let bytes = 0
    for (let index = 0; index < 30; index++) for (const part of splitter.push(piece)) bytes += part.length
    assert.isTrue(splitter.isRaw)
    assert.strictEqual(bytes, 3_000_000)
    assert.isUndefined(splitter.end())
  })

  it("belong to event streams, whatever the case and parameters of their content type", () => {
    for (const type of ["text/event-stream", "text/event-stream; charset=utf-8", "Text/Event-Stream;x"]) {
      assert.isTrue(EventFrames.isEventStream([["content-type", type]]))
    }
    for (const type of ["text/event-streams", "text/plain", "application/x; text/event-stream"]) {
      assert.isFalse(EventFrames.isEventStream([["content-type", type]]))
    }
  })
})
