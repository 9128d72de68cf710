/**
 * The compute plane of the simulation: clusters of nodes and GPUs, their agents, and the lives of instances. It does what
 * the control plane orders, in the times that the start models draw, and reports what became of it.
 *
 * An order to a cluster that cannot be reached waits for it, as in a durable queue; what an agent reports is the state
 * at the moment of the report.
 *
 * @module
 */
import type * as Placement from "../placement/Placement.ts"
import * as NodePacking from "./NodePacking.ts"
import * as Random from "./Random.ts"
import type { SimulatedCluster } from "./Scenario.ts"
import * as StartModel from "./StartModel.ts"
import { kinds, reports, type SimulatedInstance, type World } from "./World.ts"

interface Cluster {
  readonly spec: SimulatedCluster
  readonly packing: NodePacking.NodePacking
  /** GPUs and slots of orders that are on their way, by instance type. */
  readonly ordered: Map<string, number>
  /** Faults that cut it off, and that slow its starts. */
  cuts: number
  slowness: number
  /** What waits until it can be reached. */
  held: Array<() => void>
  readonly instances: Set<SimulatedInstance>
  /** What the control plane sees; rebuilt when something changed. */
  view: Placement.Cluster | undefined
  isSilent: boolean
}

export class SimulatedCompute {
  readonly #world: World
  readonly #random: Random.Random
  readonly #clusters: ReadonlyArray<Cluster>
  /** All that are not over for both planes. */
  readonly #instances = new Map<number, SimulatedInstance>()

  constructor(world: World) {
    this.#world = world
    this.#random = Random.split(world.random, "starts")
    this.#clusters = world.scenario.clusters.map((spec) => ({
      spec,
      packing: NodePacking.make(spec),
      ordered: new Map<string, number>(),
      cuts: 0,
      slowness: 1,
      held: [],
      instances: new Set<SimulatedInstance>(),
      view: undefined,
      isSilent: false
    }))
  }

  instance(number: number): SimulatedInstance | undefined {
    return this.#instances.get(number)
  }

  /** In order of their start. */
  get instances(): Iterable<SimulatedInstance> {
    return this.#instances.values()
  }

  /** For the placement machine. */
  candidates(isWarm: (cluster: number) => boolean): ReadonlyArray<Placement.Cluster> {
    return this.#clusters.map((cluster, index) => {
      cluster.view ??= viewOf(cluster)
      return isWarm(index) ? { ...cluster.view, warm: true } : cluster.view
    })
  }

  clusterIndex(name: string): number {
    return this.#clusters.findIndex((cluster) => cluster.spec.name === name)
  }

  // --- orders ------------------------------------------------------------------------------------------------------

  order(instance: SimulatedInstance): void {
    const { nowMs, queue, scenario } = this.#world
    const cluster = this.#clusters[instance.cluster]!
    this.#instances.set(instance.number, instance)
    cluster.instances.add(instance)
    this.#reserve(instance, 1)
    queue.put(nowMs + scenario.times.orderMs, kinds.orderArrives, instance.number)
  }

  terminate(instance: SimulatedInstance, drainMs: number): void {
    const { nowMs, queue, scenario } = this.#world
    queue.put(nowMs + scenario.times.orderMs, kinds.terminateArrives, instance.number, drainMs)
  }

  orderArrives(instance: SimulatedInstance): void {
    const { nowMs, measured, scenario } = this.#world
    const cluster = this.#clusters[instance.cluster]!
    if (cluster.cuts > 0) {
      cluster.held.push(() => this.orderArrives(instance))
      return
    }
    this.#reserve(instance, -1)
    const target = scenario.functions[instance.function]!
    if (nowMs - instance.state.facts.requestedAtMs > target.startDeadlineMs) {
      return this.#neverStarted(instance, "its order is older than its start deadline")
    }
    const node = NodePacking.freeNode(cluster.packing, instance.gpuCount)
    if (node < 0) return this.#neverStarted(instance, "no node has room for it")
    NodePacking.take(cluster.packing, node, instance.gpuCount, 1)
    cluster.view = undefined
    instance.node = node
    instance.life = "starting"
    instance.startedAtMs = nowMs
    measured.functions[instance.function]!.coldStarts += 1
    measured.timeline?.change("starting", 1, nowMs)
    const random = Random.split(this.#random, instance.number)
    instance.phaseEndsMs = StartModel.drawPhases(random, target.start).map((ms) => ms * cluster.slowness)
    instance.hasFailed = Random.uniform(random) < target.start.failureShare
    this.#nextPhase(instance, 0)
  }

  phaseEnds(instance: SimulatedInstance, phase: number): void {
    if (instance.life !== "starting") return
    if (phase + 1 < instance.phaseEndsMs.length) return this.#nextPhase(instance, phase + 1)
    const { nowMs, measured, shards } = this.#world
    if (instance.hasFailed) {
      measured.failedStarts += 1
      return this.#end(instance, "its start failed")
    }
    measured.timeline?.change("starting", -1, nowMs)
    measured.timeline?.change("ready", 1, nowMs)
    instance.life = "serving"
    instance.readyAtMs = nowMs
    if (this.#clusters[instance.cluster]!.cuts > 0) return
    shards.join(instance)
    this.#report(instance, reports.workerReady)
  }

  terminateArrives(instance: SimulatedInstance, drainMs: number): void {
    const cluster = this.#clusters[instance.cluster]!
    if (cluster.cuts > 0) {
      cluster.held.push(() => this.terminateArrives(instance, drainMs))
      return
    }
    instance.isTerminating = true
    if (instance.life === "starting") return this.#stop(instance)
    if (instance.life === "gone") return this.#report(instance, reports.agent)
    if (instance.life !== "serving") return
    if (instance.leases.size === 0 || drainMs === 0) return this.#stop(instance)
    const { nowMs, queue } = this.#world
    queue.put(nowMs + drainMs, kinds.drainOver, instance.number)
  }

  drainOver(instance: SimulatedInstance): void {
    if (instance.life === "serving") this.#stop(instance)
  }

  /** A slot of it came free. */
  freed(instance: SimulatedInstance): void {
    if (instance.isTerminating && instance.life === "serving" && instance.leases.size === 0) this.#stop(instance)
  }

  instanceEnds(instance: SimulatedInstance): void {
    if (instance.life === "ending") this.#end(instance, "told to end")
  }

  /** What the agent knows of it at this moment arrives at the control plane. */
  reportArrives(instance: SimulatedInstance, what: number): void {
    const cluster = this.#clusters[instance.cluster]!
    const { shards, control } = this.#world
    if (what === reports.workerReady) {
      if (instance.isConnected) control.workerReady(instance)
      return
    }
    if (what === reports.workerGone) {
      if (!instance.isConnected) control.workerGone(instance)
      return
    }
    if (cluster.cuts > 0) {
      cluster.held.push(() => this.reportArrives(instance, what))
      return
    }
    if (instance.life === "gone") shards.lost(instance)
    control.reported(instance)
    this.forget(instance)
  }

  /** Both planes are done with it. */
  forget(instance: SimulatedInstance): void {
    const isEnded = instance.state._tag === "Stopped" || instance.state._tag === "Failed"
    if (instance.life === "gone" && isEnded) this.#instances.delete(instance.number)
  }

  // --- faults ------------------------------------------------------------------------------------------------------

  /** A ready instance of this function, or of any, by lot. */
  kill(draw: number, index: number | undefined): void {
    const candidates = [...this.#instances.values()].filter(
      (instance) => instance.life === "serving" && (index === undefined || instance.function === index)
    )
    const victim = candidates[Math.floor(draw * candidates.length)]
    if (victim !== undefined) this.#die(victim, "it died")
  }

  cut(index: number): void {
    const { nowMs, queue, scenario, shards } = this.#world
    const cluster = this.#clusters[index]!
    cluster.cuts += 1
    if (cluster.cuts > 1) return
    for (const instance of cluster.instances) {
      if (!instance.isConnected) continue
      shards.disconnect(instance)
      this.#report(instance, reports.workerGone)
    }
    queue.put(nowMs + scenario.times.unreachableAfterMs, kinds.silence, index)
  }

  mend(index: number): void {
    const { nowMs, queue, shards } = this.#world
    const cluster = this.#clusters[index]!
    cluster.cuts -= 1
    if (cluster.cuts > 0) return
    cluster.isSilent = false
    cluster.view = undefined
    for (const instance of cluster.instances) {
      if (instance.life !== "serving") continue
      shards.join(instance)
      this.#report(instance, reports.workerReady)
    }
    const { held } = cluster
    cluster.held = []
    for (const again of held) again()
    for (const instance of cluster.instances) this.#report(instance, reports.agent)
    // What two heartbeats in a row do not list is missing.
    queue.put(nowMs + 2 * agentHeartbeatMs, kinds.listed, index)
  }

  lose(index: number): void {
    for (const instance of [...this.#clusters[index]!.instances]) this.#die(instance, "its cluster was lost")
    this.cut(index)
  }

  restartAgent(index: number): void {
    for (const instance of [...this.#clusters[index]!.instances]) {
      if (instance.life === "starting" || instance.life === "serving") this.#stop(instance)
    }
  }

  slow(index: number, factor: number): void {
    this.#clusters[index]!.slowness *= factor
  }

  /** It has not been heard for too long; asked again each second until it is. */
  silence(index: number): boolean {
    const cluster = this.#clusters[index]!
    if (cluster.cuts === 0) return false
    cluster.isSilent = true
    cluster.view = undefined
    const { nowMs, queue } = this.#world
    queue.put(nowMs + controlTickMs, kinds.silence, index)
    return true
  }

  // --- lives -------------------------------------------------------------------------------------------------------

  #nextPhase(instance: SimulatedInstance, phase: number): void {
    const { nowMs, queue } = this.#world
    instance.phase = phase
    queue.put(nowMs + (instance.phaseEndsMs[phase] ?? 0), kinds.phaseEnds, instance.number, phase)
    this.#report(instance, reports.agent)
  }

  #neverStarted(instance: SimulatedInstance, detail: string): void {
    instance.life = "gone"
    instance.detail = detail
    instance.hasFailed = true
    this.#clusters[instance.cluster]!.instances.delete(instance)
    this.#report(instance, reports.agent)
  }

  /** Its processes are told to end; its room is free when they have. */
  #stop(instance: SimulatedInstance): void {
    const { nowMs, queue, scenario } = this.#world
    this.#leave(instance)
    instance.life = "ending"
    instance.hasFailed = false
    instance.leases.clear()
    // A worker says goodbye, so what it held is free at once.
    if (instance.isConnected) this.#world.shards.lost(instance)
    queue.put(nowMs + scenario.functions[instance.function]!.start.stopMs, kinds.instanceEnds, instance.number)
  }

  #die(instance: SimulatedInstance, detail: string): void {
    if (instance.life === "ordered") return
    instance.hasFailed = instance.life !== "ending"
    this.#world.shards.disconnect(instance)
    instance.leases.clear()
    this.#end(instance, detail)
    this.#report(instance, reports.workerGone)
  }

  #end(instance: SimulatedInstance, detail: string): void {
    const { nowMs, measured } = this.#world
    const cluster = this.#clusters[instance.cluster]!
    this.#leave(instance)
    instance.life = "gone"
    instance.detail = detail
    // What never started does not end here.
    const heldMs = nowMs - instance.startedAtMs!
    measured.functions[instance.function]!.instanceMs += heldMs
    measured.cost += (heldMs / 3_600_000) * cluster.spec.pricePerHour * Math.max(1, instance.gpuCount)
    NodePacking.take(cluster.packing, instance.node, instance.gpuCount, -1)
    cluster.view = undefined
    cluster.instances.delete(instance)
    this.#report(instance, reports.agent)
  }

  /** Out of the levels that the picture shows. */
  #leave(instance: SimulatedInstance): void {
    const { nowMs, measured } = this.#world
    if (instance.life === "starting") measured.timeline?.change("starting", -1, nowMs)
    if (instance.life === "serving") measured.timeline?.change("ready", -1, nowMs)
  }

  #report(instance: SimulatedInstance, what: number): void {
    const { nowMs, queue, scenario } = this.#world
    queue.put(nowMs + scenario.times.reportMs, kinds.reportArrives, instance.number, what)
  }

  #reserve(instance: SimulatedInstance, by: number): void {
    const cluster = this.#clusters[instance.cluster]!
    const { instanceType } = this.#world.scenario.functions[instance.function]!
    cluster.ordered.set(instanceType, (cluster.ordered.get(instanceType) ?? 0) + by)
    cluster.view = undefined
  }
}

/** Of the agent, and of the control plane's own look at clusters. */
const agentHeartbeatMs = 2_000
const controlTickMs = 1_000

const viewOf = (cluster: Cluster): Placement.Cluster => ({
  name: cluster.spec.name,
  state: cluster.isSilent ? "unreachable" : "healthy",
  cordoned: false,
  draining: false,
  warm: false,
  instanceTypes: cluster.spec.instanceTypes.map((type) => ({
    name: type.name,
    gpuKind: cluster.spec.gpuKind,
    gpuCount: type.gpuCount,
    total:
      type.gpuCount === 0
        ? cluster.spec.slotsPerNode * cluster.spec.nodes
        : Math.floor(cluster.spec.gpusPerNode / type.gpuCount) * cluster.spec.nodes,
    free: NodePacking.room(cluster.packing, type.gpuCount) - (cluster.ordered.get(type.name) ?? 0)
  }))
})
