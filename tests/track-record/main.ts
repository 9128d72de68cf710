/**
 * `npm run track-record [-- NAME | --write]`: runs the test of each bug that was found and says how it ended. Ends with 1
 * when a bug is back, or when a test did not run.
 *
 * @module
 */
import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { type Bug, bugs } from "./Bugs.ts"
import * as Document from "./Document.ts"

const root = resolve(import.meta.dirname, "../..")
const say = (line: string) => process.stdout.write(`${line}\n`)

/** What is read of vitest's report. */
interface Report {
  readonly numPassedTests: number
  readonly numFailedTests: number
}

const outcomeOf = async ({ test }: Bug): Promise<string> => {
  const directory = mkdtempSync(join(tmpdir(), "millrace-record-"))
  const report = join(directory, "report.json")
  const vitest = join(root, "node_modules/.bin/vitest")
  const args = ["run", test.file, "-t", test.name, "--reporter=json", `--outputFile=${report}`]
  try {
    await new Promise((done) => spawn(vitest, args, { cwd: root, stdio: "ignore" }).once("exit", done))
    const { numPassedTests, numFailedTests }: Report = JSON.parse(readFileSync(report, "utf8"))
    if (numFailedTests > 0) return "IT IS BACK"
    return numPassedTests > 0 ? "gone" : "NOT RUN: its test was skipped, or has another name"
  } catch (error) {
    return `NOT RUN: ${error instanceof Error ? error.message : String(error)}`
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { write: { type: "boolean" } } })
if (values.write === true) writeFileSync(join(root, Document.path), Document.of(bugs))
else {
  const wanted = positionals.length === 0 ? bugs : bugs.filter(({ id }) => positionals.includes(id))
  if (wanted.length === 0) say(`there is no bug of that name; there are ${bugs.map(({ id }) => id).join(", ")}`)
  let isFine = wanted.length > 0
  for (const bug of wanted) {
    const outcome = await outcomeOf(bug)
    isFine &&= outcome === "gone"
    say(`${bug.id}: ${outcome} (${bug.test.file}, "${bug.test.name}")`)
  }
  process.exitCode = isFine ? 0 : 1
}
