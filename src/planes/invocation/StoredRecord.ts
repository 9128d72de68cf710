/**
 * What one log record of a shard holds: the machine's durable fact and, beside it, the bytes that the machine never
 * sees (the call of an `arrived`, the answer of an `ended`). MessagePack with a format number in front.
 *
 * @module
 */
import { Packr } from "msgpackr"
import type { DurableRecord } from "../../core/buffer/BufferEvent.ts"
import type { HeaderList, RequestHead } from "../../worker-sdk/protocol/WorkerMessage.ts"

/** Bytes in the log itself, or the id of a blob beside it. */
export type StoredBody =
  | { readonly kind: "inline"; readonly bytes: Uint8Array }
  | { readonly kind: "blob"; readonly id: string }

export interface StoredCall {
  readonly functionId: string
  readonly functionName: string
  readonly head: RequestHead
  readonly body: StoredBody
  /** The dead letter that this call replays. */
  readonly replayOf?: string
}

export interface StoredAnswer {
  readonly status: number
  readonly headers: HeaderList
  readonly body: StoredBody
}

export interface StoredRecord {
  readonly record: DurableRecord
  readonly call: StoredCall | null
  readonly answer: StoredAnswer | null
}

/** Grows when an older reader could misread a record; readers keep every older form. */
export const formatVersion = 1

// Plain maps, no shared structures: each record must be readable alone.
const packr = new Packr({ useRecords: false, encodeUndefinedAsNil: false })

const encodeBody = (body: StoredBody) => (body.kind === "inline" ? body.bytes : body.id)

const decodeBody = (value: unknown): StoredBody =>
  typeof value === "string"
    ? { kind: "blob", id: value }
    : { kind: "inline", bytes: value instanceof Uint8Array ? value : new Uint8Array(0) }

export const encode = ({ record, call, answer }: StoredRecord): Uint8Array =>
  packr.pack([
    formatVersion,
    record,
    call === null
      ? null
      : [
          call.functionId,
          call.functionName,
          call.head.method,
          call.head.path,
          call.head.headers,
          encodeBody(call.body),
          ...(call.replayOf === undefined ? [] : [call.replayOf])
        ],
    answer === null ? null : [answer.status, answer.headers, encodeBody(answer.body)]
  ])

export class UnreadableRecord extends Error {}

export const decode = (bytes: Uint8Array): StoredRecord => {
  const value: unknown = packr.unpack(bytes)
  if (!Array.isArray(value) || typeof value[0] !== "number") {
    throw new UnreadableRecord("a log record is not one of Millrace's: the store is damaged or foreign")
  }
  if (value[0] > formatVersion) {
    throw new UnreadableRecord(
      `a log record has format ${value[0]} and this Millrace reads up to ${formatVersion}: start the newer version that wrote it`
    )
  }
  // Written by `encode` above and read back under SQLite's own checks: the shape is ours.
  const [, record, call, answer] = value as [
    number,
    DurableRecord,
    [string, string, string, string, HeaderList, unknown, string?] | null,
    [number, HeaderList, unknown] | null
  ]
  return {
    record,
    call:
      call === null
        ? null
        : {
            functionId: call[0],
            functionName: call[1],
            head: { method: call[2], path: call[3], headers: call[4] },
            body: decodeBody(call[5]),
            ...(call[6] === undefined ? {} : { replayOf: call[6] })
          },
    answer: answer === null ? null : { status: answer[0], headers: answer[1], body: decodeBody(answer[2]) }
  }
}
