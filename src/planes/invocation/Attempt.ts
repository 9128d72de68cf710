/**
 * One attempt of a request at one worker: the bytes under way in both directions.
 *
 * A1 nothing of an answer is shown before the machine said `ReleaseResponse`. A2 credit goes back to the worker only for
 * bytes that left this process or are in the collector, so what waits here never exceeds the credit. A3 what was shown
 * to a caller is also kept, up to a bound, so that the answer can be kept whole when the caller leaves in the middle.
 *
 * @module
 */
import { type HeaderList, initialCreditBytes, inlineBodyBytesMax } from "../../worker-sdk/protocol/WorkerMessage.ts"
import * as CrashPoint from "../CrashPoint.ts"
import type { BlobStore, BlobWriter } from "../fabric/BlobStore.ts"
import { type Body, emptyBytes } from "./Body.ts"
import type { Caller, Entry } from "./Entry.ts"
import type { EventStream } from "./EventStream.ts"
import type { WorkerState } from "./WorkerState.ts"

/** What is kept of a streamed answer in case its caller leaves (A3). */
const shownBytesMax = 1024 * 1024

type Flow =
  /** The machine has not said where the bytes go. */
  { readonly kind: "held" } | { readonly kind: "released"; readonly caller: Caller } | { readonly kind: "collected" }

export class Attempt {
  readonly entry: Entry
  readonly worker: WorkerState
  readonly token: number
  /** Bytes of the call's body that may still be sent. */
  bodyCredit: number
  bodySent = false
  status: number | undefined
  headers: HeaderList = []
  /** The worker said that the answer is complete. */
  complete = false
  over = false
  /** Its frames, when the answer is an event stream of a request that is stored. */
  stream: EventStream | undefined
  #flow: Flow = { kind: "held" }
  #held: Array<Uint8Array> = []
  #shown: Array<Uint8Array> | undefined = []
  #shownBytes = 0
  #collected: Array<Uint8Array> = []
  #collectedBytes = 0
  #writer: BlobWriter | undefined
  #writing: Promise<void> = Promise.resolve()
  #owedCredit = 0
  /** Bytes of the answer for which no credit went back yet. */
  #openBytes = 0
  #stalled = false
  #creditWaiters: Array<() => void> = []

  constructor(entry: Entry, worker: WorkerState, token: number, bodyCredit: number) {
    this.entry = entry
    this.worker = worker
    this.token = token
    this.bodyCredit = bodyCredit
  }

  get released(): boolean {
    return this.#flow.kind === "released"
  }

  /** More of the call's body may go out, or the attempt is over: look again. */
  addCredit(bytes: number): void {
    this.bodyCredit += bytes
    this.#wake()
  }

  async creditAvailable(): Promise<void> {
    while (this.bodyCredit <= 0 && !this.over) await new Promise<void>((resolve) => this.#creditWaiters.push(resolve))
  }

  /** Nothing of it counts any more; frees who waits on it. */
  finish(): void {
    this.over = true
    this.#wake()
  }

  /** Whether the worker may send that much more: what waits here is bounded by us, not by its good will. */
  mayTake(bytes: number): boolean {
    return this.#openBytes + bytes <= initialCreditBytes + inlineBodyBytesMax
  }

  chunk(bytes: Uint8Array, blobs: BlobStore["Service"]): void {
    this.#openBytes += bytes.length
    this.stream?.push(bytes)
    switch (this.#flow.kind) {
      case "held":
        this.#held.push(bytes)
        return
      case "released":
        return this.#show(this.#flow.caller, bytes)
      case "collected":
        return this.#collect(bytes, blobs)
    }
  }

  release(caller: Caller): void {
    if (this.#flow.kind !== "held") return
    this.#flow = { kind: "released", caller }
    caller.head(this.status ?? 500, this.headers)
    const held = this.#held
    this.#held = []
    for (const bytes of held) this.#show(caller, bytes)
  }

  collect(blobs: BlobStore["Service"]): void {
    if (this.#flow.kind === "collected") return
    const before = this.#flow.kind === "released" ? this.#shown : this.#held
    this.#flow = { kind: "collected" }
    // The caller that was too slow is gone; without this its worker would wait for credit until the deadline.
    this.#stalled = false
    this.#held = []
    this.#shown = undefined
    // Undefined: more was shown than is kept, so the whole answer cannot be put together any more.
    if (before === undefined) this.#collectedBytes = Number.NaN
    else for (const bytes of before) this.#collect(bytes, blobs)
    this.returnCredit()
  }

  /** The caller's socket took what it was given. */
  onCallerDrain(): void {
    this.#stalled = false
    this.returnCredit()
  }

  /** The bytes that were kept as one body, once the answer is complete; undefined when they could not all be kept. */
  async collectedBody(): Promise<Body | undefined> {
    if (Number.isNaN(this.#collectedBytes)) return undefined
    await this.#writing
    if (this.#writer === undefined) return { kind: "inline", bytes: join(this.#collected) }
    const writer = this.#writer
    this.#writer = undefined
    CrashPoint.hit("invocation.collect.beforeFinish")
    await writer.finish()
    return { kind: "blob", id: this.#blobId() }
  }

  /** Held bytes as one body: an answer that ended before anyone was told where it goes. */
  heldBody(): Body | undefined {
    return this.#flow.kind === "held" ? { kind: "inline", bytes: join(this.#held) } : undefined
  }

  async discard(): Promise<void> {
    this.#held = []
    this.#collected = []
    this.#collectedBytes = 0
    // The file may be in the making.
    await this.#writing.catch(() => {})
    const writer = this.#writer
    this.#writer = undefined
    await writer?.abort()
  }

  returnCredit(): void {
    if (this.#owedCredit === 0 || this.#stalled) return
    this.worker.send({
      _tag: "Credit",
      requestId: this.entry.requestId,
      token: this.token,
      bytes: this.#owedCredit
    })
    this.#openBytes -= this.#owedCredit
    this.#owedCredit = 0
  }

  #show(caller: Caller, bytes: Uint8Array): void {
    if (this.#shown !== undefined) {
      this.#shownBytes += bytes.length
      if (this.#shownBytes > shownBytesMax) this.#shown = undefined
      else this.#shown.push(bytes)
    }
    this.#owedCredit += bytes.length
    if (!caller.chunk(bytes)) this.#stalled = true
    this.returnCredit()
  }

  #collect(bytes: Uint8Array, blobs: BlobStore["Service"]): void {
    this.#owedCredit += bytes.length
    if (Number.isNaN(this.#collectedBytes)) return this.returnCredit()
    this.#collectedBytes += bytes.length
    if (this.#writer === undefined && this.#collectedBytes <= inlineBodyBytesMax) {
      this.#collected.push(bytes)
      return this.returnCredit()
    }
    this.#stalled = true
    this.#writing = this.#writing.then(async () => {
      if (this.#writer === undefined) {
        this.#writer = await blobs.create(this.#blobId())
        CrashPoint.hit("invocation.collect.blobCreated")
        const before = join(this.#collected)
        this.#collected = []
        await this.#writer.write(before)
      }
      await this.#writer.write(bytes)
      this.#stalled = false
      this.returnCredit()
    })
    // Looked at by whoever finishes the body; a rejection before that must not end the process.
    this.#writing.catch(() => {})
  }

  #blobId(): string {
    return `${this.entry.requestId}.answer.${this.token}`
  }

  #wake(): void {
    const waiters = this.#creditWaiters
    this.#creditWaiters = []
    for (const resolve of waiters) resolve()
  }
}

const join = (chunks: ReadonlyArray<Uint8Array>): Uint8Array =>
  chunks.length === 0 ? emptyBytes : chunks.length === 1 ? (chunks[0] ?? emptyBytes) : Buffer.concat(chunks)
