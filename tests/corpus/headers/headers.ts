/**
 * Headers that mean something to Millrace, with values that do not: its own, those of NVCF, and idempotency keys.
 *
 * @module
 */
export interface HeaderCase {
  readonly name: string
  /** Repeated names are sent as they stand. One character is one byte. */
  readonly headers: ReadonlyArray<readonly [string, string]>
  /** Default: a call by name; `pexec`: NVCF's way; `result`: what became of a request. */
  readonly on?: "pexec" | "result" | "host"
  readonly status: number
  /** In the sentence. */
  readonly says?: RegExp
}

const key = (name: string, value: string, status: 200 | 400 = 400): HeaderCase => ({
  name: `an idempotency key ${name}`,
  headers: [["Idempotency-Key", value]],
  status,
  ...(status === 400 ? { says: /Idempotency-Key .*1 to 255 visible ASCII/ } : {})
})
const deadline = (value: string): HeaderCase => ({
  name: `the deadline ${JSON.stringify(value)}`,
  headers: [["Millrace-Deadline", value]],
  status: 400,
  says: /Millrace-Deadline .*at most 24h/
})
const poll = (value: string): HeaderCase => ({
  name: `the poll time ${JSON.stringify(value)}`,
  headers: [["NVCF-POLL-SECONDS", value]],
  on: "pexec",
  status: 400,
  says: /failed to parse poll duration: .*NVCF-POLL-SECONDS .*whole seconds/
})
const either = (header: string, value: string, says: RegExp): HeaderCase => ({
  name: `${header} with ${JSON.stringify(value)}`,
  headers: [[header, value]],
  status: 400,
  says
})
const wrongIds = (value: string) => either("Millrace-Event-Ids", value, /Millrace-Event-Ids .*`true` or `false`/)
const wrongGone = (value: string) => either("Millrace-On-Disconnect", value, /Millrace-On-Disconnect .*`cancel` or/)
const fn = "FUNCTION"

export const headerCases: ReadonlyArray<HeaderCase> = [
  key("of nothing", ""),
  key("of blanks", "   "),
  key("of 256 characters", "x".repeat(256)),
  key("of 5,000 characters", "x".repeat(5_000)),
  key("beyond ASCII", "schl\u00fcssel"),
  key("in UTF-8", "\u00e2\u009c\u0093"),
  key("with a tab inside", "a\tb"),
  key("with a blank that does not break", "a\u00a0b"),
  key("of 255 characters", "x".repeat(255), 200),
  key("in quotes, as its draft has it", '"8e03978e-40d5-43e8-bc93-6894a57f9324"', 200),
  key("with markup", "<script>alert(1)</script>", 200),
  key("with a way out", "../../etc/passwd", 200),
  key("with wildcards", "a.*.>", 200),
  key("with a comma inside", "a,b", 200),
  key("with a comma and a blank inside", "a, b", 200),
  {
    name: "two idempotency keys",
    headers: [
      ["Idempotency-Key", "a"],
      ["Idempotency-Key", "b"]
    ],
    status: 400,
    says: /Idempotency-Key .*(once|1 to 255)/
  },
  {
    name: "two equal idempotency keys",
    headers: [
      ["Idempotency-Key", "a"],
      ["idempotency-key", "a"]
    ],
    status: 400,
    says: /Idempotency-Key .*(once|1 to 255)/
  },
  {
    name: "an idempotency key and an empty one",
    headers: [
      ["Idempotency-Key", "a"],
      ["Idempotency-Key", ""]
    ],
    status: 400,
    says: /Idempotency-Key .*(once|1 to 255)/
  },
  deadline(""),
  deadline("soon"),
  deadline("30"),
  deadline("-5s"),
  deadline("+5s"),
  deadline("0s"),
  deadline("0ms"),
  deadline("25h"),
  deadline("86400001ms"),
  deadline("1441m"),
  deadline("1.5s"),
  deadline("1e3s"),
  deadline("30 s"),
  deadline("30S"),
  deadline("0x1es"),
  deadline("9999999999999s"),
  deadline("\u00b3s"),
  deadline("2030-01-31"),
  deadline("2030-13-31T12:00:00Z"),
  deadline("2030-01-31T25:00:00Z"),
  deadline("2030-01-31 12:00:00Z"),
  deadline("2030-01-31T12:00:00"),
  deadline("Sat, 21 Nov 2026 17:26:55 GMT"),
  deadline("9999-12-31T23:59:59Z"),
  deadline("1795284581"),
  deadline("NaN"),
  deadline("Infinity"),
  deadline("<script>"),
  {
    name: "two deadlines",
    headers: [
      ["Millrace-Deadline", "30s"],
      ["Millrace-Deadline", "60s"]
    ],
    status: 400,
    says: /Millrace-Deadline/
  },
  { name: "a deadline that has passed", headers: [["Millrace-Deadline", "2020-01-01T00:00:00Z"]], status: 504 },
  { name: "a deadline in the year 0", headers: [["Millrace-Deadline", "0000-01-01T00:00:00Z"]], status: 504 },
  poll(""),
  poll("-1"),
  poll("+1"),
  poll("1.5"),
  poll("1e3"),
  poll("0x10"),
  poll("3601"),
  poll("9999999999999999999999"),
  poll("ten"),
  poll("1,2"),
  poll("\u00b2"),
  poll("NaN"),
  {
    name: "two poll times",
    headers: [
      ["NVCF-POLL-SECONDS", "1"],
      ["NVCF-POLL-SECONDS", "2"]
    ],
    on: "pexec",
    status: 400,
    says: /poll duration/
  },
  wrongIds(""),
  wrongIds("TRUE"),
  wrongIds("1"),
  wrongIds("true, false"),
  wrongIds("t\u00fcrue"),
  wrongGone(""),
  wrongGone("CANCEL"),
  wrongGone("keep"),
  wrongGone("cancel, continue"),
  {
    name: "asset references",
    headers: [["NVCF-INPUT-ASSET-REFERENCES", "x"]],
    on: "pexec",
    status: 501,
    says: /input assets/
  },
  { name: "empty asset references", headers: [["NVCF-INPUT-ASSET-REFERENCES", ""]], status: 501, says: /input assets/ },
  { name: "a preference that nobody knows", headers: [["Prefer", "magic; x=y, return=minimal"]], status: 200 },
  { name: "a wait that is no number", headers: [["Prefer", "wait=soon"]], status: 200 },
  { name: "a negative wait", headers: [["Prefer", "respond-sync, wait=-1"]], status: 200 },
  { name: "a preference of commas", headers: [["Prefer", ",,;;=,="]], status: 200 },
  { name: "a preference beyond ASCII", headers: [["Prefer", "\u00fc=\u00fc"]], status: 200 },
  { name: "Function-Id that is no id, which NVCF ignores", headers: [["Function-Id", "x"]], status: 200 },
  {
    name: "two Function-Ids, which might mean two functions",
    headers: [
      ["Function-Id", fn],
      ["Function-Id", "00000000-0000-4000-8000-000000000000"]
    ],
    on: "host",
    status: 400,
    says: /Function-Id .*once/
  },
  {
    name: "a Function-Id and a version of another function",
    headers: [
      ["Function-Id", fn],
      ["Function-Version-Id", "00000000-0000-4000-8000-000000000000"]
    ],
    on: "host",
    status: 404
  },
  {
    name: "a Function-Id that nobody knows",
    headers: [["Function-Id", "00000000-0000-4000-8000-000000000000"]],
    status: 404
  },
  {
    name: "Last-Event-ID beyond every bound",
    headers: [["Last-Event-ID", "x".repeat(10_000)]],
    on: "result",
    status: 404
  },
  { name: "Last-Event-ID beyond ASCII", headers: [["Last-Event-ID", "\u00fc"]], on: "result", status: 404 },
  { name: "Last-Event-ID with markup", headers: [["Last-Event-ID", "<script>"]], on: "result", status: 404 },
  {
    name: "event ids in a word of one's own on a result",
    headers: [["Millrace-Event-Ids", "maybe"]],
    on: "result",
    status: 400,
    says: /`true` or/
  },
  { name: "an origin that is none", headers: [["Origin", "\u0022><script>"]], on: "pexec", status: 200 },
  { name: "a credential that nobody asked for", headers: [["Authorization", "Bearer \u00fc"]], status: 200 },
  {
    name: "a forwarded host and a real one",
    headers: [
      ["X-Forwarded-Host", "evil.example"],
      ["Forwarded", "host=evil.example"]
    ],
    status: 200
  },
  { name: "another method in a header", headers: [["X-HTTP-Method-Override", "DELETE"]], status: 200 },
  {
    name: "another target in a header",
    headers: [
      ["X-Original-URL", "/requests"],
      ["X-Rewrite-URL", "/requests"]
    ],
    status: 200
  },
  {
    name: "answers of Millrace as headers of a call",
    headers: [
      ["NVCF-REQID", "x"],
      ["NVCF-STATUS", "fulfilled"],
      ["Server-Timing", "x"]
    ],
    status: 200
  }
]
