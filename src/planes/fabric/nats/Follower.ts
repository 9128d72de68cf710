/**
 * Reads a stream from some point on and never stops: every message that matches, once, in order.
 *
 * The consumer behind it is of no account and lives in the server's memory: when it is lost, with its server or by hand,
 * another one goes on behind the last message. O1 no message is left out that the stream still holds. O2 none comes twice.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises"
import { nanos, nuid } from "@nats-io/transport-node"
import type { ReportFault } from "../embedded/ReportFault.ts"
import * as NatsFailure from "./NatsFailure.ts"
import { type Pulled, PullRequest } from "./PullRequests.ts"
import type { Supervisor } from "./Supervisor.ts"

const batch = 8_192
const expiresMs = 30_000
const pauseMs = 100
const inactiveMs = 60_000

export interface Following {
  readonly stream: string
  readonly filter: string
  readonly onMessage: (message: Pulled) => void
  /** Once, when the last message of each subject was delivered as it was at the start. */
  readonly onCaughtUp: () => void
  readonly report: ReportFault
}

export class Follower {
  readonly #supervisor: Supervisor
  readonly #following: Following
  #isStopped = false
  #request: PullRequest | undefined
  #lastSequence = 0
  /** Messages of the start that are still to come. */
  #pendingAtStart = 0
  #isCaughtUp = false
  readonly started: Promise<void>

  /** Begins with the last message of each subject. */
  constructor(supervisor: Supervisor, following: Following) {
    this.#supervisor = supervisor
    this.#following = following
    let onStarted: () => void = () => undefined
    let onFailed: (error: unknown) => void = () => undefined
    this.started = new Promise((resolve, reject) => {
      onStarted = resolve
      onFailed = reject
    })
    void this.#run(onStarted, onFailed)
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
    const info = await this.#supervisor.link.manager.consumers.add(stream, {
      name: nuid.next(),
      ack_policy: "none",
      filter_subject: filter,
      inactive_threshold: nanos(inactiveMs),
      mem_storage: true,
      num_replicas: 1,
      ...(this.#lastSequence === 0
        ? { deliver_policy: "last_per_subject" as const }
        : { deliver_policy: "by_start_sequence" as const, opt_start_seq: this.#lastSequence + 1 })
    })
    if (this.#lastSequence === 0) this.#pendingAtStart = info.num_pending
    return info.name
  }

  /** Until the consumer is lost. */
  async #follow(consumer: string): Promise<void> {
    const { stream } = this.#following
    while (!this.#isStopped) {
      this.#request = new PullRequest(this.#supervisor, { stream, consumer, batch, expiresMs }, (message) =>
        this.#take(message)
      )
      if ((await this.#request.ended) === "lost") break
    }
    void this.#supervisor.link.manager.consumers.delete(stream, consumer).catch(() => undefined)
  }

  #take(message: Pulled): void {
    if (this.#isStopped || message.sequence <= this.#lastSequence) return
    this.#lastSequence = message.sequence
    this.#following.onMessage(message)
    this.#catchUp(1)
    if (message.pending === 0) this.#catchUp(this.#pendingAtStart)
  }

  #catchUp(delivered: number): void {
    this.#pendingAtStart -= delivered
    if (this.#isCaughtUp || this.#pendingAtStart > 0) return
    this.#isCaughtUp = true
    this.#following.onCaughtUp()
  }
}
