/**
 * A Docker daemon of the tests' own: with data, sockets and containers in one folder of its own, without a network, ended
 * by its pid. It touches no daemon of the machine.
 *
 * @module
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { get } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"

const path = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin:/usr/bin:/bin`

/** Why there can be no daemon here; undefined = there can. */
export const whyNot = (): string | undefined => {
  if (process.platform !== "linux") return "dockerd runs on Linux alone"
  if (process.getuid?.() !== 0) return "dockerd needs root"
  for (const program of ["dockerd", "containerd", "runc"]) {
    if (spawnSync("which", [program], { env: { PATH: path } }).status !== 0) {
      return `${program} is not installed (Debian: apt-get install docker.io)`
    }
  }
  return undefined
}

export interface Daemon {
  readonly socketPath: string
  readonly storage: string
  /** Freezes it, as a machine that swaps would. */
  readonly freeze: () => void
  readonly thaw: () => void
  /** Ends it as a crash would; containers go on. */
  readonly crash: () => Promise<void>
  /** Begins again where it ended. */
  readonly restart: () => Promise<void>
  readonly stop: () => Promise<void>
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

const answers = (socketPath: string): Promise<boolean> =>
  new Promise((resolve) => {
    const request = get({ socketPath, path: "/_ping", agent: false, timeout: 2_000 }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    })
    request.on("timeout", () => request.destroy())
    request.on("error", () => resolve(false))
  })

const launch = (directory: string, storage: string): ChildProcess => {
  const log = openSync(join(directory, "log"), "a")
  const child = spawn(
    "setpriv",
    [
      // Should the tests die, it goes with them.
      ...["--pdeathsig", "TERM", "dockerd"],
      ...["--data-root", join(directory, "data"), "--exec-root", join(directory, "exec")],
      ...["--host", `unix://${join(directory, "docker.sock")}`, "--pidfile", join(directory, "pid")],
      ...["--storage-driver", storage, "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"],
      ...["--live-restore", "--shutdown-timeout", "3"]
    ],
    { env: { PATH: path, HOME: directory }, stdio: ["ignore", log, log] }
  )
  closeSync(log)
  child.on("error", () => {})
  return child
}

const isOver = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

const gone = async (child: ChildProcess, withinMs: number) => {
  const untilMs = Date.now() + withinMs
  while (!isOver(child) && Date.now() < untilMs) await sleep(20)
  return isOver(child)
}

/** Processes that were started with this folder in their command: the daemon's own helpers, and nobody else's. */
const helpersOf = (directory: string): ReadonlyArray<number> =>
  readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) return []
    try {
      const [program = "", ...words] = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0")
      const isHelper = /(?:dockerd|containerd|containerd-shim[\w-]*)$/.test(program)
      return isHelper && words.some((word) => word.includes(directory)) ? [Number(name)] : []
    } catch {
      return []
    }
  })

const killAll = (pids: ReadonlyArray<number>) => {
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL")
    } catch {
      // It is gone, which is what was wanted.
    }
  }
}

const childrenOf = (pid: number): ReadonlyArray<number> => {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number)
  } catch {
    return []
  }
}

const clearAway = async (directory: string) => {
  const helpers = helpersOf(directory)
  // First processes of containers: children of the shims.
  killAll([...helpers.flatMap(childrenOf), ...helpers])
  for (let round = 0; round < 50 && helpersOf(directory).length > 0; round++) await sleep(50)
  const mounts = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .flatMap((line) => line.split(" ")[1] ?? [])
    .filter((mount) => mount.startsWith(`${directory}/`))
  for (const mount of mounts.toReversed()) spawnSync("umount", ["--lazy", mount], { env: { PATH: path } })
  rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
}

const startWith = async (storage: string): Promise<Daemon> => {
  const directory = mkdtempSync(join(tmpdir(), "mr-docker-"))
  const socketPath = join(directory, "docker.sock")
  let child = launch(directory, storage)
  const ready = async () => {
    const untilMs = Date.now() + 60_000
    while (!(await answers(socketPath))) {
      if (isOver(child) || Date.now() > untilMs) {
        const log = existsSync(join(directory, "log")) ? readFileSync(join(directory, "log"), "utf8") : ""
        throw new Error(`dockerd with ${storage} did not answer; its last words:\n${log.slice(-3_000)}`)
      }
      await sleep(50)
    }
  }
  const stop = async () => {
    child.kill("SIGCONT")
    child.kill("SIGTERM")
    if (!(await gone(child, 15_000))) {
      child.kill("SIGKILL")
      await gone(child, 5_000)
    }
    await clearAway(directory)
  }
  try {
    await ready()
  } catch (error) {
    await stop()
    throw error
  }
  return {
    socketPath,
    storage,
    freeze: () => void child.kill("SIGSTOP"),
    thaw: () => void child.kill("SIGCONT"),
    crash: async () => {
      child.kill("SIGKILL")
      await gone(child, 5_000)
    },
    restart: async () => {
      // Its containerd died with it, and may not have been reaped yet, which the new one would take for life.
      for (const file of ["pid", "exec/containerd/containerd.pid"]) rmSync(join(directory, file), { force: true })
      child = launch(directory, storage)
      await ready()
    },
    stop
  }
}

/** With overlay2, or with vfs where the file system allows no overlays. */
export const start = (): Promise<Daemon> => startWith("overlay2").catch(() => startWith("vfs"))
