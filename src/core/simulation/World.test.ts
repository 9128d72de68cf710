/**
 * Two whole worlds with everything in them that can be drawn and go wrong, told figure by figure. The figures follow from
 * the seed alone: whoever changes what happens in a run changes them, and should know it.
 */
import { createHash } from "node:crypto"
import { assert, describe, it } from "vitest"
import { defaults } from "../buffer/BufferOptions.ts"
import * as Policies from "../scaling/Policies.ts"
import * as Arrivals from "./Arrivals.ts"
import type { Distribution } from "./Distribution.ts"
import * as Random from "./Random.ts"
import { type Fault, platformTimes, type Scenario, type SimulatedFunction } from "./Scenario.ts"
import * as Simulation from "./Simulation.ts"
import * as StartModel from "./StartModel.ts"

const starts: ReadonlyArray<Distribution> = [
  { kind: "log-normal", medianMs: 800, sigma: 0.8 },
  { kind: "weibull", shape: 1.5, scaleMs: 900 },
  { kind: "gamma", shape: 0.7, scaleMs: 600 }
]

const functionOf = (index: number): SimulatedFunction => ({
  name: `function-${index}`,
  tenant: `tenant-${index % 2}`,
  policy: () => Policies.start(index === 1 ? "knative" : "demand"),
  spec: { minInstances: index === 2 ? 1 : 0, maxInstances: 4, concurrency: 1 + index, idleWindowMs: 3_000 },
  instanceType: index === 2 ? "cpu" : "small",
  gpu: { kind: "any", count: index === 2 ? 0 : 1 },
  clusters: index === 0 ? ["one"] : [],
  start: {
    ...StartModel.fixed(0),
    phases: [
      { name: "image", duration: { kind: "constant", ms: 50 } },
      { name: "weights", duration: starts[index]! }
    ],
    stopMs: 20,
    failureShare: 0.1
  },
  startDeadlineMs: 8_000,
  requestTimeoutMs: 20_000,
  maxAttempts: 2
})

const clusterOf = (name: string, pricePerHour: number) => ({
  name,
  nodes: 2,
  gpusPerNode: 2,
  gpuKind: "H100",
  slotsPerNode: 2,
  instanceTypes: [
    { name: "small", gpuCount: 1 },
    { name: "cpu", gpuCount: 0 }
  ],
  pricePerHour
})

const faults: ReadonlyArray<Fault> = [
  { kind: "instance-dies", atMs: 6_000 },
  { kind: "instance-dies", atMs: 31_000, function: 1 },
  { kind: "slow-start", atMs: 9_000, toMs: 13_000, cluster: 0, factor: 4 },
  { kind: "telemetry-lost", atMs: 14_000, toMs: 17_000, function: 0 },
  { kind: "agent-restart", atMs: 18_000, cluster: 1 },
  { kind: "partition", atMs: 20_000, toMs: 35_000, cluster: 0 },
  { kind: "cluster-lost", atMs: 40_000, toMs: 43_000, cluster: 1 }
]

const service: Distribution = {
  kind: "quantiles",
  points: [
    [0.1, 20],
    [0.5, 300],
    [0.95, 3_000]
  ]
}

const scenario = (more: Partial<Scenario>): Scenario => ({
  seed: 7,
  functions: [0, 1, 2].map(functionOf),
  clusters: [clusterOf("one", 2), clusterOf("two", 1)],
  arrivals: () =>
    Arrivals.poisson(Random.make(7), {
      perSecond: 6,
      untilMs: 50_000,
      weights: [3, 2, 1],
      service,
      wave: { periodMs: 20_000, depth: 0.5 },
      bursts: { everyMs: 15_000, lengthMs: 2_000, factor: 3 }
    }),
  faults,
  livenessMs: 600_000,
  sloWaitMs: 1_000,
  shards: 2,
  buffer: defaults,
  times: platformTimes,
  timelineMs: 60_000,
  ...more
})

/** Of each level its mean over the picture, and where in it the most of it is. */
const summary = (scenario: Scenario) => {
  const { picture, ...result } = Simulation.run(scenario)
  const weigh = (columns: ReadonlyArray<number>) => {
    const sum = columns.reduce((total, each) => total + each, 0)
    const place = columns.reduce((total, each, index) => total + each * index, 0) / Math.max(sum, 1e-9)
    return [sum, place].map((figure) => Number(figure.toFixed(6)))
  }
  const { arrivals, means } = picture!
  const levels = Object.entries(means).map(([level, columns]) => [level, ...weigh(columns)].join(" "))
  return [...levels, ["arrivals", ...weigh(arrivals)].join(" "), JSON.stringify(result)]
}

describe("a world", () => {
  it("in which everything goes wrong for a while", () => {
    assert.deepStrictEqual(summary(scenario({})), [
      "desired 5014.001682 318.341051",
      "ready 4633.848249 321.619661",
      "starting 256.585144 211.913922",
      "backlog 26492.386662 372.116436",
      "arrivals 423 252.021277",
      '{"hash":"2fb569b133be51a5","events":2201,"spanMs":63643.55472108084,"arrivals":423,' +
        '"ended":{"responded":403,"failed":0,"expired":20,"cancelled":0,"dead-lettered":0},' +
        '"refused":0,"redelivered":8,"open":0,"wait":{"p50":1348.9705111490782,"p90":18785.609931931962,' +
        '"p99":19544.548573182015,"max":19606.016998228195,"mean":6283.802005816935},' +
        '"sloAttainment":0.48936170212765956,"coldStarts":34,"failedStarts":3,"instanceSeconds":522.1353317745156,' +
        '"busyShare":0.3120191330312374,"decisions":23,"directionChangesPerHour":509.08532909567435,' +
        '"cost":0.2226943831273744}'
    ])
  })

  it("that is too small for what it is asked, with policies that look at it every few seconds", () => {
    const policies = ["nvcf", "histogram", "keda"] as const
    const small = scenario({
      seed: 8,
      functions: policies.map((policy, index) => ({
        ...functionOf(index),
        policy: () => Policies.start(policy),
        clusters: [],
        spec: { minInstances: 0, maxInstances: 3, concurrency: 1, idleWindowMs: 5_000 },
        maxAttempts: 1
      })),
      clusters: [{ ...clusterOf("one", 3), nodes: 1 }],
      faults: [
        { kind: "agent-restart", atMs: 12_000, cluster: 0 },
        { kind: "partition", atMs: 25_000, toMs: 27_000, cluster: 0 }
      ],
      shards: 1,
      buffer: { ...defaults, pendingCountMax: 12, resultRetentionMs: 2_000, visibilityTimeoutMs: 5_000 }
    })
    assert.deepStrictEqual(summary(small), [
      "desired 2809.575042 318.519738",
      "ready 1657.439368 310.145744",
      "starting 48.127439 63.26324",
      "backlog 4965.582519 275.851826",
      "arrivals 423 252.021277",
      '{"hash":"8c53b28016516913","events":965,"spanMs":62334.06492581961,"arrivals":423,' +
        '"ended":{"responded":128,"failed":0,"expired":0,"cancelled":0,"dead-lettered":2},' +
        '"refused":293,"redelivered":0,"open":0,"wait":{"p50":3354.3653021009313,"p90":9209.140882120237,' +
        '"p99":11679.417358719475,"max":12259.88542598767,"mean":3819.5107480792944},' +
        '"sloAttainment":0.08983451536643026,"coldStarts":8,"failedStarts":1,"instanceSeconds":175.32681054304854,' +
        '"busyShare":0.5403748567213625,"decisions":15,"directionChangesPerHour":346.51999714289434,' +
        '"cost":0.14610567545254047}'
    ])
  })

  /** Twelve faults in half a minute, most of them at once with others. */
  const faultsOf = (seed: number): ReadonlyArray<Fault> => {
    const random = Random.make(seed)
    return Array.from({ length: 12 }, (): Fault => {
      const atMs = 500 * Random.index(random, 60)
      const toMs = atMs + [0, 1_000, 4_000, 15_000][Random.index(random, 4)]!
      const cluster = Random.index(random, 2)
      const kind = Random.index(random, 7)
      if (kind === 0) return { kind: "cluster-lost", atMs, toMs, cluster }
      if (kind === 1) return { kind: "partition", atMs, toMs, cluster }
      if (kind === 2) return { kind: "slow-start", atMs, toMs, cluster, factor: 20 }
      if (kind === 3) return { kind: "telemetry-lost", atMs, toMs, function: cluster }
      if (kind === 4) return { kind: "agent-restart", atMs, cluster }
      return { kind: "instance-dies", atMs, ...(kind === 5 ? {} : { function: cluster }) }
    })
  }

  const stormOf = (seed: number): Scenario =>
    scenario({
      seed,
      faults: faultsOf(seed),
      functions: [0, 1, 2, 3].map((index) => ({
        ...functionOf(index % 3),
        name: `function-${index}`,
        clusters: [],
        policy: () => Policies.start((["demand", "fixed", "keda", "hpa"] as const)[(index + seed) % 4]!),
        spec: { minInstances: index % 2, maxInstances: 3, concurrency: 1 + (seed % 3), idleWindowMs: 1_000 },
        startDeadlineMs: 2_500,
        requestTimeoutMs: 9_000
      })),
      clusters: [
        { ...clusterOf("one", 2), nodes: 1, gpusPerNode: 4 },
        { ...clusterOf("two", 1), nodes: 3, gpusPerNode: 1, slotsPerNode: 1 }
      ],
      arrivals: () =>
        Arrivals.poisson(Random.make(seed), { perSecond: 5, untilMs: 30_000, weights: [1, 1, 1, 1], service }),
      buffer: { ...defaults, resultRetentionMs: 1_000, visibilityTimeoutMs: 3_000 },
      times: { ...platformTimes, unreachableAfterMs: 2_000, heartbeatMs: 900 },
      timelineMs: 30_000
    })

  const hashes = [
    "8543cee11774",
    "9c6355b36aed",
    "a7207e25d1f8",
    "32d17aa1e4df",
    "abdee7af4ff4",
    "a4b0efd85774",
    "6eed535bf65e",
    "4c00c7627a81"
  ]
  for (const [index, hash] of hashes.entries()) {
    it(`of one fault after the other, by seed ${index + 1}`, () => {
      const told = summary(stormOf(index + 1)).join()
      assert.strictEqual(createHash("sha256").update(told).digest("hex").slice(0, 12), hash)
    })
  }
})
