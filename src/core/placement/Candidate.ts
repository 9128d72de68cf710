/**
 * What placement and routing have in common: which clusters may be chosen at all, what speaks for each of those, and
 * which is best. What one candidate is worth never depends on the others, so that one that leaves, and was not chosen,
 * changes no choice.
 *
 * @module
 */
/** A cluster as both see it. What is absent is not known of it. */
export interface Site {
  readonly name: string
  /** `unhealthy`: its agent is heard and says that it cannot do its work. */
  readonly state: "healthy" | "unhealthy" | "unreachable"
  readonly cordoned: boolean
  readonly draining: boolean
  readonly region?: string
  readonly group?: string
  readonly attributes?: ReadonlyArray<string>
  /** What it is certified for. */
  readonly compliance?: ReadonlyArray<string>
}

/** Where it may go at all. Absent or empty = no matter. */
export interface Demands {
  /** In order of preference. */
  readonly clusters: ReadonlyArray<string>
  /** Used only when none of the others fits; in order of preference. */
  readonly fallback?: ReadonlyArray<string>
  readonly regions?: ReadonlyArray<string>
  readonly groups?: ReadonlyArray<string>
  /** All of them. */
  readonly attributes?: ReadonlyArray<string>
  /** All of them. */
  readonly compliance?: ReadonlyArray<string>
}

/** Where the demand comes from. */
export interface Origin {
  readonly region: string
  /** To other regions, as measured; one that is absent is taken for very far. */
  readonly roundTripMs: Readonly<Record<string, number>>
}

export type Obstacle =
  | "not-named"
  | "unreachable"
  | "unhealthy"
  | "draining"
  | "cordoned"
  | "region"
  | "group"
  | "attributes"
  | "compliance"
  | "instance-type"
  | "gpu"
  | "memory"
  | "capacity"

export interface Refusal {
  readonly obstacle: Obstacle
  readonly text: string
}

/** `points`: 0 to the weight of its kind for what speaks for the candidate, below 0 for what speaks against it. */
export interface Part {
  readonly kind: "free" | "load" | "warm" | "locality" | "price"
  readonly points: number
  readonly text: string
}

export interface Explanation {
  readonly cluster: string
  readonly isEligible: boolean
  /** Why not, or what spoke for it. */
  readonly text: string
  /** Null exactly when it is eligible. */
  readonly obstacle: Obstacle | null
  readonly parts: ReadonlyArray<Part>
}

/** One that may be chosen. The orders are compared one after the other; smaller is better, but for `points`. */
export interface Candidate {
  readonly name: string
  readonly rank: number
  /** What comes before any score. */
  readonly order: number
  readonly points: number
  /** Between equals: greater wins. All 0 where there is no key, so that the name decides. */
  readonly draw: number
}

export const isBetter = (left: Candidate, right: Candidate): boolean => {
  if (left.rank !== right.rank) return left.rank < right.rank
  if (left.order !== right.order) return left.order < right.order
  if (left.points !== right.points) return left.points > right.points
  if (left.draw !== right.draw) return left.draw > right.draw
  return left.name < right.name
}

/** First what a person decided about the cluster, then its health, then what it is. */
export const refuseSite = (demands: Demands, site: Site): Refusal | undefined => {
  if (demands.clusters.length > 0 && !isNamed(demands, site.name)) {
    return no("not-named", `not among the clusters of the deployment (${allNamed(demands).join(", ")})`)
  }
  if (site.state === "unreachable") return no("unreachable", "it is unreachable")
  if (site.draining) return no("draining", "it is being drained")
  if (site.cordoned) return no("cordoned", "it is cordoned")
  if (site.state !== "healthy") return no("unhealthy", "it is unhealthy")
  if (!isOneOf(demands.regions, site.region)) {
    return no("region", `its region is ${site.region ?? "unknown"}, not ${demands.regions?.join(" or ")}`)
  }
  if (!isOneOf(demands.groups, site.group)) {
    return no("group", `its group is ${site.group ?? "unknown"}, not ${demands.groups?.join(" or ")}`)
  }
  const attributes = missing(demands.attributes, site.attributes)
  if (attributes.length > 0) return no("attributes", `it lacks ${attributes.join(", ")}`)
  const compliance = missing(demands.compliance, site.compliance)
  if (compliance.length > 0) return no("compliance", `it is not certified for ${compliance.join(", ")}`)
  return undefined
}

export const no = (obstacle: Obstacle, text: string): Refusal => ({ obstacle, text })

/** Place in the order of preference. Those that are named neither way are all equal, and before any fallback. */
export const rankOf = ({ clusters, fallback }: Demands, name: string): number => {
  const preferred = clusters.indexOf(name)
  if (preferred >= 0) return preferred
  const last = fallback?.indexOf(name) ?? -1
  return last < 0 ? clusters.length : clusters.length + 1 + last
}

export const isFallback = ({ clusters, fallback }: Demands, name: string): boolean =>
  fallback?.includes(name) === true && !clusters.includes(name)

/** Undefined: nobody asked for it. */
export const locality = (origin: Origin | undefined, { region }: Site, weight: number): Part | undefined => {
  if (origin === undefined || weight === 0) return undefined
  const roundTripMs = region === origin.region ? 0 : region === undefined ? undefined : origin.roundTripMs[region]
  const text = roundTripMs === undefined ? "of unknown distance" : `${roundTripMs} ms away`
  return { kind: "locality", points: -weight * saturate(roundTripMs, nearMs), text }
}

/** Undefined: nobody asked for it. */
export const price = (pricePerHour: number | undefined, weight: number): Part | undefined => {
  if (weight === 0) return undefined
  const text = pricePerHour === undefined ? "of unknown price" : `${pricePerHour} per hour`
  return { kind: "price", points: -weight * saturate(pricePerHour, priceHalf), text }
}

export const warmth = (isWarm: boolean, weight: number): Part | undefined =>
  isWarm && weight !== 0 ? { kind: "warm", points: weight, text: "warm" } : undefined

/** 0 at 0, a half at `half`, towards 1 from there; what is unknown is taken for the worst. */
export const saturate = (value: number | undefined, half: number): number => {
  if (value === undefined || !(value < Number.POSITIVE_INFINITY)) return 1
  return Math.max(0, value) / (Math.max(0, value) + half)
}

/** A round trip of this long, a price of this much, costs half of the weight of its kind. */
const nearMs = 100
const priceHalf = 10

export const sum = (parts: ReadonlyArray<Part>): number => {
  let points = 0
  for (const part of parts) points += part.points
  return points
}

export const refused = (cluster: string, { obstacle, text }: Refusal): Explanation => ({
  cluster,
  isEligible: false,
  text,
  obstacle,
  parts: none
})

const none: ReadonlyArray<Part> = []

export const eligible = (candidate: Candidate, parts: ReadonlyArray<Part>, demands: Demands): Explanation => {
  const { name, rank } = candidate
  let text = ""
  for (const part of parts) text += text === "" ? part.text : `, ${part.text}`
  const choice = isFallback(demands, name)
    ? "a fallback"
    : rank > 0 && rank < demands.clusters.length
      ? `choice ${rank + 1}`
      : ""
  const between = text === "" || choice === "" ? "" : ", "
  return { cluster: name, isEligible: true, text: `${text}${between}${choice}` || "it fits", obstacle: null, parts }
}

/** One sentence for a person who asks why nothing starts. */
export const whyNowhere = (explanations: ReadonlyArray<Explanation>): string =>
  explanations.length === 0
    ? "no cluster has reported yet"
    : `no cluster can take it: ${explanations.map(({ cluster, text }) => `${cluster}: ${text}`).join("; ")}`

export const byName = (left: { readonly name: string }, right: { readonly name: string }): number =>
  left.name < right.name ? -1 : left.name > right.name ? 1 : 0

const allNamed = ({ clusters, fallback }: Demands) => (fallback === undefined ? clusters : [...clusters, ...fallback])

const isNamed = ({ clusters, fallback }: Demands, name: string) =>
  clusters.includes(name) || fallback?.includes(name) === true

const isOneOf = (wanted: ReadonlyArray<string> | undefined, given: string | undefined): boolean =>
  wanted === undefined || wanted.length === 0 || (given !== undefined && wanted.includes(given))

const missing = (
  wanted: ReadonlyArray<string> | undefined,
  given: ReadonlyArray<string> | undefined
): ReadonlyArray<string> => {
  if (wanted === undefined || wanted.length === 0) return nothing
  return wanted.filter((each) => given?.includes(each) !== true)
}

const nothing: ReadonlyArray<string> = []
