/**
 * Cordon and drain of a cluster, as services on NATS: from the order at the control API until it is obeyed. Two clusters of
 * real processes, under load; `CLUSTERS_ROUNDS` rounds (10), in turns for each of the clusters.
 *
 * `cordon_max_ms`: until the last instance was ordered to start there, while functions wake from zero all the time.
 * `drain_max_ms`: until the last call began there, while calls go on. `emptied_max_ms`: until its last instance was gone,
 * which takes what the replacement takes to start. `not_answered`, `run_twice`: of all calls.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises"
import type { InstanceReport } from "../src/planes/compute/AgentMessage.ts"
import * as Services from "../tests/serve/Services.ts"
import { startNats } from "../tests/services/RunningNats.ts"
import type { Bench } from "./Bench.ts"
import { median, round } from "./Statistics.ts"

const roundsDefault = 10
const budgetMs = 1_000
const callers = 4
const sleepers = 8
/** Between two functions that wake. */
const wakeEveryMs = 100
const beforeMs = 1_500
const afterMs = 2_000
const limitMs = 60_000

interface Call {
  readonly status: number
  readonly attempt: number
  readonly pid: number
  readonly beganAtMs: number
}

const rounds = (): number => {
  const given = Number(process.env["CLUSTERS_ROUNDS"] ?? roundsDefault)
  if (Number.isInteger(given) && given > 0) return given
  throw new Error(`CLUSTERS_ROUNDS is ${process.env["CLUSTERS_ROUNDS"]}: it must be a whole number from 1 on`)
}

export const clusters: Bench = async ({ say }) => {
  const nats = await startNats()
  const services = Services.make(nats, "bench")
  try {
    const often = { "agent.heartbeatMs": "500" }
    const [invocation, control] = await Promise.all([
      services.start("invocation"),
      services.start("control"),
      services.start("agent", { "agent.cluster": "east", ...often }),
      services.start("agent", { "agent.cluster": "west", ...often })
    ])
    const api = services.api(control)
    const order = async (cluster: string, what: "cordon" | "drain" | "uncordon"): Promise<number> => {
      const atMs = Date.now()
      await api("POST", `/v1/clusters/${cluster}/${what}`)
      return atMs
    }
    const seen = new Map<string, InstanceReport>()
    const instances = async (): Promise<ReadonlyArray<InstanceReport>> => {
      const { items } = await api<{ readonly items: ReadonlyArray<InstanceReport> }>("GET", "/v1/instances")
      for (const item of items) seen.set(item.instanceId, item)
      return items
    }
    const calls: Array<Call> = []
    const call = async (name: string): Promise<void> => {
      const response = await fetch(`${invocation.facts["gateway"]}/f/${name}/inspect`)
      const text = await response.text()
      const { attempt = 0, pid = 0, beganAtMs = 0 } = response.ok ? JSON.parse(text) : {}
      calls.push({ status: response.status, attempt, pid, beganAtMs })
    }
    const until = async (what: string, isTrue: () => Promise<boolean>): Promise<void> => {
      const endMs = performance.now() + limitMs
      while (!(await isTrue())) {
        if (performance.now() > endMs) throw new Error(`${what} did not happen within ${limitMs} ms`)
        await sleep(20)
      }
    }

    const settings = { clusters: ["east", "west"], idleWindowMs: 100, graceMs: 500 }
    const names = Array.from({ length: sleepers }, (_, index) => `sleeper-${index}`)
    for (const name of names) await services.cli(control, "deploy", services.functionFolder(name, settings))
    const steady = { minInstances: 1, maxInstances: 1, concurrency: callers }
    await services.cli(control, "deploy", services.functionFolder("steady", steady))
    await until("both clusters are there", async () => {
      const { items } = await api<{ readonly items: ReadonlyArray<{ readonly state: string }> }>("GET", "/v1/clusters")
      return items.length === 2
    })
    await call("steady")

    /** Load of both kinds while `body` runs. */
    const loaded = async <A>(body: () => Promise<A>): Promise<A> => {
      let isOver = false
      const wakers = async () => {
        const open = new Set<Promise<void>>()
        for (let index = 0; !isOver; index++) {
          const one = call(names[index % sleepers]!).finally(() => open.delete(one))
          open.add(one)
          await instances()
          await sleep(wakeEveryMs)
        }
        await Promise.all(open)
      }
      const steadies = async () => {
        while (!isOver) {
          await call("steady")
          await sleep(5)
        }
      }
      const load = [wakers(), ...Array.from({ length: callers }, steadies)]
      try {
        return await body()
      } finally {
        isOver = true
        await Promise.all(load)
        await instances()
      }
    }
    const lastAfter = (times: ReadonlyArray<number>, atMs: number) => Math.max(0, ...times.map((time) => time - atMs))
    const isLive = ({ state }: InstanceReport) => state !== "stopped" && state !== "failed"

    let all = 0
    let notAnswered = 0
    let runTwice = 0
    const cordoned: Array<number> = []
    const drained: Array<number> = []
    const emptied: Array<number> = []
    for (let index = 0; index < rounds(); index++) {
      const [from, to] = index % 2 === 0 ? (["east", "west"] as const) : (["west", "east"] as const)
      // All of it is there, so that there is something to move.
      await order(to, "drain")
      await until(`${to} is empty`, async () => !(await instances()).some((one) => one.cluster === to && isLive(one)))
      await order(to, "uncordon")
      seen.clear()
      calls.length = 0
      const cordonedAtMs = await loaded(async () => {
        await order(to, "cordon")
        await sleep(beforeMs)
        // Until now nothing could start but there.
        await order(to, "uncordon")
        const atMs = await order(from, "cordon")
        await sleep(afterMs)
        return atMs
      })
      const ordered = [...seen.values()].filter(({ cluster }) => cluster === from)
      if (!ordered.some(({ requestedAtMs }) => requestedAtMs < cordonedAtMs)) throw new Error(`nothing woke in ${from}`)
      const cordonMs = lastAfter(
        ordered.map(({ requestedAtMs }) => requestedAtMs),
        cordonedAtMs
      )
      let emptiedMs = 0
      const drainedAtMs = await loaded(async () => {
        await sleep(beforeMs / 2)
        const atMs = await order(from, "drain")
        await until(
          `${from} is empty`,
          async () => !(await instances()).some((one) => one.cluster === from && isLive(one))
        )
        emptiedMs = Date.now() - atMs
        await sleep(afterMs / 2)
        return atMs
      })
      const pids = new Set([...seen.values()].filter(({ cluster }) => cluster === from).map(({ pid }) => pid))
      const there = calls.filter(({ pid }) => pids.has(pid)).map(({ beganAtMs }) => beganAtMs)
      if (!there.some((time) => time < drainedAtMs)) throw new Error(`no call ran in ${from}`)
      const drainMs = lastAfter(there, drainedAtMs)
      cordoned.push(cordonMs)
      drained.push(drainMs)
      emptied.push(emptiedMs)
      await order(from, "uncordon")
      say(
        `${from}: the last start ${cordonMs} ms after it was cordoned, the last call ${drainMs} ms after it was drained, ` +
          `empty after ${emptiedMs} ms; ${calls.length} calls`
      )
      notAnswered += calls.filter(({ status }) => status !== 200).length
      runTwice += calls.filter(({ attempt }) => attempt > 1).length
      all += calls.length
    }
    return {
      figures: {
        calls: all,
        cordon_p50_ms: round(median(cordoned)),
        cordon_max_ms: Math.max(...cordoned),
        drain_p50_ms: round(median(drained)),
        drain_max_ms: Math.max(...drained),
        emptied_max_ms: Math.max(...emptied),
        not_answered: notAnswered,
        run_twice: runTwice
      },
      budgets: [
        { figure: "cordon_max_ms", atMost: budgetMs },
        { figure: "drain_max_ms", atMost: budgetMs },
        { figure: "not_answered", atMost: 0 },
        { figure: "run_twice", atMost: 0 }
      ]
    }
  } finally {
    await services.close()
    await nats.remove()
  }
}
