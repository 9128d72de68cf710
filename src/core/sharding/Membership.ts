/**
 * Which processes serve together, and which of them each shard belongs to.
 *
 * Every member announces itself in a store that all watch, again and again; whoever has not been heard of for
 * `deadAfterMs` counts as gone until it is heard of again. No clock is compared with another's: a member counts from when,
 * on its own clock, it saw a newer announcement. Which shard is whose follows from who is there (rendezvous), so nobody
 * hands out shards and nothing of it is stored. That one alone acts is not decided here: for that there is the lease.
 *
 * Laws (`property-tests/Sharding.laws.test.ts`):
 * - M1 those who see the same members want each shard exactly once between them.
 * - M2 when a member goes, its shards alone move; when one comes, shards move to it alone.
 * - M3 the order in which members were seen does not matter.
 * - M4 who leaves wants nothing, and who was silent for too long is given nothing until it is heard of again.
 * - M5 a member that counts itself is never alone by mistake of its own: it is there as long as it does not leave.
 * - M6 what an owner that fell silent had goes to members that have watched for `heirAfterMs`, while there are any: one that
 *   came just now, or came back, has to watch the lease for its whole time before it may take it. Each says for how long it
 *   has, so that all agree: a shard that two leave to each other is nobody's.
 * - M7 while nothing at all is heard, not even of itself, it is the store that is silent: nobody goes for that, and the time
 *   counts for nobody when the store is back.
 * - M8 one that starts is sure of who is there before it counts itself: what it finds may be what the dead have left, and
 *   would be given what nobody takes.
 *
 * @module
 */
import { unreachable } from "../collections/invariant.ts"
import * as Rendezvous from "../placement/Rendezvous.ts"

/** One announcement, as it was seen. */
export interface Announcement {
  readonly memberId: string
  /** Of the store: grows with each announcement. */
  readonly revision: number
  /** It hands over what it has and takes nothing. */
  readonly isLeaving: boolean
  /** For how long it had watched what the others own, as it says itself; see `watchesForMs`. */
  readonly watchesForMs: number
}

interface Seen {
  readonly revision: number
  readonly isLeaving: boolean
  /** In time in which something was heard. */
  readonly atMs: number
  /** It has watched since, in the same time. */
  readonly sinceMs: number
  /** When it was found at the start, by the clock; undefined: it was heard since. */
  readonly foundMs: number | undefined
}

export interface State {
  readonly me: string
  /** Never blind since. */
  readonly sinceMs: number
  readonly isLeaving: boolean
  readonly others: ReadonlyMap<string, Seen>
  /** When anything was heard last, itself included, and the newest of it. */
  readonly heardMs: number
  readonly heardRevision: number
  /** How long the store was silent so far. */
  readonly blindMs: number
}

export type Event =
  | {
      readonly _tag: "Announced"
      readonly nowMs: number
      readonly announcement: Announcement
      /** It was there at the start, for nobody knows how long: it counts for `blindAfterMs`. */
      readonly isFound: boolean
    }
  /** Its announcement was taken back: it left in order. */
  | { readonly _tag: "Removed"; readonly memberId: string; readonly revision: number }
  /** This one leaves. */
  | { readonly _tag: "LeaveWanted" }

export interface Options {
  /** Some announcements may be late or lost before a member counts as gone. */
  readonly deadAfterMs: number
  /** Not below the ttl of what is owned. */
  readonly heirAfterMs: number
  /** Above the time between two announcements of one member, as it hears its own; with that below `deadAfterMs`. */
  readonly blindAfterMs: number
}

/** `sinceMs`: from when on it watches what the others own. */
export const make = (me: string, sinceMs: number): State => ({
  me,
  sinceMs,
  isLeaving: false,
  others: new Map(),
  heardMs: sinceMs,
  heardRevision: 0,
  blindMs: 0
})

export const step = (options: Options, state: State, event: Event): State => {
  switch (event._tag) {
    case "Announced":
      return announced(options, state, event)
    case "Removed": {
      const known = state.others.get(event.memberId)
      if (known === undefined || known.revision > event.revision) return state
      const others = new Map(state.others)
      others.delete(event.memberId)
      return { ...state, others }
    }
    case "LeaveWanted":
      return state.isLeaving ? state : { ...state, isLeaving: true }
    default:
      return unreachable(event)
  }
}

const announced = (
  { blindAfterMs }: Options,
  state: State,
  { nowMs, announcement, isFound }: Extract<Event, { readonly _tag: "Announced" }>
): State => {
  const { memberId, revision, isLeaving, watchesForMs } = announcement
  const known = state.others.get(memberId)
  // Seen again is not announced again.
  if (revision <= (memberId === state.me ? state.heardRevision : (known?.revision ?? 0))) return state
  const silentMs = nowMs - state.heardMs
  const blindMs = state.blindMs + (silentMs > blindAfterMs ? silentMs : 0)
  const atMs = nowMs - blindMs
  // What it knew of leases is old, as it is for one that was silent.
  const sinceMs = blindMs > state.blindMs ? atMs : state.sinceMs
  const heard = { ...state, sinceMs, heardMs: nowMs, heardRevision: Math.max(revision, state.heardRevision), blindMs }
  if (memberId === state.me) return heard
  const seen = { revision, isLeaving, atMs, sinceMs: atMs - watchesForMs, foundMs: isFound ? nowMs : undefined }
  return { ...heard, others: new Map(state.others).set(memberId, seen) }
}

/** How much of the time until now one could have heard of others. M7. */
const watchedMs = ({ blindAfterMs }: Options, { heardMs, blindMs }: State, nowMs: number): number =>
  Math.min(nowMs, heardMs + blindAfterMs) - blindMs

/** For how long this one has watched what the others own; 0 while it hears nothing. */
export const watchesForMs = (options: Options, state: State, nowMs: number): number =>
  nowMs - state.heardMs > options.blindAfterMs ? 0 : watchedMs(options, state, nowMs) - state.sinceMs

/** M8: each that was found at the start was heard since, or counts as gone. */
export const isSure = (options: Options, state: State, nowMs: number): boolean =>
  [...state.others].every(
    ([memberId, { foundMs }]) => foundMs === undefined || !isHeard(options, state, memberId, nowMs)
  )

/** Those who take shards, in order of their ids. */
export const members = (options: Options, state: State, nowMs: number): ReadonlyArray<string> => {
  const found = state.isLeaving ? [] : [state.me]
  for (const [memberId, { isLeaving }] of state.others) {
    if (!isLeaving && isHeard(options, state, memberId, nowMs)) found.push(memberId)
  }
  return found.sort()
}

/** Those among them who take what a silent one had. M6. */
export const heirs = (options: Options, state: State, nowMs: number): ReadonlyArray<string> => {
  const found = members(options, state, nowMs)
  const since = (id: string) => state.others.get(id)?.sinceMs ?? state.sinceMs
  const settled = found.filter((id) => watchedMs(options, state, nowMs) - since(id) >= options.heirAfterMs)
  return settled.length > 0 ? settled : found
}

/** Whether it was heard of lately; who leaves still serves what it has not handed over yet. */
export const isHeard = (options: Options, state: State, memberId: string, nowMs: number): boolean => {
  if (memberId === state.me) return true
  const seen = state.others.get(memberId)
  if (seen === undefined) return false
  if (seen.foundMs !== undefined) return nowMs - seen.foundMs < options.blindAfterMs
  return watchedMs(options, state, nowMs) - seen.atMs < options.deadAfterMs
}

/** Undefined: nobody is there. */
export const ownerOf = (shard: string, among: ReadonlyArray<string>): string | undefined => {
  let owner: string | undefined
  let greatest = Number.NEGATIVE_INFINITY
  for (const memberId of among) {
    const draw = Rendezvous.draw(shard, memberId)
    // Ids decide between equal draws, whatever the order.
    if (draw < greatest || (draw === greatest && owner !== undefined && memberId > owner)) continue
    greatest = draw
    owner = memberId
  }
  return owner
}

/** When the next member counts as gone, unless it is heard of before, or the store falls silent. */
export const nextDeathMs = (options: Options, state: State, nowMs: number): number => {
  const untilMs = watchedMs(options, state, Number.POSITIVE_INFINITY)
  let next = Number.POSITIVE_INFINITY
  for (const { atMs, foundMs } of state.others.values()) {
    const diesAtMs = atMs + options.deadAfterMs
    const atClockMs = foundMs === undefined ? diesAtMs + state.blindMs : foundMs + options.blindAfterMs
    const isAhead = atClockMs > nowMs && (foundMs !== undefined || diesAtMs <= untilMs)
    if (isAhead) next = Math.min(next, atClockMs)
  }
  return next
}

/** Announcements of members that have been silent for so long may be removed from the store. */
export const forgotten = (options: Options, state: State, nowMs: number, silentMs: number): ReadonlyArray<string> =>
  [...state.others]
    .filter(([, { atMs }]) => watchedMs(options, state, nowMs) - atMs >= silentMs)
    .map(([memberId]) => memberId)
