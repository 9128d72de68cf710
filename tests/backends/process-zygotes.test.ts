/**
 * Zygotes: an instance that was one cannot be told from one that was started plainly, and whatever goes wrong with them
 * costs time and nothing else.
 *
 * @module
 */
import { spawn } from "node:child_process"
import { readdirSync, realpathSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import { ComputeBackend, type InstanceObservation, type InstanceSpec } from "../../src/backends/ComputeBackend.ts"
import { isRetryable } from "../../src/backends/LaunchError.ts"
import type * as ProcessBackend from "../../src/backends/process/ProcessBackend.ts"
import { nodeSpec } from "./nodeSpec.ts"
import * as PooledBackend from "./PooledBackend.ts"
import { parentOf, waitingZygotes, zygotes } from "./processTree.ts"
import { isAlive, waitFor } from "./waitFor.ts"

type Backend = ComputeBackend["Service"]
type Exited = Extract<InstanceObservation, { _tag: "Exited" }>

const withBackend = <A>(
  use: (backend: Backend) => Effect.Effect<A, unknown>,
  options: ProcessBackend.Options = {},
  said: Array<string> = []
) =>
  Effect.flatMap(ComputeBackend, use).pipe(
    Effect.provide(
      PooledBackend.layer(options, Logger.layer([Logger.make(({ message }) => said.push(String(message)))]))
    )
  )

/**
 * Launches it and waits for its end. `plain`: no zygote is used, because of a variable that Node might read. A zygote is
 * seen to wait a moment before its pool knows of it, so a start that came in between is done again.
 */
const runToEnd = (backend: Backend, spec: InstanceSpec, how: "zygote" | "plain") =>
  runOnce(backend, spec, how).pipe(
    Effect.filterOrFail(
      ({ isZygote }) => isZygote === (how === "zygote"),
      ({ isZygote }) => new Error(`whether it was a zygote: ${isZygote}`)
    ),
    Effect.retry({ times: 2 })
  )

const runOnce = (backend: Backend, spec: InstanceSpec, how: "zygote" | "plain") =>
  Effect.scoped(
    Effect.gen(function* () {
      const exits: Array<Exited> = []
      const pids: Array<number> = []
      yield* backend.watch((observation) => {
        if (observation._tag === "Gap" || observation.instanceId !== spec.instanceId) return
        if (observation._tag === "Exited") exits.push(observation)
        if (observation._tag === "Started") pids.push(observation.pid ?? 0)
      })
      const waiting = how === "zygote" ? yield* PooledBackend.untilWaiting(backend) : []
      const environment = how === "zygote" ? spec.environment : { ...spec.environment, NODE_PLAIN: "1" }
      yield* backend.launch({ ...spec, environment })
      const exit = yield* waitFor(`the end of ${spec.instanceId}`, () => exits[0])
      const lines = yield* backend.logs(spec.instanceId)
      const text = (stream: string) => lines.flatMap((line) => (line.stream === stream ? [line.text] : [])).join("\n")
      const isZygote = waiting.includes(pids[0] ?? 0)
      return { isZygote, exit: exit.exit, pid: pids[0] ?? 0, stdout: text("stdout"), stderr: text("stderr") }
    })
  )

/** Prints what a program can see of its process, without what differs from process to process anyhow. */
const observing = `
  import { readdirSync, readFileSync, readlinkSync } from "node:fs"
  import Module, { createRequire } from "node:module"
  import { createServer } from "node:net"
  const require = createRequire(import.meta.url)
  // The first port that a process opens makes libuv keep a spare descriptor of /dev/null; here both have it.
  await new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => server.close(resolve))
  })
  // Its handle is given back some turns after it closed.
  while (process.getActiveResourcesInfo().includes("TCPServerWrap")) await new Promise((resolve) => setImmediate(resolve))
  const status = readFileSync("/proc/self/status", "utf8")
  const descriptors = readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const target = readlinkSync("/proc/self/fd/" + fd)
      return [target.replace(/\\d+/g, "N")]
    } catch {
      return []
    }
  })
  delete process.env.NODE_PLAIN
  console.log(JSON.stringify({
    environment: Object.fromEntries(Object.entries(process.env).sort()),
    arguments: process.argv,
    argv0: process.argv0,
    flags: process.execArgv,
    directory: process.cwd(),
    umask: process.umask(),
    main: [import.meta.main, require.main === undefined, process.mainModule === undefined],
    modules: Object.keys(require.cache),
    paths: Module.globalPaths,
    descriptors: descriptors.sort(),
    signals: status.match(/^Sig(?:Blk|Ign|Cgt).*$/gm),
    leader: [status.match(/^NSpgid:\\s+(\\d+)/m)?.[1] === String(process.pid), status.match(/^NSsid:\\s+(\\d+)/m)?.[1] === String(process.pid)],
    listeners: Object.fromEntries(process.eventNames().map((name) => [String(name), process.listenerCount(name)])),
    resources: process.getActiveResourcesInfo(),
    globals: Object.getOwnPropertyNames(globalThis).sort(),
    symbols: Object.getOwnPropertySymbols(globalThis).map(String).sort(),
    own: Object.getOwnPropertyNames(process).sort(),
    response: Response.toString().slice(0, 30),
    zone: new Date(0).getTimezoneOffset(),
    locale: Intl.NumberFormat().resolvedOptions().locale,
    stripping: process.features.typescript,
    stdin: readFileSync(0, "utf8")
  }))
`

describe("zygotes", () => {
  for (const extension of ["mjs", "mts"]) {
    it.live(`what an instance can see of itself is the same as after a plain start (${extension})`, () =>
      withBackend((backend) =>
        Effect.gen(function* () {
          process.env["MILLRACE_TEST_SECRET"] = "of the parent"
          const entry = PooledBackend.writeEntry(observing, extension)
          const spec = (instanceId: string): InstanceSpec => ({
            ...nodeSpec(instanceId, ""),
            command: ["node", `./${entry.slice(dirname(entry).length + 1)}`, "one", "--two=2", ""],
            workingDirectory: dirname(entry),
            environment: { TZ: "Asia/Tokyo", COLOUR: "blue = green", EMPTY: "", NODE_ENV: "test" }
          })
          const plain = yield* runToEnd(backend, spec("plain"), "plain")
          const given = yield* runToEnd(backend, spec("given"), "zygote")
          delete process.env["MILLRACE_TEST_SECRET"]
          assert.strictEqual(given.stderr, plain.stderr)
          const seen = JSON.parse(given.stdout)
          assert.deepStrictEqual(seen, JSON.parse(plain.stdout))
          assert.notInclude(given.stdout, "MILLRACE_TEST_SECRET")
          assert.strictEqual(seen.directory, realpathSync(dirname(entry)))
          assert.deepStrictEqual(seen.arguments.slice(1), [entry, "one", "--two=2", ""])
          assert.strictEqual(seen.main[0], true)
          assert.strictEqual(seen.zone, -540)
        })
      )
    )
  }

  /** Texts of entries by extension; each must end the same way, with the same words, in both ways to start. */
  const entries: ReadonlyArray<readonly [string, string, string]> = [
    ["returns", "mjs", "console.log('done')"],
    ["exits with a code", "mjs", "process.exit(9)"],
    ["sets its exit code", "cjs", "process.exitCode = 4"],
    [
      "is the main module of CommonJS",
      "cjs",
      "console.log(require.main === module, module.id, process.mainModule === module)"
    ],
    [
      "is main, and what it imports is not",
      "mjs",
      "console.log(import.meta.main, (await import('./part.mjs')).isMain)"
    ],
    ["throws at import", "mjs", "throw new Error('at import')"],
    ["throws at require", "cjs", "throw new Error('at require')"],
    ["throws something odd", "cjs", "throw null"],
    ["throws later", "mts", "setTimeout((): void => { throw new Error('later') }, 5)"],
    ["rejects with nobody listening", "mjs", "Promise.reject(new Error('rejected'))"],
    ["waits for ever at its top", "mjs", "await new Promise(() => {})"],
    ["is not JavaScript", "mjs", "const = 3"],
    ["is not TypeScript", "ts", "const a: = 3"],
    ["has types that are not erasable", "ts", "enum A { B }"],
    ["imports what is not there", "mjs", "import './nowhere.mjs'"],
    ["has no extension that says its kind", "js", "import { sep } from 'node:path'; console.log(sep)"],
    ["ends before its output is read", "cjs", "require('fs').writeSync(1, 'x'.repeat(100000)); process.reallyExit(3)"],
    ["kills itself", "cjs", "console.log('so'); process.kill(process.pid, 'SIGKILL')"],
    ["listens to its exit", "mjs", "process.on('exit', (code) => console.log('exit', code)); process.exitCode = 2"],
    ["is warned", "cjs", "process.emitWarning('beware'); Buffer.from('a')"]
  ]

  /** Frames of Node's own differ, because another file of Node's calls the entry. */
  const withoutFrames = (text: string) =>
    text
      .replace(/^ +at .*$\n?/gm, "")
      .replace(/\(node:\d+\)/g, "(node)")
      .replace(/\s*\{$/gm, "")

  it.live(
    "each way of an entry to end, and its words, are the same as after a plain start",
    () =>
      withBackend(
        (backend) =>
          Effect.gen(function* () {
            const part = PooledBackend.writeEntry("export const isMain = import.meta.main", "mjs")
            for (const [what, extension, script] of entries) {
              const text = script.replace("./part.mjs", `./${part.slice(dirname(part).length + 1)}`)
              const entry = PooledBackend.writeEntry(text, extension)
              const spec = (instanceId: string) => ({ ...nodeSpec(instanceId, ""), command: ["node", entry] })
              const plain = yield* runToEnd(backend, spec(`${what}, plain`), "plain")
              const given = yield* runToEnd(backend, spec(`${what}, given`), "zygote")
              assert.deepStrictEqual(given.exit, plain.exit, what)
              assert.strictEqual(given.stdout, plain.stdout, what)
              assert.strictEqual(withoutFrames(given.stderr), withoutFrames(plain.stderr), what)
            }
          }),
        { zygotes: 2 }
      ),
    60_000
  )

  it.live("a missing entry is told in the words of Node", () =>
    withBackend((backend) =>
      Effect.gen(function* () {
        const ended = yield* runToEnd(backend, { ...nodeSpec("a", ""), command: ["node", "/no/such.mjs"] }, "zygote")
        assert.deepStrictEqual(ended.exit, { kind: "code", code: 1 })
        assert.match(ended.stderr, /Cannot find module '\/no\/such\.mjs'/)
      })
    )
  )

  it.live("no function finds what another left behind", () =>
    withBackend((backend) =>
      Effect.gen(function* () {
        const leave = `
          globalThis.left = 1
          Object.prototype.left = 1
          process.env.LEFT = "1"
          process.chdir("/")
          require("node:module")._cache.left = 1
        `
        const look = `console.log(JSON.stringify([globalThis.left, {}.left, process.env.LEFT, process.cwd(), require.cache.left]))`
        const pids = new Set<number>()
        for (let round = 0; round < 3; round++) {
          pids.add((yield* runToEnd(backend, PooledBackend.entrySpec(`leave-${round}`, leave), "zygote")).pid)
          const looked = yield* runToEnd(backend, PooledBackend.entrySpec(`look-${round}`, look), "zygote")
          pids.add(looked.pid)
          assert.deepStrictEqual(JSON.parse(looked.stdout), [null, null, null, process.cwd(), null])
        }
        assert.strictEqual(pids.size, 6)
      })
    )
  )

  it.live("what a zygote cannot become is started plainly, and no zygote is spent on it", () =>
    withBackend((backend) =>
      Effect.gen(function* () {
        const entry = PooledBackend.writeEntry("console.log(process.execArgv.join(), process.env.NODE_OPTIONS)")
        const plain: ReadonlyArray<Partial<InstanceSpec>> = [
          { command: ["node", "--max-old-space-size=99", entry] },
          { command: ["node", "-e", "1"] },
          { command: [process.execPath, entry] },
          { command: ["/bin/sh", "-c", `exec node ${entry}`] },
          { command: ["node", entry], environment: { NODE_OPTIONS: "--no-warnings" } },
          { command: ["node", entry], environment: { LANG: "de_DE.UTF-8" } }
        ]
        const before = yield* PooledBackend.untilWaiting(backend)
        for (const [index, change] of plain.entries()) {
          yield* backend.launch({ ...nodeSpec(`p${index}`, ""), ...change })
          yield* waitFor("its end", () => Effect.runSync(backend.list).length === 0)
        }
        assert.deepStrictEqual(waitingZygotes(PooledBackend.spawnerOf(backend)), before)
        const same = { ...nodeSpec("same", ""), command: [process.execPath, "--max-semi-space-size=64", entry] }
        yield* runToEnd(backend, same, "zygote")
      })
    )
  )

  it.live("a zygote that is killed while it waits is replaced, and the launch in that instant succeeds", () =>
    withBackend((backend) =>
      Effect.gen(function* () {
        for (let round = 0; round < 5; round++) {
          const [pid] = yield* PooledBackend.untilWaiting(backend)
          process.kill(pid ?? 0, "SIGKILL")
          const spec = PooledBackend.entrySpec(`i${round}`, "console.log('here')")
          yield* backend.launch(spec)
          yield* waitFor("its end", () => Effect.runSync(backend.list).length === 0)
          assert.deepStrictEqual(
            (yield* backend.logs(`i${round}`)).map((line) => line.text),
            ["here"]
          )
        }
      })
    )
  )

  it.live(
    "a zygote that does not take its function within two seconds is killed, said so, and replaced by a plain start",
    () => {
      const said: Array<string> = []
      return withBackend(
        (backend) =>
          Effect.gen(function* () {
            const [pid] = yield* PooledBackend.untilWaiting(backend)
            process.kill(pid ?? 0, "SIGSTOP")
            yield* backend.launch(PooledBackend.entrySpec("a", "console.log('once'); setInterval(() => {}, 1000)"))
            const [running] = yield* backend.list
            assert.notStrictEqual(running?.pid, pid)
            assert.isFalse(isAlive(pid ?? 0))
            yield* waitFor("its words", () => Effect.runSync(backend.logs("a")).length > 0)
            assert.strictEqual((yield* backend.logs("a")).length, 1)
            assert.strictEqual(said.filter((line) => line.includes("zygote failed")).length, 1)
          }),
        {},
        said
      )
    }
  )

  it.live("one that is told to end before it took its function ends, and is not started again", () =>
    withBackend((backend) =>
      Effect.scoped(
        Effect.gen(function* () {
          const seen: Array<string> = []
          yield* backend.watch((observation) => void seen.push(observation._tag))
          const [pid] = yield* PooledBackend.untilWaiting(backend)
          process.kill(pid ?? 0, "SIGSTOP")
          const launched = Effect.runPromise(backend.launch(PooledBackend.entrySpec("a", "console.log('never')")))
          yield* backend.terminate("a", 0)
          yield* Effect.promise(() => launched)
          assert.deepStrictEqual(seen, ["Started", "Exited"])
          assert.isFalse(isAlive(pid ?? 0))
          assert.deepStrictEqual(yield* backend.list, [])
          assert.deepStrictEqual(yield* backend.logs("a"), [])
        })
      )
    )
  )

  it.live("a working directory that is gone is refused in the words of a plain start", () =>
    withBackend((backend) =>
      Effect.gen(function* () {
        const spec = { ...PooledBackend.entrySpec("a", ""), workingDirectory: join(tmpdir(), "millrace-missing") }
        const failed = yield* Effect.flip(backend.launch(spec))
        assert.strictEqual(failed._tag, "BadSpec")
        assert.match(failed.message, /working directory .*millrace-missing/)
      })
    )
  )

  it.live("the pool is filled again after each use, with as many as it was told to hold", () =>
    withBackend(
      (backend) =>
        Effect.gen(function* () {
          for (let round = 0; round < 3; round++) {
            const before = yield* PooledBackend.untilWaiting(backend, 2)
            assert.strictEqual(before.length, 2)
            yield* backend.launch(PooledBackend.entrySpec(`i${round}`, "setInterval(() => {}, 1000)"))
            const after = yield* PooledBackend.untilWaiting(backend, 2)
            assert.strictEqual(after.length, 2)
            assert.strictEqual(after.filter((pid) => before.includes(pid)).length, 1)
          }
        }),
      { zygotes: 2 }
    )
  )

  it.live("nothing waits after the backend closed", () =>
    Effect.gen(function* () {
      const pids = yield* withBackend((backend) => PooledBackend.untilWaiting(backend, 2), { zygotes: 2 })
      yield* waitFor("their end", () => !pids.some(isAlive))
    })
  )

  it.live("nothing waits after the spawner was killed, and the next one has its own", () =>
    withBackend((backend) =>
      Effect.gen(function* () {
        const spawner = PooledBackend.spawnerOf(backend)
        const pids = yield* PooledBackend.untilWaiting(backend)
        process.kill(spawner, "SIGKILL")
        yield* waitFor("their end", () => !pids.some(isAlive))
        // An order that leaves before this process knows of the death is lost with the spawner, and may be given again.
        const spec = PooledBackend.entrySpec("a", "setInterval(() => {}, 1000)")
        yield* backend.launch(spec).pipe(Effect.retry({ times: 3, while: isRetryable }))
        const next = parentOf((yield* backend.list)[0]?.pid ?? 0)
        assert.notStrictEqual(next, spawner)
        yield* waitFor("another zygote", () => waitingZygotes(next).length === 1)
      })
    )
  )

  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    it.live(`neither zygotes nor what they became outlive a parent that dies by ${signal}`, () =>
      Effect.gen(function* () {
        const parent = spawn(process.execPath, [fileURLToPath(new URL("./pooled-parent.ts", import.meta.url))], {
          stdio: ["ignore", "pipe", "inherit"]
        })
        let output = ""
        parent.stdout.on("data", (chunk) => (output += chunk))
        yield* waitFor("the pids", () => output.includes("\n"))
        const pids: ReadonlyArray<number> = JSON.parse(output)
        assert.strictEqual(pids.filter(isAlive).length, 4)
        parent.kill(signal)
        yield* waitFor(
          "all to be gone",
          () => !pids.some(isAlive),
          () => pids.filter(isAlive)
        )
      })
    )
  }

  it.live("compiled code is kept per function", () =>
    withBackend(
      (backend) =>
        Effect.gen(function* () {
          const cache = PooledBackend.cacheDirectory
          const entry = PooledBackend.writeEntry(
            "const n: number = 1\nconsole.log(n, process.env.NODE_COMPILE_CACHE)\n",
            "ts"
          )
          for (const functionId of ["one", "two"]) {
            const spec = { ...nodeSpec(functionId, ""), functionId, command: ["node", entry] }
            const ended = yield* runToEnd(backend, spec, "zygote")
            assert.strictEqual(ended.stdout, `1 ${join(cache, functionId)}`)
            assert.isAbove(readdirSync(join(cache, functionId), { recursive: true }).length, 1)
          }
        }),
      { compileCacheDirectory: PooledBackend.cacheDirectory }
    )
  )

  it.live("a backend that was told to hold none has none", () =>
    withBackend(
      (backend) =>
        Effect.gen(function* () {
          yield* backend.launch(PooledBackend.entrySpec("a", "setTimeout(() => {}, 600)"))
          yield* waitFor("its end", () => Effect.runSync(backend.list).length === 0)
          assert.deepStrictEqual(zygotes(PooledBackend.spawnerOf(backend)), [])
        }),
      { zygotes: 0 }
    )
  )
})
