/**
 * Limits of the process backend on this machine's own control groups: they hold from inside, and no group is left behind
 * or taken from anybody else.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, mkdirSync, rmdirSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { ComputeBackend, type InstanceObservation, type InstanceSpec } from "../../src/backends/ComputeBackend.ts"
import * as ControlGroup from "../../src/backends/process/ControlGroup.ts"
import * as ProcessBackend from "../../src/backends/process/ProcessBackend.ts"
import { fileOf, parents, placesOf, whyNot } from "./controlGroups.ts"
import { nodeSpec } from "./nodeSpec.ts"
import * as PooledBackend from "./PooledBackend.ts"
import { childrenOf, commandOf } from "./processTree.ts"
import { obedient } from "./scripts.ts"
import { isAlive, waitFor } from "./waitFor.ts"

type Backend = ComputeBackend["Service"]
const quiet = Logger.layer([])

const withBackend = <A>(use: (backend: Backend) => Effect.Effect<A, unknown>, options: ProcessBackend.Options = {}) =>
  Effect.flatMap(ComputeBackend, use).pipe(
    Effect.provide(ProcessBackend.layer({ zygotes: 0, ...options }).pipe(Layer.provide(quiet)))
  )

const shell = (instanceId: string, script: string, change: Partial<InstanceSpec> = {}): InstanceSpec => ({
  ...nodeSpec(instanceId, ""),
  command: ["/bin/sh", "-c", script],
  ...change
})

const pidOf = (backend: Backend, instanceId: string) =>
  Effect.map(backend.list, (all) => all.find((one) => one.instanceId === instanceId)?.pid ?? 0)

const textOf = (backend: Backend, instanceId: string) =>
  Effect.runSync(backend.logs(instanceId))
    .map((line) => line.text)
    .join("\n")

/** Runs it to its end. */
const exitOf = (backend: Backend, spec: InstanceSpec) =>
  Effect.scoped(
    Effect.gen(function* () {
      const exits: Array<Extract<InstanceObservation, { _tag: "Exited" }>> = []
      yield* backend.watch((seen) => void (seen._tag === "Exited" && exits.push(seen)))
      yield* backend.launch(spec)
      return yield* waitFor("its end", () => exits[0])
    })
  )

const startParent = (): ChildProcess & { readonly pids: () => ReadonlyArray<number> } => {
  const parent = spawn(process.execPath, [fileURLToPath(new URL("./parent.ts", import.meta.url))], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  let output = ""
  parent.stdout.on("data", (chunk) => (output += chunk))
  return Object.assign(parent, { pids: () => (output.includes("\n") ? JSON.parse(output) : []) })
}

describe.skipIf(whyNot !== undefined)(
  `limits of processes${whyNot === undefined ? "" : ` [skipped: ${whyNot}]`}`,
  () => {
    it.live("what it says of limits is true: its abilities, and its warning", () =>
      Effect.gen(function* () {
        const said: Array<string> = []
        const listen = Logger.layer([Logger.make(({ message }) => said.push(String(message)))])
        const open = (options: ProcessBackend.Options) =>
          Effect.provide(ComputeBackend, ProcessBackend.layer(options).pipe(Layer.provide(listen)))
        assert.deepStrictEqual((yield* open({})).abilities.limits, ["cpu", "memory"])
        assert.match(said.join(), /limited by control groups: memory, CPU, processes \(512\)$/)
        said.length = 0
        assert.deepStrictEqual((yield* open({ controlGroups: false })).abilities.limits, [])
        assert.match(said.join(), /NOT limited: memory, CPU, processes \(512\) \(switched off\)$/)
      })
    )

    for (const how of ["plain", "zygote"] as const) {
      it.live(`an instance is held to the figures of its spec from its first moment (${how})`, () =>
        Effect.gen(function* () {
          const backend = yield* how === "plain"
            ? ProcessBackend.make({ zygotes: 0 }).pipe(Effect.provide(quiet))
            : PooledBackend.make({ zygotes: 1 }).pipe(Effect.provide(quiet))
          const waiting = how === "zygote" ? yield* PooledBackend.untilWaiting(backend) : []
          const spec = PooledBackend.entrySpec("a", obedient)
          yield* backend.launch({ ...spec, cpuMillis: 250, memoryBytes: 300 * 1024 * 1024 })
          const pid = yield* pidOf(backend, "a")
          assert.strictEqual(waiting.includes(pid), how === "zygote")
          const memory = fileOf(pid, "memory.limit_in_bytes") ?? fileOf(pid, "memory.max")
          assert.strictEqual(Number(memory), 300 * 1024 * 1024)
          assert.strictEqual(Number(fileOf(pid, "pids.max")), ControlGroup.pidsMax)
          const quota = fileOf(pid, "cpu.cfs_quota_us") ?? fileOf(pid, "cpu.max")?.split(" ")[0]
          assert.strictEqual(Number(quota), 2_500)
        }).pipe(Effect.scoped)
      )
    }

    it.live("one that wants more CPU than it may is slowed down", () =>
      withBackend((backend) =>
        Effect.gen(function* () {
          yield* backend.launch(shell("a", "while :; do :; done", { cpuMillis: 100 }))
          const pid = yield* pidOf(backend, "a")
          const throttled = () => Number(/nr_throttled (\d+)/.exec(fileOf(pid, "cpu.stat") ?? "")?.[1])
          yield* waitFor("periods in which it was held back", () => throttled() >= 3, throttled)
        })
      )
    )

    it.live("one that forks for ever meets its limit, and nobody else does", () =>
      withBackend((backend) =>
        Effect.gen(function* () {
          const fork = "i=0; while [ $i -lt 600 ]; do sleep 60 & i=$((i+1)); done; echo all"
          const end = yield* exitOf(backend, shell("a", fork))
          assert.match(end.lastOutput, /fork/i)
          assert.strictEqual((yield* exitOf(backend, shell("b", "echo fine"))).lastOutput.trim(), "fine")
        })
      )
    )

    it.live(
      "a child that is killed because memory is full is told, unless the instance does its work all the same",
      () =>
        withBackend((backend) =>
          Effect.gen(function* () {
            const eat = "node -e 'const all = []; for (;;) all.push(Buffer.alloc(1e6, 1))'"
            const memoryBytes = 64 * 1024 * 1024
            const environment = { PATH: `${join(process.execPath, "..")}:${process.env["PATH"]}` }
            const ended = yield* exitOf(backend, shell("a", `${eat}; exit 3`, { memoryBytes, environment }))
            assert.deepStrictEqual(ended.exit, { kind: "out-of-memory" })
            const done = yield* exitOf(backend, shell("b", `${eat}; exit 0`, { memoryBytes, environment }))
            assert.deepStrictEqual(done.exit, { kind: "code", code: 0 })
          })
        )
    )

    it.live("one with less memory than a process needs ends as out of memory, and the next one starts", () =>
      withBackend((backend) =>
        Effect.gen(function* () {
          const end = yield* exitOf(backend, { ...nodeSpec("a", obedient), memoryBytes: 1024 * 1024 })
          assert.deepStrictEqual(end.exit, { kind: "out-of-memory" })
          yield* backend.launch(nodeSpec("b", obedient))
          yield* waitFor("its line", () => textOf(backend, "b") !== "")
        })
      )
    )

    it.live("a process that left the group and the session of its instance ends with it, and so does the group", () =>
      withBackend((backend) =>
        Effect.gen(function* () {
          yield* backend.launch(shell("a", "env -i setsid sleep 600 & sleep 0.2; echo up; wait"))
          yield* waitFor("its child", () => textOf(backend, "a").includes("up"))
          const [place = ""] = placesOf(process.pid)
          const group = join(place, "i1")
          assert.isTrue(existsSync(group))
          const runaway = yield* waitFor("the runaway", () =>
            childrenOf(Effect.runSync(pidOf(backend, "a"))).find((pid) => commandOf(pid).startsWith("sleep\x00600"))
          )
          yield* backend.terminate("a", 0)
          yield* waitFor("its end", () => !isAlive(runaway))
          yield* waitFor("the end of its group", () => !existsSync(group))
        })
      )
    )

    it.live("no group is left when the backend closes", () =>
      Effect.gen(function* () {
        const before = placesOf(process.pid)
        yield* withBackend((backend) => backend.launch(nodeSpec("a", obedient)))
        assert.deepStrictEqual(placesOf(process.pid), before)
      })
    )

    it.live("no group is left when the platform is killed", () =>
      Effect.gen(function* () {
        const parent = startParent()
        yield* waitFor("the pids", () => parent.pids().length > 0)
        const places = placesOf(parent.pid ?? 0)
        assert.isTrue(places.length > 0)
        parent.kill("SIGKILL")
        yield* waitFor("the end of its groups", () => !places.some(existsSync))
      })
    )

    it.live(
      "what a platform left that was killed with its watcher is cleared by the next one, and nothing else is",
      () =>
        Effect.gen(function* () {
          const [parentDirectory = ""] = parents
          const foreign = [
            join(parentDirectory, "somebody-elses"),
            // Of a process that this one cannot see.
            join(parentDirectory, "millrace-1-999999-1-abcdef")
          ]
          for (const directory of foreign) mkdirSync(directory)
          const living = startParent()
          const dead = startParent()
          yield* waitFor("the pids", () => living.pids().length > 0 && dead.pids().length > 0)
          const children = childrenOf(dead.pid ?? 0)
          const places = placesOf(dead.pid ?? 0)
          for (const pid of [...children.filter((one) => /death-watch|spawner/.test(commandOf(one))), dead.pid ?? 0]) {
            process.kill(pid, "SIGKILL")
          }
          yield* waitFor("its end", () => !isAlive(dead.pid ?? 0))
          assert.isTrue(places.every(existsSync), "it was cleared by somebody else already")
          yield* withBackend((backend) =>
            Effect.gen(function* () {
              yield* backend.launch(nodeSpec("a", obedient))
              yield* waitFor("the end of its groups", () => !places.some(existsSync))
              yield* waitFor("the end of its instances", () => !dead.pids().some(isAlive))
            })
          )
          assert.deepStrictEqual(foreign.map(existsSync), [true, true])
          assert.isTrue(placesOf(living.pid ?? 0).every(existsSync))
          assert.isTrue(living.pids().every(isAlive))
          living.kill("SIGKILL")
          yield* waitFor("its end", () => !living.pids().some(isAlive))
          for (const directory of foreign) rmdirSync(directory)
        })
    )
  }
)
