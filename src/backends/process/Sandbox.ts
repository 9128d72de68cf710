/**
 * Puts a command into a sandbox of bubblewrap (`bwrap`): namespaces of its own for processes, network, names, messages and
 * mounts, no capability, no further user namespace, a filter of system calls, and a file system that holds the system's
 * programs, the function's files and packages, its secrets and its worker socket, all read-only, and a `/tmp` of its own.
 *
 * Started by root, an instance becomes another user (`setpriv`) and not root in a user namespace: to the kernel that would
 * still be root where it asks for an owner alone, and `/proc/sys` of the machine could be written.
 *
 * What it does not do: limit CPU and memory, and keep instances from sharing one kernel.
 *
 * @module
 */
import { spawnSync } from "node:child_process"
import {
  chownSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  rmSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, dirname, join, resolve } from "node:path"
import * as FunctionFiles from "../FunctionFiles.ts"
import * as SyscallFilter from "./SyscallFilter.ts"

export interface Wanted {
  readonly program: string
  readonly args: ReadonlyArray<string>
  readonly workingDirectory: string | undefined
  /** Words of the command as the spec has them, by which its files are found. */
  readonly words: ReadonlyArray<string>
  readonly secrets: string | undefined
}

export interface Sandboxed {
  readonly program: string
  readonly args: ReadonlyArray<string>
  /** File that the spawner opens as descriptor 3. */
  readonly filter: string | undefined
}

export interface Sandbox {
  /** Throws what is wrong with the function's folder. */
  readonly wrap: (wanted: Wanted) => Sandboxed
  readonly close: () => void
}

export interface Options {
  /** Shown read-only, under the same path. */
  readonly workerSocketDirectory: string | undefined
  readonly tmpBytes: number
}

const user = 65532

const isRoot = process.getuid?.() === 0

const isolating = [
  ...["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"],
  ...["--hostname", "millrace", "--die-with-parent", "--cap-drop", "ALL"],
  ...(isRoot
    ? ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"]
    : ["--unshare-user", "--disable-userns", "--uid", String(user), "--gid", String(user)])
]

/** Before the program: nothing of root stays. */
const dropping = isRoot
  ? [
      ...["setpriv", "--reuid", String(user), "--regid", String(user), "--clear-groups"],
      ...["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"]
    ]
  : []

/** Where programs and their libraries are; links stay links. */
const systemFolders = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64"]
const systemFiles = ["/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/etc/ssl/certs", "/etc/mime.types"]

/** Made beforehand: bubblewrap would make them for root alone. */
const foldersAbove = (paths: ReadonlyArray<string>): ReadonlyArray<string> => {
  const folders = new Set<string>()
  for (const path of paths) for (let each = dirname(path); each !== "/"; each = dirname(each)) folders.add(each)
  return [...folders]
    .filter((path) => !["/tmp", "/dev", "/proc"].includes(path))
    .toSorted()
    .flatMap((path) => ["--perms", "0755", "--dir", path])
}

const system = (): ReadonlyArray<string> => [
  ...systemFolders.flatMap((path) => {
    const found = lstatSync(path, { throwIfNoEntry: false })
    if (found === undefined) return []
    return found.isSymbolicLink() ? ["--symlink", readlinkSync(path), path] : ["--ro-bind", path, path]
  }),
  ...foldersAbove(systemFiles),
  ...systemFiles.flatMap((path) => (existsSync(path) ? ["--ro-bind", realpathSync(path), path] : []))
]

/** Why there can be no sandbox here, in words for people; undefined = there can. */
export const whyNot = (): string | undefined => {
  const args = [...isolating, ...system(), "--proc", "/proc", "--dev", "/dev", "--", ...dropping, "/bin/sh", "-c", ":"]
  const tried = spawnSync("bwrap", args, { encoding: "utf8", timeout: 10_000 })
  if (tried.error !== undefined) return "bwrap was not found: install bubblewrap 0.8 or later"
  if (tried.status === 0) return undefined
  return `bwrap cannot make a sandbox here: ${tried.stderr.trim().slice(0, 500)}`
}

/** To the user in the sandbox. */
const giveAway = (folder: string) => {
  for (const name of readdirSync(folder)) chownSync(join(folder, name), user, user)
  chownSync(folder, user, user)
}

/** Whether there is such a program, as a shell would look for it. */
export const hasProgram = (program: string, workingDirectory: string, path: string): boolean =>
  program.includes("/")
    ? existsSync(resolve(workingDirectory, program))
    : path.split(delimiter).some((folder) => folder !== "" && existsSync(join(folder, program)))

export const make = (options: Options): Sandbox => {
  const folder = mkdtempSync(join(tmpdir(), "millrace-sandbox-"))
  const write = (name: string, content: string | Buffer): string => {
    const path = join(folder, name)
    writeFileSync(path, content, { mode: 0o644 })
    return path
  }
  const passwd = write("passwd", "function:x:65532:65532:function:/tmp:/sbin/nologin\n")
  const group = write("group", "function:x:65532:\n")
  const bytes = SyscallFilter.filter(process.arch)
  const filter = bytes === undefined ? undefined : write("filter", bytes)
  const isSystem = (path: string) => systemFolders.some((folder) => path.startsWith(`${folder}/`))
  const show = (path: string) => (isSystem(path) ? [] : ["--ro-bind", path, path])

  const placesOf = ({ workingDirectory, words }: Wanted): ReadonlyArray<string> =>
    workingDirectory === undefined ? [] : FunctionFiles.collect(workingDirectory, words, "places").places

  return {
    wrap: (wanted) => {
      if (isRoot && wanted.secrets !== undefined) giveAway(wanted.secrets)
      const node = wanted.program === process.execPath ? show(process.execPath) : []
      const socket = options.workerSocketDirectory
      const found = placesOf(wanted)
      const shown = [process.execPath, ...found, ...[socket, wanted.secrets].filter((path) => path !== undefined)]
      const places = found.flatMap((path) =>
        lstatSync(path).isSymbolicLink() ? ["--symlink", readlinkSync(path), path] : show(path)
      )
      const args = [
        ...isolating,
        ...system(),
        ...[
          "--proc",
          "/proc",
          "--dev",
          "/dev",
          "--perms",
          "1777",
          "--size",
          String(options.tmpBytes),
          "--tmpfs",
          "/tmp"
        ],
        ...foldersAbove(shown.filter((path) => !isSystem(path))),
        ...["--ro-bind", passwd, "/etc/passwd", "--ro-bind", group, "/etc/group"],
        ...node,
        ...places,
        ...(socket === undefined ? [] : show(socket)),
        ...(wanted.secrets === undefined ? [] : show(wanted.secrets)),
        // What was mounted stays writable nowhere but in /tmp: the root is a tmpfs of bubblewrap's own.
        ...["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", wanted.workingDirectory ?? "/tmp"],
        ...(filter === undefined ? [] : ["--seccomp", "3"]),
        ...["--", ...dropping, wanted.program, ...wanted.args]
      ]
      return { program: "bwrap", args, filter }
    },
    close: () => rmSync(folder, { recursive: true, force: true })
  }
}
