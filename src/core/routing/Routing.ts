/**
 * Which region and cluster gets a request of a version that is deployed in several: filter, then score, with an
 * explanation for each candidate.
 *
 * Laws (L16, `property-tests/Routing.laws.test.ts`):
 * - Never to a cluster that is cordoned, draining, unhealthy, unreachable, not named, without what is asked for, or with
 *   neither a worker nor room for one, or whose queue is full; to one whenever one fits.
 * - Deterministic; the order of the candidates does not matter.
 * - A fallback is used only when nothing else fits.
 * - Minimal movement: when a cluster leaves or is cordoned, the keys that it had move, and no other; back again, it gets
 *   the same ones.
 * - Sticky: a key stays where it is whatever the load, until that is overloaded.
 * - Keys over equal clusters are shared in proportion to the weights.
 *
 * @module
 */
import * as Candidate from "../placement/Candidate.ts"
import * as Rendezvous from "../placement/Rendezvous.ts"
import type { Reading } from "../scaling/Policy.ts"

/** A cluster as a place to send requests of one version. */
export interface Target extends Candidate.Site {
  /** Of its ready workers. */
  readonly slots: Reading
  readonly leased: Reading
  readonly pending: Reading
  /** What its queue takes. */
  readonly pendingMax: number
  /** Instances that it could start beyond those it has. */
  readonly startable: number
  readonly pricePerHour?: number
  /** Its share of the keys against others, above 0; absent = 1. */
  readonly weight?: number
}

export interface Request extends Candidate.Demands {
  /** What belongs together (a session, a prefix of a prompt), or else the request's own id. Decides between equals. */
  readonly key: string
  /** The key was chosen to keep requests together: load and warmth matter only when a cluster is overloaded. */
  readonly sticky: boolean
  readonly origin?: Candidate.Origin
  readonly weights?: Weights
}

export interface Weights {
  readonly load: number
  readonly warm: number
  readonly locality: number
  readonly price: number
  /** Requests for each slot from which on a sticky key goes elsewhere. */
  readonly overloadedAt: number
}

export const defaultWeights: Weights = { load: 1, warm: 0.5, locality: 1, price: 0, overloadedAt: 2 }

export interface Routed {
  readonly cluster: string | undefined
  readonly region: string | undefined
  readonly isFallback: boolean
  /** In order of cluster name. */
  readonly explanations: ReadonlyArray<Candidate.Explanation>
}

export const route = ({
  request,
  targets
}: {
  readonly request: Request
  readonly targets: ReadonlyArray<Target>
}): Routed => {
  const explanations: Array<Candidate.Explanation> = []
  let best: Candidate.Candidate | undefined
  let region: string | undefined
  for (const target of [...targets].sort(Candidate.byName)) {
    const refusal = Candidate.refuseSite(request, target) ?? refuseCapacity(target)
    if (refusal !== undefined) {
      explanations.push(Candidate.refused(target.name, refusal))
      continue
    }
    const parts = score(request, target)
    const candidate = candidateOf(request, target, Candidate.sum(parts))
    explanations.push(Candidate.eligible(candidate, parts, request))
    if (best !== undefined && !Candidate.isBetter(candidate, best)) continue
    best = candidate
    region = target.region
  }
  const isFallback = best !== undefined && Candidate.isFallback(request, best.name)
  return { cluster: best?.name, region, isFallback, explanations }
}

/** One sentence for a person who asks why it went nowhere. */
export const whyNowhere = Candidate.whyNowhere

/** Requests for each slot: undefined = unknown, or there are no slots yet. */
export const loadOf = ({ slots, leased, pending }: Target): number | undefined => {
  if (slots === "unknown" || leased === "unknown" || pending === "unknown" || slots < 1) return undefined
  return (leased + pending) / slots
}

const refuseCapacity = ({ slots, pending, pendingMax, startable }: Target): Candidate.Refusal | undefined => {
  if (slots !== "unknown" && !(slots >= 1) && !(startable >= 1)) {
    return Candidate.no("capacity", "it has no worker for it and no room for one")
  }
  if (pending !== "unknown" && pending >= pendingMax) {
    return Candidate.no("capacity", `its queue is full (${pending} of ${pendingMax})`)
  }
  return undefined
}

const score = (request: Request, target: Target): ReadonlyArray<Candidate.Part> => {
  const weights = request.weights ?? defaultWeights
  const parts: Array<Candidate.Part> = []
  if (!request.sticky) {
    const load = loadOf(target)
    // No slots yet is as bad as any queue: it has to start first.
    const points = -weights.load * Candidate.saturate(load, 1)
    parts.push({ kind: "load", points, text: load === undefined ? loadText(target) : `${percent(load)} busy` })
    const warm = Candidate.warmth(target.slots !== "unknown" && target.slots >= 1, weights.warm)
    if (warm !== undefined) parts.push(warm)
  }
  const near = Candidate.locality(request.origin, target, weights.locality)
  if (near !== undefined) parts.push(near)
  const price = Candidate.price(target.pricePerHour, weights.price)
  if (price !== undefined) parts.push(price)
  return parts
}

const loadText = ({ slots }: Target) => (slots === 0 ? "nothing of it is ready" : "of unknown load")

const percent = (share: number) => `${Math.round(share * 100)} %`

const candidateOf = (request: Request, target: Target, points: number): Candidate.Candidate => {
  const { overloadedAt } = request.weights ?? defaultWeights
  const load = loadOf(target)
  return {
    name: target.name,
    rank: Candidate.rankOf(request, target.name),
    order: request.sticky && load !== undefined && load >= overloadedAt ? 1 : 0,
    points,
    draw: Rendezvous.draw(request.key, target.name, target.weight)
  }
}
