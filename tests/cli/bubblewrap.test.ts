/**
 * `millrace dev --isolation bubblewrap`: the same functions, the same calls, in sandboxes.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, describe, expect, it } from "vitest"
import * as Sandbox from "../../src/backends/process/Sandbox.ts"
import * as Examples from "../support/Examples.ts"
import * as Millrace from "../support/MillraceProcess.ts"

const why = process.platform === "linux" ? Sandbox.whyNot() : "bubblewrap is for Linux"
const title = `millrace dev --isolation bubblewrap${why === undefined ? "" : ` [skipped: ${why}]`}`

describe.skipIf(why !== undefined)(title, () => {
  const processes: Array<Millrace.MillraceProcess> = []
  const state = mkdtempSync(join(tmpdir(), "mr-state-"))
  afterEach(async () => {
    await Promise.all(processes.splice(0).map((millrace) => millrace.stop("SIGKILL")))
    rmSync(state, { recursive: true, force: true })
  })

  it("does the README's job with the examples as they are", { timeout: 120_000 }, async () => {
    const millrace = Millrace.start([
      ...["dev", Examples.folder, "--isolation", "bubblewrap"],
      ...["--state", state, "--json"]
    ])
    processes.push(millrace)
    const ready = await millrace.line("ready", ({ event }) => event === "ready", 60_000)
    expect(ready["isolation"]).toBe("process")
    await Examples.callAll(String(ready["gateway"]))
    expect(await millrace.stop("SIGINT")).toEqual({ code: 0, signal: null })
  })
})
