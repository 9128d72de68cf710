/**
 * `WorkQueue` over the store thread. Laws: see `WorkQueue` and `QueueGroup`.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as CrashPoint from "../../CrashPoint.ts"
import { type FabricUnavailable, OutcomeUnknown } from "../FabricError.ts"
import type { Payload } from "../Message.ts"
import * as Subject from "../Subject.ts"
import type { WorkQueue } from "../WorkQueue.ts"
import { type failureOf, type Place, read, refuse } from "./Outcome.ts"
import { type PublishOutcome, payloadOf } from "./QueuedMessage.ts"
import * as QueueGroup from "./QueueGroup.ts"
import type { ReportFault } from "./ReportFault.ts"
import type { StoreClient } from "./StoreClient.ts"
import type { StoreOrder } from "./StoreMessage.ts"

/** Of a queue's name and of a message id, in characters. */
export const nameMax = 400
/** What an order takes that is no bytes yet, and seldom becomes any. */
const messageBytes = 1024
export const reasonMax = 2_000

export interface Options {
  readonly client: StoreClient
  /** Wall clock, milliseconds. */
  readonly nowMs: () => number
  readonly report: ReportFault
}

const place = (operation: string): Place => ({ port: "WorkQueue", operation })

const isName = (name: string) =>
  name.length > 0 && name.length <= nameMax && name.isWellFormed() && !name.includes("\0")

const publishProblem = (queue: string, messageId: string, payload: Payload): string | undefined => {
  if (!isName(queue) || Subject.isPattern(queue.split(".")))
    return `${JSON.stringify(queue.slice(0, 40))} is no name of a queue`
  if (!isName(messageId)) return `${JSON.stringify(messageId.slice(0, 40))} is no message id`
  return payload instanceof Uint8Array ? QueueGroup.sizeProblem(payload) : undefined
}

/** What a store answer means for a published message. */
const outcomeOf = (
  answer: Parameters<typeof failureOf>[1] | { readonly _tag: "Done" | "Conflict" }
): PublishOutcome => {
  switch (answer._tag) {
    // A message is withdrawn only when it was acked, and then there is nothing left to keep.
    case "Done":
    case "Dropped":
    case "Conflict":
      return { _tag: "Kept" }
    case "Refused":
      return { _tag: "Lost", reason: answer.reason, isKnown: true, retryable: answer.retryable }
    case "Unknown":
      return { _tag: "Lost", reason: answer.reason, isKnown: false, retryable: false }
  }
}

const storeOf = (client: StoreClient): QueueGroup.QueueStore => {
  /** Nobody waits: a failed store has said so already, and what is lost here only comes again. */
  const tell = (order: StoreOrder) => client.submit({ bytes: 0, order: () => order, onAnswer: () => undefined })
  return {
    isTaking: client.isTaking,
    publish: (message, isWanted, onOutcome) =>
      client.submit<"Publish">({
        bytes: message.content instanceof Uint8Array ? message.content.byteLength : messageBytes,
        order: () => {
          if (!isWanted()) return undefined
          CrashPoint.hit("queue.publish.sent")
          message.storage = "Sent"
          const { sequence, queue, messageId, deliveryCount } = message
          return { _tag: "Publish", sequence, queue, messageId, payload: payloadOf(message), deliveryCount }
        },
        onAnswer: (answer) => onOutcome(outcomeOf(answer))
      }),
    countDelivery: ({ sequence, deliveryCount }) => tell({ _tag: "CountDelivery", sequence, deliveryCount }),
    settle: ({ sequence }, settledAtMs) => tell({ _tag: "Settle", sequence, settledAtMs }),
    deadLetter: ({ sequence }, reason, settledAtMs) =>
      tell({ _tag: "DeadLetter", sequence, reason: reason.slice(0, reasonMax).toWellFormed(), settledAtMs }),
    forget: (sequences) => tell({ _tag: "Forget", sequences })
  }
}

const resultOf = ({
  answer,
  outcome
}: QueueGroup.PublishAnswer): Effect.Effect<"published" | "duplicate", FabricUnavailable | OutcomeUnknown> => {
  if (outcome._tag === "Kept") return Effect.succeed(answer)
  return Effect.fail(
    outcome.isKnown
      ? refuse(place("publish"), outcome.reason, outcome.retryable)
      : new OutcomeUnknown({ ...place("publish"), reason: outcome.reason })
  )
}

export const make = ({ client, nowMs, report }: Options) => {
  const { messages, nextSequence } = client.opened
  const group = QueueGroup.make({ store: storeOf(client), messages, nextSequence, nowMs, report })

  const publish: WorkQueue["Service"]["publish"] = (queue, messageId, payload) => {
    const problem = publishProblem(queue, messageId, payload)
    if (problem !== undefined) return Effect.fail(refuse(place("publish"), problem, false))
    return Effect.callback((resume) => {
      CrashPoint.hit("queue.publish.before")
      // A copy: the message may wait here for longer than the caller leaves its buffer alone.
      const content = payload instanceof Uint8Array ? new Uint8Array(payload) : payload
      group.publish(queue, messageId, content, (answer) => resume(resultOf(answer)))
    })
  }

  const consume: WorkQueue["Service"]["consume"] = (queue, options, onDelivery) => {
    if (!isName(queue) || !(options.ackWaitMs > 0) || !(options.maxInFlight >= 1)) {
      const reason = `cannot consume ${JSON.stringify(queue.slice(0, 40))} with ackWaitMs ${options.ackWaitMs} and maxInFlight ${options.maxInFlight}`
      return Effect.fail(refuse(place("consume"), reason, false))
    }
    CrashPoint.hit("queue.consume")
    return Effect.asVoid(
      Effect.acquireRelease(
        Effect.sync(() => group.addConsumer(queue, options, onDelivery)),
        (consumer) => Effect.sync(() => group.removeConsumer(consumer))
      )
    )
  }

  const service: WorkQueue["Service"] = {
    publish,
    consume,
    deadLetters: (queue) => read<"DeadLetters">(client, place("deadLetters"), { _tag: "DeadLetters", queue })
  }
  return { service, close: group.close }
}
