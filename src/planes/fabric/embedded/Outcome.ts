/**
 * From the answers of the store thread to effects and the fabric's errors.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { FabricUnavailable, OutcomeUnknown } from "../FabricError.ts"
import type { StoreClient } from "./StoreClient.ts"
import type { StoreAnswer, StoreOrder, StoreTag, StoreValue } from "./StoreMessage.ts"

export interface Place {
  readonly port: string
  readonly operation: string
}

export type Answer<Tag extends StoreTag> = StoreAnswer<StoreValue[Tag]> | { readonly _tag: "Dropped" }

export const refuse = ({ port, operation }: Place, reason: string, retryable: boolean): FabricUnavailable =>
  new FabricUnavailable({ port, operation, reason, retryable })

/** The error of an answer that is neither `Done` nor a conflict. */
export const failureOf = (
  place: Place,
  answer: Exclude<Answer<StoreTag>, { readonly _tag: "Done" | "Conflict" }>
): FabricUnavailable | OutcomeUnknown => {
  switch (answer._tag) {
    case "Refused":
      return refuse(place, answer.reason, answer.retryable)
    case "Unknown":
      return new OutcomeUnknown({ ...place, reason: answer.reason })
    case "Dropped":
      return refuse(place, "it was withdrawn before it was sent", true)
  }
}

interface Request<Tag extends StoreTag, Conflict> {
  readonly client: StoreClient
  readonly place: Place
  readonly bytes: number
  /** Called when it is sent, not before. */
  readonly order: () => Extract<StoreOrder, { readonly _tag: Tag }>
  readonly conflict: (actual: number) => Conflict
  /** Called with the answered value before the caller goes on, in the order of the store. */
  readonly onDone?: (value: StoreValue[Tag]) => void
}

/** Sends one order. Interrupting it before it was sent withdraws it. */
export const write = <Tag extends StoreTag, Conflict>({
  client,
  place,
  bytes,
  order,
  conflict,
  onDone
}: Request<Tag, Conflict>): Effect.Effect<StoreValue[Tag], Conflict | FabricUnavailable | OutcomeUnknown> =>
  Effect.callback((resume) => {
    let isWithdrawn = false
    client.submit<Tag>({
      bytes,
      order: () => (isWithdrawn ? undefined : order()),
      onAnswer: (answer) => {
        if (answer._tag === "Done") {
          onDone?.(answer.value)
          resume(Effect.succeed(answer.value))
        } else if (answer._tag === "Conflict") resume(Effect.fail(conflict(answer.actual)))
        else resume(Effect.fail(failureOf(place, answer)))
      }
    })
    return Effect.sync(() => {
      isWithdrawn = true
    })
  })

/** Sends an order that changes nothing and therefore has no unknown outcome. */
export const read = <Tag extends StoreTag>(
  client: StoreClient,
  place: Place,
  order: Extract<StoreOrder, { readonly _tag: Tag }>
): Effect.Effect<StoreValue[Tag], FabricUnavailable> =>
  Effect.callback((resume) => {
    client.submit<Tag>({
      bytes: 0,
      order: () => order,
      onAnswer: (answer) => {
        if (answer._tag === "Done") resume(Effect.succeed(answer.value))
        else resume(Effect.fail(unavailable(place, answer)))
      }
    })
  })

/** For orders whose every failure means that nothing happened. */
const unavailable = (place: Place, answer: Exclude<Answer<StoreTag>, { readonly _tag: "Done" }>): FabricUnavailable => {
  switch (answer._tag) {
    case "Refused":
      return refuse(place, answer.reason, answer.retryable)
    case "Unknown":
      return refuse(place, answer.reason, false)
    case "Conflict":
    case "Dropped":
      return refuse(place, `the store answered ${answer._tag}`, false)
  }
}
