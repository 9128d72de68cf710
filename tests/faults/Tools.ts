/**
 * Tools of the operating system that some faults need. What is missing is said aloud with what to install; in CI
 * everything must be there (`MILLRACE_FAULT_TOOLS=required`).
 *
 * @module
 */
import { execFile, execFileSync } from "node:child_process"
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"

const isRequired = process.env["MILLRACE_FAULT_TOOLS"] === "required"

/** Whether a suite is skipped, and why; throws where nothing may be missing. */
export const skipWithout = (what: string, missing: string | undefined): boolean => {
  if (missing === undefined) return false
  if (isRequired) throw new Error(`${what} needs ${missing}`)
  console.warn(`SKIPPED: ${what} needs ${missing}`)
  return true
}

const succeeds = (command: string, args: ReadonlyArray<string>): boolean => {
  try {
    execFileSync(command, args, { stdio: "ignore" })
    return true
  } catch {
    return false
  }
}

// --- libfiu: makes calls of the C library fail ----------------------------------------------------------------------

export const fiuMissing = (): string | undefined =>
  existsSync("/usr/bin/fiu-run") && existsSync("/usr/bin/fiu-ctrl") ? undefined : "fiu-run (Debian: fiu-utils)"

/** Starts a program so that `fiuControl` can make its calls fail later. */
export const fiuRun = (controlPath: string): ReadonlyArray<string> => ["fiu-run", "-x", "-f", controlPath]

/** For example `enable name=posix/io/sync/fsync`, `disable name=...`; carried out when it resolves. */
export const fiuControl = async (controlPath: string, pid: number, command: string): Promise<void> => {
  await promisify(execFile)("fiu-ctrl", ["-f", controlPath, "-c", command, String(pid)])
}

// --- libfaketime: another wall clock for a process ----------------------------------------------------------------------

const libraryRoot = "/usr/lib"

const faketimeLibrary = (): string | undefined => {
  if (!existsSync(libraryRoot)) return undefined
  const named = (folder: string) => join(libraryRoot, folder, "faketime/libfaketimeMT.so.1")
  return readdirSync(libraryRoot).map(named).find(existsSync)
}

export const faketimeMissing = (): string | undefined =>
  faketimeLibrary() === undefined ? "libfaketime (Debian: libfaketime)" : undefined

/** For a process whose wall clock is what the file says; its monotonic clock stays real. */
export const faketimeEnvironment = (file: string): Readonly<Record<string, string>> => ({
  LD_PRELOAD: faketimeLibrary() ?? "",
  FAKETIME_TIMESTAMP_FILE: file,
  FAKETIME_NO_CACHE: "1",
  FAKETIME_DONT_FAKE_MONOTONIC: "1",
  DONT_FAKE_MONOTONIC: "1"
})

// --- a network namespace, in which packets can be dropped --------------------------------------------------------------

/** Runs a command where there is nothing but loopback, its own. */
export const inOwnNetwork = (command: ReadonlyArray<string>): ReadonlyArray<string> => [
  "unshare",
  "--net",
  "sh",
  "-c",
  'ip link set lo up && exec "$@"',
  "sh",
  ...command
]

export const networkMissing = (): string | undefined => {
  if (process.platform !== "linux") return "Linux"
  if (process.getuid?.() !== 0) return "root, for a network namespace"
  const [command = "", ...args] = inOwnNetwork(["nft", "add", "table", "inet", "millrace"])
  return succeeds(command, args)
    ? undefined
    : "ip and nft (Debian: iproute2, nftables) and the right to a network namespace"
}

// --- tmpfs: a disk that can be full ---------------------------------------------------------------------------------

export const tmpfsMissing = (): string | undefined => {
  if (process.platform !== "linux") return "Linux"
  if (process.getuid?.() !== 0) return "root, to mount a tmpfs"
  const directory = mkdtempSync(join(tmpdir(), "millrace-tmpfs-"))
  const isMounted = succeeds("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", directory])
  if (isMounted) succeeds("umount", [directory])
  rmSync(directory, { recursive: true, force: true })
  return isMounted ? undefined : "the right to mount a tmpfs"
}

export const mountTmpfs = (directory: string, sizeMiB: number): void => {
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${sizeMiB}m`, "tmpfs", directory])
}

/** Also when files of it are still open. */
export const unmount = (directory: string): void => {
  succeeds("umount", ["-l", directory])
}
