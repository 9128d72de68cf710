/**
 * Accepting a call durably (`Prefer: respond-async`, 202 after the commit) against an echo that stores nothing, and
 * against one commit for each request. 1 KiB, 256 callers. No instance runs: what is measured is the accepting.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Bench } from "./Bench.ts"
import * as BenchProcess from "./BenchProcess.ts"
import * as HttpLoad from "./HttpLoad.ts"
import * as PlatformUnderTest from "./PlatformUnderTest.ts"
import { median, quantile, round } from "./Statistics.ts"

const callers = 256

export const durable: Bench = async ({ repetitions, say }) => {
  const directory = mkdtempSync(join(tmpdir(), "millrace-bench-commit-"))
  const echo = await BenchProcess.start<{ port: number }>("echo-server.mjs")
  const commit = await BenchProcess.start<{ port: number }>("commit-server.mjs", [directory])
  const load = (pid: number, port: number, path: string, status: number, durationMs: number) =>
    HttpLoad.run({
      host: "127.0.0.1",
      port,
      method: "POST",
      path,
      headers: { "content-type": "application/octet-stream", prefer: "respond-async" },
      body: Buffer.alloc(1024, "x"),
      connections: callers,
      warmUpMs: 300,
      durationMs,
      status,
      pids: [pid]
    })
  const rates = { millrace: [] as Array<number>, echo: [] as Array<number>, commit: [] as Array<number> }
  const cpu = { millrace: [] as Array<number>, echo: [] as Array<number> }
  const ratiosEcho: Array<number> = []
  const ratiosCommit: Array<number> = []
  try {
    await load(echo.pid, echo.started.port, "/", 200, 2_000)
    await load(commit.pid, commit.started.port, "/", 202, 2_000)
    for (let index = 0; index < repetitions; index++) {
      const bare = await load(echo.pid, echo.started.port, "/", 200, 2_000)
      // A fresh platform for each round, so that none carries the backlog of those before it.
      const platform = await PlatformUnderTest.start([
        { name: "slow", file: "never.mjs", deployment: { maxInstances: 1, concurrency: 1 }, version: {} }
      ])
      const accept = (durationMs: number) => load(platform.pid, platform.port, "/f/slow/", 202, durationMs)
      // As the other two had before the first round: what is measured is not the compiler.
      const accepted = await accept(2_000)
        .then(() => accept(2_000))
        .finally(platform.close)
      const single = await load(commit.pid, commit.started.port, "/", 202, 2_000)
      if (accepted.errors > 0) say(`${accepted.errors} errors, the first: ${accepted.firstError}`)
      cpu.millrace.push(accepted.cpuUs)
      cpu.echo.push(bare.cpuUs)
      rates.millrace.push(accepted.requestsPerSecond)
      rates.echo.push(bare.requestsPerSecond)
      rates.commit.push(single.requestsPerSecond)
      ratiosEcho.push(accepted.requestsPerSecond / bare.requestsPerSecond)
      ratiosCommit.push(accepted.requestsPerSecond / single.requestsPerSecond)
      say(
        `round ${index + 1}: Millrace ${Math.round(accepted.requestsPerSecond)} accepts/s, ${Math.round(accepted.cpuUs)} us of processor each, p50 ${quantile(accepted.latencies, 0.5).toFixed(1)} ms` +
          `; echo ${Math.round(bare.requestsPerSecond)}/s, ${Math.round(bare.cpuUs)} us; one commit each ${Math.round(single.requestsPerSecond)}/s`
      )
    }
    return {
      figures: {
        ratio_echo: round(median(ratiosEcho)),
        ratio_single_commit: round(median(ratiosCommit)),
        millrace_per_s: Math.round(median(rates.millrace)),
        echo_per_s: Math.round(median(rates.echo)),
        single_commit_per_s: Math.round(median(rates.commit)),
        millrace_cpu_us: round(median(cpu.millrace), 1),
        echo_cpu_us: round(median(cpu.echo), 1)
      },
      budgets: [
        { figure: "ratio_echo", atLeast: 0.4 },
        { figure: "ratio_single_commit", atLeast: 5 }
      ]
    }
  } finally {
    await Promise.all([echo.close(), commit.close()])
    rmSync(directory, { recursive: true, force: true })
  }
}
