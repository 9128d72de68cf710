import { describe, expect, it } from "vitest"
import * as Problem from "./Problem.ts"

describe("a refusal of a store that failed", () => {
  it("says that nothing was kept only where that is certain", () => {
    const certain = Problem.fromRefusal({ kind: "store-failed", kept: "nothing" })
    const unknown = Problem.fromRefusal({ kind: "store-failed", kept: "unknown" })
    expect([certain.status, unknown.status]).toEqual([503, 503])
    expect(JSON.stringify(certain)).toContain("Nothing of this call was kept.")
    expect(JSON.stringify(unknown)).not.toContain("Nothing of this call")
    expect(JSON.stringify(unknown)).toContain("it may run after the restart")
  })
})
