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
    // What a blackhole swallowed is only known to be lost when it is lifted: callers have no clock of their own.
    const faults = await Promise.race([calling, lasting(requests)]).then(weather.clear)
    await calling
    await Promise.all(promised.map((id) => claimUntilEnded(direct, id, settleMs)))
    const history = world.recording.history()
    const { counts, verdicts } = check(history, { startSlackMs })
    const explained = verdicts.slice(0, explainedMax).flatMap((verdict) => explain(history, verdict))
    return { counts, verdicts, explained, events: proxied[where].events, faults }
  } finally {
    await proxied.close()
  }
}

/** A pause or a blackhole can be the last thing that happens to a caller; at some point the weather is fine again. */
const lasting = (requests: number) => new Promise<void>((resolve) => setTimeout(resolve, 2_000 + requests * 40))
