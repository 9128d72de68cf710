import fc from "fast-check"
import { assert, describe, it } from "vitest"
import {
  closeFrame,
  controlFrame,
  FrameParser,
  frameHeaderBytesMax,
  sealFrame
} from "../../src/worker-sdk/connection/WebSocketFrames.ts"

const messageBytesMax = 100_000

/** A frame as a server sends it: without mask. */
const serverFrame = (first: number, payload: Uint8Array): Buffer => {
  const { length } = payload
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10)
  head[0] = first
  head[1] = length < 126 ? length : length < 65_536 ? 126 : 127
  if (head.length === 4) head.writeUInt16BE(length, 2)
  if (head.length === 10) head.writeUInt32BE(length, 6)
  return Buffer.concat([head, payload])
}

const parse = (chunks: ReadonlyArray<Buffer>): ReadonlyArray<string> => {
  const seen: Array<string> = []
  const parser = new FrameParser(messageBytesMax, {
    onBinary: (payload) => seen.push(`binary ${payload.toString("base64")}`),
    onPing: (payload) => seen.push(`ping ${payload.toString("base64")}`),
    onClose: (code, reason) => seen.push(`close ${code} ${reason}`),
    onProtocolError: () => seen.push("fault")
  })
  for (const chunk of chunks) parser.push(chunk)
  return seen
}

const cut = (bytes: Buffer, at: ReadonlyArray<number>): ReadonlyArray<Buffer> => {
  const points = [0, ...at.map((point) => point % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return points.slice(1).map((point, index) => bytes.subarray(points[index], point))
}

const payload = fc.oneof(
  fc.uint8Array({ maxLength: 20 }),
  fc.constantFrom(0, 125, 126, 127, 65_535, 65_536).map((length) => new Uint8Array(length).fill(3))
)

interface Message {
  readonly kind: "binary" | "ping"
  readonly parts: ReadonlyArray<Uint8Array>
}

const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ kind: fc.constant("binary" as const), parts: fc.array(payload, { minLength: 1, maxLength: 3 }) }),
  fc.record({
    kind: fc.constant("ping" as const),
    parts: fc.tuple(fc.uint8Array({ maxLength: 125 }))
  })
)

const encode = ({ kind, parts }: Message): Buffer =>
  kind === "ping"
    ? serverFrame(0x89, parts[0] ?? new Uint8Array(0))
    : Buffer.concat(
        parts.map((part, index) => serverFrame((index === parts.length - 1 ? 0x80 : 0) | (index === 0 ? 2 : 0), part))
      )

describe("WebSocket frames of a worker", () => {
  it("W1: messages arrive whole and in order however the network cuts them", () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 5 }), fc.array(fc.nat(), { maxLength: 12 }), (messages, points) => {
        const sizes = messages.map(({ parts }) => parts.reduce((sum, part) => sum + part.length, 0))
        const tooLarge = sizes.findIndex((size) => size > messageBytesMax)
        const expected = messages.map(({ kind, parts }) => `${kind} ${Buffer.concat(parts).toString("base64")}`)
        const wanted = tooLarge < 0 ? expected : [...expected.slice(0, tooLarge), "fault"]
        assert.deepStrictEqual(parse(cut(Buffer.concat(messages.map(encode)), points)), wanted)
      }),
      { numRuns: 500 }
    )
  })

  it("W2: any bytes give messages or one fault, and nothing after it", () => {
    let faults = 0
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 }), (chunks) => {
        const seen = parse(chunks.map((chunk) => Buffer.from(chunk)))
        const end = seen.findIndex((entry) => entry === "fault" || entry.startsWith("close"))
        if (end >= 0) assert.strictEqual(end, seen.length - 1)
        if (seen.includes("fault")) faults++
      }),
      { numRuns: 2000 }
    )
    assert.isAbove(faults, 100)
  })

  it("W3: a client's frame says its length and carries its payload unchanged", () => {
    fc.assert(
      fc.property(payload, (bytes) => {
        const buffer = Buffer.concat([Buffer.alloc(frameHeaderBytesMax, 0xff), bytes])
        const frame = sealFrame(buffer, "binary")
        assert.strictEqual(frame[0], 0x82)
        // A server must see a mask; ours is all zero, so the payload is as it was.
        assert.strictEqual((frame[1] ?? 0) & 0x80, 0x80)
        assert(frame.subarray(frame.length - bytes.length).equals(bytes))
        assert(frame.subarray(frame.length - bytes.length - 4, frame.length - bytes.length).equals(Buffer.alloc(4)))
        const unmasked = Buffer.from(frame)
        unmasked[1] = (unmasked[1] ?? 0) & 0x7f
        const head = unmasked.subarray(0, frame.length - bytes.length - 4)
        assert.deepStrictEqual(parse([head, unmasked.subarray(frame.length - bytes.length)]), [
          `binary ${Buffer.from(bytes).toString("base64")}`
        ])
      })
    )
  })

  it("W4: control frames never exceed 125 bytes, and a long reason is cut between characters", () => {
    for (const reason of ["", "short", "日本語".repeat(40), "x".repeat(500)]) {
      const frame = closeFrame(1000, reason)
      assert.isAtMost(frame.length, 125 + 6)
      assert(reason.startsWith(frame.toString("utf8", 8)))
    }
    assert.isAtMost(controlFrame("pong", new Uint8Array(1000)).length, 125 + 6)
  })
})
