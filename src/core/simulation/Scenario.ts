/**
 * What is simulated: functions with their policies, clusters, arrivals, faults and a seed. Plain values but for the
 * policies and the source of arrivals, which are functions.
 *
 * @module
 */
import type { BufferOptions } from "../buffer/BufferOptions.ts"
import type * as Placement from "../placement/Placement.ts"
import type { PolicySpec } from "../scaling/Policy.ts"
import type * as Scaling from "../scaling/Scaling.ts"
import type * as Arrivals from "./Arrivals.ts"
import type { StartModel } from "./StartModel.ts"

export interface SimulatedFunction {
  readonly name: string
  readonly tenant: string
  /** A fresh scaling machine; called once a run. */
  readonly policy: () => Scaling.Running
  readonly spec: PolicySpec
  readonly instanceType: string
  readonly gpu: Placement.Request["gpu"]
  /** In order of preference; empty = any. */
  readonly clusters: ReadonlyArray<string>
  readonly start: StartModel
  readonly startDeadlineMs: number
  readonly requestTimeoutMs: number
  readonly maxAttempts: number
}

export interface SimulatedCluster {
  readonly name: string
  readonly nodes: number
  readonly gpusPerNode: number
  readonly gpuKind: string
  /** Instances without a GPU that a node takes. */
  readonly slotsPerNode: number
  readonly instanceTypes: ReadonlyArray<{ readonly name: string; readonly gpuCount: number }>
  /** Of one GPU, or of one instance without a GPU, for an hour. */
  readonly pricePerHour: number
}

/** What goes wrong. Times from the start of the run; everything is well again at `toMs`. */
export type Fault =
  /** One ready instance, drawn by lot, dies with what it holds. `function`: of this one; absent = of any. */
  | { readonly kind: "instance-dies"; readonly atMs: number; readonly function?: number }
  /** All instances of the cluster die and nobody tells; it comes back empty. */
  | { readonly kind: "cluster-lost"; readonly atMs: number; readonly toMs: number; readonly cluster: number }
  /** Agent and workers of the cluster go on, but nobody hears them and they hear nobody. */
  | { readonly kind: "partition"; readonly atMs: number; readonly toMs: number; readonly cluster: number }
  /** Starts there take `factor` times as long. */
  | {
      readonly kind: "slow-start"
      readonly atMs: number
      readonly toMs: number
      readonly cluster: number
      readonly factor: number
    }
  /** The demand of the function is unknown to its scaling machine. */
  | { readonly kind: "telemetry-lost"; readonly atMs: number; readonly toMs: number; readonly function: number }
  /** The agent forgets what it ordered, ends what it finds and reports that. */
  | { readonly kind: "agent-restart"; readonly atMs: number; readonly cluster: number }

/** Delays of the platform itself, in milliseconds. */
export interface PlatformTimes {
  /** Decision to agent. */
  readonly orderMs: number
  /** Agent or worker to control plane. */
  readonly reportMs: number
  /** From the end of a request to the slot being free for the next, and from a lease to the handler. */
  readonly dispatchMs: number
  /** Figures of a version go out at most this often while nothing waits, and while something does. */
  readonly demandIntervalMs: number
  readonly urgentIntervalMs: number
  /** A cluster that has not been heard for this long takes nothing new. */
  readonly unreachableAfterMs: number
  /** Signs of life of a busy worker. */
  readonly heartbeatMs: number
}

/** As the planes have them; `dispatchMs` and the two delays are measured on one machine. */
export const platformTimes: PlatformTimes = {
  orderMs: 2,
  reportMs: 1,
  dispatchMs: 0.2,
  demandIntervalMs: 100,
  urgentIntervalMs: 5,
  unreachableAfterMs: 10_000,
  heartbeatMs: 10_000
}

export interface Scenario {
  readonly seed: number
  readonly functions: ReadonlyArray<SimulatedFunction>
  readonly clusters: ReadonlyArray<SimulatedCluster>
  /** Opens the source anew: two runs of one scenario see the same requests. */
  readonly arrivals: () => Arrivals.Source
  readonly faults: ReadonlyArray<Fault>
  /** After the last arrival and the last fault, everything must end within this. */
  readonly livenessMs: number
  /** A wait up to this is within the objective. */
  readonly sloWaitMs: number
  readonly shards: number
  readonly buffer: BufferOptions
  readonly times: PlatformTimes
  /** Length of the picture, in milliseconds of virtual time; 0 = no picture is kept. */
  readonly timelineMs: number
}

/** Why this cannot be run, in sentences for a person; empty: it can. */
export const problems = (scenario: Scenario): ReadonlyArray<string> => [
  ...(scenario.functions.length === 0 ? ["there is no function"] : []),
  ...(scenario.clusters.length === 0 ? ["there is no cluster"] : []),
  ...scenario.clusters.flatMap(clusterProblems),
  ...scenario.functions.flatMap((each) => functionProblems(each, scenario.clusters)),
  ...scenario.faults.flatMap((fault) => faultProblems(fault, scenario))
]

const clusterProblems = (cluster: SimulatedCluster): ReadonlyArray<string> => {
  const { name, nodes, gpusPerNode, slotsPerNode } = cluster
  const wrong: Array<string> = []
  if (!isCount(nodes) || nodes < 1) wrong.push(`cluster ${name} has ${nodes} nodes: at least 1 is needed`)
  if (!isCount(gpusPerNode))
    wrong.push(`cluster ${name} has ${gpusPerNode} GPUs a node: a whole number from 0 on is needed`)
  if (!isCount(slotsPerNode))
    wrong.push(`cluster ${name} has ${slotsPerNode} slots a node: a whole number from 0 on is needed`)
  for (const type of cluster.instanceTypes) {
    if (type.gpuCount > gpusPerNode) {
      wrong.push(
        `cluster ${name} cannot hold one instance of type ${type.name}: it takes ${type.gpuCount} GPUs on one node, ` +
          `and a node has ${gpusPerNode}`
      )
    }
    if (type.gpuCount === 0 && slotsPerNode < 1) {
      wrong.push(
        `cluster ${name} cannot hold one instance of type ${type.name}: it takes no GPU, and nodes have 0 slots`
      )
    }
  }
  return wrong
}

const functionProblems = (
  { name, instanceType, gpu, clusters: named, spec }: SimulatedFunction,
  clusters: ReadonlyArray<SimulatedCluster>
): ReadonlyArray<string> => {
  const wrong: Array<string> = []
  for (const wanted of named) {
    if (!clusters.some((cluster) => cluster.name === wanted))
      wrong.push(`function ${name} names the cluster ${wanted}, which is not there`)
  }
  if (spec.minInstances > spec.maxInstances) {
    wrong.push(`function ${name} wants at least ${spec.minInstances} and at most ${spec.maxInstances} instances`)
  }
  const candidates = clusters.filter((cluster) => named.length === 0 || named.includes(cluster.name))
  const fitting = candidates.filter((cluster) =>
    cluster.instanceTypes.some(
      (type) =>
        type.name === instanceType &&
        type.gpuCount >= gpu.count &&
        (gpu.count === 0 || gpu.kind === "any" || gpu.kind === cluster.gpuKind)
    )
  )
  if (fitting.length === 0) {
    const asked = gpu.count === 0 ? "" : ` with ${gpu.count} GPUs of kind ${gpu.kind}`
    wrong.push(`no cluster has the instance type ${instanceType}${asked} that function ${name} needs`)
  }
  const room = fitting.reduce((sum, cluster) => sum + capacity(cluster, instanceType), 0)
  if (fitting.length > 0 && spec.minInstances > room) {
    wrong.push(`function ${name} wants at least ${spec.minInstances} instances, and there is room for ${room}`)
  }
  return wrong
}

const faultProblems = (fault: Fault, { functions, clusters }: Scenario): ReadonlyArray<string> => {
  const wrong: Array<string> = []
  if ("cluster" in fault && clusters[fault.cluster] === undefined) {
    wrong.push(`a fault of kind ${fault.kind} is about cluster ${fault.cluster}, and there are ${clusters.length}`)
  }
  if ("function" in fault && fault.function !== undefined && functions[fault.function] === undefined) {
    wrong.push(`a fault of kind ${fault.kind} is about function ${fault.function}, and there are ${functions.length}`)
  }
  if ("toMs" in fault && fault.toMs < fault.atMs) wrong.push(`a fault of kind ${fault.kind} ends before it begins`)
  return wrong
}

const isCount = (value: number) => Number.isInteger(value) && value >= 0

/** Instances of this type that an empty cluster holds. */
export const capacity = (cluster: SimulatedCluster, instanceType: string): number => {
  const type = cluster.instanceTypes.find((each) => each.name === instanceType)
  if (type === undefined) return 0
  const perNode = type.gpuCount === 0 ? cluster.slotsPerNode : Math.floor(cluster.gpusPerNode / type.gpuCount)
  return perNode * cluster.nodes
}
