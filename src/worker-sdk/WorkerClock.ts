/**
 * Time as the worker sees it, so that tests can hold it.
 *
 * @module
 */
export interface Timer {
  readonly cancel: () => void
}

export interface WorkerClock {
  /** Unix time in milliseconds as it was at the start, driven by the monotonic clock from then on. */
  readonly nowMs: () => number
  /** Runs once after `delayMs`. */
  readonly after: (delayMs: number, run: () => void) => Timer
}

/** setTimeout fires at once for a delay beyond 31 bits. */
const delayMsMax = 2 ** 31 - 1

const anchorMs = Date.now() - performance.now()

export const systemClock: WorkerClock = {
  nowMs: () => anchorMs + performance.now(),
  after: (delayMs, run) => {
    const timer = setTimeout(run, Math.min(Math.max(delayMs, 0), delayMsMax))
    return { cancel: () => clearTimeout(timer) }
  }
}
