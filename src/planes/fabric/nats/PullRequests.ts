/**
 * Asks a pull consumer for messages, one request at a time, each with an inbox of its own.
 *
 * R1 a request ends when it brought what it asked for, when its time is over, when the server says so, or when the server
 * has said nothing for three heartbeats. R2 the inbox of a request that ended is closed, so the server gives its messages
 * to nobody; what was on the way is delivered all the same, before `stop` resolves. R3 what the server says of itself is never taken for a message.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises"
import { createInbox, type Msg, nanos, type Subscription } from "@nats-io/transport-node"
import type { Supervisor } from "./Supervisor.ts"

const heartbeatMsDefault = 1_000
const heartbeatsMissed = 3
const ackRoot = "$JS.ACK."
/** Of the reply that is parsed; a start reads hundreds of thousands. */
const dotAt: Array<number> = []

export interface Pulled {
  readonly data: Uint8Array
  readonly subject: string
  readonly header: (name: string) => string | undefined
  readonly sequence: number
  /** Counts what the consumer delivered, from 1. */
  readonly consumerSequence: number
  /** Counts from 1, within the life of the consumer. */
  readonly deliveryCount: number
  /** When the server stored it, Unix time by its clock, milliseconds. */
  readonly storedAtMs: number
  /** Messages that were behind this one. */
  readonly pending: number
  /** Where acks go. */
  readonly reply: string
}

export type Ended =
  /** All that was asked for, or the time is over: ask again. */
  | "done"
  /** The consumer is gone or another, or nothing is known of it any more. */
  | "lost"

/** Behind this dot, up to the next one. */
const numberAt = (reply: string, dot: number): number => {
  let value = 0
  for (let at = dotAt[dot]! + 1; at < dotAt[dot + 1]!; at++) value = 10 * value + (reply.charCodeAt(at) - 0x30)
  return value
}

/** `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>`, newer ones with two more. */
const parse = (message: Msg): Pulled | undefined => {
  const reply = message.reply
  if (reply === undefined || !reply.startsWith(ackRoot)) return undefined
  let dots = 0
  for (let at = reply.indexOf("."); at >= 0; at = reply.indexOf(".", at + 1)) dotAt[dots++] = at
  // The one in front of the count of deliveries.
  const first = dots >= 10 ? 5 : 3
  dotAt[dots] = reply.length
  return {
    data: message.data,
    subject: message.subject,
    header: (name) => message.headers?.get(name) || undefined,
    deliveryCount: numberAt(reply, first),
    sequence: numberAt(reply, first + 1),
    consumerSequence: numberAt(reply, first + 2),
    storedAtMs: numberAt(reply, first + 3) / 1e6,
    pending: numberAt(reply, first + 4),
    reply
  }
}

/** Of a heartbeat. */
const deliveredBy = (message: Msg): number => Number(message.headers?.get("Nats-Last-Consumer") ?? 0)

export interface Request {
  /** What the consumer has delivered up to now, as its heartbeats count it; false: that is not what came. */
  readonly isWhole?: (delivered: number) => boolean
  readonly stream: string
  readonly consumer: string
  readonly batch: number
  readonly expiresMs: number
  /** Default 1,000. */
  readonly heartbeatMs?: number
}

export class PullRequest {
  readonly ended: Promise<Ended>
  #subscription: Subscription | undefined
  #end: (how: Ended) => void = () => undefined
  #drained: Promise<void> = Promise.resolve()

  constructor(supervisor: Supervisor, request: Request, onMessage: (message: Pulled) => void) {
    const { connection } = supervisor.link
    const { heartbeatMs = heartbeatMsDefault } = request
    const inbox = createInbox()
    let left = request.batch
    let heardAtMs = performance.now()
    const watch = setInterval(() => {
      if (performance.now() - heardAtMs > heartbeatsMissed * heartbeatMs) this.#end("lost")
    }, heartbeatMs)
    this.ended = new Promise((resolve) => {
      this.#end = (how) => {
        this.#end = () => undefined
        clearInterval(watch)
        // The server may be silent: nobody waits longer for it than for any other answer.
        if (this.#subscription !== undefined) this.#drained = drain(this.#subscription, supervisor)
        resolve(how)
      }
    })
    this.#subscription = connection.subscribe(inbox, {
      callback: (error, message) => {
        if (error !== null) return this.#end("lost")
        heardAtMs = performance.now()
        const pulled = parse(message)
        if (pulled !== undefined) {
          left -= 1
          onMessage(pulled)
          if (left === 0) this.#end("done")
          return
        }
        const code = message.headers?.code ?? 0
        // 100 is a heartbeat, 404 and 408 say that the time is over, 409 and 503 that the consumer is gone or moved.
        if (code === 404 || code === 408) this.#end("done")
        else if (code !== 100 || request.isWhole?.(deliveredBy(message)) === false) this.#end("lost")
      }
    })
    void this.#subscription.closed.then(() => this.#end("lost"))
    try {
      connection.publish(
        `$JS.API.CONSUMER.MSG.NEXT.${request.stream}.${request.consumer}`,
        JSON.stringify({
          batch: request.batch,
          expires: nanos(request.expiresMs),
          idle_heartbeat: nanos(Math.min(heartbeatMs, request.expiresMs / 2))
        }),
        { reply: inbox }
      )
    } catch {
      this.#end("lost")
    }
  }

  /** What it brought is not all that was sent to it. */
  giveUp(): void {
    this.#end("lost")
  }

  /** R2. */
  stop(): Promise<void> {
    this.#end("done")
    return this.#drained
  }
}

const drain = async (subscription: Subscription, supervisor: Supervisor): Promise<void> => {
  if (subscription.isClosed()) return
  if (!supervisor.isConnected) return subscription.unsubscribe()
  const limit = new AbortController()
  await Promise.race([
    subscription.drain().catch(() => undefined),
    sleep(supervisor.options.requestTimeoutMs, undefined, { signal: limit.signal }).catch(() => undefined)
  ])
  limit.abort()
}
