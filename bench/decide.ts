/**
 * One decision pass: for each of 1,000 functions, a look of its scaling machine and a placement among 10 clusters, in
 * one thread, as processor time. Once for each policy.
 *
 * The machines have lived before: two minutes of random load, looked at every 500 ms and at every beat of the policy.
 * The pass that is measured is the dearest one: at a beat, with a load that changed, so that every machine evaluates and
 * every function looks for a cluster. Placement reserves nothing, so that each sees the same clusters.
 *
 * `npm run bench -- decide`, or `node bench/decide.ts`
 *
 * @module
 */
import { invariant } from "../src/core/collections/invariant.ts"
import * as Placement from "../src/core/placement/Placement.ts"
import * as Policies from "../src/core/scaling/Policies.ts"
import type { Observation } from "../src/core/scaling/Policy.ts"
import type { PolicyChoice } from "../src/core/scaling/PolicyChoice.ts"
import { Event } from "../src/core/scaling/Scaling.ts"
import { type Bench, shortfalls } from "./Bench.ts"
import { median, round } from "./Statistics.ts"

const functionCount = 1_000
const clusterCount = 10
const passes = 40
const livedMs = 120_000
const lookMs = 500
/** Every policy beats at a multiple of this. */
const beatMs = 30_000

/** Budget of the design, for the dearest policy. */
const budgetMs = 50

const choices: ReadonlyArray<PolicyChoice> = [
  "demand",
  "fixed",
  "knative",
  "hpa",
  "keda",
  "histogram",
  "nvcf",
  { name: "shadow", acting: { name: "demand" }, watched: { name: "nvcf" } }
]

const spec = { minInstances: 0, maxInstances: 50, concurrency: 4, idleWindowMs: 60_000 }
const gpuKinds = ["H100", "H200", "GB200"]

const clusters: ReadonlyArray<Placement.Cluster> = Array.from({ length: clusterCount }, (_, index) => ({
  name: `cluster-${index}`,
  state: "healthy" as const,
  cordoned: index === 3,
  draining: false,
  warm: index % 4 === 0,
  instanceTypes: gpuKinds.map((gpuKind, kind) => ({
    name: `gpu-${gpuKind}`,
    gpuKind,
    gpuCount: 8,
    total: 100,
    free: (index * 17 + kind * 29) % 100
  }))
}))

const requestOf = (index: number): Placement.Request => {
  const gpuKind = gpuKinds[index % gpuKinds.length] ?? "H100"
  return { instanceType: `gpu-${gpuKind}`, gpu: { kind: gpuKind, count: 1 + (index % 8) }, clusters: [] }
}

/** The same numbers in each run. */
let seed = 1
const random = (below: number): number => {
  seed = (seed * 48_271) % 2_147_483_647
  return seed % below
}

class Fleet {
  nowMs = beatMs * 1_000
  readonly #machines: Array<Policies.Machine>
  readonly #arrivals = new Array<number>(functionCount).fill(0)

  constructor(choice: PolicyChoice) {
    this.#machines = Array.from({ length: functionCount }, () => Policies.start(choice))
    for (const untilMs = this.nowMs + livedMs; this.nowMs < untilMs; ) {
      this.nowMs += lookMs
      this.look()
    }
  }

  look(): void {
    for (let index = 0; index < functionCount; index++) this.#step(index)
  }

  /** A look at every function, and a cluster for each. */
  pass(): void {
    for (let index = 0; index < functionCount; index++) {
      this.#step(index)
      const { cluster } = Placement.place({ request: requestOf(index), clusters })
      invariant(cluster !== undefined, `function ${index} found no cluster`)
    }
  }

  #step(index: number): void {
    const machine = this.#machines[index]
    if (machine === undefined) return
    const load = random(40)
    const ready = Math.max(1, machine.desired - random(2))
    const leased = Math.min(load, ready * spec.concurrency)
    this.#arrivals[index] = (this.#arrivals[index] ?? 0) + random(8)
    const observation: Observation = {
      nowMs: this.nowMs,
      pending: load - leased,
      leased,
      oldestPendingMs: load > leased ? 100 : null,
      arrivalsTotal: this.#arrivals[index] ?? 0,
      ready,
      starting: Math.max(0, machine.desired - ready),
      draining: 0,
      slotsPerInstance: spec.concurrency,
      desired: machine.desired,
      spec
    }
    this.#machines[index] = machine.next(Event.Observed({ observation }))[0]
  }
}

const usedMs = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

const nameOf = (choice: PolicyChoice): string => Policies.start(choice).policy

const figureOf = (choice: PolicyChoice): string =>
  `pass_ms_${nameOf(choice)
    .replaceAll(/[^a-z]+/g, "_")
    .replace(/_$/, "")}`

/** One fleet, its passes one after the other. */
const measure = (choice: PolicyChoice): number => {
  const fleet = new Fleet(choice)
  const times: Array<number> = []
  for (let pass = 0; pass < passes; pass++) {
    // Up to the next beat, unmeasured, and then the pass in which every policy evaluates.
    fleet.nowMs += beatMs - 1
    fleet.look()
    fleet.nowMs += 1
    const startedMs = usedMs()
    fleet.pass()
    times.push(usedMs() - startedMs)
  }
  return median(times)
}

export const decide: Bench = async ({ repetitions, say }) => {
  const measured = new Map(choices.map((choice): [PolicyChoice, Array<number>] => [choice, []]))
  for (let index = 1; index <= repetitions; index++) {
    for (const [choice, times] of measured) {
      const passMs = measure(choice)
      times.push(passMs)
      say(`round ${index}: ${nameOf(choice)}: ${round(passMs)} ms a pass of ${functionCount} functions`)
    }
  }
  const figures = [...measured].map(([choice, times]): [string, number] => [figureOf(choice), round(median(times))])
  return {
    figures: { ...Object.fromEntries(figures), pass_ms_worst: Math.max(...figures.map(([, passMs]) => passMs)) },
    budgets: [{ figure: "pass_ms_worst", atMost: budgetMs }]
  }
}

if (import.meta.main) {
  const result = await decide({ repetitions: 3, say: (line) => process.stderr.write(`${line}\n`) })
  for (const line of shortfalls(result)) process.stderr.write(`SHORT OF ITS BUDGET: ${line}\n`)
  process.stdout.write(`${JSON.stringify(result.figures)}\n`)
}
