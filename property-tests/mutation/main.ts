/**
 * `npm run mutate [-- MACHINE | FILE ...]`: Stryker over machines of the core or files of them (all machines where none is
 * named), and the page `docs/mutation.md` of what was found. What is found is kept for each file, so that a long run can be
 * divided:
 *
 *     npm run mutate -- scaling                  one machine
 *     npm run mutate -- src/core/lease/Lease.ts  one file
 *     npm run mutate -- scaling --missing        the files that were never run, or changed since
 *     npm run mutate -- scaling --survivors      only what survived in files that did not change since
 *     npm run mutate -- scaling --unexplained    of these only what has no reason
 *     npm run mutate -- scaling --share 0.2      each change with a chance of 20 %; `--seed N` draws others, which are
 *                                                added to what was drawn before, and `--share 1` adds all the rest
 *     npm run mutate -- scaling --quick          with less patience; `--survivors` tries again what is not noticed
 *     npm run mutate -- --page                   the page alone
 *
 * Ends with code 1 where a score is less than 90 %, or something survives without a reason.
 *
 * @module
 */
import { createHash } from "node:crypto"
import { existsSync, globSync, readFileSync, writeFileSync } from "node:fs"
import { parseArgs } from "node:util"
import type { MutantResult } from "@stryker-mutator/api/core"
import { Stryker } from "@stryker-mutator/core"
import { type Finding, page, type Reason, reasonOf, type Survivor } from "./Page.ts"
import { isDrawn, type Sample } from "./Sample.ts"

const resultsFile = "property-tests/mutation/results.json"
const reasonsFile = "property-tests/mutation/reasons.json"
const pageFile = "docs/mutation.md"

/** The patience of a quick look. */
const quick = { runsMax: 5, mutantMsMax: 1_000 }

type Findings = Readonly<Record<string, Finding>>

// Both files are written by hand or by this program, and a test would not start without them.
const before = JSON.parse(readFileSync(resultsFile, "utf8")) as Findings
const { inProcess } = JSON.parse(readFileSync("stryker.config.json", "utf8")) as { readonly inProcess: object }
const reasons = JSON.parse(readFileSync(reasonsFile, "utf8")) as ReadonlyArray<Reason>

const sources = globSync("src/core/*/*.ts")
  .filter((file) => !file.endsWith(".test.ts"))
  .sort()
const digestOf = (file: string): string => createHash("sha256").update(readFileSync(file)).digest("hex").slice(0, 16)
const digests = new Map(sources.map((file) => [file, digestOf(file)]))
const isCurrent = (file: string): boolean => before[file]?.digest === digests.get(file)

const { values, positionals: words } = parseArgs({
  allowPositionals: true,
  options: {
    missing: { type: "boolean", default: false },
    survivors: { type: "boolean", default: false },
    unexplained: { type: "boolean", default: false },
    page: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    share: { type: "string" },
    seed: { type: "string", default: "1" },
    help: { type: "boolean", short: "h", default: false }
  }
})
if (values.help) {
  process.stdout.write(`npm run mutate [-- MACHINE | FILE ...] [OPTIONS]

Changes the machines of src/core in one place at a time, and writes what no test notices to ${pageFile}.

  --missing      only files that were never tried, or changed since
  --survivors    only what survived, in files that did not change since
  --unexplained  of these only what has no reason in ${reasonsFile}
  --share N      each change with this chance, above 0 and at most 1; added to what was drawn before, 1 adds the rest
  --seed N       draws other changes for --share
  --quick        with less patience
  --page         tries nothing: the page alone

Ends with code 1 where a score is below 90 %, something survives without a reason, or a file was not tried as it is.
`)
  process.exit(0)
}
const sample: Sample | null =
  values.share === undefined ? null : { share: Number(values.share), seed: Number(values.seed) }
if (sample !== null && !(sample.share > 0 && sample.share <= 1 && Number.isInteger(sample.seed))) {
  console.error("--share is above 0 and at most 1, --seed a whole number")
  process.exit(2)
}
const filesOf = (word: string): ReadonlyArray<string> =>
  sources.filter((file) => file === word || file.startsWith(`src/core/${word}/`))
const unknown = words.filter((word) => filesOf(word).length === 0)
if (unknown.length > 0) {
  console.error(`neither machine nor file of src/core: ${unknown.join(", ")}`)
  process.exit(2)
}

const named = words.length === 0 ? sources : words.flatMap(filesOf)
const isOfSurvivors = values.survivors || values.unexplained
const survivorsOf = (file: string): ReadonlyArray<Survivor> =>
  before[file]!.survivors.filter((each) => !values.unexplained || reasonOf(reasons, each) === undefined)
const formerSamples = (file: string): ReadonlyArray<Sample> =>
  sample === null || !isCurrent(file) ? [] : before[file]!.samples
const asked = values.page
  ? []
  : isOfSurvivors
    ? named.filter((file) => isCurrent(file) && survivorsOf(file).length > 0)
    : values.missing
      ? named.filter((file) => !isCurrent(file))
      : // What was tried whole needs no sample.
        named.filter((file) => sample === null || !isCurrent(file) || formerSamples(file).length > 0)
const machineOf = (file: string): string => file.split("/")[2]!

// What is no longer there says nothing.
let findings: Findings = Object.fromEntries(Object.entries(before).filter(([file]) => existsSync(file)))
// A file at a time, so that what was done stays when a run is broken off; survivors and samples are few.
const portionOf = (file: string): string =>
  isOfSurvivors || sample !== null ? `${machineOf(file)} ${JSON.stringify(formerSamples(file))}` : file
for (const files of Map.groupBy(asked, portionOf).values()) {
  const [first] = files
  const machine = machineOf(first!)
  const places = isOfSurvivors
    ? files.flatMap((file) => [...new Set(survivorsOf(file).map(({ at }) => `${file}:${rangeOf(at)}`))])
    : files
  const drawn = sample === null ? {} : { sample, formerSamples: formerSamples(first!) }
  const results = await new Stryker({
    mutate: [...places],
    inProcess: { ...inProcess, ...(values.quick ? quick : {}), ...drawn },
    tempDirName: `.stryker/sandbox-${machine}`
  }).runMutationTest()
  const byFile = Map.groupBy(results, ({ fileName }) => fileName.slice(fileName.indexOf("src/core/")))
  const found = files.map((file) => {
    const tried = (byFile.get(file) ?? []).filter((each) => each.status !== "NoCoverage" || isAsked(file, each))
    const here = findingOf(file, tried, byFile.get(file)?.length ?? 0)
    if (isOfSurvivors) return [file, narrowed(before[file]!, here, tried)] as const
    return [file, formerSamples(file).length > 0 ? added(before[file]!, here) : here] as const
  })
  findings = { ...findings, ...Object.fromEntries(found) }
  writeFileSync(resultsFile, `${JSON.stringify(sorted(findings), null, 2)}\n`)
}

const { text, failures } = page(
  findings,
  reasons,
  sources.filter((file) => findings[file]?.digest !== digests.get(file))
)
writeFileSync(pageFile, text)
for (const failure of failures) console.error(failure)
process.exitCode = failures.length > 0 ? 1 : 0

/** Of what no test reaches Stryker does not ask the runner. */
function isAsked(file: string, { location, mutatorName, replacement, fileName }: MutantResult): boolean {
  if (sample === null) return true
  const fromZero = ({ line, column }: MutantResult["location"]["start"]) => ({ line: line - 1, column: column - 1 })
  const place = { start: fromZero(location.start), end: fromZero(location.end) }
  const change = { location: place, mutatorName, replacement: replacement ?? "", fileName }
  return isDrawn(sample, change) && !formerSamples(file).some((former) => isDrawn(former, change))
}

function findingOf(file: string, results: ReadonlyArray<MutantResult>, changeCount: number): Finding {
  const lines = readFileSync(file, "utf8").split("\n")
  const having = (...statuses: ReadonlyArray<string>) => results.filter(({ status }) => statuses.includes(status))
  return {
    ranAt: new Date().toISOString().slice(0, 10),
    digest: digests.get(file)!,
    killed: having("Killed").length,
    timedOut: having("Timeout").length,
    untried: changeCount - having("Killed", "Timeout", "Survived", "NoCoverage").length,
    samples: sample === null || sample.share === 1 ? [] : [sample],
    isQuick: values.quick,
    survivors: having("Survived", "NoCoverage").map(
      ({ location, mutatorName, replacement, status }): Survivor => ({
        file,
        line: location.start.line,
        at: placeOf(location),
        code: lines[location.start.line - 1]?.trim() ?? "",
        mutatorName,
        replacement: replacement ?? "",
        isReached: status === "Survived"
      })
    )
  }
}

/** After only the places of survivors were tried again: what was tried and is not among them now is killed. */
function narrowed(old: Finding, now: Finding, results: ReadonlyArray<MutantResult>): Finding {
  const key = ({ at, mutatorName, replacement }: Omit<Survivor, "file" | "line" | "code" | "isReached">): string =>
    [at, mutatorName, replacement].join()
  const tried = new Set(
    results.map(({ location, mutatorName, replacement }) =>
      key({ at: placeOf(location), mutatorName, replacement: replacement ?? "" })
    )
  )
  const still = new Set(now.survivors.map(key))
  const survivors = old.survivors.filter((each) => !tried.has(key(each)) || still.has(key(each)))
  const killed = old.killed + old.survivors.length - survivors.length
  const isAll = old.survivors.every((each) => tried.has(key(each)))
  return { ...old, ranAt: now.ranAt, killed, survivors, isQuick: isAll ? now.isQuick : old.isQuick || now.isQuick }
}

/** With what another sample drew beyond the former ones. */
function added(old: Finding, now: Finding): Finding {
  return {
    ...now,
    killed: old.killed + now.killed,
    timedOut: old.timedOut + now.timedOut,
    untried: now.untried - old.killed - old.timedOut - old.survivors.length,
    samples: now.samples.length === 0 ? [] : [...old.samples, ...now.samples],
    isQuick: old.isQuick || now.isQuick,
    survivors: [...old.survivors, ...now.survivors]
  }
}

/** Stryker counts columns from 1 in what it reports, and from 0 in what it is to try. */
function rangeOf(at: string): string {
  return at.replaceAll(/:(\d+)/g, (_, column) => `:${Number(column) - 1}`)
}

function placeOf({ start, end }: MutantResult["location"]): string {
  return `${start.line}:${start.column}-${end.line}:${end.column}`
}

function sorted(all: Findings): Findings {
  return Object.fromEntries(Object.entries(all).toSorted(([one], [other]) => (one < other ? -1 : 1)))
}
