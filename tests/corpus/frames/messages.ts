/**
 * Messages that are well-formed and out of order, about nothing, with another token, or with contents that no answer
 * may have. Sent over both transports.
 *
 * @module
 */
import type { FromWorker, HeaderList } from "../../../src/worker-sdk/protocol/WorkerMessage.ts"
import type { Assign } from "../support/FrameClient.ts"
import type { MessageCase } from "./FrameCase.ts"

type About = Pick<Assign, "requestId" | "token">

const empty = Buffer.alloc(0)
const head = (about: About, status = 200, headers: HeaderList = [], end = true): FromWorker => ({
  _tag: "ResponseHead",
  ...only(about),
  status,
  headers,
  body: Buffer.from("wrong"),
  end
})
const only = ({ requestId, token }: About) => ({ requestId, token })

/** Every message about a request. */
const about = {
  "a whole answer": (to: About) => head(to),
  "the head of an answer": (to: About) => head(to, 200, [], false),
  "a piece of an answer": (to: About): FromWorker => ({
    _tag: "ResponseChunk",
    ...only(to),
    bytes: Buffer.from("wrong")
  }),
  "the end of an answer": (to: About): FromWorker => ({ _tag: "ResponseEnd", ...only(to) }),
  "a failure": (to: About): FromWorker => ({ _tag: "Failed", ...only(to), retryable: false, message: "wrong" }),
  "a failure that may be tried again": (to: About): FromWorker => ({
    _tag: "Failed",
    ...only(to),
    retryable: true,
    message: "wrong"
  }),
  progress: (to: About): FromWorker => ({ _tag: "Progress", ...only(to), percent: 50, note: "wrong" }),
  credit: (to: About): FromWorker => ({ _tag: "Credit", ...only(to), bytes: 1_000_000 })
} as const

const each = (make: (name: string, message: (to: About) => FromWorker) => ReadonlyArray<MessageCase>) =>
  Object.entries(about).flatMap(([name, message]) => make(name, message))

const failed = (name: string, message: (to: About) => FromWorker, says: RegExp): MessageCase => ({
  name,
  when: "holding",
  outcome: "failed",
  messages: (assign) => [message(assign)],
  says
})

export const messageCases: ReadonlyArray<MessageCase> = [
  ...each((name, message) => [
    {
      name: `${name} before Ready`,
      when: "connected",
      outcome: "fault",
      messages: (to) => [message(to)],
      says: /before Ready/
    },
    {
      name: `${name} about a request that never was`,
      when: "ready",
      outcome: "ignored",
      messages: (to) => [message(to)]
    },
    {
      name: `${name} with the token of an earlier lease`,
      when: "holding",
      outcome: "ignored",
      messages: ({ requestId, token }) => [message({ requestId, token: token - 1 })]
    },
    {
      name: `${name} with a token of the future`,
      when: "holding",
      outcome: "ignored",
      messages: ({ requestId }) => [message({ requestId, token: Number.MAX_SAFE_INTEGER })]
    },
    {
      name: `${name} about another request under the right token`,
      when: "holding",
      outcome: "ignored",
      messages: ({ token }) => [message({ requestId: "01a1ff3b-0bb0-706d-8661-bef0b365cf61", token })]
    }
  ]),
  {
    name: "Draining before Ready",
    when: "connected",
    outcome: "fault",
    messages: () => [{ _tag: "Draining" }],
    says: /before Ready/
  },
  {
    name: "a heartbeat before Ready",
    when: "connected",
    outcome: "fault",
    messages: () => [{ _tag: "Heartbeat" }],
    says: /before Ready/
  },
  {
    name: "Ready without slots",
    when: "connected",
    outcome: "fault",
    messages: () => [{ _tag: "Ready", slots: 0, phases: { processMs: 0, initialiseMs: 0, connectMs: 0 }, holds: [] }],
    says: /without slots/
  },
  {
    name: "Ready with more slots than there can be",
    when: "connected",
    outcome: "fault",
    messages: () => [
      { _tag: "Ready", slots: 65_537, phases: { processMs: 0, initialiseMs: 0, connectMs: 0 }, holds: [] }
    ],
    says: /65536/
  },
  {
    name: "Ready with a time that is no number",
    when: "connected",
    outcome: "fault",
    messages: () => [
      { _tag: "Ready", slots: 1, phases: { processMs: Number.NaN, initialiseMs: 0, connectMs: 0 }, holds: [] }
    ],
    says: /finite/
  },
  {
    name: "a second Ready",
    when: "ready",
    outcome: "fault",
    messages: () => [{ _tag: "Ready", slots: 1, phases: { processMs: 0, initialiseMs: 0, connectMs: 0 }, holds: [] }],
    says: /a second Ready/
  },
  failed("an answer with status 0", (to) => head(to, 0), /status 0/),
  failed("an answer with status 100", (to) => head(to, 100), /status 100/),
  failed("an answer with status 199", (to) => head(to, 199), /status 199/),
  failed("an answer with status 600", (to) => head(to, 600), /status 600/),
  failed("an answer with status 999", (to) => head(to, 999), /status 999/),
  failed(
    "a header with a line end and another header",
    (to) => head(to, 200, [["a", "b\r\nx-injected: 1"]]),
    /HTTP does not allow/
  ),
  failed("a header with a bare line feed", (to) => head(to, 200, [["a", "b\nc"]]), /HTTP does not allow/),
  failed("a header with a NUL", (to) => head(to, 200, [["a", "b\u0000c"]]), /HTTP does not allow/),
  failed("a header with an escape sequence", (to) => head(to, 200, [["a", "\u001b[31m"]]), /HTTP does not allow/),
  failed("a header beyond latin1", (to) => head(to, 200, [["a", "\u2713"]]), /HTTP does not allow/),
  failed("a header without a name", (to) => head(to, 200, [["", "b"]]), /HTTP does not allow/),
  failed("a header with a blank in its name", (to) => head(to, 200, [["a b", "c"]]), /HTTP does not allow/),
  failed("a header with a colon in its name", (to) => head(to, 200, [["a:", "c"]]), /HTTP does not allow/),
  failed("a header with a line end in its name", (to) => head(to, 200, [["a\r\nb", "c"]]), /HTTP does not allow/),
  failed("a header with markup in its name", (to) => head(to, 200, [["<script>", "c"]]), /HTTP does not allow/),
  failed(
    "a failure with markup and an escape sequence",
    (to) => ({ _tag: "Failed", ...only(to), retryable: false, message: "\u001b[31m<b>\r\n" }),
    /function failed/
  ),
  failed(
    "a failure of 500,000 letters",
    (to) => ({ _tag: "Failed", ...only(to), retryable: false, message: "x".repeat(500_000) }),
    /function failed/
  ),
  failed("a piece of an answer before its head", about["a piece of an answer"], /without a head/),
  failed("the end of an answer before its head", about["the end of an answer"], /without a head/),
  {
    name: "progress beyond a hundred, below nothing, and in words without end",
    when: "holding",
    outcome: "ignored",
    messages: (to) =>
      [1e308, -1, 101].map((percent) => ({ _tag: "Progress", ...only(to), percent, note: "x".repeat(500_000) }))
  },
  {
    name: "an answer twice",
    when: "holding",
    outcome: "ignored",
    messages: (assign) => {
      const right = { ...head(assign), body: Buffer.from("right") }
      return [right, { ...right, body: Buffer.from("wrong") }]
    }
  },
  {
    name: "a piece, an end and a failure after the end",
    when: "holding",
    outcome: "ignored",
    messages: (assign) => [
      { ...head(assign), body: Buffer.from("right") },
      about["a piece of an answer"](assign),
      about["the end of an answer"](assign),
      about["a failure"](assign)
    ]
  },
  {
    name: "credit without end",
    when: "holding",
    outcome: "ignored",
    messages: (to) => Array.from({ length: 20 }, () => ({ _tag: "Credit", ...only(to), bytes: 0xff_ff_ff_ff }))
  },
  {
    name: "a piece of nothing a thousand times",
    when: "ready",
    outcome: "ignored",
    messages: (to) => Array.from({ length: 1000 }, () => ({ _tag: "ResponseChunk", ...only(to), bytes: empty }))
  }
]
