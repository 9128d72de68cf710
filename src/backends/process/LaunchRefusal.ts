/**
 * Why the process backend does not start an instance, in words that say what to do.
 *
 * @module
 */
import { statSync } from "node:fs"
import { type InstanceSpec, LaunchFailed } from "../ComputeBackend.ts"

export interface Places {
  readonly instanceTypeName: string
  readonly free: number
  readonly total: number
}

/** Why this cannot be started here, if so; known before anything is tried. */
export const refusal = (spec: InstanceSpec, { instanceTypeName, free, total }: Places): LaunchFailed | undefined => {
  const no = (reason: LaunchFailed["reason"], detail: string, retryable: boolean) =>
    new LaunchFailed({ instanceId: spec.instanceId, reason, detail, retryable })
  if (spec.command.length === 0 || spec.command[0] === "") {
    return no("bad-spec", "the process backend runs commands, not images: give the version a command", false)
  }
  if (spec.instanceType !== instanceTypeName) {
    return no("bad-spec", `instance type ${spec.instanceType} is unknown here: deploy with ${instanceTypeName}`, false)
  }
  if (spec.gpu.count > 0) {
    return no("no-capacity", `${spec.gpu.count} GPUs were asked for and the process backend hands out none`, false)
  }
  if (free <= 0) {
    return no("no-capacity", `all ${total} places are taken: raise the backend's instancesMax or lower a minimum`, true)
  }
  return undefined
}

/** Causes that pass by themselves: too many processes or open files, too little memory. */
const passing = new Set(["EAGAIN", "EMFILE", "ENFILE", "ENOMEM"])

/** What the system's refusal means. `code`: of the system, for example ENOENT. */
export const launchFailure = (
  spec: InstanceSpec,
  { code, message }: { readonly code: string; readonly message: string }
): LaunchFailed => {
  const program = spec.command[0] ?? ""
  const no = (reason: LaunchFailed["reason"], detail: string, retryable = false) =>
    new LaunchFailed({ instanceId: spec.instanceId, reason, detail, retryable })
  if (passing.has(code)) {
    return no("no-capacity", `the system refused another process (${code}): stop some, or raise its limits`, true)
  }
  const directory = spec.workingDirectory
  if (directory !== undefined && !isDirectory(directory)) {
    return no("bad-spec", `the working directory ${directory} is not a directory that can be entered: create it`)
  }
  switch (code) {
    case "ENOENT":
      return no("command-not-found", `${program} was not found: give its full path, or install it in the PATH`)
    case "EACCES":
      return no("command-not-found", `${program} may not be executed (EACCES): check its mode, chmod +x`)
    case "E2BIG":
      return no("bad-spec", "command and environment together are too long for the system: shorten them")
    default:
      return no("bad-spec", `the system refused to run ${program}: ${message}`)
  }
}

const isDirectory = (path: string): boolean => {
  try {
    return statSync(path).isDirectory()
  } catch {
    return false
  }
}
