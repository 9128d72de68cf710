/**
 * Random faults of a cluster of three NATS servers under the calls of one platform: the leader of its shard's log is
 * killed or paused, another server is killed, all are killed at once; instances die as well.
 *
 * @module
 */
import { jetstreamManager } from "@nats-io/jetstream"
import { connect } from "@nats-io/transport-node"
import * as Streams from "../../src/planes/fabric/nats/Streams.ts"
import { connectionOptions } from "../../src/planes/fabric/nats/Supervisor.ts"
import { type RunningNats, startCluster } from "../services/RunningNats.ts"
import { monotonicMs } from "./Clock.ts"
import * as Kills from "./Kills.ts"
import * as Random from "./Random.ts"

const prefix = "chaos"
const shard = "shard-0"
const pauseMs = 3_000
const electionMs = 30_000

export type Fault = "leaderKilled" | "leaderPaused" | "otherKilled" | "allKilled"

export interface NatsKillReport {
  readonly report: Kills.KillReport
  readonly faults: Readonly<Record<Fault, number>>
  /** From each fault to the next 202, milliseconds. */
  readonly pausesMs: ReadonlyArray<number>
}

export interface NatsKillOptions {
  readonly requests: number
  readonly kills: number
  readonly seed: number
  readonly callers: number
  readonly say: (line: string) => void
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** By name, asked of whoever answers. */
const leaderOf = async (servers: ReadonlyArray<RunningNats>): Promise<string | undefined> => {
  const urls = servers.map(({ url }) => url)
  const connection = await connect(connectionOptions(urls, { _tag: "Anonymous" }, "chaos"))
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false, timeout: 2_000 })
    const info = await manager.streams.info(Streams.logStream(prefix, shard).name)
    return info.cluster?.leader
  } catch {
    return undefined
  } finally {
    await connection.close()
  }
}

/** The three have elected and take streams. */
const untilElected = async (servers: ReadonlyArray<RunningNats>): Promise<void> => {
  const urls = servers.map(({ url }) => url)
  const connection = await connect(connectionOptions(urls, { _tag: "Anonymous" }, "chaos"))
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false, timeout: 2_000 })
    for (const endMs = performance.now() + electionMs; ; ) {
      try {
        await manager.streams.add({ name: "elected", subjects: ["elected"], num_replicas: 3 })
        return
      } catch (error) {
        if (performance.now() > endMs) throw error
        await sleep(100)
      }
    }
  } finally {
    await connection.close()
  }
}

const chooseFault = (random: Random.Random): Fault => {
  const at = random.next()
  return at < 0.5 ? "leaderKilled" : at < 0.7 ? "leaderPaused" : at < 0.85 ? "otherKilled" : "allKilled"
}

const restart = async (server: RunningNats): Promise<void> => {
  await server.kill()
  await server.start()
}

export const run = async (options: NatsKillOptions): Promise<NatsKillReport> => {
  const servers = await startCluster()
  const random = Random.make(options.seed + 1)
  const faults = { leaderKilled: 0, leaderPaused: 0, otherKilled: 0, allKilled: 0 }
  const faultsAtMs: Array<number> = []
  const strike = async () => {
    const fault = chooseFault(random)
    const leaderName = await leaderOf(servers)
    const leader = servers.find(({ settings }) => settings.name === leaderName) ?? servers[0]!
    options.say(`${fault} (${leader.settings.name} leads)`)
    faults[fault]++
    faultsAtMs.push(monotonicMs())
    if (fault === "leaderKilled") return restart(leader)
    if (fault === "otherKilled") return restart(random.pick(servers.filter((server) => server !== leader))!)
    if (fault === "allKilled") return void (await Promise.all(servers.map(restart)))
    leader.signal("SIGSTOP")
    await sleep(pauseMs)
    leader.signal("SIGCONT")
  }
  try {
    await untilElected(servers)
    const report = await Kills.run({
      ...options,
      durability: "accepted",
      victims: ["nats", "nats", "nats", "instance"],
      nats: {
        fabric: {
          servers: servers.map(({ url }) => url),
          system: { servers: servers.map(({ systemUrl }) => systemUrl), credentials: { _tag: "Anonymous" } },
          prefix
        },
        killAndStart: strike
      }
    })
    const pausesMs = faultsAtMs.flatMap((atMs) => {
      const next = report.acceptedAtMs.find((acceptedMs) => acceptedMs >= atMs)
      return next === undefined ? [] : [next - atMs]
    })
    return { report, faults, pausesMs }
  } finally {
    await Promise.all(servers.map((server) => server.remove()))
  }
}
