/**
 * Which cluster gets an instance: filter, then score, with an explanation for each candidate.
 *
 * Laws (L16, `property-tests/Placement.laws.test.ts`):
 * - Never a cluster that is cordoned, draining, unhealthy, unreachable, not named (where names are given), without what
 *   is asked for (region, group, attributes, compliance, GPUs, memory: unknown is not enough), or without room.
 * - Placed one after the other with `reserve`, never more than were free.
 * - Deterministic; the order of the candidates does not matter.
 * - Minimal movement: a cluster that leaves or is cordoned, and was not chosen, changes no choice.
 * - A fallback is chosen only when nothing else fits.
 * - Spread over equal clusters, their counts differ by 1 at most.
 *
 * @module
 */
import * as Candidate from "./Candidate.ts"
import * as Rendezvous from "./Rendezvous.ts"

export interface InstanceType {
  readonly name: string
  readonly gpuKind: string
  /** GPUs of one instance of this type. */
  readonly gpuCount: number
  /** Of each GPU. */
  readonly gpuMemoryBytes?: number
  readonly memoryBytes?: number
  /** Of an instance, in the operator's currency. */
  readonly pricePerHour?: number
  /** Instances of this type that the cluster holds in all. */
  readonly total: number
  /** How many more it can take now; at or below 0 = none. */
  readonly free: number
}

export interface Cluster extends Candidate.Site {
  readonly instanceTypes: ReadonlyArray<InstanceType>
  /** It runs, or lately ran, an instance of this version: image and weights are likely there. */
  readonly warm: boolean
  /** Instances of this version that are there; absent = 0. */
  readonly placed?: number
}

export interface Request extends Candidate.Demands {
  readonly instanceType: string
  /** `kind` "any" or "none" asks for no kind in particular; `memoryBytes` is of each GPU. */
  readonly gpu: { readonly kind: string; readonly count: number; readonly memoryBytes?: number }
  readonly memoryBytes?: number
  readonly origin?: Candidate.Origin
  /** `clusters`: as even as room allows, whatever the order in which clusters are named. Default `none`. */
  readonly spread?: "none" | "clusters"
  /** Decides between equals, so that not all versions go to the first of them; absent = the name does. */
  readonly key?: string
  readonly weights?: Weights
}

/** What a start with weights at hand, a near region or a cheap one is worth, in shares of an empty cluster. */
export interface Weights {
  readonly free: number
  readonly warm: number
  readonly locality: number
  readonly price: number
}

export const defaultWeights: Weights = { free: 1, warm: 0.1, locality: 0.5, price: 0 }

export type Explanation = Candidate.Explanation

export interface Placed {
  readonly cluster: string | undefined
  readonly isFallback: boolean
  /** In order of cluster name. */
  readonly explanations: ReadonlyArray<Explanation>
}

/**
 * Preferred order first, because a person wrote it down; then the emptier one, unless a warm one is nearly as empty.
 */
export const place = ({
  request,
  clusters
}: {
  readonly request: Request
  readonly clusters: ReadonlyArray<Cluster>
}): Placed => {
  const explanations: Array<Explanation> = []
  let best: Candidate.Candidate | undefined
  for (const cluster of [...clusters].sort(Candidate.byName)) {
    const found = Candidate.refuseSite(request, cluster) ?? typeFor(request, cluster)
    if ("obstacle" in found) {
      explanations.push(Candidate.refused(cluster.name, found))
      continue
    }
    const parts = score(request, cluster, found)
    const candidate = candidateOf(request, cluster, Candidate.sum(parts))
    explanations.push(Candidate.eligible(candidate, parts, request))
    if (best === undefined || Candidate.isBetter(candidate, best)) best = candidate
  }
  const isFallback = best !== undefined && Candidate.isFallback(request, best.name)
  return { cluster: best?.name, isFallback, explanations }
}

/** The clusters after one instance of this request went to `cluster`. */
export const reserve = (clusters: ReadonlyArray<Cluster>, cluster: string, request: Request): ReadonlyArray<Cluster> =>
  clusters.map((each) =>
    each.name === cluster
      ? {
          ...each,
          warm: true,
          placed: (each.placed ?? 0) + 1,
          instanceTypes: each.instanceTypes.map((type) =>
            type.name === request.instanceType ? { ...type, free: type.free - 1 } : type
          )
        }
      : each
  )

export const whyNowhere = Candidate.whyNowhere

/** The instance type that was asked for, or why not. */
const typeFor = (request: Request, cluster: Cluster): InstanceType | Candidate.Refusal => {
  const { gpu, memoryBytes } = request
  const type = cluster.instanceTypes.find(({ name }) => name === request.instanceType)
  if (type === undefined) return noType(request, cluster)
  if (type.gpuCount < gpu.count) {
    return Candidate.no(
      "gpu",
      `an instance of type ${type.name} has ${type.gpuCount} GPUs and ${gpu.count} were asked for`
    )
  }
  if (gpu.count > 0 && !isAnyKind(gpu.kind) && type.gpuKind !== gpu.kind) {
    return Candidate.no("gpu", `its GPUs are ${type.gpuKind} and ${gpu.kind} were asked for`)
  }
  if (gpu.count > 0 && !isEnough(type.gpuMemoryBytes, gpu.memoryBytes)) {
    return Candidate.no("memory", tooSmall("a GPU", type.gpuMemoryBytes, gpu.memoryBytes))
  }
  if (!isEnough(type.memoryBytes, memoryBytes)) {
    return Candidate.no("memory", tooSmall(`an instance of type ${type.name}`, type.memoryBytes, memoryBytes))
  }
  if (!(type.free >= 1)) {
    return Candidate.no("capacity", `0 of ${type.total} instances of type ${type.name} are free`)
  }
  return type
}

const noType = (request: Request, cluster: Cluster): Candidate.Refusal => {
  const known = cluster.instanceTypes.map((each) => each.name).join(", ")
  return Candidate.no(
    "instance-type",
    `it has no instance type ${request.instanceType} (it has ${known === "" ? "none" : known})`
  )
}

/** What a cluster does not say of its memory is not enough for who asks for some. */
const isEnough = (given: number | undefined, wanted: number | undefined): boolean =>
  wanted === undefined || wanted <= 0 || (given !== undefined && given >= wanted)

const tooSmall = (what: string, given: number | undefined, wanted: number | undefined): string =>
  `${what} has ${given ?? "an unknown number of"} bytes of memory and ${wanted} were asked for`

const isAnyKind = (kind: string) => kind === "any" || kind === "none" || kind === ""

const score = (request: Request, cluster: Cluster, type: InstanceType): ReadonlyArray<Candidate.Part> => {
  const weights = request.weights ?? defaultWeights
  const share = type.total < 1 ? 0 : type.free / type.total
  const parts: Array<Candidate.Part> = [
    { kind: "free", points: weights.free * share, text: `${Math.round(share * 100)} % free` }
  ]
  const warm = Candidate.warmth(cluster.warm, weights.warm)
  if (warm !== undefined) parts.push(warm)
  const near = Candidate.locality(request.origin, cluster, weights.locality)
  if (near !== undefined) parts.push(near)
  const price = Candidate.price(type.pricePerHour, weights.price)
  if (price !== undefined) parts.push(price)
  return parts
}

const candidateOf = (request: Request, cluster: Cluster, points: number): Candidate.Candidate => {
  const { name } = cluster
  const isSpread = request.spread === "clusters"
  return {
    name,
    rank: isSpread ? (Candidate.isFallback(request, name) ? 1 : 0) : Candidate.rankOf(request, name),
    order: isSpread ? (cluster.placed ?? 0) : 0,
    points,
    draw: request.key === undefined ? 0 : Rendezvous.draw(request.key, name)
  }
}
