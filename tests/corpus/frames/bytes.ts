/**
 * Bytes that are no messages: MessagePack for WebSocket, protobuf for gRPC.
 *
 * @module
 */
import type { BytesCase, When } from "./FrameCase.ts"

const bytes = (...parts: ReadonlyArray<number | string | Uint8Array>): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === "number" ? Buffer.of(part) : Buffer.from(part))))
const many = (count: number, ...parts: ReadonlyArray<number>): Buffer =>
  Buffer.concat(Array(count).fill(Buffer.of(...parts)))

const bad = (name: string, content: Uint8Array | string, when: When = "ready", says?: RegExp): BytesCase => ({
  name,
  when,
  outcome: "fault",
  bytes: content,
  ...(says === undefined ? {} : { says })
})

const heartbeat = [0x91, 0x0b]

export const messagepack: ReadonlyArray<BytesCase> = [
  bad("an empty frame", bytes(), "ready", /empty frame/),
  bad("a text frame", "hello", "ready", /text frame/),
  bad("a text frame of JSON", '{"_tag":"Heartbeat"}', "ready", /text frame/),
  bad("a NUL", bytes(0)),
  bad("nil", bytes(0xc0)),
  bad("a number", bytes(0x0b)),
  bad("a text in MessagePack", bytes(0xa5, "hello")),
  bad("a map", bytes(0x81, 0x01, 0x02)),
  bad("a map of four billion", bytes(0xdf, 0xff, 0xff, 0xff, 0xff)),
  bad("an array of nothing", bytes(0x90), "ready", /kind -1/),
  bad("an array of four billion", bytes(0xdd, 0xff, 0xff, 0xff, 0xff), "ready"),
  bad("an array of 65,535 without its elements", bytes(0xdc, 0xff, 0xff)),
  bad("a kind of 0", bytes(0x91, 0x00), "ready", /kind 0/),
  bad("a kind of 12", bytes(0x91, 0x0c), "ready", /kind 12/),
  bad("a kind of 127", bytes(0x91, 0x7f)),
  bad("a kind below nothing", bytes(0x91, 0xff)),
  bad("a kind beyond every integer", bytes(0x91, 0xcf, many(8, 0xff))),
  bad("a kind with a fraction", bytes(0x91, 0xcb, 0x40, 0x26, 0x80, 0, 0, 0, 0, 0)),
  bad("a kind that is no number", bytes(0x91, 0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0)),
  bad("a kind that is a text", bytes(0x91, 0xa1, "3")),
  bad("a kind that is nil", bytes(0x91, 0xc0)),
  bad("a kind that is true", bytes(0x91, 0xc3)),
  bad("an extension", bytes(0xd4, 0x01, 0x00)),
  bad("a time as an extension", bytes(0xd6, 0xff, 0, 0, 0, 0)),
  bad("an extension of four billion bytes", bytes(0xc9, 0xff, 0xff, 0xff, 0xff, 0x01)),
  bad("the byte that is never used", bytes(0xc1)),
  bad("a failure without its fields", bytes(0x91, 0x07), "ready", /0 of 4/),
  bad("a failure with one field less", bytes(0x95, 0x07, 0xa1, "a", 0x01, 0xc2)),
  bad("a failure that breaks off", bytes(0x96, 0x07, 0xa1, "a", 0x01, 0xc2, 0xd9, 0x50, "x"), "ready", /truncated/),
  bad("a failure whose token is a text", bytes(0x96, 0x07, 0xa1, "a", 0xa1, "1", 0xc2, 0xa0)),
  bad("a failure whose token is below nothing", bytes(0x96, 0x07, 0xa1, "a", 0xff, 0xc2, 0xa0)),
  bad("a failure whose flag is a number", bytes(0x96, 0x07, 0xa1, "a", 0x01, 0x01, 0xa0)),
  bad("a failure whose text is bytes", bytes(0x96, 0x07, 0xa1, "a", 0x01, 0xc2, 0xc4, 0x00)),
  bad("a failure of four gigabytes", bytes(0x96, 0x07, 0xa1, "a", 0x01, 0xc2, 0xdb, 0xff, 0xff, 0xff, 0xff)),
  bad("a request id that is a number", bytes(0x93, 0x06, 0x01, 0x01)),
  bad("a request id of four gigabytes", bytes(0x93, 0x06, 0xdb, 0xff, 0xff, 0xff, 0xff)),
  bad("a piece of four gigabytes", bytes(0x94, 0x05, 0xa1, "a", 0x01, 0xc6, 0xff, 0xff, 0xff, 0xff)),
  bad("a piece that is a text", bytes(0x94, 0x05, 0xa1, "a", 0x01, 0xa1, "x")),
  bad("a status beyond a thousand", bytes(0x97, 0x04, 0xa1, "a", 0x01, 0xcd, 0x03, 0xe8, 0x90, 0xc4, 0x00, 0xc3)),
  bad("a status in words", bytes(0x97, 0x04, 0xa1, "a", 0x01, 0xa3, "200", 0x90, 0xc4, 0x00, 0xc3)),
  bad("headers as a map", bytes(0x97, 0x04, 0xa1, "a", 0x01, 0xcc, 0xc8, 0x81, 0xa1, "a", 0xa1, "b", 0xc4, 0x00, 0xc3)),
  bad("a header that is a number", bytes(0x97, 0x04, 0xa1, "a", 0x01, 0xcc, 0xc8, 0x92, 0x01, 0x02, 0xc4, 0x00, 0xc3)),
  bad("an odd number of headers that ends in nothing", bytes(0x97, 0x04, 0xa1, "a", 0x01, 0xcc, 0xc8, 0x91)),
  bad(
    "20,000 headers of nothing",
    bytes(0x97, 0x04, 0xa1, "a", 0x01, 0xcc, 0xc8, 0xdc, 0x9c, 0x40, many(40_000, 0xa0), 0xc4, 0x00, 0xc3)
  ),
  bad(
    "slots with a fraction",
    bytes(0x96, 0x03, 0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0x00, 0x00, 0x00, 0x90),
    "connected"
  ),
  bad("slots below nothing", bytes(0x96, 0x03, 0xff, 0x00, 0x00, 0x00, 0x90), "connected"),
  bad("a time without end", bytes(0x96, 0x03, 0x01, 0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0, 0x00, 0x00, 0x90), "connected"),
  bad(
    "holds of 200,000",
    bytes(0x96, 0x03, 0x01, 0x00, 0x00, 0x00, 0xdd, 0, 3, 0x0d, 0x40, many(200_000, 0xa0)),
    "connected"
  ),
  bad(
    "arrays in arrays in a field too many",
    bytes(0x92, 0x0b, many(50_000, 0x91), 0xc0),
    "ready",
    /nested too deeply/
  ),
  bad("maps in a field too many", bytes(0x92, 0x0b, many(50_000, 0x81, 0xa0), 0xc0)),
  bad("a field too many that breaks off", bytes(0x92, 0x0b)),
  bad("more messages than a frame may have", many(1_025, ...heartbeat), "ready", /more than 1024 messages/),
  bad("a good message and half of another", bytes(...heartbeat, 0x91)),
  bad("a good message and bytes behind it", bytes(...heartbeat, "hello")),
  bad(
    "an introduction in the middle",
    bytes(0x97, 0x01, 0xa0, 0xa0, 0xa0, 0xa0, 0xa0, 0xa0),
    "ready",
    /ConnectOnce on a stream/
  ),
  bad("a token in the middle", bytes(0x92, 0x02, 0xa1, "x"), "ready", /Open on a stream/),
  bad("a message of the other side", bytes(0x92, 0x08, 0xa1, "x")),
  { name: "a frame of 3 MiB", when: "ready", outcome: "fault", bytes: Buffer.alloc(3 * 1024 * 1024, 0x91), code: 1009 },
  {
    name: "a text that is no UTF-8",
    when: "ready",
    outcome: "ignored",
    bytes: bytes(0x93, 0x06, 0xa2, 0xff, 0xfe, 0x01)
  },
  {
    name: "fields that a newer worker adds",
    when: "ready",
    outcome: "ignored",
    bytes: bytes(0x94, 0x0b, 0x01, 0xa1, "x", 0x92, 0x01, 0xc0)
  },
  { name: "as many messages as a frame may have", when: "ready", outcome: "ignored", bytes: many(1_024, ...heartbeat) }
]

/** A field of protobuf: number, wire type 2, content. */
const field = (number: number, ...content: ReadonlyArray<number | string | Uint8Array>): Buffer => {
  const inner = bytes(...content)
  return bytes(varint(number * 8 + 2), varint(inner.length), inner)
}
const varint = (value: number): Buffer => {
  const out: Array<number> = []
  let rest = value
  while (rest > 127) {
    out.push((rest & 127) | 128)
    rest = Math.floor(rest / 128)
  }
  return Buffer.of(...out, rest)
}
const about = [0x0a, 1, "a", 0x10, 1] as const

export const protobuf: ReadonlyArray<BytesCase> = [
  bad("a message of nothing", bytes(), "ready", /unknown kind/),
  bad("a field that nobody knows", field(99, "x"), "ready", /unknown kind/),
  bad("a field number of 0", bytes(0x02, 0x00)),
  bad("the largest field number", bytes(0xfa, 0xff, 0xff, 0xff, 0x0f, 0x00)),
  bad("a wire type of 6", bytes(0x0e)),
  bad("a wire type of 7", bytes(0x0f)),
  bad("a group that does not end", bytes(0x0b, 0x0b, 0x0b)),
  bad("groups in groups", many(50_000, 0x0b)),
  bad("the end of a group that did not begin", bytes(0x0c)),
  bad("a varint without end", many(50, 0xff)),
  bad("a length beyond the message", bytes(0x0a, 0xff, 0xff, 0xff, 0x7f)),
  bad("a length below nothing", bytes(0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01)),
  bad("a length that breaks off", bytes(0x0a, 0x80)),
  bad("a heartbeat that is a number", bytes(0x48, 0x01)),
  bad("an answer that breaks off", bytes(0x12, 0x05, 0x0a, 0x09)),
  bad("an answer whose headers are numbers", field(2, ...about, 0x20, 0x01, 0x22, 0x02, 0x08)),
  bad("an answer with a header that breaks off", field(2, ...about, 0x22, 0x05, 0x0a, 0x01)),
  bad("a status beyond a thousand", field(2, ...about, 0x18, varint(1_000))),
  bad("a status below nothing", field(2, ...about, 0x18, many(9, 0xff), 0x01)),
  bad(
    "a token beyond what a double holds",
    field(4, 0x0a, 1, "a", 0x10, many(9, 0xff), 0x01),
    "ready",
    /token is not an integer/
  ),
  bad("20,000 headers of nothing", field(2, ...about, many(20_000, 0x22, 0x00)), "ready", /20000 headers/),
  bad("progress that is no number", field(6, ...about, 0x19, 0, 0, 0, 0, 0, 0, 0xf8, 0x7f), "ready", /finite/),
  bad("progress without end", field(6, ...about, 0x19, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f), "ready", /finite/),
  bad("slots beyond every worker", field(1, 0x08, varint(70_000)), "connected", /slots/),
  bad("holds of 100,000", field(1, 0x08, 1, many(100_000, 0x1a, 0x00)), "connected", /holds/),
  bad("MessagePack", bytes(...heartbeat)),
  bad("JSON", '{"heartbeat":{}}'),
  { name: "a message of 3 MiB", when: "ready", outcome: "fault", bytes: Buffer.alloc(3 * 1024 * 1024, 0), code: 8 },
  {
    name: "two kinds in one message, of which the last counts",
    when: "ready",
    outcome: "ignored",
    bytes: bytes(field(8), field(9))
  },
  {
    name: "fields that a newer worker adds",
    when: "ready",
    outcome: "ignored",
    bytes: bytes(field(9, 0x50, 0x01), field(99, "x"))
  }
]
