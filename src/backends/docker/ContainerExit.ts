/**
 * How a container ended, as the daemon tells it.
 *
 * @module
 */
import type { ContainerInspectInfo } from "dockerode"
import type { Exit } from "../ComputeBackend.ts"
import { signalOf } from "../SignalNames.ts"
import { commandNotFound } from "./LaunchRefusal.ts"

/** What the daemon's first process says when it cannot run the instance's own. */
const initFailure = /^\[FATAL tini \(\d+\)\] exec (.+) failed: (.+)$/m

/** The daemon tells an end by a signal as 128 and its number, as a shell does. */
export const exitOf = (
  instanceId: string,
  state: ContainerInspectInfo["State"] | undefined,
  lastOutput: string
): Exit => {
  if (state === undefined) return { kind: "lost", detail: "its container was removed by somebody else" }
  const [said, program = "", reason = ""] = initFailure.exec(lastOutput) ?? []
  if (said !== undefined && (state.ExitCode === 127 || state.ExitCode === 126)) {
    return { kind: "start-failed", error: commandNotFound(instanceId, program, reason) }
  }
  const { ExitCode: code, OOMKilled } = state
  const signal = signalOf(code)
  if (OOMKilled && code !== 0) return { kind: "out-of-memory" }
  // V8 aborts when its heap is full.
  if (signal === "SIGABRT" && lastOutput.includes("heap out of memory")) return { kind: "out-of-memory" }
  return signal === undefined ? { kind: "code", code } : { kind: "signal", signal }
}
