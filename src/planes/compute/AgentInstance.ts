/**
 * What an agent knows of one instance, and how that is told: the order, the instance machine's state, and the
 * translations between backend, machine and report.
 *
 * @module
 */
import type { Exit, InstanceObservation, InstanceSpec, RunningInstance } from "../../backends/ComputeBackend.ts"
import { isRetryable } from "../../backends/LaunchError.ts"
import * as Instance from "../../core/instance/Instance.ts"
import type { CreateInstance, InstanceReport } from "./AgentMessage.ts"

/** What the worker SDK reads at its start; the version's own environment cannot replace any of it. */
export const environmentOf = (
  create: CreateInstance,
  worker: { readonly url: string; readonly token: string; readonly spawnedAtMs: number }
): Record<string, string> => ({
  ...create.environment,
  MILLRACE_WORKER_URL: worker.url,
  MILLRACE_WORKER_TOKEN: worker.token,
  MILLRACE_INSTANCE_ID: create.instanceId,
  MILLRACE_FUNCTION_ID: create.functionId,
  MILLRACE_FUNCTION_NAME: create.functionName,
  MILLRACE_VERSION_ID: create.versionId,
  MILLRACE_SLOTS: String(create.concurrency),
  MILLRACE_SPAWNED_AT_MS: String(worker.spawnedAtMs)
})

/** What an agent must know of an instance that it looks after. */
export type Known = Pick<
  CreateInstance,
  "instanceId" | "functionId" | "versionId" | "generation" | "startDeadlineMs" | "graceMs"
>

const labels = {
  functionId: "millrace.function",
  generation: "millrace.generation",
  startDeadlineMs: "millrace.start-deadline-ms",
  graceMs: "millrace.grace-ms"
} as const

/** With these the next life of an agent knows the instance again. */
export const labelsOf = (create: Known): Record<string, string> => ({
  [labels.functionId]: create.functionId,
  [labels.generation]: String(create.generation),
  [labels.startDeadlineMs]: String(create.startDeadlineMs),
  [labels.graceMs]: String(create.graceMs)
})

/** Of one that an earlier life of the agent launched; undefined: no agent did. */
export const knownOf = ({ instanceId, versionId, labels: found }: RunningInstance): Known | undefined => {
  const functionId = found[labels.functionId]
  const [generation, startDeadlineMs, graceMs] = [labels.generation, labels.startDeadlineMs, labels.graceMs].map(
    (label) => (/^\d{1,15}$/.test(found[label] ?? "") ? Number(found[label]) : undefined)
  )
  if (functionId === undefined || generation === undefined) return undefined
  if (startDeadlineMs === undefined || graceMs === undefined) return undefined
  return { instanceId, functionId, versionId, generation, startDeadlineMs, graceMs }
}

export const specOf = (create: CreateInstance, environment: Readonly<Record<string, string>>): InstanceSpec => ({
  instanceId: create.instanceId,
  functionId: create.functionId,
  functionName: create.functionName,
  versionId: create.versionId,
  command: create.command,
  ...(create.image === undefined ? {} : { image: create.image }),
  ...(create.health === undefined ? {} : { health: create.health }),
  ...(create.chart === undefined ? {} : { chart: create.chart }),
  ...(create.workingDirectory === undefined ? {} : { workingDirectory: create.workingDirectory }),
  environment,
  gpu: create.gpu,
  instanceType: create.instanceType,
  cpuMillis: create.cpuMillis,
  memoryBytes: create.memoryBytes,
  startDeadlineMs: create.startDeadlineMs,
  graceMs: create.graceMs,
  labels: labelsOf(create)
})

const stateNames = {
  Requested: "requested",
  Starting: "starting",
  Ready: "ready",
  Draining: "draining",
  Stopped: "stopped",
  Failed: "failed"
} as const

export const reportOf = (cluster: string, create: Known, state: Instance.State): InstanceReport => ({
  instanceId: create.instanceId,
  functionId: create.functionId,
  versionId: create.versionId,
  generation: create.generation,
  cluster,
  state: stateNames[state._tag],
  phase: state._tag === "Starting" ? state.phase : "",
  requestedAtMs: state.facts.requestedAtMs,
  startedAtMs: state.facts.startedAtMs,
  readyAtMs: state.facts.readyAtMs,
  endedAtMs: Instance.isEnded(state) ? state.endedAtMs : null,
  pid: state.facts.pid,
  detail: state._tag === "Draining" ? state.reason : Instance.isEnded(state) ? state.detail : "",
  retryable: state._tag === "Failed" && state.retryable
})

/** An event of the machine out of what the agent itself saw. */
export const reported = (
  nowMs: number,
  change: Partial<Instance.Reported> & Pick<Instance.Reported, "state">
): Instance.Event => ({
  _tag: "Reported",
  nowMs,
  report: {
    phase: "",
    startedAtMs: null,
    readyAtMs: null,
    pid: null,
    detail: "",
    retryable: false,
    ...change
  }
})

export const detailBytesMax = 4096

/** Whether another start of the same version can fare better. */
export const isExitRetryable = (exit: Exit): boolean => exit.kind !== "start-failed" || isRetryable(exit.error)

type Exited = Extract<InstanceObservation, { _tag: "Exited" }>

/** For people: how it ended and in which phase of its start, then its last words. */
export const describeExit = ({ exit, phase, lastOutput }: Exited): string => {
  const how = phase === "running" || exit.kind === "start-failed" ? describe(exit) : `${describe(exit)}, in ${phase}`
  return lastOutput === "" ? how : `${how}; last output:\n${lastOutput}`.slice(0, detailBytesMax)
}

const describe = (exit: Exit): string => {
  switch (exit.kind) {
    case "code":
      return exit.code === 0 ? "it ended by itself (code 0)" : `it ended with code ${exit.code}`
    case "signal":
      return `it was ended by ${exit.signal}`
    case "out-of-memory":
      return "it ran out of memory"
    case "start-failed":
      return exit.error.message
    case "gpu-fault":
      return `a GPU of it broke (XID ${exit.xid}): ${exit.detail}`
    case "preempted":
      return `its place was taken: ${exit.detail}`
    case "lost":
      return `it was lost: ${exit.detail}`
    default:
      return unreachable(exit)
  }
}

const unreachable = (value: never): never => {
  throw new Error(`unreachable case ${JSON.stringify(value)}`)
}
