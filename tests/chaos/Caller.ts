/**
 * A caller that calls, leaves, comes back and claims, and writes down what it saw.
 *
 * @module
 */
import { createHash } from "node:crypto"
import { Agent, request as httpRequest, type IncomingMessage } from "node:http"
import type { Answer, ClaimResult, Terminal } from "../history/History.ts"
import { monotonicMs } from "./Clock.ts"
import type { Recording } from "./Recording.ts"
import type { Order } from "./recorder.ts"

/** The tenant of every call until there are others. */
export const tenant = "default"

export interface Plan {
  readonly item: string
  /** Name of a function; `lane` works in order. */
  readonly path: string
  readonly isAsync: boolean
  readonly key: string | undefined
  readonly order: Order
  /** The caller cuts its connection after so long, and comes back if it has a key. */
  readonly leaveAfterMs: number | undefined
  readonly deadlineMs: number | undefined
  /** It claims at once and waits, instead of at the end. */
  readonly claimsAtOnce: boolean
  /** For an asynchronous one: answered at once if it takes no longer than so many seconds. */
  readonly waitSeconds?: number
}

export interface World {
  readonly recording: Recording
  /** Resolves when there is a platform to talk to. */
  readonly gatewayUrl: () => Promise<string>
  readonly agent: Agent
}

export const makeAgent = () => new Agent({ keepAlive: true, maxSockets: 512 })

/** Of a body, as functions and callers write it down. */
export const digestOf = (text: string | Buffer) => createHash("sha256").update(text).digest("base64url").slice(0, 22)
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

type Reply =
  | { readonly kind: "whole"; readonly status: number; readonly requestId: string; readonly bytes: Buffer }
  /**
   * The connection broke before the answer was whole. After a part of a stream that is also how Millrace tells that the
   * request failed; nothing of it is kept for a caller that waited, so it is no promise.
   */
  | { readonly kind: "gone" }

interface Sending {
  readonly url: string
  readonly method: "GET" | "POST" | "DELETE"
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  readonly leaveAfterMs?: number | undefined
}

const send = (agent: Agent, { url, method, headers, body, leaveAfterMs }: Sending): Promise<Reply> =>
  new Promise((resolve) => {
    const length = body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) }
    const request = httpRequest(url, { agent, method, headers: { ...headers, ...length } })
    const leave = leaveAfterMs === undefined ? undefined : setTimeout(() => request.destroy(), leaveAfterMs)
    const finish = (reply: Reply) => {
      clearTimeout(leave)
      resolve(reply)
    }
    request.on("error", () => finish({ kind: "gone" }))
    request.on("response", (message: IncomingMessage) => {
      const requestId = String(message.headers["nvcf-reqid"] ?? "")
      const parts: Array<Buffer> = []
      message.on("data", (part: Buffer) => parts.push(part))
      message.on("error", () => finish({ kind: "gone" }))
      message.on("close", () => finish({ kind: "gone" }))
      message.on("end", () => {
        if (!message.complete) return finish({ kind: "gone" })
        finish({ kind: "whole", status: message.statusCode ?? 0, requestId, bytes: Buffer.concat(parts) })
      })
    })
    request.end(body)
  })

const answerOf = (bytes: Buffer): Answer => {
  // What is no answer of the recorder is told as one that comes from nowhere.
  const none = { item: "", requestId: "", tenant: "", token: -1, run: "" }
  let said: Partial<Answer> = {}
  try {
    said = JSON.parse(bytes.toString("utf8")) as Partial<Answer>
  } catch {
    // Not JSON: told as it is.
  }
  const { item, requestId, tenant: answeredFor, token, run } = { ...none, ...said }
  return { item, requestId, tenant: answeredFor, token, run, digest: digestOf(bytes) }
}

const kindOf = (bytes: Buffer): string => {
  try {
    const { type = "" } = JSON.parse(bytes.toString("utf8")) as { readonly type?: string }
    return type.replace("urn:millrace:problem:", "")
  } catch {
    return ""
  }
}

const terminals: Readonly<Record<string, Terminal>> = {
  // Of a request that was taken; one that came too late is refused with this word too.
  "deadline-passed": "expired",
  cancelled: "cancelled",
  "attempts-exhausted": "dead-lettered",
  "function-failed": "failed"
}

let callCount = 0

/** What a caller does for one item, until it has what it wants or gives up. Answers the id that it was promised. */
export const carryOut = async (world: World, plan: Plan): Promise<string | undefined> => {
  for (let round = 1; ; round++) {
    const name = `${plan.item}/${++callCount}`
    const outcome = await callOnce(world, plan, name, round === 1)
    if (outcome.promised !== undefined) {
      if (plan.claimsAtOnce) await claimUntilEnded(world, outcome.promised, 60_000)
      return outcome.promised
    }
    if (!outcome.again || plan.key === undefined) return undefined
    await sleep(20)
  }
}

const callOnce = async (
  { recording, gatewayUrl, agent }: World,
  plan: Plan,
  name: string,
  isFirst: boolean
): Promise<{ readonly promised: string | undefined; readonly again: boolean }> => {
  const { item, path, isAsync, key, order, deadlineMs, waitSeconds } = plan
  const base = await gatewayUrl()
  const body = JSON.stringify(order)
  recording.see({
    _tag: "Called",
    call: name,
    tenant,
    item,
    body: digestOf(body),
    key,
    lane: path === "lane" ? path : undefined,
    deadlineAtMs: deadlineMs === undefined ? undefined : monotonicMs() + deadlineMs
  })
  const reply = await send(agent, {
    url: `${base}/f/${path}/work`,
    method: "POST",
    body,
    leaveAfterMs: isFirst ? plan.leaveAfterMs : undefined,
    headers: {
      "content-type": "application/json",
      ...(isAsync
        ? { prefer: waitSeconds === undefined ? "respond-async" : `respond-async, wait=${waitSeconds}` }
        : {}),
      ...(key === undefined ? {} : { "idempotency-key": key }),
      ...(deadlineMs === undefined ? {} : { "millrace-deadline": new Date(Date.now() + deadlineMs).toISOString() })
    }
  })
  const gone = { promised: undefined, again: true }
  if (reply.kind === "gone") {
    recording.see({ _tag: "Unknown", call: name })
    return gone
  }
  const { requestId } = reply
  const promisedByKey = { promised: key === undefined ? undefined : requestId, again: false }
  if (reply.status === 202) {
    recording.see({ _tag: "Accepted", call: name, requestId })
    return { promised: requestId, again: false }
  }
  if (reply.status === 200) {
    recording.see({ _tag: "Answered", call: name, requestId, answer: answerOf(reply.bytes) })
    return promisedByKey
  }
  const kind = kindOf(reply.bytes)
  const isRefusal = reply.bytes.includes("othing was enqueued")
  const terminal = terminals[kind]
  if (terminal !== undefined && !isRefusal) {
    recording.see({ _tag: "Ended", call: name, requestId, terminal })
    return promisedByKey
  }
  // The store failed or was full while it came in: nobody knows what of it is on the disk, or ran.
  const mayHaveRun =
    kind === "store-failed" ||
    kind === "owner-lost" ||
    kind === "owner-changing" ||
    (kind === "store-full" && !isRefusal)
  if (mayHaveRun) recording.see({ _tag: "Unknown", call: name })
  else recording.see({ _tag: "Refused", call: name, status: reply.status })
  return gone
}

/** Whatever the answer is: what became of the request is claimed like that of any other. */
export const cancel = async ({ agent, gatewayUrl }: World, requestId: string): Promise<void> => {
  const base = await gatewayUrl()
  await send(agent, { url: `${base}/requests/${requestId}`, method: "DELETE", headers: {} })
}

/** One question; undefined when nobody answered it. */
export const claim = async (world: World, requestId: string, waitSeconds: number): Promise<ClaimResult | undefined> => {
  const base = await world.gatewayUrl()
  const url = `${base}/requests/${requestId}/result?wait=${waitSeconds}`
  const reply = await send(world.agent, { url, method: "GET", headers: {} })
  if (reply.kind === "gone") return undefined
  const result = claimResult(reply.status, reply.bytes)
  if (result !== undefined) world.recording.see({ _tag: "Claimed", tenant, requestId, result })
  return result
}

/** The door is closing, the store failed, or the owner changes: no statement about the request. */
const silent: ReadonlySet<string> = new Set(["shutting-down", "store-failed", "owner-changing", "shard-moving"])

const claimResult = (status: number, bytes: Buffer): ClaimResult | undefined => {
  if (status === 200) return { kind: "answer", answer: answerOf(bytes) }
  if (status === 202) return { kind: "pending" }
  const kind = kindOf(bytes)
  const terminal = terminals[kind]
  if (terminal !== undefined) return { kind: "ended", terminal }
  return silent.has(kind) ? undefined : { kind: "absent" }
}

/** Asks until the request has an end, is said to be absent, or time is up. */
export const claimUntilEnded = async (
  world: World,
  requestId: string,
  deadlineMs: number
): Promise<ClaimResult | undefined> => {
  const until = monotonicMs() + deadlineMs
  for (;;) {
    const result = await claim(world, requestId, 5)
    if (result !== undefined && result.kind !== "pending") return result
    if (monotonicMs() > until) return result
    if (result === undefined) await sleep(20)
  }
}
