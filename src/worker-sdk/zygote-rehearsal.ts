/**
 * One whole call of a worker, from its connection to its end, against a plane of a few lines in the same process. Node
 * compiles a function when it first runs and loads parts of itself when they are first asked for, which is most of what a
 * worker's first call takes; after the rehearsal that is done.
 *
 * Laws: R1 it leaves no listener, nothing that keeps the process alive, and no descriptor but the spare one of /dev/null
 * that libuv keeps from the first port on. R2 where no port can be opened it does nothing, and the first call is slower.
 *
 * @module
 */
import * as Net from "node:net"
import { connectWebSocket, subprotocol } from "./connection/WebSocketTransport.ts"
import { LightResponse } from "./fetch-api/LightResponse.ts"
import { makeInvoke } from "./Invocation.ts"
import { type FrameToWorker, writeToWorker } from "./protocol/MessagepackCodec.ts"
import { MessagepackWriter } from "./protocol/MessagepackWriter.ts"
import { initialCreditBytes } from "./protocol/WorkerMessage.ts"
import { Worker } from "./Worker.ts"
import { systemClock } from "./WorkerClock.ts"

const heartbeatMs = 60_000

const connected: FrameToWorker = {
  _tag: "Connected",
  response: {
    region: "",
    otherRegions: [],
    workUrl: "",
    heartbeatMs,
    visibilityTimeoutMs: heartbeatMs,
    initialCreditBytes,
    token: "",
    tokenExpiresAtMs: 0,
    nowMs: 0
  }
}

const assign = (requestId: string): FrameToWorker => ({
  _tag: "Assign",
  requestId,
  token: 1,
  attempt: 1,
  deadlineMs: Date.now() + heartbeatMs,
  tenant: "",
  head: { method: "POST", path: "/", headers: [["content-type", "text/plain"]] },
  body: new Uint8Array(1),
  bodyEnd: true
})

/** As a server sends it: one frame, without a mask. */
const frame = (...messages: ReadonlyArray<FrameToWorker>): Buffer => {
  const writer = new MessagepackWriter()
  writer.begin(4)
  for (const message of messages) writeToWorker(writer, message)
  const bytes = writer.finish()
  bytes[0] = 0x82
  bytes[1] = 126
  bytes.writeUInt16BE(bytes.length - 4, 2)
  return bytes
}

const upgraded = `HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Protocol: ${subprotocol}\r\n\r\n`

/** What the plane says to each thing that it hears, whatever it was. */
const script = (): ReadonlyArray<string | Buffer> => [
  upgraded,
  frame(connected, assign("first")),
  frame(assign("second")),
  frame({ _tag: "Drain", reason: "" })
]

/**
 * Node asks for `process.stderr` when any socket closes, and so makes a stream of descriptor 2, which changes the mode of
 * the descriptor under a function that writes to it by itself. Answers what puts the property back.
 */
const withoutStderr = (): (() => void) => {
  const property = Object.getOwnPropertyDescriptor(process, "stderr")
  if (property?.configurable !== true) return () => undefined
  Object.defineProperty(process, "stderr", { configurable: true, get: () => undefined })
  return () => Object.defineProperty(process, "stderr", property)
}

export const rehearse = async (): Promise<void> => {
  const putBack = withoutStderr()
  try {
    await play()
    // Handles are gone one turn after they said so.
    await new Promise((resolve) => setImmediate(resolve))
  } finally {
    putBack()
  }
}

const play = async (): Promise<void> => {
  const server = Net.createServer((socket) => {
    const lines = script()[Symbol.iterator]()
    socket.on("error", () => socket.destroy())
    socket.on("data", () => {
      const line = lines.next()
      if (line.done !== true) socket.write(line.value)
    })
  })
  const closed = new Promise((resolve) => server.once("close", resolve))
  const listening = new Promise<boolean>((resolve) => {
    server.once("error", () => resolve(false))
    server.listen({ host: "127.0.0.1", port: 0 }, () => resolve(true))
  })
  if (!(await listening)) return
  const address = server.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  const worker = new Worker({
    url: `ws://127.0.0.1:${port}`,
    connect: connectWebSocket,
    request: { instanceId: "", functionId: "", versionId: "", token: "", workerId: "", sdk: "" },
    slots: 1,
    invoke: makeInvoke({ fetch: async (request) => new LightResponse(await request.text()) }, systemClock),
    phases: () => ({ processMs: 0, initialiseMs: 0, connectMs: 0 }),
    clock: systemClock,
    chance: () => 0,
    log: () => undefined
  })
  worker.start()
  await worker.ended
  server.close()
  await closed
}
