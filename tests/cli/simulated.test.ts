/**
 * `millrace dev` on GPUs that are not there: the same functions, the same calls, another backend by one flag.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, describe, expect, it } from "vitest"
import * as Examples from "../support/Examples.ts"
import * as Millrace from "../support/MillraceProcess.ts"
import { root } from "../support/TestPlatform.ts"

const directories: Array<string> = []
const processes: Array<Millrace.MillraceProcess> = []

afterEach(async () => {
  await Promise.all(processes.splice(0).map((millrace) => millrace.stop("SIGKILL")))
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true })
})

const workspace = () => {
  mkdirSync(join(root, "tests/.tmp"), { recursive: true })
  const directory = mkdtempSync(join(root, "tests/.tmp/simulated-"))
  directories.push(directory)
  return directory
}

const start = async (directory: string, args: ReadonlyArray<string>) => {
  const millrace = Millrace.start(["dev", directory, "--state", join(workspace(), "state"), "--json", ...args])
  processes.push(millrace)
  const ready = await millrace.line("ready", ({ event }) => event === "ready", 60_000)
  return { millrace, gateway: String(ready.gateway) }
}

const writeFunction = (directory: string, name: string, content: object) => {
  mkdirSync(join(directory, name))
  writeFileSync(join(directory, name, "millrace.json"), JSON.stringify({ name, ...content }))
}

const h100 = { gpu: { kind: "H100", count: 1 }, instanceType: "H100.1x", idleWindowMs: 60_000 }

describe("millrace dev --backend simulated", () => {
  it("does the README's job with the examples as they are", { timeout: 120_000 }, async () => {
    const { millrace, gateway } = await start(Examples.folder, ["--backend", "simulated"])
    await Examples.callAll(gateway)
    expect(await millrace.stop("SIGINT")).toEqual({ code: 0, signal: null })
  })

  it("gives functions simulated GPUs, with workers of the SDK in the platform's own process", {
    timeout: 60_000
  }, async () => {
    const directory = workspace()
    const worker = (...words: ReadonlyArray<string>) => ({
      command: ["millrace-simulated", ...words],
      deployment: h100
    })
    writeFunction(directory, "echo", worker("echo"))
    writeFunction(directory, "delay", worker("delay", "20"))
    writeFunction(directory, "tokens", worker("tokens", "5", "1"))
    const { millrace, gateway } = await start(directory, ["--gpu", "h100x2x1"])
    const echo = await fetch(`${gateway}/f/echo/`, {
      method: "POST",
      body: "hello",
      headers: { "content-type": "text/x" }
    })
    expect([await echo.text(), echo.headers.get("content-type")]).toEqual(["hello", "text/x"])
    const tokens = await fetch(`${gateway}/f/tokens/`)
    expect((await tokens.text()).match(/token \d/g)).toEqual(["token 1", "token 2", "token 3", "token 4", "token 5"])
    const instances = millrace.lines.filter(({ event, state }) => event === "instance" && state === "ready")
    expect(instances.length).toBe(2)
    // Both GPUs are taken: the third function waits for one.
    const waits = fetch(`${gateway}/f/delay/`, { headers: { "Millrace-Deadline": "2s" } })
    expect((await waits).status).toBe(504)
    expect(await millrace.stop("SIGINT")).toEqual({ code: 0, signal: null })
  })

  it.each([
    [["--gpu", "v100x8x4"], /names no kind of GPU that is known.*h100x8x4.*kinds: a100, h100, h200, b200, gb200, l40s/],
    [["--gpu", "h100x8x0"], /1 to 10000 nodes/],
    [["--gpu", "h100x8x4", "--backend", "process"], /leave out --backend process/],
    [["--backend", "cloud"], /backends: process, simulated/],
    [["--gpu", "h100", "--start-model", "instant"], /models: process, lora, base-model, container/]
  ] as const)("refuses %j and says what would be right", async (args, wanted) => {
    const millrace = Millrace.start(["dev", workspace(), "--json", ...args])
    processes.push(millrace)
    expect((await millrace.exited).code).toBe(2)
    expect(millrace.stderr()).toMatch(wanted)
  })
})
