/**
 * Very many functions: 100,000 are registered and deployed, 10,000 of them have an instance, against a platform with ten
 * that have one, both at the same time and in turns. Timed is a warm call (one of those that have an instance) and a cold
 * one (none has been called before), each by one caller. `MANY_REGISTERED` and `MANY_ACTIVE` ask for other numbers.
 *
 * Instances are SDK workers in a process of their own and start at once, so `cold` is the platform's part of a cold start.
 * `rss_mb` is of the process with all planes, at the end, and that process found its functions when it started;
 * `rss_made_mb` is of the one that made them, right after it had. `restart_ms` from the start of a process on the same state directory, after a
 * SIGKILL, until it takes calls. `MANY_FABRIC=nats`: all of it on a NATS server, whose own memory is not in `rss_mb`. Where a sync
 * for each record would take most of an hour the functions are made before the server has `sync_interval: always`; everything
 * that is measured has it.
 *
 * @module
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { Agent, request } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { startNats } from "../tests/services/RunningNats.ts"
import type { Bench } from "./Bench.ts"
import * as BenchProcess from "./BenchProcess.ts"
import type { ManyStarted } from "./processes/many.ts"
import { median, quantile, round } from "./Statistics.ts"

const few = { active: 10, cold: 600 }
const callersThatWake = 32
const warmCalls = 2_000
const coldCalls = 100
const makeMs = 1_800_000
/** Two installations of 16 shards have room on the server. */
const natsLogBytes = 128 * 1024 * 1024
const rssBudgetMb = 512
const restartBudgetMs = 5_000
const ratioBudget = 1.1

const numberOf = (name: string, otherwise: number): number => {
  const given = Number(process.env[name] ?? otherwise)
  if (Number.isInteger(given) && given > 0) return given
  throw new Error(`${name} is ${process.env[name]}: it must be a whole number from 1 on`)
}

/** Numbers between 0 and 1 (mulberry32): the same functions are called in every run. */
const random = (seed: number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** One platform and its callers. */
class Ground {
  readonly #child: BenchProcess.BenchProcess<ManyStarted>
  readonly #active: number
  readonly #agent = new Agent({ keepAlive: true, maxSockets: callersThatWake })
  readonly #chance = random(1)
  #coldNext: number

  constructor(child: BenchProcess.BenchProcess<ManyStarted>, active: number) {
    this.#child = child
    this.#active = active
    this.#coldNext = active
  }

  /** The first call of each function that is to have an instance. */
  async wake(): Promise<void> {
    let next = 0
    const loop = async () => {
      while (next < this.#active) await this.#call(next++)
    }
    await Promise.all(Array.from({ length: callersThatWake }, loop))
  }

  /** Milliseconds, each. */
  async warm(): Promise<ReadonlyArray<number>> {
    const all: Array<number> = []
    for (let left = warmCalls; left > 0; left--) all.push(await this.#call(Math.floor(this.#chance() * this.#active)))
    return all
  }

  async cold(): Promise<ReadonlyArray<number>> {
    const all: Array<number> = []
    for (let left = coldCalls; left > 0; left--) all.push(await this.#call(this.#coldNext++))
    return all
  }

  rssMb(): number {
    const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.#child.pid}/status`, "utf8"))
    return Number(line?.[1] ?? Number.NaN) / 1_024
  }

  kill(): Promise<void> {
    this.#agent.destroy()
    process.kill(this.#child.pid, "SIGKILL")
    return this.#child.close()
  }

  #call(index: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const from = performance.now()
      const { port } = this.#child.started
      const path = `/f/function-${index}`
      const call = request({ port, path, host: "127.0.0.1", method: "POST", agent: this.#agent }, (response) => {
        response.resume()
        response.once("end", () => {
          if (response.statusCode === 200) resolve(performance.now() - from)
          else reject(new Error(`${path} answered ${response.statusCode}`))
        })
      })
      call.once("error", reject)
      call.end("x".repeat(1_024))
    })
  }
}

export const many: Bench = async ({ repetitions, say }) => {
  const registered = numberOf("MANY_REGISTERED", 100_000)
  const active = numberOf("MANY_ACTIVE", 10_000)
  const nats = process.env["MANY_FABRIC"] === "nats" ? await startNats({ syncInterval: undefined }) : undefined
  let durability = "process-crash-only"
  const directories = [0, 1].map(() => mkdtempSync(join(tmpdir(), "millrace-many-")))
  const open = async (at: 0 | 1, count: number, running: number) => {
    const args = [directories[at] ?? "", String(count)]
    if (nats !== undefined) {
      const system = { servers: [nats.systemUrl], credentials: { _tag: "Anonymous" } }
      const settings = { system, prefix: `many-${at}`, logBytesMax: natsLogBytes, durability }
      args.push(JSON.stringify({ servers: [nats.url], ...settings }))
    }
    const child = await BenchProcess.start<ManyStarted>("many.ts", args, BenchProcess.nodeFlags, makeMs)
    return { child, ground: new Ground(child, running) }
  }
  const grounds: Array<Ground> = []
  try {
    const made = performance.now()
    const { ground: maker } = await open(0, registered, active)
    say(`${registered} functions were made in ${round((performance.now() - made) / 1_000, 1)} s`)
    const rssMadeMb = maker.rssMb()
    await maker.kill()
    if (nats !== undefined) {
      await (await open(1, few.active + few.cold, few.active)).ground.kill()
      await nats.end()
      await nats.start({ ...nats.settings, syncInterval: "always" })
      durability = "power-loss"
    }
    const { ground: large, child } = await open(0, registered, active)
    grounds.push(large)
    const { ground: small } = await open(1, few.active + few.cold, few.active)
    grounds.push(small)
    const woken = performance.now()
    await large.wake()
    await small.wake()
    say(`${active} have an instance after ${round((performance.now() - woken) / 1_000, 1)} s`)
    const seen = {
      warm: [] as Array<number>,
      cold: [] as Array<number>,
      warmFew: [] as Array<number>,
      coldFew: [] as Array<number>
    }
    // The first round of both compiles the code.
    for (let index = 0; index <= repetitions; index++) {
      const round_ = {
        warmFew: await small.warm(),
        warm: await large.warm(),
        coldFew: await small.cold(),
        cold: await large.cold()
      }
      if (index === 0) continue
      for (const key of ["warm", "cold", "warmFew", "coldFew"] as const) seen[key].push(quantile(round_[key], 0.5))
      say(
        `round ${index}: warm ${round(seen.warm.at(-1) ?? 0, 3)} ms against ${round(seen.warmFew.at(-1) ?? 0, 3)}, ` +
          `cold ${round(seen.cold.at(-1) ?? 0)} against ${round(seen.coldFew.at(-1) ?? 0)}`
      )
    }
    const rssMb = large.rssMb()
    const { registered: count } = child.started
    await large.kill()
    grounds.shift()
    const restarts: Array<number> = []
    for (let index = 0; index < repetitions; index++) {
      const again = await open(0, count, active)
      restarts.push(again.child.started.readyMs)
      await again.ground.kill()
    }
    return {
      figures: {
        registered,
        active,
        warm_p50_ms: round(median(seen.warm), 3),
        ratio_warm: round(median(seen.warm) / median(seen.warmFew)),
        cold_p50_ms: round(median(seen.cold)),
        ratio_cold: round(median(seen.cold) / median(seen.coldFew)),
        rss_mb: Math.round(rssMb),
        rss_made_mb: Math.round(rssMadeMb),
        restart_ms: Math.round(median(restarts))
      },
      budgets: [
        { figure: "ratio_warm", atMost: ratioBudget },
        { figure: "ratio_cold", atMost: ratioBudget },
        { figure: "rss_mb", atMost: rssBudgetMb },
        { figure: "restart_ms", atMost: restartBudgetMs }
      ]
    }
  } finally {
    await Promise.all(grounds.map((ground) => ground.kill()))
    await nats?.remove()
    for (const directory of directories) rmSync(directory, { recursive: true, force: true })
  }
}
