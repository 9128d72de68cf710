/**
 * A `PowerCutDisk` under a folder, held by a process of its own.
 *
 * @module
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdirSync, readFileSync } from "node:fs"
import { eventually } from "../../support/TestPlatform.ts"
import { unmount } from "../Tools.ts"
import type { CutReport, DiskOptions } from "./powerCutMain.ts"

export interface PowerCutMount {
  /** Resolves when the disk is gone and what survived is there. */
  readonly over: Promise<CutReport>
  readonly isOver: () => boolean
  /** Takes the folder away, also when the power was cut; a disk that still runs is killed and leaves nothing. */
  readonly unmount: () => Promise<void>
}

const isMounted = (mountPoint: string) => readFileSync("/proc/mounts", "utf8").includes(` ${mountPoint} fuse `)

export const mount = async (options: DiskOptions): Promise<PowerCutMount> => {
  for (const folder of [options.mountPoint, options.after]) mkdirSync(folder, { recursive: true })
  const main = new URL("./powerCutMain.ts", import.meta.url).pathname
  const child = spawn(process.execPath, [main, JSON.stringify(options)], { stdio: ["ignore", "pipe", "pipe"] })
  let said = ""
  let complained = ""
  child.stdout.on("data", (bytes: Buffer) => {
    said += bytes.toString("utf8")
  })
  child.stderr.on("data", (bytes: Buffer) => {
    complained += bytes.toString("utf8")
  })
  let isOver = false
  const over = once(child, "close").then(([code, signal]): CutReport => {
    isOver = true
    if (code !== 0) throw new Error(`the disk ended with ${signal ?? code}: ${complained}`)
    // Written by `powerCutMain.ts`.
    return JSON.parse(said) as CutReport
  })
  over.catch(() => {})
  // The kernel's first question lies before this one is answered.
  await eventually(
    "the disk is mounted",
    () => isOver || (isMounted(options.mountPoint) && existsSync(options.mountPoint))
  )
  return {
    over,
    isOver: () => isOver,
    unmount: async () => {
      unmount(options.mountPoint)
      if (!isOver) child.kill("SIGKILL")
      await over.catch(() => {})
    }
  }
}
