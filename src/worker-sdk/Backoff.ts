/**
 * When to try again: full delays double up to a cap, each cut by chance so that workers of a restarted plane do not come
 * back all at once.
 *
 * B1: no delay exceeds `capMs`. B2: only a connection that stood for `healthyMs` starts the count anew, so one that is
 * accepted and dropped at once still backs off.
 *
 * @module
 */
const baseMs = 100
const capMs = 5000
const healthyMs = 10_000

export interface Backoff {
  readonly attempts: number
  readonly connectedAtMs: number | undefined
}

export const fresh: Backoff = { attempts: 0, connectedAtMs: undefined }

export const connected = (backoff: Backoff, nowMs: number): Backoff => ({ ...backoff, connectedAtMs: nowMs })

/** `chance`: 0 up to but not 1. */
export const failed = (
  backoff: Backoff,
  nowMs: number,
  chance: number
): { readonly backoff: Backoff; readonly delayMs: number } => {
  const wasHealthy = backoff.connectedAtMs !== undefined && nowMs - backoff.connectedAtMs >= healthyMs
  const attempts = wasHealthy ? 0 : backoff.attempts
  const fullMs = Math.min(capMs, baseMs * 2 ** Math.min(attempts, 16))
  return {
    backoff: { attempts: attempts + 1, connectedAtMs: undefined },
    delayMs: fullMs * (0.5 + chance / 2)
  }
}
