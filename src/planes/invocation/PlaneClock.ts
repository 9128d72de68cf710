/**
 * The one clock of a plane: anchored to the wall clock when the process starts, driven by the monotonic clock from then
 * on. A jump of the wall clock moves nothing, and a stored deadline still means something to the next process.
 *
 * @module
 */
import { performance } from "node:perf_hooks"

const anchorMs = Date.now() - performance.now()

/** Unix milliseconds with a fraction, never going backwards. */
export const nowMs = (): number => anchorMs + performance.now()

/** A reading of `performance.now()` of this process on the same scale. */
export const fromPerformanceNow = (value: number): number => anchorMs + value
