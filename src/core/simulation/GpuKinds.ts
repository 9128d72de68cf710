/**
 * The GPUs that a simulated cluster can be made of, and how people write a cluster down: `h100x8x4` is four nodes of eight
 * H100.
 *
 * @module
 */

export interface GpuKind {
  /** As specs, instance types and capacities name it. */
  readonly name: string
  /** Of one GPU or slice, GiB as the vendor counts them. */
  readonly memoryGib: number
  /** On the node that is usually sold with it. */
  readonly perNode: number
  /** GPUs that see each other over NVLink; 1 = none, a slice has none of its own. */
  readonly nvlinkDomain: number
  readonly source: string
}

const migGuide = "NVIDIA Multi-Instance GPU User Guide, Supported GPUs and Supported MIG Profiles"

const whole = (name: string, memoryGib: number, system: string): GpuKind => ({
  name,
  memoryGib,
  perNode: 8,
  nvlinkDomain: 8,
  source: `${system}: eight GPUs on NVSwitch; memory: ${migGuide}`
})

/** `count`: slices of this profile on one GPU. A node of eight GPUs holds eight times as many. */
const slice = (gpu: string, profile: string, memoryGib: number, count: number): GpuKind => ({
  name: `${gpu}-${profile}`,
  memoryGib,
  perNode: 8 * count,
  nvlinkDomain: 1,
  source: migGuide
})

export const gpuKinds: ReadonlyArray<GpuKind> = [
  whole("A100", 80, "NVIDIA DGX A100 (80 GB)"),
  whole("H100", 80, "NVIDIA DGX H100"),
  whole("H200", 141, "NVIDIA DGX H200"),
  whole("B200", 180, "NVIDIA DGX B200"),
  {
    name: "GB200",
    memoryGib: 186,
    perNode: 4,
    nvlinkDomain: 72,
    source: `NVIDIA GB200 NVL72: 18 compute trays of four GPUs in one NVLink domain; memory: ${migGuide}`
  },
  {
    name: "L40S",
    memoryGib: 48,
    perNode: 8,
    nvlinkDomain: 1,
    source: "NVIDIA L40S data sheet: 48 GB, no NVLink; servers hold up to eight"
  },
  slice("A100", "1g.10gb", 10, 7),
  slice("A100", "2g.20gb", 20, 3),
  slice("A100", "3g.40gb", 40, 2),
  slice("H100", "1g.10gb", 10, 7),
  slice("H100", "2g.20gb", 20, 3),
  slice("H100", "3g.40gb", 40, 2),
  slice("H200", "1g.18gb", 18, 7),
  slice("H200", "2g.35gb", 35, 3),
  slice("H200", "3g.71gb", 71, 2)
]

export const byName = (name: string): GpuKind | undefined =>
  gpuKinds.find((kind) => kind.name.toLowerCase() === name.toLowerCase())

export interface GpuNodes {
  readonly gpuKind: string
  readonly gpusPerNode: number
  readonly nodes: number
}

export const nodesMax = 10_000
const groupsMax = 16

/** `h100x8x4`, `h100x8` (one node), `gb200` (one node as it is sold), several with commas. A string: what is wrong. */
export const parseCluster = (text: string): ReadonlyArray<GpuNodes> | string => {
  const parts = text.split(",").map((part) => part.trim())
  if (parts.length > groupsMax)
    return `a cluster has at most ${groupsMax} kinds of nodes, and these are ${parts.length}`
  const groups: Array<GpuNodes> = []
  for (const part of parts) {
    const group = parseGroup(part)
    if (typeof group === "string") return group
    if (groups.some(({ gpuKind }) => gpuKind === group.gpuKind)) return `${group.gpuKind} is there twice: name it once`
    groups.push(group)
  }
  return groups
}

const parseGroup = (part: string): GpuNodes | string => {
  const [, name = "", perNodeText, nodesText] = /^(.*?)(?:x(\d{1,6})(?:x(\d{1,6}))?)?$/i.exec(part) ?? []
  const kind = byName(name)
  const shape = "a cluster is written as KINDxGPUSxNODES, such as h100x8x4 for four nodes of eight H100"
  if (kind === undefined) {
    const names = gpuKinds.map((one) => one.name.toLowerCase()).join(", ")
    return `${JSON.stringify(part)} names no kind of GPU that is known; ${shape}; kinds: ${names}`
  }
  const gpusPerNode = perNodeText === undefined ? kind.perNode : Number(perNodeText)
  const nodes = nodesText === undefined ? 1 : Number(nodesText)
  if (gpusPerNode < 1 || gpusPerNode > kind.perNode) {
    return `${part}: a node has 1 to ${kind.perNode} ${kind.name}, and not ${gpusPerNode}; ${shape}`
  }
  if (nodes < 1 || nodes > nodesMax) return `${part}: a cluster has 1 to ${nodesMax} nodes of a kind, and not ${nodes}`
  return { gpuKind: kind.name, gpusPerNode, nodes }
}

/** Names of the instance types that a node of this group offers, with their GPUs: 1, 2, 4... up to the whole node. */
export const instanceTypesOf = ({
  gpuKind,
  gpusPerNode
}: GpuNodes): ReadonlyArray<{ readonly name: string; readonly gpuCount: number }> => {
  const counts = [1, 2, 4, 8, 16, 32].filter((count) => count < gpusPerNode)
  return [...counts, gpusPerNode].map((gpuCount) => ({ name: `${gpuKind}.${gpuCount}x`, gpuCount }))
}
