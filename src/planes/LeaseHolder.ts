/**
 * One lease in this process: carries out what the lease machine orders over the key-value store, for as long as the process
 * lives. It may be wanted, gained, lost and given back many times.
 *
 * @module
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Lease from "../core/lease/Lease.ts"
import * as CrashPoint from "./CrashPoint.ts"
import type { Entry, KeyValue } from "./fabric/KeyValue.ts"
import { nowMs } from "./invocation/PlaneClock.ts"

type CompareAndSet = Extract<Lease.Command, { readonly _tag: "CompareAndSet" }>

/** Renewals that may be on their way when a lease is given back. */
const giveBackTries = 4
/** Between two readings of a key that could not be read. */
const readAgainMs = 200

export interface LeaseHolderInit {
  readonly key: string
  readonly keyValue: KeyValue["Service"]
  readonly options: Lease.Options
  /**
   * Nobody else can have the store open while this process has: whoever a record names is gone, and nobody needs to wait
   * for its time to run out.
   */
  readonly storeIsExclusive: boolean
  readonly gained: (epoch: number) => void
  /** Stop acting. `isReleased`: since it was given back. */
  readonly lost: (epoch: number, reason: string, isReleased: boolean) => void
  /** It could not be read; it is tried again. */
  readonly failed: (error: unknown) => void
  /** What the store holds, by a read, a watch, or a write of this process. */
  readonly saw?: (record: Lease.Record | null) => void
}

/** What a key holds; another's record under it is no record. */
export const seenOf = (entry: Pick<Entry, "value" | "revision"> | undefined): Lease.Seen => {
  const record = entry === undefined ? undefined : Lease.decode(Buffer.from(entry.value).toString("utf8"))
  return { record: record ?? null, revision: entry?.revision ?? 0 }
}

export class LeaseHolder {
  readonly #init: LeaseHolderInit
  #state: Lease.State = Lease.idle(nowMs())
  #timer: NodeJS.Timeout | undefined
  #isClosed = false
  /** The write that gives it back, while it is under way. */
  #releasing: Promise<void> = Promise.resolve()

  constructor(init: LeaseHolderInit) {
    this.#init = init
  }

  /** `watched`: by a watch that began before. */
  want(watched?: Lease.Watched): void {
    this.#send(Lease.Event.Wanted({ nowMs: nowMs(), watched: this.#init.storeIsExclusive ? undefined : watched }))
  }

  /** By a watch. */
  saw(seen: Lease.Seen): void {
    this.#init.saw?.(seen.record)
    this.#send(Lease.Event.Seen({ nowMs: nowMs(), seen }))
  }

  /** Resolves when the store knows, or cannot be told. */
  release(): Promise<void> {
    this.#send(Lease.Event.ReleaseWanted({ nowMs: nowMs() }))
    return this.#releasing
  }

  /** Until when it may act as the owner, by `PlaneClock`; it may be longer by then. */
  get actsUntilMs(): number {
    const { options } = this.#init
    return this.#state._tag === "Holding" ? this.#state.untilMs - options.marginMs : Number.NEGATIVE_INFINITY
  }

  /** The epoch, at this very moment; undefined: it must not act. Ask before each act. */
  get epoch(): number | undefined {
    const state = this.#state
    return state._tag === "Holding" && Lease.isActing(this.#init.options, state, nowMs()) ? state.epoch : undefined
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    const released = this.release()
    this.#isClosed = true
    clearTimeout(this.#timer)
    await released
  }

  #send(event: Lease.Event): void {
    if (this.#isClosed) return
    const { options } = this.#init
    const [next, commands] = Lease.step(options, this.#state, event)
    this.#state = next
    const isReleased = event._tag === "ReleaseWanted"
    for (const command of commands) this.#perform(command, isReleased)
    clearTimeout(this.#timer)
    const wakeAtMs = Lease.wakeAtMs(options, this.#state)
    if (!Number.isFinite(wakeAtMs)) return
    const tick = () => this.#send(Lease.Event.Ticked({ nowMs: nowMs() }))
    this.#timer = setTimeout(tick, Math.max(1, wakeAtMs - nowMs()))
    this.#timer.unref()
  }

  #perform(command: Lease.Command, isReleased: boolean): void {
    switch (command._tag) {
      case "Read":
        setTimeout(() => this.#read(), Math.max(0, command.atMs - nowMs()))
        return
      case "CompareAndSet": {
        CrashPoint.hit("lease.beforeWrite")
        if (isReleased) this.#releasing = this.#giveBack(command)
        else void this.#compareAndSet(command)
        return
      }
      case "Gained":
        CrashPoint.hit("lease.gained")
        return this.#init.gained(command.epoch)
      case "Lost":
        return this.#init.lost(command.epoch, command.reason, isReleased)
    }
  }

  #read(): void {
    if (this.#isClosed) return
    const { keyValue, key } = this.#init
    Effect.runCallback(keyValue.get(key), {
      onExit: (exit) => {
        if (Exit.isSuccess(exit)) {
          return this.saw(this.#seen(exit.value))
        }
        this.#init.failed(Cause.squash(exit.cause))
        setTimeout(() => this.#read(), readAgainMs).unref()
      }
    })
  }

  #seen(entry: Entry | undefined): Lease.Seen {
    const { record, revision } = seenOf(entry)
    const { options, storeIsExclusive } = this.#init
    const isAlive = record === null || record.holder === options.me || !storeIsExclusive
    return { record: isAlive ? record : { ...record, holder: null }, revision }
  }

  /**
   * A renewal that was on its way lands before it, and nobody else would know for a whole ttl that the lease is free: as
   * long as the store has this very grant, it is given back again.
   */
  #giveBack({ record, expectedRevision }: CompareAndSet, triesLeft = giveBackTries): Promise<void> {
    const { keyValue, key, saw, options } = this.#init
    const isStillThere = ({ record: there }: Lease.Seen) =>
      there !== null && there.holder === options.me && there.epoch === record.epoch
    const again = Effect.flatMap(keyValue.get(key), (entry) => {
      const seen = seenOf(entry)
      if (triesLeft === 0 || !isStillThere(seen)) return Effect.void
      const command = { _tag: "CompareAndSet", record, expectedRevision: seen.revision } as const
      return Effect.promise(() => this.#giveBack(command, triesLeft - 1))
    })
    const given = keyValue.put(key, Buffer.from(Lease.encode(record)), expectedRevision).pipe(
      Effect.map(() => saw?.(record)),
      Effect.catchTag("RevisionConflict", () => again),
      // Whoever wants it next waits until it has run out.
      Effect.catch(() => Effect.void)
    )
    return new Promise((resolve) => {
      Effect.runCallback(given, {
        onExit: (exit) => {
          if (Exit.isFailure(exit)) this.#init.failed(Cause.squash(exit.cause))
          resolve()
        }
      })
    })
  }

  #compareAndSet({ record, expectedRevision }: CompareAndSet): Promise<void> {
    const { keyValue, key, saw } = this.#init
    const write = keyValue.put(key, Buffer.from(Lease.encode(record)), expectedRevision).pipe(
      Effect.map((revision) => {
        saw?.(record)
        return Lease.Event.Written({ nowMs: nowMs(), seen: { record, revision } })
      }),
      Effect.catchTag("RevisionConflict", () => Effect.succeed(Lease.Event.Refused({ nowMs: nowMs() }))),
      Effect.catch(() => Effect.succeed(Lease.Event.WriteUnknown({ nowMs: nowMs() })))
    )
    return new Promise((resolve) => {
      Effect.runCallback(write, {
        onExit: (exit) => {
          if (Exit.isSuccess(exit)) this.#send(exit.value)
          else this.#init.failed(Cause.squash(exit.cause))
          resolve()
        }
      })
    })
  }
}
