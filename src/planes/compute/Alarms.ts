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

/** What can be woken. Its fields are written by `Alarms` alone. */
export interface Alarmed {
  /** As it was set; null: it is not set. */
  alarmAtMs: number | null
  /** On the monotonic clock. */
  alarmDueMs: number
  /** Place in the heap; -1: it is not there. */
  alarmPlace: number
}

export const unset = (): Alarmed => ({ alarmAtMs: null, alarmDueMs: 0, alarmPlace: -1 })

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
  /** A binary heap by `alarmDueMs`. */
  const heap: Array<A> = []
  let sleeping: { readonly dueMs: number; readonly fiber: Fiber.Fiber<void> } | undefined
  const monotonicMs = () => Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000

  const put = (item: A, place: number) => {
    heap[place] = item
    item.alarmPlace = place
  }

  const rise = (item: A, from: number) => {
    let place = from
    while (place > 0) {
      const above = (place - 1) >> 1
      const parent = heap[above]!
      if (parent.alarmDueMs <= item.alarmDueMs) break
      put(parent, place)
      place = above
    }
    put(item, place)
  }

  const sink = (item: A, from: number) => {
    let place = from
    for (;;) {
      let below = 2 * place + 1
      if (below >= heap.length) break
      if (below + 1 < heap.length && heap[below + 1]!.alarmDueMs < heap[below]!.alarmDueMs) below += 1
      const child = heap[below]!
      if (child.alarmDueMs >= item.alarmDueMs) break
      put(child, place)
      place = below
    }
    put(item, place)
  }

  const remove = (item: A) => {
    const place = item.alarmPlace
    if (place < 0) return
    item.alarmPlace = -1
    // An item that is there makes the heap hold one at least.
    const last = heap.pop()!
    if (last === item) return
    rise(last, place)
    sink(last, last.alarmPlace)
  }

  const sleep = () => {
    const first = heap[0]
    // One that is too early wakes for nothing, once; a later one is not worth a new sleep.
    if (first === undefined || (sleeping !== undefined && sleeping.dueMs <= first.alarmDueMs)) return
    sleeping?.fiber.interruptUnsafe()
    const dueMs = first.alarmDueMs
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
    for (let first = heap[0]; first !== undefined && first.alarmDueMs <= untilMs; first = heap[0]) {
      const atMs = first.alarmAtMs ?? 0
      remove(first)
      first.alarmAtMs = null
      onDue(first, Math.max(atMs, clock.currentTimeMillisUnsafe()))
    }
    sleep()
  }

  return {
    set: (item, atMs) => {
      if (item.alarmAtMs === atMs) return
      remove(item)
      item.alarmAtMs = atMs
      if (atMs === null) return
      item.alarmDueMs = monotonicMs() + (atMs - clock.currentTimeMillisUnsafe())
      heap.push(item)
      rise(item, heap.length - 1)
      sleep()
    }
  }
}
