/**
 * Whether the simulation tells the truth: two minutes of requests through the real platform with the process backend,
 * and the same two minutes through the simulation. Compared is what a policy is judged by: how long requests wait from
 * their arrival to their lease.
 *
 * Three functions that start slowly (1.5 s and what a process takes) and work one request at a time; bursts, so that
 * most requests wait for a start or for their turn. The time of a start is measured before, by cold calls that are not
 * part of the trace; nothing else is fitted. Each round has other arrivals.
 *
 * @module
 */
import { get } from "node:http"
import { defaults } from "../src/core/buffer/BufferOptions.ts"
import * as Policies from "../src/core/scaling/Policies.ts"
import * as Arrivals from "../src/core/simulation/Arrivals.ts"
import * as Random from "../src/core/simulation/Random.ts"
import { platformTimes, type Scenario } from "../src/core/simulation/Scenario.ts"
import * as Simulation from "../src/core/simulation/Simulation.ts"
import type { StartModel } from "../src/core/simulation/StartModel.ts"
import type { Bench } from "./Bench.ts"
import * as PlatformUnderTest from "./PlatformUnderTest.ts"
import { median, quantile, round } from "./Statistics.ts"

const traceMs = 120_000
const names = ["nap-a", "nap-b", "nap-c"]
const spec = { minInstances: 0, maxInstances: 2, concurrency: 1, idleWindowMs: 3_000 }
/** For each function, before the trace. */
const calibrations = 5
const quietMs = 30_000
const tolerated = 0.2

interface Request {
  readonly atMs: number
  readonly function: number
  readonly serviceMs: number
}

const requestsOf = (seed: number): ReadonlyArray<Request> => {
  const source = Arrivals.poisson(Random.make(seed), {
    perSecond: 5,
    untilMs: traceMs,
    weights: names.map(() => 1),
    service: { kind: "log-normal", medianMs: 250, sigma: 0.8 },
    bursts: { everyMs: 15_000, lengthMs: 4_000, factor: 4 }
  })
  const requests: Array<Request> = []
  for (let arrival = source(); arrival !== undefined; arrival = source()) {
    // Whole milliseconds, because a timer of the function has no finer ones.
    requests.push({ ...arrival, serviceMs: Math.max(1, Math.round(arrival.serviceMs)) })
  }
  return requests
}

/** From arrival to lease, as the receipt tells it. */
const waitOf = (serverTiming: string): number => {
  const phase = (name: string) => Number(serverTiming.match(new RegExp(`(?:^|, )${name};dur=([0-9.]+)`))?.[1] ?? 0)
  return phase("queue") + phase("place") + phase("start") + phase("dispatch")
}

const startOf = (serverTiming: string): number => Number(serverTiming.match(/start;dur=([0-9.]+)/)?.[1] ?? Number.NaN)

/** The receipt of one call on a connection of its own. */
const receipt = (port: number, path: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const request = get({ host: "127.0.0.1", port, path, agent: false }, (response) => {
      response.resume()
      response.once("end", () => {
        if (response.statusCode === 200) resolve(String(response.headers["server-timing"]))
        else reject(new Error(`${path} answered ${response.statusCode}`))
      })
    })
    request.once("error", reject)
  })

const untilZero = async (platform: PlatformUnderTest.PlatformUnderTest): Promise<void> => {
  const until = performance.now() + quietMs
  while ((await platform.instancePids()).length > 0) {
    if (performance.now() > until) throw new Error(`instances are still there after ${quietMs} ms of quiet`)
    await sleep(50)
  }
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** Times of starts from zero, one after the other. */
const calibrate = async (platform: PlatformUnderTest.PlatformUnderTest): Promise<ReadonlyArray<number>> => {
  const starts: Array<number> = []
  for (let index = 0; index < calibrations; index++) {
    for (const name of names) starts.push(startOf(await receipt(platform.port, `/f/${name}/?ms=1`)))
    await untilZero(platform)
  }
  return starts
}

const replay = async (port: number, requests: ReadonlyArray<Request>): Promise<ReadonlyArray<number>> => {
  const began = performance.now()
  const waits: Array<Promise<number>> = []
  for (const { atMs, function: index, serviceMs } of requests) {
    const leftMs = atMs - (performance.now() - began)
    if (leftMs > 0) await sleep(leftMs)
    waits.push(receipt(port, `/f/${names[index]}/?ms=${serviceMs}`).then(waitOf))
  }
  return Promise.all(waits)
}

const startModel = (starts: ReadonlyArray<number>): StartModel => ({
  name: "measured",
  phases: [
    {
      name: "process",
      duration: {
        kind: "quantiles",
        points: [
          [0.1, quantile(starts, 0.1)],
          [0.5, quantile(starts, 0.5)],
          [0.9, quantile(starts, 0.9)]
        ]
      }
    }
  ],
  stopMs: 50,
  failureShare: 0,
  source: "measured before the trace"
})

const scenario = (requests: ReadonlyArray<Request>, start: StartModel): Scenario => ({
  seed: 1,
  functions: names.map((name) => ({
    name,
    tenant: "default",
    policy: () => Policies.start("demand"),
    spec,
    instanceType: "local",
    gpu: { kind: "none", count: 0 },
    clusters: [],
    start,
    startDeadlineMs: 60_000,
    requestTimeoutMs: 1_200_000,
    maxAttempts: 3
  })),
  clusters: [
    {
      name: "local",
      nodes: 1,
      gpusPerNode: 0,
      gpuKind: "none",
      slotsPerNode: 64,
      instanceTypes: [{ name: "local", gpuCount: 0 }],
      pricePerHour: 0
    }
  ],
  arrivals: () =>
    Arrivals.fromArrays({
      atMs: requests.map(({ atMs }) => atMs),
      functions: requests.map((request) => request.function),
      serviceMs: requests.map(({ serviceMs }) => serviceMs)
    }),
  faults: [],
  livenessMs: 600_000,
  sloWaitMs: 1_000,
  shards: 1,
  buffer: defaults,
  times: platformTimes,
  timelineMs: 0
})

/** How far apart, as a share of what was measured. */
const error = (simulated: number, measured: number): number => Math.abs(simulated - measured) / measured

export const fidelity: Bench = async ({ repetitions, say }) => {
  const platform = await PlatformUnderTest.start(
    names.map((name) => ({ name, file: "nap.mjs", deployment: spec, version: {} })),
    { backend: { zygotes: 0 } }
  )
  try {
    // The first start ever fills the compile cache.
    for (const name of names) await receipt(platform.port, `/f/${name}/?ms=1`)
    await untilZero(platform)
    const rounds: Array<Readonly<Record<"p50" | "p99" | "p50_error" | "p99_error", number>>> = []
    let requestCount = 0
    for (let index = 1; index <= repetitions; index++) {
      const starts = await calibrate(platform)
      const requests = requestsOf(index)
      requestCount += requests.length
      const waits = await replay(platform.port, requests)
      await untilZero(platform)
      const simulated = Simulation.run(scenario(requests, startModel(starts))).wait
      const measured = { p50: quantile(waits, 0.5), p90: quantile(waits, 0.9), p99: quantile(waits, 0.99) }
      rounds.push({
        p50: measured.p50,
        p99: measured.p99,
        p50_error: error(simulated.p50, measured.p50),
        p99_error: error(simulated.p99, measured.p99)
      })
      say(
        `round ${index}: ${requests.length} requests, starts of ${median(starts).toFixed(0)} ms; measured wait ` +
          `${measured.p50.toFixed(0)} / ${measured.p90.toFixed(0)} / ${measured.p99.toFixed(0)} ms (p50, p90, p99), ` +
          `simulated ${simulated.p50.toFixed(0)} / ${simulated.p90.toFixed(0)} / ${simulated.p99.toFixed(0)} ms`
      )
    }
    const of = (figure: "p50" | "p99" | "p50_error" | "p99_error") => median(rounds.map((each) => each[figure]))
    return {
      figures: {
        p50_error: round(of("p50_error")),
        p99_error: round(of("p99_error")),
        wait_p50_ms: round(of("p50"), 0),
        wait_p99_ms: round(of("p99"), 0),
        requests: requestCount
      },
      budgets: [
        { figure: "p50_error", atMost: tolerated },
        { figure: "p99_error", atMost: tolerated }
      ]
    }
  } finally {
    await platform.close()
  }
}
