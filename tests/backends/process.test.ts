/**
 * The process backend: the laws of every backend, and what only child processes can promise.
 *
 * @module
 */
import { spawn } from "node:child_process"
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { ComputeBackend, type InstanceObservation, type InstanceSpec } from "../../src/backends/ComputeBackend.ts"
import * as ProcessBackend from "../../src/backends/process/ProcessBackend.ts"
import { nodeSpec } from "./nodeSpec.ts"
import { harnessOf } from "./processHarness.ts"
import { childrenOf, commandOf, parentOf } from "./processTree.ts"
import { runLaws } from "./runLaws.ts"
import { obedient, stubborn } from "./scripts.ts"
import { isAlive, waitFor } from "./waitFor.ts"

const quiet = Logger.layer([])
const layerOf = (options: ProcessBackend.Options) => ProcessBackend.layer(options).pipe(Layer.provide(quiet))

runLaws(
  harnessOf({
    name: "process, without zygotes",
    make: (instancesMax) => ProcessBackend.make({ instancesMax, zygotes: 0 }),
    specOf: nodeSpec,
    cannotStart: { command: ["/nowhere/at/all"] }
  })
)

const withDirectory = <A>(use: (directory: string) => Effect.Effect<A, unknown, never>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "millrace-process-"))),
    use,
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )

const oneBackend = <A>(
  use: (backend: ComputeBackend["Service"]) => Effect.Effect<A, unknown>,
  options: ProcessBackend.Options = {}
) => Effect.flatMap(ComputeBackend, use).pipe(Effect.provide(layerOf(options)))

describe("process backend", () => {
  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    it.live(`no instance, no child of one and no runaway grandchild outlives a parent that dies by ${signal}`, () =>
      Effect.gen(function* () {
        const parent = spawn(process.execPath, [fileURLToPath(new URL("./parent.ts", import.meta.url))], {
          stdio: ["ignore", "pipe", "inherit"]
        })
        let output = ""
        parent.stdout.on("data", (chunk) => (output += chunk))
        yield* waitFor("the pids", () => output.includes("\n"))
        const pids: ReadonlyArray<number> = JSON.parse(output)
        assert.strictEqual(pids.filter(isAlive).length, 12)
        parent.kill(signal)
        yield* waitFor(
          "all twelve to be gone",
          () => pids.every((pid) => !isAlive(pid)),
          () => pids.filter(isAlive)
        )
      })
    )
  }

  it.live("a killed watcher is replaced, and the new one knows the instances of the old one", () =>
    Effect.gen(function* () {
      const parent = spawn(process.execPath, [fileURLToPath(new URL("./parent.ts", import.meta.url))], {
        stdio: ["ignore", "pipe", "inherit"]
      })
      let output = ""
      parent.stdout.on("data", (chunk) => (output += chunk))
      yield* waitFor("the pids", () => output.includes("\n"))
      const pids: ReadonlyArray<number> = JSON.parse(output)
      const watcherOf = () => childrenOf(parent.pid!).find((pid) => commandOf(pid).includes("millrace-death-watch"))
      const first = yield* waitFor("a watcher", watcherOf)
      process.kill(first, "SIGKILL")
      yield* waitFor("another watcher", () => {
        const now = watcherOf()
        return now !== undefined && now !== first
      })
      parent.kill("SIGKILL")
      yield* waitFor("all to be gone", () => pids.every((pid) => !isAlive(pid)))
    })
  )

  it.live(
    "the order to start leaves in the turn of the launch: the instance runs while this process stands still",
    () =>
      withDirectory((directory) =>
        oneBackend((backend) =>
          Effect.gen(function* () {
            const marker = join(directory, "started")
            Effect.runFork(backend.launch({ ...nodeSpec("a", ""), command: ["/bin/sh", "-c", `echo > ${marker}`] }))
            const until = Date.now() + 10_000
            while (!existsSync(marker) && Date.now() < until)
              Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
            assert.isTrue(existsSync(marker))
            yield* Effect.void
          })
        )
      )
  )

  it.live("when its spawner is killed, instances end as lost, and the next ones start", () =>
    oneBackend((backend) =>
      Effect.gen(function* () {
        const exits: Array<InstanceObservation> = []
        yield* backend.watch((observation) => void (observation._tag === "Exited" && exits.push(observation)))
        yield* backend.launch(nodeSpec("a", stubborn))
        const pid = (yield* backend.list)[0]?.pid ?? 0
        process.kill(parentOf(pid), "SIGKILL")
        yield* waitFor("the exit", () => exits.length === 1)
        assert.deepInclude(exits[0], {
          exit: { kind: "lost", detail: "the spawner ended (SIGKILL)" },
          requested: false
        })
        yield* waitFor("its end", () => !isAlive(pid))
        yield* backend.launch(nodeSpec("a", obedient))
        assert.strictEqual((yield* backend.list).length, 1)
      }).pipe(Effect.scoped)
    )
  )

  it.live("an instance that talks faster than it is heard is slowed down, and harms no other", () =>
    oneBackend((backend) =>
      Effect.gen(function* () {
        yield* backend.launch({ ...nodeSpec("loud", ""), command: ["/bin/sh", "-c", "exec yes"] })
        yield* backend.launch(nodeSpec("quiet", obedient))
        const spawner = parentOf((yield* backend.list)[0]?.pid ?? 0)
        // Standing still for a second, as a busy parent would.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_000)
        const rss = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${spawner}/status`, "utf8"))?.[1])
        assert.isTrue(rss < 150_000, `the spawner holds ${rss} KiB`)
        yield* waitFor("the other's line", () => Effect.runSync(backend.logs("quiet")).length > 0)
        yield* backend.terminate("loud", 1_000)
      })
    )
  )

  it.live("each failure to start has its reason and says what to do", () =>
    withDirectory((directory) =>
      oneBackend((backend) =>
        Effect.gen(function* () {
          const plain = join(directory, "plain.sh")
          writeFileSync(plain, "#!/bin/sh\n")
          chmodSync(plain, 0o644)
          const good = nodeSpec("a", obedient)
          const cases: ReadonlyArray<readonly [Partial<InstanceSpec>, string, RegExp]> = [
            [{ command: ["no-such-program-here"] }, "CommandNotFound", /full path/],
            [{ command: [plain] }, "CommandNotFound", /chmod/],
            [{ command: [] }, "BadSpec", /command/],
            [{ command: ["node", "a\0b"] }, "BadSpec", /null bytes/],
            [{ environment: { A: "a\0b" } }, "BadSpec", /null bytes/],
            [{ environment: { A: "x".repeat(3_000_000) } }, "BadSpec", /too long/],
            [{ workingDirectory: join(directory, "missing") }, "BadSpec", /working directory .*missing/],
            [{ instanceType: "GB200.8x" }, "BadSpec", /deploy with local/],
            [{ image: "registry.invalid/a:1" }, "BadSpec", /no images/],
            [{ health: { port: 8000, path: "/health" } }, "BadSpec", /worker wrap/],
            [{ secrets: { "a/b": "x" } }, "BadSpec", /letters, digits/],
            [{ gpu: { kind: "H100", count: 1 } }, "BadSpec", /GPU/]
          ]
          for (const [change, tag, advice] of cases) {
            const failed = yield* Effect.flip(backend.launch({ ...good, ...change }))
            assert.strictEqual(failed._tag, tag, JSON.stringify(change).slice(0, 80))
            assert.match(failed.message, advice)
          }
          assert.deepStrictEqual(yield* backend.list, [])
        })
      )
    )
  )

  it.live("the command runs in its working directory, with relative programs found from there", () =>
    withDirectory((directory) =>
      oneBackend((backend) =>
        Effect.gen(function* () {
          mkdirSync(join(directory, "bin"))
          writeFileSync(join(directory, "bin", "say.sh"), "#!/bin/sh\npwd\n", { mode: 0o755 })
          yield* backend.launch({ ...nodeSpec("a", ""), command: ["./bin/say.sh"], workingDirectory: directory })
          const lines = yield* waitUntilLogged(backend, "a")
          assert.strictEqual(lines[0]?.text.endsWith(directory), true)
        })
      )
    )
  )

  it.live("compiled code is kept per function, so that one function's cache is not another's", () =>
    withDirectory((directory) =>
      oneBackend(
        (backend) =>
          Effect.gen(function* () {
            const script = join(directory, "a.ts")
            writeFileSync(script, "const n: number = 1\nconsole.log(n)\n")
            for (const functionId of ["one", "two", "../up"]) {
              const spec = { ...nodeSpec(functionId, ""), functionId, command: ["node", script] }
              yield* backend.launch(spec)
              yield* waitFor("its end", () => Effect.runSync(backend.list).length === 0)
            }
            assert.deepStrictEqual(readdirSync(join(directory, "cache")).sort(), ["one", "two"])
          }),
        { compileCacheDirectory: join(directory, "cache") }
      )
    )
  )

  it.live("output of ended instances is kept for at most 200 of them", () =>
    oneBackend(
      (backend) =>
        Effect.gen(function* () {
          for (let index = 0; index < 203; index++) {
            yield* backend.launch({ ...nodeSpec(`i${index}`, ""), command: ["/bin/sh", "-c", "echo said"] })
            yield* waitFor("its end", () => Effect.runSync(backend.list).length < 4)
          }
          yield* waitFor("the end of all", () => Effect.runSync(backend.list).length === 0)
          const kept: Array<number> = []
          for (let index = 0; index < 203; index++) {
            if ((yield* backend.logs(`i${index}`)).length > 0) kept.push(index)
          }
          assert.strictEqual(kept.length, 200)
          assert.isTrue(kept.includes(202))
        }),
      { instancesMax: 4 }
    )
  )

  it.live("says aloud that it isolates nothing", () =>
    Effect.gen(function* () {
      const said: Array<string> = []
      const listen = Logger.layer([Logger.make(({ message, logLevel }) => said.push(`${logLevel} ${String(message)}`))])
      const backend = yield* Effect.provide(ComputeBackend, ProcessBackend.layer().pipe(Layer.provide(listen)))
      assert.strictEqual(backend.abilities.isolation, "none")
      assert.deepStrictEqual(
        said.map((line) => /Warn.*isolates nothing/.test(line)),
        [true]
      )
    })
  )

  it.live("V8's own end, when its heap is full, is out of memory", () =>
    oneBackend((backend) =>
      Effect.gen(function* () {
        const exits: Array<InstanceObservation> = []
        yield* backend.watch((observation) => void (observation._tag === "Exited" && exits.push(observation)))
        const script = "const all = []; for (;;) all.push(new Array(1000).fill({}))"
        yield* backend.launch(nodeSpec("a", script, {}, ["--max-old-space-size=20"]))
        yield* waitFor("its end", () => exits.length === 1)
        assert.deepInclude(exits[0], { exit: { kind: "out-of-memory" }, requested: false })
      }).pipe(Effect.scoped)
    )
  )

  it.live("a closing backend does not wait for instances that ignore signals", () =>
    Effect.gen(function* () {
      const from = yield* oneBackend((backend) => Effect.map(backend.launch(nodeSpec("a", stubborn)), () => Date.now()))
      assert.isBelow(Date.now() - from, 1_500)
    })
  )
})

const waitUntilLogged = (backend: ComputeBackend["Service"], instanceId: string) =>
  waitFor("a line", () => {
    const lines = Effect.runSync(backend.logs(instanceId))
    return lines.length > 0 && lines
  })
