/**
 * Which cluster gets an instance: filter, then score, with an explanation for each candidate.
 *
 * Laws (L16):
 * - Never a cluster that is cordoned, draining, unreachable, not named (where names are given), or without room.
 * - Placed one after the other with `reserve`, never more than were free.
 * - Deterministic; the order of the candidates does not matter.
 * - Minimal movement: a cluster that leaves, and was not chosen, changes no choice.
 *
 * @module
 */

export interface InstanceType {
  readonly name: string
  readonly gpuKind: string
  /** GPUs of one instance of this type. */
  readonly gpuCount: number
  /** Instances of this type that the cluster holds in all. */
  readonly total: number
  /** How many more it can take now; at or below 0 = none. */
  readonly free: number
}

export interface Cluster {
  readonly name: string
  readonly state: "healthy" | "unreachable"
  readonly cordoned: boolean
  readonly draining: boolean
  readonly instanceTypes: ReadonlyArray<InstanceType>
  /** It runs, or lately ran, an instance of this version: image and weights are likely there. */
  readonly warm: boolean
}

export interface Request {
  readonly instanceType: string
  /** `kind` "any" or "none" asks for no kind in particular. */
  readonly gpu: { readonly kind: string; readonly count: number }
  /** In order of preference; empty = any. */
  readonly clusters: ReadonlyArray<string>
}

export interface Explanation {
  readonly cluster: string
  readonly isEligible: boolean
  /** Why not, or what spoke for it. */
  readonly text: string
}

export interface Placed {
  readonly cluster: string | undefined
  /** In order of cluster name. */
  readonly explanations: ReadonlyArray<Explanation>
}

interface Candidate {
  readonly cluster: Cluster
  readonly preference: number
  readonly freeShare: number
}

export const place = ({
  request,
  clusters
}: {
  readonly request: Request
  readonly clusters: ReadonlyArray<Cluster>
}): Placed => {
  const explanations: Array<Explanation> = []
  let best: Candidate | undefined
  for (const cluster of [...clusters].sort((left, right) => compareNames(left.name, right.name))) {
    const refusal = refuse(request, cluster)
    if (refusal !== undefined) {
      explanations.push({ cluster: cluster.name, isEligible: false, text: refusal })
      continue
    }
    const candidate = score(request, cluster)
    explanations.push({ cluster: cluster.name, isEligible: true, text: praise(candidate) })
    if (best === undefined || isBetter(candidate, best)) best = candidate
  }
  return { cluster: best?.cluster.name, explanations }
}

/** The clusters after one instance of this request went to `cluster`. */
export const reserve = (clusters: ReadonlyArray<Cluster>, cluster: string, request: Request): ReadonlyArray<Cluster> =>
  clusters.map((each) =>
    each.name === cluster
      ? {
          ...each,
          warm: true,
          instanceTypes: each.instanceTypes.map((type) =>
            type.name === request.instanceType ? { ...type, free: type.free - 1 } : type
          )
        }
      : each
  )

/** One sentence for a person who asks why nothing starts. */
export const whyNowhere = (explanations: ReadonlyArray<Explanation>): string =>
  explanations.length === 0
    ? "no cluster has reported yet"
    : `no cluster can take it: ${explanations.map(({ cluster, text }) => `${cluster}: ${text}`).join("; ")}`

const refuse = (request: Request, cluster: Cluster): string | undefined => {
  if (request.clusters.length > 0 && !request.clusters.includes(cluster.name)) {
    return `not among the clusters of the deployment (${request.clusters.join(", ")})`
  }
  if (cluster.state === "unreachable") return "it is unreachable"
  if (cluster.draining) return "it is being drained"
  if (cluster.cordoned) return "it is cordoned"
  const type = cluster.instanceTypes.find((each) => each.name === request.instanceType)
  if (type === undefined) {
    const known = cluster.instanceTypes.map((each) => each.name).join(", ")
    return `it has no instance type ${request.instanceType} (it has ${known === "" ? "none" : known})`
  }
  if (type.gpuCount < request.gpu.count) {
    return `an instance of type ${type.name} has ${type.gpuCount} GPUs and ${request.gpu.count} were asked for`
  }
  if (request.gpu.count > 0 && !isAnyKind(request.gpu.kind) && type.gpuKind !== request.gpu.kind) {
    return `its GPUs are ${type.gpuKind} and ${request.gpu.kind} were asked for`
  }
  if (type.free < 1) return `0 of ${type.total} instances of type ${type.name} are free`
  return undefined
}

const isAnyKind = (kind: string) => kind === "any" || kind === "none" || kind === ""

const score = (request: Request, cluster: Cluster): Candidate => {
  const type = cluster.instanceTypes.find((each) => each.name === request.instanceType)
  return {
    cluster,
    preference: request.clusters.length === 0 ? 0 : request.clusters.indexOf(cluster.name),
    freeShare: type === undefined || type.total < 1 ? 0 : type.free / type.total
  }
}

/**
 * Preferred order first, because a person wrote it down; then the emptier one, unless a warm one is nearly as empty:
 * a start with weights at hand is worth a tenth of a cluster. Then the name, so that it is decided.
 */
const isBetter = (left: Candidate, right: Candidate): boolean => {
  if (left.preference !== right.preference) return left.preference < right.preference
  const difference = weight(left) - weight(right)
  if (difference !== 0) return difference > 0
  return compareNames(left.cluster.name, right.cluster.name) < 0
}

const warmBonus = 0.1

const weight = (candidate: Candidate) => candidate.freeShare + (candidate.cluster.warm ? warmBonus : 0)

const praise = ({ cluster, freeShare, preference }: Candidate): string =>
  `${Math.round(freeShare * 100)} % free${cluster.warm ? ", warm" : ""}${preference > 0 ? `, choice ${preference + 1}` : ""}`

const compareNames = (left: string, right: string) => (left < right ? -1 : left > right ? 1 : 0)
