/**
 * `ICMSRequest`: the wish for one instance and what became of it, as a custom resource. Its spec never changes, but for
 * the order to end it; its status is written by the leader alone. Secrets and environment are not in it.
 *
 * @module
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { healthPathDefault } from "../../core/chart/Chart.ts"
import type { Exit, InstanceSpec } from "../ComputeBackend.ts"
import { LaunchError } from "../LaunchError.ts"
import * as Names from "./Names.ts"

/** Empty: made, and its secrets are still on their way. */
export const Phase = Schema.Literals([
  "",
  "RequestPending",
  "RequestInProgress",
  "RequestInstancesInProgress",
  "RequestCompleted",
  "RequestCompletionAcknowledged",
  "RequestFailed",
  "RequestFailureAcknowledged"
])
export type Phase = typeof Phase.Type

/** Of an instance that ended badly: the words of NVCF's agent, and ours where it has none. */
export const Cause = Schema.Literals([
  "create-container-error",
  "image-pull-issues",
  "instance-terminated-no-capacity",
  "init-container-stuck",
  "init-container-restart-loop",
  "container-restart-loop",
  "degraded-worker",
  "instance-terminated-admission-error",
  "failed",
  "instance-not-found",
  "instance-terminated-by-user",
  "start-deadline",
  "out-of-memory",
  "preempted",
  "name-taken",
  "chart-refused"
])
export type Cause = typeof Cause.Type

const ExitSchema = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("code"), code: Schema.Int }),
  Schema.Struct({ kind: Schema.Literal("signal"), signal: Schema.String }),
  Schema.Struct({ kind: Schema.Literal("out-of-memory") }),
  Schema.Struct({ kind: Schema.Literal("start-failed"), error: LaunchError }),
  Schema.Struct({ kind: Schema.Literal("gpu-fault"), xid: Schema.Int, detail: Schema.String }),
  Schema.Struct({ kind: Schema.Literal("preempted"), detail: Schema.String }),
  Schema.Struct({ kind: Schema.Literal("lost"), detail: Schema.String })
])

const End = Schema.Struct({
  atMs: Schema.Finite,
  exit: ExitSchema,
  cause: Schema.optional(Cause),
  lastOutput: Schema.String,
  requested: Schema.Boolean
})

export interface End {
  readonly atMs: number
  readonly exit: Exit
  readonly cause?: Cause | undefined
  readonly lastOutput: string
  readonly requested: boolean
}

const InstanceStatus = Schema.Struct({
  id: Schema.String,
  instanceType: Schema.Literal("Pod"),
  status: Schema.Literals(["starting", "running", "shutting-down", "terminated"]),
  /** Of its start; `running` when its process has begun. */
  phase: Schema.String,
  podUid: Schema.optional(Schema.String),
  node: Schema.optional(Schema.String),
  startedAtMs: Schema.optional(Schema.Finite),
  /** Decided: it is being ended for it. */
  terminationCause: Schema.optional(Cause),
  terminationDetail: Schema.optional(Schema.String),
  end: Schema.optional(End)
})
export type InstanceStatus = typeof InstanceStatus.Type

const Status = Schema.Struct({
  requestStatus: Schema.optional(Phase),
  lastStatusUpdated: Schema.optional(Schema.String),
  instances: Schema.optional(Schema.Record(Schema.String, InstanceStatus))
})

const Resource = Schema.Struct({
  metadata: Schema.Struct({
    name: Schema.String,
    uid: Schema.String,
    resourceVersion: Schema.String,
    creationTimestamp: Schema.String,
    deletionTimestamp: Schema.optional(Schema.String)
  }),
  spec: Schema.Struct({
    instanceId: Schema.String,
    functionId: Schema.String,
    functionName: Schema.String,
    versionId: Schema.String,
    image: Schema.String,
    command: Schema.Array(Schema.String),
    arguments: Schema.Array(Schema.String),
    workingDirectory: Schema.optional(Schema.String),
    /** Digest of the bundle with its files. */
    bundle: Schema.optional(Schema.String),
    environmentNames: Schema.Array(Schema.String),
    secretNames: Schema.Array(Schema.String),
    gpu: Schema.Struct({ kind: Schema.String, count: Schema.Int }),
    instanceType: Schema.String,
    cpuMillis: Schema.Int,
    memoryBytes: Schema.Int,
    ephemeralDiskBytes: Schema.optional(Schema.Int),
    startDeadlineMs: Schema.Int,
    graceMs: Schema.Int,
    labels: Schema.Record(Schema.String, Schema.String),
    health: Schema.optional(Schema.Struct({ port: Schema.Int, path: Schema.String })),
    /** What its worker calls; the chart itself is in its MiniService. */
    chart: Schema.optional(
      Schema.Struct({ serviceName: Schema.String, servicePort: Schema.Int, healthPath: Schema.String })
    ),
    terminationMsgInfo: Schema.optional(Schema.Struct({ graceMs: Schema.Int }))
  }),
  status: Schema.optional(Status)
})

export type Spec = (typeof Resource.Type)["spec"]

export interface InstanceRequest {
  readonly name: string
  readonly uid: string
  readonly resourceVersion: string
  readonly createdAtMs: number
  readonly isDeleting: boolean
  readonly spec: Spec
  readonly phase: Phase
  /** ISO 8601; empty before the first status. */
  readonly lastStatusUpdated: string
  readonly instance: InstanceStatus | undefined
}

const decodeResource = Schema.decodeUnknownResult(Resource)
const encodeStatus = Schema.encodeSync(Status)

export const decode = (object: unknown): InstanceRequest | undefined => {
  const read = decodeResource(object)
  if (Result.isFailure(read)) return undefined
  const { metadata, spec, status } = read.success
  return {
    name: metadata.name,
    uid: metadata.uid,
    resourceVersion: metadata.resourceVersion,
    createdAtMs: Date.parse(metadata.creationTimestamp),
    isDeleting: metadata.deletionTimestamp !== undefined,
    spec,
    phase: status?.requestStatus ?? "",
    lastStatusUpdated: status?.lastStatusUpdated ?? "",
    instance: status?.instances?.[Names.podName(metadata.name)]
  }
}

/** For server-side apply. What is worth keeping from others (values of the environment, secrets) goes into a Secret. */
export const resourceOf = (cluster: string, spec: InstanceSpec): unknown => {
  const { environment, secrets, arguments: args = [], labels = {}, image = "", chart, ...rest } = spec
  return {
    apiVersion: Names.apiVersion,
    kind: "ICMSRequest",
    metadata: {
      name: Names.requestName(cluster, spec.instanceId),
      labels: {
        ...Names.labelsOfCluster(cluster),
        [Names.functionLabel]: Names.labelOf(spec.functionId),
        [Names.versionLabel]: Names.labelOf(spec.versionId)
      },
      finalizers: [Names.finalizer]
    },
    spec: {
      ...rest,
      ...(chart === undefined ? {} : { chart: entryOf(chart) }),
      action: "RequestInstances",
      image,
      arguments: args,
      labels,
      environmentNames: Object.keys(environment).toSorted(),
      secretNames: Object.keys(secrets ?? {}).toSorted()
    }
  }
}

const entryOf = ({ serviceName, servicePort, healthPath = healthPathDefault }: NonNullable<InstanceSpec["chart"]>) => ({
  serviceName,
  servicePort,
  healthPath
})

export interface NewStatus {
  readonly phase: Phase
  readonly instance: InstanceStatus
}

/**
 * For server-side apply to the status subresource. The uid keeps it from another life of the name, the version from what
 * was decided on an older state: by a leader that no longer is one, or by a try whose answer was lost.
 */
export const statusOf = (request: InstanceRequest, { phase, instance }: NewStatus, atMs: number): unknown => ({
  apiVersion: Names.apiVersion,
  kind: "ICMSRequest",
  metadata: { name: request.name, uid: request.uid, resourceVersion: request.resourceVersion },
  status: encodeStatus({
    requestStatus: phase,
    lastStatusUpdated: new Date(atMs).toISOString(),
    instances: { [Names.podName(request.name)]: instance }
  })
})

export const newInstance = (name: string): InstanceStatus => ({
  id: Names.podName(name),
  instanceType: "Pod",
  status: "starting",
  phase: "schedule"
})

export const isEnded = (request: InstanceRequest): boolean => request.instance?.end !== undefined

/** Of an order to end it, from its message or by a deletion of the request by hand; undefined: none. */
export const endingGraceMs = (request: InstanceRequest): number | undefined =>
  request.spec.terminationMsgInfo?.graceMs ?? (request.isDeleting ? request.spec.graceMs : undefined)
