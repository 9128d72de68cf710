/**
 * The platform with a socket for its workers: instances are told of it and of no port.
 *
 * @module
 */
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import * as TestPlatform from "../support/TestPlatform.ts"

describe("a worker socket", () => {
  it("carries the calls of instances that know no port, and goes with the platform", async () => {
    const stateDirectory = mkdtempSync(join(tmpdir(), "millrace-test-"))
    const workerSocket = join(stateDirectory, "workers", "worker.sock")
    const test = await TestPlatform.start({ stateDirectory, workerSocket })
    try {
      expect(statSync(join(stateDirectory, "workers")).mode & 0o777).toBe(0o755)
      const script = `import { serve } from "millrace/worker"; serve({ fetch: () => new Response(process.env.MILLRACE_WORKER_URL) })`
      const fn = await test.deploy("where", {}, { command: ["node", "--input-type=module", "-e", script] })
      expect(await (await fetch(fn.url)).text()).toBe(`unix:${workerSocket}`)
    } finally {
      await test.close({ keep: true })
    }
    expect(existsSync(workerSocket)).toBe(false)
    rmSync(stateDirectory, { recursive: true, force: true })
  }, 30_000)
})
