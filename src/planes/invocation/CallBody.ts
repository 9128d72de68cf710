/**
 * Takes in the body of a call: small ones into memory, larger or slow ones into a spool that a worker may already read.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto"
import type { IncomingMessage } from "node:http"
import { inlineBodyBytesMax } from "../../worker-sdk/protocol/WorkerMessage.ts"
import * as CrashPoint from "../CrashPoint.ts"
import type { BlobStore } from "../fabric/BlobStore.ts"
import { type Body, emptyBody, emptyBytes, Spool, type SpoolBody } from "./Body.ts"

/** Why there is no whole body, and never will be. */
export type NoBody =
  | { readonly kind: "too-large" }
  /** Whoever sent it went away. */
  | { readonly kind: "left" }
  | { readonly kind: "unwritten"; readonly error: unknown }

export type Intake =
  | { readonly kind: "ready"; readonly body: Body; readonly bytes: number; readonly digest: Buffer | undefined }
  /** Dispatch may begin; `rest` settles when the body is complete or never will be. */
  | {
      readonly kind: "streaming"
      readonly body: SpoolBody
      readonly rest: Promise<{ readonly kind: "complete" } | NoBody>
    }
  | NoBody

export interface IntakeOptions {
  readonly requestId: string
  readonly bytesMax: number
  /** The call may start before its body is complete: nobody needs it stored or compared first. */
  readonly early: boolean
  readonly digest: Hash | undefined
  readonly blobs: BlobStore["Service"]
}

/** A body that is still open after this long is dispatched as a stream: its sender may be waiting for the answer. */
const earlyAfterMs = 20

export const digestOf = (method: string, path: string): Hash => createHash("sha256").update(`${method}\n${path}\n`)

/** No body, or one of announced small size: the common case, without a promise. */
export const small = (
  request: IncomingMessage,
  bytesMax: number,
  done: (bytes: Uint8Array | "too-large" | "left") => void
): boolean => {
  const announced = request.headers["content-length"]
  if (announced === undefined) {
    if (request.headers["transfer-encoding"] !== undefined) return false
    request.resume()
    done(emptyBytes)
    return true
  }
  const bytes = Number(announced)
  if (bytes > bytesMax) {
    done("too-large")
    return true
  }
  if (bytes > inlineBodyBytesMax) return false
  if (bytes === 0) {
    request.resume()
    done(emptyBytes)
    return true
  }
  let first: Buffer | undefined
  let more: Array<Buffer> | undefined
  let over = false
  request.on("data", (chunk: Buffer) => {
    if (first === undefined) first = chunk
    else if (more === undefined) more = [first, chunk]
    else more.push(chunk)
  })
  request.on("end", () => {
    over = true
    done(more === undefined ? (first ?? emptyBytes) : Buffer.concat(more))
  })
  request.on("close", () => {
    if (!over) done("left")
  })
  return true
}

export const intake = async (request: IncomingMessage, options: IntakeOptions): Promise<Intake> => {
  const { bytesMax, digest } = options
  const announced = request.headers["content-length"]
  if (announced !== undefined && Number(announced) > bytesMax) return { kind: "too-large" }
  const chunks: Array<Buffer> = []
  let bytes = 0
  const reader = request[Symbol.asyncIterator]()
  let timer: NodeJS.Timeout | undefined
  const late = options.early
    ? new Promise<"late">((resolve) => {
        timer = setTimeout(() => resolve("late"), earlyAfterMs)
      })
    : undefined
  let pending: Promise<IteratorResult<Buffer>> | undefined
  try {
    for (;;) {
      pending ??= reader.next()
      const next = await (late === undefined ? pending : Promise.race([pending, late]))
      if (next === "late") break
      pending = undefined
      if (next.done === true) {
        const body: Body = bytes === 0 ? emptyBody : { kind: "inline", bytes: Buffer.concat(chunks) }
        return { kind: "ready", body, bytes, digest: digest?.digest() }
      }
      bytes += next.value.length
      if (bytes > bytesMax) return { kind: "too-large" }
      digest?.update(next.value)
      chunks.push(next.value)
      if (bytes > inlineBodyBytesMax) break
    }
  } catch {
    return { kind: "left" }
  } finally {
    clearTimeout(timer)
  }
  return spool(reader, pending, chunks, options)
}

const spool = async (
  reader: AsyncIterator<Buffer>,
  pending: Promise<IteratorResult<Buffer>> | undefined,
  chunks: ReadonlyArray<Buffer>,
  { requestId, bytesMax, early, digest, blobs }: IntakeOptions
): Promise<Intake> => {
  const id = `${requestId}.call`
  let file: Spool
  let bytes = 0
  try {
    file = new Spool(await blobs.create(id))
    CrashPoint.hit("gateway.spool.created")
    for (const chunk of chunks) {
      bytes += chunk.length
      await file.write(chunk)
    }
  } catch (error) {
    return { kind: "unwritten", error }
  }
  const next = async (): Promise<IteratorResult<Buffer> | "left"> => {
    const coming = pending ?? reader.next()
    pending = undefined
    return coming.catch(() => "left" as const)
  }
  const given = async (why: NoBody): Promise<NoBody> => {
    // What it failed at was told, or is `why`.
    await file.abort().catch(() => {})
    return why
  }
  const rest = async (): Promise<{ readonly kind: "complete" } | NoBody> => {
    try {
      for (;;) {
        const came = await next()
        if (came === "left") return given({ kind: "left" })
        if (came.done === true) break
        bytes += came.value.length
        if (bytes > bytesMax) return given({ kind: "too-large" })
        digest?.update(came.value)
        await file.write(came.value)
      }
      CrashPoint.hit("gateway.spool.beforeFinish")
      await file.finish()
      CrashPoint.hit("gateway.spool.afterFinish")
      return { kind: "complete" }
    } catch (error) {
      return given({ kind: "unwritten", error })
    }
  }
  if (early) return { kind: "streaming", body: { kind: "spool", id, spool: file }, rest: rest() }
  const end = await rest()
  return end.kind === "complete" ? { kind: "ready", body: { kind: "blob", id }, bytes, digest: digest?.digest() } : end
}
