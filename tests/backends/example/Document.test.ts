/** What the guide shows is what is run. */
import { readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { expect, it } from "vitest"
import { gpuKinds } from "../../../src/core/simulation/GpuKinds.ts"

const guide = readFileSync(resolve(import.meta.dirname, "../../../docs/backends.md"), "utf8")
const shown = [...guide.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, text]) => text)

for (const name of ["ShellBackend.ts", "ShellBackend.test.ts"]) {
  it(`docs/backends.md shows ${name} as it is`, () => {
    expect(shown).toContain(readFileSync(join(import.meta.dirname, name), "utf8"))
  })
}

it("the example has at most sixty lines", () => {
  const lines = readFileSync(join(import.meta.dirname, "ShellBackend.ts"), "utf8")
    .trimEnd()
    .split("\n")
  expect(lines.length).toBeLessThanOrEqual(60)
})

it("docs/backends.md has the table of GPU kinds as it is", () => {
  for (const { name, memoryGib, perNode, nvlinkDomain, source } of gpuKinds) {
    const domain = nvlinkDomain === 1 ? "none" : nvlinkDomain
    expect(guide).toContain(`| ${name} | ${memoryGib} | ${perNode} | ${domain} | ${source} |`)
  }
})
