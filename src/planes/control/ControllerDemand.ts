/**
 * Demand of one version, summed over the shards that hold its requests. A shard that never reported is not zero: until
 * the first report everything is unknown, unless the controller was told that silence means that there is nothing. Shards
 * count arrivals for longer than a controller listens: of what one counted before it was first heard of, only what is still
 * there has arrived.
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

/** The last report of one shard. Written in place: a storm brings three to each version within seconds. */
interface Told {
  readonly shard: string
  pending: number
  leased: number
  /** As the shard counts, from wherever it began; -1: it has said nothing yet. */
  arrivalsTotal: number
  /** Of these, what arrived here. */
  arrived: number
  oldestPendingMs: number | null
  /** Undefined: no instance holds anything. */
  leasedByInstance: DemandReport["leasedByInstance"] | undefined
  heardAtMs: number
}

/** One of these for each version that was ever heard of, nearly all of them with one shard: a class without a map. */
class Demand implements ControllerDemand {
  readonly #silence: () => "zero" | "unknown"
  #told: Array<Told> | undefined

  constructor(silence: () => "zero" | "unknown") {
    this.#silence = silence
  }

  report({ shard, pending, leased, arrivalsTotal, oldestPendingMs, leasedByInstance }: DemandReport, nowMs: number) {
    const told = this.#of(shard)
    if (told.arrivalsTotal < 0) told.arrived = Math.min(arrivalsTotal, pending + leased)
    // One that fell began anew in another process.
    else told.arrived += Math.max(0, arrivalsTotal - told.arrivalsTotal)
    told.pending = pending
    told.leased = leased
    told.arrivalsTotal = arrivalsTotal
    told.oldestPendingMs = oldestPendingMs
    told.leasedByInstance = leased === 0 ? undefined : leasedByInstance
    told.heardAtMs = nowMs
  }

  hasNone(shard: string, nowMs: number): boolean {
    const told = this.#told?.find((known) => known.shard === shard)
    if (told === undefined || told.pending + told.leased === 0) return false
    told.pending = 0
    told.leased = 0
    told.oldestPendingMs = null
    told.leasedByInstance = undefined
    told.heardAtMs = nowMs
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
      arrivalsTotal += told.arrived
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

  #of(shard: string): Told {
    this.#told ??= []
    for (const known of this.#told) if (known.shard === shard) return known
    const fresh: Told = {
      shard,
      pending: 0,
      leased: 0,
      arrivalsTotal: -1,
      arrived: 0,
      oldestPendingMs: null,
      leasedByInstance: undefined,
      // A fraction from the beginning: the engine then keeps it as one and writes it in place.
      heardAtMs: 0.5
    }
    this.#told.push(fresh)
    return fresh
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
