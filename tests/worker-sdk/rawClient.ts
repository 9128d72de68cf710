/**
 * A worker that does not keep to the protocol: says hello properly, then sends the bytes that a test gives it.
 *
 * @module
 */
import * as Grpc from "@grpc/grpc-js"
import { WebSocket } from "ws"
import { type FrameFromWorker, writeFromWorker } from "../../src/worker-sdk/protocol/MessagepackCodec.ts"
import { MessagepackWriter } from "../../src/worker-sdk/protocol/MessagepackWriter.ts"
import * as Protobuf from "../../src/worker-sdk/protocol/ProtobufCodec.ts"
import type { FromWorker } from "../../src/worker-sdk/protocol/WorkerMessage.ts"
import { type FakePlane, isGrpc, type Scheme } from "./FakePlane.ts"

export interface RawClient {
  readonly send: (bytes: Uint8Array) => void
  readonly message: (message: FromWorker) => void
  readonly close: () => void
}

const writer = new MessagepackWriter()

const frame = (message: FrameFromWorker): Buffer => {
  writer.begin(0)
  writeFromWorker(writer, message)
  return writer.finish()
}

const connectOnce: FrameFromWorker = {
  _tag: "ConnectOnce",
  request: { instanceId: "raw", functionId: "raw", versionId: "raw", token: "raw", workerId: "raw", sdk: "raw" }
}

const webSocketClient = async (plane: FakePlane): Promise<RawClient> => {
  const socket = new WebSocket(`ws://127.0.0.1:${plane.port}/v1/worker`, "millrace.worker.v1")
  socket.on("error", () => {})
  await new Promise((resolve) => socket.once("open", resolve))
  socket.send(frame(connectOnce))
  return {
    send: (bytes) => socket.send(bytes),
    message: (message) => socket.send(frame(message)),
    close: () => socket.terminate()
  }
}

const grpcClient = async (plane: FakePlane): Promise<RawClient> => {
  const client = new Grpc.Client(`127.0.0.1:${plane.port}`, Grpc.credentials.createInsecure(), {
    "grpc.use_local_subchannel_pool": 1
  })
  const asIs = (bytes: Buffer): Buffer => bytes
  const metadata = new Grpc.Metadata()
  metadata.set("authorization", "Bearer raw")
  const stream = client.makeBidiStreamRequest(`${Protobuf.servicePath}Work`, asIs, asIs, metadata)
  stream.on("error", () => {})
  stream.on("data", () => {})
  return {
    send: (bytes) => void stream.write(Buffer.from(bytes)),
    message: (message) => void stream.write(Protobuf.encodeFromWorker(message)),
    close: () => {
      stream.cancel()
      client.close()
    }
  }
}

export const rawClient = (plane: FakePlane, scheme: Scheme): Promise<RawClient> =>
  isGrpc(scheme) ? grpcClient(plane) : webSocketClient(plane)
