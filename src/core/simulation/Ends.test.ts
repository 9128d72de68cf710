/** Instances that end in more than one way at once. */
import { assert, describe, it } from "vitest"
import { defaults } from "../buffer/BufferOptions.ts"
import * as Policies from "../scaling/Policies.ts"
import * as Arrivals from "./Arrivals.ts"
import * as GpuCluster from "./GpuCluster.ts"
import { type Fault, platformTimes } from "./Scenario.ts"
import * as Simulation from "./Simulation.ts"
import * as StartModel from "./StartModel.ts"

const run = (faults: ReadonlyArray<Fault>) =>
  Simulation.run({
    seed: 1,
    functions: [
      {
        name: "f",
        tenant: "t",
        policy: () => Policies.start("demand"),
        spec: { minInstances: 1, maxInstances: 1, concurrency: 1, idleWindowMs: 1_000 },
        instanceType: "one",
        gpu: { kind: "H100", count: 1 },
        clusters: [],
        start: { ...StartModel.fixed(100), stopMs: 1_000 },
        startDeadlineMs: 5_000,
        requestTimeoutMs: 60_000,
        maxAttempts: 2
      }
    ],
    clusters: [
      {
        name: "c",
        nodes: 1,
        gpusPerNode: 1,
        gpuKind: "H100",
        slotsPerNode: 0,
        instanceTypes: [{ name: "one", gpuCount: 1 }],
        pricePerHour: 1
      }
    ],
    arrivals: () => Arrivals.fromArrays({ atMs: [30_000], functions: [0], serviceMs: [100] }),
    faults,
    livenessMs: 60_000,
    sloWaitMs: 1_000,
    shards: 1,
    buffer: defaults,
    times: platformTimes,
    timelineMs: 0
  })

describe("an instance that is told to end", () => {
  it("and is lost with its cluster meanwhile ends once: its GPU is free once, for one other", () => {
    const restart: Fault = { kind: "agent-restart", atMs: 5_000, cluster: 0 }
    const lost: Fault = { kind: "cluster-lost", atMs: 5_500, toMs: 10_000, cluster: 0 }
    const [one, both] = [run([restart]), run([restart, lost])]
    assert.deepStrictEqual(
      [one, both].map(({ coldStarts, open }) => [coldStarts, open]),
      [
        [2, 0],
        [2, 0]
      ]
    )
    assert.isBelow(both.instanceSeconds, one.instanceSeconds)
  })
})

describe("a fault of a cluster of GPUs", () => {
  it("that is of no kind is refused", () => {
    const state = GpuCluster.make(
      { seed: 1, groups: [], start: StartModel.fixed(1), gpuStart: StartModel.fixed(1), rates: GpuCluster.noFaults },
      0
    )
    const fault = { kind: "meteor" } as never
    assert.throws(() => GpuCluster.step(state, GpuCluster.Event.Faulted({ nowMs: 0, fault })))
  })
})
