/**
 * A call on its way to a worker: its head with a small body at once, a large one or one that is still coming in behind it,
 * as fast as the worker gives credit and its connection takes it.
 *
 * @module
 */
import type { Command } from "../../core/buffer/BufferEvent.ts"
import { inlineBodyBytesMax } from "../../worker-sdk/protocol/WorkerMessage.ts"
import * as CrashPoint from "../CrashPoint.ts"
import type { BlobStore } from "../fabric/BlobStore.ts"
import type { Attempt } from "./Attempt.ts"
import { type Body, BodyBroken, chunks, emptyBytes } from "./Body.ts"
import type { Entry } from "./Entry.ts"

export interface Delivery {
  readonly attempt: Attempt
  readonly call: NonNullable<Entry["call"]>
  readonly command: Extract<Command, { _tag: "Assign" }>
  readonly blobs: BlobStore["Service"]
  /** Its body could not be sent. */
  readonly failed: (message: string) => void
}

export const send = ({ attempt, call, command, blobs, failed }: Delivery): void => {
  const { entry, worker } = attempt
  const inline =
    call.body.kind === "inline" && call.body.bytes.length <= inlineBodyBytesMax ? call.body.bytes : undefined
  worker.send({
    _tag: "Assign",
    requestId: entry.requestId,
    token: command.token,
    attempt: command.attempt,
    deadlineMs: Math.round(command.deadlineMs),
    tenant: entry.tenant,
    head: call.head,
    body: inline ?? emptyBytes,
    bodyEnd: inline !== undefined
  })
  CrashPoint.hit("invocation.assign.afterSend")
  if (inline !== undefined) {
    attempt.bodySent = true
    return
  }
  pump(attempt, call.body, blobs).catch((error: unknown) => {
    // Whoever takes the body in ends the request, and knows why.
    if (error instanceof BodyBroken) return
    failed(`its body could not be sent: ${error instanceof Error ? error.message : error}`)
  })
}

const pump = async (attempt: Attempt, body: Body, blobs: BlobStore["Service"]): Promise<void> => {
  const { entry, worker, token } = attempt
  for await (const bytes of chunks(blobs, body)) {
    await attempt.creditAvailable()
    await worker.writable()
    if (attempt.over) return
    attempt.bodyCredit -= bytes.length
    CrashPoint.hit("invocation.body.chunk")
    worker.send({ _tag: "BodyChunk", requestId: entry.requestId, token, bytes })
  }
  if (attempt.over) return
  attempt.bodySent = true
  CrashPoint.hit("invocation.body.end")
  worker.send({ _tag: "BodyEnd", requestId: entry.requestId, token })
}
