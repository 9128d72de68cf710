/**
 * A worker that is cut off without a word: no end of the connection, no reset, its packets are dropped.
 */
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { describe, expect, it } from "vitest"
import * as InvocationPlane from "../../src/planes/InvocationPlane.ts"
import * as Platform from "../../src/planes/Platform.ts"
import { type HalfOpenReport, heartbeatMs } from "./halfOpenMain.ts"
import { inOwnNetwork, networkMissing, skipWithout } from "./Tools.ts"

const isSkipped = skipWithout("a worker that is cut off without a word", networkMissing())

it("by default a lease is over three heartbeats after the last sign of its worker", () => {
  const { heartbeatMs } = Platform.defaults
  expect(InvocationPlane.bufferOf(Platform.defaults).visibilityTimeoutMs).toBe(3 * heartbeatMs)
  expect(InvocationPlane.bufferOf({ buffer: { visibilityTimeoutMs: 30_000 }, heartbeatMs }).visibilityTimeoutMs).toBe(
    30_000
  )
})

describe.skipIf(isSkipped)("a worker whose packets are dropped", () => {
  it("loses its lease within three heartbeats and a second, and its request is answered once", async () => {
    const [command = "", ...args] = inOwnNetwork([
      process.execPath,
      "--conditions=millrace-source",
      join(import.meta.dirname, "halfOpenMain.ts")
    ])
    const { stdout } = await promisify(execFile)(command, args, { timeout: 55_000 })
    // The last line that it prints.
    const report = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as HalfOpenReport
    expect(report.explained).toEqual([])
    expect(report.result).toBe("answer")
    // An attempt can be given over the old connection, in the moment when packets pass again, and be lost with it.
    expect(report.attempts[0]).toBe(1)
    expect(report.attempts.at(-1)).toBeGreaterThan(1)
    expect(report.leaseBackMs).toBeLessThan(3 * heartbeatMs + 1_000)
    // Its last heartbeat was at most so long ago: it was not taken away sooner.
    expect(report.leaseBackMs).toBeGreaterThan(heartbeatMs)
  }, 60_000)
})
