/**
 * A work queue and a pub/sub in memory, as small as the agent's tests need: same-turn delivery, order, ack, nak and
 * terminate; no durability. The real ones have their own suites in `tests/fabric`.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { InstanceReport } from "../../src/planes/compute/AgentMessage.ts"
import { bytesOf, type Payload } from "../../src/planes/fabric/Message.ts"
import { PubSub } from "../../src/planes/fabric/PubSub.ts"
import * as Subject from "../../src/planes/fabric/Subject.ts"
import { type Delivery, WorkQueue } from "../../src/planes/fabric/WorkQueue.ts"

/** As much of a message as tests look at. */
export interface Message {
  readonly _tag?: string
  readonly instanceId?: string
  readonly versionId?: string
  readonly reason?: string
  readonly agentEpoch?: number
  readonly instance?: InstanceReport
  readonly instances?: ReadonlyArray<InstanceReport>
  readonly instanceTypes?: ReadonlyArray<{ readonly name: string; readonly free: number; readonly total: number }>
  readonly region?: string
}

export interface FakeFabric {
  readonly layer: Layer.Layer<WorkQueue | PubSub>
  /** Delivers in this turn; with no consumer, when one comes. */
  readonly order: (queue: string, messageId: string, payload: unknown) => void
  readonly publish: (subject: string, payload: unknown) => void
  /** What became of each message: `acked`, `put aside: reason`, `out`. */
  readonly outcome: (messageId: string) => string | undefined
  /** How often its consumer said that it still works on it. */
  readonly extensions: (messageId: string) => number
  /** As when its time was over: the same message once more, with a higher count. */
  readonly again: (messageId: string) => void
  /** Every message that was published, decoded, in order. */
  readonly published: ReadonlyArray<{ readonly subject: string; readonly value: Message }>
}

const isIn = (queue: string, pattern: string) => Subject.matches(pattern.split("."), queue.split("."))

export const make = (): FakeFabric => {
  const consumers = new Map<string, (delivery: Delivery) => void>()
  const waiting: Array<Delivery> = []
  const outcomes = new Map<string, string>()
  const extensions = new Map<string, number>()
  const newest = new Map<string, Delivery>()
  const subscribers = new Set<readonly [string, (payload: Uint8Array, subject: string) => void]>()
  const published: Array<{ subject: string; value: Message }> = []

  const publish = (subject: string, given: Payload) => {
    const payload = bytesOf(given)
    published.push({ subject, value: JSON.parse(new TextDecoder().decode(payload)) })
    for (const [pattern, listener] of subscribers) if (pattern === subject) listener(payload, subject)
  }

  const deliver = (queue: string, messageId: string, payload: Uint8Array, deliveryCount: number) => {
    outcomes.set(messageId, "out")
    const delivery: Delivery = {
      queue,
      messageId,
      payload,
      content: payload,
      deliveryCount,
      ack: () => outcomes.set(messageId, "acked"),
      nak: () => deliver(queue, messageId, payload, deliveryCount + 1),
      extend: () => extensions.set(messageId, (extensions.get(messageId) ?? 0) + 1),
      terminate: (reason) => outcomes.set(messageId, `put aside: ${reason}`)
    }
    newest.set(messageId, delivery)
    const consumer = [...consumers].find(([pattern]) => isIn(queue, pattern))?.[1]
    if (consumer !== undefined) consumer(delivery)
    else waiting.push(delivery)
  }

  const encode = (value: unknown) => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value))

  const workQueue = WorkQueue.of({
    publish: (queue, messageId, payload) =>
      Effect.sync(() => {
        deliver(queue, messageId, bytesOf(payload), 1)
        return "published" as const
      }),
    consume: (queue, _options, onDelivery) =>
      Effect.asVoid(
        Effect.acquireRelease(
          Effect.sync(() => {
            consumers.set(queue, onDelivery)
            for (const delivery of waiting.splice(0)) {
              if (isIn(delivery.queue, queue)) onDelivery(delivery)
              else waiting.push(delivery)
            }
          }),
          () => Effect.sync(() => consumers.delete(queue))
        )
      ),
    deadLetters: () => Effect.succeed([])
  })

  const subscribe: PubSub["Service"]["subscribe"] = (subject, onMessage) => {
    const entry = [subject, onMessage] as const
    return Effect.asVoid(
      Effect.acquireRelease(
        Effect.sync(() => subscribers.add(entry)),
        () => Effect.sync(() => subscribers.delete(entry))
      )
    )
  }
  const pubSub = PubSub.of({ publish, subscribe, hear: subscribe })

  return {
    layer: Layer.mergeAll(Layer.succeed(WorkQueue, workQueue), Layer.succeed(PubSub, pubSub)),
    order: (queue, messageId, payload) => deliver(queue, messageId, encode(payload), 1),
    publish: (subject, payload) => publish(subject, encode(payload)),
    outcome: (messageId) => outcomes.get(messageId),
    extensions: (messageId) => extensions.get(messageId) ?? 0,
    again: (messageId) => {
      const { queue, payload, deliveryCount } = newest.get(messageId) ?? {}
      if (queue === undefined || payload === undefined) throw new Error(`${messageId} was never delivered`)
      deliver(queue, messageId, payload, (deliveryCount ?? 0) + 1)
    },
    published
  }
}
