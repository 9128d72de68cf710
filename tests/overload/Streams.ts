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

interface Seen {
  readonly text: string
  /** 0: there was no answer. */
  readonly status: number
  /** What broke it off. */
  readonly error: string | undefined
}

const read = (url: string): Promise<Seen> =>
  new Promise((resolve) => {
    let text = ""
    const codeOf = (error: Error & { readonly code?: string }) => error.code ?? error.message
    get(url, { agent: false, headers: { accept: "text/event-stream" } }, (response) => {
      const status = response.statusCode ?? 0
      response.setEncoding("utf8").on("data", (part: string) => {
        text += part
      })
      response.on("end", () => resolve({ text, status, error: undefined }))
      response.on("error", (error) => resolve({ text, status, error: codeOf(error) }))
    }).on("error", (error) => resolve({ text, status: 0, error: codeOf(error) }))
  })

/** In words that are the same for the same cause. */
const whyMissing = ({ text, status, error }: Seen, whole: string): string => {
  if (status === 0) return `no answer: ${error}`
  if (status !== 200) return `${status} ${/"type":"([^"]*)"/.exec(text)?.[1] ?? ""}`
  const events = text.split("\n\n").length - 1
  if (!whole.startsWith(text)) return `another text after ${events} events`
  return `broken off after ${events} events: ${error ?? "ended"}`
}

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
      void platform.counts().then(
        ({ leased }) => {
          leasedMax = Math.max(leasedMax, leased)
        },
        () => {}
      )
    }, 1_000)
    const startedMs = performance.now()
    say(`${streams} streams of ${events} events, one each ${everyMs} ms`)
    const all: Array<Promise<Seen>> = []
    for (let index = 0; index < streams; index++) {
      all.push(read(url))
      if (index % 50 === 49) await new Promise((resolve) => setTimeout(resolve, 10))
    }
    const seen = await Promise.all(all)
    clearInterval(watch)
    const whole = Array.from({ length: events }, (_, index) => `data: ${index}\n\n`).join("")
    const isWhole = ({ text, status, error }: Seen) => status === 200 && error === undefined && text === whole
    const missing: Record<string, number> = {}
    for (const each of seen) {
      if (isWhole(each)) continue
      const why = whyMissing(each, whole)
      missing[why] = (missing[why] ?? 0) + 1
    }
    return {
      streams,
      whole: seen.filter(isWhole).length,
      missing,
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
