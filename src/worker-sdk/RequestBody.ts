/**
 * The body of a request while it arrives: a queue of chunks that returns credit as the handler reads.
 *
 * R1: at most `windowBytes` wait here; a plane that sends more broke the protocol. R2: credit is returned in steps of a
 * quarter of the window, so a body costs few messages and the plane never stalls while the handler has read everything.
 *
 * @module
 */
import type { LazyStream } from "./fetch-api/LightBody.ts"

export class RequestBody implements LazyStream {
  private readonly windowBytes: number
  private readonly returnCredit: (bytes: number) => void
  private inline: Uint8Array | undefined
  private chunks: Array<Uint8Array> = []
  private queuedBytes = 0
  private owedBytes = 0
  private ended = false
  private failure: Error | undefined
  private cancelled = false
  private wake: (() => void) | undefined

  constructor(windowBytes: number, returnCredit: (bytes: number) => void) {
    this.windowBytes = windowBytes
    this.returnCredit = returnCredit
  }

  get isComplete(): boolean {
    return this.ended
  }

  /** The part of the body that came with the assignment: free of credit. */
  first(bytes: Uint8Array): void {
    if (bytes.length > 0) this.inline = bytes
  }

  /** False: more than the credit allows. */
  push(bytes: Uint8Array): boolean {
    if (this.ended) return false
    if (this.queuedBytes + this.owedBytes + bytes.length > this.windowBytes) return false
    if (this.cancelled || this.failure !== undefined) {
      this.consumed(bytes.length)
      return true
    }
    this.chunks.push(bytes)
    this.queuedBytes += bytes.length
    this.wake?.()
    return true
  }

  end(): void {
    this.ended = true
    this.wake?.()
  }

  fail(error: Error): void {
    if (this.ended) return
    this.failure ??= error
    this.wake?.()
  }

  private consumed(bytes: number): void {
    this.owedBytes += bytes
    if (this.owedBytes * 4 < this.windowBytes || this.ended) return
    const credit = this.owedBytes
    this.owedBytes = 0
    this.returnCredit(credit)
  }

  open(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        pull: (controller) => this.pull(controller),
        cancel: () => {
          this.cancelled = true
          const bytes = this.queuedBytes
          this.chunks = []
          this.queuedBytes = 0
          if (bytes > 0) this.consumed(bytes)
        }
      },
      // No reading ahead: credit stands for what the handler really took.
      { highWaterMark: 0 }
    )
  }

  private async pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    if (this.inline !== undefined) {
      controller.enqueue(this.inline)
      this.inline = undefined
      return
    }
    while (this.chunks.length === 0 && !this.ended && this.failure === undefined) {
      await new Promise<void>((resolve) => {
        this.wake = resolve
      })
      this.wake = undefined
    }
    if (this.failure !== undefined) {
      controller.error(this.failure)
      return
    }
    const chunk = this.chunks.shift()
    if (chunk === undefined) {
      controller.close()
      return
    }
    this.queuedBytes -= chunk.length
    controller.enqueue(chunk)
    this.consumed(chunk.length)
    if (this.chunks.length === 0 && this.ended) controller.close()
  }
}
