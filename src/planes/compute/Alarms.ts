/**
 * One timer for all things that have a time at which something must be done about them: an agent has thousands of start
 * deadlines, most of which are met long before they are due.
 *
 * Times are of the clock that `now` reads, and kept as distances on the monotonic one: a wall clock that is set rings
 * nothing early and nothing late.
 *
 * Laws (`Alarms.test.ts`): N1 each rings once, not before its time, in the order of their times. N2 one that was put off or taken back
 * does not ring at its old time.
 *
 * @module
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as DueHeap from "../../core/collections/DueHeap.ts"

/** What can be woken; it is due by the monotonic clock. Its fields are written by `Alarms` alone. */
export interface Alarmed extends DueHeap.Due {
  /** As it was set; null: it is not set. */
  alarmAtMs: number | null
}

export const unset = (): Alarmed => ({ ...DueHeap.unset(), alarmAtMs: null })

export interface Alarms<A extends Alarmed> {
  /** Wall clock, Unix ms; null takes it back. */
  readonly set: (item: A, atMs: number | null) => void
}

export interface AlarmsOptions<A extends Alarmed> {
  readonly clock: Clock.Clock
  /** Runs it until it ends or whoever made the alarms does. */
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  /** It is due, and not set any more. `nowMs`: never before the time that was set, whatever the wall clock says. */
  readonly onDue: (item: A, nowMs: number) => void
}

export const make = <A extends Alarmed>({ clock, fork, onDue }: AlarmsOptions<A>): Alarms<A> => {
  const heap = new DueHeap.DueHeap<A>()
  let sleeping: { readonly dueMs: number; readonly fiber: Fiber.Fiber<void> } | undefined
  const monotonicMs = () => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000

  const sleep = () => {
    const first = heap.first
    // One that is too early wakes for nothing, once; a later one is not worth a new sleep.
    if (first === undefined || (sleeping !== undefined && sleeping.dueMs <= first.dueMs)) return
    sleeping?.fiber.interruptUnsafe()
    const dueMs = first.dueMs
    // Never no time at all: a sleep that is over at once would ring before it is known that somebody sleeps.
    const fiber = fork(
      Effect.andThen(
        Effect.sleep(Math.max(1, dueMs - monotonicMs())),
        Effect.sync(() => ring(dueMs))
      )
    )
    sleeping = { dueMs, fiber }
  }

  const ring = (sleptUntilMs: number) => {
    sleeping = undefined
    // The sleep was as long as it had to be, whatever is left of it after rounding.
    const untilMs = Math.max(sleptUntilMs, monotonicMs())
    for (let first = heap.first; first !== undefined && first.dueMs <= untilMs; first = heap.first) {
      const atMs = first.alarmAtMs ?? 0
      heap.remove(first)
      first.alarmAtMs = null
      onDue(first, Math.max(atMs, clock.currentTimeMillisUnsafe()))
    }
    sleep()
  }

  return {
    set: (item, atMs) => {
      if (item.alarmAtMs === atMs) return
      item.alarmAtMs = atMs
      if (atMs === null) return heap.remove(item)
      heap.set(item, monotonicMs() + (atMs - clock.currentTimeMillisUnsafe()))
      sleep()
    }
  }
}
