/**
 * What a request is for: its target and its host; what it expects and what it would upgrade to.
 *
 * @module
 */
import { get, type HttpCase, hidden, inspect, post, request } from "./HttpCase.ts"

const host = "RFC 9112 3.2: one Host with a valid value, else 400"
const form = "RFC 9112 3.2: origin-form, absolute-form, authority-form, asterisk-form"
const encoding = "RFC 3986 2.1, 3.3"
const expectation = "RFC 9110 10.1.1"
const upgrade = "RFC 9110 7.8"

const withHost = (name: string, value: string, status = 400): HttpCase => ({
  name: `the host ${name}`,
  rule: host,
  bytes: `GET ${inspect} HTTP/1.1\r\nHost: ${value}\r\n\r\n`,
  statuses: [status]
})
const target = (name: string, rule: string, value: string, status: number): HttpCase => ({
  name,
  rule,
  bytes: request(`GET ${value}`, []),
  statuses: [status]
})

const webSocket = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]

export const targets: ReadonlyArray<HttpCase> = [
  { name: "no host", rule: host, bytes: `GET ${inspect} HTTP/1.1\r\n\r\n`, statuses: [400] },
  { name: "two hosts", rule: host, bytes: get(["Host: y"]), statuses: [400] },
  { name: "two equal hosts", rule: host, bytes: get(["Host: x"]), statuses: [400] },
  { name: "two hosts in other letters", rule: host, bytes: get(["hOsT: y"]), statuses: [400] },
  {
    name: "two hosts in HTTP/1.0",
    rule: host,
    bytes: `GET ${inspect} HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n`,
    statuses: [400]
  },
  { name: "no host in HTTP/1.0", rule: "RFC 9112 3.2", bytes: `GET ${inspect} HTTP/1.0\r\n\r\n`, statuses: [200] },
  {
    name: "a folded host",
    rule: "RFC 9112 5.2",
    bytes: `GET ${inspect} HTTP/1.1\r\nHost:\r\n x\r\n\r\n`,
    statuses: [400]
  },
  withHost("with a blank", "x y"),
  withHost("of two names", "x, y"),
  withHost("with a path", "x/y"),
  withHost("with a query", "x?y"),
  withHost("with a fragment", "x#y"),
  withHost("with a user", "user@x"),
  withHost("with a port that is no number", "x:eighty"),
  withHost("with a port beyond 65535", "x:99999"),
  withHost("with two ports", "x:80:81"),
  withHost("with a bracket that does not end", "[::1"),
  withHost("with letters behind its bracket", "[::1]x"),
  withHost("with a quote", '"x"'),
  withHost("with a backslash", "x\\y"),
  withHost("with an angle bracket", "<script>"),
  withHost("beyond ASCII", "\u00fc.example"),
  withHost("longer than a name can be", "x".repeat(300)),
  withHost("that is empty, which a target without authority has", "", 200),
  withHost("with a port", "x:8787", 200),
  withHost("of IPv6", "[::1]:8787", 200),
  withHost("with an underscore, as in containers", "mill_race:80", 200),
  {
    name: "a target with another authority than the host",
    rule: form,
    bytes: request(`GET http://evil.example${inspect}`, []),
    statuses: [400]
  },
  {
    name: "a target with the same authority and a user",
    rule: "RFC 9110 4.2.4",
    bytes: request(`GET http://user@x${inspect}`, []),
    statuses: [400]
  },
  {
    name: "a target with an empty authority",
    rule: "RFC 9110 4.2.1: an empty host is refused",
    bytes: `GET http://${inspect} HTTP/1.1\r\nHost:\r\n\r\n`,
    statuses: [400]
  },
  {
    name: "a target of another scheme",
    rule: form,
    bytes: request(`GET ftp://x${inspect}`, []),
    statuses: [400]
  },
  {
    name: "a target with the same authority",
    rule: form,
    bytes: request(`GET http://x${inspect}?a=b`, []),
    statuses: [200],
    sees: { url: "/inspect?a=b" }
  },
  {
    name: "a target with the same authority in other letters",
    rule: form,
    bytes: request(`GET HTTP://X${inspect}`, []),
    statuses: [200]
  },
  target("a target that is an authority", form, "x:80", 400),
  target("a target without a slash", form, "f/corpus/inspect", 400),
  target("an asterisk without OPTIONS", form, "*", 400),
  { name: "an asterisk with OPTIONS", rule: "RFC 9110 9.3.7", bytes: request("OPTIONS *", []), statuses: [200] },
  target("a blank in a target", form, "/f/corpus/a b", 400),
  target("a letter beyond ASCII in a target", "RFC 3986 2", "/f/corpus/caf\u00c3\u00a9", 400),
  target("a DEL in a target", "RFC 3986 2", "/f/corpus/\u007f", 400),
  target("a tab in a target", form, "/f/corpus/a\tb", 400),
  target("a fragment in a target", "RFC 9112 3.2: there is none", `${inspect}#fragment`, 400),
  target("dots that lead out of the functions", "404: no such function", "/f/../requests", 404),
  target("dots that are encoded", "404: no such function", "/f/%2e%2e/requests", 404),
  target("a name with an encoded slash", "404: no such function", "/f/corpus%2Finspect", 404),
  target("a name with an encoded NUL", "404: no such function", "/f/corpus%00/inspect", 404),
  target("a name with encoded line ends", "404: no such function", "/f/corpus%0d%0aA:%20b/inspect", 404),
  target("a name with markup", "404: no such function", "/f/%3Cscript%3Ealert(1)%3C/script%3E", 404),
  target("an empty name", "404: no such function", "/f//inspect", 404),
  target("two slashes at the beginning", "404: no such route", `/${inspect}`, 404),
  target("a path of the control API", "404: no such route", "/v1/functions", 404),
  target("an id of a request with dots", "404: no such route", "/requests/../f", 404),
  target("an id of a request with an encoded line end", "400: no UUID", "/requests/%0d%0a", 400),
  {
    name: "an encoding that is none, which is for the function to judge",
    rule: encoding,
    bytes: request("GET /f/corpus/inspect?a=%zz", []),
    statuses: [200],
    sees: { url: "/inspect?a=%zz" }
  },
  {
    name: "encoded line ends in a query",
    rule: `${encoding}: passed on as they are`,
    bytes: request("GET /f/corpus/inspect?a=%0d%0aX:%20y", []),
    statuses: [200],
    sees: { url: "/inspect?a=%0d%0aX:%20y", without: ["x"] }
  },
  {
    name: "characters that browsers leave as they are in a query",
    rule: "WHATWG URL: | { } ^ ` are common",
    bytes: request("GET /f/corpus/inspect?a=|{}^`", []),
    statuses: [200]
  },
  {
    name: "an expectation that nobody knows",
    rule: `${expectation}: 417`,
    bytes: post(["Expect: the-unexpected", "Content-Length: 0"]),
    statuses: [417]
  },
  {
    name: "an expectation and one that nobody knows",
    rule: `${expectation}: 417`,
    bytes: post(["Expect: 100-continue, more", "Content-Length: 0"]),
    statuses: [417]
  },
  {
    name: "an expectation that nobody knows of a function that nobody knows",
    rule: `${expectation}: 417`,
    bytes: request("POST /f/nobody", ["Expect: more", "Content-Length: 5"], `hello${hidden}`),
    statuses: [417]
  },
  {
    name: "100-continue",
    rule: expectation,
    bytes: post(["Expect: 100-Continue", "Content-Length: 5"], "hello"),
    statuses: [100, 200],
    sees: { body: "hello", without: ["expect"] }
  },
  {
    name: "100-continue in HTTP/1.0",
    rule: `${expectation}: ignored`,
    bytes: `POST ${inspect} HTTP/1.0\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello`,
    statuses: [200],
    sees: { body: "hello" }
  },
  {
    name: "100-continue before a body that is too large",
    rule: `${expectation}: refused at once`,
    bytes: post(["Expect: 100-continue", "Content-Length: 99999999"]),
    statuses: [413]
  },
  {
    name: "100-continue for a function that nobody knows, and a request behind it",
    rule: `${expectation}: refused at once`,
    bytes: request("POST /f/nobody", ["Expect: 100-continue", "Content-Length: 5"], `hello${hidden}`),
    statuses: [404]
  },
  {
    name: "an upgrade to WebSocket",
    rule: `${upgrade}; not served`,
    bytes: get(["Connection: Upgrade", ...webSocket]),
    statuses: [501]
  },
  {
    name: "an upgrade to WebSocket and a request behind it",
    rule: "RFC 9112 9.6",
    bytes: get(["Connection: Upgrade", ...webSocket], hidden),
    statuses: [501]
  },
  {
    name: "an upgrade to WebSocket behind a slow request",
    rule: "RFC 9112 9.3.2: in the order of the requests",
    bytes: `${request("GET /f/corpus/sleep?ms=50", [])}${get(["Connection: Upgrade", ...webSocket])}`,
    statuses: [200, 501]
  },
  {
    name: "an upgrade to WebSocket with a length that hides a request",
    rule: `${upgrade}; not served`,
    bytes: get(["Connection: Upgrade", ...webSocket, "Content-Length: 5"], `hello${hidden}`),
    statuses: [501]
  },
  {
    name: "an upgrade to WebSocket with a length and chunks",
    rule: "RFC 9112 6.1",
    bytes: get(["Connection: Upgrade", ...webSocket, "Content-Length: 5", "Transfer-Encoding: chunked"], "0\r\n\r\n"),
    statuses: [400]
  },
  {
    name: "an upgrade that Connection does not name",
    rule: `${upgrade}: ignored`,
    bytes: get(webSocket),
    statuses: [200]
  },
  {
    name: "an upgrade in HTTP/1.0",
    rule: `${upgrade}: ignored`,
    bytes: `GET ${inspect} HTTP/1.0\r\nHost: x\r\nConnection: Upgrade\r\n${webSocket.join("\r\n")}\r\n\r\n`,
    statuses: [200]
  },
  {
    name: "an offer of h2c",
    rule: `${upgrade}: may be declined by plain service`,
    bytes: get(["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"]),
    statuses: [200],
    sees: { without: ["upgrade", "connection"] }
  },
  {
    name: "an offer of TLS",
    rule: `${upgrade}: may be declined by plain service`,
    bytes: get(["Connection: Upgrade", "Upgrade: TLS/1.2"]),
    statuses: [200]
  },
  {
    name: "an offer of two protocols, one of them WebSocket",
    rule: `${upgrade}: may be declined by plain service`,
    bytes: get(["Connection: Upgrade", "Upgrade: websocket, h2c"]),
    statuses: [200]
  }
]
