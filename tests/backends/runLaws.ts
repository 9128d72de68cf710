/**
 * The published laws of backends on this repository's test runner.
 *
 * @module
 */
import { describe, it } from "vitest"
import { casesOf, type Harness } from "../../src/backends/laws/index.ts"

export const runLaws = (harness: Harness) =>
  describe(`backend laws: ${harness.name}`, () => {
    for (const { name, skip, run } of casesOf(harness)) it.skipIf(skip !== undefined)(name, run)
  })
