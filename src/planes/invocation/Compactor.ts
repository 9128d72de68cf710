/**
 * Keeps the replay of a shard's log short: a snapshot of the serving shard each time that enough was written, a part at a
 * time between what the shard does, and the log before it is freed.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as CrashPoint from "../CrashPoint.ts"
import type { Log } from "../fabric/Log.ts"
import type { Shard } from "./Shard.ts"
import * as ShardSnapshot from "./ShardSnapshot.ts"

export interface CompactOptions {
  /** Records after the last snapshot that make a new one worth its write. Default 20,000. */
  readonly afterRecords: number
  /** Between two looks. Default 5,000. */
  readonly checkMs: number
}

const defaults: CompactOptions = { afterRecords: 20_000, checkMs: 5_000 }

/** Lets everything that waits in the event loop go first. */
const rest = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Fewer records than this after the last snapshot are read faster than a snapshot is written. */
const worthwhileRecords = 500

export const make = (init: {
  readonly log: Log["Service"]
  readonly shard: Shard
  /** Records that the last start had to replay: no snapshot has them. */
  readonly replayedCount: number
  readonly options: Partial<CompactOptions>
  readonly onDefect: (error: unknown) => void
}) => {
  const { log, shard, onDefect } = init
  const { afterRecords, checkMs } = { ...defaults, ...init.options }
  let compactedTo = shard.logPosition - init.replayedCount
  const compactAfter = (records: number) =>
    Effect.gen(function* () {
      if (shard.logPosition - compactedTo < records) return
      const frozen = shard.freeze()
      if (frozen === undefined) return
      const { state, position } = frozen
      const entryOf = (sequence: number) => shard.entries.get(sequence)
      const { bytes, firstNeeded } = yield* Effect.promise(() => ShardSnapshot.take({ state, position, entryOf, rest }))
      // A shard that was lost meanwhile belongs to another one, whose log is not to be cut by this one.
      if (shard.state.storeFailed || !shard.isOpen) return
      CrashPoint.hit("invocation.compact.beforeSnapshot")
      yield* log.saveSnapshot(shard.name, { position, bytes })
      CrashPoint.hit("invocation.compact.afterSnapshot")
      yield* log.truncate(shard.name, firstNeeded)
      CrashPoint.hit("invocation.compact.afterTruncate")
      compactedTo = position
    }).pipe(Effect.catchCause((cause) => Effect.sync(() => onDefect(cause))))
  return {
    forever: Effect.forever(Effect.andThen(Effect.sleep(checkMs), compactAfter(afterRecords))),
    /** Before the next owner reads. */
    now: compactAfter(Math.min(afterRecords, worthwhileRecords))
  }
}
