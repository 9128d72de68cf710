/**
 * Requests and pods as the server has them, for the tests of what is made of them.
 *
 * @module
 */
import type { InstanceSpec } from "../../../src/backends/ComputeBackend.ts"
import * as InstanceRequest from "../../../src/backends/kubernetes/InstanceRequest.ts"
import * as Names from "../../../src/backends/kubernetes/Names.ts"
import { decodePod, type PodView } from "../../../src/backends/kubernetes/PodView.ts"

export const cluster = "here"
export const launchedAtMs = Date.parse("2026-01-01T00:00:00Z")
export const uid = "6f1d0f5e-0000-4000-8000-000000000001"
export const at = (seconds: number): string => new Date(launchedAtMs + seconds * 1_000).toISOString()

export const spec = (change: Partial<InstanceSpec> = {}): InstanceSpec => ({
  instanceId: "i-1",
  functionId: "f-1",
  functionName: "echo",
  versionId: "v-1",
  command: ["serve"],
  image: "registry.test/echo:1",
  environment: { MILLRACE_WORKER_TOKEN: "token-value", COLOUR: "blue" },
  gpu: { kind: "H100", count: 2 },
  instanceType: "GPU.H100_2x",
  cpuMillis: 4_000,
  memoryBytes: 8 * 1024 ** 3,
  startDeadlineMs: 3_600_000 * 3,
  graceMs: 2_500,
  ...change
})

interface RequestParts {
  readonly spec?: Partial<InstanceSpec>
  readonly phase?: InstanceRequest.Phase
  readonly instance?: Partial<InstanceRequest.InstanceStatus>
  readonly graceMs?: number
  readonly isDeleting?: boolean
}

export const request = (parts: RequestParts = {}): InstanceRequest.InstanceRequest => {
  const resource = InstanceRequest.resourceOf(cluster, spec(parts.spec)) as {
    readonly metadata: { readonly name: string }
    readonly spec: object
  }
  const { name } = resource.metadata
  const instance = { ...InstanceRequest.newInstance(name), ...parts.instance }
  const made = InstanceRequest.decode({
    ...resource,
    metadata: {
      ...resource.metadata,
      uid,
      resourceVersion: "7",
      creationTimestamp: at(0),
      ...(parts.isDeleting === true ? { deletionTimestamp: at(1) } : {})
    },
    spec: {
      ...resource.spec,
      ...(parts.graceMs === undefined ? {} : { terminationMsgInfo: { graceMs: parts.graceMs } })
    },
    status: {
      requestStatus: parts.phase ?? "RequestPending",
      lastStatusUpdated: at(0),
      instances: { [Names.podName(name)]: instance }
    }
  })
  if (made === undefined) throw new Error("the request cannot be read back")
  return made
}

interface PodParts {
  readonly status?: object
  readonly node?: string | undefined
  readonly deletionAtSeconds?: number
  readonly ownerUid?: string
  readonly labels?: Readonly<Record<string, string>>
}

export const pod = (parts: PodParts = {}): PodView => {
  const made = decodePod({
    metadata: {
      name: Names.podName(Names.requestName(cluster, "i-1")),
      uid: "pod-1",
      resourceVersion: "9",
      creationTimestamp: at(0),
      labels: parts.labels ?? Names.labelsOfCluster(cluster),
      ownerReferences: [{ uid: parts.ownerUid ?? uid }],
      ...(parts.deletionAtSeconds === undefined ? {} : { deletionTimestamp: at(parts.deletionAtSeconds) })
    },
    spec: "node" in parts ? { nodeName: parts.node } : { nodeName: "node-1" },
    status: parts.status
  })
  if (made === undefined) throw new Error("the pod cannot be read back")
  return made
}

export const scheduled = { type: "PodScheduled", status: "True", lastTransitionTime: at(0) }

export const waiting = (reason: string, message = "") => ({
  phase: "Pending",
  conditions: [scheduled],
  containerStatuses: [{ name: "inference", state: { waiting: { reason, message } } }]
})

export const running = (sinceSeconds: number, more: object = {}) => ({
  phase: "Running",
  conditions: [scheduled],
  containerStatuses: [{ name: "inference", restartCount: 0, state: { running: { startedAt: at(sinceSeconds) } } }],
  ...more
})

export const terminated = (state: object, phase = "Failed") => ({
  phase,
  conditions: [scheduled],
  containerStatuses: [
    { name: "inference", state: { terminated: { exitCode: 1, startedAt: at(1), finishedAt: at(9), ...state } } }
  ]
})
