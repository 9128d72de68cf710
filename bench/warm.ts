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
  const load = (port: number, path: string, count: number, durationMs: number) =>
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
      status: 200
    })
  const millrace = (count: number, ms: number) => load(platform.port, "/f/echo/", count, ms)
  const bare = (count: number, ms: number) => load(proxy.started.port, "/", count, ms)
  try {
    // The first seconds belong to the compiler of both.
    await millrace(connections, 3_000)
    await bare(connections, 3_000)
    const ratios: Array<number> = []
    const added: Array<number> = []
    const rates: Array<readonly [number, number]> = []
    const quiet: Array<readonly [number, number]> = []
    for (let round = 0; round < repetitions; round++) {
      const proxied = await bare(connections, 2_000)
      const called = await millrace(connections, 2_000)
      if (called.errors > 0) say(`${called.errors} errors, the first: ${called.firstError}`)
      rates.push([called.requestsPerSecond, proxied.requestsPerSecond])
      ratios.push(called.requestsPerSecond / proxied.requestsPerSecond)
      const proxiedQuietly = quantile((await bare(quietConnections, 1_000)).latencies, 0.5)
      const calledQuietly = quantile((await millrace(quietConnections, 1_000)).latencies, 0.5)
      quiet.push([calledQuietly, proxiedQuietly])
      added.push(calledQuietly - proxiedQuietly)
      say(
        `round ${round + 1}: Millrace ${Math.round(called.requestsPerSecond)} requests/s, p99 ${quantile(called.latencies, 0.99).toFixed(1)} ms` +
          `; proxy ${Math.round(proxied.requestsPerSecond)}, p99 ${quantile(proxied.latencies, 0.99).toFixed(1)} ms` +
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
        proxy_p50_ms: round(median(quiet.map(([, value]) => value)), 3)
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
