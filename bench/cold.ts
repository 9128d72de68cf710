/**
 * A call at zero: how long until the order to start leaves, and how long until the answer is there, against the floor:
 * a bare `node:http` server from `spawn` to its first answer. Once without zygotes, which is what the ratio is about,
 * and once with one that waits.
 *
 * The same function again and again, each time back at zero first, as it is with a function that is called now and then.
 *
 * Every start is a decision, on both platforms. The p99 of fewer than 100 would be the slowest of them, so each round goes
 * on with starts from a zygote, the cheapest there are. The first decision of a process, which finds code that has never
 * run, is among them and told by itself as well.
 *
 * @module
 */
import type { Bench } from "./Bench.ts"
import * as BenchProcess from "./BenchProcess.ts"
import * as PlatformUnderTest from "./PlatformUnderTest.ts"
import { median, quantile, round } from "./Statistics.ts"
import * as Zygotes from "./Zygotes.ts"

const startsPerRound = 15
/** On the platform with a zygote, for the sake of their decisions alone. */
const decisionsPerRound = 25
const zeroDeadlineMs = 20_000
const path = "/f/hello/"

const untilZero = async (platform: PlatformUnderTest.PlatformUnderTest): Promise<void> => {
  const untilMs = performance.now() + zeroDeadlineMs
  for (;;) {
    const count = (await platform.instancePids()).length
    if (count === 0) return
    if (performance.now() > untilMs) throw new Error(`${count} instances are still there after ${zeroDeadlineMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const startPlatform = (zygotes: number) =>
  PlatformUnderTest.start(
    [{ name: "hello", file: "hello.mjs", deployment: { maxInstances: 1, idleWindowMs: 100 }, version: {} }],
    { backend: { zygotes } }
  )

/** From the arrival of a call at zero to the order to start, in the order of the starts. */
const decisionsOf = async (platform: PlatformUnderTest.PlatformUnderTest): Promise<ReadonlyArray<number>> =>
  (await platform.starts()).map((start) => start.launchedAtMs - start.arrivedAtMs)

export const cold: Bench = async ({ repetitions, say }) => {
  const [plain, pooled] = await Promise.all([startPlatform(0), startPlatform(1)])
  const forker = await BenchProcess.start("forker.ts", [], [])
  // The answer of `processes/forker.ts`.
  const forkToListening = async () => ((await forker.ask({})) as { tookMs: number }).tookMs
  const startFromZygote = async () => {
    await Zygotes.untilWaiting(pooled.pid)
    const tookMs = await PlatformUnderTest.call(pooled.port, path)
    await untilZero(pooled)
    return tookMs
  }
  try {
    // The first start ever fills the compile cache, as it does on every installation once, and calls for a zygote.
    for (const platform of [plain, pooled]) {
      const firstMs = await PlatformUnderTest.call(platform.port, path)
      await untilZero(platform)
      say(`the first start of all took ${firstMs.toFixed(1)} ms`)
    }
    await forkToListening()
    const ratios: Array<number> = []
    const forks: Array<number> = []
    const colds: Array<number> = []
    const zygotes: Array<number> = []
    const zygoteRatios: Array<number> = []
    for (let index = 0; index < repetitions; index++) {
      const called: Array<number> = []
      const bare: Array<number> = []
      const given: Array<number> = []
      for (let start = 0; start < startsPerRound; start++) {
        bare.push(await forkToListening())
        called.push(await PlatformUnderTest.call(plain.port, path))
        await untilZero(plain)
        given.push(await startFromZygote())
      }
      for (let start = 0; start < decisionsPerRound; start++) await startFromZygote()
      zygoteRatios.push(median(given) / median(bare))
      ratios.push(median(called) / median(bare))
      forks.push(median(bare))
      colds.push(median(called))
      zygotes.push(median(given))
      say(
        `round ${index + 1}: p50 of ${startsPerRound} cold calls ${median(called).toFixed(1)} ms` +
          `; with a zygote ${median(given).toFixed(1)} ms; bare fork to first answer ${median(bare).toFixed(1)} ms`
      )
    }
    const decisions = [await decisionsOf(plain), await decisionsOf(pooled)]
    const decided = decisions.flat()
    return {
      figures: {
        decide_p50_ms: round(quantile(decided, 0.5)),
        decide_p99_ms: round(quantile(decided, 0.99)),
        decide_first_ms: round(Math.max(...decisions.map(([first = Number.NaN]) => first))),
        ratio_fork: round(median(ratios)),
        zygote_p50_ms: round(median(zygotes), 1),
        zygote_ratio_fork: round(median(zygoteRatios)),
        cold_p50_ms: round(median(colds), 1),
        fork_p50_ms: round(median(forks), 1),
        starts: decided.length
      },
      budgets: [
        { figure: "decide_p99_ms", atMost: 10 },
        { figure: "ratio_fork", atMost: 1.7 },
        { figure: "zygote_p50_ms", atMost: 25 }
      ]
    }
  } finally {
    await Promise.all([plain.close(), pooled.close(), forker.close()])
  }
}
