/**
 * Limits of the process backend on the control groups of the system that this runs on, seen from inside: prints what it found
 * as one line of JSON. Its waits are long, because the system may be a slow one; nothing is asked of its speed.
 *
 * @module
 */
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import type { ComputeBackend, Exit, InstanceSpec } from "../../../src/backends/ComputeBackend.ts"
import * as ProcessBackend from "../../../src/backends/process/ProcessBackend.ts"
import { fileOf, placesOf } from "../controlGroups.ts"
import { nodeSpec } from "../nodeSpec.ts"

const mark = "FACTS "
const deadlineMs = 120_000
const mebibyte = 1024 * 1024

const until = <A>(what: string, look: () => A | undefined) =>
  Effect.promise(async () => {
    const untilMs = performance.now() + deadlineMs
    for (;;) {
      const seen = look()
      if (seen !== undefined) return seen
      if (performance.now() > untilMs) throw new Error(`waited ${deadlineMs} ms for ${what}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  })

const environment = { PATH: `${join(process.execPath, "..")}:/usr/bin:/bin` }
const shell = (instanceId: string, script: string, change: Partial<InstanceSpec> = {}): InstanceSpec => ({
  ...nodeSpec(instanceId, ""),
  command: ["/bin/sh", "-c", script],
  environment,
  startDeadlineMs: deadlineMs,
  ...change
})
const eat = "node -e 'const all = []; for (;;) all.push(Buffer.alloc(1e6, 1))'"

const exits = Effect.fnUntraced(function* (backend: ComputeBackend["Service"]) {
  const seen = new Map<string, Exit>()
  yield* backend.watch((one) => void (one._tag === "Exited" && seen.set(one.instanceId, one.exit)))
  return (spec: InstanceSpec) =>
    Effect.andThen(
      backend.launch(spec),
      until(`the end of ${spec.instanceId}`, () => seen.get(spec.instanceId))
    )
})

const look = Effect.gen(function* () {
  const backend = yield* ProcessBackend.make({ zygotes: 0 })
  const exitOf = yield* exits(backend)
  yield* backend.launch(shell("a", "while :; do :; done", { cpuMillis: 100, memoryBytes: 300 * mebibyte }))
  const pid = (yield* backend.list)[0]?.pid ?? 0
  const file = (name: string) => fileOf(pid, name)?.trim()
  const figures = { memory: file("memory.max"), cpu: file("cpu.max"), processes: file("pids.max") }
  const throttled = () => Number(/nr_throttled (\d+)/.exec(file("cpu.stat") ?? "")?.[1])
  yield* until("periods in which it was held back", () => throttled() >= 3 || undefined)
  yield* backend.terminate("a", 0)
  const memoryBytes = 64 * mebibyte
  return {
    limits: backend.abilities.limits,
    figures,
    wasHeldBack: true,
    childKilled: yield* exitOf(shell("b", `${eat}; exit 3`, { memoryBytes })),
    childKilledAndLivedOn: yield* exitOf(shell("c", `${eat}; exit 0`, { memoryBytes })),
    tooSmall: yield* exitOf(shell("d", "exec node -e 0", { memoryBytes: mebibyte })),
    after: yield* exitOf(shell("e", "exit 7"))
  }
})

const facts = await Effect.runPromise(Effect.scoped(look).pipe(Effect.provide(Logger.layer([]))))
console.log(`${mark}${JSON.stringify({ ...facts, groupsLeft: placesOf(process.pid).length })}`)
