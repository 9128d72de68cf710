/**
 * A test runner for Stryker that loads the tests of the core once and runs those that cover a mutant in the same process,
 * one after the other until one fails: milliseconds a mutant instead of the second that a fresh worker takes. Sound
 * because the core keeps nothing in its modules. For a static mutant, which acts while a module loads, the modules of the
 * sandbox are loaded anew; those of packages stay.
 *
 * A property runs `runsMax` times at most. What a test says after its properties about the mix that they generated is
 * not asked for where the limit alone makes it untrue: the dry run finds those tests. Tests of time, and those that the zoo is killed by, are left out.
 *
 * @module
 */
import { globSync, readFileSync, writeFileSync } from "node:fs"
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
import type { Test } from "./Vitest.ts"

interface InProcessOptions {
  /** Globs; what comes first runs first. */
  readonly testFiles: ReadonlyArray<string>
  readonly runsMax: number
}

/** What the instrumented code reads and writes. */
interface Namespace {
  activeMutant?: string
  currentTestId?: string
  mutantCoverage?: { static: Record<string, number>; perTest: Record<string, Record<string, number>> }
  hitCount?: number
  hitLimit?: number | undefined
}
const space: Namespace = {}
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
const mixedFile = ".tests-of-mix.json"

class InProcess implements TestRunner {
  readonly #testFiles: ReadonlyArray<string>
  readonly #runsMax: number
  readonly #loaded = new Set<string>()
  #loads = 0
  #tests: ReadonlyArray<Test> = []
  #mixed: ReadonlySet<string> = new Set()
  #runs = { max: 0, wereLimited: false, isPropertyBroken: false }

  constructor(options: StrykerOptions) {
    const { inProcess } = options as StrykerOptions & { readonly inProcess: InProcessOptions }
    this.#testFiles = inProcess.testFiles.flatMap((glob) => globSync(glob).sort()).map((file) => path.resolve(file))
    this.#runsMax = inProcess.runsMax
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
    for (const test of this.#tests) {
      const result = await this.#run(test)
      const isMixed = "failureMessage" in result && this.#runs.wereLimited && !this.#runs.isPropertyBroken
      if (isMixed) mixed.push(result.id)
      tests.push(isMixed ? passed(result) : result)
    }
    writeFileSync(mixedFile, JSON.stringify(mixed))
    return { status: "complete" as DryRunResult["status"], tests, mutantCoverage: space.mutantCoverage } as DryRunResult
  }

  async mutantRun(run: MutantRunOptions): Promise<MutantRunResult> {
    const { activeMutant, sandboxFileName, testFilter, hitLimit, mutantActivation } = run
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
    this.#mixed = new Set<string>(JSON.parse(readFileSync(mixedFile, "utf8")))
    const isAsked = testFilter === undefined ? () => true : (id: string) => testFilter.includes(id)
    space.activeMutant = activeMutant.id
    space.hitCount = 0
    space.hitLimit = hitLimit
    let nrOfTests = 0
    for (const test of this.#tests) {
      if (!isAsked(idOf(test))) continue
      const result = await this.#run(test)
      nrOfTests++
      if (hitLimit !== undefined && space.hitCount > hitLimit) {
        return { status: "timeout", reason: `it was reached ${hitLimit} times` } as MutantRunResult
      }
      if (!("failureMessage" in result)) continue
      if (this.#mixed.has(result.id) && !this.#runs.isPropertyBroken) continue
      const { id, failureMessage } = result
      return { status: "killed", killedBy: [id], failureMessage, nrOfTests } as MutantRunResult
    }
    return { status: "survived", nrOfTests } as MutantRunResult
  }

  async #run(test: Test): Promise<TestResult> {
    const id = idOf(test)
    const startedAtMs = performance.now()
    const result = (more: object) =>
      ({
        id,
        name: test.name,
        fileName: test.file,
        timeSpentMs: performance.now() - startedAtMs,
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

  /** Tests that import the machines of these files; those of the simulation, which uses all machines, are its own. */
  #related(files: ReadonlyArray<string>): ReadonlyArray<string> {
    const core = path.resolve("src/core")
    const machines = new Set(files.map((file) => path.dirname(path.resolve(file))))
    return this.#testFiles.filter((file) => {
      const imports = [...readFileSync(file, "utf8").matchAll(/from "(\.[^"]+)"/g)]
      const folders = imports.map(([, relative]) => path.dirname(path.resolve(path.dirname(file), relative!)))
      const simulation = path.join(core, "simulation")
      if (folders.includes(simulation)) return machines.has(simulation)
      return folders.some((folder) => machines.has(folder))
    })
  }
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
