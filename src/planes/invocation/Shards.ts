/**
 * The shards of this process, each with a life of its own: wanted, owned under a lease with an epoch, recovered from its
 * logs, served, handed over or lost, while the process goes on. A version always hashes to the same shard.
 *
 * Where one process alone can have the store open, it owns all of them from its start to its end. Else each gateway takes
 * those that fall to it among the gateways that are there, and knows of the others who has them.
 *
 * @module
 */
import { randomUUID } from "node:crypto"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { BlobStore } from "../fabric/BlobStore.ts"
import { FabricUnavailable } from "../fabric/FabricError.ts"
import { KeyValue } from "../fabric/KeyValue.ts"
import { Log } from "../fabric/Log.ts"
import { PubSub } from "../fabric/PubSub.ts"
import type { Entry } from "./Entry.ts"
import type { EventStream } from "./EventStream.ts"
import type * as GatewayMembers from "./GatewayMembers.ts"
import type * as OpenShard from "./OpenShard.ts"
import * as RequestId from "./RequestId.ts"
import type { Shard } from "./Shard.ts"
import * as ShardLayout from "./ShardLayout.ts"
import { ShardSet, type Times } from "./ShardSet.ts"
import * as ShardUpkeep from "./ShardUpkeep.ts"

export interface ShardsOptions extends OpenShard.ShardOptions {
  /** 1 to 64, the same for the whole life of a fabric. */
  readonly shardCount: number
  /** Of a fabric that several processes share. Default: `GatewayMembers.defaults`. */
  readonly members?: Partial<GatewayMembers.MembersOptions>
  /** Of a fabric that several processes share. Default: `ShardSet.sharedTimes`. */
  readonly ownership?: Partial<Times>
}

export interface ShardsEvents {
  readonly ended: (entry: Entry) => void
  readonly staleMessage: (workerId: string, event: string) => void
  readonly storeFailed: (message: string) => void
  readonly storeFull: (message: string) => void
  readonly defect: (error: unknown) => void
  /** For people: a shard came, went, or could not be opened. */
  readonly moved?: (shard: string, what: string) => void
}

/** Where the calls of a shard are taken. */
export type Place =
  | { readonly kind: "here"; readonly shard: Shard }
  | { readonly kind: "peer"; readonly address: GatewayMembers.MemberAddress }
  /** Between two owners; `isMine`: this process has it, and is opening it or handing it over. */
  | { readonly kind: "changing"; readonly isMine: boolean }

export interface Shards {
  readonly count: number
  /** Those that are served here at this moment. */
  readonly all: ReadonlyArray<Shard>
  readonly indexOf: (versionId: string) => number
  /** Undefined: it is not served here, or takes no calls at this moment. */
  readonly at: (index: number) => Shard | undefined
  readonly forVersion: (versionId: string) => Shard | undefined
  readonly placeOf: (index: number) => Place
  /** The owner before this one did not hand it over: its lease ran out. */
  readonly fellSilent: (index: number) => boolean
  /** Of this process, once it has joined. */
  readonly address: GatewayMembers.MemberAddress | undefined
  /** Called at each change of who has what. Answers a way to stop. */
  readonly onChange: (listener: () => void) => () => void
  readonly byRequestId: (requestId: string) => { readonly shard: Shard; readonly entry: Entry } | undefined
  /** Of a request that is, or was a short while ago. */
  readonly eventStream: (requestId: string) => { readonly shard: Shard; readonly stream: EventStream } | undefined
  readonly recordsReplayed: number
  /** Why a shard that falls to this process cannot be served; undefined: all are, or are on their way. */
  readonly problem: () => string | undefined
  /**
   * Takes its share of the shards from now on, and resolves when it serves it, or after some seconds. Where the store is
   * this process's alone, it serves all of them already.
   */
  readonly join: (address: GatewayMembers.MemberAddress) => Effect.Effect<void>
  /** Hands over all that it has; what is not handed over after so long is broken off. */
  readonly leave: (withinMs: number) => Effect.Effect<void>
}

export const open = (
  options: ShardsOptions,
  events: ShardsEvents
): Effect.Effect<Shards, FabricUnavailable, Log | KeyValue | PubSub | BlobStore | Scope.Scope> =>
  Effect.gen(function* () {
    const { shardCount, storeIsExclusive } = options
    if (shardCount < 1 || shardCount > RequestId.shardsMax) {
      throw new RangeError(`a fabric has 1 to ${RequestId.shardsMax} shards and ${shardCount} were asked for`)
    }
    const log = yield* Log
    const blobs = yield* BlobStore
    const pubSub = yield* PubSub
    const keyValue = yield* KeyValue
    yield* ShardLayout.requireCount(keyValue, shardCount)
    const set = new ShardSet({
      me: randomUUID(),
      keyValue,
      options,
      events,
      parts: (storeFailed) => ({ log, blobs, pubSub, options, events: { ...events, storeFailed } }),
      upkeep: ShardUpkeep.make(blobs, shardCount)
    })
    yield* storeIsExclusive ? set.openAll() : set.watch()
    const indexOf = (versionId: string) => (shardCount === 1 ? 0 : hash(versionId) % shardCount)
    const shardOf = (requestId: string) => set.shardAt(RequestId.shardOf(requestId, shardCount))
    return {
      count: shardCount,
      get all() {
        return set.serving
      },
      get recordsReplayed() {
        return set.recordsReplayed
      },
      indexOf,
      at: (index) => set.at(index),
      forVersion: (versionId) => set.shardAt(indexOf(versionId)),
      placeOf: (index) => set.placeOf(index),
      fellSilent: (index) => set.fellSilent(index),
      get address() {
        return set.address
      },
      onChange: (listener) => set.onChange(listener),
      eventStream: (requestId) => {
        const shard = shardOf(requestId)
        const stream = shard?.eventStreams.get(requestId)
        return shard === undefined || stream === undefined ? undefined : { shard, stream }
      },
      byRequestId: (requestId) => {
        const shard = shardOf(requestId)
        const entry = shard?.entries.ofRequest(requestId)
        return shard === undefined || entry === undefined ? undefined : { shard, entry }
      },
      problem: () => set.problem(),
      join: (address) => (storeIsExclusive ? Effect.void : set.join(address)),
      leave: (withinMs) => (storeIsExclusive ? Effect.void : set.leave(withinMs))
    } satisfies Shards
  }).pipe(
    // Nothing that is written at the start is wrong when it is written twice.
    Effect.catchTag("OutcomeUnknown", ({ port, operation, reason }) =>
      Effect.fail(new FabricUnavailable({ port, operation, reason, retryable: true }))
    )
  )

/** FNV-1a: stable over releases, because a stored request must stay in its shard. */
const hash = (text: string): number => {
  let value = 0x811c9dc5
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193)
  return value >>> 0
}
