/**
 * What the controller knows of clusters: their last heartbeat, and what was ordered or ended since.
 *
 * `free` of a heartbeat is of the moment it was sent. Orders that it cannot contain yet are taken off, ends that it
 * cannot contain yet are put back, so that two decisions between two heartbeats never promise the same room twice.
 *
 * @module
 */
import type * as Placement from "../../core/placement/Placement.ts"
import type { AgentReport } from "../compute/AgentMessage.ts"
import * as HeartbeatPart from "../compute/HeartbeatPart.ts"
import type { ClusterOrder } from "./ClusterOrders.ts"
import type { ClusterView } from "./ControlView.ts"

export type Heartbeat = Extract<AgentReport, { readonly _tag: "Heartbeat" }>

/** Instances, and how many of each type: a storm of starts asks for the count with each of them. */
interface Tally {
  readonly typeOf: Map<string, string>
  readonly countOf: Map<string, number>
}

interface ClusterEntry {
  heartbeat: Omit<Heartbeat, "instances">
  heardAtMs: number
  /** Ids of what takes room in `free` of the heartbeat, as far as it is known. */
  readonly counted: Set<string>
  /** Ordered, and no heartbeat has counted it yet. */
  readonly ordered: Tally
  /** Ended since the heartbeat. */
  readonly ended: Tally
}

export interface ControllerClusters {
  /** Not of an agent that another one has replaced. */
  readonly isNewest: (report: AgentReport) => boolean
  /** Of any report of this cluster's agent. */
  readonly heard: (cluster: string, nowMs: number) => void
  /**
   * `isOpen`: it was ordered, and its agent has said nothing of it: what the agent has told of before, or was given up, is no
   * claim beside the heartbeat any more.
   */
  readonly heartbeat: (heartbeat: Heartbeat, nowMs: number, isOpen: (instanceId: string) => boolean) => void
  readonly ordered: (cluster: string, instanceId: string, instanceType: string) => void
  /** The order certainly did not leave. */
  readonly forgotten: (cluster: string, instanceId: string) => void
  readonly ended: (cluster: string, instanceId: string, instanceType: string) => void
  readonly isReachable: (cluster: string, nowMs: number) => boolean
  readonly isDraining: (cluster: string) => boolean
  readonly heardAtMs: (cluster: string) => number | undefined
  readonly names: () => ReadonlyArray<string>
  /** Also before the cluster is heard of for the first time. False: it was so before. */
  readonly set: (cluster: string, to: { readonly cordoned: boolean; readonly draining: boolean }) => boolean
  /** For instances of this type: what is free of another one is as the last heartbeat had it. */
  readonly candidates: (
    instanceType: string,
    nowMs: number,
    isWarm: (cluster: string) => boolean
  ) => ReadonlyArray<Placement.Cluster>
  readonly views: (nowMs: number) => ReadonlyArray<ClusterView>
}

const free: ClusterOrder = { cordoned: false, draining: false }

export const make = (unreachableAfterMs: number): ControllerClusters => {
  const clusters = new Map<string, ClusterEntry>()
  /** What operators said; kept also of clusters that were not heard of yet. */
  const orders = new Map<string, ClusterOrder>()
  const agentEpochs = new Map<string, number>()
  const ordersOf = (cluster: string) => orders.get(cluster) ?? free
  const isSilent = (entry: ClusterEntry, nowMs: number) => nowMs - entry.heardAtMs > unreachableAfterMs

  type Type = Heartbeat["instanceTypes"][number]

  const asOfNow = ({ ordered, ended }: ClusterEntry, type: Type): Type => ({
    ...type,
    free: Math.min(type.total, type.free - count(ordered, type.name) + count(ended, type.name))
  })

  const instanceTypes = (entry: ClusterEntry): ReadonlyArray<Type> =>
    entry.heartbeat.instanceTypes.map((type) => asOfNow(entry, type))

  return {
    isNewest: ({ cluster, agentEpoch = 0 }) => {
      if (agentEpoch < (agentEpochs.get(cluster) ?? 0)) return false
      agentEpochs.set(cluster, agentEpoch)
      return true
    },
    heard: (cluster, nowMs) => {
      const entry = clusters.get(cluster)
      if (entry !== undefined) entry.heardAtMs = nowMs
    },
    heartbeat: ({ instances, ...heartbeat }, nowMs, isOpen) => {
      const entry = clusters.get(heartbeat.cluster) ?? {
        heartbeat,
        heardAtMs: nowMs,
        counted: new Set(),
        ordered: emptyTally(),
        ended: emptyTally()
      }
      clusters.set(heartbeat.cluster, entry)
      entry.heartbeat = heartbeat
      entry.heardAtMs = nowMs
      const { counted } = entry
      for (const instanceId of counted) if (HeartbeatPart.has(heartbeat.part, instanceId)) counted.delete(instanceId)
      for (const { instanceId } of instances) counted.add(instanceId)
      for (const instanceId of entry.ended.typeOf.keys()) remove(entry.ended, instanceId)
      for (const instanceId of entry.ordered.typeOf.keys()) {
        if (!counted.has(instanceId) && isOpen(instanceId)) continue
        remove(entry.ordered, instanceId)
        // Of another part: its room is taken all the same.
        if (!HeartbeatPart.has(heartbeat.part, instanceId)) counted.add(instanceId)
      }
    },
    ordered: (cluster, instanceId, instanceType) => {
      const entry = clusters.get(cluster)
      if (entry !== undefined) add(entry.ordered, instanceId, instanceType)
    },
    forgotten: (cluster, instanceId) => {
      const entry = clusters.get(cluster)
      if (entry !== undefined) remove(entry.ordered, instanceId)
    },
    ended: (cluster, instanceId, instanceType) => {
      const entry = clusters.get(cluster)
      if (entry === undefined || remove(entry.ordered, instanceId)) return
      if (entry.counted.delete(instanceId)) add(entry.ended, instanceId, instanceType)
    },
    isReachable: (cluster, nowMs) => {
      const entry = clusters.get(cluster)
      return entry !== undefined && !isSilent(entry, nowMs)
    },
    isDraining: (cluster) => ordersOf(cluster).draining,
    heardAtMs: (cluster) => clusters.get(cluster)?.heardAtMs,
    names: () => [...clusters.keys()],
    set: (cluster, { cordoned, draining }) => {
      const before = ordersOf(cluster)
      orders.set(cluster, { cordoned: cordoned || draining, draining })
      const after = ordersOf(cluster)
      return before.cordoned !== after.cordoned || before.draining !== after.draining
    },
    candidates: (instanceType, nowMs, isWarm) =>
      [...clusters].map(([name, entry]) => ({
        name,
        state: isSilent(entry, nowMs) ? "unreachable" : "healthy",
        ...ordersOf(name),
        ...siteOf(entry.heartbeat),
        instanceTypes: entry.heartbeat.instanceTypes.map((type) =>
          type.name === instanceType ? asOfNow(entry, type) : type
        ),
        warm: isWarm(name)
      })),
    views: (nowMs) =>
      [...clusters].map(([name, entry]) => ({
        name,
        ...siteOf(entry.heartbeat),
        backend: entry.heartbeat.backend,
        isolation: entry.heartbeat.isolation,
        state: isSilent(entry, nowMs) ? "unreachable" : "healthy",
        ...ordersOf(name),
        lastHeardAtMs: entry.heardAtMs,
        instanceTypes: instanceTypes(entry).map((type) => ({ ...type, free: Math.max(0, type.free) }))
      }))
  }
}

/** What it is said to be; what is not said stays unknown. */
const siteOf = ({ region, group, attributes, compliance }: Omit<Heartbeat, "instances">) => ({
  region,
  ...(group === undefined ? {} : { group }),
  ...(attributes === undefined ? {} : { attributes }),
  ...(compliance === undefined ? {} : { compliance })
})

const emptyTally = (): Tally => ({ typeOf: new Map(), countOf: new Map() })

const count = ({ countOf }: Tally, instanceType: string): number => countOf.get(instanceType) ?? 0

const add = (tally: Tally, instanceId: string, instanceType: string): void => {
  if (tally.typeOf.has(instanceId)) return
  tally.typeOf.set(instanceId, instanceType)
  tally.countOf.set(instanceType, count(tally, instanceType) + 1)
}

/** False: it was not there. */
const remove = (tally: Tally, instanceId: string): boolean => {
  const instanceType = tally.typeOf.get(instanceId)
  if (instanceType === undefined) return false
  tally.typeOf.delete(instanceId)
  tally.countOf.set(instanceType, count(tally, instanceType) - 1)
  return true
}
