/**
 * What the leader does next about one request: desired against observed, by key, never by event. Pure.
 *
 * R1 At most one Pod per life of a request, by its name; a Pod that another life or somebody else has under that name is
 * not taken for it. R2 An end is written before anything that shows it is deleted, and nothing is written after an end.
 * R3 That a Pod is gone is believed only when the server itself has said so. R4 Carried out and looked at again, the plan
 * becomes empty. R5 The worker of a Helm function is made when its chart is installed, and its end is written when its
 * chart is gone.
 *
 * @module
 */
import type { LaunchError } from "../LaunchError.ts"
import {
  type Cause,
  type End,
  endingGraceMs,
  type InstanceRequest,
  type InstanceStatus,
  type NewStatus,
  newInstance
} from "./InstanceRequest.ts"
import { clusterLabel } from "./Names.ts"
import { graceSecondsOf } from "./PodOf.ts"
import { exitOf, read, type Suspicion, type Thresholds } from "./PodState.ts"
import type { PodView } from "./PodView.ts"

export type Action =
  | { readonly _tag: "CreatePod" }
  /** Look whether it is really gone. */
  | { readonly _tag: "ConfirmPodGone" }
  | { readonly _tag: "DeletePod"; readonly uid: string; readonly graceSeconds: number }
  | { readonly _tag: "WriteStatus"; readonly status: NewStatus }
  | { readonly _tag: "DeleteChart" }
  /** Take the finalizer off and delete it. */
  | { readonly _tag: "Release" }

/** The MiniService of a Helm function, as last seen. */
export interface ChartState {
  readonly is: "installing" | "installed" | "refused" | "failed" | "ending"
  /** Of what was refused or failed. */
  readonly detail: string
}

export interface Facts {
  readonly nowMs: number
  readonly thresholds: Thresholds
  readonly suspicion: Suspicion | undefined
  /** The server has said that there is no such Pod, after it had been made. */
  readonly isPodGone: boolean
  /** The last that was seen of it. */
  readonly lastPod: PodView | undefined
  /** How long a failure stays to be looked at. */
  readonly failureKeptMs: number
  /** Undefined: there is none, or it was not heard of yet. */
  readonly chart: ChartState | undefined
}

export interface Plan {
  /** In this order; each waits for the one before it. */
  readonly actions: ReadonlyArray<Action>
  readonly suspicion: Suspicion | undefined
  /** When to look again though nothing changed. */
  readonly wakeAtMs: number
}

const never = Number.POSITIVE_INFINITY

/** A launch whose process died before its secrets were in; it is launched anew or given up. */
export const unfinishedLaunchMs = 5 * 60_000
/** A node that does not answer keeps a Pod for ever. */
export const forceAfterMs = 30_000
const chartLookMs = 1_000

const wait = (wakeAtMs: number, suspicion?: Suspicion): Plan => ({ actions: [], suspicion, wakeAtMs })
const act = (...actions: ReadonlyArray<Action>): Plan => ({ actions, suspicion: undefined, wakeAtMs: never })

export const plan = (request: InstanceRequest, pod: PodView | undefined, facts: Facts): Plan => {
  const next = planOf(request, pod, facts)
  const { chart, nowMs } = facts
  if (chart === undefined || !next.actions.some((action) => isLast(request, action))) return next
  // Looked at again when it is gone; a little later in any case.
  const wakeAtMs = nowMs + chartLookMs
  return { actions: chart.is === "ending" ? [] : [{ _tag: "DeleteChart" }], suspicion: next.suspicion, wakeAtMs }
}

/** What may only be done when nothing of it runs any more. */
const isLast = (request: InstanceRequest, action: Action): boolean =>
  action._tag === "Release" ||
  (action._tag === "WriteStatus" && action.status.instance.end !== undefined && request.instance?.end === undefined)

const planOf = (request: InstanceRequest, pod: PodView | undefined, facts: Facts): Plan => {
  const end = request.instance?.end
  const own = pod?.ownerUids.includes(request.uid) === true ? pod : undefined
  if (end !== undefined) return planEnded(request, own, { ...facts, end })
  if (request.phase === "") return planUnfinished(request, facts)
  if (pod !== undefined && own === undefined) return planTaken(request, pod, facts)
  return own === undefined ? planWithoutPod(request, facts) : planWithPod(request, own, facts)
}

const planUnfinished = (request: InstanceRequest, { nowMs }: Facts): Plan => {
  const untilMs = request.createdAtMs + unfinishedLaunchMs
  return endingGraceMs(request) !== undefined || nowMs >= untilMs ? act({ _tag: "Release" }) : wait(untilMs)
}

const planEnded = (request: InstanceRequest, own: PodView | undefined, facts: Facts & { readonly end: End }): Plan => {
  if (own !== undefined) {
    return own.deletionAtMs === undefined ? act(deletion(own, 1)) : forced(own, facts)
  }
  const { end } = facts
  // What was asked for needs nobody's look.
  const isDone = end.cause === undefined || endingGraceMs(request) !== undefined
  const keptUntilMs = isDone ? 0 : end.atMs + facts.failureKeptMs
  if (facts.nowMs >= keptUntilMs) return act({ _tag: "Release" })
  const { instance } = request
  if (request.phase !== "RequestFailed" || instance === undefined) return wait(keptUntilMs)
  return { ...act(write("RequestFailureAcknowledged", instance)), wakeAtMs: keptUntilMs }
}

/** Its name is another's: of an earlier life, which is on its way out, or of a stranger, which is left alone. */
const planTaken = (request: InstanceRequest, pod: PodView, facts: Facts): Plan => {
  if (pod.labels[clusterLabel] !== undefined) {
    return pod.deletionAtMs === undefined ? act(deletion(pod, 1)) : forced(pod, facts)
  }
  const detail = `a Pod ${pod.name} is here already and is not ours: delete it or rename it`
  return act(ended(request, badEnd(request, "name-taken", detail, facts)))
}

const planWithoutPod = (request: InstanceRequest, facts: Facts): Plan => {
  const instance = request.instance ?? newInstance(request.name)
  if (instance.podUid !== undefined || facts.lastPod !== undefined) {
    return facts.isPodGone ? act(ended(request, endOfGone(request, instance, facts))) : act({ _tag: "ConfirmPodGone" })
  }
  if (endingGraceMs(request) !== undefined) {
    const exit = { kind: "lost", detail: "it was ended before it began" } as const
    return act(ended(request, { atMs: facts.nowMs, exit, lastOutput: "", requested: true }))
  }
  // Decided while there was a chart; by now it is gone, or it goes.
  if (instance.terminationCause !== undefined) {
    return act(ended(request, badEnd(request, instance.terminationCause, instance.terminationDetail ?? "", facts)))
  }
  const deadlineMs = launchedAtMs(request) + request.spec.startDeadlineMs
  if (facts.nowMs >= deadlineMs) {
    const detail =
      request.spec.chart === undefined ? "nobody made its Pod in time" : "its chart was not installed in time"
    return act(ended(request, badEnd(request, "start-deadline", detail, facts)))
  }
  if (request.spec.chart === undefined || facts.chart?.is === "installed") return act({ _tag: "CreatePod" })
  const bad = troubleOfChart(facts.chart)
  return bad === undefined ? wait(deadlineMs) : act(write("RequestInstancesInProgress", decided(instance, bad)))
}

interface Bad {
  readonly cause: Cause
  readonly detail: string
}

/** A chart that is being installed is none. */
const troubleOfChart = (chart: ChartState | undefined): Bad | undefined => {
  if (chart?.is === "refused") return { cause: "chart-refused", detail: chart.detail }
  return chart?.is === "failed" ? { cause: "failed", detail: chart.detail } : undefined
}

/** Of one whose worker is there. */
const chartLost = (request: InstanceRequest, { chart }: Facts): Bad | undefined => {
  if (request.spec.chart === undefined) return undefined
  const isGone = chart === undefined || chart.is === "ending"
  return isGone ? { cause: "failed", detail: "its MiniService was deleted" } : troubleOfChart(chart)
}

const decided = (instance: InstanceStatus, { cause, detail }: Bad): InstanceStatus => ({
  ...instance,
  status: "shutting-down",
  terminationCause: cause,
  terminationDetail: detail.slice(0, 1_000)
})

/** The server would not have its Pod: what it said. */
export const refused = (request: InstanceRequest, error: LaunchError, nowMs: number): NewStatus => {
  const exit = { kind: "start-failed", error } as const
  const end: End = { atMs: nowMs, exit, cause: "failed", lastOutput: "", requested: false }
  const instance = request.instance ?? newInstance(request.name)
  return { phase: "RequestFailed", instance: { ...instance, status: "terminated", end } }
}

const badEnd = (request: InstanceRequest, cause: Cause, detail: string, facts: Facts): End => {
  const phase = request.instance?.phase ?? "schedule"
  const exit = exitOf(cause, detail, request, phase)
  return { atMs: facts.nowMs, exit, cause, lastOutput: "", requested: false }
}

/** The Pod is gone: what it was ended for, else what was last seen of it, else nobody knows. */
const endOfGone = (request: InstanceRequest, instance: InstanceStatus, facts: Facts): End => {
  const requested = endingGraceMs(request) !== undefined
  const { terminationCause: cause, terminationDetail: detail = "" } = instance
  if (cause !== undefined && !requested) return badEnd(request, cause, detail, facts)
  const seen = facts.lastPod === undefined ? undefined : read(facts.lastPod, readingFacts(request, facts)).ended
  if (seen !== undefined) return { ...seen, requested }
  const what =
    instance.startedAtMs === undefined ? "it was ended before it began" : "its Pod is gone and its end was not seen"
  const unasked = requested ? {} : { cause: "instance-not-found" as const }
  return { atMs: facts.nowMs, exit: { kind: "lost", detail: what }, lastOutput: "", requested, ...unasked }
}

const planWithPod = (request: InstanceRequest, pod: PodView, facts: Facts): Plan => {
  const graceMs = endingGraceMs(request)
  const reading = read(pod, readingFacts(request, facts))
  const before = request.instance ?? newInstance(request.name)
  const { phase, startedAtMs } = reading
  const seen: InstanceStatus = {
    ...before,
    podUid: pod.uid,
    phase,
    status:
      pod.deletionAtMs !== undefined || graceMs !== undefined
        ? "shutting-down"
        : startedAtMs === undefined
          ? "starting"
          : "running",
    ...(pod.node === undefined ? {} : { node: pod.node }),
    ...(startedAtMs === undefined ? {} : { startedAtMs })
  }
  if (reading.ended !== undefined && seen.terminationCause !== undefined && graceMs === undefined) {
    // It ended because it was told to; why is in its status.
    return act(
      ended({ ...request, instance: seen }, badEnd(request, seen.terminationCause, seen.terminationDetail ?? "", facts))
    )
  }
  if (reading.ended !== undefined) {
    return act(ended({ ...request, instance: seen }, { ...reading.ended, requested: graceMs !== undefined }))
  }
  const bad = reading.bad ?? chartLost(request, facts)
  if (seen.terminationCause !== undefined || (bad !== undefined && graceMs === undefined)) {
    const next = seen.terminationCause !== undefined || bad === undefined ? seen : decided(seen, bad)
    const graceSeconds = startedAtMs === undefined ? 1 : graceSecondsOf(request.spec.graceMs)
    const ends = ending(pod, graceSeconds, facts)
    return { ...ends, actions: [...changed(request, "RequestInstancesInProgress", next), ...ends.actions] }
  }
  const phaseOfRequest = startedAtMs === undefined ? "RequestInstancesInProgress" : "RequestCompleted"
  const writes = changed(request, phaseOfRequest, seen)
  if (graceMs === undefined) return { actions: writes, suspicion: reading.suspicion, wakeAtMs: reading.wakeAtMs }
  // What is about to end anyway is told by its end.
  const started = seen.startedAtMs !== before.startedAtMs ? writes : []
  const next = ending(pod, graceSecondsOf(graceMs), facts)
  return { ...next, actions: [...started, ...next.actions] }
}

const readingFacts = (request: InstanceRequest, { nowMs, thresholds, suspicion }: Facts) => ({
  nowMs,
  thresholds,
  suspicion,
  spec: request.spec,
  launchedAtMs: launchedAtMs(request)
})

/** The server counts in whole seconds, downwards; nobody is ended before its time. */
const launchedAtMs = (request: InstanceRequest): number => request.createdAtMs + 1_000

/** Asks once, and again only for a shorter grace; forces when the grace is long over. */
const ending = (pod: PodView, graceSeconds: number, facts: Facts): Plan => {
  if (pod.deletionAtMs === undefined) return act(deletion(pod, graceSeconds))
  // One second of slack: the server cuts off what is below a second.
  if (pod.deletionAtMs > facts.nowMs + graceSeconds * 1_000 + 1_000) return act(deletion(pod, graceSeconds))
  return forced(pod, facts)
}

const forced = (pod: PodView, facts: Facts): Plan => {
  const forceAtMs = (pod.deletionAtMs ?? facts.nowMs) + forceAfterMs
  return facts.nowMs >= forceAtMs ? act(deletion(pod, 0)) : wait(forceAtMs)
}

const deletion = (pod: PodView, graceSeconds: number): Action => ({ _tag: "DeletePod", uid: pod.uid, graceSeconds })

const write = (phase: NewStatus["phase"], instance: InstanceStatus): Action => ({
  _tag: "WriteStatus",
  status: { phase, instance }
})

const ended = (request: InstanceRequest, end: End): Action => {
  const instance = request.instance ?? newInstance(request.name)
  return write(end.cause === undefined ? "RequestCompleted" : "RequestFailed", {
    ...instance,
    status: "terminated",
    end
  })
}

const changed = (
  request: InstanceRequest,
  phase: NewStatus["phase"],
  instance: InstanceStatus
): ReadonlyArray<Action> =>
  request.phase === phase && JSON.stringify(sorted(instance)) === JSON.stringify(sorted(request.instance ?? {}))
    ? []
    : [write(phase, instance)]

const sorted = (value: object) => Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
