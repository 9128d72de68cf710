import fc from "fast-check"
import { Unpackr } from "msgpackr"
import { assert, describe, it } from "vitest"
import * as Messagepack from "../../src/worker-sdk/protocol/MessagepackCodec.ts"
import { MessagepackWriter } from "../../src/worker-sdk/protocol/MessagepackWriter.ts"
import * as Protobuf from "../../src/worker-sdk/protocol/ProtobufCodec.ts"
import { connectOnceRequest, connectOnceResponse, fromWorker, hostile, toWorker } from "./generators.ts"

const writer = new MessagepackWriter()

const frame = <Message>(
  write: (writer: MessagepackWriter, message: Message) => void,
  messages: ReadonlyArray<Message>
): Buffer => {
  writer.begin(14)
  for (const message of messages) write(writer, message)
  return writer.finish().subarray(14)
}

const frameFromWorker: fc.Arbitrary<Messagepack.FrameFromWorker> = fc.oneof(
  fromWorker,
  fc.record({ _tag: fc.constant("ConnectOnce" as const), request: connectOnceRequest }),
  fc.record({ _tag: fc.constant("Open" as const), token: fc.string() })
)

const frameToWorker: fc.Arbitrary<Messagepack.FrameToWorker> = fc.oneof(
  toWorker,
  fc.record({ _tag: fc.constant("Connected" as const), response: connectOnceResponse }),
  fc.record({ _tag: fc.constant("Opened" as const) }),
  fc.record({
    _tag: fc.constant("Refused" as const),
    kind: fc.constantFrom("unauthenticated" as const, "unknown-version" as const, "unavailable" as const),
    message: fc.string()
  })
)

/** Byte fields come back as views of another class; the bytes are what counts. Minus zero and zero are one number. */
const plain = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (_, field) =>
      field instanceof Uint8Array || (typeof field === "object" && field?.type === "Buffer")
        ? Buffer.from(field.data ?? field).toString("base64")
        : field
    )
  )

const sameAs = (seen: unknown, expected: unknown): void => assert.deepStrictEqual(plain(seen), plain(expected))

/** Slow machines take longer; a decoder that loops takes for ever. */
const hostileBudgetMs = 2000

describe("MessagePack codec", () => {
  it("M1: what a worker writes is what the plane reads, for frames of any length", () => {
    fc.assert(
      fc.property(fc.array(frameFromWorker, { minLength: 1, maxLength: 6 }), (messages) => {
        sameAs(Messagepack.decodeFromWorker(frame(Messagepack.writeFromWorker, messages)), messages)
      }),
      { numRuns: 500 }
    )
  })

  it("M2: what the plane writes is what a worker reads, for frames of any length", () => {
    fc.assert(
      fc.property(fc.array(frameToWorker, { minLength: 1, maxLength: 6 }), (messages) => {
        sameAs(Messagepack.decodeToWorker(frame(Messagepack.writeToWorker, messages)), messages)
      }),
      { numRuns: 500 }
    )
  })

  it("M3: frames are MessagePack: an independent reader finds one array per message", () => {
    const reader = new Unpackr({ useRecords: false, int64AsType: "number" })
    fc.assert(
      fc.property(fc.array(fromWorker, { minLength: 1, maxLength: 4 }), (messages) => {
        const values = reader.unpackMultiple(frame(Messagepack.writeFromWorker, messages))
        assert(values !== undefined && values.length === messages.length)
        for (const [index, message] of messages.entries()) {
          const value: unknown = values[index]
          assert(Array.isArray(value))
          if ("requestId" in message) sameAs([value[1], value[2]], [message.requestId, message.token])
        }
      }),
      { numRuns: 300 }
    )
  })

  it("M4: hostile bytes give messages or MalformedFrame, never a throw, in bounded time", () => {
    const valid = fc
      .array(frameFromWorker, { minLength: 1, maxLength: 3 })
      .map((messages) => Uint8Array.from(frame(Messagepack.writeFromWorker, messages)))
    const startedAt = performance.now()
    let malformed = 0
    let runs = 0
    fc.assert(
      fc.property(hostile(valid), (bytes) => {
        for (const decode of [Messagepack.decodeFromWorker, Messagepack.decodeToWorker]) {
          const decoded = decode(bytes)
          runs++
          if (Messagepack.isMalformed(decoded)) malformed++
        }
      }),
      { numRuns: 3000 }
    )
    assert.isBelow((performance.now() - startedAt) / runs, hostileBudgetMs / 100)
    // The generator must reach both outcomes, or the law says nothing.
    assert.isAbove(malformed, runs / 10)
    assert.isBelow(malformed, runs)
  })

  it("M5: a field that a newer peer appends is skipped, whatever it is", () => {
    const newer = new Uint8Array([0x95, 7, 0xa1, 0x72, 1, 0xc3, 0xa1, 0x6d])
    const extended = Uint8Array.from([0x97, ...newer.slice(1), 0x92, 0xc0, 0x93, 1, 0xa1, 0x78, 0xc4, 1, 9, 0xcb])
    assert(Messagepack.isMalformed(Messagepack.decodeFromWorker(extended)))
    const whole = Uint8Array.from([...extended.slice(0, -1), 0xcb, 0, 0, 0, 0, 0, 0, 0, 0])
    const expected = [{ _tag: "Failed", requestId: "r", token: 1, retryable: true, message: "m" }]
    sameAs(Messagepack.decodeFromWorker(newer), expected)
    // Array of nil and array, then a double: two fields more.
    sameAs(Messagepack.decodeFromWorker(whole), expected)
  })

  it("M6: lengths that promise more than there is, or nest without end, are refused without allocating", () => {
    const cases = ["dd7fffffff", "91ddffffffff", "95 07 db ffffffff", `9a0b${"91".repeat(5000)}`, "910b".repeat(2000)]
    for (const hex of cases) {
      assert(Messagepack.isMalformed(Messagepack.decodeFromWorker(Buffer.from(hex.replaceAll(" ", ""), "hex"))), hex)
    }
    assert(Messagepack.isMalformed(Messagepack.decodeFromWorker(new Uint8Array(0))))
    assert(Messagepack.isMalformed(Messagepack.decodeFromWorker(new Uint8Array(3 * 1024 * 1024))))
  })
})

describe("protobuf codec", () => {
  it("P1: what a worker writes is what the plane reads", () => {
    fc.assert(
      fc.property(fromWorker, (message) =>
        sameAs(Protobuf.decodeFromWorker(Protobuf.encodeFromWorker(message)), message)
      ),
      { numRuns: 500 }
    )
  })

  it("P2: what the plane writes is what a worker reads", () => {
    fc.assert(
      fc.property(toWorker, (message) => sameAs(Protobuf.decodeToWorker(Protobuf.encodeToWorker(message)), message)),
      { numRuns: 500 }
    )
  })

  it("P3: the handshake comes back as it was", () => {
    fc.assert(
      fc.property(connectOnceRequest, connectOnceResponse, (request, response) => {
        sameAs(Protobuf.decodeConnectOnceRequest(Protobuf.encodeConnectOnceRequest(request)), request)
        sameAs(Protobuf.decodeConnectOnceResponse(Protobuf.encodeConnectOnceResponse(response)), response)
      })
    )
  })

  it("P4: hostile bytes give a message or MalformedFrame, never a throw, in bounded time", () => {
    const valid = fromWorker.map((message) => Uint8Array.from(Protobuf.encodeFromWorker(message)))
    const startedAt = performance.now()
    let malformed = 0
    let runs = 0
    fc.assert(
      fc.property(hostile(valid), (bytes) => {
        for (const decode of [
          Protobuf.decodeFromWorker,
          Protobuf.decodeToWorker,
          Protobuf.decodeConnectOnceRequest,
          Protobuf.decodeConnectOnceResponse
        ]) {
          const decoded = decode(bytes)
          runs++
          if ("_tag" in decoded && decoded._tag === "MalformedFrame") malformed++
        }
      }),
      { numRuns: 2000 }
    )
    assert.isBelow((performance.now() - startedAt) / runs, hostileBudgetMs / 100)
    assert.isAbove(malformed, runs / 10)
    assert.isBelow(malformed, runs)
  })

  it("P5: numbers that a double cannot hold, and unknown kinds, are malformed", () => {
    // FromWorker { response_end { token: 2^64 - 1 } }
    const huge = Buffer.from("220b10ffffffffffffffffff01", "hex")
    assert.include(Protobuf.decodeFromWorker(huge), { _tag: "MalformedFrame" })
    assert.include(Protobuf.decodeFromWorker(new Uint8Array(0)), { _tag: "MalformedFrame" })
  })
})
