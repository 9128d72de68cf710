/**
 * The invocation plane of the simulation: shards with the production buffer machine, and the requests in them. It
 * decides nothing about a request: `Buffer.step` does.
 *
 * The log is not simulated: requests are of durability `memory`, because a warm call does not wait for the disk and a
 * cold one waits far longer than it. Heartbeats that change nothing are left out: a busy worker is heard at most
 * `heartbeatMs` after it was heard last, and an idle one holds no lease that could run out.
 *
 * @module
 */
import * as Buffer from "../buffer/Buffer.ts"
import type { Command, Event } from "../buffer/BufferEvent.ts"
import { invariant } from "../collections/invariant.ts"
import type { Arrival } from "./Arrivals.ts"
import { kinds, type SimulatedInstance, type World } from "./World.ts"

interface Request {
  readonly function: number
  readonly atMs: number
  readonly serviceMs: number
  /** -1: never. */
  leasedAtMs: number
  attempts: number
  /** Holds it now, or held it last. */
  instance: SimulatedInstance | undefined
}

interface Shard {
  state: Buffer.State
  tickAtMs: number
}

export class SimulatedShards {
  readonly #world: World
  readonly #shards: ReadonlyArray<Shard>
  readonly #requests = new Map<number, Request>()
  readonly #byWorker = new Map<string, SimulatedInstance>()
  readonly #names: ReadonlyArray<string>
  #sequence = 0

  constructor(world: World) {
    const { scenario } = world
    this.#world = world
    this.#shards = Array.from({ length: Math.max(1, scenario.shards) }, () => ({
      state: Buffer.step(Buffer.empty(scenario.buffer), { _tag: "Recovered", nowMs: 0, epoch: 1 })[0],
      tickAtMs: Number.POSITIVE_INFINITY
    }))
    this.#names = scenario.functions.map((_, index) => `v${index}`)
  }

  /** Accepted and not ended. */
  get openCount(): number {
    return this.#requests.size
  }

  arrive(arrival: Arrival): void {
    const { scenario, nowMs, measured } = this.#world
    const target = scenario.functions[arrival.function]!
    const sequence = ++this.#sequence
    this.#requests.set(sequence, {
      function: arrival.function,
      atMs: nowMs,
      serviceMs: arrival.serviceMs,
      leasedAtMs: -1,
      attempts: 0,
      instance: undefined
    })
    measured.arrivals += 1
    measured.timeline?.arrived(nowMs)
    this.#send(arrival.function, {
      _tag: "Arrived",
      nowMs,
      sequence,
      requestId: "",
      tenant: target.tenant,
      version: this.#names[arrival.function]!,
      mode: "sync",
      durability: "memory",
      deadlineMs: nowMs + target.requestTimeoutMs,
      sizeBytes: 0,
      maxAttempts: target.maxAttempts
    })
  }

  /** The worker is done with it; nothing happens when the lease is no longer its own. */
  done(sequence: number, token: number): void {
    const instance = this.#requests.get(sequence)?.instance
    if (instance === undefined || instance.leases.get(sequence) !== token) return
    if (instance.isConnected) this.#answer(instance, sequence, token)
    else instance.untold.push(sequence)
  }

  tick(index: number, atMs: number): void {
    const shard = this.#shards[index]!
    if (shard.tickAtMs !== atMs) return
    shard.tickAtMs = Number.POSITIVE_INFINITY
    this.#step(shard, index, { _tag: "Ticked", nowMs: this.#world.nowMs })
  }

  /** Its worker connected, or came back with what it holds. */
  join(instance: SimulatedInstance): void {
    const { nowMs } = this.#world
    instance.isConnected = true
    instance.heardAtMs = nowMs
    this.#byWorker.set(instance.id, instance)
    const isLeaving = instance.isLeaving || instance.isTerminating
    this.#send(instance.function, {
      _tag: "WorkerJoined",
      nowMs,
      workerId: instance.id,
      instanceId: instance.id,
      version: this.#names[instance.function]!,
      // As the plane does: what it still holds is heard of, and nothing is assigned.
      slots: isLeaving ? 0 : instance.slots,
      holds: [...instance.leases].map(([sequence, token]) => ({ sequence, token }))
    })
    const { untold } = instance
    instance.untold = []
    for (const sequence of untold) {
      const token = instance.leases.get(sequence)
      if (token !== undefined) this.#answer(instance, sequence, token)
    }
  }

  drain(instance: SimulatedInstance): void {
    const { nowMs } = this.#world
    instance.isLeaving = true
    this.#send(instance.function, { _tag: "WorkerDraining", nowMs, workerId: instance.id })
  }

  disconnect(instance: SimulatedInstance): void {
    if (!instance.isConnected) return
    instance.isConnected = false
    const { nowMs } = this.#world
    this.#send(instance.function, { _tag: "WorkerDisconnected", nowMs, workerId: instance.id })
  }

  /** The instance is known to have ended. */
  lost(instance: SimulatedInstance): void {
    instance.isConnected = false
    instance.leases.clear()
    if (!this.#byWorker.delete(instance.id)) return
    const { nowMs } = this.#world
    this.#send(instance.function, { _tag: "WorkerLost", nowMs, workerId: instance.id })
  }

  heartbeat(instance: SimulatedInstance): void {
    const { nowMs, scenario, queue } = this.#world
    instance.hasHeartbeat = false
    if (instance.life !== "serving" || instance.leases.size === 0) return
    const { heartbeatMs } = scenario.times
    // Compared as it was computed: a difference of two doubles may be a hair less than what was added.
    if (instance.isConnected && nowMs >= instance.heardAtMs + heartbeatMs) {
      instance.heardAtMs = nowMs
      this.#send(instance.function, { _tag: "WorkerHeard", nowMs, workerId: instance.id })
    }
    instance.hasHeartbeat = true
    const lastMs = instance.isConnected ? instance.heardAtMs : nowMs
    queue.put(lastMs + heartbeatMs, kinds.heartbeat, instance.number)
  }

  counts(index: number): Buffer.Counts {
    return Buffer.counts(this.#shardOf(index).state, this.#names[index]!)
  }

  /** Leases of each instance, at this moment: what the last report said may be an interval older. */
  leasedByInstance(index: number): Readonly<Record<string, number>> {
    return Buffer.demand(this.#shardOf(index).state, this.#names[index]!).leasedByInstance
  }

  /** Of all shards and tenants: accepted = pending + leased + ended (L2). */
  totals(): { readonly accepted: number; readonly pending: number; readonly leased: number; readonly ended: number } {
    const sum = { accepted: 0, pending: 0, leased: 0, ended: 0 }
    for (const { state } of this.#shards) {
      for (const tenant of Buffer.totals(state).values()) {
        sum.accepted += tenant.accepted
        sum.pending += tenant.pending
        sum.leased += tenant.leased
        for (const count of Object.values(tenant.ended)) sum.ended += count
      }
    }
    return sum
  }

  #answer(instance: SimulatedInstance, sequence: number, token: number): void {
    const { nowMs, measured } = this.#world
    // What is leased is open.
    const request = this.#requests.get(sequence)!
    measured.functions[request.function]!.busyMs += request.serviceMs
    instance.leases.delete(sequence)
    instance.heardAtMs = nowMs
    const workerId = instance.id
    this.#send(instance.function, { _tag: "ResponseEnded", nowMs, sequence, workerId, token, resultBytes: 0 })
    this.#world.compute.freed(instance)
  }

  #shardOf(index: number): Shard {
    return this.#shards[index % this.#shards.length]!
  }

  #send(index: number, event: Event): void {
    this.#step(this.#shardOf(index), index % this.#shards.length, event)
  }

  #step(shard: Shard, number: number, event: Event): void {
    const [state, commands] = Buffer.advance(shard.state, event)
    shard.state = state
    for (const command of commands) this.#carryOut(command)
    const dueMs = Buffer.nextDueMs(state)
    if (dueMs === undefined || dueMs >= shard.tickAtMs) return
    shard.tickAtMs = Math.max(dueMs, this.#world.nowMs)
    this.#world.queue.put(shard.tickAtMs, kinds.shardTick, number)
  }

  #carryOut(command: Command): void {
    const { nowMs, measured, log, control } = this.#world
    switch (command._tag) {
      case "Assign":
        return this.#assign(command.sequence, command.workerId, command.token)
      case "CancelAttempt": {
        const instance = this.#byWorker.get(command.workerId)
        if (instance?.leases.get(command.sequence) !== command.token) {
          // Whoever died holds nothing any more, though its lease may live until somebody knows.
          invariant(instance?.isConnected !== true, "what is cancelled is held")
          return
        }
        instance.leases.delete(command.sequence)
        return this.#world.compute.freed(instance)
      }
      case "TellEnded": {
        const request = this.#requests.get(command.sequence)
        invariant(request !== undefined, "an end is told once")
        measured.ended[command.terminal] += 1
        log.add(kinds.ended, nowMs, command.sequence, command.terminal.length)
        if (request.leasedAtMs < 0) measured.waits.add(nowMs - request.atMs)
        this.#requests.delete(command.sequence)
        return
      }
      case "Refuse":
        this.#requests.delete(command.sequence)
        measured.refused += 1
        return
      case "DemandChanged":
        return control.demandChanged(Number(command.version.slice(1)), command.urgent)
      default:
        return
    }
  }

  #assign(sequence: number, workerId: string, token: number): void {
    const { nowMs, measured, log, queue, scenario } = this.#world
    const request = this.#requests.get(sequence)
    const instance = this.#byWorker.get(workerId)
    invariant(request !== undefined && instance?.isConnected === true, "what is open goes to who is connected")
    log.add(kinds.leased, nowMs, sequence, instance.number)
    if (request.leasedAtMs < 0) {
      request.leasedAtMs = nowMs
      measured.waited(nowMs - request.atMs, scenario.sloWaitMs)
    }
    if (request.attempts > 0) measured.redelivered += 1
    request.attempts += 1
    request.instance = instance
    instance.leases.set(sequence, token)
    queue.put(nowMs + scenario.times.dispatchMs + request.serviceMs, kinds.requestDone, sequence, token)
    if (instance.hasHeartbeat) return
    instance.hasHeartbeat = true
    queue.put(nowMs + scenario.times.heartbeatMs, kinds.heartbeat, instance.number)
  }
}
