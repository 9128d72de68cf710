/**
 * An append-only log per shard. The replicated disk under a buffer machine.
 *
 * Laws (run against every maker by `tests/fabric/logLaws.ts`):
 * - F1 what `append` confirmed is read back, in order, byte for byte, also after a kill and a restart.
 * - F2 a batch is all there or not at all.
 * - F3 an append at another position than the end fails with `PositionConflict` and changes nothing.
 * - F4 positions count records, start at 0 and have no gaps; `append` at `p` of `n` records moves the end to `p + n`.
 * - F5 a snapshot replaces the one before it whole, unless that one stands further on: a deposed owner cannot bring back
 *   what the log no longer holds; `truncate(p)` removes only records before `p`, and reading there fails; the end
 *   position survives a truncation of everything.
 * - F6 shards do not see each other.
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { FabricUnavailable, OutcomeUnknown, PositionConflict } from "./FabricError.ts"

export interface LogRecord {
  /** Counts from 0 within the shard. */
  readonly position: number
  readonly bytes: Uint8Array
}

export interface AppendOptions {
  readonly mayUseReserve: boolean
}

export interface Snapshot {
  /** Records before this position are contained in it. */
  readonly position: number
  readonly bytes: Uint8Array
}

export class Log extends Context.Service<
  Log,
  {
    /**
     * Durable when it succeeds; answers the new end position. Batches of several shards that arrive together share
     * one commit. `records`: at least one, at most 4096. `mayUseReserve`: the maker keeps some room on its disk for
     * what brings accepted work to its end; this belongs to it.
     */
    readonly append: (
      shard: string,
      expectedPosition: number,
      records: ReadonlyArray<Uint8Array>,
      options?: AppendOptions
    ) => Effect.Effect<number, PositionConflict | FabricUnavailable | OutcomeUnknown>
    /** At most `limit` records from `position` on; an empty answer means the end. Fails before the truncation point. */
    readonly read: (
      shard: string,
      position: number,
      limit: number
    ) => Effect.Effect<ReadonlyArray<LogRecord>, FabricUnavailable>
    /** First readable position and the position after the last record. */
    readonly bounds: (
      shard: string
    ) => Effect.Effect<{ readonly first: number; readonly end: number }, FabricUnavailable>
    /** Refused, and not to be tried again, where the snapshot that is there stands further on. */
    readonly saveSnapshot: (
      shard: string,
      snapshot: Snapshot
    ) => Effect.Effect<void, FabricUnavailable | OutcomeUnknown>
    readonly loadSnapshot: (shard: string) => Effect.Effect<Snapshot | undefined, FabricUnavailable>
    /** Removes whole batches before `position`; may keep some more than asked. */
    readonly truncate: (shard: string, position: number) => Effect.Effect<void, FabricUnavailable | OutcomeUnknown>
  }
>()("millrace/planes/fabric/Log") {}
