/**
 * What an invocation plane alone knows of instances, from what agents and workers say: for receipts, and for why a request
 * waits. The control plane, which decides, knows more; but it may be away.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { RecentMap } from "../../core/collections/RecentMap.ts"
import { type InstanceReport, subjects } from "../compute/AgentMessage.ts"
import * as AgentMessageCheck from "../compute/AgentMessageCheck.ts"
import type { ControlView, StartTimeline } from "../control/ControlView.ts"
import type { Payload } from "../fabric/Message.ts"
import { PubSub } from "../fabric/PubSub.ts"
import { nowMs } from "./PlaneClock.ts"

/** Beyond it the one heard of longest ago is forgotten, with its receipt. */
const instancesMax = 20_000

export interface InstanceWatch extends Pick<ControlView, "startTimeline" | "whyWaiting"> {
  /** For what this process itself says of its workers: heard here at once, before an answer can come. */
  readonly pubSub: PubSub["Service"]
}

export const make: Effect.Effect<InstanceWatch, never, PubSub | Scope.Scope> = Effect.gen(function* () {
  const pubSub = yield* PubSub
  const reports = new RecentMap<string, InstanceReport>()
  const phases = new Map<string, StartTimeline["phases"]>()
  /** When its worker said that it is ready: its agent tells later. */
  const readyAtMs = new Map<string, number>()

  const take = (report: InstanceReport) => {
    reports.set(report.instanceId, report)
    const oldest = reports.size > instancesMax ? reports.oldest() : undefined
    if (oldest === undefined) return
    const [instanceId] = oldest
    reports.delete(instanceId)
    phases.delete(instanceId)
    readyAtMs.delete(instanceId)
  }

  yield* pubSub.hear(subjects.reports, (payload) => {
    const decoded = AgentMessageCheck.agentReport(payload)
    if (Result.isFailure(decoded)) return
    const message = decoded.success
    for (const report of message._tag === "Heartbeat" ? message.instances : [message.instance]) take(report)
  })
  const hearWorker = (payload: Payload) => {
    const decoded = AgentMessageCheck.workerReport(payload)
    if (Result.isFailure(decoded) || decoded.success._tag !== "WorkerReady") return
    const { instanceId } = decoded.success
    phases.set(instanceId, decoded.success.phases)
    if (!readyAtMs.has(instanceId)) readyAtMs.set(instanceId, nowMs())
  }
  yield* pubSub.hear(subjects.worker, hearWorker)

  return {
    pubSub: {
      ...pubSub,
      publish: (subject, payload) => {
        if (subject === subjects.worker) hearWorker(payload)
        pubSub.publish(subject, payload)
      }
    },
    startTimeline: (instanceId) => {
      const report = reports.get(instanceId)
      if (report === undefined) return undefined
      const { requestedAtMs, startedAtMs } = report
      return {
        instanceId,
        // The order is the first thing that is heard here.
        demandAtMs: requestedAtMs,
        createdAtMs: requestedAtMs,
        startedAtMs,
        readyAtMs: report.readyAtMs ?? readyAtMs.get(instanceId) ?? null,
        phases: phases.get(instanceId) ?? null
      }
    },
    whyWaiting: (versionId) => {
      const counts = { ready: 0, starting: 0 }
      for (const report of reports.values()) {
        if (report.versionId !== versionId) continue
        if (report.state === "ready") counts.ready += 1
        if (report.state === "requested" || report.state === "starting") counts.starting += 1
      }
      if (counts.ready > 0) return undefined
      return counts.starting > 0
        ? `${counts.starting} of its instances ${counts.starting === 1 ? "is" : "are"} starting, none is ready`
        : "no instance of it is known: the control plane has to start one"
    }
  }
})
