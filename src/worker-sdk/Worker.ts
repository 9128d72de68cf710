/**
 * A worker: keeps one connection to its plane, runs the calls that come over it, and leaves when told to.
 *
 * W1: a call whose request is whole and whose answer has not begun survives the loss of the connection: `Ready.holds`
 * names it at the next one, and its answer waits. So do whole answers that were sent shortly before the loss. Any other
 * call is lost with its connection, since nobody can tell which bytes arrived; its signal fires and the plane ends or
 * redelivers it.
 * W2: what waits for a connection is bounded: per call one head with an inline body; longer bodies pause.
 * W3: draining ends when every call and every `waitUntil` is done.
 * W4: a peer that is silent for three heartbeats is gone.
 *
 * @module
 */
import * as Backoff from "./Backoff.ts"
import { Call, type CallHost } from "./Call.ts"
import type { ClosedInfo, Connect, Hello, WorkerConnection } from "./connection/WorkerTransport.ts"
import type { Invoke } from "./Handler.ts"
import {
  type ConnectOnceRequest,
  type ConnectOnceResponse,
  type FromWorker,
  initialCreditBytes,
  type StartPhases,
  type ToWorker
} from "./protocol/WorkerMessage.ts"
import { type Answer, RecentAnswers } from "./RecentAnswers.ts"
import type { Timer, WorkerClock } from "./WorkerClock.ts"

export interface WorkerOptions {
  /** Of a gateway, or of several with commas between them: where one does not answer, the next is asked. */
  readonly url: string
  readonly connect: Connect
  readonly request: ConnectOnceRequest
  readonly slots: number
  readonly invoke: Invoke
  /** Asked at each connection. */
  readonly phases: () => StartPhases
  readonly clock: WorkerClock
  /** 0 up to but not 1; spreads reconnects. */
  readonly chance: () => number
  readonly log: (text: string, error?: unknown) => void
}

/** How a worker ended: asked to, or refused by the plane for good. */
export interface WorkerEnd {
  readonly kind: "drained" | "refused"
  readonly reason: string
}

const handshakeTimeoutMs = 10_000
const defaultHeartbeatMs = 5000
const heartbeatsMissedMax = 3
/**
 * A gateway that is there says that the work of this version is between two owners: that is over within seconds, so the
 * next question comes soon, and so often at the most before the pauses grow.
 */
const changingMs = 200
const changingMax = 50
/** A plane that is starting may refuse what it does not know yet; one that refuses this often means it. */
const refusalsMax = 5

export class Worker {
  /** Settles when the worker has left; never rejects. */
  readonly ended: Promise<WorkerEnd>
  private readonly options: WorkerOptions
  private readonly calls = new Map<string, Call>()
  private readonly recent = new RecentAnswers()
  /** Sent into a connection that broke; to be sent again. */
  private unconfirmed: ReadonlyArray<Answer> = []
  private readonly background = new Set<Promise<unknown>>()
  private readonly callHost: CallHost
  private connection: WorkerConnection | undefined
  private isOpen = false
  private isBlocked = false
  private isDraining = false
  private isEnded = false
  private token: string
  private workUrl = ""
  private parameters: ConnectOnceResponse | undefined
  /** Of this machine's clock; too little by as long as the plane's answer was under way. */
  private planeAheadMs = 0
  private knowsPlaneTime = false
  private backoff = Backoff.fresh
  private refusals = 0
  private changing = 0
  private readonly urls: ReadonlyArray<string>
  /** Which of them is asked next. */
  private urlIndex = 0
  private lastHeardMs = 0
  /** Counted, not timed: a handler that blocks the process for long must not look like a plane that went away. */
  private beatsWithoutWord = 0
  private timer: Timer | undefined
  private settle: (end: WorkerEnd) => void = () => {}

  constructor(options: WorkerOptions) {
    this.options = options
    this.urls = options.url.split(",").map((url) => url.trim())
    this.token = options.request.token
    this.ended = new Promise((resolve) => {
      this.settle = resolve
    })
    this.callHost = {
      clock: options.clock,
      planeNowMs: () => options.clock.nowMs() + this.planeAheadMs,
      creditBytes: () => this.parameters?.initialCreditBytes ?? initialCreditBytes,
      send: (call, message) => this.sendAbout(call, message),
      canStream: () => this.isOpen && !this.isBlocked,
      waitUntil: (promise) => this.waitUntil(promise),
      onEnded: (call) => this.onCallEnded(call),
      log: options.log
    }
  }

  start(): void {
    const redirected = this.workUrl !== ""
    const hello: Hello = redirected
      ? { kind: "open", token: this.token }
      : { kind: "connect-once", request: { ...this.options.request, token: this.token } }
    const url = redirected ? this.workUrl : (this.urls[this.urlIndex % this.urls.length] ?? this.options.url)
    const connection = this.options.connect({
      url,
      hello,
      ready: () => this.ready(),
      timeoutMs: handshakeTimeoutMs,
      events: {
        onConnected: (response) => this.onConnected(response),
        onMessage: (message) => this.onMessage(message),
        onDrain: () => this.onSocketDrain(),
        onClosed: (info) => this.onClosed(info)
      }
    })
    this.connection = connection
  }

  /** Calls that are running or wait to be sent. */
  get callCount(): number {
    return this.calls.size
  }

  /** Takes nothing new, finishes what it holds, then leaves. */
  drain(reason: string): void {
    if (this.isDraining || this.isEnded) return
    this.isDraining = true
    if (this.calls.size > 0) this.options.log(`draining (${reason}): ${this.calls.size} calls to finish`)
    if (this.isOpen) this.connection?.send({ _tag: "Draining" })
    this.leaveWhenDone()
  }

  private ready(): FromWorker {
    return {
      _tag: "Ready",
      slots: this.options.slots,
      phases: this.options.phases(),
      holds: [...this.calls.values(), ...this.unconfirmed].map(({ requestId, token }) => ({ requestId, token }))
    }
  }

  private onConnected(response: ConnectOnceResponse | undefined): void {
    this.refusals = 0
    if (response !== undefined) {
      this.parameters = response
      this.token = response.token
      if (response.nowMs > 0) {
        this.planeAheadMs = response.nowMs - this.options.clock.nowMs()
        this.knowsPlaneTime = true
      }
      if (response.workUrl !== "") {
        this.workUrl = response.workUrl
        this.connection?.destroy("redirected")
        return
      }
    }
    const nowMs = this.options.clock.nowMs()
    this.backoff = Backoff.connected(this.backoff, nowMs)
    this.changing = 0
    this.lastHeardMs = nowMs
    this.beatsWithoutWord = 0
    this.isOpen = true
    this.isBlocked = false
    this.beat()
    const again = this.unconfirmed
    this.unconfirmed = []
    for (const answer of again) this.sendAnswer(answer)
    for (const call of [...this.calls.values()]) this.flush(call)
    if (this.isDraining) this.connection?.send({ _tag: "Draining" })
    this.leaveWhenDone()
  }

  private beat(): void {
    const heartbeatMs = this.parameters?.heartbeatMs ?? defaultHeartbeatMs
    this.timer = this.options.clock.after(heartbeatMs, () => {
      if (this.beatsWithoutWord >= heartbeatsMissedMax) {
        this.connection?.destroy(`the plane was silent for ${heartbeatsMissedMax} heartbeats of ${heartbeatMs} ms`)
        return
      }
      this.beatsWithoutWord++
      this.connection?.send({ _tag: "Heartbeat" })
      this.beat()
    })
  }

  private onMessage(message: ToWorker): void {
    this.lastHeardMs = this.options.clock.nowMs()
    this.beatsWithoutWord = 0
    switch (message._tag) {
      case "Assign":
        return this.onAssign(message)
      case "BodyChunk": {
        const call = this.callOf(message)
        if (call !== undefined && !call.receive(message.bytes)) {
          this.connection?.destroy(`body bytes beyond the credit of request ${message.requestId}`)
        }
        return
      }
      case "BodyEnd":
        return this.callOf(message)?.receiveEnd()
      case "Cancel":
        return this.callOf(message)?.cancel(message.reason)
      case "Credit":
        return this.callOf(message)?.addCredit(message.bytes)
      case "Drain":
        return this.drain(message.reason)
      case "Heartbeat":
        return
    }
  }

  /** Undefined for what is over, or was leased anew: late messages are normal, not a fault. */
  private callOf(message: { readonly requestId: string; readonly token: number }): Call | undefined {
    const call = this.calls.get(message.requestId)
    return call?.token === message.token ? call : undefined
  }

  private onAssign(assign: Extract<ToWorker, { readonly _tag: "Assign" }>): void {
    const { requestId, token, deadlineMs } = assign
    const before = this.calls.get(requestId)
    if (before !== undefined && before.token >= token) return
    if (before !== undefined) {
      this.calls.delete(requestId)
      before.lose("it was leased anew")
    }
    if (this.calls.size >= this.options.slots) {
      const message = `all ${this.options.slots} slots of the worker are taken`
      this.connection?.send({ _tag: "Failed", requestId, token, retryable: true, message })
      return
    }
    if (deadlineMs > 0 && this.knowsPlaneTime && this.callHost.planeNowMs() >= deadlineMs) {
      // It lay in a socket while this process stood still. The plane has told its caller that it is over.
      const message = "its deadline had passed when the worker read it"
      this.connection?.send({ _tag: "Failed", requestId, token, retryable: true, message })
      return
    }
    const call = new Call(assign, this.callHost)
    this.calls.set(requestId, call)
    call.run(this.options.invoke)
  }

  private sendAbout(call: Call, message: FromWorker): void {
    if (!this.isOpen) {
      if (message._tag !== "Progress" && message._tag !== "Credit") call.unsent.push(message)
      return
    }
    if (message._tag === "ResponseHead" && message.end) return this.sendAnswer(message)
    if (message._tag === "Failed" && !call.isStarted) return this.sendAnswer(message)
    if (message._tag === "ResponseHead") call.isStarted = true
    if (this.connection?.send(message) === false) this.isBlocked = true
  }

  private sendAnswer(answer: Answer): void {
    this.recent.add(answer, this.options.clock.nowMs())
    if (this.connection?.send(answer) === false) this.isBlocked = true
  }

  private flush(call: Call): void {
    for (const message of call.unsent.splice(0)) this.sendAbout(call, message)
    if (call.isFinished) this.forget(call)
    else call.resume()
  }

  private onCallEnded(call: Call): void {
    if (call.unsent.length === 0) this.forget(call)
  }

  private forget(call: Call): void {
    if (this.calls.get(call.requestId) === call) this.calls.delete(call.requestId)
    if (this.isDraining) this.leaveWhenDone()
  }

  private waitUntil(promise: Promise<unknown>): void {
    const settled = Promise.resolve(promise)
      .catch((error: unknown) => this.options.log("work after an answer (waitUntil) failed", error))
      .then(() => {
        this.background.delete(settled)
        if (this.isDraining) this.leaveWhenDone()
      })
    this.background.add(settled)
  }

  private onSocketDrain(): void {
    this.isBlocked = false
    for (const call of this.calls.values()) call.resume()
  }

  private leaveWhenDone(): void {
    if (!this.isDraining || this.isEnded || this.calls.size > 0 || this.background.size > 0) return
    if (this.isOpen) this.connection?.finish()
    else {
      this.connection?.destroy("drained")
      this.end({ kind: "drained", reason: "drained" })
    }
  }

  private onClosed(info: ClosedInfo): void {
    this.connection = undefined
    this.isOpen = false
    this.timer?.cancel()
    this.timer = undefined
    if (this.isEnded) return
    // An answer sent before the plane was last heard, with a heartbeat to spare, has arrived: the plane was reading.
    const heartbeatMs = this.parameters?.heartbeatMs ?? defaultHeartbeatMs
    this.unconfirmed = [...this.unconfirmed, ...this.recent.takeSince(this.lastHeardMs - heartbeatMs)]
    for (const call of [...this.calls.values()]) {
      if (!call.isStarted && call.hasWholeRequest) continue
      this.calls.delete(call.requestId)
      call.lose(info.reason)
    }
    if (this.isDraining && this.calls.size === 0 && this.background.size === 0) {
      return this.end({ kind: "drained", reason: "drained" })
    }
    if (info.refusal !== undefined && info.refusal !== "unavailable") {
      // The token of an earlier answer may have run out; the first one is the one that we were started with.
      this.token = this.options.request.token
      if (++this.refusals >= refusalsMax) return this.end({ kind: "refused", reason: info.reason })
    }
    if (info.reason === "redirected") return this.start()
    const wasRedirected = this.workUrl !== ""
    this.workUrl = ""
    if (info.refusal === "unavailable" && this.changing < changingMax) {
      this.changing++
      this.timer = this.options.clock.after(changingMs * (0.5 + this.options.chance() / 2), () => this.start())
      return
    }
    // Where it was sent on to, the gateway that sent it is still there to ask.
    if (!wasRedirected) this.urlIndex++
    const { backoff, delayMs } = Backoff.failed(this.backoff, this.options.clock.nowMs(), this.options.chance())
    this.backoff = backoff
    this.options.log(`not connected (${info.reason}); next try in ${Math.round(delayMs)} ms`)
    this.timer = this.options.clock.after(delayMs, () => this.start())
  }

  private end(end: WorkerEnd): void {
    if (this.isEnded) return
    this.isEnded = true
    this.timer?.cancel()
    this.settle(end)
  }
}
