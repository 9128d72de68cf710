/**
 * Millrace as it is run in production: three servers of NATS, three gateways, two copies of the control plane, three
 * clusters with an agent each, every process on a host of its own.
 *
 * @module
 */
import { execFile } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream"
import { connect } from "@nats-io/transport-node"
import * as Streams from "../../../src/planes/fabric/nats/Streams.ts"
import { connectionOptions } from "../../../src/planes/fabric/nats/Supervisor.ts"
import { freePort, type RunningNats, startCluster } from "../../services/RunningNats.ts"
import * as MillraceProcess from "../../support/MillraceProcess.ts"
import { root } from "../../support/TestPlatform.ts"
import { compileCache } from "../PlatformLife.ts"
import type { Host, Network } from "./Network.ts"

const prefix = "chaos"
const readyMs = 60_000
const drainedMs = 20_000

export const shardCount = 4
export const clusters = ["east", "west", "north"] as const

/** One process of the installation: it may be killed, paused, cut off, and always comes back the same. */
export interface Member {
  readonly name: string
  readonly host: Host
  /** Processes that stand and fall with it, itself first. */
  readonly pids: () => ReadonlyArray<number>
  readonly kill: () => Promise<void>
  /** Its own process only: what it started is left to itself. */
  readonly killAlone: () => Promise<void>
  /** Resolves when it is ready. */
  readonly start: () => Promise<void>
  /** What it said last, for whoever has to find out why. */
  readonly said: () => string
}

export interface Plane extends Member {
  readonly lines: () => ReadonlyArray<MillraceProcess.Line>
  readonly address: () => string
  /** Of a gateway: where workers connect. */
  readonly workerUrl: () => string
  readonly stop: () => Promise<void>
}

export interface Deployed {
  readonly functionId: string
  readonly versionId: string
}

export interface Installation {
  /** Where the function writes down what it does, once it runs there. */
  readonly home: string
  /** Signs the tokens of workers. */
  readonly workerSecret: Uint8Array
  readonly nats: ReadonlyArray<Member>
  readonly gateways: ReadonlyArray<Plane>
  readonly controls: ReadonlyArray<Plane>
  readonly agents: ReadonlyArray<Plane>
  /** The server that leads the log of this shard, asked of whoever answers. */
  readonly streamLeader: (shard: number) => Promise<Member | undefined>
  /** Who said last that it serves the shard. */
  readonly shardOwner: (shard: number) => Plane | undefined
  readonly controlLeader: () => Plane | undefined
  /** Streams of NATS that have no leader, or a copy that is behind; undefined: nobody answers. */
  readonly notWhole: () => Promise<ReadonlyArray<string> | undefined>
  /** Messages of workers whose lease is over that the gateways have refused, as this copy of the control plane hears it. */
  readonly staleRefused: (control: Plane) => Promise<number | null>
  /** One command of the CLI, where this copy of the control plane is. */
  readonly cli: (control: Plane, ...words: ReadonlyArray<string>) => Promise<string>
  /** A function of this name, with these lines of its `millrace.json`. */
  readonly deploy: (name: string, content: Readonly<Record<string, unknown>>) => Promise<Deployed>
  /** In order: every plane is told to end; what a drain leaves is killed. */
  readonly close: () => Promise<void>
}

/** It and all that it started, as the kernel knows them now. */
const treeOf = (pid: number): ReadonlyArray<number> => {
  const children = () => {
    try {
      return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number)
    } catch {
      return []
    }
  }
  return [pid, ...children().flatMap(treeOf)]
}

/** Those that are gone by now are passed over. */
export const signalAll = (pids: ReadonlyArray<number>, signal: NodeJS.Signals): void => {
  for (const pid of pids) {
    try {
      process.kill(pid, signal)
    } catch {
      // It is gone.
    }
  }
}

const natsMember = (server: RunningNats, host: Host): Member => ({
  name: `nats ${server.settings.name}`,
  host,
  pids: () => [server.pid],
  kill: () => server.kill(),
  killAlone: () => server.kill(),
  start: () => server.start(),
  said: () => server.output
})

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

type PlaneName = "invocation" | "control" | "agent"

interface PlaneInit {
  readonly plane: PlaneName
  readonly name: string
  readonly host: Host
  readonly settings: Readonly<Record<string, string>>
  readonly file: string
  readonly home: string
  /** It ended, and nobody asked for it. */
  readonly onEnd: (why: string) => void
}

const planeMember = ({ plane, name, host, settings, file, home, onEnd }: PlaneInit): Plane => {
  const set = Object.entries(settings).flatMap(([path, value]) => ["--set", `${path}=${value}`])
  const words = ["serve", plane, "--config", file, ...set]
  const environment = { HOME: home, NODE_COMPILE_CACHE: compileCache }
  let life: MillraceProcess.MillraceProcess | undefined
  let ending: MillraceProcess.MillraceProcess | undefined
  const alive = () => {
    if (life === undefined) throw new Error(`${name} was never started`)
    return life
  }
  const said = () => `${name}: ${JSON.stringify(life?.lines.slice(-20))}\n${life?.stderr().slice(-2_000) ?? ""}`
  const pids = () => treeOf(alive().child.pid ?? 0)
  return {
    name,
    host,
    said,
    pids,
    lines: () => life?.lines ?? [],
    address: () => `http://${host.address}:${settings[`${plane}.port`]}`,
    workerUrl: () => `ws://${host.address}:${settings["invocation.workerPort"]}`,
    kill: async () => {
      ending = alive()
      // A host that dies takes with it all that runs on it.
      signalAll(pids(), "SIGKILL")
      await ending.exited
    },
    killAlone: async () => {
      ending = alive()
      await ending.stop("SIGKILL")
    },
    stop: async () => {
      ending = alive()
      const left = pids()
      const timer = setTimeout(() => signalAll(left, "SIGKILL"), drainedMs)
      await ending.stop("SIGTERM")
      clearTimeout(timer)
    },
    start: async () => {
      // As a service manager would: one that cannot begin now is begun again.
      for (const endMs = performance.now() + readyMs; ; await sleep(200)) {
        const begun = MillraceProcess.start(words, environment, host.wrapper)
        life = begun
        const over = begun.exited.then(({ code, signal }) => `${name} ended, with ${signal ?? code}\n${said()}`)
        const ready = begun.line(`${name} is ready`, ({ event }) => event === "ready", readyMs).then(() => undefined)
        const failed = await Promise.race([ready, over])
        if (failed !== undefined) {
          ready.catch(() => {})
          if (begun === ending || performance.now() > endMs) throw new Error(failed)
          continue
        }
        void over.then((why) => {
          if (begun !== ending) onEnd(why)
        })
        return
      }
    }
  }
}

/** Highest epoch from which this gateway said that it serves the shard. */
const servedSince = (gateway: Plane, shard: string): number => {
  let epoch = -1
  for (const { message } of gateway.lines()) {
    if (!Array.isArray(message) || message[0] !== "a shard moved") continue
    // Logged by the invocation plane.
    const { shard: moved, what } = message[1] as { readonly shard: string; readonly what: string }
    const since = /^served here.* from epoch (\d+) on(?::|$)/.exec(what)?.[1]
    if (moved === shard && since !== undefined) epoch = Math.max(epoch, Number(since))
  }
  return epoch
}

/** Epoch in which this copy says that it leads; -1: it does not. One that stands still says so for ever. */
const ledSince = (control: Plane): number => {
  const last = control.lines().findLast(({ event }) => event === "leader")
  return last?.["leads"] === true ? Number(last["epoch"]) : -1
}

/** A cluster elects before it takes streams. */
const untilElected = async (servers: ReadonlyArray<RunningNats>): Promise<void> => {
  const urls = servers.map(({ url }) => url)
  const connection = await connect(connectionOptions(urls, { _tag: "Anonymous" }, prefix))
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false, timeout: 2_000 })
    for (const endMs = performance.now() + readyMs; ; ) {
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

/** What JetStream answers; undefined: nothing. */
const asked = async <A>(
  servers: ReadonlyArray<RunningNats>,
  ask: (manager: JetStreamManager) => Promise<A>
): Promise<A | undefined> => {
  const urls = servers.map(({ url }) => url)
  const connection = await connect(connectionOptions(urls, { _tag: "Anonymous" }, prefix))
  try {
    return await ask(await jetstreamManager(connection, { checkAPI: false, timeout: 2_000 }))
  } catch {
    return undefined
  } finally {
    await connection.close()
  }
}

const leaderName = (servers: ReadonlyArray<RunningNats>, shard: number): Promise<string | undefined> =>
  asked(servers, async ({ streams }) => {
    const { cluster } = await streams.info(Streams.logStream(prefix, `shard-${shard}`).name)
    return cluster?.leader
  })

const notWhole = (servers: ReadonlyArray<RunningNats>): Promise<ReadonlyArray<string> | undefined> =>
  asked(servers, async ({ streams }) => {
    const left: Array<string> = []
    for await (const { config, cluster } of streams.list()) {
      const copies = cluster?.replicas ?? []
      const isWhole =
        cluster?.leader !== undefined &&
        copies.length === config.num_replicas - 1 &&
        copies.every(({ current, offline }) => current && offline !== true)
      if (!isWhole) left.push(config.name)
    }
    return left
  })

/** `onEnd`: a process ended that nobody killed. */
export const start = async (network: Network, onEnd: (why: string) => void): Promise<Installation> => {
  const folder = mkdtempSync(join(tmpdir(), "millrace-hosts-"))
  const natsHosts = ["nats-1", "nats-2", "nats-3"].map((name) => network.add(name))
  const servers = await startCluster(natsHosts.map(({ address, wrapper }) => ({ host: address, wrapper })))
  const nats = servers.map((server, index) => natsMember(server, natsHosts[index]!))
  const file = join(folder, "millrace.config.json")
  const workerSecret = randomBytes(32).toString("base64url")
  writeFileSync(
    file,
    JSON.stringify({
      nats: { urls: servers.map(({ url }) => url), systemUrls: servers.map(({ systemUrl }) => systemUrl), prefix },
      invocation: { shards: shardCount, drainMs: 3_000, heartbeatMs: 1_000 },
      agent: { heartbeatMs: 1_000 },
      secrets: { worker: workerSecret }
    })
  )
  const make = async (plane: PlaneName, name: string, settings: Readonly<Record<string, string>> = {}) => {
    const host = network.add(name)
    const ports = plane === "invocation" ? ["invocation.port", "invocation.workerPort"] : [`${plane}.port`]
    const numbers = await Promise.all(
      plane === "agent" ? [] : ports.map(async (path) => [path, String(await freePort())] as const)
    )
    // Gateways of the same shards share a folder for large bodies, as they would share a disk.
    const state = join(folder, plane === "invocation" ? "blobs" : name)
    mkdirSync(state, { recursive: true })
    const own = { state, "health.port": "0", ...Object.fromEntries(numbers), ...settings }
    const where = plane === "invocation" ? { "invocation.host": host.address } : {}
    return planeMember({ plane, name, host, settings: { ...own, ...where }, file, home: folder, onEnd })
  }
  const gateways = await Promise.all(["gateway-1", "gateway-2", "gateway-3"].map((name) => make("invocation", name)))
  const controls = await Promise.all(["control-1", "control-2"].map((name) => make("control", name)))
  const agents = await Promise.all(
    clusters.map((cluster) => make("agent", `agent-${cluster}`, { "agent.cluster": cluster, "agent.region": cluster }))
  )
  const planes = [...gateways, ...controls, ...agents]
  const remove = async () => {
    await Promise.all(planes.map((plane) => plane.kill().catch(() => {})))
    await Promise.all(servers.map((server) => server.remove()))
    rmSync(folder, { recursive: true, force: true })
  }
  const onLoopback = (control: Plane) => `http://127.0.0.1:${new URL(control.address()).port}`
  /** What a command printed that ran on the host of this plane. */
  const at = ({ host, name }: Plane, ...words: ReadonlyArray<string>) =>
    new Promise<string>((resolve, reject) => {
      const [command = "", ...args] = [...host.wrapper, ...words]
      const env = { ...process.env, MILLRACE_STATE: join(folder, name) }
      execFile(command, args, { env, cwd: root }, (error, stdout, stderr) =>
        error === null ? resolve(stdout) : reject(new Error(`${words.join(" ")}: ${stderr}`))
      )
    })
  const cli = (control: Plane, ...words: ReadonlyArray<string>) =>
    at(control, process.execPath, ...MillraceProcess.cli, ...words, "--url", onLoopback(control))
  try {
    await untilElected(servers)
    await Promise.all(planes.map((plane) => plane.start()))
  } catch (error) {
    await remove()
    throw error
  }
  return {
    home: folder,
    workerSecret: Buffer.from(workerSecret),
    nats,
    gateways,
    controls,
    agents,
    streamLeader: async (shard) => {
      const name = await leaderName(servers, shard)
      return nats.find((member) => member.name === `nats ${name}`)
    },
    shardOwner: (shard) => {
      const since = gateways.map((gateway) => servedSince(gateway, `shard-${shard}`))
      const latest = Math.max(...since)
      return latest < 0 ? undefined : gateways[since.indexOf(latest)]
    },
    controlLeader: () => {
      const since = controls.map(ledSince)
      const latest = Math.max(...since)
      return latest < 0 ? undefined : controls[since.indexOf(latest)]
    },
    notWhole: () => notWhole(servers),
    staleRefused: async (control) => {
      const ask = `fetch("${onLoopback(control)}/healthz").then((answer) => answer.text()).then(console.log)`
      const { staleMessagesRefused } = JSON.parse(await at(control, process.execPath, "--eval", ask))
      return staleMessagesRefused
    },
    deploy: async (name, content) => {
      const directory = join(folder, "functions", name)
      mkdirSync(directory, { recursive: true })
      writeFileSync(join(directory, "millrace.json"), JSON.stringify({ name, ...content }))
      const [control] = controls
      if (control === undefined) throw new Error("there is no control plane")
      return JSON.parse(await cli(control, "deploy", directory, "--json"))
    },
    cli,
    close: async () => {
      await Promise.all(planes.map((plane) => plane.stop()))
      await remove()
    }
  }
}
