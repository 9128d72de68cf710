/**
 * The record of found bugs: its tests are there, and its page is up to date.
 */
import { readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { describe, expect, it } from "vitest"
import { bugs } from "./Bugs.ts"
import * as Document from "./Document.ts"

const root = resolve(import.meta.dirname, "../..")
const read = (path: string) => readFileSync(join(root, path), "utf8")

describe("the track record", () => {
  it.each(bugs)("has a test for $id", ({ test }) => {
    // Shared suites and tables have their names elsewhere.
    const sources = [test.file, "tests/worker-sdk/transportSuite.ts", "tests/corpus/http/lengths.ts"]
      .map(read)
      .join("\n")
    expect(sources).toContain(test.name)
  })

  it("has a name of its own for each bug", () => {
    expect(new Set(bugs.map(({ id }) => id)).size).toBe(bugs.length)
  })

  it("is on its page as it is here", () => {
    expect(read(Document.path)).toBe(Document.of(bugs))
  })
})
