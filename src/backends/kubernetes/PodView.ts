/**
 * What of a Pod and of a Node is read here.
 *
 * @module
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

const optional = <S extends Schema.Top>(schema: S) => Schema.optional(Schema.NullOr(schema))

const Terminated = Schema.Struct({
  exitCode: Schema.Int,
  signal: optional(Schema.Int),
  reason: optional(Schema.String),
  message: optional(Schema.String),
  startedAt: optional(Schema.String),
  finishedAt: optional(Schema.String)
})

const ContainerState = Schema.Struct({
  waiting: optional(Schema.Struct({ reason: optional(Schema.String), message: optional(Schema.String) })),
  running: optional(Schema.Struct({ startedAt: optional(Schema.String) })),
  terminated: optional(Terminated)
})

const ContainerStatus = Schema.Struct({
  name: Schema.String,
  ready: optional(Schema.Boolean),
  restartCount: optional(Schema.Int),
  state: optional(ContainerState),
  lastState: optional(ContainerState)
})
export type ContainerStatus = typeof ContainerStatus.Type

const Condition = Schema.Struct({
  type: Schema.String,
  status: Schema.String,
  reason: optional(Schema.String),
  message: optional(Schema.String),
  lastTransitionTime: optional(Schema.String)
})
export type Condition = typeof Condition.Type

const PodResource = Schema.Struct({
  metadata: Schema.Struct({
    name: Schema.String,
    uid: Schema.String,
    resourceVersion: Schema.String,
    creationTimestamp: Schema.String,
    deletionTimestamp: optional(Schema.String),
    labels: optional(Schema.Record(Schema.String, Schema.String)),
    ownerReferences: optional(Schema.Array(Schema.Struct({ uid: Schema.String })))
  }),
  spec: Schema.Struct({ nodeName: optional(Schema.String) }),
  status: optional(
    Schema.Struct({
      phase: optional(Schema.String),
      reason: optional(Schema.String),
      message: optional(Schema.String),
      startTime: optional(Schema.String),
      conditions: optional(Schema.Array(Condition)),
      initContainerStatuses: optional(Schema.Array(ContainerStatus)),
      containerStatuses: optional(Schema.Array(ContainerStatus))
    })
  )
})

export interface PodView {
  readonly name: string
  readonly uid: string
  readonly resourceVersion: string
  readonly createdAtMs: number
  /** When its grace is over. */
  readonly deletionAtMs: number | undefined
  readonly labels: Readonly<Record<string, string>>
  readonly ownerUids: ReadonlyArray<string>
  readonly node: string | undefined
  readonly phase: string
  readonly reason: string
  readonly message: string
  readonly conditions: ReadonlyArray<Condition>
  readonly initContainers: ReadonlyArray<ContainerStatus>
  readonly containers: ReadonlyArray<ContainerStatus>
}

const decodePodResource = Schema.decodeUnknownResult(PodResource)

export const decodePod = (object: unknown): PodView | undefined => {
  const read = decodePodResource(object)
  if (Result.isFailure(read)) return undefined
  const { metadata, spec, status } = read.success
  return {
    name: metadata.name,
    uid: metadata.uid,
    resourceVersion: metadata.resourceVersion,
    createdAtMs: Date.parse(metadata.creationTimestamp),
    deletionAtMs: metadata.deletionTimestamp == null ? undefined : Date.parse(metadata.deletionTimestamp),
    labels: metadata.labels ?? {},
    ownerUids: (metadata.ownerReferences ?? []).map((owner) => owner.uid),
    node: spec.nodeName ?? undefined,
    phase: status?.phase ?? "Pending",
    reason: status?.reason ?? "",
    message: status?.message ?? "",
    conditions: status?.conditions ?? [],
    initContainers: status?.initContainerStatuses ?? [],
    containers: status?.containerStatuses ?? []
  }
}

const NodeResource = Schema.Struct({
  metadata: Schema.Struct({
    name: Schema.String,
    uid: Schema.String,
    resourceVersion: Schema.String,
    labels: optional(Schema.Record(Schema.String, Schema.String))
  }),
  spec: Schema.Struct({ unschedulable: optional(Schema.Boolean) }),
  status: optional(
    Schema.Struct({
      allocatable: optional(Schema.Record(Schema.String, Schema.String)),
      conditions: optional(Schema.Array(Condition))
    })
  )
})

export interface NodeView {
  readonly name: string
  readonly uid: string
  readonly resourceVersion: string
  readonly labels: Readonly<Record<string, string>>
  readonly allocatable: Readonly<Record<string, string>>
  readonly isUsable: boolean
}

const decodeNodeResource = Schema.decodeUnknownResult(NodeResource)

export const decodeNode = (object: unknown): NodeView | undefined => {
  const read = decodeNodeResource(object)
  if (Result.isFailure(read)) return undefined
  const { metadata, spec, status } = read.success
  const isReady = (status?.conditions ?? []).some((one) => one.type === "Ready" && one.status === "True")
  return {
    name: metadata.name,
    uid: metadata.uid,
    resourceVersion: metadata.resourceVersion,
    labels: metadata.labels ?? {},
    allocatable: status?.allocatable ?? {},
    isUsable: isReady && spec.unschedulable !== true
  }
}
