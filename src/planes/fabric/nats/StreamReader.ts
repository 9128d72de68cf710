/**
 * Single messages of a stream, asked of its leader: never a stale answer of a follower.
 *
 * @module
 */
import { NatsFailureError } from "./NatsFailureError.ts"
import type { Supervisor } from "./Supervisor.ts"

export interface StoredMessage {
  readonly subject: string
  readonly sequence: number
  readonly data: Uint8Array
  readonly header: (name: string) => string | undefined
}

export type Query =
  | { readonly seq: number }
  | { readonly last_by_subj: string }
  /** The first at or after `seq` whose subject matches. */
  | { readonly seq: number; readonly next_by_subj: string }

const notFound = 404

interface Answer {
  readonly error?: { readonly code: number; readonly err_code: number; readonly description: string }
  readonly message?: { readonly subject: string; readonly seq: number; readonly hdrs?: string; readonly data?: string }
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
  const { connection } = supervisor.link
  const response = await connection.request(`$JS.API.STREAM.MSG.GET.${stream}`, JSON.stringify(query), {
    timeout: supervisor.options.requestTimeoutMs
  })
  const answer = response.json<Answer>()
  if (answer.message !== undefined) {
    const { subject, seq, hdrs, data } = answer.message
    return { subject, sequence: seq, data: Buffer.from(data ?? "", "base64"), header: headerOf(hdrs) }
  }
  if (answer.error?.code === notFound) return undefined
  throw new NatsFailureError({
    _tag: "Api",
    code: answer.error?.err_code ?? 0,
    status: answer.error?.code ?? 0,
    reason: answer.error?.description ?? "an answer without a message"
  })
}
