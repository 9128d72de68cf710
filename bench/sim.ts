/**
 * How much faster than real time the simulation is: 100 clusters of 1,000 GPUs, 1,000 functions under `demand`, 10 M
 * requests in 24 virtual hours (116 a second, a day's wave of half, shares like 1 / rank), GPU starts of the base model
 * and 2.5 s in a worker on average.
 *
 * Default: one virtual hour of that day, which has its 24th part of the requests; `SIM_HOURS=24` runs the whole day. All
 * by processor time, so that what others do on the machine counts as little as can be. Each round is the same run, so
 * its hash must be the same too.
 *
 * @module
 */
import { defaults } from "../src/core/buffer/BufferOptions.ts"
import * as Policies from "../src/core/scaling/Policies.ts"
import * as Arrivals from "../src/core/simulation/Arrivals.ts"
import * as Random from "../src/core/simulation/Random.ts"
import { platformTimes, type Scenario } from "../src/core/simulation/Scenario.ts"
import * as Simulation from "../src/core/simulation/Simulation.ts"
import * as StartModel from "../src/core/simulation/StartModel.ts"
import type { Bench } from "./Bench.ts"
import { median, round } from "./Statistics.ts"

const dayMs = 86_400_000
const requestsPerDay = 10_000_000
const clusterCount = 100
const nodesPerCluster = 125
const gpusPerNode = 8
const functionCount = 1_000
const seed = 20_261_121

const budgetSpeedup = 1_000

const scenario = (untilMs: number): Scenario => ({
  seed,
  functions: Array.from({ length: functionCount }, (_, index) => ({
    name: `function-${index}`,
    tenant: `tenant-${index % 50}`,
    policy: () => Policies.start("demand"),
    spec: { minInstances: 0, maxInstances: 1_000, concurrency: 4, idleWindowMs: 300_000 },
    instanceType: "one-gpu",
    gpu: { kind: "any", count: 1 },
    clusters: [],
    start: StartModel.byName("base-model") ?? StartModel.fixed(22_700),
    startDeadlineMs: 600_000,
    requestTimeoutMs: 1_200_000,
    maxAttempts: 3
  })),
  clusters: Array.from({ length: clusterCount }, (_, index) => ({
    name: `cluster-${String(index).padStart(3, "0")}`,
    nodes: nodesPerCluster,
    gpusPerNode,
    gpuKind: "H100",
    slotsPerNode: 0,
    instanceTypes: [{ name: "one-gpu", gpuCount: 1 }],
    pricePerHour: 2
  })),
  arrivals: () =>
    Arrivals.poisson(Random.make(seed), {
      perSecond: (requestsPerDay * 1_000) / dayMs,
      untilMs,
      weights: Arrivals.zipf(functionCount, 1),
      service: { kind: "log-normal", medianMs: 1_500, sigma: 1 },
      wave: { periodMs: dayMs, depth: 0.5 }
    }),
  faults: [],
  livenessMs: 3_600_000,
  sloWaitMs: 1_000,
  shards: 16,
  buffer: defaults,
  times: platformTimes,
  timelineMs: 0
})

const usedS = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

export const sim: Bench = async ({ repetitions, say }) => {
  const hours = Number(process.env["SIM_HOURS"] ?? "1")
  const speedups: Array<number> = []
  const perRequestUs: Array<number> = []
  const hashes = new Set<string>()
  let rssMaxMb = 0
  for (let repetition = 0; repetition < repetitions; repetition++) {
    const beganS = usedS()
    const simulation = Simulation.start(scenario(hours * 3_600_000))
    while (!simulation.advance(200_000)) rssMaxMb = Math.max(rssMaxMb, process.memoryUsage.rss() / 1e6)
    const result = simulation.result()
    const tookS = usedS() - beganS
    speedups.push(result.spanMs / 1_000 / tookS)
    perRequestUs.push((tookS * 1e6) / result.arrivals)
    hashes.add(result.hash)
    say(
      `${(result.spanMs / 3_600_000).toFixed(2)} h with ${result.arrivals} requests, ${result.events} events, ` +
        `${result.coldStarts} starts in ${tookS.toFixed(1)} s: ${(result.spanMs / 1_000 / tookS).toFixed(0)} times real ` +
        `time, hash ${result.hash}, p99 wait ${(result.wait.p99 / 1_000).toFixed(1)} s, ${result.open} open`
    )
  }
  return {
    figures: {
      speedup: round(median(speedups), 0),
      us_per_request: round(median(perRequestUs)),
      hashes: hashes.size,
      // The bench's figures are numbers: the first 52 bits of the hash, which a double holds.
      hash: Number.parseInt([...hashes][0]?.slice(0, 13) ?? "0", 16),
      rss_mb: round(rssMaxMb, 0),
      hours
    },
    budgets: [
      { figure: "speedup", atLeast: budgetSpeedup },
      { figure: "hashes", atMost: 1 }
    ]
  }
}
