/**
 * The plane's end of one worker connection, the same for every carrier: order of messages, heartbeats, limits.
 *
 * T1: the first message is `Ready`, once. T2: `onClose` is called exactly once, nothing else after it. T3: a worker that
 * is silent for three heartbeats is closed. T4: more than `hardLimitBytes` unsent closes it: a peer that reads nothing
 * must not take the plane's memory. T5: a fault of one peer touches no other.
 *
 * @module
 */
import type { FromWorker, ToWorker } from "../../../worker-sdk/protocol/WorkerMessage.ts"
import type { SessionIdentity, WorkerConnection, WorkerConnectionHandler } from "../WorkerSession.ts"

/** What a transport gives: bytes out, and an end. */
export interface Carrier {
  readonly send: (message: ToWorker) => void
  /** Encoded and not yet taken by the socket. */
  readonly waitingBytes: () => number
  /** `fault`: the worker broke the protocol. Leads to `onCarrierClosed`, maybe at once. */
  readonly close: (kind: "fault" | "ended", reason: string) => void
}

export const highWaterBytes = 1024 * 1024
export const hardLimitBytes = 16 * 1024 * 1024

const heartbeatsMissedMax = 3

export class WorkerPeer implements WorkerConnection {
  readonly identity: SessionIdentity
  private readonly carrier: Carrier
  private readonly timer: NodeJS.Timeout
  private handler: WorkerConnectionHandler | undefined
  private isReady = false
  private isDraining = false
  private isBlocked = false
  private isClosed = false
  private closeReason: string | undefined
  private beatsWithoutWord = 0

  constructor(identity: SessionIdentity, carrier: Carrier, heartbeatMs: number) {
    this.identity = identity
    this.carrier = carrier
    this.timer = setInterval(() => this.beat(heartbeatMs), heartbeatMs).unref()
  }

  /** Before any message. */
  attach(handler: WorkerConnectionHandler): void {
    this.handler = handler
  }

  private beat(heartbeatMs: number): void {
    if (this.beatsWithoutWord >= heartbeatsMissedMax) {
      this.close(`the worker was silent for ${heartbeatsMissedMax} heartbeats of ${heartbeatMs} ms`)
      return
    }
    this.beatsWithoutWord++
    this.send({ _tag: "Heartbeat" })
  }

  send(message: ToWorker): boolean {
    if (this.isClosed) return false
    this.carrier.send(message)
    const waiting = this.carrier.waitingBytes()
    if (waiting < highWaterBytes) return true
    this.isBlocked = true
    if (waiting > hardLimitBytes) this.close(`${waiting} bytes wait and the worker does not read`)
    return false
  }

  close(reason: string): void {
    if (this.isClosed) return
    this.closeReason ??= reason
    this.carrier.close("ended", reason)
  }

  /** The worker broke the protocol. */
  fault(reason: string): void {
    if (this.isClosed) return
    this.closeReason ??= `protocol error: ${reason}`
    this.carrier.close("fault", reason)
  }

  receive(message: FromWorker): void {
    if (this.isClosed || this.closeReason !== undefined) return
    this.beatsWithoutWord = 0
    if (message._tag === "Ready" ? this.isReady : !this.isReady) {
      this.fault(message._tag === "Ready" ? "a second Ready" : `${message._tag} before Ready`)
      return
    }
    if (message._tag === "Ready") {
      if (message.slots < 1) return this.fault("Ready without slots")
      this.isReady = true
    }
    if (message._tag === "Draining") this.isDraining = true
    this.handler?.onMessage(message)
  }

  onCarrierDrain(): void {
    if (!this.isBlocked || this.isClosed || this.carrier.waitingBytes() >= highWaterBytes) return
    this.isBlocked = false
    this.handler?.onDrain()
  }

  /** `goodbye`: the worker ended the stream in order, as it does after draining. */
  onCarrierClosed(info: { readonly goodbye: boolean; readonly reason: string }): void {
    if (this.isClosed) return
    this.isClosed = true
    clearInterval(this.timer)
    const clean = info.goodbye && this.isDraining && this.closeReason === undefined
    this.handler?.onClose({ clean, reason: this.closeReason ?? info.reason })
  }
}
