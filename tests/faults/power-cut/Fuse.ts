/**
 * Mounting a file system that a process of ours serves, without libraries: root, `/dev/fuse` and `mount` are enough.
 *
 * @module
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { closeSync, existsSync, mkdtempSync, openSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { unmount } from "../Tools.ts"

export const transferBytesMax = 128 * 1024

/** Not one of the helpers of `mount` (`-i`): they would look for libfuse. */
const mountArgs = (mountPoint: string): ReadonlyArray<string> => [
  "-i",
  "-t",
  "fuse",
  "-o",
  `fd=3,rootmode=40000,user_id=0,group_id=0,allow_other,max_read=${transferBytesMax}`,
  "millrace-power-cut",
  mountPoint
]

export const openDevice = (): number => openSync("/dev/fuse", "r+")

/** Not waited for: it may look at what it mounted, and whoever calls this has to answer that. */
export const beginMount = (device: number, mountPoint: string): ChildProcess =>
  spawn("mount", mountArgs(mountPoint), { stdio: ["ignore", "ignore", "inherit", device] })

export const fuseMissing = (): string | undefined => {
  if (process.platform !== "linux") return "Linux"
  if (process.getuid?.() !== 0) return "root, to mount a FUSE file system"
  if (!existsSync("/dev/fuse")) return "/dev/fuse (the kernel's module `fuse`)"
  const directory = mkdtempSync(join(tmpdir(), "millrace-fuse-"))
  let device: number | undefined
  try {
    device = openDevice()
    const { status } = spawnSync("mount", mountArgs(directory), {
      stdio: ["ignore", "ignore", "ignore", device],
      timeout: 5_000
    })
    return status === 0 ? undefined : "the right to mount a FUSE file system"
  } catch {
    return "the right to open /dev/fuse"
  } finally {
    unmount(directory)
    if (device !== undefined) closeSync(device)
    rmSync(directory, { recursive: true, force: true })
  }
}
