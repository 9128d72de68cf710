/**
 * A start storm: functions wake from zero, `STORM_PER_SECOND` of them each second (2,750) for `STORM_SECONDS` (60), each by
 * the demand of one request. Timed is the way from the moment at which the demand was due to the order to start at the
 * backend: scaling, placement, the durable queue, the agent. Control plane, agent, store and a simulated cluster of 10,000
 * GPUs are one process, held on one core where there is `taskset`.
 *
 * `cpu_us_per_life`: processor time of all threads for one life, from demand to gone. `decisions_per_s`: start orders over
 * the time that they took. `log_appends`: how often the storm wrote into the logs of requests.
 *
 * @module
 */
import { spawnSync } from "node:child_process"
import type { Bench } from "./Bench.ts"
import * as BenchProcess from "./BenchProcess.ts"
import type { StormFigures } from "./processes/storm.ts"
import { median, quantile, round } from "./Statistics.ts"

const perSecondDefault = 2_750
const secondsDefault = 60
const warmUpPerSecond = 1_500
const warmUpSeconds = 15
const budgetPerSecond = 2_500
const budgetP99Ms = 50

const numberOf = (name: string, otherwise: number): number => {
  const given = Number(process.env[name] ?? otherwise)
  if (Number.isInteger(given) && given > 0) return given
  throw new Error(`${name} is ${process.env[name]}: it must be a whole number from 1 on`)
}

/** All threads of it, those of the store and of the collector too. */
const holdOnOneCore = (pid: number): boolean => spawnSync("taskset", ["-apc", "0", String(pid)]).status === 0

export const storm: Bench = async ({ repetitions, say }) => {
  const perSecond = numberOf("STORM_PER_SECOND", perSecondDefault)
  const seconds = numberOf("STORM_SECONDS", secondsDefault)
  const rates: Array<number> = []
  const p50s: Array<number> = []
  const p99s: Array<number> = []
  const cpus: Array<number> = []
  let lost = 0
  let doubles = 0
  let logAppends = 0
  for (let index = 1; index <= repetitions; index++) {
    const child = await BenchProcess.start("storm.ts")
    try {
      if (!holdOnOneCore(child.pid)) say("there is no taskset: the store's thread may have a core of its own")
      // Every function wakes more than once, so that what is measured is compiled code; these seconds are not measured.
      await child.ask({ perSecond: Math.min(warmUpPerSecond, perSecond), seconds: warmUpSeconds }, 60_000)
      // The answer of `processes/storm.ts`.
      const figures = (await child.ask({ perSecond, seconds }, seconds * 4_000 + 60_000)) as StormFigures
      const rate = (figures.latenciesMs.length / figures.tookMs) * 1_000
      const p99 = quantile(figures.latenciesMs, 0.99)
      rates.push(rate)
      p50s.push(quantile(figures.latenciesMs, 0.5))
      p99s.push(p99)
      cpus.push((figures.cpuMs / figures.latenciesMs.length) * 1_000)
      lost += figures.lost
      doubles += figures.doubles
      logAppends += figures.logAppends
      const used = `${round(figures.cpuMs / figures.tookMs)} cores used`
      say(`round ${index}: ${round(rate)} starts/s, p99 ${round(p99)} ms, lost ${figures.lost}, ${used}`)
    } finally {
      await child.close()
    }
  }
  return {
    figures: {
      decisions_per_s: round(median(rates)),
      p50_ms: round(median(p50s)),
      p99_ms: round(median(p99s)),
      lost,
      doubles,
      log_appends: logAppends,
      cpu_us_per_life: round(median(cpus))
    },
    budgets: [
      { figure: "decisions_per_s", atLeast: budgetPerSecond },
      { figure: "p99_ms", atMost: budgetP99Ms },
      { figure: "lost", atMost: 0 },
      { figure: "doubles", atMost: 0 },
      { figure: "log_appends", atMost: 0 }
    ]
  }
}
