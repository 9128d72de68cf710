/**
 * `PubSub` within one process: `publish` calls the subscribers. Laws: see `PubSub`.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type { PubSub } from "../PubSub.ts"
import type { ReportFault } from "./ReportFault.ts"

interface Subscription {
  readonly subject: string
  readonly onMessage: (payload: Uint8Array, subject: string) => void
  isLive: boolean
}

interface WildcardSubscription extends Subscription {
  readonly tokens: ReadonlyArray<string>
}

/** `*` stands for one token, a last `>` for one or more. */
export const matches = (pattern: ReadonlyArray<string>, subject: ReadonlyArray<string>): boolean => {
  for (const [index, token] of pattern.entries()) {
    if (token === ">") return index === pattern.length - 1 && subject.length > index
    if (index >= subject.length || (token !== "*" && token !== subject[index])) return false
  }
  return pattern.length === subject.length
}

const isWildcard = (tokens: ReadonlyArray<string>) => tokens.includes("*") || tokens.includes(">")

export const make = (report: ReportFault): PubSub["Service"] => {
  // Arrays are replaced, never changed: a subscription made in the middle of a publish must not see that message.
  const literal = new Map<string, ReadonlyArray<Subscription>>()
  let wildcards: ReadonlyArray<WildcardSubscription> = []

  const deliver = (subscription: Subscription, payload: Uint8Array, subject: string) => {
    if (!subscription.isLive) return
    try {
      subscription.onMessage(payload, subject)
    } catch (error) {
      report(`a subscriber of ${subscription.subject} threw`, error)
    }
  }

  const publish: PubSub["Service"]["publish"] = (subject, payload) => {
    const direct = literal.get(subject)
    const matching = wildcards
    if (direct !== undefined) for (const subscription of direct) deliver(subscription, payload, subject)
    if (matching.length === 0) return
    const tokens = subject.split(".")
    for (const subscription of matching) {
      if (matches(subscription.tokens, tokens)) deliver(subscription, payload, subject)
    }
  }

  const add = (subject: string, onMessage: Subscription["onMessage"]): Subscription => {
    const tokens = subject.split(".")
    if (isWildcard(tokens)) {
      const subscription = { subject, tokens, onMessage, isLive: true }
      wildcards = [...wildcards, subscription]
      return subscription
    }
    const subscription = { subject, onMessage, isLive: true }
    literal.set(subject, [...(literal.get(subject) ?? []), subscription])
    return subscription
  }

  const remove = (subscription: Subscription) => {
    subscription.isLive = false
    wildcards = wildcards.filter((other) => other !== subscription)
    const left = literal.get(subscription.subject)?.filter((other) => other !== subscription) ?? []
    if (left.length === 0) literal.delete(subscription.subject)
    else literal.set(subscription.subject, left)
  }

  return {
    publish,
    subscribe: (subject, onMessage) =>
      Effect.asVoid(
        Effect.acquireRelease(
          Effect.sync(() => add(subject, onMessage)),
          (subscription) => Effect.sync(() => remove(subscription))
        )
      )
  }
}
