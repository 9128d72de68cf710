/**
 * One delivery of a message, as its consumer holds it.
 *
 * Law: E2 of `QueueGroup`.
 *
 * @module
 */
import type { Payload } from "../Message.ts"
import type { Delivery } from "../WorkQueue.ts"
import { type Consumer, payloadOf, type QueuedMessage } from "./QueuedMessage.ts"

/** How what a consumer says is carried out. */
export interface Answers {
  readonly settle: (message: QueuedMessage, deadLetterReason: string | undefined) => void
  readonly nak: (message: QueuedMessage, delayMs: number) => void
  readonly extend: (message: QueuedMessage, ackWaitMs: number) => void
  readonly isOpen: () => boolean
}

export class GivenDelivery implements Delivery {
  readonly queue: string
  readonly messageId: string
  readonly content: Payload
  readonly deliveryCount: number
  readonly #message: QueuedMessage
  readonly #consumer: Consumer
  readonly #answers: Answers

  constructor(message: QueuedMessage, consumer: Consumer, answers: Answers) {
    this.queue = message.queue
    this.messageId = message.messageId
    this.content = message.content
    this.deliveryCount = message.deliveryCount
    this.#message = message
    this.#consumer = consumer
    this.#answers = answers
  }

  get payload(): Uint8Array {
    return payloadOf(this.#message)
  }

  // Functions and not methods: who holds one calls it without the rest. Made when it is asked for: most need one of them.
  get ack(): () => void {
    return () => this.#answers.settle(this.#message, undefined)
  }

  get nak(): (delayMs: number) => void {
    return (delayMs) => {
      if (this.#isCurrent()) this.#answers.nak(this.#message, delayMs)
    }
  }

  get extend(): () => void {
    return () => {
      if (this.#isCurrent()) this.#answers.extend(this.#message, this.#consumer.ackWaitMs)
    }
  }

  get terminate(): (reason: string) => void {
    return (reason) => this.#answers.settle(this.#message, reason)
  }

  /** E2: between two deliveries to the same consumer only the count tells them apart. */
  #isCurrent(): boolean {
    const { stage, holder, deliveryCount } = this.#message
    return (
      this.#answers.isOpen() && stage === "Out" && holder === this.#consumer && deliveryCount === this.deliveryCount
    )
  }
}
