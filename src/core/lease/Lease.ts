/**
 * Ownership of a thing (a shard, the leadership) by one of several processes, over a store that has nothing but
 * compare-and-set. Each grant has an epoch, greater than all before it: what an owner writes elsewhere carries it, so
 * that a deposed one is refused there too.
 *
 * No clock is compared with another's: a challenger waits until it has seen the same revision for a whole ttl on its
 * own clock; an owner counts its ttl from when, on its own clock, it sent the write that is in the store, and stops
 * `marginMs` earlier. That time is in the record, so a write that lands late is known for what it is.
 *
 * Laws (`property-tests/Lease.laws.test.ts`), while clocks run at rates that differ by less than marginMs per ttlMs:
 * - E1 at most one process acts at any moment.
 * - E2 the epoch strictly grows with each grant, whatever writes were lost, late or unknown.
 * - E3 it stops acting before it asks to release, and at the end of its ttl without being told.
 * - E4 when the faults are over, one of those who want it has it within three ttl.
 *
 * @module
 */
import * as Data from "effect/Data"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { unreachable } from "../collections/invariant.ts"

/** What the store holds under the key of the thing. Never deleted, or epochs would begin anew. */
export const Record = Schema.Struct({
  epoch: Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)),
  /** Unique for each life of a process; null = free. */
  holder: Schema.NullOr(Schema.String),
  ttlMs: Schema.Int.check(Schema.isGreaterThanOrEqualTo(1)),
  /** On the holder's clock; means nothing to another. */
  sentAtMs: Schema.Finite
})
export type Record = typeof Record.Type

const json = Schema.fromJsonString(Record)
export const encode: (record: Record) => string = Schema.encodeSync(json)
const decodeResult = Schema.decodeUnknownResult(json)

/** Undefined: not a record of ours. */
export const decode = (text: string): Record | undefined => {
  const result = decodeResult(text)
  return Result.isSuccess(result) ? result.success : undefined
}

export interface Options {
  readonly me: string
  readonly ttlMs: number
  /** Between renewals; a third of the ttl leaves room for two that fail. */
  readonly renewMs: number
  readonly marginMs: number
}

/** A record as seen in the store; `revision` 0 and no record: the key does not exist. */
export interface Seen {
  readonly record: Record | null
  readonly revision: number
}

/** What a gapless watch has shown of it last, and since when, on this clock, nothing newer came. */
export interface Watched {
  readonly seen: Seen
  readonly sinceMs: number
}

export type State = Data.TaggedEnum<{
  /** Does not want it. */
  Idle: { readonly sinceMs: number; readonly newestRevision: number }
  /** Wants it and has not read yet. */
  Unread: { readonly askedAtMs: number; readonly newestRevision: number }
  /** Free, or another's: since `seenAtMs` at this revision. */
  Watching: { readonly seen: Seen; readonly seenAtMs: number }
  /** Its write is under way, or nobody knows what became of it. */
  Acquiring: { readonly seen: Seen; readonly seenAtMs: number; readonly epoch: number; readonly sentAtMs: number }
  Holding: {
    readonly epoch: number
    readonly revision: number
    /** Others leave it alone until then. */
    readonly untilMs: number
    readonly renewAtMs: number
  }
}>
export const State = Data.taggedEnum<State>()

export type Event = Data.TaggedEnum<{
  /** `watched`: it was watched before it was wanted, so the time that passed meanwhile counts. */
  Wanted: { readonly nowMs: number; readonly watched?: Watched | undefined }
  ReleaseWanted: { readonly nowMs: number }
  /** By a read or a watch. */
  Seen: { readonly nowMs: number; readonly seen: Seen }
  /** Answers to `CompareAndSet`: done, another revision was there, or nobody can tell. */
  Written: { readonly nowMs: number; readonly seen: Seen }
  Refused: { readonly nowMs: number }
  WriteUnknown: { readonly nowMs: number }
  Ticked: { readonly nowMs: number }
}>
export const Event = Data.taggedEnum<Event>()

export type Command = Data.TaggedEnum<{
  Read: { readonly atMs: number }
  CompareAndSet: { readonly record: Record; readonly expectedRevision: number }
  Gained: { readonly epoch: number }
  /** Stop acting now. */
  Lost: { readonly epoch: number; readonly reason: string }
}>
export const Command = Data.taggedEnum<Command>()

type Step = readonly [State, ReadonlyArray<Command>]

/** `newestRevision`: the newest it has seen in this life of the process. Older ones that still come are of the past. */
export const idle = (nowMs: number, newestRevision = 0): State => State.Idle({ sinceMs: nowMs, newestRevision })

export const step = (options: Options, state: State, event: Event): Step => {
  switch (state._tag) {
    case "Idle":
      return event._tag === "Wanted" ? stepWanted(options, state, event) : [state, []]
    case "Unread":
      return stepUnread(options, state, event)
    case "Watching":
      return stepWatching(options, state, event)
    case "Acquiring":
      return stepAcquiring(options, state, event)
    case "Holding":
      return stepHolding(options, state, event)
    default:
      return unreachable(state)
  }
}

/** Whether it may act as the owner at this moment: ask before each act. */
export const isActing = (options: Options, state: State, nowMs: number): boolean =>
  state._tag === "Holding" && nowMs < state.untilMs - options.marginMs

/** When `Ticked` has something to do at the latest. */
export const wakeAtMs = (options: Options, state: State): number =>
  State.$match(state, {
    Idle: () => Number.POSITIVE_INFINITY,
    Unread: ({ askedAtMs }) => askedAtMs + options.renewMs,
    Watching: ({ seen, seenAtMs }) => freeAtMs(options, seen, seenAtMs),
    Acquiring: ({ sentAtMs }) => sentAtMs + options.renewMs,
    Holding: ({ untilMs, renewAtMs }) => Math.min(untilMs - options.marginMs, renewAtMs)
  })

type Of<Tag extends State["_tag"]> = Extract<State, { readonly _tag: Tag }>

const stepWanted = (
  options: Options,
  { newestRevision }: Of<"Idle">,
  { nowMs, watched }: Extract<Event, { readonly _tag: "Wanted" }>
): Step => {
  // A watch that is behind what this process itself has seen knows less than a read.
  if (watched === undefined || watched.seen.revision < newestRevision) return ask(nowMs, newestRevision)
  const state: Of<"Watching"> = { _tag: "Watching", seen: watched.seen, seenAtMs: Math.min(watched.sinceMs, nowMs) }
  return nowMs >= freeAtMs(options, state.seen, state.seenAtMs) ? acquire(options, state, nowMs) : [state, []]
}

const stepUnread = (options: Options, state: Of<"Unread">, event: Event): Step => {
  const { newestRevision } = state
  if (event._tag === "ReleaseWanted") return [idle(event.nowMs, newestRevision), []]
  if (event._tag === "Seen") {
    // An old read would let it take its own last grant, with its epoch, for a new one.
    return event.seen.revision < newestRevision ? [state, []] : watch(options, event.seen, event.nowMs)
  }
  if (event._tag === "Ticked" && event.nowMs >= state.askedAtMs + options.renewMs) {
    return ask(event.nowMs, newestRevision)
  }
  return [state, []]
}

const stepWatching = (options: Options, state: Of<"Watching">, event: Event): Step => {
  if (event._tag === "ReleaseWanted") return [idle(event.nowMs, state.seen.revision), []]
  if (event._tag === "Seen") {
    // Seen again is not renewed; seen late is not new.
    return event.seen.revision > state.seen.revision ? watch(options, event.seen, event.nowMs) : [state, []]
  }
  if (event._tag === "Ticked" && event.nowMs >= freeAtMs(options, state.seen, state.seenAtMs)) {
    return acquire(options, state, event.nowMs)
  }
  return [state, []]
}

const stepAcquiring = (options: Options, state: Of<"Acquiring">, event: Event): Step => {
  const { nowMs } = event
  switch (event._tag) {
    case "Written":
    case "Seen": {
      if (event.seen.revision <= state.seen.revision) return [state, []]
      const { record } = event.seen
      if (!isMine(options, record, state.epoch)) return watch(options, event.seen, nowMs)
      return gain(options, record, { nowMs, revision: event.seen.revision })
    }
    case "Refused":
    case "WriteUnknown":
      return [state, [Command.Read({ atMs: nowMs })]]
    case "Ticked": {
      if (nowMs < state.sentAtMs + options.renewMs) return [state, []]
      // At the same revision: of the two at most one happens.
      const again = compareAndSet(options, { epoch: state.epoch, sentAtMs: nowMs }, state.seen.revision)
      return [{ ...state, sentAtMs: nowMs }, [again, Command.Read({ atMs: nowMs })]]
    }
    case "ReleaseWanted":
      // Should the write still happen, it runs out by itself.
      return [idle(nowMs, state.seen.revision), []]
    case "Wanted":
      return [state, []]
    default:
      return unreachable(event)
  }
}

const stepHolding = (options: Options, state: Of<"Holding">, event: Event): Step => {
  const { nowMs } = event
  switch (event._tag) {
    case "Written":
    case "Seen": {
      const { record, revision } = event.seen
      const by = record?.holder ?? "nobody"
      if (revision <= state.revision) return [state, []]
      if (isMine(options, record, state.epoch)) {
        return [{ ...state, revision, untilMs: Math.max(state.untilMs, record.sentAtMs + record.ttlMs) }, []]
      }
      return lose(state, event.seen, { nowMs, reason: `${by} holds it now` })
    }
    case "Refused":
    case "WriteUnknown":
      return [state, [Command.Read({ atMs: nowMs })]]
    case "Ticked": {
      if (nowMs >= state.untilMs - options.marginMs) {
        return lose(state, asSeen(options, state, nowMs), { nowMs, reason: "it could not be renewed in time" })
      }
      if (nowMs < state.renewAtMs) return [state, []]
      return [
        { ...state, renewAtMs: nowMs + options.renewMs },
        [compareAndSet(options, { epoch: state.epoch, sentAtMs: nowMs }, state.revision)]
      ]
    }
    case "ReleaseWanted":
      return [
        idle(nowMs, state.revision),
        [
          Command.Lost({ epoch: state.epoch, reason: "released" }),
          Command.CompareAndSet({
            record: { epoch: state.epoch, holder: null, ttlMs: options.ttlMs, sentAtMs: nowMs },
            expectedRevision: state.revision
          })
        ]
      ]
    case "Wanted":
      return [state, []]
    default:
      return unreachable(event)
  }
}

const ask = (nowMs: number, newestRevision: number): Step => [
  State.Unread({ askedAtMs: nowMs, newestRevision }),
  [Command.Read({ atMs: nowMs })]
]

/** A free one is taken at once. */
const watch = (options: Options, seen: Seen, nowMs: number): Step =>
  stepWanted(
    options,
    { _tag: "Idle", sinceMs: nowMs, newestRevision: 0 },
    Event.Wanted({ nowMs, watched: { seen, sinceMs: nowMs } })
  )

/** Its own of before, which it lost: nobody else acts under it, and none did while it is the newest. */
const freeAtMs = ({ me }: Options, { record }: Seen, seenAtMs: number): number =>
  record === null || record.holder === null || record.holder === me ? seenAtMs : seenAtMs + record.ttlMs

const acquire = (options: Options, { seen, seenAtMs }: Of<"Watching">, nowMs: number): Step => {
  const epoch = (seen.record?.epoch ?? 0) + 1
  return [
    State.Acquiring({ seen, seenAtMs, epoch, sentAtMs: nowMs }),
    [compareAndSet(options, { epoch, sentAtMs: nowMs }, seen.revision)]
  ]
}

const compareAndSet = (
  { me, ttlMs }: Options,
  grant: { readonly epoch: number; readonly sentAtMs: number },
  expectedRevision: number
): Command => Command.CompareAndSet({ record: { ...grant, holder: me, ttlMs }, expectedRevision })

const isMine = ({ me }: Options, record: Record | null, epoch: number): record is Record =>
  record !== null && record.holder === me && record.epoch === epoch

const gain = (
  options: Options,
  record: Record,
  { nowMs, revision }: { readonly nowMs: number; readonly revision: number }
): Step => {
  const { epoch, sentAtMs, ttlMs } = record
  const holding = State.Holding({ epoch, revision, untilMs: sentAtMs + ttlMs, renewAtMs: sentAtMs + options.renewMs })
  if (isActing(options, holding, nowMs)) return [holding, [Command.Gained({ epoch })]]
  // It came so late that it is over already: ours like another's, to be waited for.
  return [State.Watching({ seen: { record, revision }, seenAtMs: nowMs }), []]
}

const asSeen = ({ me, ttlMs }: Options, { epoch, revision }: Of<"Holding">, nowMs: number): Seen => ({
  record: { epoch, holder: me, ttlMs, sentAtMs: nowMs },
  revision
})

const lose = (
  state: Of<"Holding">,
  seen: Seen,
  { nowMs, reason }: { readonly nowMs: number; readonly reason: string }
): Step => [
  State.Watching({ seen, seenAtMs: nowMs }),
  [Command.Lost({ epoch: state.epoch, reason }), Command.Read({ atMs: nowMs })]
]
