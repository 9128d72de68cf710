/**
 * `MiniService`: one Helm function as it should run, and how far it is, as a custom resource of the cluster. The namespace
 * that it names is its own: made for it, and gone with it.
 *
 * @module
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

export const Phase = Schema.Literals(["", "Installing", "Installed", "Starting", "Running", "InstallFailed", "Failed"])
export type Phase = typeof Phase.Type

export const isFinal = (phase: Phase): boolean => phase === "InstallFailed" || phase === "Failed"

const ObjectName = Schema.Struct({ apiVersion: Schema.String, kind: Schema.String, name: Schema.String })
export type ObjectName = typeof ObjectName.Type

const Condition = Schema.Struct({
  type: Schema.String,
  status: Schema.Literals(["True", "False", "Unknown"]),
  reason: Schema.String,
  message: Schema.String,
  lastTransitionTime: Schema.String
})
export type Condition = typeof Condition.Type

const Status = Schema.Struct({
  phase: Schema.optional(Phase),
  lastPhaseTransitionTime: Schema.optional(Schema.String),
  observedGeneration: Schema.optional(Schema.Int),
  revision: Schema.optional(Schema.Int),
  renderedDetails: Schema.optional(
    Schema.Struct({
      hash: Schema.String,
      resources: Schema.Array(Schema.Struct({ gvk: Schema.String, count: Schema.Int }))
    })
  ),
  /** What was applied, so that a later rendering without it removes it. */
  objects: Schema.optional(Schema.Array(ObjectName)),
  conditions: Schema.optional(Schema.Array(Condition))
})
export type Status = typeof Status.Type

const Spec = Schema.Struct({
  namespace: Schema.String,
  icmsRequestName: Schema.optional(Schema.String),
  helmChartConfig: Schema.Struct({
    url: Schema.optional(Schema.String),
    manifests: Schema.optional(Schema.String),
    serviceName: Schema.String,
    servicePort: Schema.Int,
    values: Schema.optional(Schema.Unknown)
  }),
  validationPolicy: Schema.optional(
    Schema.Struct({
      name: Schema.Literals(["Default", "Unrestricted"]),
      extraKubernetesTypes: Schema.optional(
        Schema.Array(Schema.Struct({ group: Schema.String, version: Schema.String, kind: Schema.String }))
      )
    })
  ),
  gpuCount: Schema.optional(Schema.Int),
  /** Whose nodes its pods stand on. */
  gpuKind: Schema.optional(Schema.String),
  /** Pods of another namespace that may call it; absent = nobody outside. */
  workers: Schema.optional(
    Schema.Struct({ namespace: Schema.String, labels: Schema.Record(Schema.String, Schema.String) })
  )
})
export type Spec = typeof Spec.Type

const Resource = Schema.Struct({
  metadata: Schema.Struct({
    name: Schema.String,
    uid: Schema.String,
    resourceVersion: Schema.String,
    generation: Schema.Int,
    creationTimestamp: Schema.String,
    deletionTimestamp: Schema.optional(Schema.String),
    finalizers: Schema.optional(Schema.Array(Schema.String))
  }),
  spec: Spec,
  status: Schema.optional(Status)
})

export interface MiniService {
  readonly name: string
  readonly uid: string
  readonly resourceVersion: string
  readonly generation: number
  readonly createdAtMs: number
  readonly isDeleting: boolean
  readonly finalizers: ReadonlyArray<string>
  readonly spec: Spec
  readonly status: Status
  readonly phase: Phase
}

const decodeResource = Schema.decodeUnknownResult(Resource)

export const decode = (object: unknown): MiniService | undefined => {
  const read = decodeResource(object)
  if (Result.isFailure(read)) return undefined
  const { metadata, spec, status = {} } = read.success
  return {
    name: metadata.name,
    uid: metadata.uid,
    resourceVersion: metadata.resourceVersion,
    generation: metadata.generation,
    createdAtMs: Date.parse(metadata.creationTimestamp),
    isDeleting: metadata.deletionTimestamp !== undefined,
    finalizers: metadata.finalizers ?? [],
    spec,
    status,
    phase: status.phase ?? ""
  }
}

/** The conditions after one of them was seen; its time changes with its status alone. */
export const withCondition = (
  conditions: ReadonlyArray<Condition>,
  seen: Omit<Condition, "lastTransitionTime">,
  atMs: number
): ReadonlyArray<Condition> => {
  const before = conditions.find(({ type }) => type === seen.type)
  const lastTransitionTime = before?.status === seen.status ? before.lastTransitionTime : new Date(atMs).toISOString()
  return [...conditions.filter(({ type }) => type !== seen.type), { ...seen, lastTransitionTime }]
}
