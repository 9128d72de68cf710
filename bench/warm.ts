/**
 * A warm call through Millrace against the same call through a bare `node:http` reverse proxy: 1 KiB in, 1 KiB out,
 * each server in a process of its own, the load in this one.
 *
 * @module
 */
import type { Bench } from "./Bench.ts"
import * as BenchProcess from "./BenchProcess.ts"
import * as HttpLoad from "./HttpLoad.ts"
import * as PlatformUnderTest from "./PlatformUnderTest.ts"
import { median, quantile, round } from "./Statistics.ts"

const connections = 64
/** So few that nothing waits for a core. */
const quietConnections = 1

export const warm: Bench = async ({ repetitions, say }) => {
  const echo = await BenchProcess.start<{ port: number }>("echo-server.mjs")
  const proxy = await BenchProcess.start<{ port: number }>("reverse-proxy.mjs", [String(echo.started.port)])
  const platform = await PlatformUnderTest.start([
    {
      name: "echo",
      file: "echo.mjs",
      deployment: { minInstances: 1, maxInstances: 1, concurrency: 256 },
      version: {}
    }
  ])
  const load = (pids: ReadonlyArray<number>, port: number, path: string, count: number, durationMs: number) =>
    HttpLoad.run({
      host: "127.0.0.1",
      port,
      method: "POST",
      path,
      headers: { "content-type": "application/octet-stream" },
      body: Buffer.alloc(1024, "x"),
      connections: count,
      warmUpMs: 300,
      durationMs,
      status: 200,
      pids
    })
  const barePids = [proxy.pid, echo.pid]
  const pids = [platform.pid]
  const millrace = (count: number, ms: number) => load(pids, platform.port, "/f/echo/", count, ms)
  const bare = (count: number, ms: number) => load(barePids, proxy.started.port, "/", count, ms)
  try {
    // The first seconds belong to the compiler of both.
    await millrace(connections, 3_000)
    await bare(connections, 3_000)
    for (const pid of await platform.instancePids()) if (pid !== null) pids.push(pid)
    const cpu: Array<readonly [number, number]> = []
    const ratios: Array<number> = []
    const added: Array<number> = []
    const rates: Array<readonly [number, number]> = []
    const quiet: Array<readonly [number, number]> = []
    for (let index = 0; index < repetitions; index++) {
      const proxied = await bare(connections, 2_000)
      const called = await millrace(connections, 2_000)
      if (called.errors > 0) say(`${called.errors} errors, the first: ${called.firstError}`)
      rates.push([called.requestsPerSecond, proxied.requestsPerSecond])
      cpu.push([called.cpuUs, proxied.cpuUs])
      ratios.push(called.requestsPerSecond / proxied.requestsPerSecond)
      const proxiedQuietly = quantile((await bare(quietConnections, 1_000)).latencies, 0.5)
      const calledQuietly = quantile((await millrace(quietConnections, 1_000)).latencies, 0.5)
      quiet.push([calledQuietly, proxiedQuietly])
      added.push(calledQuietly - proxiedQuietly)
      say(
        `round ${index + 1}: Millrace ${Math.round(called.requestsPerSecond)} requests/s, ${Math.round(called.cpuUs)} us of processor each` +
          `; proxy ${Math.round(proxied.requestsPerSecond)}, ${Math.round(proxied.cpuUs)} us` +
          `; one at a time ${calledQuietly.toFixed(3)} ms and ${proxiedQuietly.toFixed(3)} ms`
      )
    }
    return {
      figures: {
        ratio: round(median(ratios)),
        p50_added_ms: round(median(added), 3),
        millrace_per_s: Math.round(median(rates.map(([value]) => value))),
        proxy_per_s: Math.round(median(rates.map(([, value]) => value))),
        millrace_p50_ms: round(median(quiet.map(([value]) => value)), 3),
        proxy_p50_ms: round(median(quiet.map(([, value]) => value)), 3),
        millrace_cpu_us: round(median(cpu.map(([value]) => value)), 1),
        proxy_cpu_us: round(median(cpu.map(([, value]) => value)), 1)
      },
      budgets: [
        { figure: "ratio", atLeast: 0.8 },
        { figure: "p50_added_ms", atMost: 0.3 }
      ]
    }
  } finally {
    await Promise.all([platform.close(), proxy.close(), echo.close()])
  }
}
