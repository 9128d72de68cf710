/**
 * What a platform costs that has nothing to do: `millrace up` on an empty directory, from `exec` to ready, and its
 * resident memory five seconds later.
 *
 * @module
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Bench } from "./Bench.ts"
import * as MillraceCommand from "./MillraceCommand.ts"
import { median, round } from "./Statistics.ts"

const idleMs = 5_000

const residentMegabytes = (pid: number): number => {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))
  return Number(line?.[1]) / 1024
}

export const idle: Bench = async ({ repetitions, say }) => {
  const rss: Array<number> = []
  const ready: Array<number> = []
  for (let index = 0; index < repetitions; index++) {
    const once = await upOnce()
    rss.push(once.residentMb)
    ready.push(once.readyMs)
    say(`round ${index + 1}: ready after ${Math.round(once.readyMs)} ms, ${once.residentMb.toFixed(1)} MB resident`)
  }
  return {
    figures: { rss_mb: round(median(rss), 1), ready_ms: Math.round(median(ready)) },
    budgets: [
      { figure: "rss_mb", atMost: 200 },
      { figure: "ready_ms", atMost: 2_000 }
    ]
  }
}

const upOnce = async (): Promise<{ readonly readyMs: number; readonly residentMb: number }> => {
  const directory = mkdtempSync(join(tmpdir(), "millrace-bench-idle-"))
  try {
    const millrace = await MillraceCommand.start(["up"], directory)
    try {
      await new Promise((resolve) => setTimeout(resolve, idleMs))
      return { readyMs: millrace.readyMs, residentMb: residentMegabytes(millrace.pid) }
    } finally {
      await millrace.close()
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
