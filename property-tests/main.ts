/**
 * `npm run laws`: tries the laws, and tells what was generated for each file.
 *
 *     npm run laws -- --thorough                         at least 100,000 sequences
 *     npm run laws -- --factor 20 --file Lease           twenty times what `npm test` tries, of one file
 *     npm run laws -- --seed=S --path P --file F --law L one input, and then that law
 *
 * Inputs that fail are kept in `seeds/kept.json` and tried first from then on, by `npm test` as well. Ends with code 1 when
 * a law failed, or when a thorough run did not try as much as it should.
 *
 * @module
 */
import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { parseArgs } from "node:util"
import { type LawOptions, variable } from "./LawOptions.ts"
import { readReports, table, total } from "./LawReports.ts"
import type { Failure, Report } from "./upholds.ts"

/** What a thorough run tries at least. */
const thoroughSequences = 100_000
/** So many times what `npm test` tries. */
const thoroughFactor = 4
/** More failures of one law say no more than these. */
const keptMax = 200

const usage = `npm run laws -- [--thorough | --factor N] [--file NAME] [--law NAME] [--seed=N [--path P]]`

const { values } = parseArgs({
  options: {
    thorough: { type: "boolean", default: false },
    factor: { type: "string" },
    seed: { type: "string" },
    path: { type: "string" },
    file: { type: "string" },
    law: { type: "string" },
    help: { type: "boolean", short: "h", default: false }
  }
})

const factor = Number(values.factor ?? (values.thorough ? thoroughFactor : 1))
const seed = values.seed === undefined ? undefined : Number(values.seed)
const isPath = values.path === undefined || (/^\d+(:\d+)*$/.test(values.path) && seed !== undefined)

const help = `${usage}

Tries the laws of Millrace, and tells what was generated for each file.

  --thorough   at least ${thoroughSequences.toLocaleString("en")} sequences
  --factor N   so many times what \`npm test\` tries; 1 at least
  --file NAME  only files with this in their name
  --law NAME   only laws with this in their name
  --seed=N     the seed of every law
  --path P     with a seed: that one input, and then the law

Inputs that fail are kept in property-tests/seeds/kept.json and tried first from then on.
Ends with code 1 when a law failed, or when a thorough run did not try as much as it should.
`

// Less would not reach the hard cases that some laws count.
if (values.help) {
  process.stdout.write(help)
} else if (!(factor >= 1) || (seed !== undefined && !Number.isInteger(seed)) || !isPath) {
  process.stderr.write(`${usage}\n`)
  process.exitCode = 1
} else {
  process.exitCode = await run()
}

async function run(): Promise<number> {
  const reports = mkdtempSync(join(tmpdir(), "millrace-laws-"))
  const startedMs = performance.now()
  try {
    const options: LawOptions = {
      factor,
      isThorough: values.thorough,
      reports,
      ...(seed === undefined ? {} : { seed }),
      ...(values.path === undefined ? {} : { path: values.path })
    }
    const code = await vitest(options)
    const all = readReports(reports)
    for (const line of table(all)) process.stdout.write(`${line}\n`)
    const { inputs, sequences } = total(all)
    const seconds = Math.round((performance.now() - startedMs) / 1_000)
    const counts = [inputs, sequences].map((count) => count.toLocaleString("en"))
    process.stdout.write(`${counts[0]} inputs in ${seconds} s, ${counts[1]} of them sequences\n`)
    keep(all)
    if (inputs === 0) process.stderr.write("no law was tried: is there one of this name?\n")
    const isShort = values.thorough && sequences < thoroughSequences
    if (isShort)
      process.stderr.write(`fewer than the ${thoroughSequences.toLocaleString("en")} sequences of a thorough run\n`)
    return code !== 0 || isShort || inputs === 0 ? 1 : 0
  } finally {
    rmSync(reports, { recursive: true })
  }
}

function vitest(options: LawOptions): Promise<number> {
  const require = createRequire(import.meta.url)
  const program = join(dirname(require.resolve("vitest/package.json")), "vitest.mjs")
  const root = join(import.meta.dirname, "..")
  const words = ["run", `property-tests/${values.file ?? ""}`, "--root", root, "--silent", "--testTimeout", "3600000"]
  const reporter = ["--reporter", join(import.meta.dirname, "LawProgress.ts")]
  const law = values.law === undefined ? [] : ["--testNamePattern", escaped(values.law)]
  const child = spawn(process.execPath, [program, ...words, ...reporter, ...law], {
    env: { ...process.env, [variable]: JSON.stringify(options) },
    stdio: ["ignore", "ignore", "inherit"]
  })
  return new Promise((resolve, reject) => {
    child.once("error", reject)
    child.once("exit", (code) => resolve(code ?? 1))
  })
}

/** A name is no pattern. Between the names of groups it stands for " > " and for " ". */
function escaped(law: string): string {
  return law.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replaceAll(" > ", " (?:> )?")
}

function keep(reports: ReadonlyArray<Report>): void {
  const file = join(import.meta.dirname, "seeds/kept.json")
  const failures = reports.flatMap(({ failure }) => failure ?? [])
  if (failures.length === 0) return
  // Written by this program alone.
  const before = JSON.parse(readFileSync(file, "utf8")) as ReadonlyArray<Failure>
  const all = new Map(
    [...before, ...failures].map((each) => [[each.file, each.law, each.seed, each.path].join(), each])
  )
  writeFileSync(file, `${JSON.stringify([...all.values()].slice(0, keptMax), null, 2)}\n`)
  process.stdout.write(`${failures.length} failing inputs are kept in property-tests/seeds/kept.json\n`)
}
