/**
 * Hosts of one small network on this machine, each of which can be cut off: a network namespace with an address of its own
 * on one bridge. Where namespaces are not allowed all hosts are the loopback, and none can be cut off.
 *
 * Everything is made inside namespaces of the harness itself (`enter`), so no process and no network is left behind however
 * it ends, and nothing leaves the machine.
 *
 * @module
 */
import { spawnSync } from "node:child_process"
import { mkdirSync } from "node:fs"

export interface Host {
  readonly name: string
  readonly address: string
  /** In front of a command that is to run there. */
  readonly wrapper: ReadonlyArray<string>
  /** Nothing goes in or out any more, and nobody is told. */
  readonly cut: () => void
  readonly join: () => void
}

export interface Network {
  readonly canCut: boolean
  readonly add: (name: string) => Host
}

const insideVariable = "MILLRACE_CHAOS_NETWORK"
const bridge = "hosts"
const namespaces = "/run/netns"
const subnet = "10.77.0"
/** A network, mounts and processes of its own: with the first of its processes all others end. */
const apart = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]

const runs = (command: string, ...args: ReadonlyArray<string>): boolean => spawnSync(command, args).status === 0

const must = (command: string, ...args: ReadonlyArray<string>): void => {
  const { status, stderr, error } = spawnSync(command, args, { encoding: "utf8" })
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? stderr}`)
}

const ip = (...args: ReadonlyArray<string>) => must("ip", ...args)

/** Why hosts cannot be cut off here; undefined: they can. */
const whyNot = (): string | undefined => {
  if (process.getuid?.() !== 0) return "only root may make network namespaces"
  const tools = ["unshare", "nsenter", "ip"].filter((tool) => !runs("which", tool))
  if (tools.length > 0) return `there is no ${tools.join(", no ")}`
  return runs("unshare", ...apart, "true") ? undefined : `unshare ${apart.join(" ")} is not allowed`
}

/**
 * Runs this very command line again in a network of its own, and answers how it ended; undefined: this is that run, or
 * there can be none, which is said.
 */
export const enter = (say: (line: string) => void): number | undefined => {
  if (process.env[insideVariable] !== undefined) return undefined
  const why = whyNot()
  if (why !== undefined) {
    say(`all hosts are the loopback, and none is cut off: ${why}`)
    return undefined
  }
  const args = [...apart, process.execPath, ...process.execArgv, ...process.argv.slice(1)]
  const env = { ...process.env, [insideVariable]: "1" }
  return spawnSync("unshare", args, { stdio: "inherit", env }).status ?? 1
}

/** Of one process: at most 200 hosts. */
export const make = (): Network => {
  if (process.env[insideVariable] === undefined) {
    const nothing = () => {
      throw new Error("a host on the loopback cannot be cut off")
    }
    return {
      canCut: false,
      add: (name) => ({ name, address: "127.0.0.1", wrapper: [], cut: nothing, join: nothing })
    }
  }
  mkdirSync(namespaces, { recursive: true })
  must("mount", "-t", "tmpfs", "none", namespaces)
  ip("link", "set", "lo", "up")
  ip("link", "add", bridge, "type", "bridge")
  ip("address", "add", `${subnet}.1/24`, "dev", bridge)
  ip("link", "set", bridge, "up")
  let count = 1
  return {
    canCut: true,
    add: (name) => {
      const number = ++count
      const cable = `cable${number}`
      const address = `${subnet}.${number}`
      const wrapper = ["nsenter", `--net=${namespaces}/${name}`]
      const inside = (...args: ReadonlyArray<string>) => ip("-n", name, ...args)
      ip("netns", "add", name)
      ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
      ip("link", "set", cable, "master", bridge, "up")
      inside("address", "add", `${address}/24`, "dev", "eth0")
      inside("link", "set", "eth0", "up")
      inside("link", "set", "lo", "up")
      return {
        name,
        address,
        wrapper,
        cut: () => ip("link", "set", cable, "down"),
        join: () => ip("link", "set", cable, "up")
      }
    }
  }
}
