/**
 * What the state of a Pod means for its instance: the phase of its start, that it runs, how it ended, or why it must be
 * ended. Pure; thresholds and causes are NVCF's, with the start deadline of the spec above them.
 *
 * S1 Whoever asks again with a later time and the same pod gets no better news. S2 `wakeAtMs` is when the answer can
 * change by itself. S3 A process that began is told with the time at which it began.
 *
 * @module
 */
import type { Exit } from "../ComputeBackend.ts"
import {
  BackendUnavailable,
  BadSpec,
  CommandNotFound,
  ImageNotFound,
  type LaunchError,
  NoCapacity,
  StartDeadlineExceeded
} from "../LaunchError.ts"
import type { Cause, Spec } from "./InstanceRequest.ts"
import { mainContainer } from "./PodOf.ts"
import type { Condition, ContainerStatus, PodView } from "./PodView.ts"

/** Milliseconds. */
export interface Thresholds {
  readonly podScheduledMs: number
  readonly imagePullErrorMs: number
  readonly initContainerMs: number
  /** No restart loop is called so before the instance is this old. */
  readonly failedRestartsMs: number
  readonly restartsMax: number
  /** Of servers with a health path: until they are ready for the first time, and when they no longer are. */
  readonly workerStartupMs: number
  readonly workerDegradationMs: number
}

export const thresholdsDefault: Thresholds = {
  podScheduledMs: 10 * 60_000,
  imagePullErrorMs: 60_000,
  initContainerMs: 2 * 3_600_000,
  failedRestartsMs: 10 * 60_000,
  restartsMax: 3,
  workerStartupMs: 2 * 3_600_000,
  workerDegradationMs: 30 * 60_000
}

/** `schedule`, `image`, `weights` (init containers), `process`, then `running`. */
export type StartPhase = "schedule" | "image" | "weights" | "process" | "running"

/** What is wrong and may still heal; since when is what the caller remembers between two readings. */
export interface Suspicion {
  readonly cause: Cause
  readonly sinceMs: number
}

export interface Facts {
  readonly nowMs: number
  readonly launchedAtMs: number
  readonly spec: Spec
  readonly thresholds: Thresholds
  /** Of the last reading. */
  readonly suspicion: Suspicion | undefined
}

export interface Ended {
  readonly exit: Exit
  readonly atMs: number
  readonly cause?: Cause
  readonly lastOutput: string
}

export interface Reading {
  readonly phase: StartPhase
  readonly startedAtMs: number | undefined
  /** It ended by itself. */
  readonly ended: Ended | undefined
  /** It has to be ended. */
  readonly bad: { readonly cause: Cause; readonly detail: string } | undefined
  readonly suspicion: Suspicion | undefined
  readonly wakeAtMs: number
}

const never = Number.POSITIVE_INFINITY
const lastOutputBytesMax = 4096

const timeOf = (text: string | null | undefined): number | undefined => {
  const time = text == null ? Number.NaN : Date.parse(text)
  return Number.isNaN(time) ? undefined : time
}

const conditionOf = (pod: PodView, type: string): Condition | undefined =>
  pod.conditions.find((one) => one.type === type)

const mainOf = (pod: PodView): ContainerStatus | undefined => pod.containers.find((one) => one.name === mainContainer)

const startedAtMsOf = (main: ContainerStatus | undefined): number | undefined => {
  const state = main?.state
  if (state?.running != null) return timeOf(state.running.startedAt)
  const ended = state?.terminated
  // The runtime could not begin it: `StartError` and `ContainerCannotRun` have an end and no life.
  return ended == null || cannotRun.has(ended.reason ?? "") ? undefined : timeOf(ended.startedAt)
}

export const read = (pod: PodView, facts: Facts): Reading => {
  const startedAtMs = startedAtMsOf(mainOf(pod))
  const phase = phaseOf(pod, startedAtMs)
  const ended = endOf(pod, facts, startedAtMs)
  const reading = { phase, startedAtMs, ended, bad: undefined, suspicion: undefined, wakeAtMs: never }
  if (ended !== undefined) return reading
  const trouble = startedAtMs === undefined ? troubleOfStart(pod, facts, phase) : troubleOfRun(pod, facts, startedAtMs)
  if (trouble === undefined) return reading
  const { cause, detail } = trouble
  const sinceMs = trouble.sinceMs ?? (facts.suspicion?.cause === cause ? facts.suspicion.sinceMs : facts.nowMs)
  const badAtMs = sinceMs + trouble.afterMs
  const isBad = facts.nowMs >= badAtMs
  return {
    ...reading,
    suspicion: { cause, sinceMs },
    bad: isBad ? { cause, detail } : undefined,
    wakeAtMs: isBad ? never : badAtMs
  }
}

const isSidecar = (pod: PodView, one: ContainerStatus): boolean =>
  one.name === "utils" && pod.initContainers.includes(one)

const phaseOf = (pod: PodView, startedAtMs: number | undefined): StartPhase => {
  if (startedAtMs !== undefined) return "running"
  if (conditionOf(pod, "PodScheduled")?.status !== "True" && pod.node === undefined) return "schedule"
  const inits = pod.initContainers.filter((one) => !isSidecar(pod, one))
  const open = inits.find((one) => one.state?.terminated?.exitCode !== 0)
  if (open !== undefined) return open.state?.running == null && open.state?.terminated == null ? "image" : "weights"
  const reason = mainOf(pod)?.state?.waiting?.reason ?? ""
  return reason === "CreateContainerError" || reason === "RunContainerError" ? "process" : "image"
}

const cannotRun = new Set(["StartError", "ContainerCannotRun"])
const notHere = new Set(["OutOfcpu", "OutOfmemory", "OutOfpods", "OutOfephemeral-storage", "UnexpectedAdmissionError"])
const preemptions = new Set(["Preempting", "PreemptionByScheduler", "TerminationByKubelet", "Shutdown", "Terminated"])

const endOf = (pod: PodView, facts: Facts, startedAtMs: number | undefined): Ended | undefined => {
  const main = mainOf(pod)?.state?.terminated
  const lastOutput = Buffer.from(main?.message ?? "")
    .subarray(-lastOutputBytesMax)
    .toString("utf8")
    .trimEnd()
  const atMs = timeOf(main?.finishedAt) ?? facts.nowMs
  const end = (exit: Exit, cause?: Cause): Ended => ({
    exit,
    atMs,
    lastOutput,
    ...(cause === undefined ? {} : { cause })
  })
  const disruption = conditionOf(pod, "DisruptionTarget")
  const reason = disruption?.status === "True" ? (disruption.reason ?? "") : pod.reason
  const failed = pod.phase === "Failed"
  if (failed && preemptions.has(reason))
    return end({ kind: "preempted", detail: `${reason}: ${pod.message}` }, "preempted")
  if (failed && (notHere.has(pod.reason) || pod.reason.startsWith("OutOf"))) {
    const error = errorOf("instance-terminated-admission-error", `${pod.reason}: ${pod.message}`, facts, "schedule")
    return end({ kind: "start-failed", error }, "instance-terminated-admission-error")
  }
  if (main != null && startedAtMs !== undefined) {
    if (main.reason === "OOMKilled") return end({ kind: "out-of-memory" }, "out-of-memory")
    if (main.signal != null && main.signal > 0) return end({ kind: "signal", signal: signalOf(main.signal) })
    return end({ kind: "code", code: main.exitCode }, main.exitCode === 0 ? undefined : "degraded-worker")
  }
  if (main != null) {
    const error = errorOf("create-container-error", main.message ?? main.reason ?? "", facts, "process")
    return end({ kind: "start-failed", error }, "create-container-error")
  }
  if (!failed) return undefined
  if (startedAtMs !== undefined) return end({ kind: "lost", detail: `${pod.reason}: ${pod.message}` }, "failed")
  const init = pod.initContainers.find((one) => (one.state?.terminated?.exitCode ?? 0) !== 0)
  const what = init === undefined ? `${pod.reason} ${pod.message}` : describe(init)
  return end({ kind: "start-failed", error: errorOf("failed", what, facts, "weights") }, "failed")
}

const describe = (one: ContainerStatus): string => {
  const ended = one.state?.terminated ?? one.lastState?.terminated
  return `${one.name} ended with ${ended?.exitCode ?? "?"} ${ended?.reason ?? ""} ${ended?.message ?? ""}`.trim()
}

/** Linux. */
const signals: Readonly<Record<number, string>> = {
  6: "SIGABRT",
  9: "SIGKILL",
  11: "SIGSEGV",
  12: "SIGUSR2",
  15: "SIGTERM"
}
const signalOf = (number: number): string => signals[number] ?? `signal ${number}`

interface Trouble {
  readonly cause: Cause
  readonly detail: string
  /** Absent: nobody says when it began. */
  readonly sinceMs?: number | undefined
  readonly afterMs: number
}

/** The first that will have lasted too long. */
const soonest = (troubles: ReadonlyArray<Trouble>, facts: Facts): Trouble | undefined => {
  const at = (trouble: Trouble) =>
    (trouble.sinceMs ?? (facts.suspicion?.cause === trouble.cause ? facts.suspicion.sinceMs : facts.nowMs)) +
    trouble.afterMs
  return troubles.toSorted((a, b) => at(a) - at(b))[0]
}

const imageErrors = new Set(["ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError"])
const imageErrorsForGood = new Set(["InvalidImageName", "ErrImageNeverPull"])
const createErrors = new Set(["CreateContainerError", "CreateContainerConfigError", "RunContainerError"])

const troubleOfStart = (pod: PodView, facts: Facts, phase: StartPhase): Trouble | undefined => {
  const { thresholds, spec, launchedAtMs } = facts
  const deadline: Trouble = {
    cause: "start-deadline",
    detail: whatItWaitsFor(pod),
    sinceMs: launchedAtMs,
    afterMs: spec.startDeadlineMs
  }
  if (phase === "schedule") {
    const condition = conditionOf(pod, "PodScheduled")
    const unscheduled: Trouble = {
      cause: "instance-terminated-no-capacity",
      detail: condition?.message ?? "no scheduler has looked at it",
      sinceMs: pod.createdAtMs,
      afterMs: thresholds.podScheduledMs
    }
    return soonest([unscheduled, deadline], facts)
  }
  const all = [...pod.initContainers, ...pod.containers]
  const waiting = all.flatMap((one) => (one.state?.waiting == null ? [] : [one.state.waiting]))
  const troubles = [deadline, ...restartTroubles(pod, facts)]
  for (const { reason: given, message } of waiting) {
    const reason = given ?? ""
    const detail = `${reason}: ${message ?? ""}`
    if (createErrors.has(reason)) troubles.push({ cause: "create-container-error", detail, sinceMs: 0, afterMs: 0 })
    if (imageErrorsForGood.has(reason)) troubles.push({ cause: "image-pull-issues", detail, sinceMs: 0, afterMs: 0 })
    if (imageErrors.has(reason)) {
      troubles.push({ cause: "image-pull-issues", detail, afterMs: thresholds.imagePullErrorMs })
    }
  }
  if (phase === "weights") {
    const detail = whatItWaitsFor(pod)
    troubles.push({ cause: "init-container-stuck", detail, sinceMs: launchedAtMs, afterMs: thresholds.initContainerMs })
  }
  return soonest(troubles, facts)
}

const restartTroubles = (pod: PodView, facts: Facts): Array<Trouble> => {
  const { thresholds, launchedAtMs } = facts
  return [...pod.initContainers, ...pod.containers]
    .filter((one) => (one.restartCount ?? 0) >= thresholds.restartsMax)
    .map((one) => ({
      cause:
        pod.initContainers.includes(one) && !isSidecar(pod, one)
          ? "init-container-restart-loop"
          : "container-restart-loop",
      detail: `${one.restartCount} restarts; ${describe(one)}`,
      sinceMs: launchedAtMs,
      afterMs: thresholds.failedRestartsMs
    }))
}

const whatItWaitsFor = (pod: PodView): string => {
  const waiting = [...pod.initContainers, ...pod.containers].find((one) => one.state?.waiting != null)
  const state = waiting?.state?.waiting
  const scheduled = conditionOf(pod, "PodScheduled")
  if (state != null) return `${waiting?.name} waits: ${state.reason ?? "?"} ${state.message ?? ""}`.trim()
  if (scheduled?.status === "False") return scheduled.message ?? "it is not scheduled"
  return pod.node === undefined ? "it is not scheduled" : `node ${pod.node} has not begun it`
}

const troubleOfRun = (pod: PodView, facts: Facts, startedAtMs: number): Trouble | undefined => {
  const troubles = restartTroubles(pod, facts)
  const ready = conditionOf(pod, "Ready")
  if (facts.spec.health !== undefined && ready?.status === "False" && pod.deletionAtMs === undefined) {
    const changedAtMs = timeOf(ready.lastTransitionTime) ?? startedAtMs
    const wasReady = changedAtMs > startedAtMs
    const { workerStartupMs, workerDegradationMs } = facts.thresholds
    troubles.push({
      cause: "degraded-worker",
      detail: wasReady ? "it is no longer ready" : "it never was ready",
      sinceMs: wasReady ? changedAtMs : startedAtMs,
      afterMs: wasReady ? workerDegradationMs : workerStartupMs
    })
  }
  return soonest(troubles, facts)
}

/** Of an instance whose process never began, in the words of the contract. */
export const errorOf = (cause: Cause, detail: string, facts: Pick<Facts, "spec">, phase: string): LaunchError => {
  const { instanceId, image, startDeadlineMs, command } = facts.spec
  switch (cause) {
    case "image-pull-issues":
      return new ImageNotFound({ instanceId, detail, image })
    case "instance-terminated-no-capacity":
    case "instance-terminated-admission-error":
      return new NoCapacity({ instanceId, detail })
    case "create-container-error": {
      const program = command[0] ?? image
      return /executable file not found|no such file or directory|permission denied/i.test(detail)
        ? new CommandNotFound({ instanceId, detail, program })
        : new BadSpec({ instanceId, detail, field: "image" })
    }
    case "start-deadline":
    case "init-container-stuck":
      return new StartDeadlineExceeded({ instanceId, detail, phase, startDeadlineMs })
    case "chart-refused":
      return new BadSpec({ instanceId, detail, field: "chart" })
    case "name-taken":
      return new BadSpec({ instanceId, detail, field: "instanceId" })
    default:
      return new BackendUnavailable({ backend: "kubernetes", operation: `start ${instanceId}`, detail })
  }
}

/** Of an instance that is ended for this cause. */
export const exitOf = (cause: Cause, detail: string, facts: Pick<Facts, "spec">, phase: string): Exit =>
  phase === "running"
    ? { kind: "lost", detail: `${cause}: ${detail}` }
    : { kind: "start-failed", error: errorOf(cause, detail, facts, phase) }
