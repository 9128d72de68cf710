/**
 * Those who read slowly, on both sides of the gateway: what it holds for them is bounded by credit and windows, not by what
 * they are sent. Its memory is read from the kernel (`VmHWM`, the peak of its resident set), so this needs Linux.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import * as Random from "../../chaos/Random.ts"
import { call, open, readAll } from "../../platform/support/Client.ts"
import { probe } from "../../support/TestPlatform.ts"
import { skipWithout } from "../Tools.ts"
import * as ProxiedWorld from "./ProxiedWorld.ts"

const isSkipped = skipWithout(
  "the memory that slow readers cost",
  existsSync("/proc/self/clear_refs") ? undefined : "Linux with /proc"
)

const mebi = 1024 * 1024
const streams = 4

let proxied: ProxiedWorld.ProxiedWorld
let directory: string

/** Bytes. */
const peakOf = (pid: number): number => {
  const [, kibi = "0"] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? []
  return Number(kibi) * 1024
}

/** The peak is from now on that of what comes. */
const forgetPeak = (pid: number): void => writeFileSync(`/proc/${pid}/clear_refs`, "5")

/** Resolves when the number has not grown for half a second. */
const standsStill = async (what: () => number): Promise<number> => {
  let [last, sinceMs] = [what(), performance.now()]
  while (performance.now() - sinceMs < 500) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    if (what() !== last) [last, sinceMs] = [what(), performance.now()]
  }
  return last
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "millrace-slow-"))
})
afterEach(async () => {
  await proxied.close()
  rmSync(directory, { recursive: true, force: true })
})

/** Warm: what the first calls cost for good is there before anything is measured. */
const start = async (transport: ProxiedWorld.Transport) => {
  proxied = await ProxiedWorld.open({
    random: Random.make(1),
    transport,
    functionFile: probe,
    heartbeatMs: 2_000,
    visibilityTimeoutMs: 30_000
  })
  const url = `${proxied.life.gatewayUrl}/f/any`
  expect((await call(`${url}/bytes?n=${4 * mebi}`)).bytes.length).toBe(4 * mebi)
  expect((await call(`${url}/count`, { body: Buffer.alloc(4 * mebi) })).json()).toEqual({ bytes: 4 * mebi })
  const { pid } = proxied.life
  forgetPeak(pid)
  const beforeBytes = peakOf(pid)
  return { url, grown: () => peakOf(pid) - beforeBytes }
}

describe.skipIf(isSkipped).each(["ws", "grpc"] as const)("with workers over %s", (transport) => {
  it("callers who do not read their answers cost a fraction of them, and can read on", async () => {
    const { url, grown } = await start(transport)
    const streamBytes = 256 * mebi
    const answers = await Promise.all(
      Array.from({ length: streams }, async () => {
        const opened = open(`${url}/bytes?n=${streamBytes}`, { method: "GET" })
        opened.end()
        const answer = await opened.answer
        answer.pause()
        return answer
      })
    )
    const sent = await standsStill(() => proxied.workers.passedBytes("up"))
    expect(sent, "bytes that workers sent while nobody read").toBeLessThan(streams * 16 * mebi)
    expect(grown(), "bytes of memory").toBeLessThan((streams * streamBytes) / 8)
    const [first] = answers
    let readOn = 0
    for await (const bytes of first ?? []) {
      readOn += bytes.length
      if (readOn > 16 * mebi) break
    }
    expect(readOn).toBeGreaterThan(16 * mebi)
    for (const answer of answers) answer.destroy()
    expect((await call(`${url}/inspect`)).status).toBe(200)
    expect(grown(), "bytes of memory").toBeLessThan((streams * streamBytes) / 8)
  }, 120_000)

  it("handlers who do not read their bodies cost a fraction of them, and get all when they do", async () => {
    const { url, grown } = await start(transport)
    const bodyBytes = 64 * mebi
    const file = join(directory, "read-on")
    const chunk = Buffer.alloc(mebi, 7)
    const before = proxied.workers.passedBytes("down")
    const uploads = Array.from({ length: streams }, async (_, index) => {
      const length = index === 0 ? bodyBytes / 4 : bodyBytes
      const after = index === 0 ? file : `${file}-never`
      const opened = open(`${url}/count?after=${after}`, { headers: { "content-length": String(length) } })
      for (let sent = 0; sent < length; sent += chunk.length) if (!opened.write(chunk)) await opened.drained()
      opened.end()
      return opened
    })
    const opened = await Promise.all(uploads)
    const sent = (await standsStill(() => proxied.workers.passedBytes("down"))) - before
    expect(sent, "bytes that workers were sent while they did not read").toBeLessThan(streams * 16 * mebi)
    // What is in flight, and what the collector has not looked at yet: it varies by tens of megabytes.
    expect(grown(), "bytes of memory").toBeLessThan((streams * bodyBytes) / 2)
    writeFileSync(file, "")
    const [first, ...others] = opened
    if (first !== undefined) expect((await readAll(await first.answer)).json()).toEqual({ bytes: bodyBytes / 4 })
    for (const other of others) other.leave()
  }, 120_000)
})
