/**
 * A process that holds a process backend with some instances, to be killed by a test. Prints one JSON line with their
 * pids, then waits.
 *
 * @module
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { ComputeBackend } from "../../src/backends/ComputeBackend.ts"
import * as ProcessBackend from "../../src/backends/process/ProcessBackend.ts"
import { nodeSpec } from "./nodeSpec.ts"

/** Does not obey SIGTERM; has a child in its group, one there that hides its origin, and one that left the group. */
const family = `
  const { spawn } = require("node:child_process")
  process.on("SIGTERM", () => {})
  const stay = "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)"
  const near = spawn(process.execPath, ["-e", stay], { stdio: "ignore" })
  const bare = spawn(process.execPath, ["-e", stay], { stdio: "ignore", env: {} })
  const far = spawn(process.execPath, ["-e", stay], { stdio: "ignore", detached: true })
  console.log(JSON.stringify([process.pid, near.pid, bare.pid, far.pid]))
  setInterval(() => {}, 1000)
`

const program = Effect.gen(function* () {
  const backend = yield* ComputeBackend
  const pids: Array<number> = []
  const wanted = 3
  yield* backend.followLogs((_, line) => {
    pids.push(...JSON.parse(line.text))
    if (pids.length === wanted * 4) console.log(JSON.stringify(pids))
  })
  for (let index = 0; index < wanted; index++) yield* backend.launch(nodeSpec(`i${index}`, family))
  return yield* Effect.never
})

Effect.runFork(
  Effect.scoped(program).pipe(Effect.provide(ProcessBackend.layer().pipe(Layer.provide(Logger.layer([])))))
)
