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
import type { ClusterView } from "./ControlView.ts"

export type Heartbeat = Extract<AgentReport, { readonly _tag: "Heartbeat" }>

interface ClusterEntry {
  heartbeat: Heartbeat
  heardAtMs: number
  cordoned: boolean
  draining: boolean
  /** Instance id to instance type: ordered and not in a heartbeat yet. */
  readonly ordered: Map<string, string>
  /** Instance id to instance type: ended since the heartbeat. */
  readonly ended: Map<string, string>
}

export interface ControllerClusters {
  /** Of any report of this cluster's agent. */
  readonly heard: (cluster: string, nowMs: number) => void
  /** `isLiving`: an order for an instance that was given up is no claim any more. */
  readonly heartbeat: (heartbeat: Heartbeat, nowMs: number, isLiving: (instanceId: string) => boolean) => void
  readonly ordered: (cluster: string, instanceId: string, instanceType: string) => void
  /** The order certainly did not leave. */
  readonly forgotten: (cluster: string, instanceId: string) => void
  readonly ended: (cluster: string, instanceId: string, instanceType: string) => void
  readonly isReachable: (cluster: string, nowMs: number) => boolean
  readonly isDraining: (cluster: string) => boolean
  readonly heardAtMs: (cluster: string) => number | undefined
  readonly names: () => ReadonlyArray<string>
  /** False: no such cluster. */
  readonly set: (cluster: string, to: { readonly cordoned: boolean; readonly draining: boolean }) => boolean
  readonly candidates: (nowMs: number, isWarm: (cluster: string) => boolean) => ReadonlyArray<Placement.Cluster>
  readonly views: (nowMs: number) => ReadonlyArray<ClusterView>
}

export const make = (unreachableAfterMs: number): ControllerClusters => {
  const clusters = new Map<string, ClusterEntry>()
  const isSilent = (entry: ClusterEntry, nowMs: number) => nowMs - entry.heardAtMs > unreachableAfterMs

  const instanceTypes = (entry: ClusterEntry): Placement.Cluster["instanceTypes"] =>
    entry.heartbeat.instanceTypes.map((type) => ({
      ...type,
      free: Math.min(type.total, type.free - count(entry.ordered, type.name) + count(entry.ended, type.name))
    }))

  return {
    heard: (cluster, nowMs) => {
      const entry = clusters.get(cluster)
      if (entry !== undefined) entry.heardAtMs = nowMs
    },
    heartbeat: (heartbeat, nowMs, isLiving) => {
      const entry = clusters.get(heartbeat.cluster)
      if (entry === undefined) {
        clusters.set(heartbeat.cluster, {
          heartbeat,
          heardAtMs: nowMs,
          cordoned: false,
          draining: false,
          ordered: new Map(),
          ended: new Map()
        })
        return
      }
      entry.heartbeat = heartbeat
      entry.heardAtMs = nowMs
      entry.ended.clear()
      for (const { instanceId } of heartbeat.instances) entry.ordered.delete(instanceId)
      for (const instanceId of entry.ordered.keys()) if (!isLiving(instanceId)) entry.ordered.delete(instanceId)
    },
    ordered: (cluster, instanceId, instanceType) => {
      clusters.get(cluster)?.ordered.set(instanceId, instanceType)
    },
    forgotten: (cluster, instanceId) => {
      clusters.get(cluster)?.ordered.delete(instanceId)
    },
    ended: (cluster, instanceId, instanceType) => {
      const entry = clusters.get(cluster)
      if (entry === undefined || entry.ordered.delete(instanceId)) return
      if (entry.heartbeat.instances.some((each) => each.instanceId === instanceId)) {
        entry.ended.set(instanceId, instanceType)
      }
    },
    isReachable: (cluster, nowMs) => {
      const entry = clusters.get(cluster)
      return entry !== undefined && !isSilent(entry, nowMs)
    },
    isDraining: (cluster) => clusters.get(cluster)?.draining === true,
    heardAtMs: (cluster) => clusters.get(cluster)?.heardAtMs,
    names: () => [...clusters.keys()],
    set: (cluster, { cordoned, draining }) => {
      const entry = clusters.get(cluster)
      if (entry === undefined) return false
      entry.cordoned = cordoned || draining
      entry.draining = draining
      return true
    },
    candidates: (nowMs, isWarm) =>
      [...clusters].map(([name, entry]) => ({
        name,
        state: isSilent(entry, nowMs) ? "unreachable" : "healthy",
        cordoned: entry.cordoned,
        draining: entry.draining,
        instanceTypes: instanceTypes(entry),
        warm: isWarm(name)
      })),
    views: (nowMs) =>
      [...clusters].map(([name, entry]) => ({
        name,
        region: entry.heartbeat.region,
        backend: entry.heartbeat.backend,
        isolation: entry.heartbeat.isolation,
        state: isSilent(entry, nowMs) ? "unreachable" : "healthy",
        cordoned: entry.cordoned,
        lastHeardAtMs: entry.heardAtMs,
        instanceTypes: instanceTypes(entry).map((type) => ({ ...type, free: Math.max(0, type.free) }))
      }))
  }
}

const count = (instances: ReadonlyMap<string, string>, instanceType: string): number => {
  let found = 0
  for (const type of instances.values()) if (type === instanceType) found += 1
  return found
}
