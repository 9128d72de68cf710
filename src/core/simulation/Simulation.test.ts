/** Whole runs in which one thing happens, told by their figures. */
import { assert, describe, it } from "vitest"
import { type Call, planned, scenario, target } from "../../../property-tests/SmallScenario.ts"
import { defaults } from "../buffer/BufferOptions.ts"
import * as Arrivals from "./Arrivals.ts"
import * as Distribution from "./Distribution.ts"
import * as Random from "./Random.ts"
import { platformTimes, type Scenario } from "./Scenario.ts"
import * as Simulation from "./Simulation.ts"

const run = (calls: ReadonlyArray<Call>, more: Partial<Scenario> = {}) => Simulation.run(scenario(calls, more))

describe("a run", () => {
  it("of one call starts one instance, answers, and pays for it until it is stopped", () => {
    const result = run([[0, 0, 400]])
    assert.strictEqual(result.ended.responded, 1)
    assert.deepStrictEqual([result.coldStarts, result.open, result.refused, result.redelivered], [1, 0, 0, 0])
    // The decision, the order, the start and the reports.
    assert.closeTo(result.wait.max, 100, 15)
    assert.strictEqual(result.sloAttainment, 1)
    assert.closeTo(result.instanceSeconds, result.spanMs / 1_000 - 0.003, 0.01)
    assert.closeTo(result.cost, (result.instanceSeconds / 3_600) * 36, 1e-9)
    assert.closeTo(result.busyShare, 0.4 / result.instanceSeconds, 1e-9)
    assert.isUndefined(result.picture)
  })

  it("of nothing costs nothing and keeps its objective", () => {
    const result = run([])
    assert.deepInclude(result, { arrivals: 0, cost: 0, busyShare: 0, sloAttainment: 1, directionChangesPerHour: 0 })
    assert.strictEqual(result.events, 0)
  })

  it("keeps a picture where one is asked for", () => {
    const { picture } = run(
      [
        [0, 0, 400],
        [50, 0, 400]
      ],
      { timelineMs: 600 }
    )
    assert.deepStrictEqual([picture?.arrivals[0], picture?.arrivals[50]], [1, 1])
    assert.isAbove(Math.max(...picture!.means.ready), 0.9)
    assert.isAbove(Math.max(...picture!.means.starting), 0.9)
    assert.isAbove(Math.max(...picture!.means.backlog), 0.9)
    assert.isAbove(Math.max(...picture!.means.desired), 0.9)
  })

  it("of functions without a GPU takes the slots of the nodes, one after the other, and pays for each", () => {
    const cpu = { ...target, instanceType: "cpu", gpu: { kind: "none", count: 0 } }
    const simulation = Simulation.start(
      scenario(
        [
          [0, 0, 900],
          [0, 0, 900],
          [0, 0, 900]
        ],
        { functions: [cpu] }
      )
    )
    let nodes: ReadonlyArray<number> = []
    while (!simulation.advance(5)) {
      const { instances } = simulation.inspect()
      const serving = instances.filter(({ life }) => life === "serving").map(({ node }) => node)
      if (serving.length > nodes.length) nodes = serving
    }
    assert.deepStrictEqual([...nodes].sort(), [0, 1], "two of three have room")
    const result = simulation.result()
    assert.strictEqual(result.ended.responded, 3)
    assert.isAbove(result.wait.max, 900)
    assert.closeTo(result.cost, (result.instanceSeconds / 3_600) * 36, 1e-9)
  })

  it("puts small ones where least is left, so that a large one finds a whole node", () => {
    const two = { ...target, name: "g", instanceType: "two", gpu: { kind: "H100", count: 2 } }
    const calls: ReadonlyArray<Call> = [
      [0, 0, 5_000],
      [10, 0, 5_000],
      [500, 1, 300]
    ]
    const result = run(calls, { functions: [target, two] })
    assert.strictEqual(result.ended.responded, 3)
    assert.isBelow(result.wait.max, 150)
    assert.strictEqual(result.failedStarts, 0)
  })

  it("in which two kinds are ordered for one room lets one of them try again", () => {
    const two = { ...target, name: "g", instanceType: "two", gpu: { kind: "H100", count: 2 } }
    const one = scenario(
      [
        [0, 0, 300],
        [0, 1, 300]
      ],
      { functions: [target, two] }
    )
    const result = Simulation.run({ ...one, clusters: [{ ...one.clusters[0]!, nodes: 1 }] })
    assert.strictEqual(result.ended.responded, 2)
    assert.isAbove(result.wait.max, 400)
  })

  it("a drained instance finishes what it holds, and one that is told to end while it starts is stopped", () => {
    const drained = {
      ...target,
      policy: planned([
        [0, 2],
        [1_000, 1]
      ])
    }
    const result = run(
      [
        [0, 0, 3_000],
        [0, 0, 3_000]
      ],
      { functions: [drained] }
    )
    assert.deepStrictEqual([result.ended.responded, result.redelivered, result.coldStarts], [2, 0, 2])
    const hasty = {
      ...target,
      policy: planned([
        [0, 3],
        [50, 1]
      ])
    }
    const slow = run([[0, 0, 300]], { functions: [hasty], times: { ...platformTimes, orderMs: 400 } })
    assert.deepStrictEqual([slow.ended.responded, slow.coldStarts], [1, 3])
  })

  it("a start without phases is at once, and one that always fails ends in nothing but failed starts", () => {
    const quick = { ...target, start: { ...target.start, phases: [] } }
    assert.isBelow(run([[0, 0, 10]], { functions: [quick] }).wait.max, 20)
    const broken = { ...target, requestTimeoutMs: 3_000, start: { ...target.start, failureShare: 1 } }
    const result = run([[0, 0, 10]], { functions: [broken] })
    assert.strictEqual(result.ended.expired, 1)
    assert.isAbove(result.failedStarts, 1)
    assert.strictEqual(result.sloAttainment, 0)
    assert.isAtLeast(result.wait.max, 2_900)
  })

  it("goes through its phases one after the other, on whichever cluster has the type", () => {
    const phase = (name: "image" | "weights", ms: number) => ({ name, duration: Distribution.constant(ms) })
    const phases = [phase("image", 300), phase("weights", 500)]
    const staged = { ...target, start: { ...target.start, phases } }
    const one = scenario([[0, 0, 10]], { functions: [staged] })
    const first = { ...one.clusters[0]!, name: "a", instanceTypes: [{ name: "cpu", gpuCount: 0 }] }
    const result = Simulation.run({ ...one, clusters: [first, one.clusters[0]!] })
    assert.closeTo(result.wait.max, 800, 15)
    assert.strictEqual(result.coldStarts, 1)
  })

  it("an order that is older than its start deadline is not begun", () => {
    const late = { ...target, startDeadlineMs: 300, requestTimeoutMs: 2_000 }
    const result = run([[0, 0, 10]], { functions: [late], times: { ...platformTimes, orderMs: 400 } })
    assert.deepStrictEqual([result.ended.expired, result.coldStarts], [1, 0])
  })

  it("a full queue refuses, and what was refused is not open", () => {
    const calls = Array.from({ length: 5 }, (): Call => [0, 0, 50])
    const result = run(calls, { buffer: { ...defaults, pendingCountMax: 2 } })
    assert.deepStrictEqual([result.refused, result.ended.responded, result.open], [3, 2, 0])
  })

  it("a request that takes longer than it may is cancelled, and its slot is free again", () => {
    const short = { ...target, requestTimeoutMs: 500, spec: { ...target.spec, maxInstances: 1 } }
    const result = run(
      [
        [0, 0, 30_000],
        [450, 0, 10]
      ],
      { functions: [short] }
    )
    assert.deepStrictEqual([result.ended.expired, result.ended.responded], [1, 1])
    assert.isBelow(result.spanMs, 5_000)
  })

  it("one of a function dies where that is asked for, and its request comes again elsewhere", () => {
    const functions = [target, { ...target, name: "g" }]
    const calls: ReadonlyArray<Call> = [
      [0, 0, 2_000],
      [0, 1, 2_000]
    ]
    const dies = (index?: number) =>
      run(calls, {
        functions,
        faults: [{ kind: "instance-dies", atMs: 1_000, ...(index === undefined ? {} : { function: index }) }]
      })
    for (const result of [dies(), dies(0), dies(1)]) {
      assert.deepStrictEqual([result.ended.responded, result.redelivered, result.coldStarts], [2, 1, 3])
    }
    const none = run([[0, 0, 10]], { faults: [{ kind: "instance-dies", atMs: 0 }] })
    assert.deepStrictEqual([none.ended.responded, none.redelivered], [1, 0])
  })

  it("cuts of one cluster that overlap are one cut, and all is well after the last", () => {
    const cut = (atMs: number, toMs: number) => ({ kind: "partition", atMs, toMs, cluster: 0 }) as const
    const result = run(
      [
        [0, 0, 100],
        [3_000, 0, 100]
      ],
      { faults: [cut(1_000, 30_000), cut(2_000, 60_000)] }
    )
    assert.strictEqual(result.ended.responded + result.ended.expired + result.ended["dead-lettered"], 2)
    assert.strictEqual(result.open, 0)
    assert.isAtLeast(result.spanMs, 60_000)
  })

  /** The instances at a time, by what they do. */
  const livesAt = (simulation: Simulation.Simulation, atMs: number): ReadonlyArray<string> => {
    while (simulation.nowMs() < atMs && !simulation.advance(1)) {
      // Not yet.
    }
    return simulation.inspect().instances.map(({ life }) => life)
  }
  const halved = {
    ...target,
    policy: planned([
      [0, 2],
      [1_000, 1]
    ])
  }

  it("what drains behind a cut is stopped when its drain is over, and the other serves on", () => {
    const simulation = Simulation.start(
      scenario(
        [
          [0, 0, 30_000],
          [0, 0, 30_000]
        ],
        { functions: [halved], faults: [{ kind: "partition", atMs: 1_500, toMs: 100_000, cluster: 0 }] }
      )
    )
    const servingAt = (atMs: number): number => livesAt(simulation, atMs).filter((life) => life === "serving").length
    assert.deepStrictEqual([servingAt(59_000), servingAt(99_000)], [2, 1])
  })

  it("an instance that died is told nothing when the deadline of its request comes before anybody knows", () => {
    const result = run([[0, 0, 9_000]], {
      functions: [{ ...target, requestTimeoutMs: 4_000 }],
      faults: [{ kind: "cluster-lost", atMs: 2_000, toMs: 20_000, cluster: 0 }]
    })
    assert.deepInclude(result.ended, { responded: 0, expired: 1 })
  })

  it("what is ending when its drain is over is not ended twice", () => {
    const slow = { ...halved, requestTimeoutMs: 6_000, start: { ...target.start, stopMs: 10_000 } }
    const calls: ReadonlyArray<Call> = [
      [0, 0, 3_000],
      [0, 0, 3_000],
      [8_000, 0, 10]
    ]
    const simulation = Simulation.start(scenario(calls, { functions: [slow] }))
    // Told at 1 s, done with its work at 3 s, and its drain would be over at 7 s.
    assert.deepStrictEqual([...livesAt(simulation, 8_000)].sort(), ["ending", "serving"])
    while (!simulation.advance(1_000)) {
      // It goes on.
    }
    const { coldStarts, ended, open } = simulation.result()
    assert.deepStrictEqual([coldStarts, ended.responded, open], [2, 3, 0])
  })

  it("an instance that dies as its agent tells what it has is missing, and is replaced", () => {
    const result = run([[0, 0, 20_000]], {
      faults: [
        { kind: "partition", atMs: 1_000, toMs: 2_000, cluster: 0 },
        { kind: "instance-dies", atMs: 5_999.5 }
      ]
    })
    assert.deepStrictEqual([result.ended.responded, result.redelivered, result.coldStarts], [1, 1, 2])
  })

  it("an instance takes as many GPUs as its type has on its cluster", () => {
    const there = { ...target, clusters: ["b"] }
    const one = scenario([[0, 0, 10]], { functions: [there] })
    const large = { ...one.clusters[0]!, name: "b", instanceTypes: [{ name: "one", gpuCount: 2 }] }
    const simulation = Simulation.start({ ...one, clusters: [one.clusters[0]!, large] })
    simulation.advance(2)
    assert.deepStrictEqual(
      simulation.inspect().instances.map(({ cluster, gpuCount }) => [cluster, gpuCount]),
      [[1, 2]]
    )
  })

  it("of two clusters that are free prefers the first, though the other has less that no instance can take", () => {
    const one = scenario([[0, 0, 10]], {
      functions: [{ ...target, instanceType: "two", gpu: { kind: "H100", count: 2 } }]
    })
    const [even] = one.clusters
    const simulation = Simulation.start({
      ...one,
      clusters: [
        { ...even!, gpusPerNode: 3 },
        { ...even!, name: "d" }
      ]
    })
    simulation.advance(2)
    assert.deepStrictEqual(
      simulation.inspect().instances.map(({ cluster }) => cluster),
      [0]
    )
  })

  it("pays for each GPU, of what has ended and of what still runs", () => {
    const twice = {
      ...target,
      policy: planned([
        [0, 1],
        [1_000, 0],
        [9_000, 1]
      ])
    }
    const costOf = (instanceType: string, count: number) =>
      run(
        [
          [0, 0, 10],
          [10_000, 0, 10]
        ],
        { functions: [{ ...twice, instanceType, gpu: { kind: "H100", count } }] }
      ).cost
    assert.isAbove(costOf("one", 1), 0)
    assert.closeTo(costOf("two", 2) / costOf("one", 1), 2, 1e-9)
  })

  it("is over when nothing happens any more for as long as it waits for what is open", () => {
    const cut = run([[0, 0, 50_000]], { livenessMs: 1_000 })
    assert.deepStrictEqual([cut.open, cut.ended.responded], [1, 0])
    // Its deadline is the very moment.
    const hasty = { ...target, requestTimeoutMs: 4_000 }
    const due = run([[0, 0, 50_000]], { functions: [hasty], livenessMs: 4_000 })
    assert.deepStrictEqual([due.open, due.ended.expired], [0, 1])
  })

  it("a call comes before what is due at the same moment", () => {
    const one = { ...target, policy: planned([[0, 1]]) }
    const result = run(
      [
        [0, 0, 10],
        [1_000, 0, 10]
      ],
      {
        functions: [one],
        faults: [{ kind: "instance-dies", atMs: 1_000 }]
      }
    )
    assert.deepStrictEqual([result.ended.responded, result.redelivered], [2, 1])
  })

  it("what died while it drained has ended once", () => {
    const calls: ReadonlyArray<Call> = [
      [0, 0, 30_000],
      [0, 0, 30_000]
    ]
    const lost = { kind: "cluster-lost", atMs: 2_000, toMs: 90_000, cluster: 0 } as const
    const hasty = { ...halved, requestTimeoutMs: 6_000 }
    const { instanceSeconds, coldStarts } = run(calls, { functions: [hasty], faults: [lost] })
    assert.strictEqual(coldStarts, 2)
    assert.closeTo(instanceSeconds, 2 * 1.998, 0.01)
  })

  it("a slow start is slow for its time alone", () => {
    const slow = { kind: "slow-start", atMs: 0, toMs: 1_000, cluster: 0, factor: 20 } as const
    const idle = { ...target, spec: { ...target.spec, idleWindowMs: 10 } }
    const during = run([[10, 0, 10]], { functions: [idle], faults: [slow] })
    assert.closeTo(during.wait.max, 2_000, 30)
    const later = run([[1_500, 0, 10]], { functions: [idle], faults: [slow] })
    assert.closeTo(later.wait.max, 100, 15)
  })

  it("that cannot be is refused before it begins, and all that is wrong is said", () => {
    const impossible = () => Simulation.start(scenario([], { functions: [], clusters: [] }))
    assert.throws(
      impossible,
      Simulation.ImpossibleScenario,
      "this cannot be simulated: there is no function; there is no cluster"
    )
    try {
      impossible()
      assert.fail("it was begun")
    } catch (cause) {
      assert.propertyVal(cause, "_tag", "ImpossibleScenario")
    }
    // As `never`: what a file may hold, which the types rule out.
    const strange = { kind: "strange", atMs: 0 } as never
    assert.throws(() => run([[0, 0, 1]], { faults: [strange] }), /^unreachable case .*"kind":"strange"/)
  })

  it("draws its service times where they are drawn", () => {
    const pattern = { perSecond: 20, untilMs: 3_000, weights: [1], service: Distribution.constant(20) }
    const result = run([], { arrivals: () => Arrivals.poisson(Random.make(4), pattern) })
    assert.isAbove(result.arrivals, 30)
    assert.strictEqual(result.ended.responded, result.arrivals)
  })
})
