/**
 * Why the process backend does not start an instance, in words that say what to do.
 *
 * @module
 */
import { statSync } from "node:fs"
import { type InstanceSpec, isSecretName } from "../ComputeBackend.ts"
import { BackendUnavailable, BadSpec, CommandNotFound, type LaunchError, NoCapacity } from "../LaunchError.ts"
import { sidecarRefusal } from "../SidecarRefusal.ts"

export interface Places {
  readonly instanceTypeName: string
  readonly free: number
  readonly total: number
}

/** Why this cannot be started here, if so; known before anything is tried. */
export const refusal = (spec: InstanceSpec, { instanceTypeName, free, total }: Places): LaunchError | undefined => {
  const { instanceId } = spec
  const bad = (field: string, detail: string) => new BadSpec({ instanceId, field, detail })
  const beside = sidecarRefusal(spec, "process")
  if (beside !== undefined) return beside
  if (spec.command.length === 0 || spec.command[0] === "") {
    return bad("command", "the process backend runs commands, not images: give the version a command")
  }
  if (spec.image !== undefined) {
    return bad("image", "the process backend runs no images: give the version a command alone, or use another backend")
  }
  if (spec.instanceType !== instanceTypeName) {
    return bad("instance type", `${spec.instanceType} is unknown here: deploy with ${instanceTypeName}`)
  }
  if (spec.gpu.count > 0) {
    return bad("gpu", `${spec.gpu.count} GPUs were asked for and the process backend hands out none: ask for none`)
  }
  const secret = Object.keys(spec.secrets ?? {}).find((name) => !isSecretName(name))
  if (secret !== undefined) {
    return bad("secrets", `${JSON.stringify(secret)} is no name of a secret: use letters, digits, ".", "_" and "-"`)
  }
  if (free <= 0) {
    return new NoCapacity({ instanceId, detail: `all ${total} places of the backend (instancesMax) are taken` })
  }
  return undefined
}

/** Causes that pass by themselves: too many processes or open files, too little memory. */
const passing = new Set(["EAGAIN", "EMFILE", "ENFILE", "ENOMEM"])

/** What the system's refusal means. `code`: of the system, for example ENOENT, or `control-group`. */
export const launchFailure = (
  spec: InstanceSpec,
  { code, message }: { readonly code: string; readonly message: string }
): LaunchError => {
  const { instanceId } = spec
  const program = spec.command[0] ?? ""
  if (code === "control-group") {
    const detail = `no control group could be made for it: ${message}`
    return new BackendUnavailable({ backend: "process", operation: `launch ${instanceId}`, detail })
  }
  if (passing.has(code)) {
    const detail = `the system refused another process (${code}): stop some, or raise its limits`
    return new NoCapacity({ instanceId, detail })
  }
  const directory = spec.workingDirectory
  if (directory !== undefined && !isDirectory(directory)) {
    const detail = `${directory} is not a directory that can be entered: create it`
    return new BadSpec({ instanceId, field: "working directory", detail })
  }
  switch (code) {
    case "ENOENT": {
      const detail = `${program} was not found: give its full path, or install it in the PATH`
      return new CommandNotFound({ instanceId, program, detail })
    }
    case "EACCES": {
      const detail = `${program} may not be executed (EACCES): check its mode, chmod +x`
      return new CommandNotFound({ instanceId, program, detail })
    }
    case "E2BIG": {
      const detail = "it and the environment together are too long for the system: shorten them"
      return new BadSpec({ instanceId, field: "command", detail })
    }
    default:
      return new BadSpec({ instanceId, field: "command", detail: `the system refused to run ${program}: ${message}` })
  }
}

const isDirectory = (path: string): boolean => {
  try {
    return statSync(path).isDirectory()
  } catch {
    return false
  }
}
