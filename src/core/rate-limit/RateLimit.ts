/**
 * How often who may call: several keys (a tenant, one of its API keys) with several tiers each (per second, per day;
 * requests, tokens). A request passes if every tier lets it, and then takes from each.
 *
 * Tokens are an estimate at admission. `Settled` trues it up when the cost is known, once for each admitted request: what
 * was too much comes back, what was too little is owed and delays those after.
 *
 * Keys are ids that the platform gives; hash what a stranger may choose. A key that has all of its bursts again is
 * forgotten, as it differs in nothing from one that was never seen.
 *
 * Laws (`property-tests/RateLimit.laws.test.ts`):
 * - G1 exact: each decision is that of a token bucket in whole numbers, so over any stretch of time no more passes than
 *   burst + limit × time, and a caller who always asks gets 99 % of that at least.
 * - G2 all or nothing: refused, it took from no tier; admitted, it took its cost from each.
 * - G3 a refusal names a tier that refuses, and its wait is exact: it passes then, and not a millisecond earlier.
 * - G4 a clock that stands still or jumps back gives nothing.
 * - G5 a refund never makes more than a burst available; a debt delays, by (burst + debtMax) ÷ rate at most.
 * - G6 bounded: at most `keysMax` keys, those alone that have something used; a new one beyond is refused.
 *
 * @module
 */
import * as Data from "effect/Data"
import * as DueIndex from "../collections/DueIndex.ts"
import { unreachable } from "../collections/invariant.ts"
import * as Table from "../collections/Table.ts"
import * as Tier from "./Tier.ts"

export interface Options {
  /** Keys with something used, at a time. Each takes about 300 bytes and 8 per tier. */
  readonly keysMax: number
}

/** Who is charged, by which limits. Two subjects of a request should not have the same key. */
export interface Subject {
  readonly key: string
  /** A tier that is new under its name begins unused; one that is gone is forgotten. */
  readonly tiers: ReadonlyArray<Tier.Tier>
}

interface Bucket {
  readonly key: string
  readonly tiers: ReadonlyArray<Tier.Tier>
  /** By index of `tiers`, at `atMs`. */
  readonly used: ReadonlyArray<number>
  readonly atMs: number
  /** When nothing of any tier is used any more. */
  readonly fullAtMs: number
}

export interface State {
  readonly options: Options
  /** The greatest time seen. */
  readonly lastMs: number
  readonly buckets: Table.Table<Bucket>
  readonly fullAt: DueIndex.DueIndex
}

export type Event = Data.TaggedEnum<{
  /** `tokens`: the estimate. */
  Requested: { readonly nowMs: number; readonly subjects: ReadonlyArray<Subject>; readonly tokens: number }
  /** The cost of a request that was admitted with `estimatedTokens` is known. */
  Settled: {
    readonly nowMs: number
    readonly subjects: ReadonlyArray<Subject>
    readonly estimatedTokens: number
    readonly actualTokens: number
  }
  Ticked: { readonly nowMs: number }
}>
export const Event = Data.taggedEnum<Event>()

/** State of one tier, for the headers of the answer. */
export interface Fact {
  readonly key: string
  readonly tier: string
  readonly meter: Tier.Tier["meter"]
  readonly limit: number
  readonly periodMs: number
  readonly burst: number
  /** Whole units that can be taken now. */
  readonly remaining: number
  /** Whole milliseconds until all of the burst is there again. */
  readonly resetMs: number
}

/**
 * `exceeded`: later it passes. `too-large`: it costs more than the burst, so it never passes. `keys-exhausted`: there is
 * no memory for another key. `cost-invalid`: no number of tokens.
 */
export type RefusalReason = "exceeded" | "too-large" | "keys-exhausted" | "cost-invalid"

export type Command = Data.TaggedEnum<{
  Admit: { readonly facts: ReadonlyArray<Fact> }
  Refuse: {
    readonly reason: RefusalReason
    /** The tier that makes it wait longest; null = it is for no tier. */
    readonly tier: { readonly key: string; readonly name: string } | null
    /** Null = waiting does not help. */
    readonly retryAfterMs: number | null
    readonly facts: ReadonlyArray<Fact>
  }
  /** True cost beyond what may be owed, to be counted. */
  CountForgiven: { readonly key: string; readonly tier: string; readonly units: number }
}>
export const Command = Data.taggedEnum<Command>()

type Step = readonly [State, ReadonlyArray<Command>]

export const empty = (options: Options): State => ({
  options,
  lastMs: 0,
  buckets: Table.empty(),
  fullAt: DueIndex.empty
})

export const step = (before: State, event: Event): Step => {
  const state = advance(before, event.nowMs)
  // More keys are forgotten than come in with an event, so that the table shrinks under any load.
  switch (event._tag) {
    case "Requested":
      return requested(forget(state, event.subjects.length + 1), event)
    case "Settled":
      return settled(forget(state, event.subjects.length + 1), event)
    case "Ticked":
      return [forget(state, Number.POSITIVE_INFINITY), []]
    default:
      return unreachable(event)
  }
}

/** As `Requested` would find it; takes nothing. */
export const facts = (state: State, subjects: ReadonlyArray<Subject>, nowMs: number): ReadonlyArray<Fact> =>
  factsOf(advance(state, nowMs), subjects)

/** The one with the smallest share left: what one line of headers should tell. */
export const tightest = (all: ReadonlyArray<Fact>): Fact | undefined => {
  let found: Fact | undefined
  for (const fact of all) {
    if (found === undefined || fact.remaining / fact.burst < found.remaining / found.burst) found = fact
  }
  return found
}

export const keyCount = (state: State): number => Table.count(state.buckets)

/** When `Ticked` forgets something at the latest; null = there is nothing to forget. */
export const wakeAtMs = (state: State): number | null => DueIndex.nextMs(state.fullAt) ?? null

/** A clock that jumped back stands still until it has caught up. */
const advance = (state: State, nowMs: number): State =>
  nowMs > state.lastMs && nowMs < Number.POSITIVE_INFINITY ? { ...state, lastMs: nowMs } : state

interface Refusing {
  readonly key: string
  readonly name: string
  readonly waitMs: number | null
}

const requested = (state: State, { subjects, tokens }: Extract<Event, { _tag: "Requested" }>): Step => {
  const refuse = (reason: RefusalReason, tier: Refusing | null, retryAfterMs: number | null): Step => [
    state,
    [
      Command.Refuse({
        reason,
        tier: tier === null ? null : { key: tier.key, name: tier.name },
        retryAfterMs,
        facts: factsOf(state, subjects)
      })
    ]
  ]
  if (!(tokens >= 0 && tokens < Number.POSITIVE_INFINITY)) return refuse("cost-invalid", null, null)
  // All is taken from a copy, which is dropped when one refuses.
  let next: State | undefined = state
  let worst: Refusing | undefined
  for (const subject of subjects) {
    const used = usedOf(next ?? state, subject)
    worst = longer(worst, refusing(subject, used, tokens))
    if (worst !== undefined || next === undefined) continue
    const taken = used.map((units, index) => units + Tier.costOf(subject.tiers[index]!, tokens))
    next = put(next, subject, taken)
  }
  if (worst !== undefined) return refuse(worst.waitMs === null ? "too-large" : "exceeded", worst, worst.waitMs)
  if (next === undefined) {
    const roomAtMs = DueIndex.nextMs(state.fullAt)
    return refuse(
      "keys-exhausted",
      null,
      roomAtMs === undefined ? null : Math.max(1, Math.ceil(roomAtMs - state.lastMs))
    )
  }
  return [next, [Command.Admit({ facts: factsOf(next, subjects) })]]
}

/** The tier of this subject that makes it wait longest, if one does. */
const refusing = ({ key, tiers }: Subject, used: ReadonlyArray<number>, tokens: number): Refusing | undefined => {
  let worst: Refusing | undefined
  tiers.forEach((tier, index) => {
    const units = used[index]!
    const cost = Tier.costOf(tier, tokens)
    if (Tier.lets(tier, units, cost)) return
    worst = longer(worst, { key, name: tier.name, waitMs: Tier.waitMs(tier, units, cost) })
  })
  return worst
}

const longer = (one: Refusing | undefined, other: Refusing | undefined): Refusing | undefined => {
  if (one === undefined || other === undefined) return one ?? other
  return (other.waitMs ?? Number.POSITIVE_INFINITY) > (one.waitMs ?? Number.POSITIVE_INFINITY) ? other : one
}

const settled = (state: State, event: Extract<Event, { _tag: "Settled" }>): Step => {
  const missing = event.actualTokens - event.estimatedTokens
  if (!Number.isFinite(missing) || missing === 0) return [state, []]
  const commands: Array<Command> = []
  let next = state
  for (const subject of event.subjects) {
    const { key, tiers } = subject
    const forgive = (tier: Tier.Tier, units: number) =>
      commands.push(Command.CountForgiven({ key, tier: tier.name, units }))
    const trued = usedOf(next, subject).map((units, index) => {
      const tier = tiers[index]!
      if (tier.meter !== "tokens") return units
      const most = tier.burst + tier.debtMax
      if (units + missing > most) forgive(tier, units + missing - most)
      return Math.min(Math.max(units + missing, 0), most)
    })
    const written = put(next, subject, trued)
    if (written !== undefined) next = written
    else for (const tier of tiers) if (tier.meter === "tokens") forgive(tier, missing)
  }
  return [next, commands]
}

/** By index of the subject's tiers, now. */
const usedOf = (state: State, { key, tiers }: Subject): ReadonlyArray<number> => {
  const number = Table.find(state.buckets, key)
  const bucket = number === undefined ? undefined : Table.row(state.buckets, number)
  if (bucket === undefined) return tiers.map(() => 0)
  const elapsedMs = state.lastMs - bucket.atMs
  const now = bucket.used.map((units, index) => Tier.decay(bucket.tiers[index]!, units, elapsedMs))
  if (tiers === bucket.tiers) return now
  return tiers.map((tier) => now[bucket.tiers.findIndex(({ name }) => name === tier.name)] ?? 0)
}

/** Undefined: there is no room for another key. */
const put = (state: State, { key, tiers }: Subject, used: ReadonlyArray<number>): State | undefined => {
  let fullInMs = 0
  for (let index = 0; index < tiers.length; index++) {
    fullInMs = Math.max(fullInMs, Tier.resetMs(tiers[index]!, used[index]!))
  }
  if (fullInMs === 0) return drop(state, key)
  const { buckets, fullAt, options, lastMs } = state
  const bucket: Bucket = { key, tiers, used, atMs: lastMs, fullAtMs: lastMs + fullInMs }
  const number = Table.find(buckets, key)
  const old = number === undefined ? undefined : Table.row(buckets, number)
  if (number !== undefined && old !== undefined) {
    return {
      options,
      lastMs,
      buckets: Table.replace(buckets, number, bucket),
      fullAt: DueIndex.add(DueIndex.remove(fullAt, old.fullAtMs, number), bucket.fullAtMs, number)
    }
  }
  if (Table.count(buckets) >= options.keysMax) return undefined
  return {
    options,
    lastMs,
    buckets: Table.add(buckets, key, bucket),
    fullAt: DueIndex.add(fullAt, bucket.fullAtMs, buckets.next)
  }
}

const drop = (state: State, key: string): State => {
  const number = Table.find(state.buckets, key)
  const bucket = number === undefined ? undefined : Table.row(state.buckets, number)
  if (number === undefined || bucket === undefined) return state
  return {
    ...state,
    buckets: Table.drop(state.buckets, key, number),
    fullAt: DueIndex.remove(state.fullAt, bucket.fullAtMs, number)
  }
}

/** At least 1 at most. */
const forget = (state: State, most: number): State => {
  let next = state
  let left = most
  for (;;) {
    const due = DueIndex.due(next.fullAt, next.lastMs)
    if (due.length === 0) return next
    for (const number of due) {
      // What is in the index is in the table.
      next = drop(next, Table.row(next.buckets, number)!.key)
      left -= 1
      if (left <= 0) return next
    }
  }
}

const factsOf = (state: State, subjects: ReadonlyArray<Subject>): ReadonlyArray<Fact> =>
  subjects.flatMap((subject) => {
    const used = usedOf(state, subject)
    return subject.tiers.map((tier, index): Fact => {
      const { name, meter, limit, periodMs, burst } = tier
      const units = used[index]!
      const resetMs = Math.ceil(Tier.resetMs(tier, units))
      return {
        key: subject.key,
        tier: name,
        meter,
        limit,
        periodMs,
        burst,
        remaining: Tier.remaining(tier, units),
        resetMs
      }
    })
  })
