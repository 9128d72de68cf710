/**
 * One request in the worker: what the handler sees of it, and how its answer goes out.
 *
 * C1: at most one answer is sent, and nothing after its end. C2: never more than the plane's byte credit is under way.
 * C3: after an abort the handler's signal has fired and its stream is cancelled, and only `Failed` may still be sent.
 * C4: nothing is sent for a call that was lost with its connection.
 *
 * @module
 */
import { type LazyStream, toBytes } from "./fetch-api/LightBody.ts"
import { LightHeaders } from "./fetch-api/LightHeaders.ts"
import { LightRequest } from "./fetch-api/LightRequest.ts"
import { LightResponse } from "./fetch-api/LightResponse.ts"
import type { Context, Invoke } from "./Handler.ts"
import {
  chunkBytesMax,
  type FromWorker,
  type HeaderList,
  inlineBodyBytesMax,
  type ToWorker
} from "./protocol/WorkerMessage.ts"
import { RequestBody } from "./RequestBody.ts"
import type { Timer, WorkerClock } from "./WorkerClock.ts"

export type Assign = Extract<ToWorker, { readonly _tag: "Assign" }>

/** What a call needs of its worker. */
export interface CallHost {
  readonly clock: WorkerClock
  /** The plane's clock, by which deadlines are: that of this machine may be hours away from it. */
  readonly planeNowMs: () => number
  /** Of one request in one direction, as the plane said. */
  readonly creditBytes: () => number
  /** Sends now, or keeps a small message until there is a connection. */
  readonly send: (call: Call, message: FromWorker) => void
  /** False: no connection, or its socket is full; the call is woken when that changes. */
  readonly canStream: () => boolean
  readonly waitUntil: (promise: Promise<unknown>) => void
  readonly onEnded: (call: Call) => void
  readonly log: (text: string, error?: unknown) => void
}

const noBytes = new Uint8Array(0)
const messageCharactersMax = 4000
const noteCharactersMax = 1000
/** Head and inline body must fit in one message of 1 MiB with room to spare. */
const headerBytesMax = 256 * 1024

const traceHeaders = ["traceparent", "tracestate", "baggage"]

export class Call implements Context {
  readonly requestId: string
  readonly token: number
  /** Messages that wait for a connection: at most an inline answer, or a head. */
  readonly unsent: Array<FromWorker> = []
  /** Something of the answer went into a connection: after its loss nobody knows what arrived. */
  isStarted = false
  private readonly assign: Assign
  private readonly host: CallHost
  private readonly body: RequestBody | undefined
  private readonly windowBytes: number
  private creditBytes: number
  private controller: AbortController | undefined
  private deadlineTimer: Timer | undefined
  private abortReason: Error | undefined
  private isLost = false
  private isLate = false
  private isEnded = false
  private wake: (() => void) | undefined

  constructor(assign: Assign, host: CallHost) {
    this.requestId = assign.requestId
    this.token = assign.token
    this.assign = assign
    this.host = host
    this.windowBytes = host.creditBytes()
    this.creditBytes = this.windowBytes
    if (assign.bodyEnd) return
    this.body = new RequestBody(this.windowBytes, (bytes) => {
      if (!this.isEnded && !this.isLost) this.about({ _tag: "Credit", bytes })
    })
    this.body.first(assign.body)
  }

  /** Every byte of the request is here: only then can the call outlive its connection. */
  get hasWholeRequest(): boolean {
    return this.body === undefined || this.body.isComplete
  }

  get isFinished(): boolean {
    return this.isEnded
  }

  get attempt(): number {
    return this.assign.attempt
  }

  get deadline(): Date | undefined {
    return this.assign.deadlineMs === 0 ? undefined : new Date(this.assign.deadlineMs)
  }

  get tenant(): string {
    return this.assign.tenant
  }

  get trace(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.assign.head.headers.filter((pair) => traceHeaders.includes(pair[0])))
  }

  /** Made on first use: most handlers never look, and a controller with a timer costs as much as the rest of the call. */
  get signal(): AbortSignal {
    if (this.controller !== undefined) return this.controller.signal
    const controller = new AbortController()
    this.controller = controller
    if (this.abortReason !== undefined) controller.abort(this.abortReason)
    else if (this.assign.deadlineMs > 0 && !this.isEnded) {
      this.deadlineTimer = this.host.clock.after(this.assign.deadlineMs - this.host.planeNowMs(), () => {
        // The plane ends the request by its own clock; whatever the handler makes of its signal comes too late.
        this.isLate = true
        this.abort(new DOMException("The deadline of the request has passed", "TimeoutError"))
      })
    }
    return controller.signal
  }

  // Bound on access, so that a handler may take them out of the context.
  get progress(): Context["progress"] {
    return (percent, note = "") => {
      if (this.isEnded || this.isLost || this.abortReason !== undefined) return
      const bounded = Math.min(100, Math.max(0, Number(percent) || 0))
      this.about({ _tag: "Progress", percent: bounded, note: String(note).slice(0, noteCharactersMax) })
    }
  }

  get waitUntil(): Context["waitUntil"] {
    return this.host.waitUntil
  }

  get passThroughOnException(): Context["passThroughOnException"] {
    return () => {}
  }

  get props(): object {
    return {}
  }

  run(invoke: Invoke): void {
    const { head, body, bodyEnd } = this.assign
    const content: Uint8Array | LazyStream | null = this.body ?? (bodyEnd && body.length === 0 ? null : body)
    const request = new LightRequest({
      method: head.method,
      path: head.path,
      headers: head.headers,
      body: content,
      signal: () => this.signal
    })
    try {
      const answer = invoke(request, this)
      if (isPromise(answer)) answer.then(this.onAnswer, this.onThrown)
      else this.onAnswer(answer)
    } catch (error) {
      this.onThrown(error)
    }
  }

  /** False: more bytes than the plane has credit for. */
  receive(bytes: Uint8Array): boolean {
    return this.body?.push(bytes) === true
  }

  receiveEnd(): void {
    this.body?.end()
  }

  addCredit(bytes: number): void {
    this.creditBytes = Math.min(this.creditBytes + bytes, this.windowBytes)
    this.resume()
  }

  /** Looks again whether its stream may go on. */
  resume(): void {
    this.wake?.()
  }

  /** The caller or the plane does not want the answer any more. */
  cancel(reason: string): void {
    this.abort(new DOMException(`The request was cancelled: ${reason}`, "AbortError"))
  }

  /** Its connection is gone with a part of it; the plane will not take the rest from us. */
  lose(reason: string): void {
    this.isLost = true
    this.abort(new DOMException(`The request was taken from this worker: ${reason}`, "AbortError"))
  }

  private abort(reason: Error): void {
    if (this.isEnded || this.abortReason !== undefined) return
    this.abortReason = reason
    this.body?.fail(reason)
    this.controller?.abort(reason)
    this.wake?.()
  }

  private about(message: MessageAbout): void {
    this.host.send(this, { ...message, requestId: this.requestId, token: this.token })
  }

  private end(): void {
    if (this.isEnded) return
    this.isEnded = true
    this.deadlineTimer?.cancel()
    this.host.onEnded(this)
  }

  private fail(message: string, retryable = false): void {
    if (this.isEnded) return
    if (!this.isLost && !this.isLate)
      this.about({ _tag: "Failed", retryable, message: message.slice(0, messageCharactersMax) })
    this.end()
  }

  private readonly onThrown = (error: unknown): void => {
    if (this.abortReason !== undefined) return this.fail(this.abortReason.message)
    this.host.log(`request ${this.requestId} failed in its handler`, error)
    this.fail(describe(error), isRetryable(error))
  }

  private readonly onAnswer = (response: Response): void => {
    if (this.abortReason !== undefined) {
      discard(response)
      return this.fail(this.abortReason.message)
    }
    const wrong = whyNotAResponse(response)
    if (wrong !== undefined) {
      this.host.log(`request ${this.requestId}: ${wrong}`)
      return this.fail(wrong)
    }
    const headers = LightHeaders.listOf(response.headers)
    if (sizeOf(headers) > headerBytesMax) {
      discard(response)
      return this.fail(`the handler's response has more than ${headerBytesMax} bytes of headers`)
    }
    const { status } = response
    if (this.assign.head.method === "HEAD" || status === 204 || status === 205 || status === 304) {
      discard(response)
      return this.sendWhole(status, headers, noBytes)
    }
    const whole = LightResponse.takeWhole(response)
    if (whole === undefined) {
      this.stream(status, headers, response).then(undefined, this.onThrown)
      return
    }
    const bytes = toBytes(whole)
    if (bytes.length <= inlineBodyBytesMax) return this.sendWhole(status, headers, bytes)
    this.sendHead(status, headers, noBytes)
    this.sendBytes(bytes).then(() => this.sendEnd(), this.onThrown)
  }

  private sendWhole(status: number, headers: HeaderList, body: Uint8Array): void {
    this.about({ _tag: "ResponseHead", status, headers, body, end: true })
    this.end()
  }

  private sendHead(status: number, headers: HeaderList, body: Uint8Array): void {
    this.about({ _tag: "ResponseHead", status, headers, body, end: false })
  }

  private sendEnd(): void {
    this.about({ _tag: "ResponseEnd" })
    this.end()
  }

  private async stream(status: number, headers: HeaderList, response: Response): Promise<void> {
    if (response.bodyUsed || response.body?.locked === true) {
      throw new TypeError("the handler returned a Response whose body had been read already")
    }
    const reader: Reader | undefined = response.body?.getReader()
    if (reader === undefined) return this.sendWhole(status, headers, noBytes)
    const onAbort = () => void reader.cancel(this.abortReason).catch(() => {})
    this.signal.addEventListener("abort", onAbort, { once: true })
    try {
      await this.pump(status, headers, reader)
    } catch (error) {
      reader.cancel(error).catch(() => {})
      throw error
    } finally {
      this.signal.removeEventListener("abort", onAbort)
    }
  }

  /** A body that is over within a turn goes out whole, in one message; anything slower must not hold its head back. */
  private async pump(status: number, headers: HeaderList, reader: Reader): Promise<void> {
    let next = reader.read()
    const first = await soon(next)
    this.check()
    if (first?.done === true) return this.sendWhole(status, headers, noBytes)
    let inline: Uint8Array = noBytes
    if (first !== undefined) {
      const bytes = chunkOf(first.value)
      next = reader.read()
      const second = await soon(next)
      this.check()
      if (bytes.length <= inlineBodyBytesMax) {
        if (second?.done === true) return this.sendWhole(status, headers, bytes)
        inline = bytes
      }
      this.sendHead(status, headers, inline)
      if (inline !== bytes) await this.sendBytes(bytes)
    } else this.sendHead(status, headers, inline)
    for (;;) {
      const result = await next
      this.check()
      if (result.done) return this.sendEnd()
      await this.sendBytes(chunkOf(result.value))
      next = reader.read()
    }
  }

  private check(): void {
    if (this.abortReason !== undefined) throw this.abortReason
  }

  private async sendBytes(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      while (this.abortReason === undefined && (this.creditBytes <= 0 || !this.host.canStream())) await this.change()
      this.check()
      const length = Math.min(bytes.length - at, chunkBytesMax, this.creditBytes)
      this.creditBytes -= length
      this.about({ _tag: "ResponseChunk", bytes: bytes.subarray(at, at + length) })
      at += length
    }
  }

  private change(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = () => {
        this.wake = undefined
        resolve()
      }
    })
  }
}

/** Every message about a request, without what says which request. */
type MessageAbout = FromWorker extends infer Message
  ? Message extends { readonly requestId: string }
    ? Omit<Message, "requestId" | "token">
    : never
  : never

type Reader = ReadableStreamDefaultReader<unknown>

const isPromise = (value: Response | Promise<Response>): value is Promise<Response> =>
  typeof value === "object" && value !== null && "then" in value && typeof value.then === "function"

const nextTurn = (): Promise<undefined> => new Promise((resolve) => setImmediate(resolve, undefined))

/** The result if it comes within this turn of the event loop. */
const soon = <Value>(promise: Promise<Value>): Promise<Value | undefined> => Promise.race([promise, nextTurn()])

const chunkOf = (value: unknown): Uint8Array => {
  if (value instanceof Uint8Array) return value
  if (typeof value === "string") return Buffer.from(value)
  throw new TypeError("a response body gave something that is neither Uint8Array nor string")
}

/** Judged by what we use, not by class: a response of another fetch implementation is as good. */
const whyNotAResponse = (value: unknown): string | undefined => {
  if (typeof value !== "object" || value === null || !("status" in value) || !("headers" in value)) {
    const what = value === null ? "null" : typeof value === "object" ? value.constructor?.name : typeof value
    return `the handler must return a Response and returned ${what}`
  }
  const { status, headers } = value
  if (typeof status !== "number" || status < 200 || status > 599) return `the handler returned status ${String(status)}`
  if (typeof headers !== "object" || headers === null || !(Symbol.iterator in headers)) {
    return "the handler returned a Response without headers"
  }
  return undefined
}

const discard = (response: unknown): void => {
  if (typeof response !== "object" || response === null) return
  if (LightResponse.takeWhole(response) !== undefined || !("body" in response)) return
  const { body } = response
  if (body instanceof ReadableStream && !body.locked) body.cancel().catch(() => {})
}

const sizeOf = (headers: HeaderList): number => {
  let bytes = 0
  for (const [name, value] of headers) bytes += name.length + value.length
  return bytes
}

const isRetryable = (error: unknown): boolean =>
  typeof error === "object" && error !== null && "retryable" in error && error.retryable === true

const describe = (error: unknown): string =>
  error instanceof Error ? `${error.name}: ${error.message}` : `thrown: ${String(error)}`
