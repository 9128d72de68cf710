/**
 * One message of a work queue, as this process holds it.
 *
 * Life: Ready -> Out (with a consumer) -> Settled. Out goes back to Ready when its holder goes away or its time is over,
 * and to Resting for the delay of a `nak`.
 *
 * @module
 */
import { Message, type Payload } from "../Message.ts"
import type { Delivery } from "../WorkQueue.ts"

export type Stage = "Ready" | "Out" | "Resting" | "Settled"

/** `Unsent`: only in this process. `Sent`: in the hands of the store, which has not answered. */
export type Storage = "Unsent" | "Sent" | "Stored"

export interface QueuedMessage {
  /** Order of publishing over all queues; never used twice in one store. */
  readonly sequence: number
  readonly queue: string
  readonly messageId: string
  /** `payloadOf` gives its bytes. */
  content: Payload
  /** Of its payload, as they are counted: one that is settled in the turn in which it came never has any. */
  payloadBytes: number
  deliveryCount: number
  stage: Stage
  storage: Storage
  isDeadLetter: boolean
  /** It outlasted the turn in which it came: it is counted and found by its id. */
  isKept: boolean
  /** The store was given it, whether it was sent yet or not. */
  isSubmitted: boolean
  holder: Consumer | undefined
  /** The deadline of `Out`, or the rest of `Resting`. */
  timer: NodeJS.Timeout | undefined
  /** Called once, when the store has answered its publish. */
  readonly whenStored: Array<(outcome: PublishOutcome) => void>
}

/** The same from the first call on, and nobody else's: small bytes often lie in a buffer with others. */
export const payloadOf = (message: QueuedMessage): Uint8Array => {
  if (message.content instanceof Message) message.content = new Uint8Array(message.content.bytes)
  return message.content
}

/** `Lost`: it is not stored and will not be delivered again. */
export type PublishOutcome =
  | { readonly _tag: "Kept" }
  | { readonly _tag: "Lost"; readonly reason: string; readonly isKnown: boolean; readonly retryable: boolean }

export interface Consumer {
  readonly queue: string
  /** Of `queue`. */
  readonly tokens: ReadonlyArray<string>
  readonly ackWaitMs: number
  readonly maxInFlight: number
  readonly onDelivery: (delivery: Delivery) => void
  readonly held: Set<QueuedMessage>
  isOpen: boolean
}
