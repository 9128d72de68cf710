/**
 * `npm run mutate [-- MACHINE...]`: Stryker over machines of the core, one after the other (all of them where none is
 * named), and the page `docs/mutation.md` of what was found. `-- --page` writes the page alone.
 *
 * What was found before is kept in `.stryker/`, so that a second run asks only for what changed since.
 *
 * @module
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { Stryker } from "@stryker-mutator/core"
import { type Finding, page, type Reason } from "./Page.ts"

const resultsFile = "property-tests/mutation/results.json"
const reasonsFile = "property-tests/mutation/reasons.json"
const pageFile = "docs/mutation.md"

// Both files are written by hand or by this program, and a test would not start without them.
const findings = JSON.parse(readFileSync(resultsFile, "utf8")) as Record<string, Finding>
const reasons = JSON.parse(readFileSync(reasonsFile, "utf8")) as ReadonlyArray<Reason>

const machines = readdirSync("src/core", { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)
const named = process.argv.slice(2).filter((argument) => !argument.startsWith("--"))
const unknown = named.filter((name) => !machines.includes(name))
if (unknown.length > 0) {
  console.error(`no machine ${unknown.join(", ")} in src/core: expected some of ${machines.join(", ")}`)
  process.exit(2)
}
const asked = process.argv.includes("--page") ? [] : named.length === 0 ? machines : named

for (const machine of asked) {
  const results = await new Stryker({
    mutate: [`src/core/${machine}/**/*.ts`, "!src/core/**/*.test.ts"],
    incrementalFile: `.stryker/${machine}.json`,
    tempDirName: `.stryker/sandbox-${machine}`
  }).runMutationTest()
  findings[machine] = {
    ranAt: new Date().toISOString().slice(0, 10),
    killed: results.filter(({ status }) => status === "Killed").length,
    timedOut: results.filter(({ status }) => status === "Timeout").length,
    untried: results.filter(({ status }) => status === "RuntimeError" || status === "Ignored").length,
    survivors: results
      .filter(({ status }) => status === "Survived" || status === "NoCoverage")
      .map(({ fileName, location, mutatorName, replacement, status }) => {
        const file = fileName.slice(fileName.indexOf("src/core/"))
        const code = readFileSync(file, "utf8").split("\n")[location.start.line - 1]?.trim() ?? ""
        return {
          file,
          line: location.start.line,
          code,
          mutatorName,
          replacement: replacement ?? "",
          isReached: status === "Survived"
        }
      })
  }
  writeFileSync(resultsFile, `${JSON.stringify(findings, null, 2)}\n`)
}

const { text, unexplained } = page(findings, reasons)
writeFileSync(pageFile, text)
for (const { file, line, code, replacement } of unexplained) {
  console.log(`${file}:${line} survives without a reason: ${code} => ${replacement}`)
}
