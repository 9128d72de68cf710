/**
 * A real nats-server of a test: started on a free port of the loopback, killed, paused, sent away and started again on
 * the same port and store.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"
import * as fs from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { skipWithout } from "../faults/Tools.ts"
import { locate } from "./NatsBinary.ts"

const startLimitMs = 15_000
const loopback = "127.0.0.1"

/** Skipped aloud where there is none. */
export const natsIsMissing = skipWithout(
  "what runs on NATS",
  locate() === undefined ? "a current nats-server (npm run services)" : undefined
)

export interface NatsSettings {
  readonly name: string
  readonly host: string
  readonly port: number
  /** In front of the command. */
  readonly wrapper: ReadonlyArray<string>
  /** The value of `sync_interval`; absent leaves the line out. */
  readonly syncInterval: string | undefined
  readonly maxPayload: string
  /** Lines that stand at the end of the configuration; replaces the accounts when it holds any. */
  readonly more: string
  readonly accounts: string
}

/** Two accounts: one for Millrace, one for the system. */
export const accounts = (millrace = "jetstream: enabled"): string => `
accounts {
  MILLRACE { ${millrace}, users: [{ user: millrace, password: race }] }
  SYSTEM { users: [{ user: system, password: system }] }
}
system_account: SYSTEM`

export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      server.close(() => resolve(port))
    })
  })

const configuration = (settings: NatsSettings, store: string) => `
server_name: ${settings.name}
listen: "${settings.host}:${settings.port}"
max_payload: ${settings.maxPayload}
lame_duck_grace_period: "100ms"
lame_duck_duration: "30s"
jetstream {
  store_dir: ${JSON.stringify(store)}
  max_file_store: 40GB
  ${settings.syncInterval === undefined ? "" : `sync_interval: ${settings.syncInterval}`}
}
${settings.accounts}
${settings.more}
`

const answers = async ({ host, port }: NatsSettings): Promise<boolean> => {
  const { connect } = await import("node:net")
  return new Promise((resolve) => {
    const socket = connect(port, host)
    const end = (isThere: boolean) => {
      socket.destroy()
      resolve(isThere)
    }
    socket.once("data", () => end(true))
    socket.once("error", () => end(false))
    socket.setTimeout(1_000, () => end(false))
  })
}

export class RunningNats {
  readonly settings: NatsSettings
  readonly folder: string
  readonly url: string
  readonly systemUrl: string
  #child: ChildProcess | undefined
  #output = ""

  constructor(settings: NatsSettings, folder: string) {
    this.settings = settings
    this.folder = folder
    this.url = `nats://millrace:race@${settings.host}:${settings.port}`
    this.systemUrl = `nats://system:system@${settings.host}:${settings.port}`
  }

  /** What it said, for a test that fails. */
  get output(): string {
    return this.#output
  }

  get pid(): number {
    const pid = this.#child?.pid
    if (pid === undefined) throw new Error("the server does not run")
    return pid
  }

  /** Resolves when it answers. Another configuration may be given, as when its file was changed. */
  async start(settings: NatsSettings = this.settings): Promise<void> {
    const binary = locate()
    if (binary === undefined) throw new Error("there is no nats-server")
    const path = join(this.folder, "nats.conf")
    await fs.writeFile(path, configuration(settings, join(this.folder, "store")))
    const [command = binary.path, ...args] = [...settings.wrapper, binary.path, "-c", path]
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] })
    this.#child = child
    const listen = (text: string) => {
      this.#output = (this.#output + text).slice(-20_000)
    }
    child.stdout.setEncoding("utf8").on("data", listen)
    child.stderr.setEncoding("utf8").on("data", listen)
    const endMs = performance.now() + startLimitMs
    while (!(await answers(settings))) {
      if (child.exitCode !== null || performance.now() > endMs) {
        throw new Error(`nats-server did not start: ${this.#output}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal)
  }

  /** SIGSTOP, and every thread of it stands: until then it may go on with what it was sent. */
  async pause(): Promise<void> {
    const threads = `/proc/${this.pid}/task`
    this.signal("SIGSTOP")
    for (;;) {
      const stats = await Promise.all(
        (await fs.readdir(threads)).map((id) => fs.readFile(`${threads}/${id}/stat`, "utf8").catch(() => ") T"))
      )
      // After the name, which may hold anything.
      if (stats.every((stat) => stat.slice(stat.lastIndexOf(")") + 2).startsWith("T"))) return
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }

  async #ended(): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    if (child.exitCode === null && child.signalCode === null) {
      await new Promise<void>((resolve) => child.once("exit", () => resolve()))
    }
    this.#child = undefined
  }

  async kill(): Promise<void> {
    if (this.#child === undefined) return
    this.#child.kill("SIGKILL")
    await this.#ended()
  }

  /** As an operator stops it. */
  async end(): Promise<void> {
    this.#child?.kill("SIGTERM")
    await this.#ended()
  }

  /** Takes its disk away, as nobody should. Only while it does not run. */
  async forget(): Promise<void> {
    await fs.rm(join(this.folder, "store"), { recursive: true, force: true })
  }

  async remove(): Promise<void> {
    await this.kill()
    await fs.rm(this.folder, { recursive: true, force: true })
  }
}

/** One server alone. */
export const startNats = async (settings: Partial<NatsSettings> = {}): Promise<RunningNats> => {
  const folder = await fs.mkdtemp(join(tmpdir(), "millrace-nats-"))
  const whole: NatsSettings = {
    name: "alone",
    host: loopback,
    port: settings.port ?? (await freePort()),
    wrapper: [],
    syncInterval: "always",
    maxPayload: "8MB",
    more: "",
    accounts: accounts(),
    ...settings
  }
  const server = new RunningNats(whole, folder)
  await server.start()
  return server
}

/** Where a server of a cluster is to be: a machine of its own, or the loopback, with a free port there. */
export interface Place {
  readonly host: string
  readonly wrapper: ReadonlyArray<string>
}

/** Three servers that are one cluster; resolves when they are started, not when they have elected. */
export const startCluster = async (places?: ReadonlyArray<Place>): Promise<ReadonlyArray<RunningNats>> => {
  const all = await Promise.all(
    Array.from({ length: 3 }, async (_, index) => {
      const { host, wrapper } = places?.[index] ?? { host: loopback, wrapper: [] }
      return { host, wrapper, route: await freePort() }
    })
  )
  const routes = all.map(({ host, route }) => `"nats-route://${host}:${route}"`).join(", ")
  return Promise.all(
    all.map(({ host, wrapper, route }, index) =>
      startNats({
        name: `n${index + 1}`,
        host,
        wrapper,
        more: `cluster { name: millrace, listen: "${host}:${route}", routes: [${routes}] }`
      })
    )
  )
}
