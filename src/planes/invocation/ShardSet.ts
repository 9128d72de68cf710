/**
 * Carries out the lives of all shards in this process: leases, recovery, serving, handing over, giving up.
 *
 * @module
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type * as Lease from "../../core/lease/Lease.ts"
import * as ShardLife from "../../core/sharding/ShardLife.ts"
import * as CrashPoint from "../CrashPoint.ts"
import { FabricUnavailable, type OutcomeUnknown } from "../fabric/FabricError.ts"
import type { Change, KeyValue } from "../fabric/KeyValue.ts"
import * as LeaseHolder from "../LeaseHolder.ts"
import * as GatewayMembers from "./GatewayMembers.ts"
import * as OpenShard from "./OpenShard.ts"
import { nowMs } from "./PlaneClock.ts"
import type { Shard } from "./Shard.ts"
import * as ShardDeparture from "./ShardDeparture.ts"
import { ShardOpening } from "./ShardOpening.ts"
import type { Place, ShardsEvents, ShardsOptions } from "./Shards.ts"
import type { ShardUpkeep } from "./ShardUpkeep.ts"

/** Of the lease of a shard; see `Lease`. */
export type Times = Pick<Lease.Options, "ttlMs" | "renewMs" | "marginMs">

/**
 * Several processes: one that dies is replaced within three seconds, and three renewals in a row may be lost. One that
 * stands still for longer than the ttl less the margin loses what it has, for a moment.
 */
export const sharedTimes: Times = { ttlMs: 2_000, renewMs: 500, marginMs: 250 }
/** Nobody else can take it: long, so that a process that was stopped for a while goes on as if nothing had been. */
const exclusiveTimes: Times = { ttlMs: 60_000, renewMs: 20_000, marginMs: 5_000 }

/** After a failure, before the shard is tried again here. */
const pauseMs = 1_000
/** After a hand-over that was given up, since something ran for too long. */
const tryLaterMs = 15_000
/** How long a hand-over that need not happen may take. */
const patienceMs = 60_000
/** How long a shard whose lease is lost waits for it to come back, before its callers are told to look elsewhere. */
const suspendedMaxMs = 10_000
/** How long a start waits for what it is to serve. */
const joinWaitMs = 10_000
/** Calls go on to whoever took over for so long at least: those that choose a gateway learn of its end some time later. */
const lingerMs = 500

interface Slot {
  readonly index: number
  readonly name: string
  readonly ownership: LeaseHolder.LeaseHolder
  life: ShardLife.State
  isWanted: boolean
  open: OpenShard.OpenShard | undefined
  /** How long that took. */
  openedInMs: number
  scope: Scope.Closeable | undefined
  readonly opening: ShardOpening
  /** It is served, or suspended. */
  shard: Shard | undefined
  suspended: NodeJS.Timeout | undefined
  /** Why it could not be opened when that was last tried. */
  problem: string | undefined
  /** What the watch showed last. */
  watched: Lease.Watched
  /** Its last owner took it when the lease of the one before had run out, and not from its hands. */
  wasTaken: boolean
  /** Where this process alone has the store: who waits for it. */
  alone: { readonly gained: (epoch: number) => void; readonly failed: (error: unknown) => void } | undefined
}

export interface ShardSetInit {
  readonly me: string
  readonly keyValue: KeyValue["Service"]
  readonly options: ShardsOptions
  readonly events: ShardsEvents
  readonly parts: (storeFailed: (message: string) => void) => OpenShard.ShardParts
  readonly upkeep: ShardUpkeep
}

const ownerKeyOf = (shard: string): string => `shards/${shard}/owner`

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

export class ShardSet {
  readonly #init: ShardSetInit
  readonly #slots: ReadonlyArray<Slot>
  readonly #members: GatewayMembers.GatewayMembers
  readonly #listeners = new Set<() => void>()
  #serving: ReadonlyArray<Shard> = []
  #leaveUntilMs = 0
  #isClosed = false
  recordsReplayed = 0

  constructor(init: ShardSetInit) {
    this.#init = init
    const { me, keyValue, options } = init
    this.#members = new GatewayMembers.GatewayMembers({
      me,
      keyValue,
      options: { ...GatewayMembers.defaults, ...options.members },
      changed: () => this.#review()
    })
    this.#slots = Array.from({ length: options.shardCount }, (_, index) => this.#makeSlot(index))
  }

  // --- queries -----------------------------------------------------------------------------------------------------

  get address(): GatewayMembers.MemberAddress | undefined {
    return this.#members.addressOf(this.#init.me)
  }

  get serving(): ReadonlyArray<Shard> {
    return this.#serving
  }

  /** Takes calls here. */
  at(index: number): Shard | undefined {
    const shard = this.#slots[index]?.shard
    return shard?.takesCalls === true ? shard : undefined
  }

  /** Why a shard that falls to this process is not served; undefined: all are, or are on their way. */
  problem(): string | undefined {
    const slot = this.#slots.find(
      ({ isWanted, shard, problem }) => isWanted && shard === undefined && problem !== undefined
    )
    return slot === undefined ? undefined : `${slot.name} cannot be opened: ${slot.problem}`
  }

  /** Open here; it may be on its way to another gateway. */
  shardAt(index: number): Shard | undefined {
    const shard = this.#slots[index]?.shard
    return shard?.isOpen === true ? shard : undefined
  }

  placeOf(index: number): Place {
    const shard = this.at(index)
    if (shard !== undefined) return { kind: "here", shard }
    const slot = this.#slots[index]
    const holder = slot?.watched.seen.record?.holder ?? null
    const isMine = holder === this.#init.me || (slot !== undefined && slot.life._tag !== "Resting" && holder === null)
    const address = holder === null || isMine ? undefined : this.#members.addressOf(holder)
    return address === undefined ? { kind: "changing", isMine } : { kind: "peer", address }
  }

  fellSilent(index: number): boolean {
    return this.#slots[index]?.wasTaken === true
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  // --- one process alone -------------------------------------------------------------------------------------------

  /** All of them, in order, until the scope closes. */
  openAll(): Effect.Effect<void, FabricUnavailable | OutcomeUnknown, Scope.Scope> {
    return Effect.gen({ self: this }, function* () {
      const replays: Array<readonly [string, string]> = []
      for (const slot of this.#slots) {
        const epoch = yield* this.#acquire(slot)
        const open = yield* OpenShard.open(this.#partsOf(slot), slot.name)
        slot.open = open
        slot.shard = open.shard
        this.recordsReplayed += open.recordCount
        replays.push(...open.replays)
        CrashPoint.hit("invocation.shard.beforeBegin")
        yield* open.begin(epoch)
        CrashPoint.hit("invocation.shard.afterBegin")
        yield* Effect.addFinalizer(() => this.#closeInOrder(open))
      }
      this.#changed()
      const shards = new Map(this.#slots.flatMap(({ index, shard }) => (shard === undefined ? [] : [[index, shard]])))
      yield* this.#init.upkeep.noteReplays(this.#serving, replays)
      yield* this.#init.upkeep.dropOrphanBlobs(shards)
    })
  }

  #acquire(slot: Slot): Effect.Effect<number, FabricUnavailable, Scope.Scope> {
    return Effect.andThen(
      Effect.addFinalizer(() => Effect.promise(() => slot.ownership.close())),
      Effect.callback<number, FabricUnavailable>((resume) => {
        slot.alone = {
          gained: (epoch) => resume(Effect.succeed(epoch)),
          failed: (error) => resume(error instanceof FabricUnavailable ? Effect.fail(error) : Effect.die(error))
        }
        slot.ownership.want()
      })
    )
  }

  #closeInOrder(open: OpenShard.OpenShard): Effect.Effect<void> {
    return Effect.promise(async () => {
      open.silence()
      await open.shard.flushed()
      open.shard.close()
    })
  }

  // --- several processes -------------------------------------------------------------------------------------------

  /** Knows who has what when it succeeds. What it serves when the scope closes is handed over as it is. */
  watch(): Effect.Effect<void, FabricUnavailable, Scope.Scope> {
    return Effect.gen({ self: this }, function* () {
      yield* this.#members.watch()
      const caughtUp = new Promise<void>((resolve) => {
        this.#onCaughtUp = resolve
      })
      yield* this.#init.keyValue.watch("shards/", (change) => this.#on(change))
      yield* Effect.promise(() => caughtUp)
      yield* Effect.addFinalizer(() => this.#close())
    })
  }

  #onCaughtUp: () => void = () => {}

  join(address: GatewayMembers.MemberAddress): Effect.Effect<void> {
    return Effect.promise(async () => {
      await this.#members.sure()
      this.#members.join(address)
      this.#review()
      const untilMs = nowMs() + joinWaitMs
      while (this.#slots.some(({ isWanted, shard }) => isWanted && shard === undefined) && nowMs() < untilMs) {
        await sleep(10)
      }
    })
  }

  leave(withinMs: number): Effect.Effect<void> {
    return Effect.promise(async () => {
      // Nobody would take over: what runs here ends here.
      if (withinMs > 0 && !this.#members.hasOthers) return
      const openUntilMs = nowMs() + Math.min(withinMs, lingerMs)
      this.#leaveUntilMs = nowMs() + withinMs
      this.#members.leave()
      // Departures end by that time; what the store does not answer is given up a moment later.
      while (this.#slots.some(({ life }) => life._tag !== "Resting") && nowMs() < this.#leaveUntilMs + 2_000) {
        await sleep(5)
      }
      await sleep(Math.max(0, openUntilMs - nowMs()))
    })
  }

  #close(): Effect.Effect<void> {
    return Effect.andThen(
      this.leave(0),
      Effect.promise(async () => {
        this.#isClosed = true
        await Promise.all(this.#slots.map(({ ownership }) => ownership.close()))
        for (const slot of this.#slots) this.#abandon(slot)
        await this.#members.remove()
      })
    )
  }

  #on(change: Change): void {
    if (change._tag === "CaughtUp") return this.#onCaughtUp()
    if (change._tag === "Deleted") return
    const slot = this.#slots.find(({ name }) => ownerKeyOf(name) === change.entry.key)
    if (slot === undefined) return
    const seen = LeaseHolder.seenOf(change.entry)
    const before = slot.watched.seen.record?.holder
    slot.watched = { seen, sinceMs: nowMs() }
    const now = seen.record?.holder
    // Whoever hands it over says so before another takes it.
    if (now !== before) slot.wasTaken = typeof now === "string" && typeof before === "string"
    // Another had it meanwhile, and may have cut its log behind what was read.
    if (now !== before && now !== this.#init.me) slot.opening.drop()
    slot.ownership.saw(seen)
    const holder = seen.record?.holder ?? this.#init.me
    const { life } = slot
    if (life._tag === "Suspended" && holder !== this.#init.me) this.#send(slot, { _tag: "GivenUp", epoch: life.epoch })
    // An heir has it now: it may fall to one that came since.
    if (now !== before) this.#review()
  }

  /** Who is there may have changed, and with it what is wanted here. */
  #review(): void {
    if (this.#isClosed) return
    for (const slot of this.#slots) {
      const holder = slot.watched.seen.record?.holder ?? null
      const isWanted = this.#members.wantedBy(slot.name, holder) === this.#init.me
      if (isWanted === slot.isWanted) continue
      slot.isWanted = isWanted
      this.#send(slot, { _tag: isWanted ? "Wanted" : "Unwanted" })
    }
    this.#tell()
  }

  // --- the life of one ---------------------------------------------------------------------------------------------

  #makeSlot(index: number): Slot {
    const { me, keyValue, options, events } = this.#init
    const name = OpenShard.nameOf(index)
    const { storeIsExclusive } = options
    const times = storeIsExclusive ? exclusiveTimes : { ...sharedTimes, ...options.ownership }
    const slot: Slot = {
      index,
      name,
      ownership: new LeaseHolder.LeaseHolder({
        key: ownerKeyOf(name),
        keyValue,
        options: { me, ...times },
        storeIsExclusive,
        gained: (epoch) => {
          if (storeIsExclusive) return slot.alone?.gained(epoch)
          this.#send(slot, { _tag: "Gained", epoch })
        },
        lost: (epoch, reason, isReleased) => {
          if (isReleased) return
          if (storeIsExclusive) return events.storeFailed(`the ownership of ${name} was lost: ${reason}`)
          events.moved?.(name, `lost: ${reason}`)
          this.#send(slot, { _tag: "Lost", epoch })
        },
        failed: (error) => (slot.alone === undefined ? events.defect(error) : slot.alone.failed(error))
      }),
      life: ShardLife.resting,
      isWanted: false,
      open: undefined,
      openedInMs: 0,
      scope: undefined,
      opening: new ShardOpening((turn) =>
        OpenShard.open(this.#partsOf(slot), name, turn, () => slot.ownership.actsUntilMs)
      ),
      shard: undefined,
      suspended: undefined,
      problem: undefined,
      alone: undefined,
      wasTaken: false,
      watched: { seen: { record: null, revision: 0 }, sinceMs: nowMs() }
    }
    return slot
  }

  #partsOf(slot: Slot): OpenShard.ShardParts {
    const { events, options } = this.#init
    return this.#init.parts((message) => {
      // A store that this process alone has: trying it again might hide what was lost.
      if (options.storeIsExclusive) return events.storeFailed(message)
      events.moved?.(slot.name, `its store failed, so it is opened anew: ${message}`)
      const { life } = slot
      if ("epoch" in life) this.#send(slot, { _tag: "StoreFailed", epoch: life.epoch })
    })
  }

  #send(slot: Slot, event: ShardLife.Event): void {
    const [life, commands] = ShardLife.step(slot.life, event)
    slot.life = life
    for (const command of commands) this.#perform(slot, command)
  }

  #perform(slot: Slot, command: ShardLife.Command): void {
    switch (command._tag) {
      case "Ask": {
        const holder = slot.watched.seen.record?.holder ?? null
        if (holder !== null && this.#members.isGone(holder)) slot.opening.begin()
        return slot.ownership.want(slot.watched)
      }
      case "Release":
        slot.opening.drop()
        void slot.ownership.release()
        return
      case "Open":
        return this.#open(slot, command.epoch)
      case "Serve":
        return this.#serve(slot, command.epoch)
      case "HandOver":
        return void this.#handOver(slot, command.epoch)
      case "Suspend":
        slot.suspended = setTimeout(
          () => this.#send(slot, { _tag: "GivenUp", epoch: command.epoch }),
          suspendedMaxMs
        ).unref()
        return this.#tell()
      case "Resume":
        clearTimeout(slot.suspended)
        this.#init.events.moved?.(slot.name, `served here again, from epoch ${command.epoch} on`)
        slot.shard?.resume()
        return this.#tell()
      case "Abandon":
        return this.#abandon(slot)
      case "Pause":
        setTimeout(() => this.#send(slot, { _tag: "PauseOver" }), pauseMs).unref()
        return
      case "TryLater":
        setTimeout(() => {
          if (!slot.isWanted) this.#send(slot, { _tag: "Unwanted" })
        }, tryLaterMs).unref()
        return
    }
  }

  #open(slot: Slot, epoch: number): void {
    slot.opening.finish((exit, tookMs) => {
      if (Exit.isSuccess(exit)) {
        slot.open = exit.value
        slot.openedInMs = tookMs
        slot.problem = undefined
        return this.#send(slot, { _tag: "Opened", epoch })
      }
      const reason = Cause.pretty(exit.cause)
      // It is tried again each second; once is enough to be told.
      if (reason !== slot.problem) this.#init.events.moved?.(slot.name, `it could not be opened: ${reason}`)
      slot.problem = reason
      this.#send(slot, { _tag: "OpenFailed", epoch })
    })
  }

  #serve(slot: Slot, epoch: number): void {
    const { open } = slot
    if (open === undefined) return
    const scope = Effect.runSync(Scope.make())
    slot.scope = scope
    slot.shard = open.shard
    this.recordsReplayed += open.recordCount
    Effect.runSync(Scope.provide(open.begin(epoch), scope))
    const how = `opened in ${Math.round(slot.openedInMs)} ms, with ${open.recordCount} records read`
    this.#init.events.moved?.(slot.name, `served here from epoch ${epoch} on: ${how}`)
    this.#changed()
    const { upkeep, events } = this.#init
    Effect.runFork(
      Effect.andThen(
        upkeep.noteReplays(this.#serving, open.replays),
        upkeep.dropOrphanBlobs(new Map([[slot.index, open.shard]]))
      ).pipe(Effect.catchCause((cause) => Effect.sync(() => events.defect(cause))))
    )
  }

  async #handOver(slot: Slot, epoch: number): Promise<void> {
    const { open } = slot
    if (open === undefined) return
    const isForced = this.#members.isLeaving
    const isStillOurs = () => slot.open === open && slot.life._tag === "Leaving" && slot.life.epoch === epoch
    await Effect.runPromise(open.compact)
    const outcome = await ShardDeparture.depart(open, {
      untilMs: isForced ? this.#leaveUntilMs : nowMs() + patienceMs,
      isForced,
      isStillOurs,
      gate: (isOpen) => {
        if (open.shard.takesCalls === isOpen) return
        open.shard.takesCalls = isOpen
        this.#tell()
      },
      sleep
    }).catch((error: unknown) => {
      this.#init.events.defect(error)
      return "stayed" as const
    })
    if (outcome === "lost") return
    if (outcome === "stayed") return this.#send(slot, { _tag: "StayedOn", epoch })
    this.#closed(slot)
    this.#init.events.moved?.(slot.name, "handed over")
    this.#send(slot, { _tag: "HandedOver", epoch })
  }

  #abandon(slot: Slot): void {
    const { open } = slot
    clearTimeout(slot.suspended)
    slot.opening.abandon()
    open?.silence()
    open?.shard.depart()
    this.#closed(slot)
  }

  #closed(slot: Slot): void {
    const { scope } = slot
    slot.open = undefined
    slot.shard = undefined
    slot.scope = undefined
    if (scope !== undefined) Effect.runFork(Scope.close(scope, Exit.void))
    this.#changed()
  }

  #changed(): void {
    this.#serving = this.#slots.flatMap(({ shard }) => (shard === undefined ? [] : [shard]))
    this.#tell()
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener()
  }
}
