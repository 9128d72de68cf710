/**
 * A platform in a process of its own for the runs of `main.ts`: `node --expose-gc platformMain.ts OPTIONS`. Says
 * `{"ready": ...}` to its parent, answers `"memory"` with what it uses after a collection and `"counts"` with what waits and runs, and says when the first lease
 * after its start was given.
 */
import { flushCompileCache } from "node:module"
import { probe, start } from "../support/TestPlatform.ts"
import type { ChildOptions, FromChild } from "./PlatformProcess.ts"

// Given by `PlatformProcess.start`.
const options = JSON.parse(process.argv[2] ?? "{}") as ChildOptions
const say = (message: FromChild) => process.send?.(message)

const startedMs = performance.now()
const test = await start({ stateDirectory: options.stateDirectory, buffer: options.buffer ?? {} })
const { platform } = test
const command = options.mute === true ? ["node", "-e", "setInterval(() => {}, 1000)"] : ["node", probe]
const found = platform.registry.listFunctions({ tenant: "default", limit: 10 }).items
if (found.length === 0) {
  await test.deploy("load", { ...options.deployment, onCallerGone: "continue" }, { command })
  await test.deploy("other", { maxInstances: 1 }, { command: ["node", probe] })
}

const first = setInterval(() => {
  const backlog = platform.directory.backlog()
  if (backlog.every(({ leased }) => leased === 0)) return
  clearInterval(first)
  say({ kind: "first-lease", afterMs: performance.timeOrigin + performance.now() - options.spawnedAtMs })
}, 2)

process.on("message", (message) => {
  const backlog = platform.directory.backlog()
  const pending = backlog.reduce((sum, row) => sum + row.pending, 0)
  const leased = backlog.reduce((sum, row) => sum + row.leased, 0)
  if (message === "counts") return say({ kind: "counts", pending, leased })
  if (message !== "memory") return
  for (let round = 0; round < 3; round++) globalThis.gc?.()
  const { heapUsed, rss, external } = process.memoryUsage()
  say({ kind: "memory", heapUsed, rss, external, pending, leased })
})
process.on("SIGTERM", () => void test.close({ keep: true }).then(() => process.exit(0)))
// Its parent is gone: so is the reason to run.
process.on("disconnect", () => process.exit(0))
// Its end may be a kill.
flushCompileCache()
say({
  kind: "ready",
  gatewayUrl: platform.gatewayUrl,
  recordsReplayed: platform.recordsReplayed,
  startMs: performance.now() - startedMs,
  pid: process.pid
})
