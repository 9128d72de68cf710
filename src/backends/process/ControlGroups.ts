/**
 * Where the control groups of one process backend are: below the group in which Millrace itself runs, or, with cgroup v2,
 * where a group that holds processes can have no limited groups below it, beside it. Both versions of cgroups, and what is
 * only partly there (a controller that is missing, or not ours to write) is left out and said.
 *
 * A backend's groups stand in one directory per controller, whose name says whose they are: `millrace-<pid namespace>-<pid>
 * -<start of that process>-<mark>`.
 *
 * Laws: G1 groups of a backend whose process lives, and groups of others, are not touched. G2 groups of one that is gone
 * are emptied and removed by the next one on the machine. G3 what cannot be limited is named, and nothing fails for it.
 *
 * @module
 */
import { spawnSync } from "node:child_process"
import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmdirSync, writeFileSync } from "node:fs"
import { basename, dirname, join, relative } from "node:path"

export type Controller = "memory" | "cpu" | "pids"

export const controllers: ReadonlyArray<Controller> = ["memory", "cpu", "pids"]

/** One controller: the directory of the backend's groups, and where its process belongs by itself. */
export interface Place {
  readonly directory: string
  readonly home: string
}

export interface Places {
  readonly version: 1 | 2
  /** Without those that cannot be had. With version 2 all are the same directory. */
  readonly of: Partial<Readonly<Record<Controller, Place>>>
}

export interface Claimed {
  /** Undefined = nothing can be limited here. */
  readonly places: Places | undefined
  /** Why something is not limited; empty when all is. */
  readonly missing: Partial<Readonly<Record<Controller, string>>>
}

export const directoriesOf = (places: Places): ReadonlyArray<string> => [
  ...new Set(Object.values(places.of).map(({ directory }) => directory))
]

/** Makes the backend's own directories, if they may be made. `mark`: the backend's, not used twice. */
export const claim = (mark: string, system: System = linux): Claimed => {
  const name = nameOf(process.pid, mark)
  if (name === undefined) return unclaimed("this system has no cgroups")
  let mounts: ReadonlyArray<Mount>
  try {
    mounts = mountsOf(system.mountInfo(), system.ownGroups())
  } catch {
    return unclaimed("this system has no cgroups")
  }
  const of: Partial<Record<Controller, Place>> = {}
  const missing: Partial<Record<Controller, string>> = {}
  const second = mounts.find((mount) => mount.version === 2 && offers(mount.own, "memory"))
  for (const controller of controllers) {
    const mount = second ?? mounts.find((one) => one.version === 1 && one.controllers.includes(controller))
    const place = mount === undefined ? "this system has no such controller" : tryPlace(mount, controller, name, system)
    if (typeof place === "string") missing[controller] = place
    else of[controller] = place
  }
  const places: Places = { version: second === undefined ? 1 : 2, of }
  return { places: Object.keys(of).length === 0 ? undefined : places, missing }
}

/** For a backend that should limit nothing. */
export const unclaimed = (why: string): Claimed => ({
  places: undefined,
  missing: { memory: why, cpu: why, pids: why }
})

/** What is read of the system; the tests give their own. */
export interface System {
  readonly mountInfo: () => string
  readonly ownGroups: () => string
  /** Whether a process may go into this group and back home; else why not. */
  readonly mayEnter: (group: string, home: string) => string | undefined
}

const linux: System = {
  mountInfo: () => readFileSync("/proc/self/mountinfo", "utf8"),
  ownGroups: () => readFileSync("/proc/self/cgroup", "utf8"),
  mayEnter: (group, home) => {
    // Not by ourselves: whoever changes groups waits for the kernel, a gateway with all its calls too.
    const script = 'echo 0 > "$1/cgroup.procs" && echo 0 > "$2/cgroup.procs"'
    const tried = spawnSync("/bin/sh", ["-c", script, "sh", group, home], { encoding: "utf8", timeout: 5_000 })
    return tried.status === 0 ? undefined : tried.stderr.trim().slice(0, 200) || String(tried.error?.message)
  }
}

interface Mount {
  readonly version: 1 | 2
  readonly controllers: ReadonlyArray<string>
  /** The directory of the group in which this process is. */
  readonly own: string
}

/** `mountInfo` and `ownGroups`: as `/proc/self/mountinfo` and `/proc/self/cgroup` have it. */
const mountsOf = (mountInfo: string, ownGroups: string): ReadonlyArray<Mount> => {
  const own = new Map<string, string>()
  for (const line of ownGroups.split("\n")) {
    const [, names = "", path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (path !== undefined) for (const name of names.split(",")) own.set(name, path)
  }
  return mountInfo.split("\n").flatMap((line): ReadonlyArray<Mount> => {
    const [before = "", after = ""] = line.split(" - ")
    const [, , , root = "/", point = ""] = before.split(" ").map(unescaped)
    const [type, , options = ""] = after.split(" ")
    if (type !== "cgroup" && type !== "cgroup2") return []
    const names = type === "cgroup2" ? [""] : options.split(",")
    const path = names.map((name) => own.get(name)).find((found) => found !== undefined)
    if (path === undefined) return []
    const below = relative(root, path)
    // Its own group is not below what is mounted here: the mount is all that can be seen of it.
    const directory = below.startsWith("..") ? point : join(point, below)
    return [{ version: type === "cgroup2" ? 2 : 1, controllers: names, own: directory }]
  })
}

const unescaped = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))

const offers = (group: string, controller: Controller): boolean =>
  wordsOf(join(group, "cgroup.controllers")).includes(controller)

const wordsOf = (file: string): ReadonlyArray<string> => {
  try {
    return readFileSync(file, "utf8").split(/\s+/).filter(Boolean)
  } catch {
    return []
  }
}

/** Where groups of this controller can be made; else why nowhere. */
const tryPlace = (mount: Mount, controller: Controller, name: string, system: System): Place | string => {
  let why = ""
  for (const base of mount.version === 1 ? [mount.own] : [mount.own, dirname(mount.own)]) {
    const directory = join(base, name)
    const probe = join(directory, "probe")
    let isProbed = false
    try {
      if (mount.version === 2) enable(base, controller)
      mkdirSync(directory, { recursive: true })
      if (mount.version === 2) enable(directory, controller)
      mkdirSync(probe)
      isProbed = true
      const refused = system.mayEnter(probe, mount.own)
      if (refused === undefined) return { directory, home: mount.own }
      why = refused
    } catch (cause) {
      why = cause instanceof Error ? cause.message : String(cause)
    } finally {
      if (isProbed) removeIfEmpty(probe)
    }
    // Kept when another controller of this hierarchy has its place here.
    removeIfEmpty(directory)
  }
  return why
}

const enable = (group: string, controller: Controller) => {
  const file = join(group, "cgroup.subtree_control")
  if (!wordsOf(file).includes(controller)) writeFileSync(file, `+${controller}`)
}

const removeIfEmpty = (directory: string): boolean => {
  try {
    rmdirSync(directory)
    return true
  } catch (cause) {
    return cause instanceof Error && "code" in cause && cause.code === "ENOENT"
  }
}

/** Undefined = it has ended, or this is not Linux. A pid can be used again, a pid with its start can not. */
const startOf = (pid: number): string | undefined => {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8")
    // The name of the program stands in brackets and may hold anything.
    return text.slice(text.lastIndexOf(")") + 2).split(" ")[19]
  } catch {
    return undefined
  }
}

const namespaceOf = (): string | undefined => {
  try {
    return /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0]
  } catch {
    return undefined
  }
}

const nameOf = (pid: number, mark: string): string | undefined => {
  const namespace = namespaceOf()
  const start = startOf(pid)
  return namespace === undefined || start === undefined
    ? undefined
    : `millrace-${namespace}-${pid}-${start}-${mark.replace(/[^0-9a-z]/gi, "")}`
}

const ours = /^millrace-(\d+)-(\d+)-(\d+)-[0-9a-zA-Z]+$/

/** One that names a process of another pid namespace may belong to somebody who cannot be seen from here. */
const isAbandoned = (name: string): boolean => {
  const [, namespace, pid, start] = ours.exec(name) ?? []
  return namespace !== undefined && namespace === namespaceOf() && startOf(Number(pid)) !== start
}

const childrenOf = (directory: string): ReadonlyArray<string> => {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(directory, entry.name))
  } catch {
    return []
  }
}

/** What is left of backends whose process is gone, and what an earlier spawner of this one left. */
export const abandoned = (places: Places): ReadonlyArray<string> =>
  directoriesOf(places).flatMap((directory) => [
    ...childrenOf(directory),
    ...childrenOf(dirname(directory)).filter((beside) => isAbandoned(basename(beside)))
  ])

/** Kills what is in it and below, and removes it if that is all gone already. */
export const tryRemove = (directory: string): boolean => {
  for (const child of childrenOf(directory)) tryRemove(child)
  for (const pid of wordsOf(join(directory, "cgroup.procs")).map(Number)) {
    // Zero stands for a process of another namespace.
    if (pid <= 1 || pid === process.pid) continue
    try {
      process.kill(pid, "SIGKILL")
    } catch {
      // ESRCH: it is gone, which is what was wanted.
    }
  }
  return removeIfEmpty(directory)
}
