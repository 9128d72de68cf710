/**
 * Waits for a fact instead of sleeping for luck.
 *
 * @module
 */
import { readFileSync } from "node:fs"
import * as Effect from "effect/Effect"

/** Looks every 5 ms until `look` answers something; dies after `deadlineMs` and says what was seen last. */
export const waitFor = <A>(
  what: string,
  look: () => A | undefined | false,
  seen: () => unknown = () => "nothing",
  deadlineMs = 60_000
): Effect.Effect<A> =>
  Effect.promise(async () => {
    const until = Date.now() + deadlineMs
    for (;;) {
      const found = look()
      if (found !== undefined && found !== false) return found
      if (Date.now() > until) {
        throw new Error(`waited ${deadlineMs} ms for: ${what}; seen: ${JSON.stringify(seen())}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  })

/** A zombie counts as gone: nothing of it runs. */
export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  return !isZombie(pid)
}

const isZombie = (pid: number): boolean => {
  try {
    return / Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8").replace(/\(.*\)/, ""))
  } catch {
    return false
  }
}
