/**
 * `PubSub` within one process: `publish` calls the subscribers. Laws: see `PubSub`.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import { bytesOf, type Payload } from "../Message.ts"
import type { PubSub } from "../PubSub.ts"
import * as Subject from "../Subject.ts"
import type { ReportFault } from "./ReportFault.ts"

interface Subscription {
  readonly subject: string
  readonly onPayload: (payload: Payload, subject: string) => void
  isLive: boolean
}

interface WildcardSubscription extends Subscription {
  readonly tokens: ReadonlyArray<string>
}

/** Subjects whose subscribers are known by heart. */
const foundMax = 1_000

export const make = (report: ReportFault): PubSub["Service"] => {
  // Arrays are replaced, never changed: a subscription made in the middle of a publish must not see that message.
  const literal = new Map<string, ReadonlyArray<Subscription>>()
  let wildcards: ReadonlyArray<WildcardSubscription> = []
  /** By subject, since the last change. */
  const found = new Map<string, ReadonlyArray<Subscription>>()

  const deliver = (subscription: Subscription, payload: Payload, subject: string) => {
    if (!subscription.isLive) return
    try {
      subscription.onPayload(payload, subject)
    } catch (error) {
      report(`a subscriber of ${subscription.subject} threw`, error)
    }
  }

  const find = (subject: string): ReadonlyArray<Subscription> => {
    const tokens = subject.split(".")
    const matching = wildcards.filter((subscription) => Subject.matches(subscription.tokens, tokens))
    const all = [...(literal.get(subject) ?? []), ...matching]
    if (found.size >= foundMax) found.clear()
    found.set(subject, all)
    return all
  }

  const publish: PubSub["Service"]["publish"] = (subject, payload) => {
    for (const subscription of found.get(subject) ?? find(subject)) deliver(subscription, payload, subject)
  }

  const add = (subject: string, onPayload: Subscription["onPayload"]): Subscription => {
    found.clear()
    const tokens = subject.split(".")
    if (Subject.isPattern(tokens)) {
      const subscription = { subject, tokens, onPayload, isLive: true }
      wildcards = [...wildcards, subscription]
      return subscription
    }
    const subscription = { subject, onPayload, isLive: true }
    literal.set(subject, [...(literal.get(subject) ?? []), subscription])
    return subscription
  }

  const remove = (subscription: Subscription) => {
    subscription.isLive = false
    found.clear()
    wildcards = wildcards.filter((other) => other !== subscription)
    const left = literal.get(subscription.subject)?.filter((other) => other !== subscription) ?? []
    if (left.length === 0) literal.delete(subscription.subject)
    else literal.set(subscription.subject, left)
  }

  const hear: PubSub["Service"]["hear"] = (subject, onPayload) =>
    Effect.asVoid(
      Effect.acquireRelease(
        Effect.sync(() => add(subject, onPayload)),
        (subscription) => Effect.sync(() => remove(subscription))
      )
    )

  return {
    publish,
    subscribe: (subject, onMessage) => hear(subject, (payload, from) => onMessage(bytesOf(payload), from)),
    hear
  }
}
