/**
 * The control plane of the simulation: per function it observes, lets the production machines decide (`Scaling`,
 * `Fleet`, `Placement`, `Instance`, `RestartBudget`) and hands out the orders. What stands here is only the order in
 * which the machines are asked, and it is that of the control plane.
 *
 * @module
 */
import { invariant } from "../collections/invariant.ts"
import * as Fleet from "../instance/Fleet.ts"
import * as Instance from "../instance/Instance.ts"
import * as RestartBudget from "../instance/RestartBudget.ts"
import * as Placement from "../placement/Placement.ts"
import type * as Scaling from "../scaling/Scaling.ts"
import type { SimulatedFunction } from "./Scenario.ts"
import { kinds, type SimulatedInstance, type World } from "./World.ts"

interface Version {
  readonly index: number
  readonly spec: SimulatedFunction
  readonly request: Placement.Request
  scaling: Scaling.Running
  budget: RestartBudget.State
  /** The last figures that were heard. */
  pending: number
  leased: number
  arrivalsTotal: number
  oldestPendingAtMs: number | null
  /** Faults that keep the figures from being heard. */
  deafness: number
  readonly instances: Set<SimulatedInstance>
  ready: number
  starting: number
  draining: number
  /** No instance has anything to do before. */
  instancesDueMs: number
  wakeAtMs: number
  isDirty: boolean
  isUrgentLately: boolean
  reportDueMs: number
}

export class SimulatedControl {
  readonly #world: World
  readonly #versions: ReadonlyArray<Version>
  /** To be looked at before the next event; a function is in it once. */
  #stale: Array<Version> = []
  readonly #isStale: Uint8Array
  readonly #blocked = new Set<Version>()
  #number = 0

  constructor(world: World) {
    this.#world = world
    const { functions } = world.scenario
    this.#isStale = new Uint8Array(functions.length)
    this.#versions = functions.map((spec, index) => ({
      index,
      spec,
      request: { instanceType: spec.instanceType, gpu: spec.gpu, clusters: spec.clusters },
      scaling: spec.policy(),
      budget: RestartBudget.empty,
      pending: 0,
      leased: 0,
      arrivalsTotal: 0,
      oldestPendingAtMs: null,
      deafness: 0,
      instances: new Set<SimulatedInstance>(),
      ready: 0,
      starting: 0,
      draining: 0,
      instancesDueMs: Number.POSITIVE_INFINITY,
      wakeAtMs: Number.POSITIVE_INFINITY,
      isDirty: false,
      isUrgentLately: false,
      reportDueMs: Number.POSITIVE_INFINITY
    }))
  }

  desired(index: number): number {
    return this.#versions[index]!.scaling.desired
  }

  /** Every function, once, at the start of the run. */
  begin(): void {
    for (const version of this.#versions) this.#touch(version)
  }

  // --- what is heard -------------------------------------------------------------------------------------------------

  /** As the owner of a shard tells it: at once when a request waits, else at the end of an interval. */
  demandChanged(index: number, isUrgent: boolean): void {
    const version = this.#versions[index]!
    const { nowMs, queue, scenario } = this.#world
    if (isUrgent && !version.isUrgentLately) {
      version.isDirty = false
      version.isUrgentLately = true
      queue.put(nowMs + scenario.times.urgentIntervalMs, kinds.urgentOver, index)
      return this.#hear(version)
    }
    version.isDirty = true
    if (version.reportDueMs !== Number.POSITIVE_INFINITY) return
    version.reportDueMs = nowMs + scenario.times.demandIntervalMs
    queue.put(version.reportDueMs, kinds.demandDue, index)
  }

  urgentOver(index: number): void {
    const version = this.#versions[index]!
    const { nowMs, queue, scenario } = this.#world
    version.isUrgentLately = false
    if (!version.isDirty) return
    version.isDirty = false
    version.isUrgentLately = true
    queue.put(nowMs + scenario.times.urgentIntervalMs, kinds.urgentOver, index)
    this.#hear(version)
  }

  demandDue(index: number): void {
    const version = this.#versions[index]!
    version.reportDueMs = Number.POSITIVE_INFINITY
    if (!version.isDirty) return
    version.isDirty = false
    this.#hear(version)
  }

  /** From now on, or no longer, the demand of the function is unknown. */
  deafen(index: number, by: 1 | -1): void {
    const version = this.#versions[index]!
    version.deafness += by
    if (version.deafness === 0) return this.#hear(version)
    this.#touch(version)
  }

  wake(index: number, atMs: number): void {
    const version = this.#versions[index]!
    if (version.wakeAtMs !== atMs) return
    version.wakeAtMs = Number.POSITIVE_INFINITY
    this.#touch(version)
  }

  workerReady(instance: SimulatedInstance): void {
    this.#apply(instance, Instance.Event.WorkerReady({ nowMs: this.#world.nowMs }))
  }

  workerGone(instance: SimulatedInstance): void {
    this.#apply(instance, Instance.Event.WorkerGone({ nowMs: this.#world.nowMs }))
  }

  reported(instance: SimulatedInstance): void {
    const { nowMs } = this.#world
    this.#apply(instance, Instance.Event.Reported({ nowMs, report: reportOf(instance) }))
    if (instance.life === "gone") this.#unblockAll()
  }

  /** Its cluster has been silent for too long. */
  silent(cluster: number): void {
    const { nowMs } = this.#world
    const detail = "its cluster has not been heard and no worker of it is connected"
    for (const version of this.#versions) {
      for (const instance of version.instances) {
        if (instance.cluster === cluster) this.#apply(instance, Instance.Event.AgentSilent({ nowMs, detail }))
      }
    }
  }

  /** Its agent is back and has listed what it has. */
  listed(cluster: number): void {
    const { nowMs } = this.#world
    for (const version of this.#versions) {
      for (const instance of version.instances) {
        if (instance.cluster !== cluster || instance.life !== "gone") continue
        this.#apply(instance, Instance.Event.Missing({ nowMs }))
      }
    }
    this.#unblockAll()
  }

  // --- the loop ------------------------------------------------------------------------------------------------------

  /** Looks at all functions about which something was heard. Call it after each event. */
  settle(): void {
    for (let index = 0; index < this.#stale.length; index++) {
      const version = this.#stale[index]!
      this.#isStale[version.index] = 0
      this.#evaluate(version)
    }
    if (this.#stale.length > 0) this.#stale = []
  }

  #hear(version: Version): void {
    const { nowMs, shards, measured } = this.#world
    if (version.deafness > 0) return
    const figures = shards.counts(version.index)
    measured.timeline?.change("backlog", figures.pending - version.pending, nowMs)
    version.pending = figures.pending
    version.leased = figures.leased
    version.arrivalsTotal = figures.arrivalsTotal
    version.oldestPendingAtMs = figures.oldestPendingAtMs
    this.#touch(version)
  }

  #touch(version: Version): void {
    if (this.#isStale[version.index] === 1) return
    this.#isStale[version.index] = 1
    this.#stale.push(version)
  }

  #unblockAll(): void {
    for (const version of this.#blocked) this.#touch(version)
  }

  #evaluate(version: Version): void {
    const { nowMs } = this.#world
    let wakeAtMs = this.#tickInstances(version, Number.POSITIVE_INFINITY)
    const [next, commands] = version.scaling.next(observedOf(version, nowMs))
    version.scaling = next
    for (const command of commands) {
      if (command._tag === "WakeAt") wakeAtMs = Math.min(wakeAtMs, command.atMs)
      else this.#record(version, command.from, command.to)
    }
    // With as many as are wanted and none to be replaced, the plan is empty.
    if (version.ready + version.starting !== version.scaling.desired) {
      // Unknown while its demand is not heard.
      const leased = version.deafness > 0 ? undefined : this.#world.shards.leasedByInstance(version.index)
      const plan = Fleet.plan({
        desired: version.scaling.desired,
        generation: 1,
        members: membersOf(version, leased),
        nowMs,
        budget: version.budget
      })
      for (const { id, reason } of plan.drain) this.#drain(version, id, reason, leased)
      if (plan.create > 0) this.#create(version, plan.create)
      else this.#blocked.delete(version)
      if (plan.retryAtMs !== null) wakeAtMs = Math.min(wakeAtMs, plan.retryAtMs)
    } else this.#blocked.delete(version)
    this.#wakeAt(version, Math.min(wakeAtMs, version.instancesDueMs))
  }

  /** Gives the time to the instances that wait for it, and to the restart budget; when the budget wants to look again. */
  #tickInstances(version: Version, latestMs: number): number {
    const { nowMs } = this.#world
    if (nowMs >= version.instancesDueMs) {
      version.instancesDueMs = Number.POSITIVE_INFINITY
      for (const instance of version.instances) {
        this.#apply(instance, Instance.Event.Ticked({ nowMs }))
        const dueMs = Instance.wakeAtMs(instance.state) ?? Number.POSITIVE_INFINITY
        version.instancesDueMs = Math.min(version.instancesDueMs, dueMs)
      }
    }
    if (version.budget.failures === 0) return latestMs
    let wakeAtMs = latestMs
    for (const { state } of version.instances) {
      const { readyAtMs, requestedAtMs } = state.facts
      if (state._tag !== "Ready" || readyAtMs === null) continue
      const seen = RestartBudget.Event.SeenReady({ nowMs, requestedAtMs, readyAtMs })
      version.budget = RestartBudget.step(version.budget, seen)
      const healthyAtMs = readyAtMs + RestartBudget.healthyPeriodMs
      if (version.budget.failures > 0 && healthyAtMs > nowMs) wakeAtMs = Math.min(wakeAtMs, healthyAtMs)
    }
    return wakeAtMs
  }

  #record(version: Version, from: number, to: number): void {
    const { nowMs, log, measured } = this.#world
    log.add(kinds.decided, nowMs, version.index, to)
    measured.decided(version.index, from, to)
    measured.timeline?.change("desired", to - from, nowMs)
  }

  #create(version: Version, wanted: number): void {
    const { nowMs, compute } = this.#world
    const warm = new Set<number>()
    for (const instance of version.instances) warm.add(instance.cluster)
    let candidates = compute.candidates((cluster) => warm.has(cluster))
    for (let count = 0; count < wanted; count++) {
      const placed = Placement.place({ request: version.request, clusters: candidates })
      if (placed.cluster === undefined) {
        this.#blocked.add(version)
        return
      }
      if (count + 1 < wanted) candidates = Placement.reserve(candidates, placed.cluster, version.request)
      this.#order(version, compute.clusterIndex(placed.cluster), nowMs)
    }
    this.#blocked.delete(version)
  }

  #order(version: Version, cluster: number, nowMs: number): void {
    const { spec } = version
    const { clusters } = this.#world.scenario
    const number = ++this.#number
    // It was placed there because that cluster has the type.
    const { gpuCount } = clusters[cluster]!.instanceTypes.find(({ name }) => name === spec.instanceType)!
    const instance: SimulatedInstance = {
      number,
      id: `i${number}`,
      function: version.index,
      cluster,
      slots: spec.spec.concurrency,
      gpuCount,
      state: Instance.requested({
        nowMs,
        startDeadlineMs: spec.startDeadlineMs,
        drainMs: spec.requestTimeoutMs,
        graceMs: graceMs
      }),
      life: "ordered",
      node: -1,
      phaseEndsMs: [],
      phase: 0,
      startedAtMs: null,
      readyAtMs: null,
      detail: "",
      hasFailed: false,
      isConnected: false,
      isTerminating: false,
      isLeaving: false,
      leases: new Map(),
      untold: [],
      heardAtMs: nowMs,
      hasHeartbeat: false
    }
    version.instances.add(instance)
    version.starting += 1
    // What is requested has a start deadline.
    version.instancesDueMs = Math.min(version.instancesDueMs, Instance.wakeAtMs(instance.state)!)
    this.#world.compute.order(instance)
  }

  #drain(version: Version, id: string, reason: string, leased: Leased): void {
    const { nowMs } = this.#world
    for (const instance of version.instances) {
      if (instance.id !== id) continue
      const holdsWork = leased === undefined || (leased[id] ?? 0) !== 0
      this.#apply(instance, Instance.Event.DrainOrdered({ nowMs, holdsWork, reason }))
      return
    }
  }

  #apply(instance: SimulatedInstance, event: Instance.Event): void {
    const version = this.#versions[instance.function]!
    const before = instance.state
    const [state, commands] = Instance.step(before, event)
    if (state !== before) {
      instance.state = state
      this.#recount(version, before, -1)
      this.#recount(version, state, 1)
      const dueMs = Instance.wakeAtMs(state)
      if (dueMs !== null) version.instancesDueMs = Math.min(version.instancesDueMs, dueMs)
      if (Instance.isEnded(state)) {
        version.instances.delete(instance)
        this.#world.compute.forget(instance)
      }
      this.#touch(version)
    }
    for (const command of commands) this.#perform(version, instance, command, event.nowMs)
  }

  #perform(version: Version, instance: SimulatedInstance, command: Instance.Command, nowMs: number): void {
    const { shards, compute } = this.#world
    Instance.Command.$match(command, {
      OrderTerminate: ({ drainMs }) => {
        // Before the order, so that no request is given to it in the meantime.
        if (instance.isConnected) shards.drain(instance)
        compute.terminate(instance, drainMs)
      },
      CountFailure: ({ readyForMs, retryable, detail }) => {
        const { requestedAtMs } = instance.state.facts
        const failed = RestartBudget.Event.Failed({ nowMs, requestedAtMs, readyForMs, retryable, detail })
        version.budget = RestartBudget.step(version.budget, failed)
      },
      AmendFailure: ({ detail }) => {
        version.budget = RestartBudget.step(version.budget, RestartBudget.Event.Amended({ nowMs, detail }))
      }
    })
  }

  #recount(version: Version, state: Instance.State, by: 1 | -1): void {
    if (Instance.isEnded(state)) return
    if (state._tag === "Draining") version.draining += by
    else if (state._tag === "Ready") version.ready += by
    else version.starting += by
  }

  #wakeAt(version: Version, atMs: number): void {
    if (atMs >= version.wakeAtMs) return
    const { nowMs, queue } = this.#world
    version.wakeAtMs = Math.max(atMs, nowMs)
    queue.put(version.wakeAtMs, kinds.wake, version.index)
  }
}

/** SIGTERM to SIGKILL; a simulated process never needs it. */
const graceMs = 10_000

/** Written out in one piece: it is made for every report of every function. */
const observedOf = (version: Version, nowMs: number): Scaling.Event => {
  const isKnown = version.deafness === 0
  const since = version.oldestPendingAtMs
  return {
    _tag: "Observed",
    observation: {
      nowMs,
      pending: isKnown ? version.pending : "unknown",
      leased: isKnown ? version.leased : "unknown",
      oldestPendingMs: isKnown ? (since === null ? null : nowMs - since) : "unknown",
      arrivalsTotal: isKnown ? version.arrivalsTotal : "unknown",
      ready: version.ready,
      starting: version.starting,
      draining: version.draining,
      slotsPerInstance: version.spec.spec.concurrency,
      desired: version.scaling.desired,
      spec: version.spec.spec
    }
  }
}

/** By instance; `undefined`: unknown. */
type Leased = Readonly<Record<string, number>> | undefined

const membersOf = (version: Version, leased: Leased): ReadonlyArray<Fleet.Member> => {
  const members: Array<Fleet.Member> = []
  for (const { id, state } of version.instances) {
    invariant(state._tag !== "Stopped" && state._tag !== "Failed", "what has ended is not kept")
    members.push({
      id,
      generation: 1,
      state: memberStates[state._tag],
      leased: leased === undefined ? "unknown" : (leased[id] ?? 0),
      requestedAtMs: state.facts.requestedAtMs,
      leaving: false
    })
  }
  return members
}

const memberStates = { Requested: "requested", Starting: "starting", Ready: "ready", Draining: "draining" } as const

const reportOf = (instance: SimulatedInstance): Instance.Reported => {
  const { life, startedAtMs, readyAtMs, detail, hasFailed, phase } = instance
  const state = life === "gone" ? (hasFailed ? "failed" : "stopped") : lifeStates[life]
  return { state, phase: `${phase}`, startedAtMs, readyAtMs, pid: null, detail, retryable: true }
}

const lifeStates = { ordered: "requested", starting: "starting", serving: "ready", ending: "draining" } as const
