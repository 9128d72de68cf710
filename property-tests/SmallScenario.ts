/**
 * A small world to simulate: one function on one cluster of two nodes with two GPUs each, and calls that are told one by
 * one. An instance starts in 100 ms.
 *
 * @module
 */
import { defaults } from "../src/core/buffer/BufferOptions.ts"
import * as Policies from "../src/core/scaling/Policies.ts"
import type { Observation, Policy } from "../src/core/scaling/Policy.ts"
import * as Scaling from "../src/core/scaling/Scaling.ts"
import * as Arrivals from "../src/core/simulation/Arrivals.ts"
import {
  platformTimes,
  type Scenario,
  type SimulatedCluster,
  type SimulatedFunction
} from "../src/core/simulation/Scenario.ts"
import * as StartModel from "../src/core/simulation/StartModel.ts"

export const target: SimulatedFunction = {
  name: "f",
  tenant: "t",
  policy: () => Policies.start("demand"),
  spec: { minInstances: 0, maxInstances: 4, concurrency: 1, idleWindowMs: 1_000 },
  instanceType: "one",
  gpu: { kind: "H100", count: 1 },
  clusters: [],
  start: StartModel.fixed(100),
  startDeadlineMs: 5_000,
  requestTimeoutMs: 60_000,
  maxAttempts: 2
}

export const cluster: SimulatedCluster = {
  name: "c",
  nodes: 2,
  gpusPerNode: 2,
  gpuKind: "H100",
  slotsPerNode: 1,
  instanceTypes: [
    { name: "one", gpuCount: 1 },
    { name: "two", gpuCount: 2 },
    { name: "cpu", gpuCount: 0 }
  ],
  pricePerHour: 36
}

export type Call = readonly [atMs: number, function: number, serviceMs: number]

export const scenario = (calls: ReadonlyArray<Call>, more: Partial<Scenario> = {}): Scenario => ({
  seed: 1,
  functions: [target],
  clusters: [cluster],
  arrivals: () =>
    Arrivals.fromArrays({
      atMs: calls.map(([atMs]) => atMs),
      functions: calls.map(([, index]) => index),
      serviceMs: calls.map(([, , serviceMs]) => serviceMs)
    }),
  faults: [],
  livenessMs: 60_000,
  sloWaitMs: 1_000,
  shards: 1,
  buffer: defaults,
  times: platformTimes,
  timelineMs: 0,
  ...more
})

export type Plan = ReadonlyArray<readonly [fromMs: number, desired: number]>

/** Desires what is said from each time on, whatever the demand. `see`: is shown what the policy is shown. */
export const planned =
  (plan: Plan, see: (observation: Observation) => void = () => {}) =>
  (): Scaling.Running => {
    const policy: Policy<null> = {
      name: "planned",
      empty: null,
      decide: (memory, observation) => {
        see(observation)
        const { nowMs } = observation
        const desired = plan.filter(([fromMs]) => nowMs >= fromMs).at(-1)?.[1] ?? 0
        const wakeAtMs = plan.find(([fromMs]) => nowMs < fromMs)?.[0] ?? null
        return [memory, { desired, reason: "planned", inputs: {}, wakeAtMs }]
      }
    }
    return Scaling.running(policy)
  }
