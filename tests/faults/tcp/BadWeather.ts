/**
 * Callers and workers behind a network with faults, by a seed: what callers are told and what is there when it is over.
 *
 * @module
 */
import { carryOut, claimUntilEnded, type Plan } from "../../chaos/Caller.ts"
import { explain } from "../../chaos/Explain.ts"
import { planOf } from "../../chaos/Kills.ts"
import * as Random from "../../chaos/Random.ts"
import { type Counts, check, type Verdict } from "../../history/Checker.ts"
import type { Entry } from "../../history/History.ts"
import * as ProxiedWorld from "./ProxiedWorld.ts"
import type { FaultEvent } from "./TcpFaults.ts"
import * as Weather from "./Weather.ts"

export interface BadWeatherOptions {
  readonly where: "callers" | "workers"
  readonly transport: ProxiedWorld.Transport
  readonly requests: number
  readonly seed: number
}

export interface BadWeatherReport {
  readonly counts: Counts
  readonly verdicts: ReadonlyArray<Verdict>
  readonly explained: ReadonlyArray<string>
  /** Of the proxy, as it told them. */
  readonly events: ReadonlyArray<FaultEvent>
  readonly faults: number
}

const callersCount = 8
const settleMs = 60_000
/** Longer than any run takes: what is under way then hangs. */
const endsWithinMs = 150_000
const faultPauseMs = 60
/** Callers go on until there were so many: else a fast machine would be through in fine weather. */
const faultsMin = 15
const explainedMax = 10
/** An assignment can be under way for long in a network like this. */
const startSlackMs = 5_000

export const run = async ({ where, transport, requests, seed }: BadWeatherOptions): Promise<BadWeatherReport> => {
  const random = Random.make(seed)
  const proxied = await ProxiedWorld.open({ random, transport })
  try {
    const { world, direct } = proxied
    const caller = where === "callers" ? world : direct
    // An instance is there before the network fails: its start is not what this is about.
    const first: Plan = { ...planOf(random, 0), path: "any", isAsync: false, deadlineMs: undefined }
    await carryOut(direct, {
      ...first,
      item: "first",
      order: { ...first.order, item: "first" },
      key: undefined,
      leaveAfterMs: undefined
    })
    const weather = Weather.begin(proxied[where], random, faultPauseMs)
    const promised: Array<string> = []
    let next = 0
    const call = async () => {
      while (next < requests || weather.count() < faultsMin) {
        const plan = planOf(random, next++)
        const id = await carryOut(caller, { ...plan, claimsAtOnce: false })
        if (id !== undefined) promised.push(id)
      }
    }
    const calling = Promise.all(Array.from({ length: callersCount }, call))
    let stage = "calls are under way"
    // What a blackhole swallowed is only known to be lost when it is lifted: callers have no clock of their own.
    const settled = Promise.race([calling, lasting(requests, weather)])
      .then(weather.clear)
      .then(async (count) => {
        stage = "the weather is fine and calls are under way"
        await calling
        stage = "results are claimed"
        await Promise.all(promised.map((id) => claimUntilEnded(direct, id, settleMs)))
        return count
      })
    const faults = await inTime(settled, () => `${stage}: ${stateOf(proxied, where)}`)
    const history = world.recording.history()
    const { counts, verdicts } = check(history, { startSlackMs })
    const explained = verdicts.slice(0, explainedMax).flatMap((verdict) => explain(history, verdict))
    return { counts, verdicts, explained, events: proxied[where].events, faults }
  } finally {
    await proxied.close()
  }
}

/** What there is to know of a run that hangs. */
const stateOf = ({ world, life, ...proxies }: ProxiedWorld.ProxiedWorld, where: "callers" | "workers"): string => {
  const open = new Map<string, Entry>()
  const outcomes: Record<string, number> = {}
  for (const entry of world.recording.history()) {
    outcomes[entry._tag] = (outcomes[entry._tag] ?? 0) + 1
    if (entry._tag === "Called") open.set(entry.call, entry)
    else if ("call" in entry) open.delete(entry.call)
  }
  const proxy = proxies[where]
  return JSON.stringify({
    open: [...open.values()],
    outcomes,
    connections: proxy.connectionCount(),
    passed: { up: proxy.passedBytes("up"), down: proxy.passedBytes("down") },
    weather: proxy.events.slice(-20),
    nowMs: performance.now(),
    platform: { isOver: life.isOver(), said: life.said().slice(-2_000) }
  })
}

const inTime = async <A>(work: Promise<A>, state: () => string): Promise<A> => {
  let timer: NodeJS.Timeout | undefined
  const overdue = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not over after ${endsWithinMs} ms: ${state()}`)), endsWithinMs)
  })
  return Promise.race([work, overdue]).finally(() => clearTimeout(timer))
}

/**
 * A pause or a blackhole can be the last thing that happens to a caller; at some point the weather is fine again, but not
 * before the callers have seen as many faults as they wait for.
 */
const lasting = async (requests: number, weather: Weather.Weather): Promise<void> => {
  const untilMs = performance.now() + 2_000 + requests * 40
  while (performance.now() < untilMs || weather.count() < faultsMin) {
    await new Promise((resolve) => setTimeout(resolve, faultPauseMs))
  }
}
