/**
 * The worker protocol in protobuf, as it travels over gRPC: one message per gRPC message, as
 * `proto/millrace/worker/v1/worker.proto` defines them. That file is the only definition; it is read when this module is
 * loaded, which only gRPC does.
 *
 * Decoding is total: for any bytes it returns a message or `MalformedFrame`. Unknown fields are skipped; a message
 * without a known kind, or with a number that a double cannot hold, is malformed.
 *
 * @module
 */
import { readFileSync } from "node:fs"
import protobuf from "protobufjs"
import { headersMax, type MalformedFrame, malformed, slotsMax } from "./MessagepackCodec.ts"
import {
  type ConnectOnceRequest,
  type ConnectOnceResponse,
  type FromWorker,
  type HeaderList,
  messageBytesMax,
  type ToWorker
} from "./WorkerMessage.ts"

// The same number of folders up from src/worker-sdk/protocol and dist/worker-sdk/protocol.
const definition = new URL("../../../proto/millrace/worker/v1/worker.proto", import.meta.url)
const { root } = protobuf.parse(readFileSync(definition, "utf8"))

const typeOf = (name: string): protobuf.Type => root.lookupType(`millrace.worker.v1.${name}`)

const fromWorkerType = typeOf("FromWorker")
const toWorkerType = typeOf("ToWorker")
const connectRequestType = typeOf("ConnectOnceRequest")
const connectResponseType = typeOf("ConnectOnceResponse")

export const servicePath = "/millrace.worker.v1.WorkerService/"

interface WireHeader {
  readonly name: string
  readonly value: string
}

const toWireHeaders = (headers: HeaderList): ReadonlyArray<WireHeader> =>
  headers.map(([name, value]) => ({ name, value }))

const finish = (type: protobuf.Type, value: object): Buffer => {
  const bytes = type.encode(value).finish()
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

const fromWorkerField = {
  Ready: "ready",
  ResponseHead: "responseHead",
  ResponseChunk: "responseChunk",
  ResponseEnd: "responseEnd",
  Failed: "failed",
  Progress: "progress",
  Credit: "credit",
  Draining: "draining",
  Heartbeat: "heartbeat"
} as const

const toWorkerField = {
  Assign: "assign",
  BodyChunk: "bodyChunk",
  BodyEnd: "bodyEnd",
  Cancel: "cancel",
  Credit: "credit",
  Drain: "drain",
  Heartbeat: "heartbeat"
} as const

export const encodeFromWorker = (message: FromWorker): Buffer => {
  const value = message._tag === "ResponseHead" ? { ...message, headers: toWireHeaders(message.headers) } : message
  return finish(fromWorkerType, { [fromWorkerField[message._tag]]: value })
}

export const encodeToWorker = (message: ToWorker): Buffer => {
  const value =
    message._tag === "Assign"
      ? { ...message, head: { ...message.head, headers: toWireHeaders(message.head.headers) } }
      : message
  return finish(toWorkerType, { [toWorkerField[message._tag]]: value })
}

export const encodeConnectOnceRequest = (request: ConnectOnceRequest): Buffer => finish(connectRequestType, request)

export const encodeConnectOnceResponse = (response: ConnectOnceResponse): Buffer =>
  finish(connectResponseType, response)

/** A decoded message: every field has the type that the .proto gives it, or is absent and then its zero. */
class Fields {
  fault: string | undefined = undefined
  private readonly message: object

  constructor(message: object) {
    this.message = message
  }

  string(name: string): string {
    const value: unknown = Reflect.get(this.message, name)
    return typeof value === "string" ? value : ""
  }

  boolean(name: string): boolean {
    return Reflect.get(this.message, name) === true
  }

  bytes(name: string): Uint8Array {
    const value: unknown = Reflect.get(this.message, name)
    return value instanceof Uint8Array ? value : new Uint8Array(0)
  }

  /** 64-bit fields come as numbers or as objects of two halves. */
  private numberOf(name: string): number {
    const value: unknown = Reflect.get(this.message, name)
    return typeof value === "number" ? value : value === undefined || value === null ? 0 : Number(String(value))
  }

  finite(name: string): number {
    const value = this.numberOf(name)
    if (Number.isFinite(value)) return value
    this.fault ??= `${name} is not a finite number`
    return 0
  }

  natural(name: string, max = Number.MAX_SAFE_INTEGER): number {
    const value = this.numberOf(name)
    if (Number.isSafeInteger(value) && value >= 0 && value <= max) return value
    this.fault ??= `${name} is not an integer from 0 to ${max}`
    return 0
  }

  list(name: string, max: number): ReadonlyArray<unknown> {
    const value: unknown = Reflect.get(this.message, name)
    if (!Array.isArray(value)) return []
    if (value.length > max) this.fault ??= `${value.length} ${name} where ${max} is the most`
    return value
  }

  /** A message inside; its faults become ours through `read`. */
  inside<Value>(name: string, read: (fields: Fields) => Value): Value {
    const value: unknown = Reflect.get(this.message, name)
    return this.each(typeof value === "object" && value !== null ? value : {}, read)
  }

  each<Value>(message: unknown, read: (fields: Fields) => Value): Value {
    const fields = new Fields(typeof message === "object" && message !== null ? message : {})
    const value = read(fields)
    this.fault ??= fields.fault
    return value
  }

  headers(): HeaderList {
    return this.list("headers", headersMax).map((header) =>
      this.each(header, (fields) => [fields.string("name"), fields.string("value")] as const)
    )
  }

  about(): { readonly requestId: string; readonly token: number } {
    return { requestId: this.string("requestId"), token: this.natural("token") }
  }
}

const readFromWorker = (kind: unknown, fields: Fields): FromWorker | undefined => {
  switch (kind) {
    case "ready":
      return {
        _tag: "Ready",
        slots: fields.natural("slots", slotsMax),
        phases: fields.inside("phases", (phases) => ({
          processMs: phases.finite("processMs"),
          initialiseMs: phases.finite("initialiseMs"),
          connectMs: phases.finite("connectMs")
        })),
        holds: fields.list("holds", slotsMax).map((hold) => fields.each(hold, (inner) => inner.about()))
      }
    case "responseHead":
      return {
        _tag: "ResponseHead",
        ...fields.about(),
        status: fields.natural("status", 999),
        headers: fields.headers(),
        body: fields.bytes("body"),
        end: fields.boolean("end")
      }
    case "responseChunk":
      return { _tag: "ResponseChunk", ...fields.about(), bytes: fields.bytes("bytes") }
    case "responseEnd":
      return { _tag: "ResponseEnd", ...fields.about() }
    case "failed":
      return {
        _tag: "Failed",
        ...fields.about(),
        retryable: fields.boolean("retryable"),
        message: fields.string("message")
      }
    case "progress":
      return {
        _tag: "Progress",
        ...fields.about(),
        percent: fields.finite("percent"),
        note: fields.string("note")
      }
    case "credit":
      return { _tag: "Credit", ...fields.about(), bytes: fields.natural("bytes") }
    case "draining":
      return { _tag: "Draining" }
    case "heartbeat":
      return { _tag: "Heartbeat" }
    default:
      return undefined
  }
}

const readToWorker = (kind: unknown, fields: Fields): ToWorker | undefined => {
  switch (kind) {
    case "assign":
      return {
        _tag: "Assign",
        ...fields.about(),
        attempt: fields.natural("attempt"),
        deadlineMs: fields.natural("deadlineMs"),
        tenant: fields.string("tenant"),
        head: fields.inside("head", (head) => ({
          method: head.string("method"),
          path: head.string("path"),
          headers: head.headers()
        })),
        body: fields.bytes("body"),
        bodyEnd: fields.boolean("bodyEnd")
      }
    case "bodyChunk":
      return { _tag: "BodyChunk", ...fields.about(), bytes: fields.bytes("bytes") }
    case "bodyEnd":
      return { _tag: "BodyEnd", ...fields.about() }
    case "cancel":
      return { _tag: "Cancel", ...fields.about(), reason: fields.string("reason") }
    case "credit":
      return { _tag: "Credit", ...fields.about(), bytes: fields.natural("bytes") }
    case "drain":
      return { _tag: "Drain", reason: fields.string("reason") }
    case "heartbeat":
      return { _tag: "Heartbeat" }
    default:
      return undefined
  }
}

/** protobufjs reports bad bytes by throwing; this is the border where that ends. */
const decodeWith = <Message>(
  type: protobuf.Type,
  bytes: Uint8Array,
  read: (message: protobuf.Message) => Message | MalformedFrame
): Message | MalformedFrame => {
  if (bytes.length > wireBytesMax) return malformed(`a message of ${bytes.length} bytes exceeds ${wireBytesMax}`)
  try {
    return read(type.decode(bytes))
  } catch (error) {
    return malformed(error instanceof Error ? error.message : String(error))
  }
}

/** Room for the envelope around the largest message. */
export const wireBytesMax = messageBytesMax + 1024

const decodeUnion = <Message>(
  type: protobuf.Type,
  bytes: Uint8Array,
  read: (kind: unknown, fields: Fields) => Message | undefined
): Message | MalformedFrame =>
  decodeWith(type, bytes, (decoded) => {
    const kind: unknown = Reflect.get(decoded, "message")
    const inner: unknown = typeof kind === "string" ? Reflect.get(decoded, kind) : undefined
    const fields = new Fields(typeof inner === "object" && inner !== null ? inner : {})
    const message = read(kind, fields)
    return fields.fault !== undefined || message === undefined
      ? malformed(fields.fault ?? "a message of unknown kind")
      : message
  })

export const decodeFromWorker = (bytes: Uint8Array): FromWorker | MalformedFrame =>
  decodeUnion(fromWorkerType, bytes, readFromWorker)

export const decodeToWorker = (bytes: Uint8Array): ToWorker | MalformedFrame =>
  decodeUnion(toWorkerType, bytes, readToWorker)

const decodePlain = <Message>(
  type: protobuf.Type,
  bytes: Uint8Array,
  read: (fields: Fields) => Message
): Message | MalformedFrame =>
  decodeWith(type, bytes, (decoded) => {
    const fields = new Fields(decoded)
    const message = read(fields)
    return fields.fault === undefined ? message : malformed(fields.fault)
  })

export const decodeConnectOnceRequest = (bytes: Uint8Array): ConnectOnceRequest | MalformedFrame =>
  decodePlain(connectRequestType, bytes, (fields) => ({
    instanceId: fields.string("instanceId"),
    functionId: fields.string("functionId"),
    versionId: fields.string("versionId"),
    token: fields.string("token"),
    workerId: fields.string("workerId"),
    sdk: fields.string("sdk")
  }))

export const decodeConnectOnceResponse = (bytes: Uint8Array): ConnectOnceResponse | MalformedFrame =>
  decodePlain(connectResponseType, bytes, (fields) => ({
    region: fields.string("region"),
    otherRegions: fields.list("otherRegions", 1000).map(String),
    workUrl: fields.string("workUrl"),
    heartbeatMs: fields.natural("heartbeatMs"),
    visibilityTimeoutMs: fields.natural("visibilityTimeoutMs"),
    initialCreditBytes: fields.natural("initialCreditBytes"),
    token: fields.string("token"),
    tokenExpiresAtMs: fields.natural("tokenExpiresAtMs"),
    nowMs: fields.natural("nowMs")
  }))
