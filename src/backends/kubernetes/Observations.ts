/**
 * What a change of a request tells those who watch. Pure: whatever agent sees the change tells the same.
 *
 * @module
 */
import type { InstanceObservation } from "../ComputeBackend.ts"
import type { Change } from "./Informer.ts"
import type { InstanceRequest } from "./InstanceRequest.ts"

export const observationsOf = (
  { before, after, last }: Change<InstanceRequest>,
  nowMs: number
): ReadonlyArray<InstanceObservation> => {
  const { instanceId } = last.spec
  const was = before?.instance
  // One whose launch was never finished never was.
  if (after === undefined && (was?.end !== undefined || last.instance === undefined)) return []
  const now = last.instance
  const told: Array<InstanceObservation> = []
  const statusAtMs = Date.parse(last.lastStatusUpdated)
  const atMs = Number.isNaN(statusAtMs) ? nowMs : statusAtMs
  if (now !== undefined && now.phase !== was?.phase && now.phase !== "running") {
    told.push({ _tag: "Phase", instanceId, phase: now.phase, atMs })
  }
  if (now?.startedAtMs !== undefined && was?.startedAtMs === undefined) {
    told.push({ _tag: "Started", instanceId, atMs: now.startedAtMs })
  }
  const phase = now?.phase ?? "schedule"
  if (now?.end !== undefined && was?.end === undefined) {
    const { exit, lastOutput, requested, atMs: endedAtMs } = now.end
    told.push({ _tag: "Exited", instanceId, atMs: endedAtMs, exit, phase, lastOutput, requested })
  } else if (after === undefined) {
    const exit = { kind: "lost", detail: "its request was deleted from the cluster by hand" } as const
    told.push({ _tag: "Exited", instanceId, atMs: nowMs, exit, phase, lastOutput: "", requested: false })
  }
  return told
}
