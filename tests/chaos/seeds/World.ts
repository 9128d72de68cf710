/**
 * One simulated world: two gateways that own one or two shards in turn, workers, callers, the disk, the lease store and the
 * network between them. The machines in it are those of production; everything else is made up from one seed, and nothing
 * waits for a real clock, a real disk or a real socket.
 *
 * First faults, then none: whatever was accepted must have ended by then, and must be there when it is claimed, also after
 * one more power cut.
 *
 * @module
 */

import type { Machine } from "../../../property-tests/BufferWorld.ts"
import type { Leases } from "../../../property-tests/zoo/leaseBugs.ts"
import * as Buffer from "../../../src/core/buffer/Buffer.ts"
import type { BufferOptions } from "../../../src/core/buffer/BufferOptions.ts"
import type { Entry as HistoryEntry } from "../../history/History.ts"
import type { Seen } from "../Recording.ts"
import type { CallFacts } from "./CallFacts.ts"
import type { Connection } from "./Connection.ts"
import { Invariants } from "./Invariants.ts"
import type { ServingShard } from "./ServingShard.ts"
import { SimulatedCaller } from "./SimulatedCaller.ts"
import { SimulatedDisk } from "./SimulatedDisk.ts"
import { leaseTtlMs, SimulatedGateway } from "./SimulatedGateway.ts"
import { SimulatedStore } from "./SimulatedStore.ts"
import { SimulatedWorker } from "./SimulatedWorker.ts"
import { type Dice, Timeline } from "./Timeline.ts"
import * as Weather from "./Weather.ts"

export interface WorldOptions {
  readonly seed: number
  readonly machine: Machine
  readonly leases: Leases
  readonly controls: Weather.Controls
  /** A control: what is never written is lost. */
  readonly durability: "accepted" | "memory"
}

export interface Shard {
  readonly name: string
  readonly disk: SimulatedDisk
  readonly store: SimulatedStore
  readonly invariants: Invariants
  /** An owner takes a step. */
  readonly acts: () => void
}

const callCount = 24
const faultsMs = 4_000
/** Far longer than every delay, lease and backoff in here, far shorter than a patient deadline. */
const calmMaxMs = 30_000
const patientMs = 300_000

/** Small, so that every limit is reached; kept results outlast the world. */
const bufferOptions: BufferOptions = {
  pendingCountMax: 12,
  pendingBytesMax: 30,
  visibilityTimeoutMs: 600,
  redeliveryDelayMs: 20,
  redeliveryDelayMaxMs: 200,
  resultRetentionMs: 3_600_000,
  retryAfterMs: 10
}

const versions = ["v1", "v2"] as const

export class World {
  readonly timeline: Timeline
  readonly machine: Machine
  readonly leases: Leases
  readonly options = bufferOptions
  readonly dice: Dice
  readonly networkDice: Dice
  readonly history: Array<HistoryEntry> = []
  readonly shards: ReadonlyArray<Shard>
  readonly gateways: ReadonlyArray<SimulatedGateway>
  /** Of callers. */
  readonly connections = new Set<Connection>()
  readonly callers: Array<SimulatedCaller> = []
  /** How often each hard case was met. */
  readonly met = {
    owners: 0,
    snapshots: 0,
    storeFailures: 0,
    stale: 0,
    refusals: 0,
    joins: 0,
    crashes: 0,
    pauses: 0,
    powerCuts: 0,
    drops: 0,
    deaths: 0,
    stalls: 0,
    fullDisks: 0,
    removals: 0
  }
  isFaulty = true
  #weather: Weather.Weather
  readonly weather = (): Weather.Weather => this.#weather
  readonly #workers = new Set<SimulatedWorker>()
  readonly #plans: Dice
  readonly #durability: WorldOptions["durability"]
  readonly #promised = new Map<string, Set<string>>()
  #lastWorker = 0

  constructor({ seed, machine, leases, controls, durability }: WorldOptions) {
    this.timeline = new Timeline(seed)
    this.machine = machine
    this.leases = leases
    this.dice = this.timeline.dice("world")
    this.networkDice = this.timeline.dice("network")
    this.#plans = this.timeline.dice("plans")
    this.#durability = durability
    this.#weather = Weather.draw(this.timeline.dice("weather"), controls)
    const shardCount = this.#plans.between(1, 2)
    this.shards = Array.from({ length: shardCount }, (_, index) => this.#makeShard(`s${index + 1}`))
    this.gateways = ["a", "b"].map((name) => new SimulatedGateway(this, name))
  }

  see(entry: Seen): void {
    // One of the entries with its time put back.
    this.history.push({ ...entry, atMs: this.timeline.nowMs } as HistoryEntry)
  }

  /** Where a client would go: to one that owns the shard or thinks so. */
  ownerOf(shard: Shard): { readonly gateway: SimulatedGateway; readonly serving: ServingShard } | undefined {
    const found = this.gateways.flatMap((gateway) => {
      const serving = gateway.serving(shard)
      return serving === undefined ? [] : { gateway, serving }
    })
    const [first, ...others] = found
    return first === undefined ? undefined : this.networkDice.pick([first, ...others])
  }

  workerDied(worker: SimulatedWorker): void {
    this.#workers.delete(worker)
    this.timeline.after(this.dice.between(50, 500), () => this.#startWorker(worker.version))
  }

  /** The whole story. */
  live(): void {
    for (const gateway of this.gateways) gateway.start()
    for (const version of versions) {
      for (let count = this.#plans.between(1, 2); count > 0; count--) this.#startWorker(version)
    }
    for (let index = 0; index < callCount; index++) {
      this.timeline.after(this.#plans.between(0, faultsMs), () => this.#startCaller(index))
    }
    this.#startFaults()
    this.timeline.run(this.timeline.nowMs + faultsMs)
    this.#stopFaults()
    this.timeline.run(this.timeline.nowMs + calmMaxMs, () => this.#isAtRest())
    this.#everythingEnded()
    this.#claimAll()
    this.#cutPower()
    this.timeline.run(this.timeline.nowMs + 10 * leaseTtlMs, () => this.#isOwned())
    this.#claimAll()
  }

  // --- who is there ------------------------------------------------------------------------------------------------

  #makeShard(name: string): Shard {
    const invariants = new Invariants(bufferOptions, () => this.timeline.nowMs)
    const shard: Shard = {
      name,
      disk: new SimulatedDisk(this.timeline, this.timeline.dice(`disk of ${name}`), this.weather),
      store: new SimulatedStore(this.timeline, this.timeline.dice(`store of ${name}`), this.weather),
      invariants,
      acts: () => {
        const acting = this.gateways.filter((gateway) => gateway.isActing(shard)).map((gateway) => gateway.name)
        invariants.expect("E1", acting.length <= 1, () => `${acting.join(" and ")} both own ${name}`)
      }
    }
    return shard
  }

  #shardOf(version: string): Shard {
    const [first, second = first] = this.shards
    // There is one at least.
    return (version === "v1" ? first : second) as Shard
  }

  #startWorker(version: string): void {
    const worker = new SimulatedWorker(this, this.#shardOf(version), { id: `w${++this.#lastWorker}`, version })
    this.#workers.add(worker)
  }

  #startCaller(index: number): void {
    const plans = this.#plans
    const version = plans.pick(versions)
    const isForger = index > 1 && plans.chance(0.1)
    const hasKey = isForger || plans.chance(0.4)
    // Two tenants in turn have the same keys.
    const tenant = index % 2 === 0 ? "t1" : "t2"
    const { nowMs } = this.timeline
    const call: CallFacts = {
      item: `i${index}`,
      tenant,
      version,
      body: `body of i${index}`,
      key: hasKey ? `k${(isForger ? index - 2 : index) >> 1}` : undefined,
      mode: plans.chance(0.5) ? "async" : "sync",
      durability: this.#durability === "memory" ? "memory" : plans.chance(0.3) ? "always" : "accepted",
      deadlineMs: nowMs + (plans.chance(0.2) ? plans.between(20, 1_500) : patientMs),
      sizeBytes: plans.between(1, 4),
      maxAttempts: plans.between(1, 4),
      work: plans.pick([
        "answers",
        "answers",
        "answers",
        "answers",
        "streams",
        "streams",
        "fails",
        "flickers",
        "poison"
      ]),
      workMs: plans.chance(0.7) ? plans.between(1, 60) : plans.between(100, 1_000),
      pollMs: plans.chance(0.5) ? plans.between(5, 300) : 6_000,
      isCancelledWhenLeft: plans.chance(0.3)
    }
    const patience = {
      leavesAfterMs: plans.chance(0.2) ? plans.between(10, 400) : 8_000,
      callsMax: 3,
      cancels: plans.chance(0.1),
      isForger
    }
    const promised = this.#promised.get(tenant) ?? new Set<string>()
    this.#promised.set(tenant, promised)
    this.callers.push(new SimulatedCaller(this, this.#shardOf(version), call, patience, promised))
  }

  // --- faults ------------------------------------------------------------------------------------------------------

  #startFaults(): void {
    const dice = this.timeline.dice("faults")
    const { met } = this
    const pickWorker = () => {
      const [first, ...others] = this.#workers
      return first === undefined ? undefined : dice.pick([first, ...others])
    }
    const [first, ...others] = this.gateways
    const pickGateway = () => (first === undefined ? undefined : dice.pick([first, ...others]))
    this.#every(dice, this.#weather.crashEveryMs, () => {
      met.crashes++
      pickGateway()?.crash()
    })
    this.#every(dice, this.#weather.pauseEveryMs, () => {
      met.pauses++
      pickGateway()?.pause(dice.between(50, 3 * leaseTtlMs))
    })
    this.#every(dice, this.#weather.powerCutEveryMs, () => {
      met.powerCuts++
      this.#cutPower()
    })
    this.#every(dice, this.#weather.dropEveryMs, () => {
      met.drops++
      for (const connection of this.connections) {
        if (!connection.isOpen) this.connections.delete(connection)
        else if (dice.chance(0.4)) connection.drop()
      }
      for (const worker of this.#workers) if (dice.chance(0.3)) worker.dropConnection()
    })
    this.#every(dice, this.#weather.workerDeathEveryMs, () => {
      met.deaths++
      const worker = pickWorker()
      if (!dice.chance(0.2)) return worker?.die(dice.chance(0.6))
      worker?.drain()
      this.timeline.after(400, () => worker?.die(true))
    })
    this.#every(dice, this.#weather.workerStallEveryMs, () => {
      met.stalls++
      pickWorker()?.stall(dice.between(100, stallMaxMs))
    })
    this.#every(dice, this.#weather.removalEveryMs, () => this.#removeVersion(dice.pick(versions)))
    this.#every(dice, this.#weather.fullDiskEveryMs, () => {
      met.fullDisks++
      const { disk } = dice.pick(this.shards as readonly [Shard, ...ReadonlyArray<Shard>])
      disk.isFull = true
      this.timeline.after(dice.between(50, 600), () => {
        disk.isFull = false
      })
    })
  }

  #removeVersion(version: string): void {
    this.met.removals++
    const found = this.ownerOf(this.#shardOf(version))
    found?.gateway.end(() => undefined).receive(() => found.serving.removeVersion(version))
  }

  #every(dice: Dice, meanMs: number, happen: () => void): void {
    if (!Number.isFinite(meanMs)) return
    this.timeline.after(dice.exponential(meanMs), () => {
      if (!this.isFaulty) return
      happen()
      this.#every(dice, meanMs, happen)
    })
  }

  #cutPower(): void {
    for (const gateway of this.gateways) gateway.crash()
    for (const { disk } of this.shards) disk.cutPower()
  }

  #stopFaults(): void {
    this.isFaulty = false
    this.#weather = Weather.calm(this.#weather)
    for (const { disk } of this.shards) disk.isFull = false
    for (const gateway of this.gateways) {
      gateway.resume()
      gateway.start()
    }
  }

  // --- the end -----------------------------------------------------------------------------------------------------

  #isOwned(): boolean {
    return this.shards.every((shard) => this.ownerOf(shard) !== undefined)
  }

  #live(): ReadonlyArray<string> {
    return this.shards.flatMap((shard) => {
      const serving = this.ownerOf(shard)?.serving
      if (serving === undefined) return [`${shard.name} has no owner`]
      return Buffer.liveSequences(serving.state).flatMap((sequence) => {
        const found = Buffer.lookup(serving.state, sequence)
        const isOver = found === undefined || (found.state === "terminal" && found.told)
        return isOver ? [] : `${found.requestId} is ${found.state}, attempt ${found.attempt}`
      })
    })
  }

  #isAtRest(): boolean {
    return this.callers.every(({ isDone }) => isDone) && this.#live().length === 0
  }

  #everythingEnded(): void {
    const [{ invariants }] = this.shards as readonly [Shard, ...ReadonlyArray<Shard>]
    const open = [...this.#live(), ...this.callers.flatMap(({ isDone, call }) => (isDone ? [] : `${call.item} waits`))]
    invariants.expect("L18", open.length === 0, () => `${calmMaxMs} ms after the last fault: ${open.join("; ")}`)
  }

  #claimAll(): void {
    for (const [tenant, promised] of this.#promised) {
      for (const requestId of promised) {
        const shard = this.shards.find(({ name }) => requestId.startsWith(`${name}:`))
        const serving = shard === undefined ? undefined : this.ownerOf(shard)?.serving
        const result = serving?.claim(requestId) ?? { kind: "absent" }
        this.see({ _tag: "Claimed", tenant, requestId, result })
      }
    }
  }
}

export const stallMaxMs = 1_200
