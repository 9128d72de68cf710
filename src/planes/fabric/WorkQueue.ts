/**
 * Durable queues with one consumer group each: orders from the control plane to an agent.
 *
 * Laws (`tests/fabric/workQueueLaws.ts`): Q1 a confirmed publish is delivered at least once, also after a restart,
 * until it is acked or terminated. Q2 a message id is published once; the second publish answers `duplicate` and adds
 * nothing. Q3 an acked or terminated message never comes again. Q4 a message that is neither acked, naked nor extended
 * within `ackWaitMs` comes again with a higher delivery count. Q5 per queue, first deliveries keep the order of
 * publishing. Q6 at most `maxInFlight` messages are out at a time.
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { FabricUnavailable, OutcomeUnknown } from "./FabricError.ts"
import type { Payload } from "./Message.ts"

export interface Delivery {
  readonly queue: string
  readonly messageId: string
  readonly payload: Uint8Array
  /** The same, or the message that this process published and that never became bytes. */
  readonly content: Payload
  /** 1 for the first. */
  readonly deliveryCount: number
  /** Done: never again. */
  readonly ack: () => void
  /** Again after `delayMs`. */
  readonly nak: (delayMs: number) => void
  /** Still working: another `ackWaitMs` from now. */
  readonly extend: () => void
  /** Cannot be handled, ever: kept aside under `reason`, never delivered again. */
  readonly terminate: (reason: string) => void
}

export interface ConsumeOptions {
  readonly ackWaitMs: number
  readonly maxInFlight: number
}

export class WorkQueue extends Context.Service<
  WorkQueue,
  {
    /**
     * Durable when it succeeds. The embedded maker hands the message to a consumer of the same process in the same turn
     * of the event loop, before it is durable: a crash then takes the consumer's effect away as well.
     */
    readonly publish: (
      queue: string,
      messageId: string,
      payload: Payload
    ) => Effect.Effect<"published" | "duplicate", FabricUnavailable | OutcomeUnknown>
    /**
     * Every queue that `queue` stands for: `*` is one token of a name, a last `>` one or more. Runs until the scope closes;
     * unacked messages come again.
     */
    readonly consume: (
      queue: string,
      options: ConsumeOptions,
      onDelivery: (delivery: Delivery) => void
    ) => Effect.Effect<void, FabricUnavailable, Scope.Scope>
    /** Terminated messages, oldest first. */
    readonly deadLetters: (
      queue: string
    ) => Effect.Effect<
      ReadonlyArray<{ readonly messageId: string; readonly payload: Uint8Array; readonly reason: string }>,
      FabricUnavailable
    >
  }
>()("millrace/planes/fabric/WorkQueue") {}
