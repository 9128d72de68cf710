/**
 * A spec of a small Node program.
 *
 * @module
 */
import type { InstanceSpec } from "../../src/backends/ComputeBackend.ts"

export const nodeSpec = (
  instanceId: string,
  script: string,
  environment: Readonly<Record<string, string>> = {},
  nodeFlags: ReadonlyArray<string> = []
): InstanceSpec => ({
  instanceId,
  functionId: "f",
  functionName: "f",
  versionId: "v",
  command: ["node", ...nodeFlags, "-e", script],
  environment,
  gpu: { kind: "none", count: 0 },
  instanceType: "local",
  cpuMillis: 1_000,
  memoryBytes: 512 * 1024 * 1024,
  startDeadlineMs: 10_000,
  graceMs: 1_000
})
