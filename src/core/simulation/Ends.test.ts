/** Instances that end in more than one way at once. */
import { assert, describe, it } from "vitest"
import { cluster, scenario, target } from "../../../property-tests/SmallScenario.ts"
import * as GpuCluster from "./GpuCluster.ts"
import type { Fault } from "./Scenario.ts"
import * as Simulation from "./Simulation.ts"
import * as StartModel from "./StartModel.ts"

/** One instance that is always wanted, on the one GPU that there is. */
const run = (faults: ReadonlyArray<Fault>) =>
  Simulation.run(
    scenario([[30_000, 0, 100]], {
      functions: [
        {
          ...target,
          spec: { ...target.spec, minInstances: 1, maxInstances: 1 },
          start: { ...target.start, stopMs: 1_000 }
        }
      ],
      clusters: [{ ...cluster, nodes: 1, gpusPerNode: 1, instanceTypes: [{ name: "one", gpuCount: 1 }] }],
      faults
    })
  )

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
