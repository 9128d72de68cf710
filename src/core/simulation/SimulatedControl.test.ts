/** What the control plane of a simulation sees, when it looks, and what it does about what it does not hear. */
import { assert, describe, it } from "vitest"
import { cluster, type Plan, planned, scenario, target } from "../../../property-tests/SmallScenario.ts"
import type { Observation } from "../scaling/Policy.ts"
import * as Distribution from "./Distribution.ts"
import { type Fault, type PlatformTimes, platformTimes, type SimulatedFunction } from "./Scenario.ts"
import * as Simulation from "./Simulation.ts"
import * as StartModel from "./StartModel.ts"

interface World {
  /** [atMs, serviceMs] */
  readonly calls: ReadonlyArray<readonly [number, number]>
  readonly plan: Plan
  readonly faults?: ReadonlyArray<Fault>
  readonly times?: Partial<PlatformTimes>
  readonly clusters?: ReadonlyArray<string>
  readonly more?: Partial<SimulatedFunction>
}

/** One function, for which the plan says what is desired from each time on; and all that its policy was shown. */
const watched = ({ calls, plan, faults = [], times = {}, clusters = ["a"], more = {} }: World) => {
  const seen: Array<Observation> = []
  const policy = planned(plan, (observation) => seen.push(observation))
  const simulation = Simulation.start(
    scenario(
      calls.map(([atMs, serviceMs]) => [atMs, 0, serviceMs]),
      {
        functions: [{ ...target, policy, ...more }],
        clusters: clusters.map((name) => ({ ...cluster, name })),
        faults,
        times: { ...platformTimes, ...times }
      }
    )
  )
  return { seen, simulation }
}
const ended = (world: World) => {
  const { seen, simulation } = watched(world)
  while (!simulation.advance(1_000)) {
    // It goes on.
  }
  return { seen, result: simulation.result(), arrivals: simulation.arrivals() }
}

describe("what the policy of a function is shown", () => {
  it("is an age where something waits, and none where nothing does", () => {
    const { seen } = ended({ calls: [[1_000, 10]], plan: [[0, 1]] })
    const ages = seen.map(({ pending, oldestPendingMs }) => [pending, oldestPendingMs === null])
    assert.isAbove(ages.length, 3)
    for (const [pending, hasNoAge] of ages) assert.strictEqual(hasNoAge, pending === 0)
    const waiting = ended({ calls: [[0, 10]], plan: [[0, 1]] }).seen.filter(({ pending }) => pending === 1)
    assert.deepStrictEqual(
      waiting.map(({ nowMs, oldestPendingMs }) => [nowMs, oldestPendingMs]),
      // The call, the start of the instance, and its word that it is ready.
      [
        [0, 0],
        [3, 3],
        [103, 103]
      ]
    )
  })

  it("is how long the oldest has waited, and unknown as soon as nothing is heard of it", () => {
    const { seen } = ended({
      calls: [[1_000, 10]],
      plan: [
        [0, 0],
        [4_000, 1]
      ],
      faults: [{ kind: "telemetry-lost", atMs: 2_000, toMs: 3_000, function: 0 }]
    })
    const told = ({ nowMs, pending, leased, oldestPendingMs, arrivalsTotal }: Observation) =>
      [nowMs, pending, leased, oldestPendingMs, arrivalsTotal] as const
    const times = [1_000, 1_003, 1_103, 2_000, 3_000]
    assert.deepStrictEqual(seen.filter(({ nowMs }) => times.includes(nowMs)).map(told), [
      // The call, the start of the instance, and its word that it is ready.
      [1_000, 1, 0, 0, 1],
      [1_003, 1, 0, 3, 1],
      [1_103, 1, 0, 103, 1],
      [2_000, "unknown", "unknown", "unknown", "unknown"],
      [3_000, 0, 0, null, 1]
    ])
  })

  it("is no worker that was cut off before its word that it is ready was heard", () => {
    const { seen } = ended({
      calls: [
        [0, 10],
        [6_000, 10]
      ],
      plan: [[0, 1]],
      times: { reportMs: 300 },
      faults: [{ kind: "partition", atMs: 200, toMs: 5_000, cluster: 0 }],
      more: { startDeadlineMs: 60_000 }
    })
    // It was ready at 102 ms, its word came at 402 ms, and that of its agent as soon as the cut was mended.
    const readyAtMs = seen.filter(({ ready }) => ready > 0).map(({ nowMs }) => nowMs)
    assert.strictEqual(readyAtMs[0], 5_000)
  })
})

describe("the control plane looks at a function", () => {
  it("once for all that happens to it in one look, however many are drained", () => {
    const { seen } = ended({
      calls: [
        [0, 10],
        [2_000, 10]
      ],
      plan: [
        [0, 3],
        [1_000, 0],
        [2_000, 1]
      ]
    })
    const looks = seen.filter(({ nowMs }) => nowMs === 1_000).map(({ ready, draining }) => [ready, draining])
    assert.deepStrictEqual(looks, [
      [3, 0],
      [0, 3]
    ])
  })

  it("when an agent tells another phase of a start, and not when it tells the same one", () => {
    const phase = (name: "image" | "weights", ms: number) => ({ name, duration: Distribution.constant(ms) })
    const start = { ...StartModel.fixed(0), phases: [phase("image", 300), phase("weights", 500)] }
    const { seen } = ended({ calls: [[0, 10]], plan: [[0, 1]], more: { start } })
    const looks = seen.filter(({ starting }) => starting > 0).map(({ nowMs }) => nowMs)
    assert.deepStrictEqual(looks, [0, 3, 303])
  })

  it("not again for figures that it has heard", () => {
    const { seen } = ended({
      // The second is served at once, the third waits for it, and the second ends before its own report is due.
      calls: [
        [0, 10],
        [1_000, 98],
        [1_097, 50],
        [1_400, 10]
      ],
      plan: [[0, 1]]
    })
    const looks = seen.filter(({ nowMs }) => nowMs > 900 && nowMs < 1_200).map(({ nowMs }) => nowMs)
    assert.deepStrictEqual(looks, [1_097, 1_100])
    const early = ended({
      // What was served at once is to be reported at 1.1 s, and has been with the call that waits.
      calls: [
        [0, 10],
        [1_000, 500],
        [1_050, 10]
      ],
      plan: [[0, 1]]
    }).seen.filter(({ nowMs }) => nowMs > 900 && nowMs < 1_200)
    assert.deepStrictEqual(
      early.map(({ nowMs }) => nowMs),
      [1_050]
    )
  })
})

describe("the control plane of a simulation", () => {
  it("hears nothing of a worker that ends behind a cut", () => {
    const { seen } = ended({
      calls: [[0, 20_000]],
      plan: [[0, 1]],
      faults: [
        { kind: "partition", atMs: 1_000, toMs: 30_000, cluster: 0 },
        { kind: "agent-restart", atMs: 2_000, cluster: 0 }
      ],
      more: { startDeadlineMs: 60_000 }
    })
    const again = seen.filter(({ nowMs, pending }) => nowMs > 1_000 && pending === 1)
    assert.strictEqual(again[0]?.nowMs, 30_000)
  })

  it("replaces an instance whose cluster is silent for too long, elsewhere", () => {
    const { seen, result } = ended({
      calls: [
        [0, 10],
        [15_000, 10]
      ],
      plan: [[0, 1]],
      clusters: ["a", "b"],
      faults: [{ kind: "partition", atMs: 1_000, toMs: 50_000, cluster: 0 }],
      more: { startDeadlineMs: 120_000 }
    })
    assert.strictEqual(result.ended.responded, 2)
    assert.isBelow(result.wait.max, 200)
    // Cut at 1 s, and given up when it was unreachable for 10 s.
    assert.isTrue(seen.some(({ nowMs, starting, ready }) => nowMs === 11_000 && starting + ready === 0))
  })

  it("misses what its agent does not list any more, before it is told of its end", () => {
    const { seen, result } = ended({
      calls: [[0, 20_000]],
      plan: [[0, 1]],
      times: { reportMs: 3_000 },
      faults: [
        { kind: "partition", atMs: 1_000, toMs: 2_000, cluster: 0 },
        { kind: "instance-dies", atMs: 5_500 }
      ],
      more: { startDeadlineMs: 60_000 }
    })
    // Listed two heartbeats after the cut; word of its end would come at 8.5 s.
    assert.isTrue(seen.some(({ nowMs, starting, ready }) => nowMs === 6_000 && starting + ready === 0))
    assert.deepStrictEqual([result.ended.responded, result.redelivered], [1, 1])
  })

  it("misses nothing of a cluster when another one tells what it has", () => {
    const { seen } = ended({
      calls: [[0, 20_000]],
      plan: [[0, 1]],
      clusters: ["a", "b"],
      times: { reportMs: 3_000 },
      faults: [
        { kind: "partition", atMs: 1_000, toMs: 2_000, cluster: 0 },
        { kind: "instance-dies", atMs: 5_500 }
      ],
      more: { startDeadlineMs: 60_000, clusters: ["b"] }
    })
    const isGone = seen.filter(({ nowMs, starting, ready }) => nowMs > 1_000 && starting + ready === 0)
    assert.strictEqual(isGone[0]?.nowMs, 8_500)
  })

  it("lets a worker finish what it holds that it drains before it has heard of it", () => {
    const { result } = ended({
      calls: [
        [0, 3_000],
        [0, 3_000]
      ],
      plan: [
        [0, 2],
        [300, 1]
      ],
      times: { reportMs: 300 }
    })
    assert.deepStrictEqual([result.ended.responded, result.redelivered], [2, 0])
  })

  it("is not told that a worker was cut off which had said goodbye before", () => {
    const { seen } = ended({
      calls: [
        [0, 10],
        [4_000, 10]
      ],
      plan: [[0, 1]],
      faults: [
        { kind: "agent-restart", atMs: 1_000, cluster: 0 },
        { kind: "partition", atMs: 2_000, toMs: 2_500, cluster: 0 }
      ],
      more: { start: { ...StartModel.fixed(100), stopMs: 10_000 } }
    })
    const changes = seen.filter(({ nowMs, ready }) => nowMs > 500 && nowMs < 2_500 && ready === 0)
    assert.deepStrictEqual(changes, [])
  })

  it("starts what no cluster had room for when a cluster comes back, without being asked again", () => {
    const { result } = ended({
      calls: [[15_000, 10]],
      plan: [
        [0, 0],
        [15_000, 1]
      ],
      faults: [{ kind: "partition", atMs: 0, toMs: 20_000, cluster: 0 }]
    })
    assert.strictEqual(result.ended.responded, 1)
    // Two heartbeats of its agent later.
    assert.closeTo(result.wait.max, 9_000, 150)
  })

  it("begins an order that is exactly as old as its start deadline, and ends it then", () => {
    const { result } = ended({
      calls: [[0, 10]],
      plan: [[0, 1]],
      times: { orderMs: 400 },
      more: { startDeadlineMs: 400, requestTimeoutMs: 500 }
    })
    assert.deepStrictEqual([result.coldStarts, result.ended.expired], [1, 1])
  })

  it("lets a drained worker finish all that it holds, and not only the first of it", () => {
    const { result, arrivals } = ended({
      calls: [
        [0, 2_000],
        [0, 4_000],
        [0, 2_000],
        [0, 4_000]
      ],
      plan: [
        [0, 2],
        [1_000, 1]
      ],
      more: { spec: { minInstances: 0, maxInstances: 4, concurrency: 2, idleWindowMs: 1_000 } }
    })
    assert.deepStrictEqual([arrivals, result.ended.responded, result.redelivered], [4, 4, 0])
    assert.closeTo(result.spanMs, 4_102, 2)
  })

  it("has an instance on no node before its order has arrived", () => {
    const { simulation } = watched({ calls: [[0, 10]], plan: [[0, 1]] })
    const places = () => simulation.inspect().instances.map(({ life, node }) => [life, node])
    assert.deepStrictEqual(places(), [["ordered", -1]])
    simulation.advance(2)
    assert.deepStrictEqual(places(), [["starting", 0]])
  })
})

describe("the wait of a request", () => {
  it("is measured once, though it was given out in the first moment and again", () => {
    const { result } = ended({
      calls: [[0, 500]],
      plan: [[0, 1]],
      times: { orderMs: 0, reportMs: 0 },
      more: { start: { ...StartModel.fixed(0), phases: [] } },
      faults: [{ kind: "instance-dies", atMs: 100 }]
    })
    assert.deepStrictEqual([result.redelivered, result.sloAttainment, result.wait.max], [1, 1, 0])
  })
})
