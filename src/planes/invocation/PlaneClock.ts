/**
 * The one clock of a plane: anchored to the wall clock when the process starts, driven by the monotonic clock from then
 * on. A jump of the wall clock moves nothing, and a stored deadline still means something to the next process.
 *
 * @module
 */
import { performance } from "node:perf_hooks"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

const anchorMs = Date.now() - performance.now()

/** Unix milliseconds with a fraction, never going backwards. */
export const nowMs = (): number => anchorMs + performance.now()

/** A reading of `performance.now()` of this process on the same scale. */
export const fromPerformanceNow = (value: number): number => anchorMs + value

/** The same clock for programs that ask Effect for the time; they sleep as before. */
export const effectClock = (clock: Clock.Clock): Clock.Clock => {
  const millis = () => Math.floor(nowMs())
  const nanos = () => BigInt(Math.floor(nowMs() * 1_000)) * 1_000n
  return {
    currentTimeMillisUnsafe: millis,
    currentTimeMillis: Effect.sync(millis),
    currentTimeNanosUnsafe: nanos,
    currentTimeNanos: Effect.sync(nanos),
    monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
    monotonicTimeNanos: clock.monotonicTimeNanos,
    sleep: (duration) => clock.sleep(duration)
  }
}
