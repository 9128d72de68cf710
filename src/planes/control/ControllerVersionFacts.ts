/**
 * What the controller keeps of one version, and what can be read off it: the counts that the machines are asked with,
 * and the facts that people ask for. Reads only.
 *
 * @module
 */
import type { Due } from "../../core/collections/DueHeap.ts"
import type * as Deployment from "../../core/deployment/Deployment.ts"
import type * as Fleet from "../../core/instance/Fleet.ts"
import * as Instance from "../../core/instance/Instance.ts"
import * as RestartBudget from "../../core/instance/RestartBudget.ts"
import type * as Policies from "../../core/scaling/Policies.ts"
import type { ControllerClusters } from "./ControllerClusters.ts"
import type { ControllerDemand } from "./ControllerDemand.ts"
import type { Waiting } from "./ControllerExplain.ts"
import type { ControllerInstances } from "./ControllerInstances.ts"
import type { RoutingTable } from "./RoutingTable.ts"

/** `dueMs`: when it must be looked at again, though nothing is heard of it. */
export interface VersionEntry extends Due {
  readonly versionId: string
  readonly demand: ControllerDemand
  scaling: Policies.Machine
  budget: RestartBudget.State
  generation: number | null
  /** Reason of the last decision, for the order. */
  reason: string
  /** When the demand was heard that is being served by what is created now. */
  demandAtMs: number
  nowhere: string | null
  ordersHeldUntilMs: number | null
  isEvaluating: boolean
  isStale: boolean
  /** Something was reported or decided: what it remembers of that must last. */
  isHeardOf: boolean
  /** One of its instances counts for something else than when the machines were asked last. */
  isChanged: boolean
}

export interface Counts {
  readonly ready: number
  readonly starting: number
  readonly draining: number
  /** Of the ready one that offers least; undefined = none has said. */
  readonly slots: number | undefined
}

export interface ControllerVersionFacts {
  /** Of the present generation and of clusters that stay. */
  readonly count: (version: VersionEntry) => Counts
  readonly members: (version: VersionEntry) => ReadonlyArray<Fleet.Member>
  readonly deployment: (versionId: string, version: VersionEntry | undefined) => Deployment.Facts
  readonly waiting: (versionId: string, version: VersionEntry | undefined, nowMs: number) => Waiting
}

export const make = ({
  routes,
  clusters,
  instances,
  silence
}: {
  readonly routes: RoutingTable
  readonly clusters: ControllerClusters
  readonly instances: ControllerInstances
  /** What it means that nothing was ever reported of a version. */
  readonly silence: () => "zero" | "unknown"
}): ControllerVersionFacts => {
  const count = (version: VersionEntry): Counts => {
    const counts = { ready: 0, starting: 0, draining: 0 }
    let slots: number | undefined
    for (const entry of instances.ofVersion(version.versionId).values()) {
      if (entry.state._tag === "Draining") counts.draining += 1
      else if (version.generation !== null && entry.generation < version.generation) continue
      else if (clusters.isDraining(entry.cluster)) continue
      else if (entry.state._tag === "Ready") {
        counts.ready += 1
        if (entry.slots !== null) slots = Math.min(slots ?? entry.slots, entry.slots)
      } else counts.starting += 1
    }
    return { ...counts, slots }
  }

  return {
    count,
    members: (version) => {
      const all: Array<Fleet.Member> = []
      for (const entry of instances.ofVersion(version.versionId).values()) {
        const state = memberStates[entry.state._tag]
        if (state === undefined) continue
        all.push({
          id: entry.instanceId,
          generation: entry.generation,
          state,
          leased: version.demand.leasedOf(entry.instanceId),
          requestedAtMs: entry.state.facts.requestedAtMs,
          leaving: clusters.isDraining(entry.cluster)
        })
      }
      return all
    },
    deployment: (versionId, version) => {
      const isDeployed = routes.byVersionId(versionId)?.deployment !== undefined
      if (version === undefined) {
        return {
          isDeployed,
          desired: 0,
          starting: 0,
          ready: 0,
          draining: 0,
          budget: RestartBudget.empty,
          nowhere: null
        }
      }
      const { starting, ready, draining } = count(version)
      const { scaling, budget, nowhere } = version
      return { isDeployed, desired: scaling.desired, starting, ready, draining, budget, nowhere }
    },
    waiting: (versionId, version, nowMs) => {
      const route = routes.byVersionId(versionId)
      const spec = route?.deployment?.spec
      return {
        nowMs,
        exists: route !== undefined,
        spec,
        desired: version?.scaling.desired ?? 0,
        pending: version?.demand.figures(nowMs).pending ?? (spec !== undefined && silence() === "zero" ? 0 : "unknown"),
        instances: [...instances.ofVersion(versionId).values()].map((entry) => ({
          id: entry.instanceId,
          state: entry.state,
          leased: version?.demand.leasedOf(entry.instanceId) ?? "unknown",
          slots: entry.slots ?? spec?.concurrency ?? 1
        })),
        budget: version?.budget ?? RestartBudget.empty,
        nowhere: version?.nowhere ?? null,
        ordersHeldUntilMs: version?.ordersHeldUntilMs ?? null
      }
    }
  }
}

/** Whether the machines could answer otherwise, or at another time, because an instance went from one state to the other. */
export const isOther = (before: Instance.State, after: Instance.State): boolean =>
  countedAs(before) !== countedAs(after) || Instance.wakeAtMs(before) !== Instance.wakeAtMs(after)

const countedAs = ({ _tag }: Instance.State): Instance.State["_tag"] => (_tag === "Requested" ? "Starting" : _tag)

const memberStates: Readonly<Record<Instance.State["_tag"], Fleet.Member["state"] | undefined>> = {
  Requested: "requested",
  Starting: "starting",
  Ready: "ready",
  Draining: "draining",
  Stopped: undefined,
  Failed: undefined
}
