/**
 * A worker with its handler in the test's own process, and the plane that it works for: no port, no child process.
 *
 * It is the worker that runs in production, on the same protocol; only the connection is in memory and, if the test
 * wants, the clock is the test's.
 *
 * @module
 */
import type { Handler } from "../Handler.ts"
import { makeInvoke } from "../Invocation.ts"
import type { FromWorker } from "../protocol/WorkerMessage.ts"
import { initialCreditBytes } from "../protocol/WorkerMessage.ts"
import { Worker } from "../Worker.ts"
import { systemClock, type WorkerClock } from "../WorkerClock.ts"
import { connectMemory, type PlaneEnd } from "./MemoryTransport.ts"
import { type Asked, CallFailed, CallRecord, type ProgressSeen } from "./TestCall.ts"

export interface TestWorkerOptions {
  /** Calls at a time; default 64. */
  readonly slots?: number
  /** Default: real time. */
  readonly clock?: WorkerClock
  /** What the worker logs; default: nowhere. */
  readonly log?: (text: string, error?: unknown) => void
}

export interface CallOptions {
  /** From now, in milliseconds; default: none. The call is cancelled when it passes, as the platform does. */
  readonly deadlineMs?: number
  /** Default `test`. */
  readonly tenant?: string
  /** Default 1. */
  readonly attempt?: number
}

export interface TestCall {
  readonly requestId: string
  /** Settles with the head of the answer; rejects with `CallFailed` when the handler fails. */
  readonly response: Promise<Response>
  readonly cancel: (reason?: string) => void
  /** As if its lease had run out: the worker gets the request again, as the next attempt. */
  readonly redeliver: () => void
}

export interface TestWorker {
  /** Calls the handler and gives its answer. `init` as for `fetch`. */
  readonly fetch: (path: string, init?: RequestInit, options?: CallOptions) => Promise<Response>
  /** As `fetch`, with a hand on the call. */
  readonly call: (path: string, init?: RequestInit, options?: CallOptions) => Promise<TestCall>
  /** Cancels every call that runs. */
  readonly cancel: (reason?: string) => void
  /** All progress that handlers told, oldest first. */
  readonly progress: ReadonlyArray<ProgressSeen>
  /** Breaks the connection. The worker comes back by itself, after its backoff on the worker's clock. */
  readonly disconnect: () => void
  /** Tells the worker to leave; settles when its calls and `waitUntil`s are done and it has left. */
  readonly drain: () => Promise<void>
}

const heartbeatMs = 5000

class Harness {
  readonly progress: Array<ProgressSeen> = []
  readonly worker: Worker
  private readonly clock: WorkerClock
  private readonly calls = new Map<string, CallRecord>()
  private plane: PlaneEnd | undefined
  private onReady: () => void = () => {}
  private ready: Promise<void>
  private count = 0
  private token = 0

  constructor(handler: Handler, options: TestWorkerOptions) {
    this.clock = options.clock ?? systemClock
    this.ready = this.nextReady()
    this.worker = new Worker({
      url: "memory://test",
      connect: connectMemory({
        response: {
          region: "test",
          otherRegions: [],
          workUrl: "",
          heartbeatMs,
          visibilityTimeoutMs: 30_000,
          initialCreditBytes,
          token: "test",
          tokenExpiresAtMs: 0,
          nowMs: 0
        },
        onConnect: (plane) => {
          this.plane = plane
        },
        onMessage: (message) => this.onMessage(message),
        onClosed: () => {
          this.plane = undefined
          this.ready = this.nextReady()
        }
      }),
      request: {
        instanceId: "test",
        functionId: "test",
        versionId: "test",
        token: "test",
        workerId: "test",
        sdk: "millrace-node"
      },
      slots: options.slots ?? 64,
      invoke: makeInvoke(handler, this.clock),
      phases: () => ({ processMs: 0, initialiseMs: 0, connectMs: 0 }),
      clock: this.clock,
      chance: () => 0.5,
      log: options.log ?? (() => {})
    })
    this.worker.start()
  }

  private nextReady(): Promise<void> {
    return new Promise((resolve) => {
      this.onReady = resolve
    })
  }

  private onMessage(message: FromWorker): void {
    switch (message._tag) {
      case "Ready": {
        const holds = new Map(message.holds.map((hold) => [hold.requestId, hold.token]))
        for (const call of this.calls.values()) {
          if (!call.isEnded && holds.get(call.asked.requestId) !== call.token) this.lost(call)
        }
        return this.onReady()
      }
      case "Heartbeat":
        return this.plane?.send({ _tag: "Heartbeat" })
      case "Draining":
        return
      default:
        if (message._tag === "Progress") {
          const { requestId, percent, note } = message
          this.progress.push({ requestId, percent, note })
        }
        this.receive(message)
    }
  }

  private receive(message: Extract<FromWorker, { readonly requestId: string }>): void {
    const call = this.calls.get(message.requestId)
    call?.receive(message)
    if (call?.isEnded === true) this.calls.delete(message.requestId)
  }

  /** As the platform does: before the answer began the request goes out again, afterwards its stream ends in an error. */
  private lost(call: CallRecord): void {
    if (call.isHeadSeen) call.fail(new CallFailed("the worker was lost in mid-answer", false))
    else if (call.asked.body instanceof Uint8Array) call.redeliver(++this.token)
    else call.fail(new CallFailed("the worker was lost with a part of the request's body", true))
  }

  private async ask(path: string, init: RequestInit, options: CallOptions): Promise<Asked> {
    const streamed = init.body instanceof ReadableStream ? init.body : undefined
    const given: RequestInit = streamed === undefined ? init : { ...init, body: null }
    const request = new Request(new URL(path, "http://function.test"), given)
    const body: Uint8Array | ReadableStream<Uint8Array> = streamed ?? new Uint8Array(await request.arrayBuffer())
    return {
      requestId: `01900000-0000-7000-8000-${String(++this.count).padStart(12, "0")}`,
      method: request.method,
      path: new URL(request.url).pathname + new URL(request.url).search,
      headers: [["host", "function.test"], ...request.headers],
      body,
      tenant: options.tenant ?? "test",
      deadlineMs: options.deadlineMs === undefined ? 0 : this.clock.nowMs() + options.deadlineMs
    }
  }

  async call(path: string, init: RequestInit = {}, options: CallOptions = {}): Promise<TestCall> {
    const asked = await this.ask(path, init, options)
    await this.ready
    const call = new CallRecord(asked, options.attempt ?? 1, ++this.token, (message) => this.plane?.send(message))
    this.calls.set(asked.requestId, call)
    call.response.catch(() => {})
    call.assign()
    if (options.deadlineMs !== undefined) {
      const timer = this.clock.after(options.deadlineMs, () => call.cancel("the deadline has passed"))
      call.response.then(timer.cancel, timer.cancel)
    }
    return {
      requestId: asked.requestId,
      response: call.response,
      cancel: (reason = "cancelled by the test") => call.cancel(reason),
      redeliver: () => call.redeliver(++this.token)
    }
  }

  cancel(reason: string): void {
    for (const call of this.calls.values()) {
      if (!call.isEnded) call.cancel(reason)
    }
  }

  disconnect(): void {
    this.plane?.disconnect()
  }

  async drain(): Promise<void> {
    await this.ready
    this.plane?.send({ _tag: "Drain", reason: "drained by the test" })
    await this.worker.ended
  }
}

/** Runs a handler as `serve` would, in memory. End it with `drain`. */
export const testWorker = (handler: Handler, options: TestWorkerOptions = {}): TestWorker => {
  const harness = new Harness(handler, options)
  return {
    fetch: async (path, init, callOptions) => (await harness.call(path, init, callOptions)).response,
    call: (path, init, callOptions) => harness.call(path, init, callOptions),
    cancel: (reason = "cancelled by the test") => harness.cancel(reason),
    progress: harness.progress,
    disconnect: () => harness.disconnect(),
    drain: () => harness.drain()
  }
}
