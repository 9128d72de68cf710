/**
 * Why the Docker backend does not start an instance, in the errors of the contract.
 *
 * @module
 */
import { type InstanceSpec, isSecretName } from "../ComputeBackend.ts"
import {
  BackendUnavailable,
  BadSpec,
  CommandNotFound,
  ImageNotFound,
  type LaunchError,
  NoCapacity,
  OutOfMemory
} from "../LaunchError.ts"
import { sidecarRefusal } from "../SidecarRefusal.ts"
import type { DaemonFailure } from "./DockerClient.ts"

export const unavailable = (operation: string, { detail }: { readonly detail: string }): BackendUnavailable =>
  new BackendUnavailable({ backend: "docker", operation, detail })

const badSpec = ({ instanceId }: InstanceSpec, field: string, detail: string): BadSpec =>
  new BadSpec({ instanceId, field, detail })

export interface Places {
  readonly instanceTypeName: string
  readonly total: number
  readonly free: number
  readonly gpuKind: string | undefined
  readonly gpusTotal: number
  readonly gpusFree: number
  /** Commands of this machine can be put into an image. */
  readonly runsCommands: boolean
}

/** Why this cannot be started here, if so; known before the daemon is asked. */
export const refusal = (spec: InstanceSpec, places: Places): LaunchError | undefined => {
  const { instanceId, gpu } = spec
  const beside = sidecarRefusal(spec, "docker")
  if (beside !== undefined) return beside
  if (spec.image === undefined && (!places.runsCommands || spec.command.length === 0)) {
    return badSpec(spec, "image", "the Docker backend runs images: give the version an image that the daemon has")
  }
  if (spec.command[0] === "")
    return badSpec(spec, "command", "its program is empty: name one, or leave the command out")
  if (spec.instanceType !== places.instanceTypeName) {
    const known = places.instanceTypeName
    return badSpec(spec, "instanceType", `there is no instance type ${spec.instanceType} here: deploy with ${known}`)
  }
  const secret = Object.keys(spec.secrets ?? {}).find((name) => !isSecretName(name))
  if (secret !== undefined) {
    return badSpec(spec, "secrets", `${JSON.stringify(secret)} is no name of a secret: use letters, digits, . _ and -`)
  }
  if (gpu.count > 0 && gpu.kind !== places.gpuKind) {
    const has = places.gpuKind === undefined ? "hands out no GPUs" : `has GPUs of the kind ${places.gpuKind} alone`
    return badSpec(spec, "gpu", `${gpu.count} × ${gpu.kind} were asked for and this Docker backend ${has}`)
  }
  if (gpu.count > places.gpusTotal) {
    return badSpec(spec, "gpu", `${gpu.count} GPUs were asked for and there are ${places.gpusTotal}: ask for fewer`)
  }
  if (places.free <= 0) return new NoCapacity({ instanceId, detail: `all ${places.total} places are taken` })
  if (gpu.count > places.gpusFree) {
    return new NoCapacity({ instanceId, detail: `${gpu.count} GPUs were asked for and ${places.gpusFree} are free` })
  }
  return undefined
}

/** A name that is taken by a container that is not ours. */
export const nameTaken = (spec: InstanceSpec, name: string): LaunchError =>
  badSpec(spec, "instanceId", `another container is called ${name} and is not Millrace's: rename or remove that one`)

export const withoutNvidia = (spec: InstanceSpec): LaunchError =>
  badSpec(
    spec,
    "gpu",
    "the Docker daemon has no NVIDIA runtime: install nvidia-container-toolkit, run `nvidia-ctk runtime configure " +
      "--runtime=docker` and restart the daemon"
  )

export const commandNotFound = (instanceId: string, program: string, reason: string): CommandNotFound => {
  const advice = "give the path that it has inside the image, and see that others may execute it"
  return new CommandNotFound({ instanceId, program, detail: `${program} cannot be run (${reason}): ${advice}` })
}

const matches: ReadonlyArray<readonly [RegExp, (spec: InstanceSpec, detail: string) => LaunchError]> = [
  [
    /no such image|unable to find image/i,
    ({ instanceId, image = "" }, detail) => new ImageNotFound({ instanceId, image, detail })
  ],
  [
    /minimum memory limit|oom-killed/i,
    ({ instanceId, memoryBytes }, detail) => new OutOfMemory({ instanceId, memoryBytes, detail })
  ],
  [/range of cpus/i, (spec, detail) => badSpec(spec, "cpuMillis", `${detail}: ask for no more than the machine has`)],
  [
    /device driver|nvidia|capabilities: \[\[gpu\]\]/i,
    (spec, detail) => badSpec(spec, "gpu", `the daemon cannot give it a GPU: ${detail}`)
  ],
  [
    /chdir to cwd|mkdir .*read-only file system|working directory/i,
    (spec, detail) =>
      badSpec(
        spec,
        "workingDirectory",
        `the image has no folder ${spec.workingDirectory ?? "of that name"} (${detail})`
      )
  ],
  [
    /executable file not found|no such file or directory|permission denied|exec format error/i,
    ({ instanceId, command: [program = "its own program"] }, detail) => commandNotFound(instanceId, program, detail)
  ]
]

/** What the daemon's answer to a create or a start means for the instance. */
export const launchFailure = (spec: InstanceSpec, failure: DaemonFailure): LaunchError => {
  const detail = failure.detail.slice(0, 1_000)
  // What the container's runtime says about the container comes as a 500 too.
  if (failure.kind !== "unavailable" || /OCI runtime|shim/.test(detail)) {
    const known = matches.find(([pattern]) => pattern.test(detail))
    if (known !== undefined) return known[1](spec, detail)
    return badSpec(spec, "container", `the Docker daemon refused to ${failure.operation}: ${detail}`)
  }
  return unavailable("launch", { detail })
}
