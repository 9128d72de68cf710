/**
 * A gateway process: wants every shard, serves those that the lease machine gives it, is killed, paused and started
 * again. Each life is a holder of its own.
 *
 * @module
 */
import * as Lease from "../../../src/core/lease/Lease.ts"
import type { End } from "./Connection.ts"
import { ServingShard } from "./ServingShard.ts"
import type { Shard, World } from "./World.ts"

export const leaseTtlMs = 900

export class SimulatedGateway {
  readonly name: string
  readonly #world: World
  #life = 0
  #isUp = false
  #isPaused = false
  #backlog: Array<() => void> = []
  #ownerships: Array<Ownership> = []

  constructor(world: World, name: string) {
    this.#world = world
    this.name = name
  }

  get isUp(): boolean {
    return this.#isUp
  }

  start(): void {
    if (this.#isUp) return
    this.#isUp = true
    const life = ++this.#life
    const receive = (action: () => void) => this.#receive(life, action)
    // Its clock is its own.
    const clockMs = this.#world.dice.between(0, 1_000_000)
    const me = `${this.name}.${life}`
    this.#ownerships = this.#world.shards.map(
      (shard) => new Ownership(this.#world, shard, { me, clockMs, receive, onStoreFailed: () => this.#fail(life) })
    )
  }

  crash(): void {
    if (!this.#isUp) return
    this.#isUp = false
    this.#isPaused = false
    this.#backlog = []
    this.#life++
    for (const { serving } of this.#ownerships) serving?.close()
    this.#ownerships = []
    this.#world.timeline.after(this.#world.dice.between(20, 400), () => this.start())
  }

  pause(forMs: number): void {
    if (!this.#isUp || this.#isPaused) return
    this.#isPaused = true
    const life = this.#life
    this.#world.timeline.after(forMs, () => {
      if (life === this.#life) this.resume()
    })
  }

  resume(): void {
    this.#isPaused = false
    const { length } = this.#backlog
    for (const action of this.#backlog.splice(0, length)) action()
  }

  /** It owns the shard, or thinks so. */
  serving(shard: Shard): ServingShard | undefined {
    const serving = this.#ownerships.find((ownership) => ownership.shard === shard)?.serving
    return serving?.isClosed === true ? undefined : serving
  }

  isActing(shard: Shard): boolean {
    return this.#ownerships.some((ownership) => ownership.shard === shard && ownership.isActing())
  }

  /** Its end of a connection. */
  end(gone: () => void): End {
    const life = this.#life
    return { receive: (action) => this.#receive(life, action), gone }
  }

  #receive(life: number, action: () => void): void {
    if (life !== this.#life || !this.#isUp) return
    if (this.#isPaused) this.#backlog.push(action)
    else action()
  }

  /** Nothing more is taken until a restart; whoever watches over the process gives it one. */
  #fail(life: number): void {
    this.#world.met.storeFailures++
    this.#world.timeline.after(this.#world.dice.between(10, 200), () => {
      if (life === this.#life) this.crash()
    })
  }
}

interface Owner {
  readonly me: string
  readonly clockMs: number
  readonly receive: (action: () => void) => void
  readonly onStoreFailed: () => void
}

class Ownership {
  readonly shard: Shard
  serving: ServingShard | undefined
  readonly #world: World
  readonly #owner: Owner
  readonly #options: Lease.Options
  #state: Lease.State
  #wakeAtMs = Number.POSITIVE_INFINITY

  constructor(world: World, shard: Shard, owner: Owner) {
    this.#world = world
    this.shard = shard
    this.#owner = owner
    this.#options = { me: owner.me, ttlMs: leaseTtlMs, renewMs: 300, marginMs: 100 }
    this.#state = Lease.idle(this.#nowMs)
    this.#send(Lease.Event.Wanted({ nowMs: this.#nowMs }))
  }

  get #nowMs(): number {
    return this.#world.timeline.nowMs + this.#owner.clockMs
  }

  isActing(): boolean {
    return this.#world.leases.isActing(this.#options, this.#state, this.#nowMs)
  }

  /** Asked before each act. An owner that finds its time over has lost it, though a renewal may be on its way. */
  #mayAct(): boolean {
    if (this.isActing()) return true
    this.#send(Lease.Event.Ticked({ nowMs: this.#nowMs }))
    return false
  }

  #send(event: Lease.Event): void {
    const [state, commands] = this.#world.leases.step(this.#options, this.#state, event)
    this.#state = state
    for (const command of commands) this.#perform(command)
    this.#arm()
  }

  #arm(): void {
    const wakeAtMs = Lease.wakeAtMs(this.#options, this.#state)
    if (wakeAtMs === this.#wakeAtMs || !Number.isFinite(wakeAtMs)) return
    this.#wakeAtMs = wakeAtMs
    this.#world.timeline.after(Math.max(1, wakeAtMs - this.#nowMs), () =>
      this.#owner.receive(() => {
        if (wakeAtMs !== this.#wakeAtMs) return
        this.#wakeAtMs = Number.POSITIVE_INFINITY
        this.#send(Lease.Event.Ticked({ nowMs: this.#nowMs }))
      })
    )
  }

  #perform(command: Lease.Command): void {
    const { store, invariants } = this.shard
    const { receive } = this.#owner
    switch (command._tag) {
      case "Read":
        return store.read((seen) => receive(() => this.#send(Lease.Event.Seen({ nowMs: this.#nowMs, seen }))))
      case "CompareAndSet":
        return store.compareAndSet(command, (result) =>
          receive(() => {
            const nowMs = this.#nowMs
            if (result === "refused") return this.#send(Lease.Event.Refused({ nowMs }))
            if (result === "unknown") return this.#send(Lease.Event.WriteUnknown({ nowMs }))
            this.#send(Lease.Event.Written({ nowMs, seen: result }))
          })
        )
      case "Gained":
        invariants.gained(command.epoch)
        this.#world.met.owners++
        return this.#world.timeline.after(this.#world.dice.between(1, 20), () =>
          receive(() => this.#begin(command.epoch))
        )
      case "Lost":
        this.serving?.close()
        this.serving = undefined
        return
    }
  }

  #begin(epoch: number): void {
    if (this.#state._tag !== "Holding" || this.#state.epoch !== epoch || !this.#mayAct()) return
    this.serving?.close()
    const { receive, onStoreFailed } = this.#owner
    const isActing = () => this.#mayAct()
    this.serving = new ServingShard(this.#world, this.shard, { epoch, isActing, receive, onStoreFailed })
  }
}
