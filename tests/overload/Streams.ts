/**
 * Many event streams at once: each comes whole and in order, whatever the others do.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs"
import { get } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as PlatformProcess from "./PlatformProcess.ts"

export interface StreamsOptions {
  readonly streams: number
  readonly events: number
  readonly everyMs: number
  readonly say: (line: string) => void
}

const read = (url: string): Promise<{ text: string; status: number }> =>
  new Promise((resolve) => {
    let text = ""
    get(url, { agent: false, headers: { accept: "text/event-stream" } }, (response) => {
      const done = () => resolve({ text, status: response.statusCode ?? 0 })
      response.setEncoding("utf8").on("data", (part: string) => {
        text += part
      })
      response.on("end", done)
      response.on("error", done)
    }).on("error", () => resolve({ text, status: 0 }))
  })

export const run = async ({ streams, events, everyMs, say }: StreamsOptions) => {
  const stateDirectory = mkdtempSync(join(tmpdir(), "millrace-streams-"))
  const platform = await PlatformProcess.start({
    stateDirectory,
    deployment: { minInstances: 1, maxInstances: 1, concurrency: streams, requestTimeoutMs: 600_000 }
  })
  try {
    const url = `${platform.gatewayUrl}/f/load/stream?n=${events}&ms=${everyMs}`
    await read(`${platform.gatewayUrl}/f/load/stream?n=1`)
    const before = platform.residentBytes()
    let leasedMax = 0
    let peakBytes = 0
    const watch = setInterval(() => {
      peakBytes = Math.max(peakBytes, platform.residentBytes())
      void platform.memory().then(
        ({ leased }) => {
          leasedMax = Math.max(leasedMax, leased)
        },
        () => {}
      )
    }, 1_000)
    const startedMs = performance.now()
    say(`${streams} streams of ${events} events, one each ${everyMs} ms`)
    const all: Array<Promise<{ text: string; status: number }>> = []
    for (let index = 0; index < streams; index++) {
      all.push(read(url))
      if (index % 50 === 49) await new Promise((resolve) => setTimeout(resolve, 10))
    }
    const seen = await Promise.all(all)
    clearInterval(watch)
    const whole = Array.from({ length: events }, (_, index) => `data: ${index}\n\n`).join("")
    return {
      streams,
      whole: seen.filter(({ text, status }) => status === 200 && text === whole).length,
      statuses: Object.fromEntries(
        Object.entries(Object.groupBy(seen, ({ status }) => String(status))).map(([status, some]) => [
          status,
          some?.length
        ])
      ),
      atOnceMax: leasedMax,
      seconds: Math.round((performance.now() - startedMs) / 1000),
      residentBeforeMiB: Math.round(before / 1_048_576),
      residentPeakMiB: Math.round(peakBytes / 1_048_576)
    }
  } finally {
    await platform.kill()
    rmSync(stateDirectory, { recursive: true, force: true })
  }
}
