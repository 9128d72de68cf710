/**
 * One trace under several policies, each in a world of its own that is otherwise the same, with the offline optimum
 * beside it.
 *
 * @module
 */
import * as BufferOptions from "../core/buffer/BufferOptions.ts"
import * as Optimum from "../core/simulation/Optimum.ts"
import type { Fault, Scenario, SimulatedCluster } from "../core/simulation/Scenario.ts"
import * as Scenarios from "../core/simulation/Scenario.ts"
import * as Simulation from "../core/simulation/Simulation.ts"
import * as StartModel from "../core/simulation/StartModel.ts"
import type { Selected } from "./PolicySelection.ts"
import * as Trace from "./Trace.ts"

export interface Setting {
  readonly seed: number
  readonly start: StartModel.StartModel
  /** Requests that one instance takes at a time. */
  readonly slots: number
  readonly idleWindowMs: number
  readonly minInstances: number
  /** Undefined: as many as the clusters hold. */
  readonly maxInstances: number | undefined
  readonly sloWaitMs: number
  readonly clusters: number
  readonly nodes: number
  readonly gpusPerNode: number
  readonly gpusPerInstance: number
  readonly pricePerHour: number
  readonly faults: ReadonlyArray<Fault>
}

export const settingDefaults: Setting = {
  seed: 1,
  start: StartModel.models.find((model) => model.name === "lora") ?? StartModel.fixed(0),
  slots: 4,
  idleWindowMs: 60_000,
  minInstances: 0,
  maxInstances: undefined,
  sloWaitMs: 1_000,
  clusters: 2,
  nodes: 16,
  gpusPerNode: 8,
  gpusPerInstance: 1,
  pricePerHour: 2,
  faults: []
}

export interface Outcome {
  readonly policy: string
  readonly result: Simulation.Result
  /** The optimum that waits no longer than this policy's p99; undefined: there is none within the limits. */
  readonly optimumSeconds: number | undefined
  /** Instance-seconds over those of the optimum. */
  readonly ratio: number | undefined
}

const instanceType = "lab"
const gpuKind = "any"

export const scenario = (trace: Trace.Trace, setting: Setting, policy: Selected): Scenario => {
  const clusters = Array.from(
    { length: setting.clusters },
    (_, index): SimulatedCluster => ({
      name: `cluster-${index + 1}`,
      nodes: setting.nodes,
      gpusPerNode: setting.gpusPerNode,
      gpuKind,
      slotsPerNode: setting.gpusPerInstance === 0 ? 16 : 0,
      instanceTypes: [{ name: instanceType, gpuCount: setting.gpusPerInstance }],
      pricePerHour: setting.pricePerHour
    })
  )
  const room = clusters.reduce((sum, cluster) => sum + Scenarios.capacity(cluster, instanceType), 0)
  const peaks = policy.instances === "peak" ? Trace.peaks(trace) : []
  const maxInstances = setting.maxInstances ?? Math.max(1, room)
  const held = (index: number): number => {
    if (policy.instances === undefined) return setting.minInstances
    return policy.instances === "peak"
      ? Math.min(maxInstances, Math.max(1, Math.ceil((peaks[index] ?? 1) / setting.slots)))
      : policy.instances
  }
  /** A policy with a number of its own is given room for it; limits that are the caller's must fit each other. */
  const most = (index: number): number =>
    policy.instances === undefined && setting.maxInstances !== undefined
      ? setting.maxInstances
      : Math.max(maxInstances, held(index))
  return {
    seed: setting.seed,
    functions: trace.functions.map((name, index) => ({
      name,
      tenant: name,
      policy: policy.start,
      spec: {
        minInstances: held(index),
        maxInstances: most(index),
        concurrency: setting.slots,
        idleWindowMs: setting.idleWindowMs
      },
      instanceType,
      gpu: { kind: gpuKind, count: setting.gpusPerInstance },
      clusters: [],
      start: setting.start,
      startDeadlineMs: 600_000,
      requestTimeoutMs: 3_600_000,
      maxAttempts: 3
    })),
    clusters,
    arrivals: () => Trace.source(trace),
    faults: setting.faults,
    livenessMs: 4 * 3_600_000,
    sloWaitMs: setting.sloWaitMs,
    shards: 16,
    buffer: { ...BufferOptions.defaults, pendingCountMax: 1_000_000 },
    times: Scenarios.platformTimes,
    timelineMs: Trace.spanMs(trace)
  }
}

/** Virtual time done, and all of it; how many policies are done. */
export type Progress = (done: { readonly policy: string; readonly share: number }) => Promise<void>

const eventsPerTurn = 50_000

export const run = async (
  trace: Trace.Trace,
  setting: Setting,
  { policies, progress }: { readonly policies: ReadonlyArray<Selected>; readonly progress: Progress }
): Promise<ReadonlyArray<Outcome>> => {
  const span = Math.max(1, Trace.spanMs(trace))
  const outcomes: Array<Outcome> = []
  for (const [index, policy] of policies.entries()) {
    const simulation = Simulation.start(scenario(trace, setting, policy))
    const report = (share: number) => progress({ policy: policy.label, share: (index + share) / policies.length })
    await report(0)
    while (!simulation.advance(eventsPerTurn)) await report(Math.min(0.95, (simulation.nowMs() / span) * 0.95))
    const result = simulation.result()
    await report(0.95)
    const optimumSeconds = optimum(trace, setting, result.wait.p99)
    const ratio =
      optimumSeconds === undefined || optimumSeconds === 0 ? undefined : result.instanceSeconds / optimumSeconds
    outcomes.push({ policy: policy.label, result, optimumSeconds, ratio })
  }
  return outcomes
}

const windowsMax = 6_000
const windowMsMin = 100
/** Four times as many move the optimum of the shipped recordings by less than 1 %. */
const waysMax = 24

/** Seconds of instances, summed over the functions; undefined: some function cannot keep the bound. */
export const optimum = (trace: Trace.Trace, setting: Setting, waitMs: number): number | undefined => {
  const jobs = trace.functions.map((): Array<Optimum.Job> => [])
  trace.atMs.forEach((atMs, index) => {
    jobs[trace.functionOf[index]!]!.push({ atMs, serviceMs: trace.serviceMs[index]! })
  })
  const windowMs = Math.max(windowMsMin, Trace.spanMs(trace) / windowsMax)
  let sum = 0
  for (const own of jobs) {
    const cost = Optimum.instanceMs(own, {
      startMs: StartModel.typicalMs(setting.start),
      slots: setting.slots,
      minInstances: setting.minInstances,
      maxInstances: setting.maxInstances ?? Number.MAX_SAFE_INTEGER,
      waitMs,
      windowMs,
      waysMax
    })
    if (cost === undefined) return undefined
    sum += cost
  }
  return sum / 1_000
}

/** The optimum at several waits: the line that no policy can cross. */
export const frontier = (
  trace: Trace.Trace,
  setting: Setting,
  waits: ReadonlyArray<number>
): ReadonlyArray<{ readonly waitMs: number; readonly seconds: number }> =>
  waits.flatMap((waitMs) => {
    const seconds = optimum(trace, setting, waitMs)
    return seconds === undefined ? [] : [{ waitMs, seconds }]
  })
