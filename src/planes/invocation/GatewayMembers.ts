/**
 * The gateways that serve together: each announces itself in the key-value store again and again, all watch.
 *
 * Keys: `gateways/{id}`, a JSON of addresses. An id is of one life of a process.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Membership from "../../core/sharding/Membership.ts"
import type { FabricUnavailable } from "../fabric/FabricError.ts"
import type { Change, KeyValue } from "../fabric/KeyValue.ts"
import { nowMs } from "./PlaneClock.ts"

export interface MemberAddress {
  /** Where other gateways reach it, `http://host:port`. */
  readonly peerUrl: string
  /** Where workers reach it, `ws://host:port`. */
  readonly workerUrl: string
}

export interface MembersOptions {
  /** Between two announcements. */
  readonly announceMs: number
  readonly deadAfterMs: number
  /** One that has been there for less takes nothing of an owner that fell silent, while others can. */
  readonly heirAfterMs: number
  /** Nothing was heard for so long, not even of itself: the store is silent, and not the others. */
  readonly blindAfterMs: number
}

/** `heirAfterMs` is more than the ttl of a shard's lease (see `ShardSet`). */
export const defaults: MembersOptions = { announceMs: 500, deadAfterMs: 1_500, heirAfterMs: 2_500, blindAfterMs: 800 }

/** What is left of a process that ended without a word is removed by the others after so long. */
const forgetAfterMs = 60_000

const sureLookMs = 10

const prefix = "gateways/"
const Announced = Schema.Struct({
  peerUrl: Schema.String,
  workerUrl: Schema.String,
  isLeaving: Schema.Boolean,
  // Older gateways do not say it.
  watchesForMs: Schema.optional(Schema.Number)
})
const json = Schema.fromJsonString(Announced)
const encode = Schema.encodeSync(json)
const decode = Schema.decodeUnknownResult(json)

export class GatewayMembers {
  readonly me: string
  readonly #keyValue: KeyValue["Service"]
  readonly #options: MembersOptions
  readonly #changed: () => void
  readonly #addresses = new Map<string, MemberAddress>()
  #state: Membership.State
  #mine: MemberAddress | undefined
  #isPutting = false
  #timer: NodeJS.Timeout | undefined
  #deathTimer: NodeJS.Timeout | undefined

  constructor(init: {
    readonly me: string
    readonly keyValue: KeyValue["Service"]
    readonly options: MembersOptions
    /** Somebody came, left or fell silent. */
    readonly changed: () => void
  }) {
    this.me = init.me
    this.#keyValue = init.keyValue
    this.#options = init.options
    this.#changed = init.changed
    this.#state = Membership.make(init.me, nowMs())
  }

  /** Knows all who are there when it succeeds, and all changes until the scope closes. */
  watch(): Effect.Effect<void, FabricUnavailable, Scope.Scope> {
    return Effect.gen({ self: this }, function* () {
      yield* Effect.addFinalizer(() => Effect.sync(() => clearTimeout(this.#deathTimer)))
      const caughtUp = new Promise<void>((resolve) => {
        this.#onCaughtUp = resolve
      })
      yield* this.#keyValue.watch(prefix, (change) => this.#on(change))
      yield* Effect.promise(() => caughtUp)
    })
  }

  #onCaughtUp: () => void = () => {}
  #isCaughtUp = false

  /** Who was found at the start is there, or counts as gone. */
  async sure(): Promise<void> {
    while (!Membership.isSure(this.#options, this.#state, nowMs())) await sleep(sureLookMs)
  }

  /** From now on others know of this one, and it counts itself. */
  join(address: MemberAddress): void {
    this.#mine = address
    this.#addresses.set(this.me, address)
    this.#announce()
    this.#timer = setInterval(() => {
      this.#announce()
      this.#forget()
    }, this.#options.announceMs)
  }

  /** The others take over what it has. */
  leave(): void {
    this.#state = Membership.step(this.#options, this.#state, { _tag: "LeaveWanted" })
    this.#announce()
    this.#changed()
  }

  /** Nobody is to wait until it counts as gone. */
  async remove(): Promise<void> {
    clearInterval(this.#timer)
    if (this.#mine === undefined) return
    this.#mine = undefined
    await Effect.runPromise(this.#keyValue.remove(prefix + this.me).pipe(Effect.timeout(1_000), Effect.ignore))
  }

  get isLeaving(): boolean {
    return this.#state.isLeaving
  }

  /** Somebody else would take shards. */
  get hasOthers(): boolean {
    return Membership.members(this.#options, this.#state, nowMs()).some((id) => id !== this.me)
  }

  /** It has not been heard of for so long that it counts as gone. */
  isGone(memberId: string): boolean {
    return !Membership.isHeard(this.#options, this.#state, memberId, nowMs())
  }

  /**
   * Whose the shard is to be; undefined: nobody's. Before `join` this one is not among them. `holder`: who has it, as far as
   * the store tells; null: nobody.
   */
  wantedBy(shard: string, holder: string | null): string | undefined {
    const isOrphan = holder !== null && this.isGone(holder)
    const found = (isOrphan ? Membership.heirs : Membership.members)(this.#options, this.#state, nowMs())
    return Membership.ownerOf(shard, this.#mine === undefined ? found.filter((id) => id !== this.me) : found)
  }

  /** Of one that was heard of lately. */
  addressOf(memberId: string): MemberAddress | undefined {
    return Membership.isHeard(this.#options, this.#state, memberId, nowMs()) ? this.#addresses.get(memberId) : undefined
  }

  #on(change: Change): void {
    if (change._tag === "CaughtUp") {
      this.#isCaughtUp = true
      return this.#onCaughtUp()
    }
    const memberId = (change._tag === "Put" ? change.entry.key : change.key).slice(prefix.length)
    const before = this.#state
    if (change._tag === "Deleted") {
      this.#state = Membership.step(this.#options, before, { _tag: "Removed", memberId, revision: change.revision })
      if (this.#state !== before) this.#addresses.delete(memberId)
    } else {
      const decoded = decode(Buffer.from(change.entry.value).toString("utf8"))
      if (Result.isFailure(decoded)) return
      const { isLeaving, watchesForMs = 0, peerUrl, workerUrl } = decoded.success
      const announcement = { memberId, revision: change.entry.revision, isLeaving, watchesForMs }
      const event = { _tag: "Announced", nowMs: nowMs(), announcement, isFound: !this.#isCaughtUp } as const
      this.#state = Membership.step(this.#options, before, event)
      if (this.#state !== before) this.#addresses.set(memberId, { peerUrl, workerUrl })
    }
    if (this.#state === before) return
    this.#armDeath()
    this.#changed()
  }

  #armDeath(): void {
    clearTimeout(this.#deathTimer)
    const atMs = Membership.nextDeathMs(this.#options, this.#state, nowMs())
    if (!Number.isFinite(atMs)) return
    this.#deathTimer = setTimeout(
      () => {
        this.#armDeath()
        this.#changed()
      },
      Math.max(1, Math.ceil(atMs - nowMs()))
    )
    this.#deathTimer.unref()
  }

  #announce(): void {
    if (this.#mine === undefined || this.#isPutting) return
    this.#isPutting = true
    const { isLeaving } = this.#state
    const watchesForMs = Membership.watchesForMs(this.#options, this.#state, nowMs())
    const value = Buffer.from(encode({ ...this.#mine, isLeaving, watchesForMs }))
    Effect.runCallback(this.#keyValue.put(prefix + this.me, value), {
      onExit: (exit) => {
        this.#isPutting = false
        // A store that cannot be reached: the next one may get through. A wish to leave must not wait for it.
        if (Exit.isSuccess(exit) && isLeaving !== this.#state.isLeaving) this.#announce()
      }
    })
  }

  #forget(): void {
    for (const memberId of Membership.forgotten(this.#options, this.#state, nowMs(), forgetAfterMs)) {
      Effect.runFork(this.#keyValue.remove(prefix + memberId).pipe(Effect.ignore))
    }
  }
}
