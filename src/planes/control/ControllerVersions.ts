/**
 * The controller's loop, per version: observe, let the machines decide, carry out. All of it synchronous.
 *
 * A version has an entry here from when something is heard of it. One that nothing was ever heard of would be decided upon
 * as it is at its first report, so it needs none before; `isWatchedAlways` tells which ones do.
 *
 * An order can be answered before it has returned (an agent in the same process starts and reports at once), so a
 * version that is being evaluated is only marked, and looked at again when the evaluation under way is done.
 *
 * @module
 */

import * as DueHeap from "../../core/collections/DueHeap.ts"
import type * as Deployment from "../../core/deployment/Deployment.ts"
import * as Fleet from "../../core/instance/Fleet.ts"
import * as Instance from "../../core/instance/Instance.ts"
import * as RestartBudget from "../../core/instance/RestartBudget.ts"
import * as Policies from "../../core/scaling/Policies.ts"
import type * as Scaling from "../../core/scaling/Scaling.ts"
import type { DemandReport, InstanceReport } from "../compute/AgentMessage.ts"
import type { ControllerClusters } from "./ControllerClusters.ts"
import * as ControllerDemand from "./ControllerDemand.ts"
import type { Waiting } from "./ControllerExplain.ts"
import type { ControllerInstances, InstanceEntry } from "./ControllerInstances.ts"
import type { ControllerOrders } from "./ControllerOrders.ts"
import * as ControllerStarts from "./ControllerStarts.ts"
import type { ControllerTime } from "./ControllerTimers.ts"
import type { VersionEntry } from "./ControllerVersionFacts.ts"
import * as ControllerVersionFacts from "./ControllerVersionFacts.ts"
import * as ControllerWakes from "./ControllerWakes.ts"
import type { ScaleDecision } from "./ControlView.ts"
import { type DeploymentSpec, deploymentDefaults } from "./Domain.ts"
import type { Route, RoutingTable } from "./RoutingTable.ts"

export interface ControllerVersionsOptions {
  readonly routes: RoutingTable
  readonly time: ControllerTime
  readonly clusters: ControllerClusters
  readonly instances: ControllerInstances
  readonly orders: ControllerOrders
  readonly silence: () => "zero" | "unknown"
  /** False: it listens, and neither decides nor orders. */
  readonly isActing: () => boolean
  readonly newSuffix: () => string
  readonly warn: (message: string, fields: Readonly<Record<string, string | number>>) => void
  readonly onDecision: (decision: ScaleDecision) => void
  readonly onInstance: (entry: InstanceEntry) => void
  readonly onDrain: (entry: InstanceEntry, reason: string) => void
}

export interface ControllerVersions {
  readonly demand: (report: DemandReport, nowMs: number) => void
  /** This shard has told all that it has, and it is of these versions only. */
  readonly demandIsOnly: (shard: string, versionIds: ReadonlySet<string>, nowMs: number) => void
  /** Takes an event into one instance and carries out what follows for it alone; call `evaluate` for the rest. */
  readonly apply: (entry: InstanceEntry, event: Instance.Event) => void
  /** What its worker said of itself when it was ready. */
  readonly declared: (entry: InstanceEntry, slots: number, phases: InstanceEntry["phases"]) => void
  /** The one that leads decided it; this one stands by. */
  readonly told: (versionId: string, desired: number) => void
  /** An instance that an agent knows and this controller does not; undefined: it is over already. */
  readonly adopt: (report: InstanceReport, nowMs: number) => InstanceEntry | undefined
  readonly evaluate: (versionId: string, nowMs: number) => void
  /** Only when something that the machines are asked with became other since they were asked. */
  readonly evaluateChanged: (versionId: string, nowMs: number) => void
  /** Those that found no cluster: room may have come. */
  readonly evaluateBlocked: (nowMs: number) => void
  readonly evaluateAll: (nowMs: number) => void
  /** The next of all in turn, so many that the event loop is not held up: a net below timers and events. */
  readonly evaluateNext: (nowMs: number) => void
  readonly deploymentFacts: (versionId: string) => Deployment.Facts
  readonly waitingFacts: (versionId: string, nowMs: number) => Waiting
  readonly close: () => void
}

/** About ten milliseconds of work. */
const evaluatedPerTick = 1_000
/** A version that still changes after so many rounds in one turn goes on in a later one. */
const roundsMax = 8

type Deployed = NonNullable<Route["deployment"]>

/**
 * Of the policies, `demand` alone learns nothing from silence: what it decides at the first report is the same after a
 * year of it. The others look at time that passed.
 */
export const isWatchedAlways = ({ minInstances, policy }: DeploymentSpec): boolean =>
  minInstances > 0 || (typeof policy === "string" ? policy : policy.name) !== "demand"

export const make = (options: ControllerVersionsOptions): ControllerVersions => {
  const { routes, time, clusters, instances, orders } = options
  const versions = new Map<string, VersionEntry>()
  const facts = ControllerVersionFacts.make({ routes, clusters, instances, silence: options.silence })
  const starts = ControllerStarts.make({
    ...options,
    onHeld: (version, untilMs) => wake(version, untilMs)
  })
  let inTurn = versions.keys()
  let isClosed = false

  const ensure = (versionId: string, nowMs: number): VersionEntry => {
    const found = versions.get(versionId)
    if (found !== undefined) return found
    const entry: VersionEntry = {
      versionId,
      demand: ControllerDemand.make(options.silence),
      scaling: Policies.start("demand"),
      budget: RestartBudget.empty,
      generation: null,
      reason: "",
      demandAtMs: nowMs,
      nowhere: null,
      ordersHeldUntilMs: null,
      ...DueHeap.unset(),
      isEvaluating: false,
      isStale: false,
      isHeardOf: false,
      isChanged: false
    }
    versions.set(versionId, entry)
    return entry
  }

  /** Of which something was heard: it stays until it is not deployed any more. */
  const ensureHeardOf = (versionId: string, nowMs: number): VersionEntry => {
    const entry = ensure(versionId, nowMs)
    entry.isHeardOf = true
    return entry
  }

  const apply = (entry: InstanceEntry, event: Instance.Event): void => {
    const wasEnded = Instance.isEnded(entry.state)
    const [state, commands] = Instance.step(entry.state, event)
    if (state !== entry.state) {
      if (ControllerVersionFacts.isOther(entry.state, state)) changed(entry)
      entry.state = state
      if (!wasEnded && Instance.isEnded(state)) instances.retire(entry)
      options.onInstance(entry)
    }
    for (const command of commands) perform(entry, command, event.nowMs)
  }

  const changed = ({ versionId }: InstanceEntry): void => {
    const version = versions.get(versionId)
    if (version !== undefined) version.isChanged = true
  }

  const perform = (entry: InstanceEntry, command: Instance.Command, nowMs: number): void => {
    switch (command._tag) {
      case "OrderTerminate": {
        // Whoever acts orders it.
        if (!options.isActing()) return
        const { instanceId, versionId } = entry
        const { drainMs, graceMs, reason } = command
        // Before the order, so that no request is given to it in the meantime.
        options.onDrain(entry, reason)
        return orders.terminate(entry.cluster, { instanceId, versionId, drainMs, graceMs, reason })
      }
      case "AmendFailure": {
        const { detail } = command
        const version = versions.get(entry.versionId)
        if (version === undefined || entry.generation !== version.generation) return
        version.budget = RestartBudget.step(version.budget, { _tag: "Amended", nowMs, detail })
        return
      }
      case "CountFailure": {
        const { readyForMs, retryable, detail } = command
        const version = ensureHeardOf(entry.versionId, nowMs)
        // What an older generation did says nothing about the present one.
        if (version.generation !== null && entry.generation < version.generation) return
        const { requestedAtMs } = entry.state.facts
        version.budget = RestartBudget.step(version.budget, {
          _tag: "Failed",
          nowMs,
          requestedAtMs,
          readyForMs,
          retryable,
          detail
        })
        return
      }
      default:
        return unreachable(command)
    }
  }

  const adopt = (report: InstanceReport, nowMs: number): InstanceEntry | undefined => {
    if (report.state === "stopped" || report.state === "failed") return undefined
    const spec = routes.byVersionId(report.versionId)?.deployment?.spec ?? deploymentDefaults
    const { startDeadlineMs, graceMs, requestTimeoutMs: drainMs } = spec
    const entry: InstanceEntry = {
      instanceId: report.instanceId,
      functionId: report.functionId,
      versionId: report.versionId,
      generation: report.generation,
      cluster: report.cluster,
      placement: null,
      instanceType: spec.instanceType,
      demandAtMs: report.requestedAtMs,
      state: Instance.requested({ nowMs: report.requestedAtMs, startDeadlineMs, drainMs, graceMs }),
      slots: null,
      phases: null,
      missedHeartbeats: 0
    }
    instances.add(entry)
    const version = ensureHeardOf(report.versionId, nowMs)
    // Somebody wanted it before this controller knew of it: a machine without a memory gives it the whole idle window.
    version.scaling = Policies.start(version.scaling.choice, version.scaling.desired)
    version.isChanged = true
    return entry
  }

  const isWatched = (versionId: string): boolean => {
    if (instances.ofVersion(versionId).size > 0) return true
    const deployment = routes.byVersionId(versionId)?.deployment
    return deployment !== undefined && isWatchedAlways(deployment.spec)
  }

  const evaluate = (versionId: string, nowMs: number): void => {
    if (isClosed) return
    const version = versions.get(versionId) ?? (isWatched(versionId) ? ensure(versionId, nowMs) : undefined)
    if (version === undefined || !options.isActing()) return
    if (version.isEvaluating) {
      version.isStale = true
      return
    }
    version.isEvaluating = true
    try {
      for (let round = 0; round < roundsMax; round++) {
        version.isStale = false
        evaluateOnce(version, round === 0 ? nowMs : time.nowMs())
        if (!version.isStale) break
      }
    } finally {
      version.isEvaluating = false
    }
    if (version.isStale) wake(version, nowMs + 1)
  }

  const evaluateOnce = (version: VersionEntry, nowMs: number): void => {
    const route = routes.byVersionId(version.versionId)
    const deployment = route?.deployment
    let wakeAtMs = Number.POSITIVE_INFINITY
    version.isChanged = false
    for (const entry of instances.ofVersion(version.versionId).values()) {
      if (nowMs >= (Instance.wakeAtMs(entry.state) ?? Number.POSITIVE_INFINITY)) {
        apply(entry, { _tag: "Ticked", nowMs })
      }
      const { readyAtMs, requestedAtMs } = entry.state.facts
      if (version.budget.failures === 0 || entry.state._tag !== "Ready" || readyAtMs === null) continue
      const seen: RestartBudget.Event = { _tag: "SeenReady", nowMs, requestedAtMs, readyAtMs }
      version.budget = RestartBudget.step(version.budget, seen)
      const healthyAtMs = readyAtMs + RestartBudget.healthyPeriodMs
      if (version.budget.failures > 0 && healthyAtMs > nowMs) wakeAtMs = Math.min(wakeAtMs, healthyAtMs)
    }
    const isUnmoved = version.generation === (deployment?.generation ?? null)
    if (!isUnmoved) newGeneration(version, deployment, nowMs)
    const commands = decide(version, deployment, nowMs)
    for (const command of commands) {
      if (command._tag === "WakeAt") wakeAtMs = Math.min(wakeAtMs, command.atMs)
      else record(version, command, nowMs)
    }
    const plan = Fleet.plan({
      desired: version.scaling.desired,
      generation: deployment?.generation ?? null,
      members: facts.members(version),
      nowMs,
      budget: version.budget
    })
    for (const { id, reason } of plan.drain) {
      const entry = instances.get(id)
      if (entry === undefined) continue
      const leased = version.demand.leasedOf(id)
      apply(entry, { _tag: "DrainOrdered", nowMs, holdsWork: leased !== 0, reason })
    }
    const deployed = route === undefined || deployment === undefined ? undefined : { route, deployment }
    starts.order(version, deployed, plan.create, nowMs)
    if (plan.retryAtMs !== null) wakeAtMs = Math.min(wakeAtMs, plan.retryAtMs)
    if (version.ordersHeldUntilMs !== null) wakeAtMs = Math.min(wakeAtMs, version.ordersHeldUntilMs)
    for (const entry of instances.ofVersion(version.versionId).values()) {
      wakeAtMs = Math.min(wakeAtMs, Instance.wakeAtMs(entry.state) ?? Number.POSITIVE_INFINITY)
    }
    if (Number.isFinite(wakeAtMs)) wake(version, wakeAtMs)
    if (deployment === undefined || !(version.isHeardOf || isWatchedAlways(deployment.spec))) dropWhenOver(version)
  }

  const newGeneration = (version: VersionEntry, deployment: Deployed | undefined, nowMs: number): void => {
    version.generation = deployment?.generation ?? null
    version.budget = RestartBudget.step(version.budget, { _tag: "GenerationChanged", nowMs })
    version.demandAtMs = nowMs
  }

  const decide = (
    version: VersionEntry,
    deployment: Deployed | undefined,
    nowMs: number
  ): ReadonlyArray<Scaling.Command> => {
    if (deployment === undefined) {
      const [next, commands] = version.scaling.next({ _tag: "Undeployed", nowMs })
      version.scaling = next
      return commands
    }
    if (!Policies.isSame(version.scaling.choice, deployment.spec.policy)) {
      version.scaling = Policies.start(deployment.spec.policy, version.scaling.desired)
    }
    const counts = facts.count(version)
    const { pending, leased, arrivalsTotal, oldestPendingMs } = version.demand.figures(nowMs)
    const [next, commands] = version.scaling.next({
      _tag: "Observed",
      observation: {
        nowMs,
        pending,
        leased,
        arrivalsTotal,
        oldestPendingMs,
        ready: counts.ready,
        starting: counts.starting,
        draining: counts.draining,
        slotsPerInstance: counts.slots ?? deployment.spec.concurrency,
        desired: version.scaling.desired,
        spec: deployment.spec
      }
    })
    version.scaling = next
    return commands
  }

  const record = (
    version: VersionEntry,
    { from, to, policy, reason, inputs }: Extract<Scaling.Command, { _tag: "SetDesired" }>,
    nowMs: number
  ): void => {
    // For the orders that follow; none do from here, and many versions rest.
    version.reason = to === 0 ? "" : reason
    version.isHeardOf = true
    options.onDecision({ atMs: nowMs, versionId: version.versionId, from, to, policy, reason, inputs })
  }

  /** Nothing waits or is wanted, and no policy looks at the time: for what is not there it would be decided as it was. */
  const isUnwanted = (version: VersionEntry): boolean => {
    const deployment = routes.byVersionId(version.versionId)?.deployment
    return (
      version.scaling.desired === 0 &&
      deployment?.generation === version.generation &&
      !isWatchedAlways(deployment.spec) &&
      !version.demand.isBusy()
    )
  }

  const isQuiet = (version: VersionEntry): boolean =>
    instances.ofVersion(version.versionId).size === 0 && isUnwanted(version)

  /** Whatever is there was told to go, and is looked at again when it is overdue. */
  const isLeaving = (version: VersionEntry): boolean => {
    for (const { state } of instances.ofVersion(version.versionId).values()) if (state._tag !== "Draining") return false
    return isUnwanted(version)
  }

  const wakes = ControllerWakes.make<VersionEntry>(time, ({ versionId }) => evaluate(versionId, time.nowMs()))

  const wake = (version: VersionEntry, atMs: number): void => {
    if (!isClosed) wakes.set(version, atMs)
  }

  const dropWhenOver = (version: VersionEntry): void => {
    if (instances.ofVersion(version.versionId).size > 0 || version.demand.isBusy()) return
    wakes.clear(version)
    starts.forget(version.versionId)
    versions.delete(version.versionId)
  }

  return {
    demand: (report, nowMs) => {
      const isNew = !versions.has(report.versionId)
      const version = ensureHeardOf(report.versionId, nowMs)
      // What was so until now is seen first: that nothing was there.
      if (isNew && routes.byVersionId(report.versionId)?.deployment !== undefined) evaluate(report.versionId, nowMs)
      version.demand.report(report, nowMs)
      // What is created later still serves the demand that was heard when it was held back.
      if (!starts.isHeldBack(version, nowMs)) version.demandAtMs = nowMs
      evaluate(report.versionId, nowMs)
    },
    demandIsOnly: (shard, versionIds, nowMs) => {
      for (const version of [...versions.values()]) {
        if (!versionIds.has(version.versionId) && version.demand.hasNone(shard, nowMs)) {
          evaluate(version.versionId, nowMs)
        }
      }
    },
    told: (versionId, desired) => {
      const version = ensureHeardOf(versionId, time.nowMs())
      // Without a memory: instances that are there when this one begins to lead get their whole window.
      version.scaling = Policies.start(version.scaling.choice, desired)
    },
    apply,
    adopt,
    evaluate,
    evaluateChanged: (versionId, nowMs) => {
      const version = versions.get(versionId)
      // One that nobody has looked at yet is news as a whole.
      if (version === undefined) return evaluate(versionId, nowMs)
      if (version.isChanged && !isLeaving(version)) evaluate(versionId, nowMs)
    },
    declared: (entry, slots, phases) => {
      if (entry.slots !== slots) changed(entry)
      entry.slots = slots
      entry.phases = phases
    },
    evaluateBlocked: (nowMs) => {
      for (const versionId of starts.blocked()) evaluate(versionId, nowMs)
    },
    evaluateNext: (nowMs) => {
      for (let count = 0; count < evaluatedPerTick; count++) {
        const next = inTurn.next()
        if (next.done === true) {
          inTurn = versions.keys()
          return
        }
        const version = versions.get(next.value)
        if (version !== undefined && !isQuiet(version)) evaluate(next.value, nowMs)
      }
    },
    evaluateAll: (nowMs) => {
      for (const versionId of [...versions.keys()]) evaluate(versionId, nowMs)
    },
    deploymentFacts: (versionId) => facts.deployment(versionId, versions.get(versionId)),
    waitingFacts: (versionId, nowMs) => facts.waiting(versionId, versions.get(versionId), nowMs),
    close: () => {
      isClosed = true
      wakes.close()
    }
  }
}

const unreachable = (value: never): never => {
  throw new Error(`unreachable case ${JSON.stringify(value)}`)
}
