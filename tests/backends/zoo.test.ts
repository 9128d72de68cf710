/**
 * Backends that are wrong, one for each law and way to be wrong: the law must see it. All are the simulated backend with
 * one thing changed; the last ones have real processes.
 *
 * @module
 */
import { spawn } from "node:child_process"
import * as Effect from "effect/Effect"
import { describe, expect, it } from "vitest"
import * as BackendKit from "../../src/backends/BackendKit.ts"
import { ComputeBackend, type InstanceObservation, type InstanceSpec } from "../../src/backends/ComputeBackend.ts"
import { BadSpec, NoCapacity } from "../../src/backends/LaunchError.ts"
import {
  type Backend,
  casesOf,
  countProcessesOnLinux,
  type Harness,
  laws,
  scriptOf
} from "../../src/backends/laws/index.ts"
import { openCluster, harness as right, specOf } from "./simulatedHarness.ts"

type Change = (backend: Backend) => Partial<Backend>

/** Short, because a broken law waits for what never comes. */
const factDeadlineMs = 300
const hangMs = 2_000

const harnessOf = (change: Partial<Harness>): Harness => ({ ...right, factDeadlineMs, ...change, skips: {} })

const changed =
  (change: Change, places = (count: number) => count): Harness["open"] =>
  (options) =>
    Effect.map(openCluster(places(options.places)), (backend) => ComputeBackend.of({ ...backend, ...change(backend) }))

/** How the law ends: `kept`, or why not. */
const outcomeOf = async (number: string, harness: Harness): Promise<string> => {
  const found = casesOf(harness).find((one) => one.number === number)
  if (found === undefined) throw new Error(`there is no law ${number}`)
  let timer: NodeJS.Timeout | undefined
  const hung = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve("it hung"), hangMs)
  })
  const ran = found.run().then(
    () => "kept",
    (error: unknown) => `broken: ${String(error)}`
  )
  const outcome = await Promise.race([ran, hung])
  clearTimeout(timer)
  return outcome
}

/** Observations pass through `map`, which may drop, double or change them. */
const watchingWith =
  (map: (observation: InstanceObservation) => ReadonlyArray<InstanceObservation>): Change =>
  (backend) => ({
    watch: (onObservation) => backend.watch((observation) => map(observation).forEach(onObservation))
  })

const exitedWith = (
  edit: (
    one: Extract<InstanceObservation, { _tag: "Exited" }>
  ) => Partial<Extract<InstanceObservation, { _tag: "Exited" }>>
) => watchingWith((one) => (one._tag === "Exited" ? [{ ...one, ...edit(one) }] : [one]))

const launchingWith =
  (edit: (spec: InstanceSpec) => InstanceSpec): Change =>
  (backend) => ({ launch: (spec) => backend.launch(edit(spec)) })

const doubling: Change = (backend) => {
  let starts = 0
  const plain = (id: string) => id.split("#")[0] ?? id
  return {
    launch: (spec) => backend.launch({ ...spec, instanceId: `${spec.instanceId}#${++starts}` }),
    list: Effect.map(backend.list, (all) => all.map((one) => ({ ...one, instanceId: plain(one.instanceId) }))),
    watch: (onObservation) =>
      backend.watch((one) => onObservation(one._tag === "Gap" ? one : { ...one, instanceId: plain(one.instanceId) })),
    followLogs: (onLine) => backend.followLogs((id, line) => onLine(plain(id), line))
  }
}

let fifth = 0
const wrong: ReadonlyArray<readonly [string, string, Partial<Harness>]> = [
  [
    "C1",
    "loses labels",
    { open: changed((b) => ({ list: Effect.map(b.list, (all) => all.map((one) => ({ ...one, labels: {} }))) })) }
  ],
  ["C2", "starts another for the same id", { open: changed(doubling) }],
  ["C3", "starts one for each that asks", { open: changed(doubling) }],
  [
    "C4",
    "takes an id once and never again",
    {
      open: changed((b) => {
        const used = new Set<string>()
        return {
          launch: (spec) => {
            if (used.has(spec.instanceId)) return Effect.void
            used.add(spec.instanceId)
            return b.launch(spec)
          }
        }
      })
    }
  ],
  [
    "C5",
    "keeps what did not start",
    {
      open: changed((b) => {
        const ghosts: Array<string> = []
        return {
          launch: (spec) => Effect.tapError(b.launch(spec), () => Effect.sync(() => ghosts.push(spec.instanceId))),
          list: Effect.map(b.list, (all) => [
            ...all,
            ...ghosts.map((instanceId) => ({ instanceId, versionId: "v", startedAtMs: 0, labels: {} }))
          ])
        }
      })
    }
  ],
  [
    "C6",
    "takes any instance type for its own",
    { open: changed(launchingWith((spec) => ({ ...spec, instanceType: "local" }))) }
  ],
  ["C7", "ends nothing", { open: changed(() => ({ terminate: () => Effect.void })) }],
  [
    "C8",
    "has one place more than it says",
    {
      open: changed(
        () => ({}),
        (places) => places + 1
      )
    }
  ],
  [
    "C8",
    "calls a full cluster a bad spec",
    {
      open: changed((b) => ({
        launch: (spec) =>
          Effect.mapError(b.launch(spec), (error) =>
            error._tag === "NoCapacity"
              ? new BadSpec({ instanceId: spec.instanceId, field: "cluster", detail: "it is full" })
              : error
          )
      }))
    }
  ],
  [
    "C9",
    "overcommits",
    {
      open: changed(
        () => ({}),
        (places) => places + 1
      )
    }
  ],
  [
    "C9",
    "refuses everybody who comes at the same time",
    {
      open: changed((b) => {
        let isBusy = false
        return {
          launch: (spec) =>
            Effect.suspend(() => {
              if (isBusy) return Effect.fail(new NoCapacity({ instanceId: spec.instanceId, detail: "busy" }))
              isBusy = true
              return b.launch(spec)
            })
        }
      })
    }
  ],
  [
    "C10",
    "says gone before it is",
    { open: changed((b) => ({ terminate: (id, ms) => Effect.sync(() => void Effect.runFork(b.terminate(id, ms))) })) }
  ],
  [
    "C11",
    "fails for what is not there",
    {
      open: changed((b) => ({
        terminate: (id, ms) =>
          Effect.flatMap(Effect.orDie(b.list), (all) =>
            all.some((one) => one.instanceId === id) ? b.terminate(id, ms) : Effect.die(new Error(`there is no ${id}`))
          )
      }))
    }
  ],
  ["C12", "gives no grace", { open: changed((b) => ({ terminate: (id) => b.terminate(id, 0) })) }],
  ["C13", "kills too soon", { open: changed((b) => ({ terminate: (id, ms) => b.terminate(id, ms / 3) })) }],
  ["C13", "never kills", { open: changed((b) => ({ terminate: (id) => b.terminate(id, 3_600_000) })) }],
  [
    "C14",
    "keeps to the grace that it was told first",
    {
      open: changed((b) => {
        const first = new Map<string, number>()
        return {
          terminate: (id, ms) => {
            first.set(id, first.get(id) ?? ms)
            return b.terminate(id, first.get(id) ?? ms)
          }
        }
      })
    }
  ],
  [
    "C15",
    "ends all whose id begins so",
    {
      open: changed((b) => ({
        terminate: (id, ms) =>
          Effect.flatMap(b.list, (all) =>
            Effect.forEach(
              all.filter((one) => one.instanceId.startsWith(id)),
              (one) => b.terminate(one.instanceId, ms),
              { discard: true }
            )
          )
      }))
    }
  ],
  ["C17", "calls every end asked for", { open: changed(exitedWith(() => ({ requested: true }))) }],
  ["C17", "does not know the phase", { open: changed(exitedWith(() => ({ phase: "" }))) }],
  ["C17", "loses the last words", { open: changed(exitedWith(() => ({ lastOutput: "" }))) }],
  ["C18", "calls done work lost", { open: changed(exitedWith(() => ({ exit: { kind: "lost", detail: "" } }))) }],
  ["C19", "calls a signal a code", { open: changed(exitedWith(() => ({ exit: { kind: "code", code: 1 } }))) }],
  [
    "C20",
    "calls a full memory a kill",
    { open: changed(exitedWith(() => ({ exit: { kind: "signal", signal: "SIGKILL" } }))) }
  ],
  [
    "C21",
    "restarts what ended",
    {
      open: changed((b) => {
        const specs = new Map<string, InstanceSpec>()
        return {
          launch: (spec) => {
            specs.set(spec.instanceId, spec)
            return b.launch(spec)
          },
          watch: (onObservation) =>
            b.watch((one) => {
              onObservation(one)
              const spec = one._tag === "Exited" && !one.requested ? specs.get(one.instanceId) : undefined
              if (spec !== undefined) Effect.runFork(Effect.ignore(b.launch(spec)))
            })
        }
      })
    }
  ],
  [
    "C22",
    "knows no start deadline",
    { open: changed(launchingWith((spec) => ({ ...spec, startDeadlineMs: 3_600_000 }))) }
  ],
  [
    "C22",
    "does not say what took so long",
    { open: changed(exitedWith(() => ({ exit: { kind: "signal", signal: "SIGKILL" } }))) }
  ],
  ["C23", "tells twice", { open: changed(watchingWith((one) => [one, one])) }],
  ["C23", "forgets starts", { open: changed(watchingWith((one) => (one._tag === "Started" ? [] : [one]))) }],
  [
    "C24",
    "lets one watcher stop the others",
    {
      open: changed((b) => {
        const watchers = new Set<(one: InstanceObservation) => void>()
        Effect.runFork(
          Effect.scoped(
            Effect.andThen(
              b.watch((one) => {
                for (const watcher of watchers) watcher(one)
              }),
              Effect.never
            )
          )
        )
        return { watch: (one) => Effect.sync(() => void watchers.add(one)) }
      })
    }
  ],
  ["C25", "loses each fifth observation", { open: changed(watchingWith((one) => (++fifth % 5 === 0 ? [] : [one]))) }],
  [
    "C27",
    "mixes the streams",
    {
      open: changed((b) => ({
        logs: (id) => Effect.map(b.logs(id), (all) => all.map((l) => ({ ...l, stream: "stdout" })))
      }))
    }
  ],
  [
    "C28",
    "keeps every line",
    {
      open: changed((b) => {
        const kept: Array<{ atMs: number; stream: "stdout"; text: string }> = []
        Effect.runFork(
          Effect.scoped(
            Effect.andThen(
              b.followLogs((_id, line) => void kept.push({ ...line, stream: "stdout" })),
              Effect.never
            )
          )
        )
        return { logs: () => Effect.sync(() => kept) }
      })
    }
  ],
  [
    "C29",
    "tells each line twice",
    {
      open: changed((b) => ({
        followLogs: (onLine) =>
          b.followLogs((id, line) => {
            onLine(id, line)
            onLine(id, line)
          })
      }))
    }
  ],
  [
    "C30",
    "hands on the agent's environment",
    {
      open: changed(
        launchingWith((s) => ({ ...s, environment: { HOME: process.env["HOME"] ?? "/", ...s.environment } }))
      )
    }
  ],
  [
    "C31",
    "puts secrets into the environment",
    { open: changed(launchingWith((s) => ({ ...s, environment: { ...s.environment, ...s.secrets } }))) }
  ],
  ["C31", "hands out no secrets", { open: changed(launchingWith(({ secrets: _, ...s }) => s)) }]
]

// --- backends that share a cluster, as those of one server do ------------------------------------------------------------

/** Opens of one cluster see one backend, which outlives each of them. */
const sharing = (clusterOf: (cluster: string | undefined) => string, change: Change = () => ({})): Harness["open"] => {
  const shared = new Map<string, Backend>()
  return ({ places, cluster }) =>
    Effect.gen(function* () {
      const key = clusterOf(cluster)
      const found = shared.get(key)
      if (found !== undefined) return ComputeBackend.of({ ...found, ...change(found) })
      // Its instances are modelled: nothing is left when it is forgotten.
      const made = yield* Effect.callback<Backend>((resume) => {
        Effect.runFork(
          Effect.scoped(
            Effect.flatMap(openCluster(places), (backend) => {
              resume(Effect.succeed(backend))
              return Effect.never
            })
          )
        )
      })
      shared.set(key, made)
      return ComputeBackend.of({ ...made, ...change(made) })
    })
}

let unnamed = 0
const byName = (cluster: string | undefined) => cluster ?? `unnamed-${++unnamed}`
const surviving: Partial<Harness> = { open: sharing(byName) }

const foreignIn = (open: Harness["open"]): NonNullable<Harness["foreign"]> =>
  Effect.gen(function* () {
    const other = yield* open({ places: 4, cluster: "strangers" })
    yield* Effect.orDie(other.launch(specOf("stranger", { kind: "sleeps" })))
    const isThere = Effect.map(other.list, (all) => all.some((one) => one.instanceId === "stranger"))
    return { instanceId: "stranger", isRunning: Effect.orDie(isThere) }
  })

const everything = sharing(() => "one for all")
const named = sharing(byName)

/** Its watch can be cut; what happens meanwhile is lost, and said or not. */
const cuttable = (isSaid: boolean): Partial<Harness> => {
  let isCut = false
  return {
    open: changed((b) => ({
      watch: (onObservation) =>
        b.watch((one) => {
          if (!isCut) return onObservation(one)
          if (one._tag !== "Exited" || one.instanceId !== "b") return
          isCut = false
          if (isSaid) onObservation({ _tag: "Gap", atMs: 0, detail: "the connection broke" })
        })
    })),
    breakWatch: () =>
      Effect.sync(() => {
        isCut = true
      })
  }
}

const sharedWrong: ReadonlyArray<readonly [string, string, Partial<Harness>]> = [
  ["C26", "is silent about what it missed", cuttable(false)],
  ["C32", "ends what is not its own", { open: everything, foreign: foreignIn(everything) }],
  ["C33", "knows no clusters", { open: sharing(() => "all") }],
  ["C35", "forgets all when it is opened again", {}],
  [
    "C35",
    "finds instances again without their labels",
    {
      open: sharing(byName, (b) => ({ list: Effect.map(b.list, (all) => all.map((one) => ({ ...one, labels: {} }))) }))
    }
  ],
  ["C36", "lets two agents start two", { open: sharing(byName, doubling) }]
]

// --- backends with processes -------------------------------------------------------------------------------------------

/** Of processes whose children are not looked after, or which live on. */
const processes = (stop: (pid: number, signal: NodeJS.Signals) => void): Partial<Harness> => ({
  open: ({ places }) =>
    BackendKit.make({
      abilities: { ...shell, gpuKinds: [] },
      instanceTypes: [{ name: "local", gpuKind: "none", gpuCount: 0, total: places }],
      start: (spec, life) => {
        const [file = "", ...args] = spec.command
        const child = spawn(file, args, {
          env: { ...spec.environment },
          detached: true,
          stdio: ["ignore", "pipe", "ignore"]
        })
        left.push(child.pid ?? 0)
        child.once("spawn", () => life.started(child.pid))
        child.stdout.on("data", (bytes: Buffer) => life.output("stdout", bytes))
        child.once("exit", (code, signal) =>
          life.ended(signal === null ? { kind: "code", code: code ?? 0 } : { kind: "signal", signal })
        )
        return { signal: (signal) => stop(child.pid ?? 0, signal) }
      }
    }),
  spec: (instanceId, program, change) => ({
    ...specOf(instanceId, program, change),
    command: [process.execPath, "-e", scriptOf(program)]
  }),
  countProcesses: countProcessesOnLinux,
  factDeadlineMs: 8_000
})

const shell = {
  name: "shell",
  isolation: "none",
  image: false,
  command: true,
  preWarm: false,
  tasks: true,
  limits: [],
  survivesRestart: false
} as const

const left: Array<number> = []
const killLeft = () => {
  for (const pid of left.splice(0)) {
    try {
      process.kill(-pid, "SIGKILL")
    } catch {
      // It is gone.
    }
  }
}

const killOne = (pid: number, signal: NodeJS.Signals) => {
  try {
    process.kill(pid, signal)
  } catch {
    // It is gone.
  }
}

describe("wrong backends", () => {
  it.each([...wrong, ...sharedWrong])("%s sees a backend that %s", async (number, _what, change) => {
    expect(await outcomeOf(number, harnessOf(change))).not.toBe("kept")
  })

  it("C16 sees a backend that leaves children behind", { timeout: 60_000 }, async () => {
    const found = casesOf(harnessOf({ ...processes(killOne), factDeadlineMs: 4_000 })).find(
      (one) => one.number === "C16"
    )
    await expect(found?.run()).rejects.toThrow(/the child of the one/)
    killLeft()
  })

  it("C34 sees a backend whose instances outlive it", { timeout: 60_000 }, async () => {
    const found = casesOf(harnessOf(processes(() => undefined))).find((one) => one.number === "C34")
    await expect(found?.run()).rejects.toThrow()
    killLeft()
  })

  it.each([
    ["C26", cuttable(true)],
    ["C32", { open: named, foreign: foreignIn(named) }],
    ["C33", surviving],
    ["C35", surviving],
    ["C36", surviving]
  ] as const)("%s is kept by the right one of these, so that it is the wrong that is seen", async (number, change) => {
    expect(await outcomeOf(number, harnessOf({ ...change, factDeadlineMs: 5_000 }))).toBe("kept")
  })

  it("there is one for each law", () => {
    const numbers = new Set([...wrong, ...sharedWrong].map(([number]) => number).concat("C16", "C34"))
    expect(laws.map(({ number }) => number).filter((number) => !numbers.has(number))).toEqual([])
    expect(laws.length).toBeGreaterThanOrEqual(25)
  })

  it("a skip needs a law that there is, and a reason", () => {
    expect(() => casesOf({ ...right, skips: { C99: "because" } })).toThrow(/no law C99/)
    expect(() => casesOf({ ...right, skips: { C1: " " } })).toThrow(/without a reason/)
  })
})
