/**
 * The process of one disk whose power is cut: `node powerCutMain.ts OPTIONS`, where OPTIONS is the JSON of `DiskOptions`.
 * At the cut it writes what survives, says so in one line of JSON, and is gone, without an answer to whoever asked.
 */
import { writeSync } from "node:fs"
import * as Random from "../../chaos/Random.ts"
import { serve } from "./FuseServer.ts"
import { PowerCut, PowerCutDisk, type Survival } from "./PowerCutDisk.ts"

export interface DiskOptions {
  /** What the disk holds at its start. */
  readonly before: string
  readonly mountPoint: string
  /** Empty; holds what survived when this process is gone. */
  readonly after: string
  readonly cutAt: number | undefined
  readonly survival: Survival
  readonly seed: number
}

export interface CutReport {
  readonly operations: number
  /** Undefined: it was unmounted first. */
  readonly operation: string | undefined
}

// Given by `PowerCutMount.ts`.
const options = JSON.parse(process.argv[2] ?? "{}") as DiskOptions
const { cutAt, survival } = options
const disk = new PowerCutDisk({ cutAt, survival, random: Random.make(options.seed) })
disk.load(options.before)
let operation: string | undefined
try {
  serve(disk, options.mountPoint)
} catch (error) {
  if (!(error instanceof PowerCut)) throw error
  operation = error.operation
}
disk.saveSurvivors(options.after)
const report: CutReport = { operations: disk.operations, operation }
writeSync(1, `${JSON.stringify(report)}\n`)
process.exit(0)
