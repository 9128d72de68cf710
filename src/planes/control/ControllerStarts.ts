/**
 * New instances of a version: each gets a cluster, becomes known, and is ordered. Keeps who found no cluster, and holds a
 * version's orders back for a moment after one that did not leave.
 *
 * @module
 */
import * as Instance from "../../core/instance/Instance.ts"
import * as RestartBudget from "../../core/instance/RestartBudget.ts"
import * as Placement from "../../core/placement/Placement.ts"
import type { CreateInstance } from "../compute/AgentMessage.ts"
import type { ControllerClusters } from "./ControllerClusters.ts"
import * as ControllerExplain from "./ControllerExplain.ts"
import type { ControllerInstances, InstanceEntry } from "./ControllerInstances.ts"
import type { ControllerOrders } from "./ControllerOrders.ts"
import type { ControllerTime } from "./ControllerTimers.ts"
import type { VersionEntry } from "./ControllerVersionFacts.ts"
import type { Route } from "./RoutingTable.ts"

export interface ControllerStartsOptions {
  readonly time: ControllerTime
  readonly clusters: ControllerClusters
  readonly instances: ControllerInstances
  readonly orders: Pick<ControllerOrders, "create">
  readonly newSuffix: () => string
  readonly warn: (message: string, fields: Readonly<Record<string, string | number>>) => void
  readonly onInstance: (entry: InstanceEntry) => void
  /** An order did not leave: it is to be decided anew at that time. */
  readonly onHeld: (version: VersionEntry, untilMs: number) => void
}

export interface Deployed {
  readonly route: Route
  readonly deployment: NonNullable<Route["deployment"]>
}

export interface ControllerStarts {
  /** Orders so many more, as far as there is room and orders leave. `deployed`: undefined of a version that is not. */
  readonly order: (version: VersionEntry, deployed: Deployed | undefined, count: number, nowMs: number) => void
  /** What is wanted of it is not ordered now: it found no cluster, an order did not leave, or starts failed. */
  readonly isHeldBack: (version: VersionEntry, nowMs: number) => boolean
  /** The versions that found no cluster. */
  readonly blocked: () => ReadonlyArray<string>
  /** The version is not known any more. */
  readonly forget: (versionId: string) => void
}

/** An order that certainly did not leave is decided anew after this. */
const orderRetryMs = 200

export const make = (options: ControllerStartsOptions): ControllerStarts => {
  const { time, clusters, instances, orders } = options
  const blocked = new Set<string>()

  const unblock = (version: VersionEntry): void => {
    version.nowhere = null
    blocked.delete(version.versionId)
  }

  const order = (version: VersionEntry, deployed: Deployed, count: number, nowMs: number): void => {
    const { instanceType, gpu, clusters: wanted, regions, groups, attributes, compliance } = deployed.deployment.spec
    const demands = { clusters: wanted, regions, groups, attributes, compliance }
    const request: Placement.Request = { instanceType, gpu, ...demands }
    const there = instances.ofVersion(version.versionId)
    const warm = there.size === 0 ? undefined : new Set([...there.values()].map(({ cluster }) => cluster))
    let candidates = clusters.candidates(instanceType, nowMs, (cluster) => warm?.has(cluster) === true)
    for (let index = 0; index < count; index++) {
      // An order, or a start, that failed in this very turn: the rest would fail alike.
      if (version.ordersHeldUntilMs !== null || !RestartBudget.mayTry(version.budget, nowMs)) return
      const placed = Placement.place({ request, clusters: candidates })
      if (placed.cluster === undefined) {
        version.nowhere = Placement.whyNowhere(placed.explanations)
        blocked.add(version.versionId)
        return
      }
      if (index + 1 < count) candidates = Placement.reserve(candidates, placed.cluster, request)
      orderOne(version, deployed, { cluster: placed.cluster, placement: ControllerExplain.whyThere(placed) }, nowMs)
    }
    unblock(version)
  }

  const orderOne = (
    version: VersionEntry,
    deployed: Deployed,
    { cluster, placement }: Pick<InstanceEntry, "cluster" | "placement">,
    nowMs: number
  ): void => {
    const { spec } = deployed.deployment
    const instanceId = `${version.versionId.slice(0, 8)}-${options.newSuffix()}`
    const entry: InstanceEntry = {
      instanceId,
      functionId: deployed.route.functionId,
      versionId: version.versionId,
      generation: deployed.deployment.generation,
      cluster,
      placement,
      instanceType: spec.instanceType,
      demandAtMs: Math.min(version.demandAtMs, nowMs),
      state: Instance.requested({
        nowMs,
        startDeadlineMs: spec.startDeadlineMs,
        drainMs: spec.requestTimeoutMs,
        graceMs: spec.graceMs
      }),
      slots: null,
      phases: null,
      missedHeartbeats: 0
    }
    const message = messageOf(entry, deployed, {
      decidedAtMs: nowMs,
      reason: version.reason === "" ? `${version.scaling.desired} instances wanted` : version.reason
    })
    // Known before it is ordered: the agent may report it before the order returns.
    instances.add(entry)
    clusters.ordered(cluster, instanceId, spec.instanceType)
    options.onInstance(entry)
    orders.create(cluster, message, (reason) => notSent(version, entry, reason))
  }

  const notSent = (version: VersionEntry, entry: InstanceEntry, reason: string): void => {
    // Its agent has it: the order was carried out, whatever became of its record.
    if (entry.state._tag !== "Requested") return
    const nowMs = time.nowMs()
    const { facts } = entry.state
    const detail = `its order did not leave: ${reason}`
    entry.state = { _tag: "Failed", facts, endedAtMs: nowMs, detail, retryable: true, orderedAtMs: nowMs }
    instances.retire(entry)
    clusters.forgotten(entry.cluster, entry.instanceId)
    options.onInstance(entry)
    version.ordersHeldUntilMs = nowMs + orderRetryMs
    options.warn("an instance is decided anew because its order did not leave", {
      instanceId: entry.instanceId,
      reason
    })
    options.onHeld(version, version.ordersHeldUntilMs)
  }

  return {
    order: (version, deployed, count, nowMs) => {
      if (version.ordersHeldUntilMs !== null && nowMs >= version.ordersHeldUntilMs) version.ordersHeldUntilMs = null
      if (count === 0) return unblock(version)
      if (deployed !== undefined && version.ordersHeldUntilMs === null) order(version, deployed, count, nowMs)
    },
    isHeldBack: (version, nowMs) =>
      version.nowhere !== null || version.ordersHeldUntilMs !== null || !RestartBudget.mayTry(version.budget, nowMs),
    blocked: () => [...blocked],
    forget: (versionId) => void blocked.delete(versionId)
  }
}

const messageOf = (
  { instanceId, functionId, versionId, generation }: InstanceEntry,
  { route, deployment }: Deployed,
  decision: Pick<CreateInstance, "decidedAtMs" | "reason">
): CreateInstance => {
  const { spec } = deployment
  const { command, environment, image, health, chart, workingDirectory } = route.version
  return {
    instanceId,
    tenant: route.tenant,
    functionId,
    functionName: route.functionName,
    versionId,
    generation,
    command,
    ...(image === undefined ? {} : { image }),
    ...(health === undefined ? {} : { health }),
    ...(chart === undefined ? {} : { chart }),
    ...(workingDirectory === undefined ? {} : { workingDirectory }),
    environment,
    concurrency: spec.concurrency,
    gpu: spec.gpu,
    instanceType: spec.instanceType,
    cpuMillis: spec.cpuMillis,
    memoryBytes: spec.memoryBytes,
    startDeadlineMs: spec.startDeadlineMs,
    graceMs: spec.graceMs,
    ...decision
  }
}
