/**
 * Discrete events in virtual time over the production machines: the buffer of each shard, the scaling machine of each
 * function under its policy, placement, the fleet plan and the life of each instance are those that run in production.
 * What is simulated is the world around them: requests, clusters, starts, faults, delays.
 *
 * Safety phase, then liveness phase: faults begin and end as the scenario says; after the last of them and the last
 * arrival nothing goes wrong any more, and everything must end within `livenessMs`.
 *
 * Laws (`property-tests/Simulation.laws.test.ts`):
 * - V1 the same scenario gives the same log, event for event (`hash`), however often and in whatever portions it is run.
 * - V2 nothing is lost: arrivals = refused + ended + open, and the buffers' own totals say the same (L2).
 * - V3 once the faults are over, everything ends (L18).
 * - V4 never more GPUs in use than there are (L16), and a desired count within its bounds (L14).
 * - V5 without faults, and with room, nobody waits longer than a start and the platform's own delays under `demand`.
 * - V6 memory is bounded by what is open: ended requests and instances are forgotten.
 *
 * @module
 */

import type { Terminal } from "../buffer/BufferEvent.ts"
import { invariant, unreachable } from "../collections/invariant.ts"
import type * as Arrivals from "./Arrivals.ts"
import { EventQueue } from "./EventQueue.ts"
import { LogHash } from "./LogHash.ts"
import { Measurements } from "./Measurements.ts"
import * as Random from "./Random.ts"
import type { Fault, Scenario } from "./Scenario.ts"
import * as Scenarios from "./Scenario.ts"
import { SimulatedCompute } from "./SimulatedCompute.ts"
import { SimulatedControl } from "./SimulatedControl.ts"
import { SimulatedShards } from "./SimulatedShards.ts"
import type { Picture } from "./Timeline.ts"
import { kinds, type World } from "./World.ts"

/** Times in milliseconds, quantiles within 1 %. */
export interface Result {
  readonly hash: string
  /** Events of the world; each may cause several steps of machines. */
  readonly events: number
  /** When the last request had ended. */
  readonly spanMs: number
  readonly arrivals: number
  readonly ended: Readonly<Record<Terminal, number>>
  readonly refused: number
  readonly redelivered: number
  /** Still open when the liveness phase was over: 0, or something is wrong. */
  readonly open: number
  /** From arrival to the first lease. */
  readonly wait: {
    readonly p50: number
    readonly p90: number
    readonly p99: number
    readonly max: number
    readonly mean: number
  }
  /** Share of all arrivals that waited no longer than `sloWaitMs`. */
  readonly sloAttainment: number
  readonly coldStarts: number
  readonly failedStarts: number
  /** From the begin of a start to the end of the instance. */
  readonly instanceSeconds: number
  /** Share of the slots of all instances, over their whole lives, in which a request was worked on. */
  readonly busyShare: number
  readonly decisions: number
  readonly directionChangesPerHour: number
  readonly cost: number
  readonly picture: Picture | undefined
}

export interface Simulation {
  /** Goes on by at most so many events; true: it is over. */
  readonly advance: (events: number) => boolean
  /** Virtual time so far. */
  readonly nowMs: () => number
  readonly arrivals: () => number
  /** What is open now, for those who watch over it. */
  readonly inspect: () => Inspection
  readonly result: () => Result
}

export interface Inspection {
  readonly nowMs: number
  readonly open: number
  readonly arrivals: number
  readonly ended: number
  readonly refused: number
  readonly buffers: ReturnType<SimulatedShards["totals"]>
  readonly desired: ReadonlyArray<number>
  readonly instances: ReadonlyArray<{
    readonly cluster: number
    readonly node: number
    readonly gpuCount: number
    readonly life: string
  }>
}

/** A scenario that cannot be run; `problems` are sentences for a person. */
export class ImpossibleScenario extends Error {
  readonly _tag = "ImpossibleScenario"
  readonly problems: ReadonlyArray<string>
  constructor(problems: ReadonlyArray<string>) {
    super(`this cannot be simulated: ${problems.join("; ")}`)
    this.problems = problems
  }
}

/** Throws `ImpossibleScenario`. */
export const start = (scenario: Scenario): Simulation => {
  const problems = Scenarios.problems(scenario)
  if (problems.length > 0) throw new ImpossibleScenario(problems)
  const world = new Run(scenario)
  return {
    advance: (events) => world.advance(events),
    nowMs: () => world.nowMs,
    arrivals: () => world.measured.arrivals,
    inspect: () => world.inspect(),
    result: () => world.result()
  }
}

/** To its end, in one go. */
export const run = (scenario: Scenario): Result => {
  const simulation = start(scenario)
  while (!simulation.advance(1_000_000)) {
    // It goes on.
  }
  return simulation.result()
}

class Run implements World {
  nowMs = 0
  readonly scenario: Scenario
  readonly random: Random.Random
  readonly queue = new EventQueue()
  readonly log = new LogHash()
  readonly measured: Measurements
  readonly shards: SimulatedShards
  readonly control: SimulatedControl
  readonly compute: SimulatedCompute
  readonly #source: Arrivals.Source
  #next: Arrivals.Arrival | undefined
  #events = 0
  #faultsLeft: number
  /** When the last thing came that could be trouble: an arrival or a fault. */
  #lastTroubleMs = 0
  #isOver = false

  constructor(scenario: Scenario) {
    this.scenario = scenario
    this.random = Random.make(scenario.seed)
    this.measured = new Measurements(scenario.functions.length, scenario.timelineMs)
    // In this order: each one may look at those before it when it is made.
    this.shards = new SimulatedShards(this)
    this.control = new SimulatedControl(this)
    this.compute = new SimulatedCompute(this)
    this.#source = scenario.arrivals()
    this.#next = this.#source()
    this.#faultsLeft = scenario.faults.length
    scenario.faults.forEach((fault, index) => {
      this.queue.put(fault.atMs, kinds.faultBegins, index)
    })
    this.control.begin()
    this.control.settle()
  }

  advance(events: number): boolean {
    for (let count = 0; count < events && !this.#isOver; count++) this.#step()
    return this.#isOver
  }

  #step(): void {
    const { queue, shards } = this
    const next = this.#next
    const isSettled = next === undefined && this.#faultsLeft === 0
    if (isSettled && (shards.openCount === 0 || queue.nextMs > this.#lastTroubleMs + this.scenario.livenessMs)) {
      this.#isOver = true
      return
    }
    this.#events += 1
    // An arrival comes before what is due at the same moment.
    if (next !== undefined && next.atMs <= queue.nextMs) this.#arrive(next)
    else {
      invariant(queue.take(), "a fault that is left, or something to wait for, is in the queue")
      this.#happen()
    }
    this.control.settle()
  }

  #arrive(arrival: Arrivals.Arrival): void {
    this.nowMs = Math.max(this.nowMs, arrival.atMs)
    this.#lastTroubleMs = this.nowMs
    this.log.add(kinds.arrived, this.nowMs, arrival.function, arrival.serviceMs)
    this.shards.arrive(arrival)
    this.#next = this.#source()
  }

  #happen(): void {
    const { queue, shards, control, compute } = this
    const { kind, first, second, atMs } = queue
    this.nowMs = Math.max(this.nowMs, atMs)
    this.log.add(kind, atMs, first, second)
    switch (kind) {
      case kinds.requestDone:
        return shards.done(first, second)
      case kinds.shardTick:
        return shards.tick(first, atMs)
      case kinds.demandDue:
        return control.demandDue(first)
      case kinds.urgentOver:
        return control.urgentOver(first)
      case kinds.wake:
        return control.wake(first, atMs)
      case kinds.faultBegins:
        return this.#faultBegins(this.scenario.faults[first]!, first)
      case kinds.faultEnds:
        return this.#faultEnds(this.scenario.faults[first]!)
      case kinds.silence:
        if (compute.silence(first)) control.silent(first)
        return
      case kinds.listed:
        return control.listed(first)
      default:
        return this.#happenTo(kind, first, second)
    }
  }

  #happenTo(kind: number, number: number, second: number): void {
    const { shards, compute } = this
    const instance = compute.instance(number)
    if (instance === undefined) return
    switch (kind) {
      case kinds.orderArrives:
        return compute.orderArrives(instance)
      case kinds.phaseEnds:
        return compute.phaseEnds(instance, second)
      case kinds.reportArrives:
        return compute.reportArrives(instance, second)
      case kinds.terminateArrives:
        return compute.terminateArrives(instance, second)
      case kinds.drainOver:
        return compute.drainOver(instance)
      case kinds.instanceEnds:
        return compute.instanceEnds(instance)
      case kinds.heartbeat:
        return shards.heartbeat(instance)
    }
  }

  #faultBegins(fault: Fault, index: number): void {
    const { compute, control } = this
    this.#lastTroubleMs = this.nowMs
    switch (fault.kind) {
      case "instance-dies":
        compute.kill(Random.uniform(Random.split(this.random, `kill ${index}`)), fault.function)
        break
      case "cluster-lost":
        compute.lose(fault.cluster)
        break
      case "partition":
        compute.cut(fault.cluster)
        break
      case "slow-start":
        compute.slow(fault.cluster, fault.factor)
        break
      case "telemetry-lost":
        control.deafen(fault.function, 1)
        break
      case "agent-restart":
        compute.restartAgent(fault.cluster)
        break
      default:
        unreachable(fault)
    }
    if ("toMs" in fault) this.queue.put(fault.toMs, kinds.faultEnds, index)
    else this.#faultsLeft -= 1
  }

  /** Of those that have an end. */
  #faultEnds(fault: Fault): void {
    const { compute, control } = this
    this.#lastTroubleMs = this.nowMs
    this.#faultsLeft -= 1
    switch (fault.kind) {
      case "cluster-lost":
      case "partition":
        return compute.mend(fault.cluster)
      case "slow-start":
        return compute.slow(fault.cluster, 1 / fault.factor)
      case "telemetry-lost":
        return control.deafen(fault.function, -1)
    }
  }

  inspect(): Inspection {
    const { shards, compute, control, measured } = this
    return {
      nowMs: this.nowMs,
      open: shards.openCount,
      arrivals: measured.arrivals,
      ended: Object.values(measured.ended).reduce((sum, count) => sum + count, 0),
      refused: measured.refused,
      buffers: shards.totals(),
      desired: this.scenario.functions.map((_, index) => control.desired(index)),
      instances: [...compute.instances].map(({ cluster, node, gpuCount, life }) => ({ cluster, node, gpuCount, life }))
    }
  }

  result(): Result {
    const { measured, nowMs, scenario, compute } = this
    const { waits } = measured
    let { cost } = measured
    const sums = { instanceMs: 0, slotMs: 0, busyMs: 0, coldStarts: 0, decisions: 0, directionChanges: 0 }
    const add = (index: number, heldMs: number) => {
      sums.instanceMs += heldMs
      sums.slotMs += heldMs * scenario.functions[index]!.spec.concurrency
    }
    measured.functions.forEach((figures, index) => {
      add(index, figures.instanceMs)
      sums.busyMs += figures.busyMs
      sums.coldStarts += figures.coldStarts
      sums.decisions += figures.decisions
      sums.directionChanges += figures.directionChanges
    })
    for (const instance of compute.instances) {
      if (instance.startedAtMs === null || instance.life === "gone") continue
      const heldMs = nowMs - instance.startedAtMs
      add(instance.function, heldMs)
      const { pricePerHour } = scenario.clusters[instance.cluster]!
      cost += (heldMs / 3_600_000) * pricePerHour * Math.max(1, instance.gpuCount)
    }
    return {
      hash: this.log.hex,
      events: this.#events,
      spanMs: nowMs,
      arrivals: measured.arrivals,
      ended: { ...measured.ended },
      refused: measured.refused,
      redelivered: measured.redelivered,
      open: this.shards.openCount,
      wait: {
        p50: waits.quantile(0.5),
        p90: waits.quantile(0.9),
        p99: waits.quantile(0.99),
        max: waits.max,
        mean: waits.mean
      },
      sloAttainment: measured.arrivals === 0 ? 1 : measured.withinSlo / measured.arrivals,
      coldStarts: sums.coldStarts,
      failedStarts: measured.failedStarts,
      instanceSeconds: sums.instanceMs / 1_000,
      busyShare: sums.slotMs === 0 ? 0 : sums.busyMs / sums.slotMs,
      decisions: sums.decisions,
      directionChangesPerHour: nowMs === 0 ? 0 : sums.directionChanges / (nowMs / 3_600_000),
      cost,
      picture: measured.timeline?.picture(nowMs)
    }
  }
}
