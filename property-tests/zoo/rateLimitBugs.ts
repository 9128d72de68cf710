/**
 * Rate limiters gone wrong on purpose: each has one bug that a named law must kill.
 *
 * @module
 */
import * as RateLimit from "../../src/core/rate-limit/RateLimit.ts"

/** A machine under test: what the laws need of `RateLimit.step`. */
export interface Limiter {
  readonly send: (event: RateLimit.Event) => ReadonlyArray<RateLimit.Command>
  readonly keyCount: () => number
}

export type Start = (options: RateLimit.Options) => Limiter

export const sound: Start = (options) => {
  let state = RateLimit.empty(options)
  return {
    send: (event) => {
      const [next, commands] = RateLimit.step(state, event)
      state = next
      return commands
    },
    keyCount: () => RateLimit.keyCount(state)
  }
}

/** The sound one behind a translation of what it is told. */
const telling =
  (translate: () => (event: RateLimit.Event) => ReadonlyArray<RateLimit.Event>): Start =>
  (options) => {
    const inner = sound(options)
    const each = translate()
    return { ...inner, send: (event) => each(event).flatMap(inner.send) }
  }

/** Time passes whichever way the clock goes. */
export const anyClockMoves = telling(() => {
  let lastMs: number | undefined
  let passedMs = 0
  return (event) => {
    passedMs += Math.abs(event.nowMs - (lastMs ?? 0))
    lastMs = event.nowMs
    return [{ ...event, nowMs: passedMs }]
  }
})

/** A settlement that is repeated is carried out again. */
export const refundsTwice = telling(() => (event) => (event._tag === "Settled" ? [event, event] : [event]))

/** What came to more than was estimated is not collected. */
export const forgetsDebt = telling(
  () => (event) => (event._tag === "Settled" && event.actualTokens > event.estimatedTokens ? [] : [event])
)

/** Counts in windows that begin with the first request: twice the limit passes around the end of one. */
export const fixedWindows: Start = () => {
  const windows = new Map<string, { readonly untilMs: number; used: number }>()
  return {
    keyCount: () => windows.size,
    send: (event) => {
      if (event._tag !== "Requested") return []
      const open = event.subjects.flatMap(({ key, tiers }) =>
        tiers.map((tier) => {
          const name = `${key} ${tier.name}`
          let window = windows.get(name)
          if (window === undefined || window.untilMs <= event.nowMs) {
            window = { untilMs: event.nowMs + tier.periodMs, used: 0 }
            windows.set(name, window)
          }
          return { window, tier, cost: tier.meter === "requests" ? 1 : event.tokens }
        })
      )
      const isRefused = open.some(({ window, tier, cost }) => window.used + cost > tier.limit)
      if (isRefused) {
        return [RateLimit.Command.Refuse({ reason: "exceeded", tier: null, retryAfterMs: 1, facts: [] })]
      }
      for (const { window, cost } of open) window.used += cost
      return [RateLimit.Command.Admit({ facts: [] })]
    }
  }
}

/** Asks tier after tier, and takes from those before the one that refuses. */
export const takesFromSome: Start = (options) => {
  const inner = sound(options)
  return {
    ...inner,
    send: (event) => {
      const commands = inner.send(event)
      if (event._tag !== "Requested" || commands[0]?._tag === "Admit") return commands
      for (const { key, tiers } of event.subjects) {
        for (const tier of tiers) {
          const [taken] = inner.send({ ...event, subjects: [{ key, tiers: [tier] }] })
          if (taken?._tag !== "Admit") return commands
        }
      }
      return commands
    }
  }
}

/** Tells the wait for the first tier that refuses, not for all of them. */
export const firstWait: Start = (options) => {
  const inner = sound(options)
  const alone = (event: Extract<RateLimit.Event, { _tag: "Requested" }>, facts: ReadonlyArray<RateLimit.Fact>) => {
    for (const { tiers } of event.subjects) {
      for (const tier of tiers) {
        const fact = facts.find((each) => each.tier === tier.name)
        const cost = tier.meter === "requests" ? 1 : event.tokens
        if (fact === undefined || fact.remaining >= cost) continue
        return Math.max(1, Math.floor(((cost - fact.remaining - 1) * tier.periodMs) / tier.limit))
      }
    }
    return 1
  }
  return {
    ...inner,
    send: (event) =>
      inner
        .send(event)
        .map((command) =>
          command._tag === "Refuse" && command.reason === "exceeded" && event._tag === "Requested"
            ? { ...command, retryAfterMs: alone(event, command.facts) }
            : command
        )
  }
}

/** Keeps every key that ever called. */
export const unbounded: Start = () => sound({ keysMax: Number.POSITIVE_INFINITY })

/** Makes room by forgetting what others have used. */
export const forgetsTheLiving: Start = (options) => {
  let inner = sound(options)
  return {
    keyCount: () => inner.keyCount(),
    send: (event) => {
      const commands = inner.send(event)
      const isFull = commands.some((command) => command._tag === "Refuse" && command.reason === "keys-exhausted")
      if (!isFull) return commands
      inner = sound(options)
      return inner.send(event)
    }
  }
}
