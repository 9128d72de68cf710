import { describe, expect, it } from "vitest"
import {
  at,
  launchedAtMs,
  pod,
  request,
  running,
  scheduled,
  terminated,
  waiting
} from "../../../tests/backends/kubernetes/objects.ts"
import type { InstanceSpec } from "../ComputeBackend.ts"
import { type Reading, read, type Suspicion, thresholdsDefault } from "./PodState.ts"
import type { PodView } from "./PodView.ts"

const minute = 60
const hour = 3_600

const readAt = (
  seconds: number,
  one: PodView,
  change: { suspicion?: Suspicion; spec?: Partial<InstanceSpec> } = {}
): Reading =>
  read(one, {
    nowMs: launchedAtMs + seconds * 1_000,
    launchedAtMs,
    spec: request({ spec: change.spec ?? {} }).spec,
    thresholds: thresholdsDefault,
    suspicion: change.suspicion
  })

/** The last second at which all is well, and the cause from the next one on. */
const turnsBadAt = (seconds: number, cause: string, one: PodView, change: Parameters<typeof readAt>[2] = {}) => {
  expect(readAt(seconds - 1, one, change).bad).toBeUndefined()
  expect(readAt(seconds - 1, one, change).wakeAtMs).toBe(launchedAtMs + seconds * 1_000)
  expect(readAt(seconds, one, change).bad?.cause).toBe(cause)
}

const unscheduled = pod({
  node: undefined,
  status: {
    phase: "Pending",
    conditions: [{ type: "PodScheduled", status: "False", message: "0/3 nodes: Insufficient nvidia.com/gpu" }]
  }
})

describe("what the state of a pod means", () => {
  it("a pod that nobody schedules is given up after ten minutes for want of capacity, with the scheduler's words", () => {
    turnsBadAt(10 * minute, "instance-terminated-no-capacity", unscheduled)
    expect(readAt(10 * minute, unscheduled).bad?.detail).toContain("Insufficient")
    expect(readAt(1, unscheduled).phase).toBe("schedule")
  })

  it("a start deadline that is shorter than the threshold wins", () => {
    turnsBadAt(30, "start-deadline", unscheduled, { spec: { startDeadlineMs: 30_000 } })
  })

  it("an image that cannot be pulled may recover for a minute from when that was first seen", () => {
    const one = pod({ status: waiting("ImagePullBackOff", "not found") })
    const first = readAt(100, one)
    expect(first.bad).toBeUndefined()
    expect(first.suspicion).toEqual({ cause: "image-pull-issues", sinceMs: launchedAtMs + 100_000 })
    turnsBadAt(160, "image-pull-issues", one, first.suspicion === undefined ? {} : { suspicion: first.suspicion })
  })

  it("an image name that cannot be one, and a container that cannot be made, are bad at once", () => {
    expect(readAt(0, pod({ status: waiting("InvalidImageName") })).bad?.cause).toBe("image-pull-issues")
    expect(readAt(0, pod({ status: waiting("CreateContainerConfigError", "no secret") })).bad?.cause).toBe(
      "create-container-error"
    )
  })

  it("a pod that waits for its image is in the phase image, one whose init container works in weights", () => {
    expect(readAt(1, pod({ status: waiting("ContainerCreating") })).phase).toBe("image")
    const init = {
      phase: "Pending",
      conditions: [scheduled],
      initContainerStatuses: [{ name: "init", state: { running: { startedAt: at(1) } } }]
    }
    const one = pod({ status: init })
    expect(readAt(1, one).phase).toBe("weights")
    turnsBadAt(2 * hour, "init-container-stuck", one)
  })

  it("three restarts of the sidecar are a loop only when the instance is ten minutes old", () => {
    const looping = {
      initContainerStatuses: [{ name: "utils", restartCount: 3, state: { running: { startedAt: at(5) } } }]
    }
    turnsBadAt(10 * minute, "container-restart-loop", pod({ status: running(1, looping) }))
  })

  it("a server with a health path has two hours to be ready for the first time and half an hour to be so again", () => {
    const health = { spec: { health: { port: 80, path: "/" } } }
    const unready = (sinceSeconds: number) => ({
      conditions: [scheduled, { type: "Ready", status: "False", lastTransitionTime: at(sinceSeconds) }]
    })
    turnsBadAt(10 + 2 * hour, "degraded-worker", pod({ status: running(10, unready(0)) }), health)
    turnsBadAt(500 + 30 * minute, "degraded-worker", pod({ status: running(10, unready(500)) }), health)
    expect(readAt(9 * hour, pod({ status: running(10, unready(0)) })).bad).toBeUndefined()
  })

  it("a process that runs is told with the time at which it began", () => {
    const reading = readAt(60, pod({ status: running(42) }))
    expect([reading.phase, reading.startedAtMs, reading.ended]).toEqual(["running", launchedAtMs + 42_000, undefined])
  })

  it("ends are told by code, by signal, and as out of memory", () => {
    const exitOf = (state: object, phase?: string) => readAt(60, pod({ status: terminated(state, phase) })).ended?.exit
    expect(exitOf({ exitCode: 7 })).toEqual({ kind: "code", code: 7 })
    expect(exitOf({ exitCode: 0 }, "Succeeded")).toEqual({ kind: "code", code: 0 })
    expect(exitOf({ exitCode: 140, signal: 12 })).toEqual({ kind: "signal", signal: "SIGUSR2" })
    expect(exitOf({ exitCode: 137, reason: "OOMKilled" })).toEqual({ kind: "out-of-memory" })
  })

  it("last words are the end of the message, at most 4 KiB of it", () => {
    const ended = readAt(60, pod({ status: terminated({ message: `${"x".repeat(9_000)}the end\n` }) })).ended
    expect(ended?.lastOutput.length).toBeLessThanOrEqual(4_096)
    expect(ended?.lastOutput.endsWith("the end")).toBe(true)
    expect(ended?.atMs).toBe(launchedAtMs + 9_000)
  })

  it("a program that is not in the image is a command that is not found, and its process never began", () => {
    const state = {
      exitCode: 128,
      reason: "StartError",
      message: 'exec: "serve": executable file not found in $PATH',
      startedAt: "1970-01-01T00:00:00Z"
    }
    const reading = readAt(60, pod({ status: terminated(state) }))
    expect(reading.startedAtMs).toBeUndefined()
    expect(reading.ended?.exit).toMatchObject({
      kind: "start-failed",
      error: { _tag: "CommandNotFound", program: "serve" }
    })
  })

  it("a node that would not take it after all, a preemption and an eviction are three things", () => {
    const failed = (reason: string, more: object = {}) =>
      readAt(60, pod({ status: { phase: "Failed", reason, message: "said", ...more } })).ended
    expect(failed("UnexpectedAdmissionError")).toMatchObject({
      cause: "instance-terminated-admission-error",
      exit: { kind: "start-failed", error: { _tag: "NoCapacity" } }
    })
    const disrupted = { conditions: [{ type: "DisruptionTarget", status: "True", reason: "PreemptionByScheduler" }] }
    expect(failed("", disrupted)?.exit.kind).toBe("preempted")
    expect(failed("Evicted", running(1, { phase: "Failed", reason: "Evicted", message: "disk" }))?.exit).toMatchObject({
      kind: "lost"
    })
  })

  it("an init container that fails ends the start, retryably", () => {
    const status = {
      phase: "Failed",
      conditions: [scheduled],
      initContainerStatuses: [{ name: "init", state: { terminated: { exitCode: 3 } } }]
    }
    expect(readAt(60, pod({ status })).ended?.exit).toMatchObject({
      kind: "start-failed",
      error: { _tag: "BackendUnavailable" }
    })
  })
})
