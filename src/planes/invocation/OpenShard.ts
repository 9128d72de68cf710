/**
 * One shard as it is opened under an epoch: recovered from its logs, compacted while it runs, and closed or given up.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { BufferOptions } from "../../core/buffer/BufferOptions.ts"
import type { BlobStore } from "../fabric/BlobStore.ts"
import type { FabricUnavailable, OutcomeUnknown } from "../fabric/FabricError.ts"
import type { Log } from "../fabric/Log.ts"
import type { PubSub } from "../fabric/PubSub.ts"
import * as Compactor from "./Compactor.ts"
import { type DeadLetterOptions, DeadLetters } from "./DeadLetters.ts"
import * as DemandPublisher from "./DemandPublisher.ts"
import { type EventStreamOptions, EventStreams } from "./EventStreams.ts"
import type * as LogFence from "./LogFence.ts"
import { nowMs } from "./PlaneClock.ts"
import { Shard, type ShardEvents } from "./Shard.ts"
import * as ShardRecovery from "./ShardRecovery.ts"
import * as StoredRecord from "./StoredRecord.ts"

export interface ShardOptions {
  /** True of a fabric that one process alone can have open. */
  readonly storeIsExclusive: boolean
  readonly buffer: BufferOptions
  readonly deadLetters: DeadLetterOptions
  readonly eventStreams: EventStreamOptions
  readonly compact?: Partial<Compactor.CompactOptions>
}

export interface ShardParts {
  readonly log: Log["Service"]
  readonly blobs: BlobStore["Service"]
  readonly pubSub: PubSub["Service"]
  readonly options: ShardOptions
  readonly events: Omit<ShardEvents, "demandChanged">
}

export interface OpenShard {
  readonly shard: Shard
  readonly recordCount: number
  /** Dead letters that were replayed, with the request that each became. */
  readonly replays: ReadonlyMap<string, string>
  /** What was recovered becomes live; its upkeep runs until the scope closes. */
  readonly begin: (epoch: number) => Effect.Effect<void, never, Scope.Scope>
  /** Shortens what its next owner has to read. */
  readonly compact: Effect.Effect<void>
  /** Nobody is told of its demand any more. */
  readonly silence: () => void
}

export const nameOf = (index: number): string => `shard-${index}`

/** `turn`: of all its logs. `actsUntilMs`: see `Shard`. */
export const open = Effect.fnUntraced(function* (
  { log, blobs, pubSub, options, events }: ShardParts,
  name: string,
  turn: LogFence.Turn = false,
  actsUntilMs?: () => number
): Effect.fn.Return<OpenShard, FabricUnavailable | OutcomeUnknown> {
  const removeBlob = (id: string) => {
    Effect.runFork(blobs.remove(id).pipe(Effect.ignore))
  }
  // Beside each other, since callers wait for all three: a letter stands before the end that needs it, and each log is read
  // to a fence of its own, so no order among them can miss one.
  const [recovered, deadLetters, eventStreams] = yield* Effect.all(
    [
      ShardRecovery.recover(log, name, options.buffer, turn),
      DeadLetters.open({
        log,
        name: `${name}.dead-letters`,
        turn,
        options: options.deadLetters,
        removeBlob,
        nowMs: nowMs()
      }),
      EventStreams.open({ log, name: `${name}.event-streams`, turn, options: options.eventStreams, nowMs })
    ],
    { concurrency: "unbounded" }
  )
  const demand = DemandPublisher.make(pubSub, () => shard)
  const shard: Shard = new Shard({
    name,
    options: options.buffer,
    state: recovered.state,
    entries: recovered.entries.values(),
    payloads: recovered.payloads,
    position: recovered.position,
    lastSequence: recovered.lastSequence,
    deadLetters,
    deadLetterRetentionMs: options.deadLetters.retentionMs,
    eventStreams,
    ...(actsUntilMs === undefined ? {} : { actsUntilMs }),
    ports: {
      append: (position, records, appendOptions) => log.append(name, position, records, appendOptions),
      readRecord: async (position) => {
        const [record] = await Effect.runPromise(log.read(name, position, 1))
        if (record === undefined) throw new Error(`the log of ${name} ends before position ${position}`)
        return StoredRecord.decode(record.bytes)
      },
      blobs,
      removeBlob
    },
    events: { ...events, demandChanged: demand.changed }
  })
  const compactor = Compactor.make({
    log,
    shard,
    replayedCount: recovered.recordCount,
    options: options.compact ?? {},
    onDefect: events.defect
  })
  return {
    shard,
    recordCount: recovered.recordCount,
    replays: recovered.replays,
    begin: (epoch) =>
      Effect.gen(function* () {
        shard.begin(epoch)
        yield* deadLetters.expiring(nowMs)
        yield* eventStreams.pruning()
        yield* Effect.forkScoped(compactor.forever)
      }),
    compact: compactor.now,
    silence: demand.stop
  }
})
