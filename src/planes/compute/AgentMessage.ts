/**
 * What the control plane and an agent tell each other. Orders go over the work queue, in queues that are named as NVCF names
 * its own (`Create.NVCA.Function.{cluster}.{gpu}.{instanceType}`, `Terminate.NVCA.{cluster}`), reports over pub/sub
 * (`cluster.{cluster}.report`), both as JSON.
 *
 * @module
 */
import * as Schema from "effect/Schema"
import * as Chart from "../../core/chart/Chart.ts"

export const CreateInstance = Schema.Struct({
  instanceId: Schema.String,
  tenant: Schema.String,
  functionId: Schema.String,
  functionName: Schema.String,
  versionId: Schema.String,
  generation: Schema.Int,
  command: Schema.Array(Schema.String),
  image: Schema.optionalKey(Schema.String),
  health: Schema.optionalKey(Schema.Struct({ port: Schema.Int, path: Schema.String })),
  chart: Schema.optionalKey(Chart.Chart),
  workingDirectory: Schema.optionalKey(Schema.String),
  environment: Schema.Record(Schema.String, Schema.String),
  /** Slots of the worker. */
  concurrency: Schema.Int,
  gpu: Schema.Struct({ kind: Schema.String, count: Schema.Int }),
  instanceType: Schema.String,
  cpuMillis: Schema.Int,
  memoryBytes: Schema.Int,
  startDeadlineMs: Schema.Int,
  graceMs: Schema.Int,
  /** Unix time in ms of the decision; an order older than its start deadline is not carried out. */
  decidedAtMs: Schema.Number,
  /** Of the leader that ordered it; agents refuse what is older than what they have seen. Absent = 0. */
  epoch: Schema.optionalKey(Schema.Int),
  /** Why, for people. */
  reason: Schema.String
})
export type CreateInstance = typeof CreateInstance.Type

export const TerminateInstance = Schema.Struct({
  instanceId: Schema.String,
  versionId: Schema.String,
  /** How long its worker may finish what it holds before the backend is told to end it. */
  drainMs: Schema.Int,
  /** SIGTERM to SIGKILL, after the drain. */
  graceMs: Schema.Int,
  /** As in `CreateInstance`. */
  epoch: Schema.optionalKey(Schema.Int),
  reason: Schema.String
})
export type TerminateInstance = typeof TerminateInstance.Type

/** States of the instance machine as reported; see src/core/instance. */
export const InstanceReport = Schema.Struct({
  instanceId: Schema.String,
  functionId: Schema.String,
  versionId: Schema.String,
  generation: Schema.Int,
  cluster: Schema.String,
  state: Schema.Literals(["requested", "starting", "ready", "draining", "stopped", "failed"]),
  phase: Schema.String,
  /** Unix ms. */
  requestedAtMs: Schema.Number,
  startedAtMs: Schema.NullOr(Schema.Number),
  readyAtMs: Schema.NullOr(Schema.Number),
  endedAtMs: Schema.NullOr(Schema.Number),
  pid: Schema.NullOr(Schema.Int),
  /** For people: last output on failure, or why it stopped. */
  detail: Schema.String,
  retryable: Schema.Boolean
})
export type InstanceReport = typeof InstanceReport.Type

/** Of the agent that says it, among those of its cluster: what an older one says is of the past. Absent = 0. */
const AgentEpoch = Schema.optionalKey(Schema.Int)

export const AgentReport = Schema.Union([
  Schema.TaggedStruct("InstanceChanged", { cluster: Schema.String, agentEpoch: AgentEpoch, instance: InstanceReport }),
  Schema.TaggedStruct("Heartbeat", {
    cluster: Schema.String,
    agentEpoch: AgentEpoch,
    region: Schema.String,
    group: Schema.optionalKey(Schema.String),
    attributes: Schema.optionalKey(Schema.Array(Schema.String)),
    compliance: Schema.optionalKey(Schema.Array(Schema.String)),
    backend: Schema.String,
    isolation: Schema.String,
    instanceTypes: Schema.Array(
      Schema.Struct({
        name: Schema.String,
        gpuKind: Schema.String,
        gpuCount: Schema.Int,
        total: Schema.Int,
        free: Schema.Int
      })
    ),
    /** Which of the instances that run it lists. Absent: all of them. */
    part: Schema.optionalKey(Schema.Struct({ index: Schema.Int, count: Schema.Int })),
    /** Of its part all that run, so that a control plane that was away knows again. */
    instances: Schema.Array(InstanceReport)
  })
])
export type AgentReport = typeof AgentReport.Type

/** From the invocation plane, `instance.worker`: what became of a worker of this instance. */
export const WorkerReport = Schema.Union([
  Schema.TaggedStruct("WorkerReady", {
    instanceId: Schema.String,
    versionId: Schema.String,
    slots: Schema.Int,
    phases: Schema.Struct({ processMs: Schema.Number, initialiseMs: Schema.Number, connectMs: Schema.Number })
  }),
  Schema.TaggedStruct("WorkerDraining", { instanceId: Schema.String, versionId: Schema.String }),
  /** It was asked to drain, and the last deadline of what it holds is so far away: it must not be ended before. */
  Schema.TaggedStruct("WorkerHolds", {
    instanceId: Schema.String,
    versionId: Schema.String,
    forMs: Schema.Number
  }),
  Schema.TaggedStruct("WorkerGone", { instanceId: Schema.String, versionId: Schema.String })
])
export type WorkerReport = typeof WorkerReport.Type

/** From shard owners, `demand`: figures of one version, after each change that matters to scaling. */
export const DemandReport = Schema.Struct({
  shard: Schema.String,
  versionId: Schema.String,
  pending: Schema.Int,
  leased: Schema.Int,
  /** Per instance, so that the least busy can be picked for stopping. */
  leasedByInstance: Schema.Record(Schema.String, Schema.Int),
  arrivalsTotal: Schema.Int,
  /** Age of the oldest pending request; null = none pending. */
  oldestPendingMs: Schema.NullOr(Schema.Number)
})
export type DemandReport = typeof DemandReport.Type

/** From shard owners, `demand.snapshot`, when somebody asked with `demand.wanted`: all versions of one shard that are busy. */
export const DemandSnapshot = Schema.Struct({
  shard: Schema.String,
  /** Of the whole installation: who has heard all of them knows that the rest has none. */
  shardCount: Schema.Int,
  /** It comes in parts, in order. */
  isFirst: Schema.Boolean,
  isLast: Schema.Boolean,
  reports: Schema.Array(DemandReport)
})
export type DemandSnapshot = typeof DemandSnapshot.Type

/** To the owners of shards, `instance.drain`: give the workers of this instance nothing new, it is to end. */
export const Drain = Schema.Struct({
  instanceId: Schema.String,
  versionId: Schema.String,
  /** For people. */
  reason: Schema.String
})
export type Drain = typeof Drain.Type

/** A name that is one token: NVCF writes a dot as a bar. */
const token = (name: string): string => name.replaceAll(".", "|")

export const subjects = {
  create: (cluster: string, gpuKind: string, instanceType: string) =>
    `Create.NVCA.Function.${cluster}.${token(gpuKind)}.${token(instanceType)}`,
  /** All of a cluster. */
  creates: (cluster: string) => `Create.NVCA.*.${cluster}.*.*`,
  terminate: (cluster: string) => `Terminate.NVCA.${cluster}`,
  report: (cluster: string) => `cluster.${cluster}.report`,
  reports: "cluster.*.report",
  /** Every agent sends a heartbeat now. */
  reportWanted: "cluster.report-wanted",
  worker: "instance.worker",
  demand: "demand",
  demandSnapshot: "demand.snapshot",
  /** Whoever owns shards tells all demand now. */
  demandWanted: "demand.wanted",
  /** What the leader decided, for the copies of the control plane that stand by. */
  decision: "control.decision",
  /** Ask the owner to drain the workers of an instance before it is terminated. */
  drain: "instance.drain"
} as const
