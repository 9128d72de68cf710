/**
 * Leases gone wrong on purpose: each has one bug that a named law must kill.
 *
 * @module
 */
import * as Lease from "../../src/core/lease/Lease.ts"

/** A machine under test: what the laws need of `Lease`. */
export interface Leases {
  readonly step: typeof Lease.step
  readonly isActing: typeof Lease.isActing
}

export const sound: Leases = { step: Lease.step, isActing: Lease.isActing }

/** An owner until somebody says that it is not. */
export const ownsUntilTold: Leases = { ...sound, isActing: (_, state) => state._tag === "Holding" }

/** Counts its time from the answer and not from the asking. */
export const countsFromAnswer: Leases = {
  ...sound,
  step: (options, state, event) => {
    const [next, commands] = Lease.step(options, state, event)
    const isAnswer = event._tag === "Written" || event._tag === "Seen"
    if (next._tag !== "Holding" || next === state || !isAnswer) return [next, commands]
    return [{ ...next, untilMs: event.nowMs + options.ttlMs }, commands]
  }
}

/** Takes half a ttl of silence for the end of another. */
export const impatient: Leases = {
  ...sound,
  step: (options, state, event) => {
    const [next, commands] = Lease.step(options, state, event)
    if (next._tag !== "Watching" || next === state) return [next, commands]
    return [{ ...next, seenAtMs: next.seenAtMs - options.ttlMs / 2 }, commands]
  }
}

/** Takes what it watched for as long as it likes as free. */
export const believesItsWatchSaysAll: Leases = {
  ...sound,
  step: (options, state, event) =>
    event._tag === "Wanted" && event.watched !== undefined
      ? Lease.step(options, state, {
          ...event,
          watched: { ...event.watched, sinceMs: event.nowMs - 2 * options.ttlMs }
        })
      : Lease.step(options, state, event)
}

/** The same epoch for each owner. */
export const oneEpoch: Leases = {
  ...sound,
  step: (options, state, event) => {
    const [next, commands] = Lease.step(options, state, event)
    return [
      next._tag === "Acquiring" ? { ...next, epoch: 1 } : next,
      commands.map((command) =>
        command._tag === "CompareAndSet" ? { ...command, record: { ...command.record, epoch: 1 } } : command
      )
    ]
  }
}

/** Takes what a slow read tells for how things are, when it has seen newer. */
export const believesOldReads: Leases = {
  ...sound,
  step: (options, state, event) => {
    const [next, commands] = Lease.step(options, state, event)
    return [next._tag === "Idle" || next._tag === "Unread" ? { ...next, newestRevision: 0 } : next, commands]
  }
}

/** Gives it away first, and stops then. */
export const releasesFirst: Leases = {
  ...sound,
  step: (options, state, event) => {
    const [next, commands] = Lease.step(options, state, event)
    return event._tag === "ReleaseWanted" ? [next, [...commands].reverse()] : [next, commands]
  }
}

/** Waits for the answer to its write, and if it takes for ever. */
export const asksOnce: Leases = {
  ...sound,
  step: (options, state, event) =>
    state._tag === "Acquiring" && event._tag === "Ticked" ? [state, []] : Lease.step(options, state, event)
}

/** Holds it and does not renew. */
export const neverRenews: Leases = {
  ...sound,
  step: (options, state, event) => {
    const [next, commands] = Lease.step(options, state, event)
    if (state._tag !== "Holding" || next._tag !== "Holding") return [next, commands]
    return [next, commands.filter(({ _tag }) => _tag !== "CompareAndSet")]
  }
}

/** Nobody said no. */
export const takesUnknownForWritten: Leases = {
  ...sound,
  step: (options, state, event) => {
    if (event._tag !== "WriteUnknown" || state._tag !== "Acquiring") return Lease.step(options, state, event)
    const { nowMs } = event
    const record = { epoch: state.epoch, holder: options.me, ttlMs: options.ttlMs, sentAtMs: state.sentAtMs }
    return Lease.step(
      options,
      state,
      Lease.Event.Written({ nowMs, seen: { record, revision: state.seen.revision + 1 } })
    )
  }
}

/** Nobody said yes. */
export const givesUp: Leases = {
  ...sound,
  step: (options, state, event) =>
    event._tag === "WriteUnknown" && state._tag === "Holding"
      ? [Lease.idle(event.nowMs), [Lease.Command.Lost({ epoch: state.epoch, reason: "its write failed" })]]
      : Lease.step(options, state, event)
}
