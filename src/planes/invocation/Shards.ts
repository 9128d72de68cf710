/**
 * The shards that this process owns: opened under a lease with an epoch, recovered from their logs, compacted while they
 * run, closed in order. A version always hashes to the same shard.
 *
 * @module
 */
import { randomUUID } from "node:crypto"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { BufferOptions } from "../../core/buffer/BufferOptions.ts"
import * as CrashPoint from "../CrashPoint.ts"
import { subjects } from "../compute/AgentMessage.ts"
import { BlobStore } from "../fabric/BlobStore.ts"
import type { FabricUnavailable } from "../fabric/FabricError.ts"
import type { KeyValue } from "../fabric/KeyValue.ts"
import { Log } from "../fabric/Log.ts"
import { PubSub } from "../fabric/PubSub.ts"
import * as Compactor from "./Compactor.ts"
import { type DeadLetterOptions, DeadLetters } from "./DeadLetters.ts"
import * as Demand from "./Demand.ts"
import type { Entry } from "./Entry.ts"
import type { EventStream } from "./EventStream.ts"
import { type EventStreamOptions, EventStreams } from "./EventStreams.ts"
import { nowMs } from "./PlaneClock.ts"
import { Shard } from "./Shard.ts"
import * as ShardOwnership from "./ShardOwnership.ts"
import * as ShardRecovery from "./ShardRecovery.ts"
import * as StoredRecord from "./StoredRecord.ts"

export interface ShardsOptions {
  readonly shardCount: number
  /** True of a fabric that one process alone can have open. */
  readonly storeIsExclusive: boolean
  readonly buffer: BufferOptions
  readonly deadLetters: DeadLetterOptions
  readonly eventStreams: EventStreamOptions
  readonly compact?: Partial<Compactor.CompactOptions>
}

export interface ShardsEvents {
  readonly ended: (entry: Entry) => void
  readonly staleMessage: (workerId: string, event: string) => void
  readonly storeFailed: (message: string) => void
  readonly storeFull: (message: string) => void
  readonly defect: (error: unknown) => void
}

export interface Shards {
  readonly all: ReadonlyArray<Shard>
  readonly forVersion: (versionId: string) => Shard
  readonly byRequestId: (requestId: string) => { readonly shard: Shard; readonly entry: Entry } | undefined
  /** Of a request that is, or was a short while ago. */
  readonly eventStream: (requestId: string) => { readonly shard: Shard; readonly stream: EventStream } | undefined
  readonly recordsReplayed: number
}

/** Two renewals may fail before the ownership runs out. */
const ownership = { ttlMs: 60_000, renewMs: 20_000, marginMs: 5_000 }

/** Figures of a version go out at most this often, except when a request waits. */
const demandIntervalMs = 100
/**
 * With requests waiting, figures go out at most this often: a decision costs as much as several accepts, and the second
 * of two in one burst would decide the same.
 */
const urgentIntervalMs = 5

export const open = (
  options: ShardsOptions,
  events: ShardsEvents
): Effect.Effect<Shards, FabricUnavailable, Log | KeyValue | PubSub | BlobStore | Scope.Scope> =>
  Effect.gen(function* () {
    const log = yield* Log
    const blobs = yield* BlobStore
    const pubSub = yield* PubSub
    const shards: Array<Shard> = []
    const replays = new Map<string, string>()
    const removeBlob = (id: string) => {
      Effect.runFork(blobs.remove(id).pipe(Effect.ignore))
    }
    let recordsReplayed = 0
    for (let index = 0; index < options.shardCount; index++) {
      const name = `shard-${index}`
      const epoch = yield* ShardOwnership.acquire(name, {
        ...ownership,
        me: randomUUID(),
        storeIsExclusive: options.storeIsExclusive,
        onLost: (reason) => events.storeFailed(`the ownership of ${name} was lost: ${reason}`)
      })
      const recovered = yield* ShardRecovery.recover(log, name, options.buffer)
      recordsReplayed += recovered.recordCount
      for (const [letterId, requestId] of recovered.replays) replays.set(letterId, requestId)
      const deadLetters = yield* DeadLetters.open({
        log,
        name: `${name}.dead-letters`,
        options: options.deadLetters,
        removeBlob,
        nowMs: nowMs()
      })
      const eventStreams = yield* EventStreams.open({
        log,
        name: `${name}.event-streams`,
        options: options.eventStreams,
        nowMs
      })
      const demand = demandPublisher(pubSub, () => shard)
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
      shards.push(shard)
      CrashPoint.hit("invocation.shard.beforeBegin")
      shard.begin(epoch)
      CrashPoint.hit("invocation.shard.afterBegin")
      yield* deadLetters.expiring(nowMs)
      yield* eventStreams.pruning()
      yield* Compactor.start({
        log,
        shard,
        replayedCount: recovered.recordCount,
        options: options.compact ?? {},
        onDefect: events.defect
      })
      yield* Effect.addFinalizer(() =>
        Effect.promise(async () => {
          demand.stop()
          await shard.flushed()
          shard.close()
        })
      )
    }
    yield* noteReplays(shards, replays)
    yield* dropOrphanBlobs(blobs, shards)
    return {
      all: shards,
      recordsReplayed,
      forVersion: (versionId) => {
        const shard = shards[hash(versionId) % shards.length]
        if (shard === undefined) throw new Error("invariant broken: a process has at least one shard")
        return shard
      },
      eventStream: (requestId) => {
        for (const shard of shards) {
          const stream = shard.eventStreams.get(requestId)
          if (stream !== undefined) return { shard, stream }
        }
        return undefined
      },
      byRequestId: (requestId) => {
        for (const shard of shards) {
          const entry = shard.byRequestId(requestId)
          if (entry !== undefined) return { shard, entry }
        }
        return undefined
      }
    }
  })

/** FNV-1a: stable over releases, because a stored request must stay in its shard. */
const hash = (text: string): number => {
  let value = 0x811c9dc5
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193)
  return value >>> 0
}

/**
 * Tells the scaling machine: at once when the first request waits for a slot, for those that come right after it, and for
 * the first after idleness, with the figures at the end of `urgentIntervalMs`, and else with the latest figures of
 * `demandIntervalMs`.
 */
const demandPublisher = (pubSub: PubSub["Service"], shardOf: () => Shard) => {
  const dirty = new Set<string>()
  /** Versions whose urgent figures went out within the last `urgentIntervalMs`. */
  const urgentLately = new Set<string>()
  /** Versions last told of as idle: while that is believed, an instance that holds work may be picked to go. */
  const toldIdle = new Set<string>()
  let timer: NodeJS.Timeout | undefined
  let urgentTimer: NodeJS.Timeout | undefined
  const publish = (versionId: string) => {
    const report = Demand.reportOf(shardOf(), versionId)
    if (report.pending + report.leased === 0) toldIdle.add(versionId)
    else toldIdle.delete(versionId)
    pubSub.publish(subjects.demand, Buffer.from(JSON.stringify(report)))
  }
  const flush = () => {
    timer = undefined
    const versions = [...dirty]
    dirty.clear()
    for (const versionId of versions) publish(versionId)
  }
  const flushUrgent = () => {
    urgentTimer = undefined
    const versions = [...urgentLately].filter((versionId) => dirty.delete(versionId))
    urgentLately.clear()
    for (const versionId of versions) publishUrgent(versionId)
  }
  const publishUrgent = (versionId: string) => {
    urgentLately.add(versionId)
    urgentTimer ??= setTimeout(flushUrgent, urgentIntervalMs)
    publish(versionId)
  }
  return {
    changed: (versionId: string, urgent: boolean) => {
      if (urgent && !urgentLately.has(versionId)) {
        dirty.delete(versionId)
        publishUrgent(versionId)
        return
      }
      dirty.add(versionId)
      if (toldIdle.has(versionId)) {
        urgentLately.add(versionId)
        urgentTimer ??= setTimeout(flushUrgent, urgentIntervalMs)
      } else timer ??= setTimeout(flush, demandIntervalMs)
    },
    stop: () => {
      clearTimeout(timer)
      clearTimeout(urgentTimer)
    }
  }
}

/** A replay whose request was stored, and whose mark at the dead letter was not when the process ended. */
const noteReplays = (shards: ReadonlyArray<Shard>, replays: ReadonlyMap<string, string>) =>
  Effect.promise(async () => {
    for (const [letterId, requestId] of replays) {
      for (const { deadLetters } of shards) {
        // Where the store takes no writes, the next start notes it.
        await deadLetters.markReplayed(letterId, { requestId, atMs: nowMs() }).catch(() => {})
      }
    }
  })

/** Blobs that no live request names: their request is gone, or was never accepted. */
const dropOrphanBlobs = Effect.fnUntraced(function* (blobs: BlobStore["Service"], shards: ReadonlyArray<Shard>) {
  for (const id of yield* blobs.list()) {
    // A blob's name begins with the id of its request.
    const requestId = id.slice(0, 36)
    const isNamed = shards.some(
      (shard) => shard.byRequestId(requestId) !== undefined || shard.deadLetters.has(requestId)
    )
    if (!isNamed) yield* blobs.remove(id)
  }
})
