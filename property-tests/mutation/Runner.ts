/**
 * A test runner for Stryker that loads the tests of the core once and runs those that cover a mutant in the same process,
 * one after the other until one fails: milliseconds a mutant instead of the second that a fresh worker takes. Sound
 * because the core keeps nothing in its modules. For a static mutant, which acts while a module loads, the modules of the
 * sandbox are loaded anew; those of packages stay. Those tests come first that are cheap and have killed often.
 *
 * A property runs `runsMax` times at most. What a test says after its properties about the mix that they generated is
 * not asked for where the limit alone makes it untrue: the dry run finds those tests. Left out are tests of time, those
 * that the zoo is killed by, and those that take longer than `testMsMax` of processor time.
 *
 * @module
 */
import { existsSync, globSync, readFileSync, writeFileSync } from "node:fs"
import { registerHooks } from "node:module"
import * as path from "node:path"
import { pathToFileURL } from "node:url"
import type { StrykerOptions } from "@stryker-mutator/api/core"
import type {
  DryRunOptions,
  DryRunResult,
  MutantRunOptions,
  MutantRunResult,
  TestResult,
  TestRunner
} from "@stryker-mutator/api/test-runner"
import { isDrawn, type Sample } from "./Sample.ts"
import type { Test } from "./Vitest.ts"

interface InProcessOptions {
  /** Globs; what comes first runs first. */
  readonly testFiles: ReadonlyArray<string>
  /** Globs of files whose tests are known to take longer than `testMsMax`. */
  readonly slowFiles: ReadonlyArray<string>
  readonly runsMax: number
  /** Processor time in the dry run; a mutant that is not noticed is tried with every test that takes no longer. */
  readonly testMsMax: number
  /** Processor time for a mutant: what is not noticed by then counts as not noticed. */
  readonly mutantMsMax: number
  /** Absent: every mutant is tried. */
  readonly sample?: Sample
  /** Those that these drew were tried before. */
  readonly formerSamples?: ReadonlyArray<Sample>
}

/** What the instrumented code reads and writes. */
interface Namespace {
  activeMutant?: string
  currentTestId?: string
  mutantCoverage?: { static: Record<string, number>; perTest: Record<string, Record<string, number>> }
  hitCount?: number
  readonly hitLimit: number
}

/** Of the test that runs: when a mutant has made it run for ever, by the processor time of this process. */
const patience = { endMs: Number.POSITIVE_INFINITY, asked: 0, isOver: false }

const space: Namespace = {
  // Asked at each hit of the mutant, which ends with an error beyond the limit.
  get hitLimit() {
    if ((++patience.asked & 0xff) === 0 && processorMs() > patience.endMs) patience.isOver = true
    return patience.isOver ? -1 : Number.POSITIVE_INFINITY
  }
}
Object.assign(globalThis, { __stryker__: space })

/** They measure the computer, where instrumented code is slower; or the zoo, which says again what the laws say. */
const isLeftOut = (name: string): boolean => name.includes("processor time") || / kills?:/.test(name)

const replaced = (specifier: string, importer: string): string | undefined => {
  if (specifier === "vitest") return "Vitest.ts"
  if (specifier === "fast-check" && !importer.includes("/mutation/fastCheck.ts")) return "fastCheck.ts"
  if (specifier.endsWith("/upholds.ts")) return "fastCheck.ts"
  return specifier.endsWith("/zoo/kills.ts") ? "kills.ts" : undefined
}

const urlOf = (name: string): string => pathToFileURL(path.resolve("property-tests/mutation", name)).href

/** In the sandbox: written by the dry run, read by every other process. */
const dryRunFile = ".dry-run.json"

interface DryRun {
  /** Tests whose mix is not asked for. */
  readonly mixed: ReadonlyArray<string>
  readonly milliseconds: Readonly<Record<string, number>>
}

/** Of a test, for the mutants of this process. */
interface Merit {
  asked: number
  killed: number
}

class InProcess implements TestRunner {
  readonly #testFiles: ReadonlyArray<string>
  readonly #runsMax: number
  readonly #testMsMax: number
  readonly #mutantMsMax: number
  readonly #sample: Sample | undefined
  readonly #formerSamples: ReadonlyArray<Sample>
  readonly #loaded = new Set<string>()
  #loads = 0
  #tests: ReadonlyArray<Test> = []
  #dryRun: DryRun | undefined
  readonly #merits = new Map<string, Merit>()
  #runs = { max: 0, wereLimited: false, isPropertyBroken: false }

  constructor(options: StrykerOptions) {
    const { inProcess } = options as StrykerOptions & { readonly inProcess: InProcessOptions }
    this.#testFiles = inProcess.testFiles
      .flatMap((glob) => globSync(glob, { exclude: inProcess.slowFiles }).sort())
      .map((file) => path.resolve(file))
    this.#runsMax = inProcess.runsMax
    this.#testMsMax = inProcess.testMsMax
    this.#mutantMsMax = inProcess.mutantMsMax
    this.#sample = inProcess.sample
    this.#formerSamples = inProcess.formerSamples ?? []
    const sandbox = `${pathToFileURL(path.resolve(".")).href}/`
    registerHooks({
      resolve: (specifier, context, next) => {
        const name = replaced(specifier, context.parentURL ?? "")
        const found = next(name === undefined ? specifier : urlOf(name), context)
        const isOurs = found.url.startsWith(sandbox) && !found.url.includes("/node_modules/")
        return isOurs ? { ...found, url: `${found.url}?load=${this.#loads}` } : found
      }
    })
  }

  capabilities() {
    return { reloadEnvironment: true }
  }

  async dryRun({ files = [] }: DryRunOptions): Promise<DryRunResult> {
    await this.#load(this.#related(files))
    const tests: Array<TestResult> = []
    const mixed: Array<string> = []
    const milliseconds: Record<string, number> = {}
    for (const test of this.#tests) {
      const result = await this.#run(test)
      const isMixed = "failureMessage" in result && this.#runs.wereLimited && !this.#runs.isPropertyBroken
      if (isMixed) mixed.push(result.id)
      milliseconds[result.id] = result.timeSpentMs
      if (result.timeSpentMs > this.#testMsMax && (isMixed || !("failureMessage" in result))) {
        // Not among the tests that cover anything, so that no mutant is tried with it.
        delete space.mutantCoverage?.perTest[result.id]
        continue
      }
      tests.push(isMixed ? passed(result) : result)
    }
    writeFileSync(dryRunFile, JSON.stringify({ mixed, milliseconds } satisfies DryRun))
    return { status: "complete" as DryRunResult["status"], tests, mutantCoverage: space.mutantCoverage } as DryRunResult
  }

  async mutantRun(run: MutantRunOptions): Promise<MutantRunResult> {
    const { activeMutant, sandboxFileName, testFilter, mutantActivation } = run
    const isDrawnBy = (sample: Sample) => isDrawn(sample, activeMutant)
    if ((this.#sample !== undefined && !isDrawnBy(this.#sample)) || this.#formerSamples.some(isDrawnBy)) {
      return { status: "error", errorMessage: "not in the sample" } as MutantRunResult
    }
    // What the mutant before it was out of is not out for this one: it would not even be loaded.
    Object.assign(patience, { endMs: Number.POSITIVE_INFINITY, isOver: false })
    if (run.reloadEnvironment) {
      this.#loads++
      this.#loaded.clear()
    }
    delete space.activeMutant
    if (mutantActivation === "static") space.activeMutant = activeMutant.id
    try {
      await this.#load(testFilter === undefined ? this.#related([sandboxFileName]) : filesOf(testFilter))
    } catch (error) {
      return {
        status: "killed",
        killedBy: [],
        failureMessage: messageOf(error),
        nrOfTests: 0
      } as object as MutantRunResult
    }
    // Written by the dry run alone.
    this.#dryRun ??= JSON.parse(readFileSync(dryRunFile, "utf8")) as DryRun
    const { mixed, milliseconds } = this.#dryRun
    space.activeMutant = activeMutant.id
    space.hitCount = 0
    let nrOfTests = 0
    const endMs = processorMs() + this.#mutantMsMax
    for (const test of this.#inOrder(testFilter, this.#dryRun)) {
      if (processorMs() > endMs) break
      const merit = this.#meritOf(idOf(test))
      // Sooner than Stryker, which would have to end the whole process.
      Object.assign(patience, { endMs: processorMs() + 1_000 + 10 * (milliseconds[idOf(test)] ?? 0), isOver: false })
      const result = await this.#run(test)
      nrOfTests++
      merit.asked++
      if (patience.isOver) return { status: "timeout", reason: `${result.name} has no end` } as MutantRunResult
      if (!("failureMessage" in result)) continue
      if (mixed.includes(result.id) && !this.#runs.isPropertyBroken) continue
      merit.killed++
      const { id, failureMessage } = result
      return { status: "killed", killedBy: [id], failureMessage, nrOfTests } as MutantRunResult
    }
    return { status: "survived", nrOfTests } as MutantRunResult
  }

  /** Least milliseconds for a kill that is to be expected first. */
  #inOrder(filter: ReadonlyArray<string> | undefined, { milliseconds }: DryRun): ReadonlyArray<Test> {
    const cost = (test: Test): number => {
      const id = idOf(test)
      const { asked, killed } = this.#meritOf(id)
      return ((milliseconds[id] ?? 0) * (asked + 2)) / (killed + 1)
    }
    const asked = new Set(filter)
    return this.#tests
      .filter((test) =>
        filter === undefined ? (milliseconds[idOf(test)] ?? 0) <= this.#testMsMax : asked.has(idOf(test))
      )
      .map((test) => ({ test, cost: cost(test) }))
      .sort((one, other) => one.cost - other.cost)
      .map(({ test }) => test)
  }

  #meritOf(id: string): Merit {
    const merit = this.#merits.get(id) ?? { asked: 0, killed: 0 }
    this.#merits.set(id, merit)
    return merit
  }

  async #run(test: Test): Promise<TestResult> {
    const id = idOf(test)
    const startedAtMs = processorMs()
    const result = (more: object) =>
      ({
        id,
        name: test.name,
        fileName: test.file,
        timeSpentMs: processorMs() - startedAtMs,
        ...more
      }) as TestResult
    space.currentTestId = id
    this.#runs.wereLimited = false
    this.#runs.isPropertyBroken = false
    try {
      await test.run()
      return result({ status: 0 })
    } catch (error) {
      return result({ status: 1, failureMessage: messageOf(error) })
    } finally {
      delete space.currentTestId
    }
  }

  async #load(files: ReadonlyArray<string>): Promise<void> {
    const vitest: typeof import("./Vitest.ts") = await import(urlOf("Vitest.ts"))
    const { runs }: typeof import("./fastCheck.ts") = await import(urlOf("fastCheck.ts"))
    this.#runs = runs
    runs.max = this.#runsMax
    for (const file of files) {
      if (this.#loaded.has(file)) continue
      this.#loaded.add(file)
      vitest.begin(file)
      await import(pathToFileURL(file).href)
    }
    this.#tests = vitest.collected.filter(({ name }) => !isLeftOut(name))
  }

  /**
   * Tests that import the machines of these files, themselves or by what is made for tests; those of the simulation,
   * which uses all machines, are its own.
   */
  #related(files: ReadonlyArray<string>): ReadonlyArray<string> {
    const core = path.resolve("src/core")
    const machines = new Set(files.map((file) => path.dirname(path.resolve(file))))
    return this.#testFiles.filter((file) => {
      const folders = imported(file).map((each) => path.dirname(each))
      const simulation = path.join(core, "simulation")
      if (folders.includes(simulation)) return machines.has(simulation)
      return folders.some((folder) => machines.has(folder))
    })
  }
}

/** What a file imports of ours, itself or by others; what `src` imports is not followed, nor what the sandbox lacks. */
const imported = (file: string, seen = new Set<string>()): ReadonlyArray<string> => {
  for (const [, relative] of readFileSync(file, "utf8").matchAll(/from "(\.[^"]+)"/g)) {
    const found = path.resolve(path.dirname(file), relative!)
    if (seen.has(found)) continue
    seen.add(found)
    if (!found.startsWith(path.resolve("src")) && existsSync(found)) imported(found, seen)
  }
  return [...seen]
}

/** Of this process: the same on a computer that is busy with other things. */
const processorMs = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

const idOf = ({ file, name }: Test): string => `${file}#${name}`

const filesOf = (ids: ReadonlyArray<string>): ReadonlyArray<string> => [
  ...new Set(ids.map((id) => id.slice(0, id.indexOf("#"))))
]

const passed = ({ id, name, timeSpentMs }: TestResult): TestResult =>
  ({ id, name, timeSpentMs, status: 0 }) as TestResult

const factory = Object.assign((options: StrykerOptions) => new InProcess(options), { inject: ["options"] })

export const strykerPlugins = [{ kind: "TestRunner", name: "in-process", factory }]

/** Stryker warns of options that no schema knows. */
export const strykerValidationSchema = { type: "object", properties: { inProcess: { type: "object" } } }
