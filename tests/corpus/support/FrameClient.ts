/**
 * A worker of either transport that says exactly what it is told, byte by byte if need be, and remembers how its
 * connection ended.
 *
 * @module
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as Grpc from "@grpc/grpc-js"
import { WebSocket } from "ws"
import * as WorkerToken from "../../../src/planes/invocation/WorkerToken.ts"
import * as Messagepack from "../../../src/worker-sdk/protocol/MessagepackCodec.ts"
import { MessagepackWriter } from "../../../src/worker-sdk/protocol/MessagepackWriter.ts"
import * as Protobuf from "../../../src/worker-sdk/protocol/ProtobufCodec.ts"
import type { ConnectOnceRequest, FromWorker, ToWorker } from "../../../src/worker-sdk/protocol/WorkerMessage.ts"
import { eventually } from "../../support/TestPlatform.ts"
import type { Ground } from "./Ground.ts"

export type Transport = "ws" | "grpc"
export type Assign = Extract<ToWorker, { readonly _tag: "Assign" }>

export interface Ended {
  /** Close code of WebSocket, or status of gRPC. */
  readonly code: number
  readonly reason: string
}

export interface FrameClient {
  readonly send: (message: FromWorker) => void
  readonly bytes: (bytes: Uint8Array | string) => void
  readonly heard: ReadonlyArray<Messagepack.FrameToWorker>
  readonly ended: Promise<Ended>
  readonly isOpen: () => boolean
  readonly close: () => void
}

const frame = (message: Messagepack.FrameFromWorker): Buffer => {
  const writer = new MessagepackWriter()
  writer.begin(0)
  Messagepack.writeFromWorker(writer, message)
  return writer.finish()
}

let count = 0

/** What an instance of this function would introduce itself with; `claims` are those of its credential. */
export const introduction = (
  { test, fn }: Ground,
  claims: Partial<WorkerToken.WorkerClaims> = {}
): ConnectOnceRequest => {
  const secret = Buffer.from(readFileSync(join(test.stateDirectory, "worker-secret"), "utf8").trim(), "hex")
  const instanceId = `frames-${++count}`
  const { functionId, versionId } = fn
  const expiresAtMs = Date.now() + 60_000
  const token = WorkerToken.issue(secret, { instanceId, functionId, versionId, expiresAtMs, ...claims })
  return { instanceId, functionId, versionId, token, workerId: `${instanceId}.worker`, sdk: "frames" }
}

export const ready: FromWorker = {
  _tag: "Ready",
  slots: 1,
  phases: { processMs: 0, initialiseMs: 0, connectMs: 0 },
  holds: []
}

/** A connection on which nothing was said yet. */
export const openWebSocket = async ({ test }: Ground): Promise<FrameClient> => {
  const socket = new WebSocket(`${test.platform.workerUrl}/v1/worker`, "millrace.worker.v1")
  const heard: Array<Messagepack.FrameToWorker> = []
  socket.on("error", () => {})
  socket.on("message", (data) => {
    const decoded = Buffer.isBuffer(data) ? Messagepack.decodeToWorker(data) : undefined
    if (decoded !== undefined && !Messagepack.isMalformed(decoded)) heard.push(...decoded)
  })
  const ended = new Promise<Ended>((resolve) =>
    socket.once("close", (code, reason) => resolve({ code, reason: reason.toString("utf8") }))
  )
  await new Promise((resolve) => socket.once("open", resolve))
  return {
    send: (message) => socket.send(frame(message)),
    bytes: (bytes) => socket.send(bytes),
    heard,
    ended,
    isOpen: () => socket.readyState === WebSocket.OPEN,
    close: () => socket.terminate()
  }
}

export const connectOnceFrame = (request: ConnectOnceRequest): Buffer => frame({ _tag: "ConnectOnce", request })

const asIs = (bytes: Buffer): Buffer => bytes

const grpcClient = ({ test }: Ground): Grpc.Client =>
  new Grpc.Client(test.platform.workerUrl.replace("ws://", ""), Grpc.credentials.createInsecure(), {
    "grpc.use_local_subchannel_pool": 1,
    "grpc.max_send_message_length": -1
  })

/** One unary call with these bytes; answers the status and, when it went well, the bytes. */
export const unary = (ground: Ground, method: string, bytes: Uint8Array): Promise<Ended & { bytes?: Buffer }> =>
  new Promise((resolve) => {
    const client = grpcClient(ground)
    client.makeUnaryRequest(`${Protobuf.servicePath}${method}`, asIs, asIs, Buffer.from(bytes), (error, answer) => {
      client.close()
      if (answer === undefined) resolve({ code: error?.code ?? -1, reason: error?.details ?? "" })
      else resolve({ code: 0, reason: "", bytes: answer })
    })
  })

/** A work stream with this token, whatever it is. */
export const openGrpc = (ground: Ground, authorization: string | undefined): FrameClient => {
  const client = grpcClient(ground)
  const metadata = new Grpc.Metadata()
  if (authorization !== undefined) metadata.set("authorization", authorization)
  const stream = client.makeBidiStreamRequest(`${Protobuf.servicePath}Work`, asIs, asIs, metadata)
  const heard: Array<Messagepack.FrameToWorker> = []
  let isOpen = true
  stream.on("error", () => {})
  stream.on("data", (bytes: Buffer) => {
    const decoded = Protobuf.decodeToWorker(bytes)
    if (decoded._tag !== "MalformedFrame") heard.push(decoded)
  })
  const ended = new Promise<Ended>((resolve) =>
    stream.on("status", ({ code, details }) => {
      isOpen = false
      client.close()
      resolve({ code, reason: details })
    })
  )
  return {
    send: (message) => void stream.write(Protobuf.encodeFromWorker(message)),
    bytes: (bytes) => void stream.write(Buffer.from(bytes)),
    heard,
    ended,
    isOpen: () => isOpen,
    close: () => {
      stream.cancel()
      client.close()
    }
  }
}

/** Introduced, and not ready yet. */
export const connected = async (ground: Ground, transport: Transport): Promise<FrameClient> => {
  const request = introduction(ground)
  if (transport === "ws") {
    const client = await openWebSocket(ground)
    client.bytes(connectOnceFrame(request))
    await eventually("it is taken in", () => client.heard.find(({ _tag }) => _tag === "Connected"))
    return client
  }
  const answer = await unary(ground, "ConnectOnce", Protobuf.encodeConnectOnceRequest(request))
  const response = Protobuf.decodeConnectOnceResponse(answer.bytes ?? Buffer.alloc(0))
  if ("_tag" in response) throw new Error(response.reason)
  return openGrpc(ground, `Bearer ${response.token}`)
}

/** The next call that it is given, after those that it was given before. */
export const assigned = (client: FrameClient, before = 0): Promise<Assign> =>
  eventually("it is given a call", () => {
    const assigns = client.heard.filter((message): message is Assign => message._tag === "Assign")
    return assigns[before]
  })

export const rightAnswer = ({ requestId, token }: Assign): FromWorker => ({
  _tag: "ResponseHead",
  requestId,
  token,
  status: 200,
  headers: [],
  body: Buffer.from("right"),
  end: true
})
