/**
 * Laws of the simulation and of the parts it is made of.
 *
 * Scenarios are drawn small and crowded: one to three functions on one or two clusters with few GPUs, bursts of arrivals
 * within seconds, up to four faults within them, so that most runs have work waiting while something breaks.
 */
import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import { defaults } from "../src/core/buffer/BufferOptions.ts"
import * as Policies from "../src/core/scaling/Policies.ts"
import { PolicyName } from "../src/core/scaling/PolicyChoice.ts"
import * as Arrivals from "../src/core/simulation/Arrivals.ts"
import * as Distribution from "../src/core/simulation/Distribution.ts"
import { EventQueue } from "../src/core/simulation/EventQueue.ts"
import * as Optimum from "../src/core/simulation/Optimum.ts"
import { QuantileSketch } from "../src/core/simulation/QuantileSketch.ts"
import * as Random from "../src/core/simulation/Random.ts"
import { type Fault, platformTimes, type Scenario } from "../src/core/simulation/Scenario.ts"
import * as Simulation from "../src/core/simulation/Simulation.ts"
import * as StartModel from "../src/core/simulation/StartModel.ts"
import { upholds } from "./upholds.ts"

const arrival = fc.record({
  atMs: fc.nat(20_000),
  function: fc.nat(2),
  serviceMs: fc.constantFrom(0, 10, 300, 4_000, 40_000)
})

const window = fc.record({ atMs: fc.nat(30_000), lengthMs: fc.constantFrom(0, 1_000, 20_000, 60_000) })

const fault: fc.Arbitrary<Fault> = fc.oneof(
  window.map(({ atMs }): Fault => ({ kind: "instance-dies", atMs })),
  window.map(({ atMs, lengthMs }): Fault => ({ kind: "cluster-lost", atMs, toMs: atMs + lengthMs, cluster: 0 })),
  window.map(({ atMs, lengthMs }): Fault => ({ kind: "partition", atMs, toMs: atMs + lengthMs, cluster: 0 })),
  window.map(
    ({ atMs, lengthMs }): Fault => ({ kind: "slow-start", atMs, toMs: atMs + lengthMs, cluster: 0, factor: 8 })
  ),
  window.map(({ atMs, lengthMs }): Fault => ({ kind: "telemetry-lost", atMs, toMs: atMs + lengthMs, function: 0 })),
  window.map(({ atMs }): Fault => ({ kind: "agent-restart", atMs, cluster: 0 }))
)

interface Drawn {
  readonly seed: number
  readonly functions: number
  readonly clusters: number
  readonly nodes: number
  readonly slots: number
  readonly policy: PolicyName
  readonly failureShare: number
  readonly requestTimeoutMs: number
  readonly arrivals: ReadonlyArray<{ readonly atMs: number; readonly function: number; readonly serviceMs: number }>
  readonly faults: ReadonlyArray<Fault>
}

const drawn: fc.Arbitrary<Drawn> = fc.record({
  seed: fc.nat(1_000_000),
  functions: fc.integer({ min: 1, max: 3 }),
  clusters: fc.integer({ min: 1, max: 2 }),
  nodes: fc.integer({ min: 1, max: 3 }),
  slots: fc.integer({ min: 1, max: 3 }),
  policy: fc.constantFrom("demand", ...PolicyName.literals),
  failureShare: fc.constantFrom(0, 0, 0.3),
  requestTimeoutMs: fc.constantFrom(600_000, 600_000, 20_000),
  arrivals: fc.array(arrival, { minLength: 1, maxLength: 40 }),
  faults: fc.array(fault, { maxLength: 4 })
})

const gpusPerNode = 2
const maxInstances = 5

const scenarioOf = (each: Drawn): Scenario => {
  const arrivals = [...each.arrivals].sort((one, other) => one.atMs - other.atMs)
  return {
    // A picture costs more than most of these runs.
    timelineMs: 0,
    seed: each.seed,
    functions: Array.from({ length: each.functions }, (_, index) => ({
      name: `function-${index}`,
      tenant: `tenant-${index % 2}`,
      policy: () => Policies.start(each.policy),
      spec: { minInstances: 0, maxInstances, concurrency: each.slots, idleWindowMs: 5_000 },
      instanceType: "small",
      gpu: { kind: "any", count: 1 },
      clusters: [],
      start: {
        ...StartModel.fixed(0),
        phases: [{ name: "weights", duration: { kind: "log-normal", medianMs: 800, sigma: 0.8 } }],
        stopMs: 20,
        failureShare: each.failureShare
      },
      startDeadlineMs: 30_000,
      requestTimeoutMs: each.requestTimeoutMs,
      maxAttempts: 3
    })),
    clusters: Array.from({ length: each.clusters }, (_, index) => ({
      name: `cluster-${index}`,
      nodes: each.nodes,
      gpusPerNode,
      gpuKind: "H100",
      slotsPerNode: 0,
      instanceTypes: [{ name: "small", gpuCount: 1 }],
      pricePerHour: 1
    })),
    arrivals: () =>
      Arrivals.fromArrays({
        atMs: arrivals.map(({ atMs }) => atMs),
        functions: arrivals.map((one) => one.function % each.functions),
        serviceMs: arrivals.map(({ serviceMs }) => serviceMs)
      }),
    faults: each.faults,
    livenessMs: 3_600_000,
    sloWaitMs: 1_000,
    shards: 2,
    buffer: defaults,
    times: platformTimes
  }
}

describe("the simulation", () => {
  it("V1: the same seed gives the same hash, 100 of 100 times, in whatever portions it is run", () => {
    upholds(
      fc.property(
        drawn,
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 5 }),
        (each, portions) => {
          const whole = Simulation.run(scenarioOf(each))
          const again = Simulation.start(scenarioOf(each))
          for (let turn = 0; !again.advance(portions[turn % portions.length]!); turn++) {
            // In portions.
          }
          assert.deepStrictEqual(again.result(), whole)
        }
      ),
      { numRuns: 100 }
    )
  })

  it("V1: another seed gives another log where something is drawn", () => {
    const each: Drawn = {
      seed: 1,
      functions: 1,
      clusters: 1,
      nodes: 1,
      slots: 1,
      policy: "demand",
      failureShare: 0,
      requestTimeoutMs: 600_000,
      arrivals: [{ atMs: 0, function: 0, serviceMs: 10 }],
      faults: []
    }
    const hashes = new Set(Array.from({ length: 50 }, (_, seed) => Simulation.run(scenarioOf({ ...each, seed })).hash))
    assert.strictEqual(hashes.size, 50)
  })

  it("V2 to V4: under faults nothing is lost or overfilled, and when they are over everything ends", () => {
    const seen = { redelivered: 0, dead: 0, withFaults: 0 }
    upholds(
      fc.property(drawn, (each) => {
        const simulation = Simulation.start(scenarioOf(each))
        for (let isOver = false; !isOver; ) {
          isOver = simulation.advance(17)
          const now = simulation.inspect()
          assert.strictEqual(now.arrivals, now.refused + now.ended + now.open, "V2 arrivals")
          assert.strictEqual(now.buffers.accepted, now.buffers.pending + now.buffers.leased + now.buffers.ended, "L2")
          assert.strictEqual(now.buffers.ended, now.ended, "V2 ends")
          for (const desired of now.desired) assert.isTrue(desired >= 0 && desired <= maxInstances, "L14")
          const used = new Map<string, number>()
          for (const { cluster, node, gpuCount, life } of now.instances) {
            if (life === "ordered" || life === "gone") continue
            const key = `${cluster}/${node}`
            used.set(key, (used.get(key) ?? 0) + gpuCount)
          }
          for (const gpus of used.values()) assert.isAtMost(gpus, gpusPerNode, "V4 GPUs of a node")
        }
        const result = simulation.result()
        assert.strictEqual(result.open, 0, "V3 something did not end")
        seen.redelivered += result.redelivered
        seen.dead += result.ended["dead-lettered"]
        seen.withFaults += each.faults.length > 0 ? 1 : 0
      }),
      { numRuns: 80 }
    )
    // A law that never meets its hard case is no law.
    assert.isAbove(seen.redelivered, 5, "requests that were given again")
    assert.isAbove(seen.withFaults, 30, "runs with faults")
  })

  it.each([
    ["before its agent heard that", 9_300],
    ["after its agent heard that", 9_301]
  ])("V2 to V4: a worker cut off %s its instance is to end is given nothing when it is back", (_, cutAtMs) => {
    const simulation = Simulation.start(
      scenarioOf({
        seed: 983_764,
        functions: 1,
        clusters: 1,
        nodes: 2,
        slots: 1,
        policy: "demand",
        failureShare: 0.3,
        requestTimeoutMs: 600_000,
        arrivals: [
          { atMs: 0, function: 0, serviceMs: 4_000 },
          { atMs: 794, function: 0, serviceMs: 0 },
          { atMs: 794, function: 0, serviceMs: 0 },
          { atMs: 794, function: 0, serviceMs: 0 },
          { atMs: 7_648, function: 0, serviceMs: 4_000 },
          { atMs: 9_199, function: 0, serviceMs: 40_000 }
        ],
        // Just when three of its four instances were told to end, one of which held the fifth.
        faults: [{ kind: "partition", atMs: cutAtMs, toMs: 69_301, cluster: 0 }]
      })
    )
    while (!simulation.advance(1_000)) {
      // To its end.
    }
    const { ended, open, redelivered, instanceSeconds } = simulation.result()
    assert.deepStrictEqual([ended.responded, open, redelivered], [6, 0, 3])
    assert.isBelow(instanceSeconds, 320, "with another call it would live 40 s more")
  })

  it("V5: with room and without faults, nobody waits longer than a start under `demand`", () => {
    upholds(
      fc.property(
        fc.array(arrival, { minLength: 1, maxLength: 30 }),
        fc.integer({ min: 1, max: 3 }),
        (arrivals, slots) => {
          const startMs = 2_000
          const base = scenarioOf({
            seed: 1,
            functions: 1,
            clusters: 1,
            nodes: 40,
            slots,
            policy: "demand",
            failureShare: 0,
            requestTimeoutMs: 600_000,
            arrivals,
            faults: []
          })
          const only = base.functions[0]!
          const { wait } = Simulation.run({
            ...base,
            functions: [{ ...only, start: StartModel.fixed(startMs), spec: { ...only.spec, maxInstances: 60 } }]
          })
          const { urgentIntervalMs, orderMs, reportMs, demandIntervalMs } = platformTimes
          assert.isAtMost(wait.max, startMs + urgentIntervalMs + demandIntervalMs + 2 * orderMs + 2 * reportMs)
        }
      ),
      { numRuns: 100 }
    )
  })

  it("V6: what has ended is forgotten", () => {
    const count = 300
    const base = scenarioOf({
      seed: 1,
      functions: 2,
      clusters: 1,
      nodes: 2,
      slots: 1,
      policy: "demand",
      failureShare: 0.2,
      requestTimeoutMs: 600_000,
      arrivals: Array.from({ length: count }, (_, index) => ({
        atMs: index * 20_000,
        function: index,
        serviceMs: 500
      })),
      faults: []
    })
    const simulation = Simulation.start(base)
    let most = 0
    while (!simulation.advance(10)) most = Math.max(most, simulation.inspect().instances.length)
    assert.isAtLeast(simulation.result().coldStarts, count)
    assert.isAtMost(most, 2 * base.functions.length)
  })

  it("refuses what cannot be run, with all its reasons", () => {
    const base = scenarioOf({
      seed: 1,
      functions: 1,
      clusters: 1,
      nodes: 1,
      slots: 1,
      policy: "demand",
      failureShare: 0,
      requestTimeoutMs: 600_000,
      arrivals: [],
      faults: [{ kind: "partition", atMs: 0, toMs: 1, cluster: 7 }]
    })
    const impossible: Scenario = {
      ...base,
      clusters: base.clusters.map((cluster) => ({ ...cluster, instanceTypes: [{ name: "small", gpuCount: 9 }] }))
    }
    try {
      Simulation.start(impossible)
      assert.fail("it was started")
    } catch (error) {
      assert.instanceOf(error, Simulation.ImpossibleScenario)
      assert.match(String(error), /takes 9 GPUs on one node, and a node has 2/)
      assert.match(String(error), /cluster 7, and there are 1/)
    }
  })
})

describe("the parts of the simulation", () => {
  it("Q1, Q2: events come in order of time, and of the same time in the order in which they were put in", () => {
    const action = fc.oneof(
      { weight: 3, arbitrary: fc.nat(20).map((atMs) => ({ atMs })) },
      { weight: 2, arbitrary: fc.constant(undefined) }
    )
    upholds(
      fc.property(fc.array(action, { maxLength: 300 }), (actions) => {
        const queue = new EventQueue()
        const model: Array<{ readonly atMs: number; readonly order: number }> = []
        let order = 0
        const take = () => {
          const next = model.sort((one, other) => one.atMs - other.atMs || one.order - other.order).shift()
          assert.strictEqual(queue.take(), next !== undefined)
          if (next !== undefined) assert.deepStrictEqual([queue.atMs, queue.first], [next.atMs, next.order])
        }
        for (const each of actions) {
          if (each === undefined) take()
          else {
            queue.put(each.atMs, 1, order)
            model.push({ atMs: each.atMs, order: order++ })
          }
        }
        while (model.length > 0) take()
        assert.strictEqual(queue.nextMs, Number.POSITIVE_INFINITY)
      }),
      { numRuns: 200 }
    )
  })

  it("K1 to K3: a quantile is within 1 %, and two merged sketches are one sketch of both", () => {
    const values = fc.array(fc.oneof(fc.constant(0), fc.double({ min: 0.01, max: 1e6, noNaN: true })), { minLength: 1 })
    upholds(
      fc.property(values, values, fc.constantFrom(0, 0.5, 0.9, 0.99, 1), (left, right, part) => {
        const one = new QuantileSketch()
        const other = new QuantileSketch()
        const both = new QuantileSketch()
        for (const value of left) one.add(value)
        for (const value of right) other.add(value)
        for (const value of [...left, ...right]) both.add(value)
        one.merge(other)
        const sorted = [...left, ...right].sort((a, b) => a - b)
        const exact = sorted[Math.max(1, Math.ceil(part * sorted.length)) - 1]!
        assert.closeTo(both.quantile(part), exact, exact * 0.0101)
        assert.strictEqual(one.quantile(part), both.quantile(part))
        assert.strictEqual(both.max, sorted.at(-1))
        assert.strictEqual(both.count, sorted.length)
      }),
      { numRuns: 300 }
    )
  })

  it("S1, S2: a generator depends on its names alone, and drawing from one changes no other", () => {
    upholds(
      fc.property(fc.nat(), fc.string(), fc.nat(20), (seed, label, draws) => {
        const untouched = Random.split(Random.make(seed), label)
        const parent = Random.make(seed)
        for (let count = 0; count < draws; count++) Random.uniform(parent)
        const child = Random.split(parent, label)
        for (let count = 0; count < 5; count++) assert.strictEqual(Random.uniform(child), Random.uniform(untouched))
      }),
      { numRuns: 200 }
    )
  })

  it("draws means and medians as they are known", () => {
    const random = Random.make(3)
    const mean = (draw: () => number) =>
      Array.from({ length: 40_000 }, draw).reduce((sum, value) => sum + value, 0) / 40_000
    assert.closeTo(
      mean(() => Random.uniform(random)),
      0.5,
      0.01
    )
    assert.closeTo(
      mean(() => Random.exponential(random, 7)),
      7,
      0.2
    )
    assert.closeTo(
      mean(() => Random.gamma(random, 0.4, 5)),
      2,
      0.15
    )
    assert.closeTo(
      mean(() => Random.gamma(random, 3, 5)),
      15,
      0.4
    )
    assert.closeTo(
      mean(() => Random.weibull(random, 1, 4)),
      4,
      0.15
    )
    assert.closeTo(
      mean(() => Random.normal(random)),
      0,
      0.03
    )
    for (const model of StartModel.models) {
      const drawn = Array.from({ length: 4_001 }, () =>
        StartModel.drawPhases(random, model).reduce((sum, ms) => sum + ms, 0)
      ).sort((a, b) => a - b)
      const typical = StartModel.typicalMs(model)
      assert.closeTo(drawn[2_000]!, typical, typical * 0.06, model.name)
    }
    const p99 = Distribution.quantile(
      [
        [0.5, 22_700],
        [0.9, 42_000],
        [0.99, 51_800]
      ],
      0.99
    )
    assert.closeTo(p99, 51_800, 1e-6)
  })

  it("a Poisson source with wave and bursts keeps its mean rate and its shares", () => {
    const source = Arrivals.poisson(Random.make(5), {
      perSecond: 10,
      untilMs: 6_000_000,
      weights: [3, 1],
      service: { kind: "constant", ms: 1 },
      wave: { periodMs: 600_000, depth: 0.8 },
      bursts: { everyMs: 10_000, lengthMs: 5_000, factor: 2 }
    })
    const counts = [0, 0]
    let lastMs = 0
    for (let next = source(); next !== undefined; next = source()) {
      if (next.atMs < lastMs) assert.fail(`${next.atMs} came after ${lastMs}`)
      lastMs = next.atMs
      counts[next.function]! += 1
    }
    // A third of the time is a burst of twice the rate.
    const expected = 10 * 6_000 * (4 / 3)
    assert.closeTo(counts[0]! + counts[1]!, expected, expected * 0.06)
    assert.closeTo(counts[0]! / (counts[0]! + counts[1]!), 0.75, 0.02)
  })
})

const job = fc.record({ atMs: fc.nat(30_000), serviceMs: fc.constantFrom(1, 400, 2_500, 9_000) })
const terms = {
  startMs: 2_000,
  slots: 2,
  minInstances: 0,
  maxInstances: 30,
  waitMs: 0,
  windowMs: 250,
  waysMax: 24
}

describe("the offline optimum", () => {
  it("O1: no run of the simulation that keeps the bound costs less, but for the windows that a start is rounded up to", () => {
    upholds(
      fc.property(
        fc.array(arrival, { minLength: 1, maxLength: 25 }),
        fc.integer({ min: 1, max: 3 }),
        (arrivals, slots) => {
          const base = scenarioOf({
            seed: 1,
            functions: 1,
            clusters: 1,
            nodes: 40,
            slots,
            policy: "demand",
            failureShare: 0,
            requestTimeoutMs: 600_000,
            arrivals,
            faults: []
          })
          const only = base.functions[0]!
          const result = Simulation.run({
            ...base,
            functions: [{ ...only, start: StartModel.fixed(1_000), spec: { ...only.spec, maxInstances: 60 } }]
          })
          const least = Optimum.instanceMs(arrivals, {
            ...terms,
            waysMax: 10_000,
            startMs: 1_000,
            slots,
            maxInstances: 60,
            waitMs: result.wait.max
          })
          assert.isDefined(least)
          assert.isAtMost(least!, result.instanceSeconds * 1_000 + 2 * terms.windowMs * result.coldStarts)
        }
      ),
      { numRuns: 60 }
    )
  })

  it("O2: a longer wait never costs more, where no way is given up; O4: fewer ways never cost less, and can be done", () => {
    let dearer = 0
    upholds(
      fc.property(fc.array(job, { minLength: 1, maxLength: 25 }), fc.nat(8_000), fc.nat(8_000), (jobs, wait, more) => {
        const exact = { ...terms, waysMax: 10_000 }
        const short = Optimum.instanceMs(jobs, { ...exact, waitMs: wait })
        const long = Optimum.instanceMs(jobs, { ...exact, waitMs: wait + more })
        assert.isDefined(short)
        assert.isAtMost(long!, short! + 1)
        let most = short!
        for (const waysMax of [24, 1]) {
          const cost = Optimum.instanceMs(jobs, { ...terms, waitMs: wait, waysMax })
          assert.isDefined(cost)
          assert.isAtLeast(cost!, short! - 1)
          most = Math.max(most, cost!)
        }
        if (most > short! + 1) dearer += 1
      }),
      { numRuns: 80 }
    )
    assert.isAbove(dearer, 0, "no way was ever missed")
  })

  it("O3: without price and without waiting it is the work in flight, rounded up to instances", () => {
    upholds(
      fc.property(
        fc.array(fc.record({ slot: fc.nat(40), slots: fc.integer({ min: 1, max: 8 }) }), {
          minLength: 1,
          maxLength: 20
        }),
        (all) => {
          const { windowMs } = terms
          const jobs = all.map(({ slot, slots }) => ({ atMs: slot * windowMs, serviceMs: slots * windowMs }))
          const first = Math.min(...jobs.map(({ atMs }) => atMs))
          let expected = 0
          for (let at = first; at < 60 * windowMs; at += windowMs) {
            const flying = jobs.filter(({ atMs, serviceMs }) => atMs <= at && at < atMs + serviceMs).length
            expected += Math.ceil(flying / terms.slots) * windowMs
          }
          assert.closeTo(Optimum.instanceMs(jobs, { ...terms, startMs: 0 })!, expected, 1)
        }
      ),
      { numRuns: 80 }
    )
  })

  it("says so when even the most instances cannot keep the bound", () => {
    const jobs = Array.from({ length: 20 }, () => ({ atMs: 0, serviceMs: 1_000 }))
    assert.isUndefined(Optimum.instanceMs(jobs, { ...terms, maxInstances: 1 }))
  })
})
