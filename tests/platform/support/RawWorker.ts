/**
 * A worker without the SDK: says hello properly with a credential of its own, then exactly what a test tells it.
 *
 * @module
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { WebSocket } from "ws"
import * as WorkerToken from "../../../src/planes/invocation/WorkerToken.ts"
import {
  decodeToWorker,
  type FrameFromWorker,
  type FrameToWorker,
  isMalformed,
  writeFromWorker
} from "../../../src/worker-sdk/protocol/MessagepackCodec.ts"
import { MessagepackWriter } from "../../../src/worker-sdk/protocol/MessagepackWriter.ts"
import type { FromWorker, ToWorker } from "../../../src/worker-sdk/protocol/WorkerMessage.ts"
import { eventually, type TestFunction, type TestPlatform } from "../../support/TestPlatform.ts"

export type Assign = Extract<ToWorker, { readonly _tag: "Assign" }>

export interface RawWorker {
  readonly say: (message: FrameFromWorker) => void
  readonly bytes: (bytes: Uint8Array | string) => void
  /** Joins its version; before it a worker is given nothing. */
  readonly ready: (slots?: number) => void
  readonly heard: ReadonlyArray<FrameToWorker>
  /** The next call that it is given. */
  readonly assigned: () => Promise<Assign>
  readonly answer: (
    assign: Pick<Assign, "requestId" | "token">,
    head: { status?: number; headers?: Array<[string, string]>; body?: string }
  ) => void
  readonly isOpen: () => boolean
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>
  /** As a process that is killed. */
  readonly vanish: () => void
}

/** A command that runs and never becomes a worker, so that only the raw ones serve. */
export const mute = { command: ["node", "-e", "setInterval(() => {}, 1000)"] }

let count = 0

const frame = (message: FrameFromWorker): Buffer => {
  const writer = new MessagepackWriter()
  writer.begin(0)
  writeFromWorker(writer, message)
  return writer.finish()
}

type Served = Pick<TestFunction, "functionId" | "versionId">

/** A credential that is none, or one that was made for another function, or the one of an instance that runs. */
interface Credential {
  readonly token?: string
  readonly of?: Served
  readonly instanceId?: string
}

export const connect = (
  { platform, stateDirectory }: TestPlatform,
  served: Served,
  credential: Credential = {}
): Promise<RawWorker> => {
  const secret = Buffer.from(readFileSync(join(stateDirectory, "worker-secret"), "utf8").trim(), "hex")
  return connectAt({ workerUrl: platform.workerUrl, secret }, served, credential)
}

/** Where the shard of the version is: it goes nowhere else. */
export const connectAt = async (
  { workerUrl, secret }: { readonly workerUrl: string; readonly secret: Uint8Array },
  { functionId, versionId }: Served,
  credential: Credential = {}
): Promise<RawWorker> => {
  const instanceId = credential.instanceId ?? `raw-${++count}`
  const { of = { functionId, versionId } } = credential
  const claims = {
    instanceId,
    functionId: of.functionId,
    versionId: of.versionId,
    expiresAtMs: Date.now() + 60_000
  }
  const token = credential.token ?? WorkerToken.issue(secret, claims)
  const socket = new WebSocket(`${workerUrl}/v1/worker`, "millrace.worker.v1")
  const heard: Array<FrameToWorker> = []
  let assignedCount = 0
  socket.on("error", () => {})
  socket.on("message", (data) => {
    const decoded = Buffer.isBuffer(data) ? decodeToWorker(data) : undefined
    if (decoded !== undefined && !isMalformed(decoded)) heard.push(...decoded)
  })
  const closed = new Promise<{ code: number; reason: string }>((resolve) =>
    socket.once("close", (code, reason) => resolve({ code, reason: reason.toString("utf8") }))
  )
  await new Promise((resolve) => socket.once("open", resolve))
  const say = (message: FrameFromWorker) => socket.send(frame(message))
  say({
    _tag: "ConnectOnce",
    request: { instanceId, functionId, versionId, token, workerId: `${instanceId}.worker`, sdk: "raw" }
  })
  return {
    say,
    bytes: (bytes) => socket.send(bytes),
    ready: (slots = 1) => {
      const phases = { processMs: 0, initialiseMs: 0, connectMs: 0 }
      say({ _tag: "Ready", slots, phases, holds: [] })
    },
    heard,
    assigned: () => {
      const wanted = assignedCount++
      return eventually(`${instanceId} is given a call`, () => {
        const assigns = heard.filter((message): message is Assign => message._tag === "Assign")
        return assigns[wanted]
      })
    },
    answer: ({ requestId, token }, { status = 200, headers = [], body = "" }) => {
      const message: FromWorker = {
        _tag: "ResponseHead",
        requestId,
        token,
        status,
        headers,
        body: Buffer.from(body),
        end: true
      }
      say(message)
    },
    isOpen: () => socket.readyState === WebSocket.OPEN,
    closed,
    vanish: () => socket.terminate()
  }
}
