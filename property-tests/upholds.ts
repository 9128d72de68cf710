/**
 * How every law is tried: as `fc.assert` does it, but inputs that failed once (`seeds/kept.json`) come first, each failure
 * tells the command that tries it again, and what was generated is counted when somebody wants to know (`main.ts`).
 *
 * @module
 */
import { appendFileSync, readFileSync } from "node:fs"
import { basename, join } from "node:path"
import * as fc from "fast-check"
import { expect } from "vitest"
import { lawOptions } from "./LawOptions.ts"
import * as Mix from "./Mix.ts"

/** A law and an input that it failed on. The same again for the same law, as long as its generators stay as they are. */
export interface Failure {
  readonly file: string
  /** Of the test, with those of its groups. */
  readonly law: string
  /** Which of the properties of that test, from 0. */
  readonly index: number
  readonly seed: number
  readonly path: string
  readonly counterexample: string
}

export interface Report {
  readonly file: string
  readonly law: string
  readonly mix: Mix.Mix
  readonly failure: Failure | null
}

export const keptFile = join(import.meta.dirname, "seeds/kept.json")

// Written by `main.ts` alone.
const kept = JSON.parse(readFileSync(keptFile, "utf8")) as ReadonlyArray<Failure>

/** Of the present test. */
let present = ""
let calls = 0

export function upholds<Ts>(property: fc.IProperty<Ts>, parameters?: fc.Parameters<Ts>): void
export function upholds<Ts>(property: fc.IAsyncProperty<Ts>, parameters?: fc.Parameters<Ts>): Promise<void>
export function upholds<Ts>(property: fc.IRawProperty<Ts>, parameters: fc.Parameters<Ts> = {}): void | Promise<void> {
  const { testPath = "", currentTestName: law = "" } = expect.getState()
  calls = present === law ? calls + 1 : 0
  present = law
  const of = { file: basename(testPath), law, index: calls }
  const before = kept
    .filter((each) => each.file === of.file && each.law === law && each.index === of.index)
    .map(({ seed, path }) => ({ seed, path }))
  const counter = lawOptions.reports === undefined ? undefined : new Mix.Counter()
  const counted = counter === undefined ? property : counting(property, counter)
  const { seed, path } = lawOptions
  const first = seed === undefined || path === undefined ? before : [...before, { seed, path }]
  const all = [...first.map((each) => ({ ...parameters, ...each, numRuns: 1 })), wider(parameters)]
  const judge = (details: fc.RunDetails<Ts>) => verdict(of, details)
  const close = () => {
    if (counter !== undefined) report({ ...of, mix: counter.mix, failure: null })
  }
  if (property.isAsync()) {
    return all
      .reduce<Promise<void>>(
        (done, each) => done.then(async () => judge(await fc.check(counted, each))),
        Promise.resolve()
      )
      .finally(close)
  }
  try {
    // Not asynchronous, so what it gives is there.
    for (const each of all) judge(fc.check(counted, each) as fc.RunDetails<Ts>)
  } finally {
    close()
  }
}

/** Those that have a seed of their own measure what it reaches, and stay as they are. */
const wider = <Ts>(parameters: fc.Parameters<Ts>): fc.Parameters<Ts> => {
  if (parameters.seed !== undefined) return parameters
  const { factor, seed, path } = lawOptions
  const numRuns = Math.max(1, Math.round((parameters.numRuns ?? 100) * factor))
  // With a path the seed is that of one input alone.
  return { ...parameters, numRuns, ...(seed === undefined || path !== undefined ? {} : { seed }) }
}

const counting = <Ts>(property: fc.IRawProperty<Ts>, counter: Mix.Counter): fc.IRawProperty<Ts> => ({
  isAsync: () => property.isAsync(),
  generate: (random, runId) => property.generate(random, runId),
  shrink: (value) => property.shrink(value),
  runBeforeEach: () => property.runBeforeEach(),
  runAfterEach: () => property.runAfterEach(),
  run: (value) => {
    counter.add(value)
    return property.run(value)
  }
})

const verdict = <Ts>(of: Pick<Failure, "file" | "law" | "index">, details: fc.RunDetails<Ts>): void => {
  if (!details.failed) return
  const { seed, counterexamplePath, counterexample } = details
  // The way to the shrunk input depends on what ran; that to the first one that failed does not.
  const path = (counterexamplePath ?? "0").split(":")[0] ?? "0"
  const failure = { ...of, seed, path, counterexample: fc.stringify(counterexample).slice(0, 4_000) }
  report({ ...of, mix: Mix.none, failure })
  const { errorInstance } = details
  const why = errorInstance instanceof Error ? errorInstance.message : String(errorInstance)
  const message = `${why}\n${fc.defaultReportMessage(details)}\n\nTry it again: ${replayCommand(failure)}`
  throw new Error(message, { cause: errorInstance })
}

export const replayCommand = ({ file, law, seed, path }: Omit<Failure, "index" | "counterexample">): string =>
  `npm run laws -- --seed=${seed} --path ${path} --file ${file} --law ${JSON.stringify(law)}`

const report = (each: Report): void => {
  if (lawOptions.reports === undefined) return
  appendFileSync(join(lawOptions.reports, `${process.pid}.jsonl`), `${JSON.stringify(each)}\n`)
}
