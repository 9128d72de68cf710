/**
 * A function that writes down what it does: each line of `effects.jsonl` in its home folder is an entry of a history, in
 * the page cache before the next statement runs, so that a SIGKILL loses none. The body says what to do.
 */
import { createHash, randomUUID } from "node:crypto"
import { openSync, writeSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"
import { serve } from "millrace/worker"
import type { Attempted, Effected } from "../history/History.ts"
import { monotonicMs } from "./Clock.ts"
import { processStart } from "./ProcessStart.ts"

export interface Order {
  readonly item: string
  /** How long the work takes. */
  readonly ms: number
  /** Length of the answer beside what it says. */
  readonly bytes: number
  /** Answer in so many pieces, spread over `ms`; 0: whole. */
  readonly pieces: number
  readonly padding: string
  /** Throws instead of answering. */
  readonly fails?: boolean
  /** Throws instead of answering when its signal was given while it worked. */
  readonly heedsSignal?: boolean
}

/** The first line of each instance. */
export interface Born {
  readonly _tag: "Born"
  readonly pid: number
  /** By `processStart`. */
  readonly start: string
}

const file = openSync(join(homedir(), "effects.jsonl"), "a")
const write = (line: Attempted | Effected | Born) => writeSync(file, `${JSON.stringify(line)}\n`)
const digestOf = (text: string) => createHash("sha256").update(text).digest("base64url").slice(0, 22)
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))
/**
 * Each life of the platform has a port of its own for workers. Where several gateways serve, the life is that of an owner
 * of the shard: what it answered and its log never took is run again by its successor.
 */
const planeOf = (token: number): string =>
  process.env["RECORDER_PLANE"] === "epoch"
    ? `epoch ${Math.floor(token / 2 ** 32)}`
    : new URL(process.env["MILLRACE_WORKER_URL"] ?? "ws://none:0").port

write({ _tag: "Born", pid: process.pid, start: processStart(process.pid) })

serve({
  fetch: async (request, context) => {
    const text = await request.text()
    // Written by the callers of the chaos harness alone.
    const order = JSON.parse(text) as Order
    // The SDK hands its call as the context; the token is on it and not in the public type.
    const { token } = context as unknown as { readonly token: number }
    const { requestId, tenant, attempt } = context
    const { item } = order
    const run = randomUUID()
    // Looked at from now on: before that it is not armed.
    const signal = order.heedsSignal === true ? context.signal : undefined
    write({
      _tag: "Attempted",
      atMs: monotonicMs(),
      run,
      item,
      body: digestOf(text),
      requestId,
      tenant,
      attempt,
      token,
      plane: planeOf(token)
    })
    if (order.fails === true) throw new Error("it fails as it was told to")
    const answer = JSON.stringify({ item, requestId, tenant, token, run, padding: "x".repeat(order.bytes) })
    if (order.pieces === 0) await sleep(order.ms)
    signal?.throwIfAborted()
    write({ _tag: "Effected", atMs: monotonicMs(), run, digest: digestOf(answer) })
    const headers = { "content-type": "application/json" }
    if (order.pieces === 0) return new Response(answer, { headers })
    const bytes = new TextEncoder().encode(answer)
    const size = Math.ceil(bytes.length / order.pieces)
    let at = 0
    const stream = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        controller.enqueue(bytes.subarray(at, at + size))
        at += size
        if (at >= bytes.length) return controller.close()
        await sleep(order.ms / order.pieces)
      }
    })
    return new Response(stream, { headers })
  }
})
