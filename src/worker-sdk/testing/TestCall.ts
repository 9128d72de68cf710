/**
 * One call as the test harness's plane keeps it: what was asked, and the answer as it comes.
 *
 * @module
 */
import type { FromWorker, HeaderList, ToWorker } from "../protocol/WorkerMessage.ts"
import { chunkBytesMax, initialCreditBytes, inlineBodyBytesMax } from "../protocol/WorkerMessage.ts"

/** The handler failed, or the connection was lost in mid-answer. */
export class CallFailed extends Error {
  override readonly name = "CallFailed"
  /** The platform would deliver the request again. */
  readonly retryable: boolean

  constructor(message: string, retryable: boolean) {
    super(message)
    this.retryable = retryable
  }
}

export interface Asked {
  readonly requestId: string
  readonly method: string
  readonly path: string
  readonly headers: HeaderList
  readonly body: Uint8Array | ReadableStream<Uint8Array>
  readonly tenant: string
  readonly deadlineMs: number
}

export interface ProgressSeen {
  readonly requestId: string
  readonly percent: number
  readonly note: string
}

export class CallRecord {
  readonly asked: Asked
  readonly response: Promise<Response>
  attempt: number
  token: number
  isHeadSeen = false
  isEnded = false
  private readonly send: (message: ToWorker) => void
  private readonly resolve: (response: Response) => void
  private readonly reject: (error: Error) => void
  private controller: ReadableStreamDefaultController<Uint8Array> | undefined
  private creditBytes = initialCreditBytes
  private wake: (() => void) | undefined

  constructor(asked: Asked, attempt: number, token: number, send: (message: ToWorker) => void) {
    this.asked = asked
    this.attempt = attempt
    this.token = token
    this.send = send
    const { promise, resolve, reject } = Promise.withResolvers<Response>()
    this.response = promise
    this.resolve = resolve
    this.reject = reject
  }

  private get about() {
    return { requestId: this.asked.requestId, token: this.token }
  }

  assign(): void {
    const { method, path, headers, body, tenant, deadlineMs } = this.asked
    const whole = body instanceof Uint8Array && body.length <= inlineBodyBytesMax
    const inline = whole ? body : new Uint8Array(0)
    const head = { method, path, headers }
    const { attempt } = this
    this.send({ _tag: "Assign", ...this.about, attempt, deadlineMs, tenant, head, body: inline, bodyEnd: whole })
    if (!whole) this.sendBody(body).catch((error: unknown) => this.cancel(`the body broke: ${String(error)}`))
  }

  private async sendBody(body: Uint8Array | ReadableStream<Uint8Array>): Promise<void> {
    for await (const bytes of body instanceof Uint8Array ? [body] : body) {
      for (let at = 0; at < bytes.length && !this.isEnded; ) {
        while (this.creditBytes <= 0 && !this.isEnded) {
          await new Promise<void>((resolve) => {
            this.wake = resolve
          })
        }
        const chunk = bytes.subarray(at, at + Math.min(chunkBytesMax, this.creditBytes))
        this.creditBytes -= chunk.length
        at += chunk.length
        this.send({ _tag: "BodyChunk", ...this.about, bytes: chunk })
      }
    }
    if (!this.isEnded) this.send({ _tag: "BodyEnd", ...this.about })
  }

  cancel(reason: string): void {
    this.send({ _tag: "Cancel", ...this.about, reason })
  }

  /** The lease was lost before an answer: the same request again, with the next token. */
  redeliver(token: number): void {
    this.token = token
    this.attempt++
    this.assign()
  }

  receive(message: Extract<FromWorker, { readonly requestId: string }>): void {
    if (message.token !== this.token || this.isEnded) return
    switch (message._tag) {
      case "ResponseHead":
        return this.onHead(message)
      case "ResponseChunk":
        this.controller?.enqueue(Uint8Array.from(message.bytes))
        return
      case "ResponseEnd":
        this.end()
        this.controller?.close()
        return
      case "Failed":
        return this.fail(new CallFailed(message.message, message.retryable))
      case "Credit":
        this.creditBytes += message.bytes
        this.wake?.()
        return
      case "Progress":
        return
    }
  }

  private onHead(head: Extract<FromWorker, { readonly _tag: "ResponseHead" }>): void {
    this.isHeadSeen = true
    const bodyless = head.status === 204 || head.status === 205 || head.status === 304
    const headers = new Headers(head.headers.map(([name, value]) => [name, value] as [string, string]))
    const body = bodyless ? null : head.end ? Uint8Array.from(head.body) : this.bodyStream(head.body)
    if (head.end) this.end()
    this.resolve(new Response(body, { status: head.status, headers }))
  }

  private bodyStream(first: Uint8Array): ReadableStream<Uint8Array> {
    let freeBytes = first.length
    const credited = (bytes: number) => {
      const credit = Math.max(0, bytes - freeBytes)
      freeBytes = Math.max(0, freeBytes - bytes)
      if (credit > 0 && !this.isEnded) this.send({ _tag: "Credit", ...this.about, bytes: credit })
    }
    const raw = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.controller = controller
        if (first.length > 0) controller.enqueue(Uint8Array.from(first))
      }
    })
    const reader = raw.getReader()
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          const { done, value } = await reader.read()
          if (done) return controller.close()
          credited(value.length)
          controller.enqueue(value)
        },
        cancel: (reason) => {
          if (!this.isEnded) this.cancel(String(reason))
          this.end()
        }
      },
      { highWaterMark: 0 }
    )
  }

  fail(error: Error): void {
    if (this.isEnded) return
    this.end()
    if (this.isHeadSeen) this.controller?.error(error)
    else this.reject(error)
  }

  private end(): void {
    this.isEnded = true
    this.wake?.()
  }
}
