/**
 * `millrace dev --isolation bubblewrap`: the same functions, the same calls, in sandboxes.
 *
 * @module
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, describe, expect, it } from "vitest"
import * as Sandbox from "../../src/backends/process/Sandbox.ts"
import * as Millrace from "../support/MillraceProcess.ts"
import { root } from "../support/TestPlatform.ts"

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
      ...["dev", join(root, "examples"), "--isolation", "bubblewrap"],
      ...["--state", state, "--json"]
    ])
    processes.push(millrace)
    const ready = await millrace.line("ready", ({ event }) => event === "ready", 60_000)
    expect(ready["isolation"]).toBe("process")
    const gateway = String(ready["gateway"])
    expect(await (await fetch(`${gateway}/f/hello/?name=Ada`)).text()).toBe("Hello, Ada!\n")
    const body = readFileSync(join(root, "examples/thumbnail/harbour.jpg"))
    const thumbnail = await fetch(`${gateway}/f/thumbnail/?width=200`, { method: "POST", body })
    expect(thumbnail.headers.get("content-type")).toBe("image/webp")
    const generate = { method: "POST", body: JSON.stringify({ prompt: "And God said", stream: true }) }
    expect(await (await fetch(`${gateway}/f/tinylm/generate`, generate)).text()).toMatch(/^data: /m)
    const wrapped = await fetch(`${gateway}/f/wrapped/statistics`, { method: "POST", body: "one two\ntwo\n" })
    expect(await wrapped.json()).toMatchObject({ lines: 2, words: 3 })
    expect(await millrace.stop("SIGINT")).toEqual({ code: 0, signal: null })
  })
})
