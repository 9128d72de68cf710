/**
 * What only a backend can run that puts a worker of its own beside it: charts, and servers that speak no worker protocol.
 *
 * @module
 */
import type { InstanceSpec } from "./ComputeBackend.ts"
import { BadSpec } from "./LaunchError.ts"

/** Of a backend without either; undefined = the spec asks for neither. */
export const sidecarRefusal = ({ instanceId, chart, health }: InstanceSpec, backend: string): BadSpec | undefined => {
  if (chart !== undefined) {
    const detail = `the ${backend} backend runs no charts: deploy it to a cluster whose agent has the backend kubernetes`
    return new BadSpec({ instanceId, field: "chart", detail })
  }
  if (health === undefined) return undefined
  const detail = `the ${backend} backend has no sidecar: wrap the server, \`millrace worker wrap --forward URL --health PATH -- command\``
  return new BadSpec({ instanceId, field: "health", detail })
}
