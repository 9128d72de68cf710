/**
 * The instances that the controller knows: those that live, by version, and a bounded memory of those that ended.
 *
 * @module
 */
import { RecentMap } from "../../core/collections/RecentMap.ts"
import * as Instance from "../../core/instance/Instance.ts"
import type { InstanceReport } from "../compute/AgentMessage.ts"
import type { StartTimeline } from "./ControlView.ts"

export interface InstanceEntry {
  readonly instanceId: string
  readonly functionId: string
  readonly versionId: string
  readonly generation: number
  readonly cluster: string
  /** Why there; null = this copy of the control plane did not place it. */
  readonly placement: string | null
  readonly instanceType: string
  /** When the demand that it was created for was heard. */
  readonly demandAtMs: number
  state: Instance.State
  /** As its worker declared; null = not yet. */
  slots: number | null
  phases: StartTimeline["phases"]
  /** Heartbeats of its agent in a row that did not list it. */
  missedHeartbeats: number
}

/** The living instances of one version. */
export interface Siblings {
  readonly size: number
  readonly values: () => Iterable<InstanceEntry>
}

export interface ControllerInstances {
  readonly add: (entry: InstanceEntry) => void
  /** From the living to the remembered. */
  readonly retire: (entry: InstanceEntry) => void
  readonly get: (instanceId: string) => InstanceEntry | undefined
  /** Living ones. */
  readonly ofVersion: (versionId: string) => Siblings
  readonly ofCluster: (cluster: string) => ReadonlyArray<InstanceEntry>
  readonly living: () => Iterable<InstanceEntry>
  readonly ended: () => Iterable<InstanceEntry>
}

/** Enough for the receipts and questions that come after an end; the oldest is forgotten first. */
const endedMax = 1_000

const nobody: ReadonlyArray<InstanceEntry> = []
const none: Siblings = { size: 0, values: () => nobody }

/** Most versions have one instance at most: a map for each would be a good part of all that a start leaves behind. */
class Only implements Siblings {
  readonly size = 1
  readonly entry: InstanceEntry
  readonly #all: readonly [InstanceEntry]

  constructor(entry: InstanceEntry) {
    this.entry = entry
    this.#all = [entry]
  }

  values(): Iterable<InstanceEntry> {
    return this.#all
  }
}

export const make = (): ControllerInstances => {
  const living = new Map<string, InstanceEntry>()
  const ended = new RecentMap<string, InstanceEntry>()
  const byVersion = new Map<string, Only | Map<string, InstanceEntry>>()

  const remove = (entry: InstanceEntry) => {
    living.delete(entry.instanceId)
    const siblings = byVersion.get(entry.versionId)
    if (siblings instanceof Only) {
      if (siblings.entry.instanceId === entry.instanceId) byVersion.delete(entry.versionId)
      return
    }
    siblings?.delete(entry.instanceId)
    if (siblings?.size === 0) byVersion.delete(entry.versionId)
  }

  return {
    add: (entry) => {
      living.set(entry.instanceId, entry)
      const siblings = byVersion.get(entry.versionId)
      if (siblings === undefined) byVersion.set(entry.versionId, new Only(entry))
      else if (!(siblings instanceof Only)) siblings.set(entry.instanceId, entry)
      else {
        const first = siblings.entry
        const all = new Map([[first.instanceId, first]])
        byVersion.set(entry.versionId, all.set(entry.instanceId, entry))
      }
    },
    retire: (entry) => {
      remove(entry)
      ended.set(entry.instanceId, entry)
      ended.trim(endedMax)
    },
    get: (instanceId) => living.get(instanceId) ?? ended.get(instanceId),
    ofVersion: (versionId) => byVersion.get(versionId) ?? none,
    ofCluster: (cluster) => [...living.values()].filter((entry) => entry.cluster === cluster),
    living: () => living.values(),
    ended: () => ended.values()
  }
}

/** As agents report it, with what the controller knows better. */
export const toReport = (entry: InstanceEntry): InstanceReport => {
  const { facts } = entry.state
  return {
    instanceId: entry.instanceId,
    functionId: entry.functionId,
    versionId: entry.versionId,
    generation: entry.generation,
    cluster: entry.cluster,
    requestedAtMs: facts.requestedAtMs,
    startedAtMs: facts.startedAtMs,
    readyAtMs: facts.readyAtMs,
    pid: facts.pid,
    ...ofState(entry.state)
  }
}

type Life = Pick<InstanceReport, "state" | "phase" | "endedAtMs" | "detail" | "retryable">

const ofState = (state: Instance.State): Life =>
  Instance.State.$match(state, {
    Requested: (): Life => ({ state: "requested", phase: "requested", endedAtMs: null, detail: "", retryable: true }),
    Starting: ({ phase }): Life => ({ state: "starting", phase, endedAtMs: null, detail: "", retryable: true }),
    Ready: (): Life => ({ state: "ready", phase: "ready", endedAtMs: null, detail: "", retryable: true }),
    Draining: ({ reason }): Life => ({
      state: "draining",
      phase: "drain",
      endedAtMs: null,
      detail: reason,
      retryable: true
    }),
    Stopped: ({ endedAtMs, detail }): Life => ({
      state: "stopped",
      phase: "stopped",
      endedAtMs,
      detail,
      retryable: true
    }),
    Failed: ({ endedAtMs, detail, retryable }): Life => ({
      state: "failed",
      phase: "failed",
      endedAtMs,
      detail,
      retryable
    })
  })

export const toTimeline = (entry: InstanceEntry): StartTimeline => ({
  instanceId: entry.instanceId,
  ...(entry.placement === null ? {} : { placement: entry.placement }),
  demandAtMs: entry.demandAtMs,
  createdAtMs: entry.state.facts.requestedAtMs,
  startedAtMs: entry.state.facts.startedAtMs,
  readyAtMs: entry.state.facts.readyAtMs,
  phases: entry.phases
})
