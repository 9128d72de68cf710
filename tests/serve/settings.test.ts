import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import * as SettingsTable from "../../src/cli/config/SettingsTable.ts"
import { root } from "../support/TestPlatform.ts"

describe("docs/operating.md", () => {
  it("lists every setting with its bounds, default and variable as the schemas have them", () => {
    assert.include(readFileSync(join(root, "docs/operating.md"), "utf8"), SettingsTable.markdown())
  })
})
