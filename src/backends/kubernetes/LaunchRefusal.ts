/**
 * What of a spec cannot be had on this cluster, known before anything is asked of it.
 *
 * @module
 */
import { type Capacity, type InstanceSpec, isSecretName } from "../ComputeBackend.ts"
import { BadSpec } from "../LaunchError.ts"
import { isEnvironmentName, type PodOptions } from "./PodOf.ts"

/** Of all values and names together; etcd takes no object beyond 1.5 MiB. */
const secretBytesMax = 1024 * 1024
const portMax = 65_535

export interface Possible extends PodOptions {
  /** Charts are carried out. */
  readonly miniServices?: boolean
}

export const badSpec = (spec: InstanceSpec, capacity: Capacity, options: Possible): BadSpec | undefined => {
  const { instanceId } = spec
  const bad = (field: string, detail: string) => new BadSpec({ instanceId, field, detail })
  if (spec.chart !== undefined) {
    const refused = badChart(spec, options)
    if (refused !== undefined) return refused
  } else if (spec.image === undefined || spec.image === "") {
    if (options.functionImage === undefined) {
      return bad(
        "image",
        "Kubernetes runs images only: give the version an image, its command may stay; or the backend one with Node, for functions that are a folder (functionImage, --image)"
      )
    }
    if (spec.command.length === 0 || spec.workingDirectory === undefined) {
      return bad("image", "without an image, the function is a folder of this machine and a command: name both")
    }
  }
  const { gpu, instanceType } = spec
  const kinds = capacity.instanceTypes.filter((one) => one.gpuCount > 0).map((one) => one.gpuKind)
  if (gpu.count > 0 && !kinds.includes(gpu.kind)) {
    return bad("gpu", `no usable node has a GPU ${gpu.kind}; there are: ${[...new Set(kinds)].join(", ") || "none"}`)
  }
  const type = capacity.instanceTypes.find((one) => one.name === instanceType)
  if (type === undefined) {
    const names = capacity.instanceTypes.map((one) => one.name)
    return bad("instanceType", `there is no type ${instanceType}; there are: ${names.join(", ") || "none"}`)
  }
  if (type.gpuCount !== gpu.count || (gpu.count > 0 && type.gpuKind !== gpu.kind)) {
    const has = `${type.gpuCount} of ${type.gpuKind}`
    return bad(
      "gpu",
      `the type ${instanceType} has ${has}, and ${gpu.count} of ${gpu.kind} are asked for: make them agree`
    )
  }
  const environment = Object.keys(spec.environment).find((name) => !isEnvironmentName(name))
  if (environment !== undefined) {
    return bad("environment", `${JSON.stringify(environment)} cannot be the name of a variable: letters, digits, . _ -`)
  }
  const secret = Object.keys(spec.secrets ?? {}).find((name) => !isSecretName(name))
  if (secret !== undefined) {
    return bad("secrets", `${JSON.stringify(secret)} cannot be the name of a file: use 1 to 100 of A-Z a-z 0-9 . _ -`)
  }
  const bytes = Object.entries({ ...spec.environment, ...spec.secrets }).reduce(
    (sum, [name, value]) => sum + name.length + Buffer.byteLength(value),
    0
  )
  if (bytes > secretBytesMax) {
    return bad("secrets", `environment and secrets are ${bytes} bytes together, and ${secretBytesMax} are the most`)
  }
  return badHealth(spec, options)
}

const badChart = (spec: InstanceSpec, { miniServices, workerImage }: Possible): BadSpec | undefined => {
  const { instanceId, command, image, health } = spec
  const bad = (detail: string) => new BadSpec({ instanceId, field: "chart", detail })
  if (command.length > 0 || image !== undefined || health !== undefined) {
    return bad("a chart says what runs: leave out command, image and health")
  }
  if (miniServices !== true) {
    return bad(
      "this cluster runs no charts: apply deploy/kubernetes/mini-services.yaml and tell the agent (miniServices, agent.charts)"
    )
  }
  return workerImage === undefined
    ? bad("a worker stands beside a chart: give the backend an image with the millrace command (workerImage)")
    : undefined
}

const badHealth = ({ instanceId, health }: InstanceSpec, options: PodOptions): BadSpec | undefined => {
  if (health === undefined) return undefined
  const bad = (detail: string) => new BadSpec({ instanceId, field: "health", detail })
  if (options.workerImage === undefined) {
    return bad("a server that speaks no worker protocol needs a sidecar: give the backend a workerImage")
  }
  if (!health.path.startsWith("/")) return bad(`the path ${health.path} does not begin with /`)
  return health.port >= 1 && health.port <= portMax ? undefined : bad(`there is no port ${health.port}`)
}
