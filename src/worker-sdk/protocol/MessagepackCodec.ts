/**
 * The worker protocol in MessagePack, as it travels over WebSocket.
 *
 * A frame is one or more messages, one after the other: whatever a side has to say in one turn goes out as one frame. A
 * message is an array that begins with a small integer, its kind; the fields follow in the order written below. Fields
 * that a newer peer appends are skipped; an unknown kind, a missing field or a value out of range makes the whole frame
 * malformed.
 *
 * Decoding is total: for any bytes it returns messages or `MalformedFrame`, in time proportional to their number.
 *
 * The connection begins with `ConnectOnce` (or `Open`, with a token that another address gave) and its answer
 * `Connected` (`Opened`) or `Refused`; `Ready` may follow at once, without waiting for the answer.
 *
 * @module
 */
import { MessagepackReader } from "./MessagepackReader.ts"
import type { MessagepackWriter } from "./MessagepackWriter.ts"
import {
  type ConnectOnceRequest,
  type ConnectOnceResponse,
  type FromWorker,
  type HeaderList,
  messageBytesMax,
  type ToWorker
} from "./WorkerMessage.ts"

export type RefusalKind = "unauthenticated" | "unknown-version" | "unavailable"

/** What a worker says over WebSocket: the handshake, then the stream. */
export type FrameFromWorker =
  | FromWorker
  | { readonly _tag: "ConnectOnce"; readonly request: ConnectOnceRequest }
  | { readonly _tag: "Open"; readonly token: string }

/** What the plane says over WebSocket. */
export type FrameToWorker =
  | ToWorker
  | { readonly _tag: "Connected"; readonly response: ConnectOnceResponse }
  /** The answer to `Open`. */
  | { readonly _tag: "Opened" }
  | { readonly _tag: "Refused"; readonly kind: RefusalKind; readonly message: string }

export interface MalformedFrame {
  readonly _tag: "MalformedFrame"
  readonly reason: string
}

export const malformed = (reason: string): MalformedFrame => ({ _tag: "MalformedFrame", reason })

/** A sender ends a frame at `frameBytesTarget` or `frameMessagesMax`, so none grows beyond this. */
export const frameBytesMax = 2 * messageBytesMax
export const frameBytesTarget = 256 * 1024
export const frameMessagesMax = 1024
/** As many as any HTTP server takes; keeps a frame of empty headers from growing a hundredfold in memory. */
export const headersMax = 2000
/** More slots than one worker can mean; a larger number is a mistake. */
export const slotsMax = 65_536

const kindFromWorker = {
  ConnectOnce: 1,
  Open: 2,
  Ready: 3,
  ResponseHead: 4,
  ResponseChunk: 5,
  ResponseEnd: 6,
  Failed: 7,
  Progress: 8,
  Credit: 9,
  Draining: 10,
  Heartbeat: 11
} as const

const kindToWorker = {
  Connected: 1,
  Refused: 2,
  Assign: 3,
  BodyChunk: 4,
  BodyEnd: 5,
  Cancel: 6,
  Credit: 7,
  Drain: 8,
  Heartbeat: 9,
  Opened: 10
} as const

const refusalKinds: ReadonlyArray<RefusalKind> = ["unauthenticated", "unknown-version", "unavailable"]

const writeHeaders = (writer: MessagepackWriter, headers: HeaderList): void => {
  writer.array(headers.length * 2)
  for (const [name, value] of headers) {
    writer.string(name)
    writer.string(value)
  }
}

const writeAbout = (
  writer: MessagepackWriter,
  kind: number,
  fields: number,
  message: { readonly requestId: string; readonly token: number }
): void => {
  writer.array(fields)
  writer.number(kind)
  writer.string(message.requestId)
  writer.number(message.token)
}

/** Appends one message to the frame that the writer is at. */
export const writeFromWorker = (writer: MessagepackWriter, message: FrameFromWorker): void => {
  switch (message._tag) {
    case "ResponseHead":
      writeAbout(writer, kindFromWorker.ResponseHead, 7, message)
      writer.number(message.status)
      writeHeaders(writer, message.headers)
      writer.bytes(message.body)
      return writer.boolean(message.end)
    case "ResponseChunk":
      writeAbout(writer, kindFromWorker.ResponseChunk, 4, message)
      return writer.bytes(message.bytes)
    case "ResponseEnd":
      return writeAbout(writer, kindFromWorker.ResponseEnd, 3, message)
    case "Failed":
      writeAbout(writer, kindFromWorker.Failed, 5, message)
      writer.boolean(message.retryable)
      return writer.string(message.message)
    case "Progress":
      writeAbout(writer, kindFromWorker.Progress, 5, message)
      writer.number(message.percent)
      return writer.string(message.note)
    case "Credit":
      writeAbout(writer, kindFromWorker.Credit, 4, message)
      return writer.number(message.bytes)
    case "Ready":
      writer.array(6)
      writer.number(kindFromWorker.Ready)
      writer.number(message.slots)
      writer.number(message.phases.processMs)
      writer.number(message.phases.initialiseMs)
      writer.number(message.phases.connectMs)
      writer.array(message.holds.length * 2)
      for (const hold of message.holds) {
        writer.string(hold.requestId)
        writer.number(hold.token)
      }
      return
    case "ConnectOnce":
      writer.array(7)
      writer.number(kindFromWorker.ConnectOnce)
      writer.string(message.request.instanceId)
      writer.string(message.request.functionId)
      writer.string(message.request.versionId)
      writer.string(message.request.token)
      writer.string(message.request.workerId)
      return writer.string(message.request.sdk)
    case "Open":
      writer.array(2)
      writer.number(kindFromWorker.Open)
      return writer.string(message.token)
    default:
      writer.array(1)
      writer.number(kindFromWorker[message._tag])
  }
}

/** Appends one message to the frame that the writer is at. */
export const writeToWorker = (writer: MessagepackWriter, message: FrameToWorker): void => {
  switch (message._tag) {
    case "Assign":
      writeAbout(writer, kindToWorker.Assign, 11, message)
      writer.number(message.attempt)
      writer.number(message.deadlineMs)
      writer.string(message.tenant)
      writer.string(message.head.method)
      writer.string(message.head.path)
      writeHeaders(writer, message.head.headers)
      writer.bytes(message.body)
      return writer.boolean(message.bodyEnd)
    case "BodyChunk":
      writeAbout(writer, kindToWorker.BodyChunk, 4, message)
      return writer.bytes(message.bytes)
    case "BodyEnd":
      return writeAbout(writer, kindToWorker.BodyEnd, 3, message)
    case "Cancel":
      writeAbout(writer, kindToWorker.Cancel, 4, message)
      return writer.string(message.reason)
    case "Credit":
      writeAbout(writer, kindToWorker.Credit, 4, message)
      return writer.number(message.bytes)
    case "Drain":
      writer.array(2)
      writer.number(kindToWorker.Drain)
      return writer.string(message.reason)
    case "Connected": {
      const { response } = message
      writer.array(10)
      writer.number(kindToWorker.Connected)
      writer.string(response.region)
      writer.array(response.otherRegions.length)
      for (const region of response.otherRegions) writer.string(region)
      writer.string(response.workUrl)
      writer.number(response.heartbeatMs)
      writer.number(response.visibilityTimeoutMs)
      writer.number(response.initialCreditBytes)
      writer.string(response.token)
      writer.number(response.tokenExpiresAtMs)
      return writer.number(response.nowMs)
    }
    case "Refused":
      writer.array(3)
      writer.number(kindToWorker.Refused)
      writer.number(refusalKinds.indexOf(message.kind))
      return writer.string(message.message)
    default:
      writer.array(1)
      writer.number(kindToWorker[message._tag])
  }
}

const readHeaders = (reader: MessagepackReader): HeaderList => {
  const length = reader.array(2 * headersMax)
  const headers: Array<readonly [string, string]> = []
  for (let index = 0; index + 1 < length && reader.fault === undefined; index += 2) {
    headers.push([reader.string(), reader.string()])
  }
  if (length % 2 === 1) reader.skip()
  return headers
}

const regionsMax = 1000

const readStrings = (reader: MessagepackReader): ReadonlyArray<string> => {
  const length = reader.array(regionsMax)
  const strings: Array<string> = []
  for (let index = 0; index < length && reader.fault === undefined; index++) strings.push(reader.string())
  return strings
}

const readHolds = (reader: MessagepackReader): ReadonlyArray<{ requestId: string; token: number }> => {
  const length = reader.array(2 * slotsMax)
  const holds: Array<{ requestId: string; token: number }> = []
  for (let index = 0; index + 1 < length && reader.fault === undefined; index += 2) {
    holds.push({ requestId: reader.string(), token: reader.natural() })
  }
  if (length % 2 === 1) reader.skip()
  return holds
}

// Object literals evaluate their fields in the order written, which is the order on the wire.
const readFromWorker = (reader: MessagepackReader, kind: number): FrameFromWorker | undefined => {
  switch (kind) {
    case kindFromWorker.ResponseHead:
      return {
        _tag: "ResponseHead",
        requestId: reader.string(),
        token: reader.natural(),
        status: reader.natural(999),
        headers: readHeaders(reader),
        body: reader.bytes(),
        end: reader.boolean()
      }
    case kindFromWorker.ResponseChunk:
      return {
        _tag: "ResponseChunk",
        requestId: reader.string(),
        token: reader.natural(),
        bytes: reader.bytes()
      }
    case kindFromWorker.ResponseEnd:
      return { _tag: "ResponseEnd", requestId: reader.string(), token: reader.natural() }
    case kindFromWorker.Failed:
      return {
        _tag: "Failed",
        requestId: reader.string(),
        token: reader.natural(),
        retryable: reader.boolean(),
        message: reader.string()
      }
    case kindFromWorker.Progress:
      return {
        _tag: "Progress",
        requestId: reader.string(),
        token: reader.natural(),
        percent: reader.number(),
        note: reader.string()
      }
    case kindFromWorker.Credit:
      return { _tag: "Credit", requestId: reader.string(), token: reader.natural(), bytes: reader.natural() }
    case kindFromWorker.Ready:
      return {
        _tag: "Ready",
        slots: reader.natural(slotsMax),
        phases: { processMs: reader.number(), initialiseMs: reader.number(), connectMs: reader.number() },
        holds: readHolds(reader)
      }
    case kindFromWorker.ConnectOnce:
      return {
        _tag: "ConnectOnce",
        request: {
          instanceId: reader.string(),
          functionId: reader.string(),
          versionId: reader.string(),
          token: reader.string(),
          workerId: reader.string(),
          sdk: reader.string()
        }
      }
    case kindFromWorker.Open:
      return { _tag: "Open", token: reader.string() }
    case kindFromWorker.Draining:
      return { _tag: "Draining" }
    case kindFromWorker.Heartbeat:
      return { _tag: "Heartbeat" }
    default:
      return undefined
  }
}

const readToWorker = (reader: MessagepackReader, kind: number): FrameToWorker | undefined => {
  switch (kind) {
    case kindToWorker.Assign:
      return {
        _tag: "Assign",
        requestId: reader.string(),
        token: reader.natural(),
        attempt: reader.natural(),
        deadlineMs: reader.natural(),
        tenant: reader.string(),
        head: { method: reader.string(), path: reader.string(), headers: readHeaders(reader) },
        body: reader.bytes(),
        bodyEnd: reader.boolean()
      }
    case kindToWorker.BodyChunk:
      return { _tag: "BodyChunk", requestId: reader.string(), token: reader.natural(), bytes: reader.bytes() }
    case kindToWorker.BodyEnd:
      return { _tag: "BodyEnd", requestId: reader.string(), token: reader.natural() }
    case kindToWorker.Cancel:
      return { _tag: "Cancel", requestId: reader.string(), token: reader.natural(), reason: reader.string() }
    case kindToWorker.Credit:
      return { _tag: "Credit", requestId: reader.string(), token: reader.natural(), bytes: reader.natural() }
    case kindToWorker.Drain:
      return { _tag: "Drain", reason: reader.string() }
    case kindToWorker.Heartbeat:
      return { _tag: "Heartbeat" }
    case kindToWorker.Opened:
      return { _tag: "Opened" }
    case kindToWorker.Connected:
      return {
        _tag: "Connected",
        response: {
          region: reader.string(),
          otherRegions: readStrings(reader),
          workUrl: reader.string(),
          heartbeatMs: reader.natural(),
          visibilityTimeoutMs: reader.natural(),
          initialCreditBytes: reader.natural(),
          token: reader.string(),
          tokenExpiresAtMs: reader.natural(),
          nowMs: reader.natural()
        }
      }
    case kindToWorker.Refused:
      return {
        _tag: "Refused",
        kind: refusalKinds[reader.natural(refusalKinds.length - 1)] ?? "unavailable",
        message: reader.string()
      }
    default:
      return undefined
  }
}

/** Fields of each kind without the kind itself: what must be there; more is skipped. */
const fieldCountFromWorker = [-1, 6, 1, 5, 6, 3, 2, 4, 4, 3, 0, 0]
const fieldCountToWorker = [-1, 9, 2, 10, 3, 2, 3, 3, 1, 0, 0]

const decode = <Message>(
  bytes: Uint8Array,
  fieldCounts: ReadonlyArray<number>,
  read: (reader: MessagepackReader, kind: number) => Message | undefined
): ReadonlyArray<Message> | MalformedFrame => {
  if (bytes.length > frameBytesMax) return malformed(`a frame of ${bytes.length} bytes exceeds ${frameBytesMax}`)
  if (bytes.length === 0) return malformed("an empty frame")
  const reader = new MessagepackReader(bytes)
  const messages: Array<Message> = []
  while (!reader.atEnd) {
    const length = reader.array()
    const kind = length === 0 ? -1 : reader.natural()
    const fields = fieldCounts[kind] ?? -1
    if (reader.fault !== undefined) return malformed(reader.fault)
    if (fields < 0) return malformed(`unknown message kind ${kind}`)
    if (length - 1 < fields) return malformed(`message kind ${kind} has ${length - 1} of ${fields} fields`)
    const message = read(reader, kind)
    for (let extra = length - 1 - fields; extra > 0 && reader.fault === undefined; extra--) reader.skip()
    if (reader.fault !== undefined || message === undefined) return malformed(reader.fault ?? `unknown kind ${kind}`)
    if (messages.push(message) > frameMessagesMax) return malformed(`more than ${frameMessagesMax} messages in a frame`)
  }
  return reader.fault === undefined ? messages : malformed(reader.fault)
}

/** All messages of one frame, or why it has none. Byte fields are views into `bytes`. */
export const decodeFromWorker = (bytes: Uint8Array): ReadonlyArray<FrameFromWorker> | MalformedFrame =>
  decode(bytes, fieldCountFromWorker, readFromWorker)

/** All messages of one frame, or why it has none. Byte fields are views into `bytes`. */
export const decodeToWorker = (bytes: Uint8Array): ReadonlyArray<FrameToWorker> | MalformedFrame =>
  decode(bytes, fieldCountToWorker, readToWorker)

export const isMalformed = (decoded: ReadonlyArray<unknown> | MalformedFrame): decoded is MalformedFrame =>
  "_tag" in decoded
