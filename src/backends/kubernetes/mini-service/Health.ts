/**
 * Whether an object of a chart is as it should be, by what its own controller says of it.
 *
 * @module
 */
import * as Fields from "../../../core/chart/Fields.ts"

/** `failed`: it will not be healthy any more. */
export interface Health {
  readonly is: "healthy" | "waiting" | "failed"
  readonly why: string
}

const healthy: Health = { is: "healthy", why: "" }
const waiting = (why: string): Health => ({ is: "waiting", why })
const failed = (why: string): Health => ({ is: "failed", why })

const conditionOf = (object: unknown, type: string): unknown =>
  Fields.list(object, "status", "conditions").find((one) => Fields.text(one, "type") === type)
const isTrue = (condition: unknown): boolean => Fields.text(condition, "status") === "True"

/** `object`: as the server has it; undefined = it is not there. */
export const healthOf = (kind: string, object: unknown): Health => {
  if (object === undefined) return waiting("it is not there")
  const isSeen =
    (Fields.number(object, "status", "observedGeneration") ?? 0) >=
    (Fields.number(object, "metadata", "generation") ?? 0)
  const wanted = Fields.number(object, "spec", "replicas") ?? 1
  switch (kind) {
    case "Pod": {
      const phase = Fields.text(object, "status", "phase") ?? "Pending"
      if (phase === "Failed") return failed(Fields.text(object, "status", "message") ?? "it failed")
      if (phase === "Succeeded" || isTrue(conditionOf(object, "Ready"))) return healthy
      return waiting(`it is ${phase} and not ready`)
    }
    case "Deployment": {
      const available = Fields.number(object, "status", "availableReplicas") ?? 0
      if (isSeen && available >= wanted) return healthy
      const progress = conditionOf(object, "Progressing")
      const refused = conditionOf(object, "ReplicaFailure")
      if (isTrue(refused)) return failed(Fields.text(refused, "message") ?? "its pods are refused")
      if (Fields.text(progress, "reason") === "ProgressDeadlineExceeded") return failed("its progress deadline is over")
      return waiting(`${available} of ${wanted} replicas are available`)
    }
    case "ReplicaSet":
    case "StatefulSet": {
      const ready = Fields.number(object, "status", "readyReplicas") ?? 0
      return isSeen && ready >= wanted ? healthy : waiting(`${ready} of ${wanted} replicas are ready`)
    }
    case "Job": {
      const broken = conditionOf(object, "Failed")
      if (isTrue(broken)) return failed(Fields.text(broken, "message") ?? "it failed")
      const isUnderway = (Fields.number(object, "status", "ready") ?? 0) > 0
      return isUnderway || isTrue(conditionOf(object, "Complete")) ? healthy : waiting("no pod of it is ready")
    }
    default:
      return healthy
  }
}
