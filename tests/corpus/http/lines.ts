/**
 * The request line, and what ends and begins lines and fields.
 *
 * @module
 */
import { get, type HttpCase, hidden, inspect, post, request } from "./HttpCase.ts"

const lineEnd = "RFC 9112 2.2: lines end with CR LF; anything else is where two readers part"
const field = "RFC 9112 5, RFC 9110 5.5"
const mayBeMore = "RFC 9112 3: a recipient may take blanks in a row for one"
const line = "RFC 9112 3: method SP target SP version"

const refused = (name: string, rule: string, bytes: string, status = 400): HttpCase => ({
  name,
  rule,
  bytes,
  statuses: [status]
})

export const lines: ReadonlyArray<HttpCase> = [
  refused("bare line feeds alone", lineEnd, `GET ${inspect} HTTP/1.1\nHost: x\n\n`),
  refused("a bare line feed after the request line", lineEnd, `GET ${inspect} HTTP/1.1\nHost: x\r\n\r\n`),
  refused("a bare line feed after a field", lineEnd, `GET ${inspect} HTTP/1.1\r\nHost: x\nA: b\r\n\r\n${hidden}`),
  refused("a bare line feed at the end of the head", lineEnd, `GET ${inspect} HTTP/1.1\r\nHost: x\r\n\n${hidden}`),
  refused("a bare carriage return after a field", lineEnd, `GET ${inspect} HTTP/1.1\r\nHost: x\rA: b\r\n\r\n`),
  refused("a bare carriage return in a value", field, get(["A: b\rc"])),
  refused("a bare carriage return in the request line", lineEnd, `GET ${inspect}\r HTTP/1.1\r\nHost: x\r\n\r\n`),
  refused("a request hidden behind a bare line feed in a value", field, get([`A: b\n\nGET /f/corpus/hidden HTTP/1.1`])),
  refused("a NUL in a value", field, get(["A: b\u0000c"])),
  refused("a NUL in a name", field, get(["A\u0000: b"])),
  refused("a NUL in the target", line, `GET ${inspect}\u0000 HTTP/1.1\r\nHost: x\r\n\r\n`),
  refused("a NUL in the method", line, `GE\u0000T ${inspect} HTTP/1.1\r\nHost: x\r\n\r\n`),
  refused("a control character in a value", field, get(["A: b\u0001c"])),
  refused("an escape sequence in a value", field, get(["A: \u001b[31m"])),
  refused("a DEL in a value", field, get(["A: \u007f"])),
  refused("a folded value", "RFC 9112 5.2", get(["A: b", " c"])),
  refused("a value folded with a tab", "RFC 9112 5.2", get(["A: b", "\tc"])),
  refused("a blank before the first field", "RFC 9112 2.2", `GET ${inspect} HTTP/1.1\r\n Host: x\r\n\r\n`),
  refused("a field without a colon", field, get(["A"])),
  refused("a field without a name", field, get([": a"])),
  refused("a blank in a name", field, get(["A b: c"])),
  refused("a blank before a colon", "RFC 9112 5.1", get(["A : c"])),
  refused("a tab before a colon", "RFC 9112 5.1", get(["A\t: c"])),
  refused("a bracket in a name", field, get(["A(b): c"])),
  refused("a quote in a name", field, get(['"A": c'])),
  refused("a letter beyond ASCII in a name", field, get(["\u00c4: c"])),
  refused("a blank before the method", line, ` GET ${inspect} HTTP/1.1\r\nHost: x\r\n\r\n`),
  refused("two blanks before the target", mayBeMore, `GET  ${inspect} HTTP/1.1\r\nHost: x\r\n\r\n`, 200),
  refused("two blanks before the version", mayBeMore, `GET ${inspect}  HTTP/1.1\r\nHost: x\r\n\r\n`, 200),
  refused("a blank behind the version", line, `GET ${inspect} HTTP/1.1 \r\nHost: x\r\n\r\n`),
  refused("tabs instead of blanks", line, `GET\t${inspect}\tHTTP/1.1\r\nHost: x\r\n\r\n`),
  refused("no version", line, `GET ${inspect}\r\n\r\n`),
  refused("no version and a host", line, `GET ${inspect}\r\nHost: x\r\n\r\n`),
  refused("no target", line, "GET HTTP/1.1\r\nHost: x\r\n\r\n"),
  refused("an empty target", line, "GET  HTTP/1.1\r\nHost: x\r\n\r\n"),
  refused("a version in small letters", line, `GET ${inspect} http/1.1\r\nHost: x\r\n\r\n`),
  refused("a version without a minor one", line, `GET ${inspect} HTTP/1\r\nHost: x\r\n\r\n`),
  refused("a version with more digits", line, `GET ${inspect} HTTP/1.10\r\nHost: x\r\n\r\n`),
  refused("a method of another protocol", "RFC 9110 15.6.2", `DESCRIBE ${inspect} RTSP/1.0\r\nHost: x\r\n\r\n`, 501),
  refused("HTTP/2.0 in words", "RFC 9110 15.6.6", `GET ${inspect} HTTP/2.0\r\nHost: x\r\n\r\n`, 505),
  refused("HTTP/9.9", "RFC 9110 15.6.6", `GET ${inspect} HTTP/9.9\r\nHost: x\r\n\r\n`, 505),
  refused("the preface of HTTP/2", "RFC 9110 15.6.6", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
  refused("an answer instead of a request", line, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
  refused("a hello of TLS", line, "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003"),
  refused("a hello of SSH", line, "SSH-2.0-OpenSSH_9.9\r\n"),
  refused("a hello of a proxy", "RFC 9110 15.6.2: as a method", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", 501),
  refused("a line of Redis", line, "*1\r\n$4\r\nPING\r\n"),
  refused("a method in small letters", "RFC 9110 9.1, 15.6.2", `get ${inspect} HTTP/1.1\r\nHost: x\r\n\r\n`, 501),
  refused("a method that nobody knows", "RFC 9110 15.6.2", `BREW ${inspect} HTTP/1.1\r\nHost: x\r\n\r\n`, 501),
  refused(
    "a method of a thousand letters",
    "RFC 9112 3: 501",
    `${"G".repeat(1000)} ${inspect} HTTP/1.1\r\nHost: x\r\n\r\n`,
    501
  ),
  refused("a method with a bracket", line, `GE(T ${inspect} HTTP/1.1\r\nHost: x\r\n\r\n`),
  refused("TRACE, which would show headers back", "RFC 9110 9.3.8", request(`TRACE ${inspect}`, []), 405),
  refused(
    "CONNECT",
    "RFC 9110 9.3.6, 15.5.6",
    "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n",
    405
  ),
  {
    name: "empty lines before the request",
    rule: "RFC 9112 2.2: they are ignored",
    bytes: `\r\n\r\n${get([])}`,
    statuses: [200]
  },
  {
    name: "a letter beyond ASCII in a value",
    rule: "RFC 9110 5.5: obs-text is opaque",
    bytes: get(["A: caf\u00e9"]),
    statuses: [200]
  },
  {
    name: "a value without anything, and one with a tab inside",
    rule: field,
    bytes: get(["A:", "B: c\td"]),
    statuses: [200],
    sees: { headers: { a: "", b: "c\td" } }
  },
  {
    name: "a good request and a bad one behind it",
    rule: "RFC 9112 9.3.2: answers go out in the order of the requests",
    bytes: `${get([])}GET ${inspect}\r\n\r\n`,
    statuses: [200, 400]
  },
  {
    name: "a slow good request and a bad one behind it",
    rule: "RFC 9112 9.3.2",
    bytes: `${request("GET /f/corpus/sleep?ms=50", [])}GET ${inspect}\r\n\r\n`,
    statuses: [200, 400]
  },
  {
    name: "two good requests at once",
    rule: "RFC 9112 9.3.2",
    bytes: `${post(["Content-Length: 5"], "first")}${post(["Content-Length: 6"], "second")}`,
    statuses: [200, 200],
    sees: { body: "first" }
  },
  {
    name: "a request behind one that closes",
    rule: "RFC 9112 9.6: it is not processed",
    bytes: `${get(["Connection: close"])}${hidden}`,
    statuses: [200]
  },
  {
    name: "a request behind one of HTTP/1.0",
    rule: "RFC 9112 9.3: HTTP/1.0 closes",
    bytes: `GET ${inspect} HTTP/1.0\r\n\r\n${hidden}`,
    statuses: [200]
  },
  {
    name: "a head that breaks off",
    rule: "RFC 9112 8",
    bytes: `GET ${inspect} HTTP/1.1\r\nHost: x\r\nA: b`,
    statuses: [400],
    isEnded: true
  },
  {
    name: "more fields than anyone sends",
    rule: "RFC 6585 5",
    bytes: get(Array.from({ length: 1500 }, (_, index) => `A${index}: b`)),
    statuses: [431]
  },
  {
    name: "so many short fields that a parser would leave some out, the second host among them",
    rule: "RFC 6585 5",
    bytes: get([...Array.from({ length: 2500 }, () => "A:"), "Host: evil.example"]),
    statuses: [431]
  },
  {
    name: "a field beyond every bound",
    rule: "RFC 6585 5",
    bytes: get([`A: ${"b".repeat(200_000)}`]),
    statuses: [431]
  },
  {
    name: "a name beyond every bound",
    rule: "RFC 6585 5",
    bytes: get([`${"A".repeat(200_000)}: b`]),
    statuses: [431]
  },
  {
    name: "a target that is too long",
    rule: "RFC 9112 3: 414",
    bytes: request(`GET ${inspect}?${"a".repeat(10_000)}`, []),
    statuses: [414]
  },
  {
    name: "a target beyond every bound",
    rule: "RFC 9112 3: 414",
    bytes: request(`GET ${inspect}?${"a".repeat(200_000)}`, []),
    statuses: [414]
  },
  {
    name: "a target and fields of a usual length",
    rule: "RFC 9112 3: at least 8000 octets",
    bytes: request(`GET ${inspect}?${"a".repeat(7_900)}`, [`A: ${"b".repeat(8_000)}`]),
    statuses: [200]
  },
  {
    name: "headers named by Connection, which are for one hop",
    rule: "RFC 9110 7.6.1",
    bytes: post(["Connection: X-Secret, keep-alive", "X-Secret: 1", "Content-Length: 0"]),
    statuses: [200],
    sees: { without: ["x-secret", "connection"] }
  }
]
