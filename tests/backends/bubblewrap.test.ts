/**
 * The process backend with bubblewrap: the laws of every backend, and what an instance in a sandbox cannot do.
 *
 * @module
 */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Scope from "effect/Scope"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { ComputeBackend, InstanceSpec } from "../../src/backends/ComputeBackend.ts"
import { casesOf, type Harness } from "../../src/backends/laws/index.ts"
import * as ProcessBackend from "../../src/backends/process/ProcessBackend.ts"
import * as Sandbox from "../../src/backends/process/Sandbox.ts"
import * as Tries from "../isolation/tries.ts"
import { eventually } from "../support/TestPlatform.ts"
import { nodeSpec } from "./nodeSpec.ts"
import { harnessOf } from "./processHarness.ts"

const why = process.platform === "linux" ? Sandbox.whyNot() : "bubblewrap is for Linux"
const suffix = why === undefined ? "" : ` [skipped: ${why}]`

/** What is in sandboxes, without the sandboxes' own processes. */
const countProcesses = (text: string): number =>
  readdirSync("/proc").filter((name) => {
    if (!/^\d+$/.test(name)) return false
    try {
      if (readFileSync(`/proc/${name}/comm`, "utf8").trim() === "bwrap") return false
      return readFileSync(`/proc/${name}/environ`, "latin1").includes(text)
    } catch {
      return false
    }
  }).length

const plain = harnessOf({
  name: "process, in bubblewrap",
  make: (instancesMax) => ProcessBackend.make({ instancesMax, isolation: "bubblewrap" }),
  specOf: nodeSpec,
  cannotStart: { command: ["/nowhere/at/all"] }
})
const harness: Harness = { ...plain, countProcesses, environmentAdded: [...plain.environmentAdded, "PWD"] }

describe.skipIf(why !== undefined)(`backend laws: ${harness.name}${suffix}`, () => {
  for (const { name, skip, run } of casesOf(harness)) it.skipIf(skip !== undefined)(name, run, 30_000)
})

describe.skipIf(why !== undefined)(`bubblewrap${suffix}`, () => {
  const folder = mkdtempSync(join(tmpdir(), "mr-function-"))
  const socketFolder = mkdtempSync(join(tmpdir(), "mr-worker-"))
  const scope = Effect.runSync(Scope.make())
  const server = createServer((socket) => socket.on("error", () => {}).end("the plane"))
  let backend: ComputeBackend["Service"]

  beforeAll(async () => {
    for (const each of [folder, socketFolder]) chmodSync(each, 0o755)
    await new Promise<void>((resolve) =>
      server.listen({ path: join(socketFolder, "w.sock"), readableAll: true, writableAll: true }, resolve)
    )
    backend = await Effect.runPromise(
      ProcessBackend.make({ isolation: "bubblewrap", workerSocketDirectory: socketFolder, zygotes: 4 }).pipe(
        Scope.provide(scope),
        Effect.provide(Logger.layer([]))
      )
    )
  })
  afterAll(async () => {
    await Effect.runPromise(Scope.close(scope, Exit.void))
    server.close()
    for (const each of [folder, socketFolder]) rmSync(each, { recursive: true, force: true })
  })

  const said = async (instanceId: string, script: string, prefix: string, change: Partial<InstanceSpec> = {}) => {
    await Effect.runPromise(backend.launch({ ...nodeSpec(instanceId, script), workingDirectory: folder, ...change }))
    const text = await eventually(`${instanceId} says ${prefix}`, async () => {
      const lines = await Effect.runPromise(backend.logs(instanceId))
      const found = lines.find((line) => line.text.startsWith(prefix))?.text
      if (found === undefined) throw new Error(`it says ${JSON.stringify(lines)}`)
      return found
    })
    return text.slice(prefix.length)
  }

  it("is refused everything that is forbidden, try by try", async () => {
    const host = await Tries.openHost()
    try {
      for (const { file, content } of Tries.programs(host)) writeFileSync(join(folder, file), content, { mode: 0o755 })
      const neighbour = "secret-of-the-neighbour"
      const stay = "console.log('up'); setInterval(() => {}, 1000)"
      await said("other", stay, "up", { environment: { NEIGHBOUR: neighbour } })
      const programs = Tries.hasCalls ? folder : undefined
      const script = join(folder, "tries.cjs")
      writeFileSync(script, Tries.script(host, { programs, socketFolder, neighbour }))
      const results: Record<string, string> = JSON.parse(
        await said("tries", "", "tries ", { command: ["node", script] })
      )
      expect(Tries.notRefused(results)).toEqual([])
      expect(Object.keys(results).length).toBeGreaterThanOrEqual(25)
    } finally {
      host.close()
    }
  }, 60_000)

  it("has no capability, is filtered by seccomp, and can gain nothing", async () => {
    const script = `console.log("shown " + JSON.stringify(require("fs").readFileSync("/proc/self/status", "utf8"))); setInterval(() => {}, 1000)`
    const status: string = JSON.parse(await said("status", script, "shown "))
    const fields = Object.fromEntries(status.split("\n").map((line) => line.split(":\t")))
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) expect(fields[set]).toBe("0000000000000000")
    expect([fields["NoNewPrivs"], fields["Seccomp"]]).toEqual(["1", "2"])
    expect(fields["Uid"]).toBe("65532\t65532\t65532\t65532")
  })

  it("sees its own folder and its worker socket, and can write in /tmp alone", async () => {
    writeFileSync(join(folder, "own.txt"), "own")
    const script = `const fs = require("fs"), net = require("net");
      const canWrite = (path) => { try { fs.writeFileSync(path + "/made", "x"); return true } catch { return false } };
      const writable = ["/", "/tmp", "/dev", "/usr", "/proc", ${JSON.stringify(folder)}, ${JSON.stringify(socketFolder)}].filter(canWrite);
      net.connect(${JSON.stringify(join(socketFolder, "w.sock"))}).on("data", (data) =>
        console.log("shown " + JSON.stringify([fs.readFileSync("own.txt", "utf8"), writable, String(data)])))`
    expect(JSON.parse(await said("folder", script, "shown "))).toEqual(["own", ["/tmp"], "the plane"])
  })
})
