/**
 * The last line of a test run, for people and for machines that read logs: `412 passed, 0 failed, 3 skipped`.
 *
 * @module
 */
import type { Reporter, TestModule } from "vitest/node"

export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>): void {
    let passed = 0
    let failed = 0
    let skipped = 0
    for (const module of modules) {
      // A file that could not even be loaded has no tests to count.
      if (module.state() === "failed" && [...module.children.allTests()].length === 0) failed++
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (state === "passed") passed++
        else if (state === "failed") failed++
        else {
          skipped++
          console.log(`skipped: ${test.fullName} (${test.options.mode === "skip" ? "by its condition" : state})`)
        }
      }
    }
    process.on("exit", () =>
      console.log(`${passed} passed, ${failed} failed${skipped === 0 ? "" : `, ${skipped} skipped`}`)
    )
  }
}
