/**
 * Chunked bodies: sizes, extensions, trailers. A body of which a part came whole may have begun to run, so what is held
 * here is that it ends and that nothing behind it runs.
 *
 * @module
 */
import { chunked, type HttpCase, hidden } from "./HttpCase.ts"

const size = "RFC 9112 7.1: chunk-size is 1*HEXDIG and ends with CR LF"
const extension = "RFC 9112 7.1.1: unknown extensions are ignored, and bounded"
const trailer = "RFC 9110 6.5.1: a trailer is never merged into the head"

const refused = (name: string, body: string, rule = size): HttpCase => ({
  name,
  rule,
  bytes: chunked(`${body}${hidden}`),
  statuses: [400]
})
const taken = (name: string, rule: string, body: string, sees: HttpCase["sees"] = { body: "hello" }): HttpCase => ({
  name,
  rule,
  bytes: chunked(body),
  statuses: [200],
  ...(sees === undefined ? {} : { sees })
})

export const chunks: ReadonlyArray<HttpCase> = [
  refused("a size that is no number", "ZZ\r\nhello\r\n0\r\n\r\n"),
  refused("a size with a prefix", "0x5\r\nhello\r\n0\r\n\r\n"),
  refused("a size with a plus", "+5\r\nhello\r\n0\r\n\r\n"),
  refused("a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
  refused("a size with a blank before it", " 5\r\nhello\r\n0\r\n\r\n"),
  refused("a size with a blank behind it", "5 \r\nhello\r\n0\r\n\r\n"),
  refused("an empty size", "\r\nhello\r\n0\r\n\r\n"),
  refused("a size with an underscore", "1_0\r\nhello\r\n0\r\n\r\n"),
  refused("a size that overflows 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
  refused("a size with a bare line feed", "5\nhello\r\n0\r\n\r\n"),
  refused("a size with a bare carriage return", "5\rhello\r\n0\r\n\r\n"),
  refused("a size with a NUL", "5\u0000\r\nhello\r\n0\r\n\r\n"),
  refused("data longer than its size", "5\r\nhelloX\r\n0\r\n\r\n"),
  refused("data without its line end", "5\r\nhello0\r\n\r\n"),
  refused("data with a bare line feed behind it", "5\r\nhello\n0\r\n\r\n"),
  refused("the last chunk with a bare line feed", "5\r\nhello\r\n0\n\r\n"),
  refused("a bare line feed at the end", "5\r\nhello\r\n0\r\n\n"),
  refused("an extension with a bare line feed", "5;a\nhello\r\n0\r\n\r\n", extension),
  refused("an extension with a NUL", "5;a=\u0000\r\nhello\r\n0\r\n\r\n", extension),
  refused("an extension in quotes that do not end", '5;a="\r\nhello\r\n0\r\n\r\n', extension),
  refused("an extension without its semicolon", "5 a=b\r\nhello\r\n0\r\n\r\n", extension),
  refused("a trailer without a name", "5\r\nhello\r\n0\r\n: x\r\n\r\n", trailer),
  refused("a trailer with a blank in its name", "5\r\nhello\r\n0\r\na b: x\r\n\r\n", trailer),
  refused("a trailer with a bare line feed", "5\r\nhello\r\n0\r\nA: x\n\r\n", trailer),
  refused("a trailer that is folded", "5\r\nhello\r\n0\r\nA: x\r\n y\r\n\r\n", trailer),
  {
    name: "extensions without end",
    rule: extension,
    bytes: chunked(`5;${"a".repeat(40_000)}\r\nhello\r\n0\r\n\r\n${hidden}`),
    statuses: [413]
  },
  {
    name: "trailers without end",
    rule: "RFC 6585 5",
    bytes: chunked(`5\r\nhello\r\n0\r\n${"A: x\r\n".repeat(20_000)}\r\n${hidden}`),
    statuses: [431]
  },
  {
    name: "a body that breaks off in a size",
    rule: "RFC 9112 8",
    bytes: chunked("5"),
    statuses: [400],
    isEnded: true
  },
  {
    name: "a body that breaks off in its data",
    rule: "RFC 9112 8",
    bytes: chunked("5\r\nhel"),
    statuses: [400],
    isEnded: true
  },
  {
    name: "a body without its last chunk",
    rule: "RFC 9112 8",
    bytes: chunked("5\r\nhello\r\n"),
    statuses: [400],
    isEnded: true
  },
  {
    name: "a body that breaks off before its trailers' end",
    rule: "RFC 9112 8",
    bytes: chunked("5\r\nhello\r\n0\r\nA: x\r\n"),
    statuses: [400],
    isEnded: true
  },
  taken("a size with zeros before it", size, "0000000005\r\nhello\r\n0000\r\n\r\n"),
  taken("a size in capitals", size, "A\r\nhellohello\r\n0\r\n\r\n", { body: "hellohello" }),
  taken("an extension", extension, "5;a\r\nhello\r\n0;b=c\r\n\r\n"),
  taken("an extension in quotes with a semicolon", extension, '5;a="b;c"\r\nhello\r\n0\r\n\r\n'),
  taken("a trailer of no meaning", trailer, "5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n", {
    body: "hello",
    without: ["x-trailer"]
  }),
  taken("a trailer that names a host", trailer, "5\r\nhello\r\n0\r\nHost: evil.example\r\n\r\n", {
    body: "hello",
    headers: { host: "x" }
  }),
  taken("a trailer that names a key", trailer, "5\r\nhello\r\n0\r\nIdempotency-Key: k\r\n\r\n", {
    body: "hello",
    without: ["idempotency-key"]
  }),
  refused("a trailer that names a length", "5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n", trailer),
  refused("a trailer that names a coding", "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", trailer)
]
