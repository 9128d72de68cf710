/**
 * One lease, wanted for as long as the scope is open. It may be gained and lost many times.
 *
 * Others are followed by a watch, so that the time of a holder that died counts from its last renewal, and not from when it
 * was last read: the next one has it within `ttlMs` of that renewal, and the time of one write.
 *
 * @module
 */
import { randomUUID } from "node:crypto"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Lease from "../core/lease/Lease.ts"
import type { FabricUnavailable } from "./fabric/FabricError.ts"
import { KeyValue } from "./fabric/KeyValue.ts"
import { nowMs } from "./invocation/PlaneClock.ts"
import * as LeaseHolder from "./LeaseHolder.ts"

export interface Options extends Omit<Lease.Options, "me"> {
  readonly key: string
  readonly onGained: (epoch: number) => void
  /** Stop acting. Also told when the scope closes. It is wanted again at once, and may be gained again. */
  readonly onLost: (epoch: number, reason: string) => void
  /** Another one has it, after this one had it. */
  readonly onTaken?: (epoch: number) => void
}

export interface LeaseKeeper {
  /** The epoch, at this very moment; undefined: it must not act. Ask before each act. */
  readonly epoch: () => number | undefined
  /** The newest epoch that was seen, whoever has it; 0 = none. */
  readonly newestEpoch: () => number
  /** Whether anybody has renewed it within the last two ttl. */
  readonly isHeld: () => boolean
}

export const make = ({
  key,
  onGained,
  onLost,
  onTaken = () => {},
  ...timing
}: Options): Effect.Effect<LeaseKeeper, FabricUnavailable, KeyValue | Scope.Scope> =>
  Effect.gen(function* () {
    const keyValue = yield* KeyValue
    const runFork = Effect.runForkWith(yield* Effect.context<never>())
    const options: Lease.Options = { ...timing, me: randomUUID() }
    let newest = 0
    /** The last epoch that was gained here. */
    let own = 0
    let heardAtMs = Number.NEGATIVE_INFINITY
    const holder = new LeaseHolder.LeaseHolder({
      key,
      keyValue,
      options,
      storeIsExclusive: false,
      gained: (epoch) => {
        own = epoch
        onGained(epoch)
      },
      lost: onLost,
      failed: (error) => void runFork(Effect.logError(`the lease ${key} could not be read or written`, error)),
      saw: (record) => {
        if (record === null || record.epoch < newest) return
        newest = record.epoch
        const isOthers = record.holder !== null && record.holder !== options.me
        if (own > 0 && record.epoch > own && isOthers) onTaken(record.epoch)
        if (record.holder !== null) heardAtMs = nowMs()
      }
    })
    yield* Effect.addFinalizer(() => Effect.promise(() => holder.close()))
    yield* keyValue.watch(key, (change) => {
      if (change._tag === "Put" && change.entry.key === key) holder.saw(LeaseHolder.seenOf(change.entry))
    })
    holder.want()
    return {
      epoch: () => holder.epoch,
      newestEpoch: () => newest,
      isHeld: () => nowMs() - heardAtMs < 2 * options.ttlMs
    }
  })

/** Follows a lease of others without wanting it: the newest epoch that was seen, 0 = none. */
export const follow = (key: string): Effect.Effect<() => number, FabricUnavailable, KeyValue | Scope.Scope> =>
  Effect.gen(function* () {
    const keyValue = yield* KeyValue
    let newest = 0
    yield* keyValue.watch(key, (change) => {
      if (change._tag !== "Put" || change.entry.key !== key) return
      newest = Math.max(newest, LeaseHolder.seenOf(change.entry).record?.epoch ?? 0)
    })
    return () => newest
  })
