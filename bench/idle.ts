/**
 * What a platform costs that has nothing to do: `millrace up` on an empty directory, from `exec` to ready, and its
 * resident memory five seconds later.
 *
 * @module
 */
import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Bench } from "./Bench.ts"
import { median, round } from "./Statistics.ts"

const cli = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url))
const idleMs = 5_000
const readyDeadlineMs = 30_000

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
  const fromMs = performance.now()
  const child = spawn(process.execPath, [cli, "up", "--port", "0", "--control-port", "0", "--worker-port", "0"], {
    cwd: directory,
    stdio: ["ignore", "pipe", "inherit"]
  })
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()))
  try {
    const readyMs = await new Promise<number>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not ready after ${readyDeadlineMs} ms`)), readyDeadlineMs)
      let told = ""
      child.stdout.on("data", (chunk: Buffer) => {
        told += chunk.toString("utf8")
        if (!told.includes('"ready"')) return
        clearTimeout(timer)
        resolve(performance.now() - fromMs)
      })
      child.once("exit", (code) => reject(new Error(`millrace up ended with code ${code}; it said: ${told}`)))
    })
    await new Promise((resolve) => setTimeout(resolve, idleMs))
    return { readyMs, residentMb: residentMegabytes(child.pid ?? 0) }
  } finally {
    child.kill("SIGTERM")
    await ended
    rmSync(directory, { recursive: true, force: true })
  }
}
