/**
 * The control plane's shell around the machines that scale: what is heard goes into them, what they order goes to the
 * agents. One per control plane.
 *
 * Laws (`tests/control/controller*.test.ts`):
 * - From a demand report to the order on the cluster's queue nothing is awaited: both happen in the same turn.
 * - Every change of desired is recorded with reason and inputs, and told to the listeners.
 * - Instances are observed facts: after a restart, heartbeats bring them back; nothing here is the only copy.
 * - A cluster that is silent gets no instances, and its instances are unknown, not gone.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Deployment from "../../core/deployment/Deployment.ts"
import { seconds } from "../../core/scaling/Policy.ts"
import * as CrashPoint from "../CrashPoint.ts"
import {
  type AgentReport,
  type DemandReport,
  type DemandSnapshot,
  type InstanceReport,
  subjects,
  type WorkerReport
} from "../compute/AgentMessage.ts"
import * as AgentMessageCheck from "../compute/AgentMessageCheck.ts"
import * as HeartbeatPart from "../compute/HeartbeatPart.ts"
import { Message, type Read } from "../fabric/Message.ts"
import { PubSub } from "../fabric/PubSub.ts"
import { WorkQueue } from "../fabric/WorkQueue.ts"
import * as ControllerClusters from "./ControllerClusters.ts"
import * as ControllerDemand from "./ControllerDemand.ts"
import * as ControllerExplain from "./ControllerExplain.ts"
import * as ControllerInstances from "./ControllerInstances.ts"
import * as ControllerOrders from "./ControllerOrders.ts"
import { type ControllerTime, systemTime } from "./ControllerTimers.ts"
import * as ControllerVersions from "./ControllerVersions.ts"
import type { ControlView, ScaleDecision } from "./ControlView.ts"
import * as ControlViews from "./ControlViews.ts"
import type { Leadership } from "./Leadership.ts"
import type { RoutingTable } from "./RoutingTable.ts"

export interface ControllerOptions {
  /** Must be filled before the controller starts: a version that it does not know is not deployed. */
  readonly routes: RoutingTable
  /**
   * What it means that no shard ever reported a version. `zero` only where every shard owner lives in this process and
   * tells what it recovered after the controller has started. Default `unknown`: nothing is scaled down on silence, and
   * the shards are asked for all that they have, until every one of them has told.
   */
  readonly silence?: "zero" | "unknown"
  /** Period of the safety net, which looks at 1000 versions each time. Default 1000. */
  readonly tickMs?: number
  /**
   * For so long it only listens, after it has begun to lead and has asked agents and shards for all that is: what runs
   * already is not ordered twice, nor ended because it was not heard of yet. Default 0.
   */
  readonly settleMs?: number
  /** Where there are several copies. Absent: this one is alone, with epoch 0. */
  readonly leadership?: Leadership
  /** Where silence is unknown: how often shards are asked for all their demand, so that no lost report stays lost. Default 5000. */
  readonly demandAskMs?: number
  /** Default 10000: five heartbeats. */
  readonly unreachableAfterMs?: number
  readonly time?: ControllerTime
  /**
   * Unique for ever; default 12 hex digits of `crypto.randomUUID`. An order whose id the queue still remembers is taken for
   * one that came twice and goes nowhere.
   */
  readonly newSuffix?: () => string
}

export interface Controller extends ControlView {
  /** The leadership was gained: it begins to act when it has settled. */
  readonly lead: () => void
  /** The same as a message on the subject, for callers in the same process. Synchronous: orders have left on return. */
  readonly onDemand: (report: DemandReport) => void
  readonly onWorker: (report: WorkerReport) => void
  readonly onAgent: (report: AgentReport) => void
  /** No new instances; `draining` also replaces those that are there. Held in memory. False: it was so before. */
  readonly setCluster: (name: string, to: { readonly cordoned: boolean; readonly draining: boolean }) => boolean
}

const decisionsMax = 1_000

const readDecision = AgentMessageCheck.reader(ControlViews.ScaleDecision)

export const make = (options: ControllerOptions): Effect.Effect<Controller, never, WorkQueue | PubSub | Scope.Scope> =>
  Effect.gen(function* () {
    const queue = yield* WorkQueue
    const pubSub = yield* PubSub
    const runFork = Effect.runForkWith(yield* Effect.context<never>())
    const warn = (message: string, fields: Readonly<Record<string, string | number>>) => {
      runFork(Effect.logWarning(message).pipe(Effect.annotateLogs(fields)))
    }
    const time = options.time ?? systemTime
    const { routes } = options
    const clusters = ControllerClusters.make(options.unreachableAfterMs ?? 10_000)
    const instances = ControllerInstances.make()
    const epoch = options.leadership === undefined ? () => 0 : options.leadership.epoch
    const orders = ControllerOrders.make({ queue, time, epoch, warn })
    const decisions: Array<ScaleDecision> = []
    const decisionListeners = new Set<(decision: ScaleDecision) => void>()
    const instanceListeners = new Set<(instance: InstanceReport) => void>()

    const settleMs = options.settleMs ?? 0
    let isSettled = settleMs === 0 && options.leadership === undefined
    const isActing = () => isSettled && epoch() !== undefined
    const keep = (decision: ScaleDecision) => {
      decisions.push(decision)
      if (decisions.length > decisionsMax) decisions.shift()
      tell(decisionListeners, decision)
    }

    const snapshots = ControllerDemand.makeSnapshots()
    const tell = <A>(listeners: ReadonlySet<(value: A) => void>, value: A) => {
      for (const listener of listeners) {
        try {
          listener(value)
        } catch (cause) {
          warn("a listener of the controller failed", { cause: String(cause) })
        }
      }
    }

    const versions = ControllerVersions.make({
      routes,
      time,
      clusters,
      instances,
      orders,
      isActing,
      silence: () => (options.silence === "zero" || snapshots.isComplete() ? "zero" : "unknown"),
      newSuffix: options.newSuffix ?? (() => crypto.randomUUID().slice(24)),
      warn,
      onDecision: (decision) => {
        keep(decision)
        if (options.leadership === undefined) return
        pubSub.publish(subjects.decision, Buffer.from(JSON.stringify(decision)))
      },
      onInstance: (entry) => {
        if (instanceListeners.size > 0) tell(instanceListeners, ControllerInstances.toReport(entry))
      },
      onDrain: (entry, reason) => {
        const payload = { instanceId: entry.instanceId, versionId: entry.versionId, reason }
        pubSub.publish(subjects.drain, new Message(AgentMessageCheck.drain, payload))
      }
    })

    const evaluateWatched = () => {
      const watched = routes.deployedVersionIds(ControllerVersions.isWatchedAlways)
      for (const versionId of watched) versions.evaluate(versionId, time.nowMs())
    }

    const onDemand = (report: DemandReport) => {
      CrashPoint.hit("controller.demand")
      versions.demand(report, time.nowMs())
    }

    const onSnapshot = (snapshot: DemandSnapshot) => {
      const wasComplete = snapshots.isComplete()
      const nowMs = time.nowMs()
      for (const report of snapshot.reports) versions.demand(report, nowMs)
      const named = snapshots.take(snapshot)
      if (named !== undefined) versions.demandIsOnly(snapshot.shard, named, nowMs)
      // Silence means something else from now on.
      if (!wasComplete && snapshots.isComplete()) versions.evaluateAll(nowMs)
    }

    const onWorker = (report: WorkerReport) => {
      const nowMs = time.nowMs()
      CrashPoint.hit("controller.worker")
      const entry = instances.get(report.instanceId)
      // A worker of an instance that only its agent knows as yet: the agent's heartbeat tells that it is ready.
      if (entry === undefined) return
      if (report._tag === "WorkerReady") {
        versions.declared(entry, report.slots, report.phases)
        versions.apply(entry, { _tag: "WorkerReady", nowMs })
      } else if (report._tag === "WorkerDraining") versions.apply(entry, { _tag: "WorkerDraining", nowMs })
      else if (report._tag === "WorkerHolds") {
        versions.apply(entry, { _tag: "WorkerHolds", nowMs, untilMs: nowMs + report.forMs })
      } else versions.apply(entry, { _tag: "WorkerGone", nowMs })
      versions.evaluateChanged(entry.versionId, nowMs)
    }

    const reported = (report: InstanceReport, nowMs: number) => {
      const entry = instances.get(report.instanceId) ?? versions.adopt(report, nowMs)
      if (entry === undefined) return
      entry.missedHeartbeats = 0
      versions.apply(entry, { _tag: "Reported", nowMs, report })
      if (report.state === "stopped" || report.state === "failed") {
        clusters.ended(entry.cluster, entry.instanceId, entry.instanceType)
      }
    }

    const onAgent = (report: AgentReport) => {
      const nowMs = time.nowMs()
      CrashPoint.hit("controller.agent")
      if (!clusters.isNewest(report)) {
        return warn("a report of an agent that another one has replaced was left out", { cluster: report.cluster })
      }
      clusters.heard(report.cluster, nowMs)
      if (report._tag === "InstanceChanged") {
        reported(report.instance, nowMs)
        versions.evaluateChanged(report.instance.versionId, nowMs)
        const isEnd = report.instance.state === "stopped" || report.instance.state === "failed"
        if (isEnd) versions.evaluateBlocked(nowMs)
        return
      }
      clusters.heartbeat(report, nowMs, (instanceId) => instances.get(instanceId)?.state._tag === "Requested")
      const touched = new Set<string>()
      const listed = new Set<string>()
      for (const instance of report.instances) {
        listed.add(instance.instanceId)
        touched.add(instance.versionId)
        reported(instance, nowMs)
      }
      for (const entry of instances.ofCluster(report.cluster)) {
        if (!HeartbeatPart.has(report.part, entry.instanceId)) continue
        if (!listed.has(entry.instanceId)) entry.missedHeartbeats += 1
        // One can miss what was ordered while it was on its way.
        if (entry.missedHeartbeats < 2) continue
        versions.apply(entry, { _tag: "Missing", nowMs })
        touched.add(entry.versionId)
      }
      for (const versionId of touched) versions.evaluateChanged(versionId, nowMs)
      versions.evaluateBlocked(nowMs)
    }

    const tick = () => {
      if (!isActing()) return
      const nowMs = time.nowMs()
      for (const name of clusters.names()) {
        if (clusters.isReachable(name, nowMs)) continue
        const silentMs = nowMs - (clusters.heardAtMs(name) ?? nowMs)
        const detail = `its cluster ${name} has not been heard for ${seconds(silentMs)} and no worker of it is connected`
        for (const entry of instances.ofCluster(name)) {
          const before = entry.state
          versions.apply(entry, { _tag: "AgentSilent", nowMs, detail })
          if (entry.state !== before) versions.evaluate(entry.versionId, nowMs)
        }
      }
      CrashPoint.hit("controller.tick")
      versions.evaluateNext(nowMs)
    }

    const heard = <A>(subject: string, read: Read<A>, handle: (value: A) => void) =>
      pubSub.hear(subject, (payload, from) => {
        const result = read(payload)
        if (Result.isSuccess(result)) return handle(result.success)
        warn("a report could not be read and was left out", { subject: from, reason: result.failure })
      })

    yield* heard(subjects.demand, AgentMessageCheck.demandReport, onDemand)
    yield* heard(subjects.demandSnapshot, AgentMessageCheck.demandSnapshot, onSnapshot)
    yield* heard(subjects.reports, AgentMessageCheck.agentReport, onAgent)
    yield* heard(subjects.worker, AgentMessageCheck.workerReport, onWorker)

    const tickMs = options.tickMs ?? 1_000
    let cancelTick = () => {}
    const nextTick = () => {
      cancelTick = time.after(tickMs, () => {
        nextTick()
        tick()
      })
    }
    nextTick()
    let cancelAsk = () => {}
    const ask = () => {
      pubSub.publish(subjects.demandWanted, new Uint8Array())
      cancelAsk = time.after(options.demandAskMs ?? 5_000, ask)
    }
    if (options.silence !== "zero") ask()
    let cancelSettle = () => {}
    const lead = () => {
      isSettled = false
      cancelSettle()
      pubSub.publish(subjects.reportWanted, new Uint8Array())
      if (options.silence !== "zero") pubSub.publish(subjects.demandWanted, new Uint8Array())
      cancelSettle = time.after(settleMs, () => {
        isSettled = true
        evaluateWatched()
        versions.evaluateAll(time.nowMs())
      })
    }
    if (!isSettled && options.leadership === undefined) lead()
    if (options.leadership !== undefined) {
      pubSub.publish(subjects.reportWanted, new Uint8Array())
      yield* heard(subjects.decision, readDecision, (decision) => {
        // Its own come back to it too.
        if (isActing()) return
        keep(decision)
        versions.told(decision.versionId, decision.to)
      })
    }
    const stopRoutes = routes.onChange((versionId) => versions.evaluate(versionId, time.nowMs()))
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        stopRoutes()
        cancelTick()
        cancelAsk()
        cancelSettle()
        versions.close()
        orders.close()
      })
    )
    evaluateWatched()

    const view: ControlView = {
      instances: (filter) => {
        const wanted = (entry: ControllerInstances.InstanceEntry) =>
          filter?.versionId === undefined || entry.versionId === filter.versionId
        return [...instances.living(), ...instances.ended()].filter(wanted).map(ControllerInstances.toReport)
      },
      instance: (instanceId) => {
        const entry = instances.get(instanceId)
        return entry === undefined ? undefined : ControllerInstances.toReport(entry)
      },
      clusters: () => clusters.views(time.nowMs()),
      deploymentStatus: (versionId) => {
        const known = versions.deploymentFacts(versionId)
        // One that stands by did not hear what was decided before it came: what runs was wanted.
        const desired = isActing() ? known.desired : Math.max(known.desired, known.starting + known.ready)
        const facts = { ...known, desired }
        const { starting, ready, draining } = facts
        return { versionId, ...Deployment.status(facts), desired, starting, ready, draining }
      },
      decisions: (filter) => {
        const found: Array<ScaleDecision> = []
        const limit = filter?.limit ?? decisionsMax
        for (let index = decisions.length - 1; index >= 0 && found.length < limit; index--) {
          const decision = decisions[index]
          if (decision === undefined) continue
          if (filter?.versionId === undefined || decision.versionId === filter.versionId) found.push(decision)
        }
        return found
      },
      startTimeline: (instanceId) => {
        const entry = instances.get(instanceId)
        return entry === undefined ? undefined : ControllerInstances.toTimeline(entry)
      },
      whyWaiting: (versionId) => ControllerExplain.whyWaiting(versions.waitingFacts(versionId, time.nowMs())),
      onDecision: (listener) => {
        decisionListeners.add(listener)
        return () => decisionListeners.delete(listener)
      },
      onInstance: (listener) => {
        instanceListeners.add(listener)
        return () => instanceListeners.delete(listener)
      }
    }
    return {
      ...view,
      onDemand,
      onWorker,
      onAgent,
      lead,
      setCluster: (name, to) => {
        const isNew = clusters.set(name, to)
        if (isNew) versions.evaluateAll(time.nowMs())
        return isNew
      }
    }
  })
