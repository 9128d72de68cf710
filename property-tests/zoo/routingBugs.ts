/**
 * Placement and routing gone wrong on purpose: each has one bug that a named law must kill.
 *
 * @module
 */
import type * as Candidate from "../../src/core/placement/Candidate.ts"
import * as Placement from "../../src/core/placement/Placement.ts"
import * as Routing from "../../src/core/routing/Routing.ts"

export type Place = typeof Placement.place
export type Route = typeof Routing.route

const seeing =
  (change: (cluster: Placement.Cluster) => Placement.Cluster): Place =>
  ({ request, clusters }) =>
    Placement.place({ request, clusters: clusters.map(change) })

const asking =
  (change: (request: Placement.Request) => Placement.Request): Place =>
  ({ request, clusters }) =>
    Placement.place({ request: change(request), clusters })

export const forgetsCordon = seeing((cluster) => ({ ...cluster, cordoned: false }))

export const forgetsDrain = seeing((cluster) => ({ ...cluster, draining: false }))

/** Who is not heard of is taken for well. */
export const silenceIsHealth = seeing((cluster) => ({ ...cluster, state: "healthy" }))

/** Looks at what a cluster has in all. */
export const totalIsFree = seeing((cluster) => ({
  ...cluster,
  instanceTypes: cluster.instanceTypes.map((type) => ({ ...type, free: type.total }))
}))

/** What a cluster does not say of its memory is taken for plenty. */
export const unknownIsPlenty = seeing((cluster) => ({
  ...cluster,
  instanceTypes: cluster.instanceTypes.map((type) => ({
    ...type,
    memoryBytes: type.memoryBytes ?? Number.MAX_VALUE,
    gpuMemoryBytes: type.gpuMemoryBytes ?? Number.MAX_VALUE
  }))
}))

/** One attribute of those asked for will do. */
export const anyTagWillDo: Place = ({ request, clusters }) =>
  Placement.place({
    request: { ...request, compliance: [] },
    clusters: clusters.filter(
      ({ compliance }) =>
        request.compliance === undefined ||
        request.compliance.length === 0 ||
        request.compliance.some((each) => compliance?.includes(each))
    )
  })

/** A fallback is one more choice. */
export const fallbackIsEqual: Place = ({ request, clusters }) => {
  const { fallback = [], ...rest } = request
  const wanted = { ...rest, clusters: fallback.length === 0 ? rest.clusters : [...fallback, ...rest.clusters] }
  const placed = Placement.place({ request: wanted, clusters })
  const isFallback = placed.cluster !== undefined && fallback.includes(placed.cluster)
  return { ...placed, isFallback: isFallback && !request.clusters.includes(placed.cluster) }
}

/** Fills one cluster before it begins the next. */
export const packs = asking((request) => ({
  ...request,
  spread: "none",
  weights: { free: -1, warm: 1, locality: 0, price: 0 }
}))

/** The first that fits, in the order in which they happen to come. */
export const firstThatFits: Place = ({ request, clusters }) => {
  const sound = Placement.place({ request, clusters })
  const fits = new Set(sound.explanations.filter(({ isEligible }) => isEligible).map(({ cluster }) => cluster))
  return { ...sound, cluster: clusters.find(({ name }) => fits.has(name))?.name }
}

/** Takes the one in the middle: what one is worth depends on who else is there. */
export const relativeScores: Place = ({ request, clusters }) => {
  const sound = Placement.place({ request, clusters })
  const fit = sound.explanations.filter(({ isEligible }) => isEligible)
  const middle = fit[Math.floor((fit.length - 1) / 2)]
  return { ...sound, cluster: middle?.cluster }
}

const eligibleOf = (explanations: ReadonlyArray<Candidate.Explanation>) =>
  explanations.filter(({ isEligible }) => isEligible).map(({ cluster }) => cluster)

/** The key modulo the number of those that fit: when one goes, nearly all keys move. */
export const modulo: Route = (options) => {
  const sound = Routing.route(options)
  const fit = eligibleOf(sound.explanations)
  let sum = 0
  for (const letter of options.request.key) sum = (sum * 31 + letter.charCodeAt(0)) >>> 0
  return { ...sound, cluster: fit[sum % fit.length] }
}

/** A sticky key goes wherever the load is least. */
export const neverSticks: Route = ({ request, targets }) =>
  Routing.route({ request: { ...request, sticky: false }, targets })

/** A queue has always room for one more. */
export const boundlessQueue: Route = ({ request, targets }) =>
  Routing.route({ request, targets: targets.map((each) => ({ ...each, pendingMax: Number.POSITIVE_INFINITY })) })

/** All keys of one prefix go together. */
export const crowds: Route = ({ request, targets }) =>
  Routing.route({ request: { ...request, key: request.key.slice(0, 2) }, targets })

/** Requests may still go where nothing new may go. */
export const routesToCordoned: Route = ({ request, targets }) =>
  Routing.route({ request, targets: targets.map((each) => ({ ...each, cordoned: false, draining: false })) })

/** No figures are taken for no load. */
export const unknownIsIdle: Route = ({ request, targets }) =>
  Routing.route({
    request,
    targets: targets.map((each) => ({
      ...each,
      slots: each.slots === "unknown" ? 1 : each.slots,
      leased: each.leased === "unknown" ? 0 : each.leased,
      pending: each.pending === "unknown" ? 0 : each.pending
    }))
  })
