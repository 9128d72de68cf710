/**
 * The controller's clock and timers, so that a test can hold them in its hand.
 *
 * @module
 */

export interface ControllerTime {
  /** Unix ms at the start of the process, monotonic from then on: a jump of the wall clock moves nothing. */
  readonly nowMs: () => number
  /** Calls `run` once, not before `delayMs`; the answer cancels. Must not keep the process alive. */
  readonly after: (delayMs: number, run: () => void) => () => void
}

/** Beyond this a Node timer fires at once. */
const delayMsMax = 2_147_483_647

export const systemTime: ControllerTime = {
  nowMs: () => performance.timeOrigin + performance.now(),
  after: (delayMs, run) => {
    const timer = setTimeout(run, Math.min(delayMsMax, Math.max(0, Math.ceil(delayMs))))
    timer.unref()
    return () => clearTimeout(timer)
  }
}
