/**
 * Time that a test moves by hand.
 *
 * @module
 */
import type { Timer, WorkerClock } from "../WorkerClock.ts"

export interface VirtualClock extends WorkerClock {
  /** Moves time on and runs what is due, in order of time; settles when what that set off has had its turn. */
  readonly advance: (ms: number) => Promise<void>
}

interface Due {
  readonly atMs: number
  readonly run: () => void
}

/** Lets promises and the in-memory connection go as far as they can without time. */
export const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 8; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** `startMs`: Unix ms that it begins at. */
export const makeVirtualClock = (startMs = 1_700_000_000_000): VirtualClock => {
  let nowMs = startMs
  const due = new Set<Due>()
  return {
    nowMs: () => nowMs,
    after: (delayMs, run): Timer => {
      const entry = { atMs: nowMs + Math.max(0, delayMs), run }
      due.add(entry)
      return { cancel: () => void due.delete(entry) }
    },
    advance: async (ms) => {
      const untilMs = nowMs + ms
      await settle()
      for (;;) {
        const next = [...due].filter((entry) => entry.atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0]
        if (next === undefined) break
        due.delete(next)
        nowMs = next.atMs
        next.run()
        await settle()
      }
      nowMs = untilMs
    }
  }
}
