/**
 * One consumer of a queue: a durable pull consumer of its stream, and who holds what.
 *
 * U1 no more is asked for than may be held, so `maxInFlight` is never exceeded. U2 an ack counts only when the server has
 * confirmed it; a message that was settled here and comes again is acked again and shown to nobody. U3 attempts are counted
 * here too: a consumer that is made anew begins at 1 again. U4 a message that is to come again later is kept alive here
 * until then; when this ends, it goes to the next one at once, and so does what is held. U5 a consumer that has something to
 * deliver and room for it, and delivers nothing, is made anew; so is one that is gone.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises"
import type { ConsumerInfo } from "@nats-io/jetstream"
import { nanos } from "@nats-io/transport-node"
import { RecentMap } from "../../../core/collections/RecentMap.ts"
import type { ReportFault } from "../embedded/ReportFault.ts"
import { UnsafeServer } from "../FabricError.ts"
import type { ConsumeOptions } from "../WorkQueue.ts"
import * as NatsFailure from "./NatsFailure.ts"
import { type Pulled, PullRequest } from "./PullRequests.ts"
import * as Retry from "./Retry.ts"
import * as Safety from "./Safety.ts"
import * as Stall from "./Stall.ts"
import type { Supervisor } from "./Supervisor.ts"

const pullMax = 100
const expiresMs = 30_000
const pauseMs = 100
/** More than anybody holds: how much is out is decided here, and what waits for its time is not out. */
const ackPendingMax = 20_000
/** Kept alive here until their time; the server times the rest, which then stay out after an end of this process. */
const delayedMax = 1_000
/** Settled ones are remembered in case their ack got lost. */
const settledMax = 10_000
const closeLimitMs = 2_000
/** At the third look, which may be a little early. */
const stalledLooks = 1.5
const ackTries = 3

export interface QueueConsumerOptions {
  readonly supervisor: Supervisor
  readonly report: ReportFault
  readonly stream: string
  readonly durable: string
  readonly filter: string
  readonly consume: ConsumeOptions
  readonly onMessage: (holding: Holding) => void
}

/** A message that a consumer holds, and what can become of it. */
export interface Holding {
  readonly message: Pulled
  readonly deliveryCount: number
  readonly ack: () => void
  readonly nak: (delayMs: number) => void
  readonly extend: () => void
  /** Acks when `keep` has succeeded; else the message comes again. */
  readonly ackAfter: (keep: () => Promise<boolean>) => void
}

interface Held {
  /** Replaced when the message comes again by another way while it is held. */
  message: Pulled
  timer: NodeJS.Timeout | undefined
}

export class QueueConsumer {
  readonly #options: QueueConsumerOptions
  /** By sequence: out, in time. */
  readonly #held = new Map<number, Held>()
  readonly #delayed = new Map<number, Held>()
  readonly #settled = new RecentMap<number, true>()
  readonly #counts = new Map<number, number>()
  readonly #acks = new Set<Promise<unknown>>()
  #isClosed = false
  #request: PullRequest | undefined
  #onRoom: () => void = () => undefined
  #lastDeliveryMs = performance.now()
  #stalledSinceMs: number | undefined
  #rebuilds = 0
  #watchdog: NodeJS.Timeout | undefined
  #isLooking = false

  private constructor(options: QueueConsumerOptions) {
    this.#options = options
  }

  /** The consumer is there when it resolves. Rejects with `UnsafeServer` when one of its name is unsafe. */
  static async open(options: QueueConsumerOptions): Promise<QueueConsumer> {
    const consumer = new QueueConsumer(options)
    await Retry.ask(options.supervisor, () => consumer.#ensure())
    consumer.#watchdog = setInterval(() => void consumer.#look(), options.supervisor.options.watchdogMs)
    void consumer.#run()
    return consumer
  }

  /** How often it was made anew; for tests and people. */
  get rebuilds(): number {
    return this.#rebuilds
  }

  /** U4. Acks that are on their way arrive first. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#watchdog)
    this.#onRoom()
    const limit = new AbortController()
    await Promise.race([
      Promise.allSettled([this.#request?.stop(), ...this.#acks]),
      sleep(closeLimitMs, undefined, { signal: limit.signal }).catch(() => undefined)
    ])
    limit.abort()
    const out = [...this.#held, ...this.#delayed].sort(([left], [right]) => left - right)
    for (const [, held] of out) {
      clearTimeout(held.timer)
      this.#tell(held.message, "-NAK")
    }
    this.#held.clear()
    this.#delayed.clear()
    const { supervisor } = this.#options
    if (supervisor.isConnected) await supervisor.link.connection.flush().catch(() => undefined)
  }

  async #ensure(): Promise<void> {
    const { supervisor, stream, durable, filter, consume } = this.#options
    const { consumers } = supervisor.link.manager
    const ackWait = nanos(consume.ackWaitMs)
    let info = await this.#info()
    info ??= await consumers.add(stream, {
      durable_name: durable,
      ack_policy: "explicit",
      ack_wait: ackWait,
      deliver_policy: "all",
      filter_subjects: [filter],
      max_ack_pending: ackPendingMax,
      max_deliver: -1
    })
    const findings = Safety.refused(Safety.ofConsumer(stream, info.config), supervisor.options.durability)
    if (findings.length > 0) throw UnsafeServer.of(findings.map(Safety.sentence))
    if (info.config.ack_wait !== ackWait || info.config.max_ack_pending !== ackPendingMax) {
      await consumers.update(stream, durable, { ack_wait: ackWait, max_ack_pending: ackPendingMax })
    }
  }

  async #info(): Promise<ConsumerInfo | undefined> {
    const { supervisor, stream, durable } = this.#options
    try {
      return await supervisor.link.manager.consumers.info(stream, durable)
    } catch (error) {
      const failure = NatsFailure.of(error)
      if (failure._tag === "Api" && failure.code === NatsFailure.codes.consumerNotFound) return undefined
      throw error
    }
  }

  async #run(): Promise<void> {
    const { supervisor, stream, durable, consume, report } = this.#options
    while (!this.#isClosed && !supervisor.isClosed) {
      const room = consume.maxInFlight - this.#held.size
      if (room <= 0) {
        await new Promise<void>((resolve) => {
          this.#onRoom = resolve
        })
        continue
      }
      this.#request = new PullRequest(
        supervisor,
        { stream, consumer: durable, batch: Math.min(room, pullMax), expiresMs },
        (message) => this.#take(message)
      )
      if ((await this.#request.ended) === "done" || this.#isClosed) continue
      await sleep(pauseMs)
      await this.#ensure().catch((error: unknown) => {
        if (!NatsFailure.mayPass(NatsFailure.of(error)))
          report(`the consumer ${durable} of ${stream} is not there`, error)
      })
    }
  }

  #take(message: Pulled): void {
    this.#lastDeliveryMs = performance.now()
    const { sequence } = message
    // It came after the end was asked for: the next one gets it.
    if (this.#isClosed) return this.#tell(message, "-NAK")
    if (this.#settled.has(sequence)) return this.#confirm(message)
    const known = this.#held.get(sequence) ?? this.#delayed.get(sequence)
    if (known !== undefined) {
      // U5: the consumer was made anew and knows nothing of who holds it.
      known.message = message
      return this.#tell(message, "+WPI")
    }
    const deliveryCount = Math.max(message.deliveryCount, (this.#counts.get(sequence) ?? 0) + 1)
    this.#counts.set(sequence, deliveryCount)
    const held: Held = { message, timer: undefined }
    this.#held.set(sequence, held)
    this.#startTimer(sequence, held)
    try {
      this.#options.onMessage(this.#holding(held, deliveryCount))
    } catch (error) {
      this.#options.report(`a consumer of ${this.#options.filter} threw; the message comes again`, error)
    }
  }

  #holding(held: Held, deliveryCount: number): Holding {
    const { sequence } = held.message
    const isMine = () => this.#held.get(sequence) === held
    return {
      message: held.message,
      deliveryCount,
      // Also of one whose time is over, and after the end: it is done all the same.
      ack: () => {
        if (this.#settled.has(sequence)) return
        this.#settle(sequence)
        this.#confirm(held.message)
      },
      nak: (delayMs) => {
        if (!isMine()) return
        this.#free(sequence)
        if (delayMs <= 0) this.#tell(held.message, "-NAK")
        else this.#delay(sequence, held, delayMs)
      },
      extend: () => {
        if (!isMine()) return
        this.#tell(held.message, "+WPI")
        this.#startTimer(sequence, held)
      },
      ackAfter: (keep) => {
        if (this.#settled.has(sequence)) return
        this.#settle(sequence)
        const kept = keep()
          .catch(() => false)
          .then((isKept) => {
            if (isKept) return this.#confirm(held.message)
            // It comes again when the server's time is over.
            this.#settled.delete(sequence)
          })
        this.#follow(kept)
      }
    }
  }

  /** Out until the server takes it back. */
  #startTimer(sequence: number, held: Held): void {
    clearTimeout(held.timer)
    held.timer = setTimeout(() => {
      if (this.#held.get(sequence) === held) this.#free(sequence)
    }, this.#options.consume.ackWaitMs)
  }

  #free(sequence: number): void {
    clearTimeout(this.#held.get(sequence)?.timer)
    this.#held.delete(sequence)
    this.#onRoom()
  }

  #settle(sequence: number): void {
    this.#settled.set(sequence, true)
    this.#settled.trim(settledMax)
    this.#counts.delete(sequence)
    const delayed = this.#delayed.get(sequence)
    clearTimeout(delayed?.timer)
    this.#delayed.delete(sequence)
    this.#free(sequence)
  }

  /** U4. */
  #delay(sequence: number, held: Held, delayMs: number): void {
    if (this.#delayed.size >= delayedMax) {
      return this.#tell(held.message, `-NAK ${JSON.stringify({ delay: nanos(delayMs) })}`)
    }
    const untilMs = performance.now() + delayMs
    this.#delayed.set(sequence, held)
    const keepAliveMs = Math.max(5, this.#options.consume.ackWaitMs / 2)
    const wait = () => {
      const leftMs = untilMs - performance.now()
      if (leftMs <= 0) {
        this.#delayed.delete(sequence)
        return this.#tell(held.message, "-NAK")
      }
      this.#tell(held.message, "+WPI")
      held.timer = setTimeout(wait, Math.min(leftMs, keepAliveMs))
    }
    wait()
  }

  /** U2. */
  #confirm(message: Pulled): void {
    const { supervisor } = this.#options
    const confirm = async () => {
      for (let round = 0; round < ackTries && !supervisor.isClosed; round++) {
        try {
          await supervisor.link.connection.request(message.reply, "+ACK", {
            timeout: supervisor.options.requestTimeoutMs
          })
          return
        } catch {
          // Should this be the last try, it is acked when it comes again.
          await sleep(pauseMs)
        }
      }
    }
    this.#follow(confirm())
  }

  #follow(ack: Promise<unknown>): void {
    this.#acks.add(ack)
    void ack.finally(() => this.#acks.delete(ack))
  }

  #tell(message: Pulled, what: string): void {
    const { supervisor } = this.#options
    // What is not told now comes again by itself.
    if (!supervisor.isConnected) return
    try {
      supervisor.link.connection.publish(message.reply, what)
    } catch (error) {
      this.#options.report(`the server was not told ${what} about a message of ${this.#options.filter}`, error)
    }
  }

  /** U5. */
  async #look(): Promise<void> {
    const { supervisor, stream, durable, consume, report } = this.#options
    if (this.#isLooking || this.#isClosed || !supervisor.isConnected) return
    this.#isLooking = true
    try {
      const info = await this.#info()
      if (this.#isClosed) return
      const nowMs = performance.now()
      this.#stalledSinceMs = Stall.since(this.#stalledSinceMs, {
        nowMs,
        pendingCount: info?.num_pending ?? 0,
        hasRoom: this.#held.size < consume.maxInFlight,
        lastDeliveryMs: this.#lastDeliveryMs
      })
      const isStalled = Stall.isStalled(this.#stalledSinceMs, nowMs, stalledLooks * supervisor.options.watchdogMs)
      if (info !== undefined && !isStalled) return
      if (info !== undefined) {
        const silentMs = Math.round(nowMs - this.#lastDeliveryMs)
        report(
          `the consumer ${durable} of ${stream} has ${info.num_pending} messages and delivered none for ${silentMs} ms: it is made anew`,
          undefined
        )
        await supervisor.link.manager.consumers.delete(stream, durable)
      }
      await this.#ensure()
      this.#rebuilds += 1
      this.#stalledSinceMs = undefined
      void this.#request?.stop()
    } catch (error) {
      if (!NatsFailure.mayPass(NatsFailure.of(error)))
        report(`the consumer ${durable} of ${stream} cannot be made`, error)
    } finally {
      this.#isLooking = false
    }
  }
}
