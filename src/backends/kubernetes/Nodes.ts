/**
 * Which instances a cluster has room for: nodes into GPU kinds, instance types and free places. Pure.
 *
 * N1 free is never more than total. N2 each instance that is launched takes what its type says from one node; one that
 * stands on no node yet takes it where it fits first. N3 names are NVCF's: `H100`, `GPU.H100_4x`.
 *
 * @module
 */
import type { Capacity } from "../ComputeBackend.ts"
import type { NodeView } from "./PodView.ts"

export const productLabel = "nvidia.com/gpu.product"
/** Of instances without a GPU; one place is this much of a node. */
export const cpuTypeName = "CPU"
export const cpuPlace = { cpuMillis: 1_000, memoryBytes: 1024 ** 3 }

const dropped = new Set(["NVIDIA", "GEFORCE", "TESLA", ""])

/** `NVIDIA-H100-80GB-HBM3` is an `H100`. */
export const kindOf = (product: string): string => {
  const [whole = "", mig] = product.split(/-MIG-/i)
  const parts = whole.toUpperCase().split(/[-\s]+/)
  const suffix = mig === undefined ? "" : `-MIG-${mig.toLowerCase().replaceAll(".", "-")}`
  const graphics = parts.findIndex((part) => part === "RTX" || part === "GTX")
  if (graphics < 0) return `${parts.find((part) => !dropped.has(part)) ?? ""}${suffix}`
  const [first = "", second = "", third = ""] = parts.slice(graphics)
  const joined = third === "TI" || (second === "PRO" && /^\d+$/.test(third)) ? third : ""
  return `${first}${second}${joined}${suffix}`
}

export const kindOfNode = (node: NodeView): string | undefined => {
  const product = node.labels[productLabel]
  return product === undefined ? undefined : kindOf(product)
}

export const typeName = (kind: string, gpuCount: number): string =>
  gpuCount === 0 ? cpuTypeName : `GPU.${kind}_${gpuCount}x`

/** `500m`, `4`, `16Gi`, `1e3`: Kubernetes' numbers. Unreadable = 0. */
export const quantity = (text: string | undefined): number => {
  const match = /^([0-9.]+(?:[eE][+-]?\d+)?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$/.exec(text ?? "")
  if (match === null) return 0
  const [, number = "0", unit = ""] = match
  return Number(number) * (units[unit] ?? 1)
}

const units: Readonly<Record<string, number>> = {
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
  Ti: 1024 ** 4,
  Pi: 1024 ** 5
}

/** What one instance holds, and where; no node: it is still to be placed. */
export interface Held {
  readonly kind: string
  readonly gpuCount: number
  readonly node: string | undefined
}

export interface Cluster {
  readonly nodes: Iterable<NodeView>
  readonly held: Iterable<Held>
  /** Of nodes, for example `nvidia.com/gpu`. */
  readonly gpuResource: string
}

interface Room {
  readonly kind: string
  readonly total: number
  free: number
}

const none = "none"

const roomsOf = ({ nodes, held, gpuResource }: Cluster): ReadonlyArray<Room> => {
  const rooms = new Map<string, Room>()
  const add = (node: NodeView, kind: string, total: number) => {
    if (total > 0) rooms.set(`${node.name} ${kind}`, { kind, total, free: total })
  }
  for (const node of nodes) {
    if (!node.isUsable) continue
    const kind = kindOfNode(node)
    if (kind !== undefined) add(node, kind, Math.floor(quantity(node.allocatable[gpuResource])))
    else add(node, none, cpuPlaces(node))
  }
  const homeless: Array<Held> = []
  const need = (one: Held) => (one.gpuCount === 0 ? 1 : one.gpuCount)
  for (const one of held) {
    const room = one.node === undefined ? undefined : rooms.get(`${one.node} ${one.kind}`)
    if (room !== undefined) room.free -= need(one)
    // On a node that is not usable now it takes nothing from the others.
    else if (one.node === undefined) homeless.push(one)
  }
  const all = [...rooms.values()]
  for (const one of homeless.toSorted((a, b) => need(b) - need(a))) {
    const room = all.find((each) => each.kind === one.kind && each.free >= need(one))
    if (room !== undefined) room.free -= need(one)
  }
  return all
}

const cpuPlaces = ({ allocatable }: NodeView): number =>
  Math.floor(
    Math.min(
      (quantity(allocatable["cpu"]) * 1000) / cpuPlace.cpuMillis,
      quantity(allocatable["memory"]) / cpuPlace.memoryBytes,
      quantity(allocatable["pods"])
    )
  )

/** 1, 2, 4, 8... and all of a node. */
const countsUpTo = (full: number): ReadonlyArray<number> => {
  const counts = new Set<number>()
  for (let count = 1; count <= full; count *= 2) counts.add(count)
  return [...counts.add(full)]
}

export const capacityOf = (cluster: Cluster): Capacity => {
  const rooms = roomsOf(cluster)
  const kinds = [...new Set(rooms.map((room) => room.kind))].toSorted()
  const places = (of: ReadonlyArray<Room>, size: number, figure: (room: Room) => number) =>
    of.reduce((sum, room) => sum + Math.max(0, Math.floor(figure(room) / size)), 0)
  return {
    instanceTypes: kinds.flatMap((kind) => {
      const of = rooms.filter((room) => room.kind === kind)
      const counts = kind === none ? [0] : countsUpTo(Math.max(...of.map((room) => room.total)))
      return counts.map((gpuCount) => ({
        name: typeName(kind, gpuCount),
        gpuKind: kind,
        gpuCount,
        total: places(of, Math.max(1, gpuCount), (room) => room.total),
        free: places(of, Math.max(1, gpuCount), (room) => room.free)
      }))
    })
  }
}

/** With the type of deployments that name none, which takes the same places as a node without GPUs has. */
export const withLocal = ({ instanceTypes }: Capacity): Capacity => ({
  instanceTypes: instanceTypes.flatMap((type) => (type.gpuCount === 0 ? [type, { ...type, name: "local" }] : [type]))
})

/** The products that nodes call this kind. */
export const productsOf = (nodes: Iterable<NodeView>, kind: string): ReadonlyArray<string> => {
  const products = new Set<string>()
  for (const node of nodes) {
    const product = node.labels[productLabel]
    if (product !== undefined && kindOf(product) === kind) products.add(product)
  }
  return [...products].toSorted()
}
