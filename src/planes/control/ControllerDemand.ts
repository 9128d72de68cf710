/**
 * Demand of one version, summed over the shards that hold its requests. A shard that never reported is not zero: until
 * the first report everything is unknown, unless the controller was told that silence means that there is nothing.
 *
 * @module
 */
import type { Reading } from "../../core/scaling/Policy.ts"
import type { DemandReport, DemandSnapshot } from "../compute/AgentMessage.ts"

export interface Figures {
  readonly pending: Reading
  readonly leased: Reading
  readonly arrivalsTotal: Reading
  readonly oldestPendingMs: Reading | null
}

export interface ControllerDemand {
  readonly report: (report: DemandReport, nowMs: number) => void
  /** The shard was asked for all that it has, and did not name this version. True: that is news. */
  readonly hasNone: (shard: string, nowMs: number) => boolean
  readonly figures: (nowMs: number) => Figures
  readonly leasedOf: (instanceId: string) => Reading
  /** Something is known to wait or to run. */
  readonly isBusy: () => boolean
}

const unknown: Figures = {
  pending: "unknown",
  leased: "unknown",
  arrivalsTotal: "unknown",
  oldestPendingMs: "unknown"
}
const nothing: Figures = { pending: 0, leased: 0, arrivalsTotal: 0, oldestPendingMs: null }

/** `silence`: what it means, at the moment, that no shard ever reported the version. */
export const make = (silence: () => "zero" | "unknown"): ControllerDemand => {
  const shards = new Map<string, { readonly report: DemandReport; readonly heardAtMs: number }>()

  return {
    report: (report, nowMs) => {
      shards.set(report.shard, { report, heardAtMs: nowMs })
    },
    hasNone: (shard, nowMs) => {
      const known = shards.get(shard)?.report
      if (known === undefined || known.pending + known.leased === 0) return false
      const report = { ...known, pending: 0, leased: 0, leasedByInstance: {}, oldestPendingMs: null }
      shards.set(shard, { report, heardAtMs: nowMs })
      return true
    },
    figures: (nowMs) => {
      if (shards.size === 0) return silence() === "zero" ? nothing : unknown
      let pending = 0
      let leased = 0
      let arrivalsTotal = 0
      let oldestPendingMs: number | null = null
      for (const { report, heardAtMs } of shards.values()) {
        pending += report.pending
        leased += report.leased
        arrivalsTotal += report.arrivalsTotal
        if (report.oldestPendingMs === null) continue
        oldestPendingMs = Math.max(oldestPendingMs ?? 0, report.oldestPendingMs + (nowMs - heardAtMs))
      }
      return { pending, leased, arrivalsTotal, oldestPendingMs }
    },
    leasedOf: (instanceId) => {
      if (shards.size === 0) return silence() === "zero" ? 0 : "unknown"
      let leased = 0
      for (const { report } of shards.values()) leased += report.leasedByInstance[instanceId] ?? 0
      return leased
    },
    isBusy: () => {
      for (const { report } of shards.values()) if (report.pending > 0 || report.leased > 0) return true
      return false
    }
  }
}

/** What was told in parts, shard by shard. */
export interface Snapshots {
  /** The versions that the shard named, when this was the last part of all that it has. */
  readonly take: (snapshot: DemandSnapshot) => ReadonlySet<string> | undefined
  /** Every shard has told all that it has, once at least. */
  readonly isComplete: () => boolean
}

export const makeSnapshots = (): Snapshots => {
  const open = new Map<string, Set<string>>()
  const told = new Set<string>()
  let shardCount = Number.POSITIVE_INFINITY
  return {
    take: (snapshot) => {
      const { shard, reports, isFirst, isLast } = snapshot
      const named = isFirst ? new Set<string>() : open.get(shard)
      // Its beginning got lost: the next one is asked for soon.
      if (named === undefined) return undefined
      for (const { versionId } of reports) named.add(versionId)
      open.set(shard, named)
      if (!isLast) return undefined
      open.delete(shard)
      told.add(shard)
      shardCount = snapshot.shardCount
      return named
    },
    isComplete: () => told.size >= shardCount
  }
}
