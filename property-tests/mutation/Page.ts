/**
 * The page of what mutation found: the score of each machine, and what survives with its reason.
 *
 * @module
 */

import type { Sample } from "./Sample.ts"

export interface Survivor {
  readonly file: string
  readonly line: number
  /** From and to, as Stryker takes a place. */
  readonly at: string
  /** The whole line. */
  readonly code: string
  readonly mutatorName: string
  readonly replacement: string
  /** False: no test reaches it. */
  readonly isReached: boolean
}

/** Of one file. */
export interface Finding {
  readonly ranAt: string
  /** Of the file as it was tried. */
  readonly digest: string
  readonly killed: number
  /** Ran into a loop without an end, which is as good as killed. */
  readonly timedOut: number
  /** In none of the samples, or it could not be run. */
  readonly untried: number
  /** What was drawn by any of these; empty: all changes. */
  readonly samples: ReadonlyArray<Sample>
  /** Some of its survivors, if it has any, had a quick look alone. */
  readonly isQuick: boolean
  readonly survivors: ReadonlyArray<Survivor>
}

/** Why what is done to a line is not noticed. `to`: this replacement alone; absent = all of the line. */
export interface Reason {
  readonly file: string
  readonly code: string
  readonly to?: string
  readonly reason: string
}

export const reasonOf = (reasons: ReadonlyArray<Reason>, survivor: Survivor): string | undefined =>
  reasons.find(
    ({ file, code: line, to }) =>
      survivor.file.endsWith(file) && line === survivor.code && (to === undefined || to === survivor.replacement)
  )?.reason

const head = `# Mutation

Made by \`npm run mutate\` from what Stryker found and from \`property-tests/mutation/reasons.json\`; do not edit.

Every machine of \`src/core\` is changed in one place at a time (a comparison turned, a branch left out, a text emptied),
and its laws and examples are run until one fails. The score is the share of the changes that were noticed; one that
runs for ever counts as noticed, one that cannot even be loaded is killed. No kind of change is left out, the texts of
messages included.

Which tests count: those that import the machine itself, not those of the machines that use it; with 15 runs of a property
and one seed, and no test that takes more than a second of processor time. A change that is not noticed within four
seconds of processor time counts as not noticed.

| Command | What it does |
|---|---|
| \`npm run mutate\` | all machines, one after the other: hours |
| \`npm run mutate -- scaling src/core/buffer/Lanes.ts\` | a machine, a file |
| \`npm run mutate -- --missing\` | the files that were never tried, or changed since |
| \`npm run mutate -- scaling --survivors\` | only what survived, after a test was added; \`--unexplained\`: what has no reason |
| \`npm run mutate -- buffer --share 0.15 --seed 1\` | a random sample: each change with this chance |
| \`npm run mutate -- buffer --share 0.2 --seed 2\` | what another seed draws beyond that; \`--share 1\`: all the rest |
| \`npm run mutate -- buffer --quick\` | with 5 runs and a second for each change; \`--survivors\` then takes its time |
| \`npm run mutate -- --page\` | this page alone |

The results of each file are kept, so a run can be divided by files and goes on where it was. It ends with code 1 where a
score is below 90 %, where something survives without a reason, and where a file was not tried as it is now.
`

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ")

const code = (text: string, lengthMax: number): string => {
  const line = cell(text.replaceAll(/\s+/g, " "))
  return `\`\` ${line.length > lengthMax ? `${line.slice(0, lengthMax - 1)}…` : line} \`\``
}

/** A score below this is a failure, in percent. */
const scoreMin = 90

interface Row {
  readonly name: string
  readonly killed: number
  readonly timedOut: number
  readonly untried: number
  readonly survivors: ReadonlyArray<Survivor>
  readonly ranAt: string
  readonly files: ReadonlyArray<Finding>
}

const rowsOf = (findings: Readonly<Record<string, Finding>>): ReadonlyArray<Row> => {
  const byMachine = Map.groupBy(Object.entries(findings), ([file]) => file.split("/")[2]!)
  return [...byMachine]
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, entries]) => {
      const files = entries.map(([, finding]) => finding)
      const sum = (of: "killed" | "timedOut" | "untried") => files.reduce((total, each) => total + each[of], 0)
      return {
        name,
        killed: sum("killed"),
        timedOut: sum("timedOut"),
        untried: sum("untried"),
        survivors: files.flatMap(({ survivors }) => survivors),
        files,
        ranAt: files.map(({ ranAt }) => ranAt).reduce((one, other) => (one > other ? one : other))
      }
    })
}

/** The chance that a change was drawn by any of them. */
const shareOf = (samples: ReadonlyArray<Sample>): number =>
  samples.length === 0 ? 1 : 1 - samples.reduce((left, { share }) => left * (1 - share), 1)

/** Of all changes of a machine, from those that were tried: files that were drawn from alike say it together. */
const estimateOf = ({ files }: Row): { readonly score: number; readonly margin: number } => {
  const groups = [...Map.groupBy(files, ({ samples }) => shareOf(samples).toFixed(6)).values()].map((group) => {
    const noticed = group.reduce((total, { killed, timedOut }) => total + killed + timedOut, 0)
    const tried = group.reduce((total, { survivors }) => total + survivors.length, noticed)
    const all = group.reduce((total, { untried, samples }) => total + (samples.length === 0 ? 0 : untried), tried)
    const score = tried === 0 ? 1 : noticed / tried
    return { all, score, variance: tried === 0 ? 0 : (score * (1 - score) * (1 - tried / all)) / tried }
  })
  const all = groups.reduce((total, group) => total + group.all, 0)
  return {
    score: (100 * groups.reduce((total, group) => total + group.all * group.score, 0)) / all,
    margin: (196 * Math.sqrt(groups.reduce((total, group) => total + group.all ** 2 * group.variance, 0))) / all
  }
}

const scoreOf = (
  rows: ReadonlyArray<Row>
): { readonly noticed: number; readonly all: number; readonly score: number } => {
  const noticed = rows.reduce((total, { killed, timedOut }) => total + killed + timedOut, 0)
  const all = rows.reduce((total, { survivors }) => total + survivors.length, noticed)
  return { noticed, all, score: all === 0 ? 100 : (100 * noticed) / all }
}

/** `stale`: files that were not tried as they are now. */
export const page = (
  findings: Readonly<Record<string, Finding>>,
  reasons: ReadonlyArray<Reason>,
  stale: ReadonlyArray<string>
): { readonly text: string; readonly failures: ReadonlyArray<string> } => {
  const rows = rowsOf(findings)
  const lines = rows.map((row) => {
    const { name, killed, timedOut, survivors, untried, ranAt } = row
    const { all, score } = scoreOf([row])
    const explained = survivors.filter((each) => reasonOf(reasons, each) !== undefined).length
    return `| ${name} | ${all} | ${killed} | ${timedOut} | ${survivors.length} | ${explained} | ${untried} | ${score.toFixed(1)} % | ${ranAt} |`
  })
  const together = scoreOf(rows)
  const sections = rows
    .filter(({ survivors }) => survivors.length > 0)
    .map(({ name, survivors }) => {
      const listed = survivors.map((survivor) => {
        const { file, line, replacement, isReached } = survivor
        const reason = reasonOf(reasons, survivor) ?? (isReached ? "not looked into" : "no test reaches it")
        const place = `${file.slice("src/core/".length)}:${line}`
        return `| ${place} | ${code(survivor.code, 70)} | ${code(replacement, 50)} | ${cell(reason)} |`
      })
      return `### ${name}\n\n| where | line | changed to | why it is not noticed |\n|---|---|---|---|\n${listed.join("\n")}\n`
    })
  const drawn = rows.flatMap((row) => {
    const { name, files } = row
    const samples = new Map(files.flatMap(({ samples }) => samples).map((each) => [`${each.share}/${each.seed}`, each]))
    if (samples.size === 0) return []
    const said = [...samples.values()].map(({ share, seed }) => `with a chance of ${100 * share} % by seed ${seed}`)
    const { score, margin } = estimateOf(row)
    const wholeCount = files.filter(({ samples }) => samples.length === 0).length
    const whole = wholeCount === 0 ? "" : ` (${wholeCount} of its ${files.length} files were tried whole)`
    return [
      `\nOf ${name} a random sample was tried${whole}: each change ${said.join(", and ")}. The score of all its changes is ` +
        `${score.toFixed(1)} %, within ${margin.toFixed(1)} points (95 %).\n`
    ]
  })
  const hasty = rows
    .filter(({ files }) => files.some(({ isQuick, survivors }) => isQuick && survivors.length > 0))
    .map(({ name }) => name)
  const looked = hasty.length === 0 ? "" : `\nOnly a quick look was had at some survivors of ${hasty.join(", ")}.\n`
  const notTried =
    stale.length === 0 ? "" : `\nNot tried as they are now: ${stale.map((file) => `\`${file}\``).join(", ")}.\n`
  const text = `${head}
## Score

| machine | changes tried | killed | ran for ever | survived | of which with a reason | not tried | score | run on |
|---|---|---|---|---|---|---|---|---|
${lines.join("\n")}

Together ${together.noticed} of ${together.all}: ${together.score.toFixed(1)} %.
${drawn.join("")}${looked}${notTried}
## What survives

${sections.join("\n")}`
  const low = rows.filter((row) => scoreOf([row]).score < scoreMin).map(({ name }) => name)
  const unexplained = rows.flatMap(({ survivors }) => survivors).filter((each) => reasonOf(reasons, each) === undefined)
  return {
    text,
    failures: [
      ...low.map((name) => `${name} has a score of less than ${scoreMin} %`),
      ...(stale.length === 0 ? [] : [`not tried as they are now: ${stale.join(", ")}`]),
      ...unexplained.map(
        ({ file, at, code, replacement }) => `${file}:${at} survives without a reason: ${code} => ${replacement}`
      )
    ]
  }
}
