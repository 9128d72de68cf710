/**
 * The record of a request in the log: what the machine ordered, with the bytes that it never sees.
 *
 * @module
 */
import type { DurableRecord, RecordRef } from "../../core/buffer/BufferEvent.ts"
import type { Body } from "./Body.ts"
import type { Entry } from "./Entry.ts"
import * as StoredRecord from "./StoredRecord.ts"

/** Without an entry the fact alone. */
export const encode = (entry: Entry | undefined, record: DurableRecord, ref: RecordRef): Uint8Array => {
  const call = ref.kind === "arrived" ? entry?.call : undefined
  const answer = record._tag === "RecordEnded" && record.resultKept ? entry?.answer : undefined
  return StoredRecord.encode({
    record,
    call: entry === undefined || call === undefined ? null : storedCall(entry, call),
    answer:
      answer === undefined ? null : { status: answer.status, headers: answer.headers, body: storedBody(answer.body) }
  })
}

const storedCall = (entry: Entry, { head, body }: NonNullable<Entry["call"]>): StoredRecord.StoredCall => ({
  functionId: entry.functionId,
  functionName: entry.functionName,
  head,
  body: storedBody(body),
  ...(entry.replayOf === undefined ? {} : { replayOf: entry.replayOf })
})

const storedBody = (body: Body): StoredRecord.StoredBody =>
  body.kind === "inline" ? body : { kind: "blob", id: body.id }
