import { describe, expect, it } from "vitest"
import { healthOf } from "./Health.ts"

describe("health of a chart's objects", () => {
  const condition = (type: string, more: object = {}) => ({ conditions: [{ type, status: "True", ...more }] })
  it.each([
    ["Pod", { status: { phase: "Running", ...condition("Ready") } }, "healthy"],
    ["Pod", { status: { phase: "Running" } }, "waiting"],
    ["Pod", { status: { phase: "Failed" } }, "failed"],
    [
      "Deployment",
      { metadata: { generation: 2 }, spec: { replicas: 2 }, status: { observedGeneration: 2, availableReplicas: 2 } },
      "healthy"
    ],
    [
      "Deployment",
      { metadata: { generation: 3 }, spec: { replicas: 2 }, status: { observedGeneration: 2, availableReplicas: 2 } },
      "waiting"
    ],
    ["Deployment", { status: condition("ReplicaFailure", { message: "forbidden" }) }, "failed"],
    ["Deployment", { status: condition("Progressing", { reason: "ProgressDeadlineExceeded" }) }, "failed"],
    ["StatefulSet", { spec: { replicas: 1 }, status: { readyReplicas: 0 } }, "waiting"],
    ["Job", { status: condition("Complete") }, "healthy"],
    ["Job", { status: { ready: 1 } }, "healthy"],
    ["Job", { status: condition("Failed") }, "failed"],
    ["ConfigMap", {}, "healthy"],
    ["ConfigMap", undefined, "waiting"]
  ])("%s %j is %s", (kind, object, is) => {
    expect(healthOf(kind, object).is).toBe(is)
  })
})
