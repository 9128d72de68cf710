/**
 * One lease, wanted for as long as the scope is open: carries out what the lease machine orders over the key-value store.
 * It may be gained and lost many times.
 *
 * Others are followed by a watch, so that the time of a holder that died counts from its last renewal, and not from when it
 * was last read: the next one has it within `ttlMs` of that renewal, and the time of one write.
 *
 * @module
 */
import { randomUUID } from "node:crypto"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Lease from "../core/lease/Lease.ts"
import type { FabricUnavailable } from "./fabric/FabricError.ts"
import { type Entry, KeyValue } from "./fabric/KeyValue.ts"
import { nowMs } from "./invocation/PlaneClock.ts"

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

/** Between two readings of a key that could not be read. */
const readAgainMs = 200

const seenOf = (entry: Pick<Entry, "value" | "revision"> | undefined): Lease.Seen => {
  const record = entry === undefined ? undefined : Lease.decode(Buffer.from(entry.value).toString("utf8"))
  return { record: record ?? null, revision: entry?.revision ?? 0 }
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
    let state = Lease.idle(nowMs())
    let timer: NodeJS.Timeout | undefined
    let isClosed = false
    let newest = 0
    /** The last epoch that was gained here. */
    let own = 0
    let heardAtMs = Number.NEGATIVE_INFINITY
    /** The write that gives it back, while it is under way. */
    let releasing: Promise<void> = Promise.resolve()

    const send = (event: Lease.Event): void => {
      if (isClosed && event._tag !== "ReleaseWanted") return
      const [next, commands] = Lease.step(options, state, event)
      state = next
      for (const command of commands) perform(command)
      clearTimeout(timer)
      const wakeAtMs = Lease.wakeAtMs(options, state)
      if (isClosed || !Number.isFinite(wakeAtMs)) return
      timer = setTimeout(() => send(Lease.Event.Ticked({ nowMs: nowMs() })), Math.max(1, wakeAtMs - nowMs()))
      timer.unref()
    }

    const note = (record: Lease.Record | null) => {
      if (record === null || record.epoch < newest) return
      newest = record.epoch
      if (own > 0 && record.epoch > own && record.holder !== null && record.holder !== options.me) onTaken(record.epoch)
      if (record.holder !== null) heardAtMs = nowMs()
    }

    const saw = (seen: Lease.Seen) => {
      note(seen.record)
      send(Lease.Event.Seen({ nowMs: nowMs(), seen }))
    }

    const read = (): void => {
      if (isClosed) return
      Effect.runCallback(keyValue.get(key), {
        onExit: (exit) => {
          if (Exit.isSuccess(exit)) return saw(seenOf(exit.value))
          setTimeout(read, readAgainMs).unref()
        }
      })
    }

    const compareAndSet = ({ record, expectedRevision }: Extract<Lease.Command, { _tag: "CompareAndSet" }>) => {
      const write = keyValue.put(key, Buffer.from(Lease.encode(record)), expectedRevision).pipe(
        Effect.map((revision) => {
          note(record)
          return Lease.Event.Written({ nowMs: nowMs(), seen: { record, revision } })
        }),
        Effect.catchTag("RevisionConflict", () => Effect.succeed(Lease.Event.Refused({ nowMs: nowMs() }))),
        Effect.catch(() => Effect.succeed(Lease.Event.WriteUnknown({ nowMs: nowMs() })))
      )
      return new Promise<void>((resolve) => {
        Effect.runCallback(write, {
          onExit: (exit) => {
            if (Exit.isSuccess(exit)) send(exit.value)
            else runFork(Effect.logError(`the lease ${key} could not be written`, Cause.squash(exit.cause)))
            resolve()
          }
        })
      })
    }

    const perform = (command: Lease.Command): void => {
      switch (command._tag) {
        case "Read":
          setTimeout(read, Math.max(0, command.atMs - nowMs()))
          return
        case "CompareAndSet": {
          const written = compareAndSet(command)
          if (isClosed) releasing = written
          return
        }
        case "Gained":
          own = command.epoch
          return onGained(command.epoch)
        case "Lost":
          return onLost(command.epoch, command.reason)
      }
    }

    yield* Effect.addFinalizer(() =>
      Effect.promise(async () => {
        isClosed = true
        clearTimeout(timer)
        send(Lease.Event.ReleaseWanted({ nowMs: nowMs() }))
        await releasing
      })
    )
    yield* keyValue.watch(key, (change) => {
      if (change._tag === "Put" && change.entry.key === key) saw(seenOf(change.entry))
    })
    send(Lease.Event.Wanted({ nowMs: nowMs() }))
    return {
      epoch: () => (state._tag === "Holding" && Lease.isActing(options, state, nowMs()) ? state.epoch : undefined),
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
      newest = Math.max(newest, seenOf(change.entry).record?.epoch ?? 0)
    })
    return () => newest
  })
