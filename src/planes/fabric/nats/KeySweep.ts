/**
 * Removes what is left of keys that were removed long ago: the mark of the deletion, and the history under it.
 *
 * Laws: X1 a key that was put again keeps everything: only what is not behind the mark goes. X2 a mark stays for as long as
 * a watcher may lag.
 *
 * @module
 */
import { Follower } from "./Follower.ts"
import * as NatsFailure from "./NatsFailure.ts"
import { NatsFailureError } from "./NatsFailureError.ts"
import { keyStream } from "./Streams.ts"
import type { Supervisor } from "./Supervisor.ts"

/** How long a mark stays, and how often they are looked for. */
export const keptMs = 3_600_000

interface Mark {
  readonly subject: string
  readonly sequence: number
}

/** Of removed keys, the last message each; stored at least `ageMs` ago. */
const marks = (supervisor: Supervisor, ageMs: number): Promise<ReadonlyArray<Mark>> =>
  new Promise((resolve, reject) => {
    const { prefix, unknownLimitMs } = supervisor.options
    // The age is by two clocks; that of the server stamps, and an hour more or less harms nothing.
    const newestMs = Date.now() - ageMs
    const found = new Map<string, Mark>()
    const end = (act: () => void) => {
      clearTimeout(limit)
      queueMicrotask(() => follower.stop())
      act()
    }
    const limit = setTimeout(
      () => end(() => reject(new NatsFailureError({ _tag: "Unknown", reason: "the keys did not come" }))),
      unknownLimitMs
    )
    const follower = new Follower(supervisor, {
      stream: keyStream(prefix).name,
      filter: `$KV.${prefix}.>`,
      onMessage: ({ subject, sequence, storedAtMs, header }) => {
        if (header("KV-Operation") === undefined || storedAtMs > newestMs) found.delete(subject)
        else found.set(subject, { subject, sequence })
      },
      onCaughtUp: () => end(() => resolve([...found.values()])),
      report: () => undefined
    })
    follower.started.catch((error: unknown) => end(() => reject(error)))
  })

/** Answers how many keys were swept. */
export const run = async (supervisor: Supervisor, ageMs: number): Promise<number> => {
  const old = await marks(supervisor, ageMs)
  let swept = 0
  for (const { subject, sequence } of old) {
    if (supervisor.isClosed) break
    try {
      // X1: up to the mark and not behind it.
      const filter = { filter: subject, seq: sequence + 1 }
      await supervisor.link.manager.streams.purge(keyStream(supervisor.options.prefix).name, filter)
      swept += 1
    } catch (error) {
      if (!NatsFailure.mayPass(NatsFailure.of(error))) throw error
      // The next sweep finds it.
      break
    }
  }
  return swept
}
