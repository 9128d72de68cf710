/**
 * What is free on the nodes of one kind, and which node the next instance gets: the fullest that has room, so that large
 * instances find whole nodes. An instance lives on one node.
 *
 * For the engine's sake the figures are arrays that are written in place: `copy` first where a state must stay as it was.
 *
 * Laws (`GpuCluster.laws.test.ts`): M1 nothing is handed out twice, and what came back is free. M2 `room` is how many more
 * fit, one by one.
 *
 * @module
 */

export interface NodePacking {
  readonly gpusPerNode: number
  readonly gpusFree: Int32Array
  /** Places for instances without a GPU. */
  readonly slotsFree: Int32Array
  /** Nodes by the number of their free GPUs. */
  readonly nodesByGpusFree: Int32Array
  slotsFreeTotal: number
}

export interface Nodes {
  readonly nodes: number
  readonly gpusPerNode: number
  readonly slotsPerNode: number
}

export const make = ({ nodes, gpusPerNode, slotsPerNode }: Nodes): NodePacking => {
  const nodesByGpusFree = new Int32Array(gpusPerNode + 1)
  nodesByGpusFree[gpusPerNode] = nodes
  return {
    gpusPerNode,
    gpusFree: new Int32Array(nodes).fill(gpusPerNode),
    slotsFree: new Int32Array(nodes).fill(slotsPerNode),
    nodesByGpusFree,
    slotsFreeTotal: slotsPerNode * nodes
  }
}

export const copy = (packing: NodePacking): NodePacking => ({
  gpusPerNode: packing.gpusPerNode,
  gpusFree: packing.gpusFree.slice(),
  slotsFree: packing.slotsFree.slice(),
  nodesByGpusFree: packing.nodesByGpusFree.slice(),
  slotsFreeTotal: packing.slotsFreeTotal
})

/** A copy for one `take` of so many GPUs: it shares the figures that this does not write. */
export const copyToTake = (packing: NodePacking, gpuCount: number): NodePacking =>
  gpuCount === 0
    ? { ...packing, slotsFree: packing.slotsFree.slice() }
    : { ...packing, gpusFree: packing.gpusFree.slice(), nodesByGpusFree: packing.nodesByGpusFree.slice() }

/** Instances of so many GPUs that fit, each on one node; 0 GPUs: into slots. */
export const room = (packing: NodePacking, gpuCount: number): number => {
  if (gpuCount === 0) return packing.slotsFreeTotal
  let count = 0
  for (let free = gpuCount; free < packing.nodesByGpusFree.length; free++) {
    count += packing.nodesByGpusFree[free]! * Math.floor(free / gpuCount)
  }
  return count
}

/** The fullest node that has room; of equal ones the first. -1: none. */
export const freeNode = (packing: NodePacking, gpuCount: number): number => {
  if (gpuCount === 0) return packing.slotsFree.findIndex((free) => free > 0)
  let best = -1
  let bestFree = Number.POSITIVE_INFINITY
  for (let node = 0; node < packing.gpusFree.length; node++) {
    const free = packing.gpusFree[node]!
    if (free < gpuCount || free >= bestFree) continue
    best = node
    bestFree = free
    if (free === gpuCount) break
  }
  return best
}

/** One instance of so many GPUs. `sign` 1: takes; -1: gives back. */
export const take = (packing: NodePacking, node: number, gpuCount: number, sign: 1 | -1): void => {
  if (gpuCount === 0) return takeSlots(packing, node, sign)
  const before = packing.gpusFree[node]!
  const after = before - sign * gpuCount
  packing.gpusFree[node] = after
  packing.nodesByGpusFree[before]! -= 1
  packing.nodesByGpusFree[after]! += 1
}

/** `count` slots; negative: gives back. */
export const takeSlots = (packing: NodePacking, node: number, count: number): void => {
  packing.slotsFree[node]! -= count
  packing.slotsFreeTotal -= count
}
