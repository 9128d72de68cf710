/**
 * Reads a stream from some point on and never stops: every message that matches, once, in order.
 *
 * The consumer behind it is of no account and lives in the server's memory: when it is lost, with its server or by hand,
 * another one goes on behind the last message. O1 no message is left out that the stream still holds, nor one that was on
 * its way when a connection broke: the consumer takes it for delivered. A reconnect begins anew, and the next message or
 * heartbeat shows the rest. O2 none comes twice. O3 after each such break it is told behind which message it went on, when what was missed has been delivered.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises"
import { nanos, nuid } from "@nats-io/transport-node"
import type { ReportFault } from "../embedded/ReportFault.ts"
import * as NatsFailure from "./NatsFailure.ts"
import { type Pulled, PullRequest } from "./PullRequests.ts"
import * as Retry from "./Retry.ts"
import type { Supervisor } from "./Supervisor.ts"

const batch = 8_192
const expiresMs = 30_000
const pauseMs = 100
const inactiveMs = 60_000
/** Who owns a shard is followed here: a consumer that died with its server is missed after three of these. */
const heartbeatMs = 500

export interface Following {
  readonly stream: string
  readonly filter: string
  readonly onMessage: (message: Pulled) => void
  /** Once, when all was delivered that was there at the start. */
  readonly onCaughtUp: () => void
  /** Begins behind this message, as if it had broken there; else with the last message of each subject. */
  readonly behind?: number | undefined
  /** O3. */
  readonly onResumed?: (behind: number) => void
  /** Messages come without their bodies. */
  readonly headersOnly?: boolean
  readonly report: ReportFault
}

export class Follower {
  readonly #supervisor: Supervisor
  readonly #following: Following
  #isStopped = false
  #request: PullRequest | undefined
  #lastSequence: number
  #pendingAtResume = 0
  /** Messages of the start that are still to come. */
  #pendingAtStart = 0
  #isCaughtUp = false
  /** As the consumer counts. */
  #delivered = 0
  /** Behind which message it goes on; undefined: nothing was missed that was not delivered since. */
  #resumedBehind: number | undefined
  readonly started: Promise<void>

  constructor(supervisor: Supervisor, following: Following) {
    this.#supervisor = supervisor
    this.#following = following
    this.#lastSequence = following.behind ?? 0
    let onStarted: () => void = () => undefined
    let onFailed: (error: unknown) => void = () => undefined
    this.started = new Promise((resolve, reject) => {
      onStarted = resolve
      onFailed = reject
    })
    const stopHearing = supervisor.onReconnected(() => this.#request?.giveUp())
    void this.#run(onStarted, onFailed).finally(stopHearing)
  }

  get isStopped(): boolean {
    return this.#isStopped
  }

  /** What was missed has not all been delivered, or nobody has been told yet that it was. */
  get isResuming(): boolean {
    return this.#resumedBehind !== undefined
  }

  stop(): void {
    this.#isStopped = true
    void this.#request?.stop()
  }

  async #run(onStarted: () => void, onFailed: (error: unknown) => void): Promise<void> {
    let isStarted = false
    const giveUpMs = performance.now() + this.#supervisor.options.unknownLimitMs
    while (!this.#isStopped && !this.#supervisor.isClosed) {
      try {
        const consumer = await this.#makeConsumer()
        if (!isStarted) {
          isStarted = true
          onStarted()
        }
        this.#catchUp(0)
        if (this.#pendingAtResume === 0) this.#resumed()
        await this.#follow(consumer)
      } catch (error) {
        const isFinal = !NatsFailure.mayPass(NatsFailure.of(error))
        if (!isStarted && (isFinal || performance.now() > giveUpMs)) return onFailed(error)
        if (isFinal) this.#following.report(`a follower of ${this.#following.stream} has no consumer`, error)
      }
      if (!this.#isStopped) await sleep(pauseMs)
    }
    if (!isStarted) onStarted()
  }

  async #makeConsumer(): Promise<string> {
    const { stream, filter } = this.#following
    this.#delivered = 0
    const wanted = {
      name: nuid.next(),
      ack_policy: "none" as const,
      filter_subject: filter,
      inactive_threshold: nanos(inactiveMs),
      mem_storage: true,
      num_replicas: 1,
      headers_only: this.#following.headersOnly === true,
      ...(this.#lastSequence === 0
        ? { deliver_policy: "last_per_subject" as const }
        : { deliver_policy: "by_start_sequence" as const, opt_start_seq: this.#lastSequence + 1 })
    }
    // Asked again beside a try that met an election: whoever follows late takes a dead owner for alive.
    const info = await Retry.beside(() => this.#supervisor.link.manager.consumers.add(stream, wanted))
    // Of a start that broke off, whoever counted: what is to come is what this consumer has.
    if (!this.#isCaughtUp) this.#pendingAtStart = info.num_pending
    if (this.#lastSequence > 0) {
      // It may be lost again before what was missed has come.
      this.#resumedBehind ??= this.#lastSequence
      this.#pendingAtResume = info.num_pending
    }
    return info.name
  }

  /** Until the consumer is lost. */
  async #follow(consumer: string): Promise<void> {
    const { stream } = this.#following
    while (!this.#isStopped) {
      const isWhole = (delivered: number) => delivered <= this.#delivered
      const request = { stream, consumer, batch, expiresMs, heartbeatMs, isWhole }
      this.#request = new PullRequest(this.#supervisor, request, (message) => this.#take(message))
      if ((await this.#request.ended) === "lost") break
    }
    void this.#supervisor.link.manager.consumers.delete(stream, consumer).catch(() => undefined)
  }

  #take(message: Pulled): void {
    if (this.#isStopped) return
    if (message.consumerSequence !== this.#delivered + 1) return this.#request?.giveUp()
    this.#delivered = message.consumerSequence
    if (message.sequence <= this.#lastSequence) return
    this.#lastSequence = message.sequence
    this.#following.onMessage(message)
    this.#catchUp(1)
    if (message.pending > 0) return
    this.#catchUp(this.#pendingAtStart)
    this.#resumed()
  }

  #resumed(): void {
    const behind = this.#resumedBehind
    this.#resumedBehind = undefined
    if (behind !== undefined) this.#following.onResumed?.(behind)
  }

  #catchUp(delivered: number): void {
    this.#pendingAtStart -= delivered
    if (this.#isCaughtUp || this.#pendingAtStart > 0) return
    this.#isCaughtUp = true
    this.#following.onCaughtUp()
  }
}
