/**
 * Tells on stderr, while laws are tried, which file is over and how much was tried so far, and what failed.
 *
 * @module
 */
import type { Reporter, TestCase, TestModule, TestSpecification } from "vitest/node"
import { lawOptions } from "./LawOptions.ts"
import { readReports } from "./LawReports.ts"
import * as Mix from "./Mix.ts"

const everyMs = 15_000

export default class LawProgress implements Reporter {
  #files = 0
  #over = 0
  #startedMs = 0
  #timer: NodeJS.Timeout | undefined
  readonly #now = new Set<string>()

  onTestRunStart(specifications: ReadonlyArray<TestSpecification>): void {
    this.#files = specifications.length
    this.#startedMs = performance.now()
    this.#timer = setInterval(() => this.#say(`trying ${[...this.#now].join(" and ")}`), everyMs)
  }

  onTestModuleStart(module: TestModule): void {
    this.#now.add(nameOf(module))
  }

  onTestModuleEnd(module: TestModule): void {
    this.#now.delete(nameOf(module))
    this.#over += 1
    for (const error of module.errors()) process.stderr.write(`${nameOf(module)}: ${error.message}\n`)
    this.#say(`${nameOf(module)} in ${Math.round(module.diagnostic().duration / 1_000)} s: ${module.state()}`)
  }

  onTestCaseResult(test: TestCase): void {
    const { errors = [] } = test.result()
    for (const { message } of errors)
      process.stderr.write(`\nFAILED ${nameOf(test.module)}: ${test.fullName}\n${message}\n\n`)
  }

  onTestRunEnd(): void {
    clearInterval(this.#timer)
  }

  #say(what: string): void {
    const { inputs } = readReports(lawOptions.reports)
      .map(({ mix }) => mix)
      .reduce(Mix.sum, Mix.none)
    const seconds = Math.round((performance.now() - this.#startedMs) / 1_000)
    const so = `${this.#over} of ${this.#files} files, ${inputs.toLocaleString("en")} inputs after ${seconds} s`
    process.stderr.write(`[${so}] ${what}\n`)
  }
}

const nameOf = (module: TestModule): string => module.moduleId.slice(module.moduleId.lastIndexOf("/") + 1)
