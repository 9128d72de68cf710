/**
 * Makes the dead letter of a request whose attempts are used up.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { Reason } from "../../core/buffer/BufferEvent.ts"
import type { BlobStore } from "../fabric/BlobStore.ts"
import type { Body } from "./Body.ts"
import type { DeadLetters, LetterBody } from "./DeadLetters.ts"
import type { Entry } from "./Entry.ts"
import * as RequestHistory from "./RequestHistory.ts"

export interface Death {
  readonly reason: Reason
  readonly message: string | null
  readonly deadAtMs: number
  readonly retentionMs: number
}

/** On stable storage when it resolves. `call`: head and body, read back where memory let them go. */
export const write = async (
  letters: DeadLetters,
  blobs: BlobStore["Service"],
  entry: Entry,
  call: Promise<NonNullable<Entry["call"]>>,
  death: Death
): Promise<void> => {
  const history = RequestHistory.of(entry)
  const { head, body } = await call
  const kept = keptBody(body)
  await letters.keep(
    {
      requestId: entry.requestId,
      tenant: entry.tenant,
      functionId: entry.functionId,
      functionName: entry.functionName,
      versionId: entry.versionId,
      method: entry.method,
      path: entry.path,
      mode: entry.mode,
      durability: entry.durability,
      attempts: entry.attempts,
      maxAttempts: entry.maxAttempts,
      reason: death.reason,
      message: death.message,
      arrivedAtMs: entry.arrivedMs,
      deadAtMs: death.deadAtMs,
      keepUntilMs: death.deadAtMs + death.retentionMs,
      timeoutMs: Math.max(1, entry.deadlineMs - entry.receivedMs),
      bodyBytes: await sizeOf(blobs, kept),
      bodyKept: kept.kind !== "none",
      replay: null
    },
    { head, body: kept, history }
  )
}

/** A body that still comes in when the last attempt is lost never will be whole. */
const keptBody = (body: Body): LetterBody => {
  if (body.kind !== "spool") return body
  return body.spool.state === "complete" ? { kind: "blob", id: body.id } : { kind: "none" }
}

const sizeOf = async (blobs: BlobStore["Service"], body: LetterBody): Promise<number> => {
  if (body.kind === "none") return 0
  return body.kind === "inline" ? body.bytes.length : ((await Effect.runPromise(blobs.size(body.id))) ?? 0)
}
