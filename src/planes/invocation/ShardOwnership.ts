/**
 * Owns a shard: carries out what the lease machine orders, over the key-value store.
 *
 * @module
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Lease from "../../core/lease/Lease.ts"
import * as CrashPoint from "../CrashPoint.ts"
import type { FabricUnavailable } from "../fabric/FabricError.ts"
import { type Entry, KeyValue } from "../fabric/KeyValue.ts"
import { nowMs } from "./PlaneClock.ts"

export interface OwnershipOptions extends Lease.Options {
  /**
   * Nobody else can have the store open while this process has: whoever a record names is gone, and nobody needs to wait
   * for its time to run out.
   */
  readonly storeIsExclusive: boolean
  /** The ownership was lost after it had been gained: stop acting. */
  readonly onLost: (reason: string) => void
}

/** Succeeds with the epoch once the shard is owned; renews until the scope closes, then gives it back. */
export const acquire = (
  shard: string,
  options: OwnershipOptions
): Effect.Effect<number, FabricUnavailable, KeyValue | Scope.Scope> =>
  Effect.gen(function* () {
    const keyValue = yield* KeyValue
    const key = `shards/${shard}/owner`
    const gained = yield* Deferred.make<number, FabricUnavailable>()
    let state = Lease.idle(nowMs())
    let timer: NodeJS.Timeout | undefined
    let closed = false

    const send = (event: Lease.Event): void => {
      const [next, commands] = Lease.step(options, state, event)
      state = next
      for (const command of commands) perform(command)
      clearTimeout(timer)
      const wakeAtMs = Lease.wakeAtMs(options, state)
      if (closed || !Number.isFinite(wakeAtMs)) return
      timer = setTimeout(() => send(Lease.Event.Ticked({ nowMs: nowMs() })), Math.max(1, wakeAtMs - nowMs()))
      timer.unref()
    }

    const seenOf = (entry: Entry | undefined): Lease.Seen => {
      const record = entry === undefined ? undefined : Lease.decode(Buffer.from(entry.value).toString("utf8"))
      if (entry === undefined || record === undefined) return { record: null, revision: entry?.revision ?? 0 }
      const alive = record.holder === options.me || !options.storeIsExclusive
      return { record: alive ? record : { ...record, holder: null }, revision: entry.revision }
    }

    const read = keyValue.get(key).pipe(
      Effect.map((entry) => send(Lease.Event.Seen({ nowMs: nowMs(), seen: seenOf(entry) }))),
      Effect.catch((error) => Deferred.fail(gained, error))
    )

    const compareAndSet = ({ record, expectedRevision }: Extract<Lease.Command, { _tag: "CompareAndSet" }>) =>
      keyValue.put(key, Buffer.from(Lease.encode(record)), expectedRevision).pipe(
        Effect.map((revision) => Lease.Event.Written({ nowMs: nowMs(), seen: { record, revision } })),
        Effect.catchTag("RevisionConflict", () => Effect.succeed(Lease.Event.Refused({ nowMs: nowMs() }))),
        Effect.catch(() => Effect.succeed(Lease.Event.WriteUnknown({ nowMs: nowMs() }))),
        Effect.map(send)
      )

    const perform = (command: Lease.Command): void => {
      switch (command._tag) {
        case "Read":
          setTimeout(() => Effect.runFork(read), Math.max(0, command.atMs - nowMs()))
          return
        case "CompareAndSet":
          CrashPoint.hit("invocation.ownership.beforeWrite")
          Effect.runCallback(compareAndSet(command), {
            onExit: (exit) => {
              if (Exit.isFailure(exit)) options.onLost(Cause.pretty(exit.cause))
            }
          })
          return
        case "Gained":
          CrashPoint.hit("invocation.ownership.gained")
          Effect.runFork(Deferred.succeed(gained, command.epoch))
          return
        case "Lost":
          if (!closed) options.onLost(command.reason)
          return
      }
    }

    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        closed = true
        send(Lease.Event.ReleaseWanted({ nowMs: nowMs() }))
        clearTimeout(timer)
      })
    )
    send(Lease.Event.Wanted({ nowMs: nowMs() }))
    return yield* Deferred.await(gained)
  })
