/**
 * Messages of a stream: single ones of its leader, never a stale answer of a follower; or many in a row of whoever has them.
 *
 * Laws: D1 what `inRow` answers begins at the sequence that was asked for and has no gap. D2 it may be less than what the
 * stream holds, also nothing: a follower may lag, a server may die in the middle. Only the leader says where the end is.
 *
 * Source: `$JS.API.DIRECT.GET` with `batch`, of ADR-31 of the architecture of NATS.
 *
 * @module
 */
import { createInbox, type Msg } from "@nats-io/transport-node"
import { NatsFailureError } from "./NatsFailureError.ts"
import * as Retry from "./Retry.ts"
import type { Supervisor } from "./Supervisor.ts"

export interface StoredMessage {
  readonly subject: string
  readonly sequence: number
  readonly data: Uint8Array
  readonly header: (name: string) => string | undefined
  /** When the server stored it, Unix time by its clock, milliseconds. */
  readonly storedAtMs: number
}

export type Query =
  | { readonly seq: number }
  | { readonly last_by_subj: string }
  /** The first at or after `seq` whose subject matches. */
  | { readonly seq: number; readonly next_by_subj: string }

const notFound = 404
/** A server that is silent for so long in the middle of an answer is given up, and what it has is asked of another. */
const silenceMs = 500

interface Answer {
  readonly error?: { readonly code: number; readonly err_code: number; readonly description: string }
  readonly message?: {
    readonly subject: string
    readonly seq: number
    readonly time: string
    readonly hdrs?: string
    readonly data?: string
  }
}

/** `NATS/1.0`, then a name and a value on each line. */
const headerOf = (encoded: string | undefined) => {
  const lines = encoded === undefined ? [] : Buffer.from(encoded, "base64").toString("utf8").split("\r\n")
  return (name: string): string | undefined => {
    const start = `${name}:`
    return lines
      .find((line) => line.startsWith(start))
      ?.slice(start.length)
      .trim()
  }
}

/** `undefined` when there is none. Rejects with what `NatsFailure.of` knows. */
export const message = async (
  supervisor: Supervisor,
  stream: string,
  query: Query
): Promise<StoredMessage | undefined> => {
  const timeout = supervisor.options.requestTimeoutMs
  const response = await Retry.beside(() =>
    supervisor.link.connection.request(`$JS.API.STREAM.MSG.GET.${stream}`, JSON.stringify(query), { timeout })
  )
  const answer = response.json<Answer>()
  if (answer.message !== undefined) {
    const { subject, seq, time, hdrs, data } = answer.message
    const content = Buffer.from(data ?? "", "base64")
    return { subject, sequence: seq, data: content, header: headerOf(hdrs), storedAtMs: Date.parse(time) }
  }
  if (answer.error?.code === notFound) return undefined
  throw new NatsFailureError({
    _tag: "Api",
    code: answer.error?.err_code ?? 0,
    status: answer.error?.code ?? 0,
    reason: answer.error?.description ?? "an answer without a message"
  })
}

/** `seq` and those after it, at most `count` and about `bytesMax`; the stream must allow direct reads. D1, D2. */
export const inRow = (
  supervisor: Supervisor,
  stream: string,
  { seq, count, bytesMax }: { readonly seq: number; readonly count: number; readonly bytesMax: number }
): Promise<ReadonlyArray<StoredMessage>> =>
  new Promise((resolve) => {
    const { connection } = supervisor.link
    const found: Array<StoredMessage> = []
    const inbox = createInbox()
    const end = () => {
      clearTimeout(timer)
      subscription.unsubscribe()
      resolve(found)
    }
    const timer = setTimeout(end, silenceMs)
    const callback = (error: Error | null, message: Msg) => {
      const next = error === null ? ofRow(message) : undefined
      if (next === undefined || next.sequence !== seq + found.length) return end()
      found.push(next)
      timer.refresh()
    }
    const subscription = connection.subscribe(inbox, { callback })
    connection.publish(`$JS.API.DIRECT.GET.${stream}`, JSON.stringify({ seq, batch: count, max_bytes: bytesMax }), {
      reply: inbox
    })
  })

/** `undefined`: the end of the row, or an error. */
const ofRow = ({ headers, data }: Msg): StoredMessage | undefined => {
  const sequence = Number(headers?.get("Nats-Sequence"))
  if (headers === undefined || !(sequence > 0)) return undefined
  // An absent header is an empty text to this client.
  const header = (name: string) => headers.get(name) || undefined
  const storedAtMs = Date.parse(headers.get("Nats-Time-Stamp"))
  return { subject: headers.get("Nats-Subject"), sequence, data, header, storedAtMs }
}
