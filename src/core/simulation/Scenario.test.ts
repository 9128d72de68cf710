import { assert, describe, it } from "vitest"
import * as SmallScenario from "../../../property-tests/SmallScenario.ts"
import type { Decision, Observation, Policy } from "../scaling/Policy.ts"
import * as Optimum from "./Optimum.ts"
import * as PolicyLaws from "./PolicyLaws.ts"
import * as Random from "./Random.ts"
import * as Scenario from "./Scenario.ts"

const cluster: Scenario.SimulatedCluster = {
  ...SmallScenario.cluster,
  gpusPerNode: 8,
  slotsPerNode: 3,
  instanceTypes: [
    { name: "cpu", gpuCount: 0 },
    { name: "3x", gpuCount: 3 }
  ]
}
const target = { ...SmallScenario.target, instanceType: "3x", gpu: { kind: "H100", count: 3 } }
const problems = (more: Partial<Scenario.Scenario>) =>
  Scenario.problems(SmallScenario.scenario([], { functions: [target], clusters: [cluster], ...more }))
const ofCluster = (more: Partial<Scenario.SimulatedCluster>) => problems({ clusters: [{ ...cluster, ...more }] })
const ofFunction = (more: Partial<Scenario.SimulatedFunction>) => problems({ functions: [{ ...target, ...more }] })
const spec = (minInstances: number, maxInstances: number) => ({ ...target.spec, minInstances, maxInstances })

describe("a scenario", () => {
  it("needs a function and a cluster", () => {
    assert.deepStrictEqual(problems({}), [])
    assert.deepStrictEqual(problems({ functions: [] }), ["there is no function"])
    assert.deepStrictEqual(problems({ functions: [], clusters: [] }), ["there is no function", "there is no cluster"])
  })

  it("needs clusters that hold one of each of their types", () => {
    const whole = "a whole number from 0 on is needed"
    for (const nodes of [0, -1, 1.5]) {
      assert.include(ofCluster({ nodes }), `cluster c has ${nodes} nodes: at least 1 is needed`)
    }
    assert.deepStrictEqual(ofCluster({ nodes: 1 }), [])
    assert.include(ofCluster({ gpusPerNode: 8.5 }), `cluster c has 8.5 GPUs a node: ${whole}`)
    assert.include(ofCluster({ slotsPerNode: -1 }), `cluster c has -1 slots a node: ${whole}`)
    assert.include(
      ofCluster({ gpusPerNode: 2 }),
      "cluster c cannot hold one instance of type 3x: it takes 3 GPUs on one node, and a node has 2"
    )
    assert.deepStrictEqual(ofCluster({ gpusPerNode: 3 }), [])
    assert.deepStrictEqual(ofCluster({ slotsPerNode: 0 }), [
      "cluster c cannot hold one instance of type cpu: it takes no GPU, and nodes have 0 slots"
    ])
    assert.deepStrictEqual(ofCluster({ slotsPerNode: 1 }), [])
  })

  it("needs functions that have room where they may go", () => {
    assert.deepStrictEqual(ofFunction({ clusters: ["c", "d"] }), ["function f names the cluster d, which is not there"])
    assert.deepStrictEqual(ofFunction({ spec: spec(3, 2) }), ["function f wants at least 3 and at most 2 instances"])
    assert.deepStrictEqual(ofFunction({ spec: spec(4, 4) }), [])
    assert.deepStrictEqual(ofFunction({ spec: spec(5, 9) }), [
      "function f wants at least 5 instances, and there is room for 4"
    ])
    assert.deepStrictEqual(ofFunction({ instanceType: "cpu", gpu: { kind: "none", count: 0 }, spec: spec(7, 9) }), [
      "function f wants at least 7 instances, and there is room for 6"
    ])
    const none = "no cluster has the instance type"
    assert.deepStrictEqual(ofFunction({ gpu: { kind: "H200", count: 3 }, spec: spec(5, 9) }), [
      `${none} 3x with 3 GPUs of kind H200 that function f needs`
    ])
    assert.deepStrictEqual(ofFunction({ gpu: { kind: "any", count: 3 } }), [])
    assert.deepStrictEqual(ofFunction({ gpu: { kind: "H100", count: 4 } }), [
      `${none} 3x with 4 GPUs of kind H100 that function f needs`
    ])
    assert.deepStrictEqual(ofFunction({ instanceType: "x", gpu: { kind: "none", count: 0 } }), [
      `${none} x that function f needs`
    ])
    const two = [cluster, { ...cluster, name: "d", nodes: 10 }]
    const many = { ...target, spec: spec(5, 9) }
    assert.deepStrictEqual(problems({ clusters: two, functions: [many] }), [])
    assert.lengthOf(problems({ clusters: two, functions: [{ ...many, clusters: ["c"] }] }), 1)
    assert.strictEqual(Scenario.capacity(cluster, "other"), 0)
  })

  it("needs faults about what is there, that end after they began", () => {
    const lost = { kind: "cluster-lost", atMs: 5, toMs: 5, cluster: 0 } as const
    const of = (fault: Scenario.Fault) => problems({ faults: [fault] })
    assert.deepStrictEqual(of(lost), [])
    assert.deepStrictEqual(of({ ...lost, cluster: 1 }), [
      "a fault of kind cluster-lost is about cluster 1, and there are 1"
    ])
    assert.deepStrictEqual(of({ ...lost, toMs: 4 }), ["a fault of kind cluster-lost ends before it begins"])
    assert.deepStrictEqual(of({ kind: "instance-dies", atMs: 5 }), [])
    assert.deepStrictEqual(of({ kind: "instance-dies", atMs: 5, function: 0 }), [])
    assert.deepStrictEqual(of({ kind: "instance-dies", atMs: 5, function: 2 }), [
      "a fault of kind instance-dies is about function 2, and there are 1"
    ])
  })
})

describe("the optimum", () => {
  const terms: Optimum.Terms = {
    windowMs: 100,
    slots: 1,
    startMs: 50,
    waitMs: 0,
    minInstances: 0,
    maxInstances: 5,
    waysMax: 24
  }

  it("of nothing is nothing, and what even all instances cannot do in time has none", () => {
    assert.strictEqual(Optimum.instanceMs([], { ...terms, minInstances: 2 }), 0)
    const burst = Array.from({ length: 20 }, () => ({ atMs: 0, serviceMs: 100 }))
    assert.isUndefined(Optimum.instanceMs(burst, terms))
    assert.isDefined(Optimum.instanceMs(burst, { ...terms, maxInstances: 20 }))
  })

  it("holds to the least number of instances", () => {
    const one = [{ atMs: 0, serviceMs: 100 }]
    assert.strictEqual(Optimum.instanceMs(one, terms), 150)
    assert.isAbove(Optimum.instanceMs(one, { ...terms, minInstances: 1, waitMs: 300 })!, 150)
    // Though only one of them is ever useful.
    assert.strictEqual(Optimum.instanceMs(one, { ...terms, minInstances: 3 }), 450)
    assert.strictEqual(Optimum.instanceMs(one, { ...terms, minInstances: 3, maxInstances: 2 }), 300)
  })

  it("is higher the more ways are given up, and can be done with one", () => {
    const jobs = [276, 0, 3_431, 3_750, 7].map((atMs) => ({ atMs, serviceMs: 9_000 }))
    jobs.push({ atMs: 2_937, serviceMs: 2_500 }, { atMs: 2_719, serviceMs: 400 })
    const least = (waysMax: number, waitMs: number) =>
      Optimum.instanceMs(jobs, { ...terms, windowMs: 250, slots: 2, startMs: 2_000, maxInstances: 30, waysMax, waitMs })
    assert.deepStrictEqual([least(48, 3_230), least(48, 3_239), least(1_000, 3_230)], [28_000, 28_000, 28_000])
    assert.isAbove(least(2, 3_230)!, 28_000)
    assert.isAbove(least(1, 3_230)!, least(2, 3_230)!)
  })
})

describe("the optimum of thirty jobs", () => {
  it("is the same on every machine, whatever the terms", () => {
    const random = Random.make(4)
    const jobs = Array.from({ length: 30 }, () => ({
      atMs: 3_000 + Random.index(random, 20_000),
      serviceMs: 50 + Random.index(random, 4_000)
    }))
    const least = [
      { windowMs: 500, slots: 1, startMs: 300, waitMs: 800, minInstances: 0, maxInstances: 9, waysMax: 12 },
      { windowMs: 500, slots: 1, startMs: 5_000, waitMs: 4_000, minInstances: 0, maxInstances: 9, waysMax: 48 },
      { windowMs: 250, slots: 2, startMs: 2_000, waitMs: 1_500, minInstances: 1, maxInstances: 30, waysMax: 5 },
      { windowMs: 1_000, slots: 4, startMs: 900, waitMs: 0, minInstances: 2, maxInstances: 3, waysMax: 24 },
      { windowMs: 700, slots: 1, startMs: 0, waitMs: 9_000, minInstances: 3, maxInstances: 8, waysMax: 3 },
      { windowMs: 500, slots: 1, startMs: 700, waitMs: 100, minInstances: 0, maxInstances: 3, waysMax: 6 },
      { windowMs: 400, slots: 3, startMs: 1_200, waitMs: 2_500, minInstances: 0, maxInstances: 6, waysMax: 1 }
    ].map((each) => Optimum.instanceMs(jobs, each))
    assert.deepStrictEqual(least, [64_400, 77_000, 41_250, 45_800, 92_400, undefined, 38_800])
  })
})

describe("the laws for a policy of one's own", () => {
  const answering = (more: object): Policy<null> => ({
    name: "mine",
    empty: null,
    // As a file could answer, whatever its types say.
    decide: (memory) => [memory, { desired: 5, reason: "because", inputs: {}, wakeAtMs: null, ...more } as Decision]
  })
  const breach = (policy: Policy<never> | Policy<null>) => {
    // One of the two, which `check` takes alike.
    const found = PolicyLaws.check(policy as Policy<null>)
    return found === undefined ? "none" : `${found.law}: ${found.what}`
  }

  it("say what is no decision", () => {
    assert.strictEqual(breach(answering({ desired: "2" })), "total: it answered 2, which is no number from 0 on")
    assert.strictEqual(breach(answering({ desired: -1 })), "total: it answered -1, which is no number from 0 on")
    assert.strictEqual(breach(answering({ reason: "" })), "total: it gave no reason")
    assert.strictEqual(breach(answering({ reason: 3 })), "total: it gave no reason")
    assert.strictEqual(
      breach(answering({ wakeAtMs: "soon" })),
      "total: it wants to be woken at soon: a time in milliseconds, or null"
    )
    assert.match(breach(answering({ wakeAtMs: Number.NaN })), /^total: it wants to be woken at NaN/)
  })

  it("hold for a policy without a memory, at its second look as at its first", () => {
    const forgets = (then: number): Policy<undefined> => ({
      name: "forgets",
      empty: undefined,
      decide: (_, { desired }) => [
        undefined,
        { desired: desired > 0 ? then : 50, reason: "because", inputs: {}, wakeAtMs: null }
      ]
    })
    assert.strictEqual(PolicyLaws.check(forgets(0))?.law, "L14")
    assert.isUndefined(PolicyLaws.check(forgets(50)))
  })

  it("reject a policy that changes what it sees, throws what is no error, or keeps what is not plain", () => {
    const changes: Policy<null> = {
      ...answering({}),
      decide: (memory, seen) => {
        Object.assign(seen, { ready: 99 })
        return [memory, { desired: 5, reason: "because", inputs: {}, wakeAtMs: null }]
      }
    }
    assert.strictEqual(breach(changes), "pure: it changed the observation")
    const throws: Policy<null> = {
      ...answering({}),
      decide: () => {
        throw "no error at all"
      }
    }
    assert.strictEqual(breach(throws), "total: it threw: no error at all")
    const keeps: Policy<{ readonly seen: Map<number, number> } | null> = {
      name: "keeps",
      empty: null,
      decide: (memory) => {
        const size = memory?.seen instanceof Map ? 1 : 2
        return [{ seen: new Map([[1, 1]]) }, { desired: 4 + size, reason: "because", inputs: {}, wakeAtMs: null }]
      }
    }
    const found = PolicyLaws.check(keeps)
    assert.deepStrictEqual([found?.law, found?.what], ["plain", "with a copy of its memory it answered differently"])
  })

  it("show it no observation that contradicts itself, and a count of arrivals that never falls", () => {
    let sawUnknown = 0
    const checks: Policy<number> = {
      name: "checks",
      empty: 0,
      decide: (arrived, { pending, oldestPendingMs, arrivalsTotal }) => {
        if (pending === "unknown") {
          sawUnknown += 1
          assert.strictEqual(oldestPendingMs, "unknown")
        } else assert.strictEqual(oldestPendingMs === null, pending === 0)
        if (typeof arrivalsTotal !== "number") throw new Error(`it counted to ${arrivalsTotal}`)
        assert.isAtLeast(arrivalsTotal, arrived)
        return [arrivalsTotal, { desired: 20, reason: "because", inputs: {}, wakeAtMs: null }]
      }
    }
    assert.isUndefined(PolicyLaws.check(checks))
    assert.isAbove(sawUnknown, 10)
  })

  it("reject a policy that lets go what is there when either figure alone is unknown", () => {
    const lets = (isBlind: (seen: Observation) => boolean): Policy<null> => ({
      ...answering({}),
      decide: (memory, seen) => [
        memory,
        { desired: isBlind(seen) ? 2 : 5, reason: "because", inputs: {}, wakeAtMs: null }
      ]
    })
    const told = "L14: the demand is unknown, 5 instances are there, and it answered 2"
    assert.strictEqual(breach(lets(({ pending, leased }) => pending === "unknown" && leased !== "unknown")), told)
    assert.strictEqual(breach(lets(({ pending, leased }) => leased === "unknown" && pending !== "unknown")), told)
  })

  it("show of a policy that never settles the last three times that it changed its mind", () => {
    const swings: Policy<null> = {
      ...answering({}),
      decide: (memory, { nowMs }) => {
        const desired = Math.floor(nowMs / 10_000) % 2 === 0 ? 6 : 7
        return [memory, { desired: Math.max(5, desired), reason: `${desired} now`, inputs: {}, wakeAtMs: null }]
      }
    }
    // Unknown demand forbids to go down, so what swings is steady there.
    const steady: Policy<null> = {
      ...swings,
      decide: (memory, seen) =>
        swings.decide(memory, seen.pending === 0 && seen.leased === 0 ? seen : { ...seen, nowMs: 10_000 })
    }
    const found = PolicyLaws.check(steady)
    assert.strictEqual(found?.law, "L15")
    assert.deepStrictEqual(
      found?.history.map(({ nowMs, ready, desired, reason }) => [nowMs, ready, desired, reason]),
      [
        [110_000, 6, 7, "7 now"],
        [120_000, 7, 6, "6 now"],
        [130_000, 6, 7, "7 now"]
      ]
    )
  })
})
