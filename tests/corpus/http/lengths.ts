/**
 * Where a message ends: `Content-Length`, `Transfer-Encoding`, and both.
 *
 * @module
 */
import { chunked, get, type HttpCase, hidden, inspect, post, request } from "./HttpCase.ts"

const length = "RFC 9110 8.6, RFC 9112 6.3: a Content-Length is digits, once"
const both = "RFC 9112 6.1: both lengths are an attempt to smuggle"
const coding = "RFC 9112 6.1: chunked is last and once; what is not understood is 501"

/** A body of five bytes that a wrong reading of the length leaves as the next request. */
const refused = (name: string, rule: string, headers: ReadonlyArray<string>, body = `hello${hidden}`): HttpCase => ({
  name,
  rule,
  bytes: post(headers, body),
  statuses: [400]
})

export const lengths: ReadonlyArray<HttpCase> = [
  refused("two different lengths", length, ["Content-Length: 5", "Content-Length: 6"]),
  refused("two equal lengths", length, ["Content-Length: 5", "Content-Length: 5"]),
  refused("two lengths in one field", length, ["Content-Length: 5, 5"]),
  refused("a length with a plus", length, ["Content-Length: +5"]),
  refused("a negative length", length, ["Content-Length: -5"]),
  refused("a length in hexadecimal", length, ["Content-Length: 0x5"]),
  refused("a length with a fraction", length, ["Content-Length: 5.0"]),
  refused("a length with an exponent", length, ["Content-Length: 5e0"]),
  refused("a length with a letter behind it", length, ["Content-Length: 5a"]),
  refused("two numbers as a length", length, ["Content-Length: 5 5"]),
  refused("an empty length", length, ["Content-Length:"]),
  refused("a length of blanks", length, ["Content-Length:   "]),
  refused("a length behind a vertical tab", length, ["Content-Length: \u000b5"]),
  refused("a length in Arabic digits", length, ["Content-Length: \u00d9\u00a5"]),
  refused("a length that overflows 64 bits", length, ["Content-Length: 18446744073709551621"]),
  refused("a length of a hundred digits", length, [`Content-Length: ${"9".repeat(100)}`]),
  refused("a space before the colon of the length", "RFC 9112 5.1", ["Content-Length : 5"]),
  refused("a length that is folded", "RFC 9112 5.2", ["Content-Length:\r\n 5"]),
  {
    name: "a length beyond any body",
    rule: "RFC 9110 15.5.14",
    bytes: post(["Content-Length: 9007199254740993"]),
    statuses: [413]
  },
  {
    name: "a length with zeros before it, and blanks around it",
    rule: `${length}; 1*DIGIT allows them`,
    bytes: post(["Content-Length: \t 0005 "], "hello"),
    statuses: [200],
    sees: { body: "hello" }
  },
  {
    name: "no length and bytes after the head, which are another request",
    rule: "RFC 9112 6.3: without either field the body is empty",
    bytes: post([], "hello\r\n\r\n"),
    statuses: [200, 400]
  },
  {
    name: "a body shorter than its length",
    rule: "RFC 9112 8: an incomplete message is not acted on",
    bytes: post(["Content-Length: 50"], "hello"),
    statuses: [400],
    isEnded: true
  },
  {
    name: "a body of a GET that looks like a request",
    rule: "RFC 9110 9.3.1: it is a body",
    bytes: get([`Content-Length: ${hidden.length}`], hidden),
    statuses: [200],
    sees: { body: hidden }
  },
  {
    name: "a body of a HEAD that looks like a request",
    rule: "RFC 9110 9.3.2",
    bytes: request("HEAD /f/corpus/status", [`Content-Length: ${hidden.length}`], hidden),
    statuses: [200]
  },
  {
    name: "a body of a preflight that looks like a request",
    rule: "RFC 9110 9.3.7",
    bytes: request("OPTIONS /requests/x", [`Content-Length: ${hidden.length}`], hidden),
    statuses: [200]
  },
  {
    name: "a body of a health check that looks like a request",
    rule: "RFC 9112 6.3",
    bytes: request("POST /healthz", [`Content-Length: ${hidden.length}`], hidden),
    statuses: [200]
  },
  {
    name: "a body of a call that is refused, and a request behind it",
    rule: "RFC 9112 9.6: after `close` nothing more is processed",
    bytes: request("POST /f/nobody", ["Content-Length: 5"], `hello${hidden}`),
    statuses: [404]
  },
  {
    name: "a chunked body of a call that is refused, and a request behind it",
    rule: "RFC 9112 9.6",
    bytes: request("POST /f/nobody", ["Transfer-Encoding: chunked"], `5\r\nhello\r\n0\r\n\r\n${hidden}`),
    statuses: [404]
  },
  {
    name: "a body that is announced as too large, with a request in it",
    rule: "RFC 9110 15.5.14",
    bytes: post(["Content-Length: 99999999"], hidden),
    statuses: [413]
  },
  refused("a length before chunks", both, ["Content-Length: 5", "Transfer-Encoding: chunked"], `0\r\n\r\n${hidden}`),
  refused("chunks before a length", both, ["Transfer-Encoding: chunked", "Content-Length: 5"], `0\r\n\r\n${hidden}`),
  refused(
    "chunks and a length of zero",
    both,
    ["Transfer-Encoding: chunked", "Content-Length: 0"],
    `0\r\n\r\n${hidden}`
  ),
  refused("a length and an unknown coding", both, ["Content-Length: 5", "Transfer-Encoding: xchunked"]),
  refused("a length and chunks with odd case", both, ["Content-Length: 5", "tRANSFER-eNCODING: cHUNKED"], "0\r\n\r\n"),
  refused("a length and an empty coding", both, ["Content-Length: 5", "Transfer-Encoding:"]),
  refused("a coding that is not chunked at all", coding, ["Transfer-Encoding: identity"]),
  refused("a coding that only ends like chunked", coding, ["Transfer-Encoding: xchunked"], `0\r\n\r\n${hidden}`),
  refused("a coding that only begins like chunked", coding, ["Transfer-Encoding: chunkedx"], `0\r\n\r\n${hidden}`),
  refused("chunked before another coding", coding, ["Transfer-Encoding: chunked, gzip"], `0\r\n\r\n${hidden}`),
  refused("chunked twice", coding, ["Transfer-Encoding: chunked, chunked"], `0\r\n\r\n${hidden}`),
  refused("chunked in two fields", coding, ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], "0\r\n\r\n"),
  refused(
    "chunked and identity in two fields",
    coding,
    ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
    `0\r\n\r\n${hidden}`
  ),
  refused("chunked with a parameter", coding, ["Transfer-Encoding: chunked;q=1"], `0\r\n\r\n${hidden}`),
  refused("chunked in quotes", coding, ['Transfer-Encoding: "chunked"'], `0\r\n\r\n${hidden}`),
  refused("chunked behind a vertical tab", coding, ["Transfer-Encoding: \u000bchunked"], `0\r\n\r\n${hidden}`),
  refused("chunked with a control character behind it", coding, ["Transfer-Encoding: chunked\u0001"], "0\r\n\r\n"),
  refused("a space before the colon of the coding", "RFC 9112 5.1", ["Transfer-Encoding : chunked"], "0\r\n\r\n"),
  refused("a coding that is folded", "RFC 9112 5.2", ["Transfer-Encoding:\r\n chunked"], "0\r\n\r\n"),
  refused("an empty coding", coding, ["Transfer-Encoding:"]),
  {
    name: "a coding that is not understood before chunked",
    rule: coding,
    bytes: chunked("0\r\n\r\n").replace(": chunked", ": gzip, chunked"),
    statuses: [501]
  },
  {
    name: "a coding that is not understood in a field of its own",
    rule: coding,
    bytes: post(["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"], `0\r\n\r\n${hidden}`),
    statuses: [501]
  },
  {
    name: "identity before chunked, which is no coding any more",
    rule: coding,
    bytes: post(["Transfer-Encoding: identity, chunked"], `0\r\n\r\n${hidden}`),
    statuses: [501]
  },
  {
    name: "chunks in HTTP/1.0",
    rule: "RFC 9112 6.1: faulty framing",
    bytes: `POST ${inspect} HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${hidden}`,
    statuses: [400]
  },
  {
    name: "chunked with blanks around it and in capitals",
    rule: "RFC 9112 7: names of codings have no case",
    bytes: post(["Transfer-Encoding: \t CHUNKED "], "5\r\nhello\r\n0\r\n\r\n"),
    statuses: [200],
    sees: { body: "hello", without: ["transfer-encoding"] }
  }
]
