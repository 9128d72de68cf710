/**
 * The simulated backend as the laws want it. What runs behind an instance is played here, in this process.
 *
 * @module
 */
import { readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import { type InstanceSpec, secretsVariable } from "../../src/backends/ComputeBackend.ts"
import type { Harness, Program, ShownSecrets } from "../../src/backends/laws/index.ts"
import * as SimulatedBackend from "../../src/backends/simulated/SimulatedBackend.ts"
import * as StartModel from "../../src/core/simulation/StartModel.ts"

const bytes = new TextEncoder()

const shownSecrets = (spec: InstanceSpec): ShownSecrets => {
  const directory = spec.environment[secretsVariable]
  if (directory === undefined) return { directory: "", directoryMode: 0, files: {}, open: "" }
  const modeOf = (path: string) => statSync(path).mode & 0o777
  const files = readdirSync(directory).map((name): [string, { mode: number; content: string }] => {
    const path = join(directory, name)
    return [name, { mode: modeOf(path), content: readFileSync(path, "utf8") }]
  })
  const open = [...Object.values(spec.environment), ...spec.command].join("\n")
  return { directory, directoryMode: modeOf(directory), files: Object.fromEntries(files), open }
}

/** Does what the program says, without a process. */
export const play: SimulatedBackend.Runner = (spec, life) => {
  // Written by `specOf` alone.
  const program = JSON.parse(spec.command[1] ?? "null") as Program
  const print = (text: string, stream: "stdout" | "stderr" = "stdout") => life.output(stream, bytes.encode(text))
  const done = (code: number) => life.ended({ kind: "code", code })
  let onTerm = () => done(0)
  life.started()
  switch (program.kind) {
    case "sleeps":
      print("up\n")
      break
    case "ignores-sigterm":
      onTerm = () => print("no\n")
      print("up\n")
      break
    case "finishes":
      onTerm = () =>
        void setTimeout(() => {
          print("finished\n")
          done(0)
        }, program.afterMs)
      print("up\n")
      break
    case "exits":
      print(`${program.says}\n`, "stderr")
      done(program.code)
      break
    case "signals-itself":
      life.ended({ kind: "signal", signal: program.signal })
      break
    case "eats-memory":
      life.ended({ kind: "out-of-memory" })
      break
    case "prints":
      for (const [stream, text] of program.pieces) print(text, stream)
      done(0)
      break
    case "floods":
      for (let index = 0; index < 400; index++) print(`${"x".repeat(20_000)}\n`)
      for (let index = 0; index < 3_000; index++) print(`n${index}\n`)
      done(0)
      break
    case "shows-environment":
      print(`env ${JSON.stringify(spec.environment)}\n`)
      break
    case "shows-secrets":
      print(`secrets ${JSON.stringify(shownSecrets(spec))}\n`)
      break
    case "has-child":
    case "cannot-start":
    case "never-starts":
      throw new Error(`${program.kind} cannot be played`)
    default:
      return unreachable(program)
  }
  return { signal: (signal) => (signal === "SIGTERM" ? onTerm() : life.ended({ kind: "signal", signal })) }
}

export const specOf = (instanceId: string, program: Program, change: Partial<InstanceSpec> = {}): InstanceSpec => ({
  instanceId,
  functionId: "f",
  functionName: "f",
  versionId: "v",
  command: ["played", JSON.stringify(program)],
  environment: {},
  gpu: program.kind === "cannot-start" ? { kind: "B200", count: 1 } : { kind: "none", count: 0 },
  // Starts of instances with a GPU take for ever in this cluster.
  instanceType: program.kind === "never-starts" ? "L40S.1x" : "local",
  cpuMillis: 1_000,
  memoryBytes: 512 * 1024 * 1024,
  startDeadlineMs: 10_000,
  graceMs: 1_000,
  ...change
})

export const openCluster = (places: number) =>
  SimulatedBackend.make({
    slots: places,
    gpus: [{ gpuKind: "L40S", gpusPerNode: 1, nodes: 1 }],
    start: StartModel.fixed(2),
    gpuStart: StartModel.fixed(3_600_000),
    run: play
  }).pipe(
    Effect.map(({ backend }) => backend),
    Effect.provide(Logger.layer([]))
  )

const noProcesses = "nothing of it is a process of this machine"
const endsWithUs = "the cluster is as much in this process as the agent is, and ends with it"

export const harness: Harness = {
  name: "simulated",
  open: ({ places }) => openCluster(places),
  spec: specOf,
  environmentAdded: [],
  foreign: Effect.gen(function* () {
    const other = yield* openCluster(1)
    yield* Effect.orDie(other.launch(specOf("stranger", { kind: "sleeps" })))
    return { instanceId: "stranger", isRunning: Effect.orDie(Effect.map(other.list, (all) => all.length === 1)) }
  }),
  skips: {
    C16: noProcesses,
    C26: "its watchers are called, not sent to: there is no connection that could break",
    C34: noProcesses,
    C35: endsWithUs,
    C36: endsWithUs
  }
}

const unreachable = (value: never): never => {
  throw new Error(`unreachable case ${JSON.stringify(value)}`)
}
