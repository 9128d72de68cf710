/**
 * The policy in `docs/lab.md` works as it stands there, and the comparison at its head is what the command prints.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, it, vi } from "vitest"
import * as Cli from "../../src/cli/Cli.ts"
import * as Experiment from "../../src/lab/Experiment.ts"
import * as PolicySelection from "../../src/lab/PolicySelection.ts"
import * as Samples from "../../src/lab/Samples.ts"
import * as TraceFile from "../../src/lab/TraceFile.ts"

const guide = readFileSync(fileURLToPath(new URL("../../docs/lab.md", import.meta.url)), "utf8")

it("the policy of the guide has about 30 lines, keeps the laws and serves a trace to its end", async () => {
  const code = /```ts\n(\/\/ my-policy\.ts\n[\s\S]*?)```/.exec(guide)?.[1] ?? ""
  assert.isAtMost(code.split("\n").length, 32)
  const directory = mkdtempSync(join(tmpdir(), "millrace-guide-"))
  try {
    const file = join(directory, "my-policy.ts")
    writeFileSync(file, code)
    const policies = await PolicySelection.select([file])
    const trace = TraceFile.load(join(Samples.folder() ?? "", "azure-functions-2021/sample-200.csv"), { seed: 1 })
    const [outcome] = await Experiment.run(trace, Experiment.settingDefaults, { policies, progress: async () => {} })
    assert.strictEqual(outcome?.policy, "half-window")
    assert.strictEqual(outcome?.result.open, 0)
    assert.isAbove(outcome?.ratio ?? 0, 1)
  } finally {
    rmSync(directory, { recursive: true })
  }
})

it("the comparison at the head of the guide is what its command prints", async () => {
  const [, words = "", table = ""] =
    /\n\$ millrace (simulate .*) --html report\.html\n([\s\S]*?)written: /.exec(guide) ?? []
  const [command = "", flag = "", file = "", ...rest] = words.split(" ")
  const trace = join(Samples.folder() ?? "", file.replace(/^traces\//, ""))
  assert.strictEqual(await printed(command, flag, trace, ...rest), table)
})

it("the rows of demand in the table of the guide are what its command prints", { timeout: 300_000 }, async () => {
  const rows = (await printed("simulate", "--table", "--policy", "demand"))
    .split("\n")
    .filter((row) => row.includes(" demand "))
  assert.lengthOf(rows, Samples.samples.length)
  // The last column names those that are better, and here it is alone: as alone as it has to be among all.
  for (const row of rows) assert.include(guide, `\n${row}\n`)
})

it("the table of the guide has every policy on every sample", () => {
  for (const { name } of Samples.samples) {
    for (const policy of PolicySelection.names) {
      const label = policy === "fixed" ? "fixed (peak)" : policy
      assert.include(guide, `| ${name} | ${label} |`)
    }
  }
})

const printed = async (...words: ReadonlyArray<string>): Promise<string> => {
  let out = ""
  const write = vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    out += String(chunk)
    return true
  })
  try {
    assert.strictEqual(await Cli.main(words), 0)
    return out
  } finally {
    write.mockRestore()
  }
}
