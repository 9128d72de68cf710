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

interface Told {
  readonly shard: string
  readonly pending: number
  readonly leased: number
  readonly arrivalsTotal: number
  readonly oldestPendingMs: number | null
  /** Undefined: no instance holds anything. */
  readonly leasedByInstance: DemandReport["leasedByInstance"] | undefined
  readonly heardAtMs: number
}

/**
 * One of these for each version that was ever heard of, and nearly all of them with one shard: so it is a class without a
 * map, and the last report of a version that rests holds on to nothing.
 */
class Demand implements ControllerDemand {
  readonly #silence: () => "zero" | "unknown"
  /** The last of each shard. */
  #told: Array<Told> | undefined

  constructor(silence: () => "zero" | "unknown") {
    this.#silence = silence
  }

  report(report: DemandReport, nowMs: number): void {
    const { shard, pending, leased, arrivalsTotal, oldestPendingMs } = report
    const leasedByInstance = leased === 0 ? undefined : report.leasedByInstance
    this.#keep({ shard, pending, leased, arrivalsTotal, oldestPendingMs, leasedByInstance, heardAtMs: nowMs })
  }

  hasNone(shard: string, nowMs: number): boolean {
    const known = this.#told?.find((told) => told.shard === shard)
    if (known === undefined || known.pending + known.leased === 0) return false
    const nothingLeft = { pending: 0, leased: 0, leasedByInstance: undefined, oldestPendingMs: null }
    this.#keep({ ...known, ...nothingLeft, heardAtMs: nowMs })
    return true
  }

  figures(nowMs: number): Figures {
    if (this.#told === undefined) return this.#silence() === "zero" ? nothing : unknown
    let pending = 0
    let leased = 0
    let arrivalsTotal = 0
    let oldestPendingMs: number | null = null
    for (const told of this.#told) {
      pending += told.pending
      leased += told.leased
      arrivalsTotal += told.arrivalsTotal
      if (told.oldestPendingMs === null) continue
      oldestPendingMs = Math.max(oldestPendingMs ?? 0, told.oldestPendingMs + (nowMs - told.heardAtMs))
    }
    return { pending, leased, arrivalsTotal, oldestPendingMs }
  }

  leasedOf(instanceId: string): Reading {
    if (this.#told === undefined) return this.#silence() === "zero" ? 0 : "unknown"
    let leased = 0
    for (const { leasedByInstance } of this.#told) leased += leasedByInstance?.[instanceId] ?? 0
    return leased
  }

  isBusy(): boolean {
    if (this.#told === undefined) return false
    for (const { pending, leased } of this.#told) if (pending > 0 || leased > 0) return true
    return false
  }

  #keep(told: Told): void {
    const known = this.#told
    if (known === undefined) {
      this.#told = [told]
      return
    }
    for (let index = 0; index < known.length; index++) {
      if (known[index]?.shard !== told.shard) continue
      known[index] = told
      return
    }
    known.push(told)
  }
}

/** `silence`: what it means, at the moment, that no shard ever reported the version. */
export const make = (silence: () => "zero" | "unknown"): ControllerDemand => new Demand(silence)

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
