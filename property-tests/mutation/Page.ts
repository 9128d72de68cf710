/**
 * The page of what mutation found: the score of each machine, and what survives with its reason.
 *
 * @module
 */

export interface Survivor {
  readonly file: string
  readonly line: number
  /** The whole line. */
  readonly code: string
  readonly mutatorName: string
  readonly replacement: string
  /** False: no test reaches it. */
  readonly isReached: boolean
}

export interface Finding {
  readonly ranAt: string
  readonly killed: number
  /** Ran into a loop without an end, which is as good as killed. */
  readonly timedOut: number
  /** Not run, or it could not be. */
  readonly untried: number
  readonly survivors: ReadonlyArray<Survivor>
}

/** Why what is done to a line is not noticed. `to`: this replacement alone; absent = all of the line. */
export interface Reason {
  readonly file: string
  readonly code: string
  readonly to?: string
  readonly reason: string
}

const head = `# Mutation

Made by \`npm run mutate\` from what Stryker found and from \`property-tests/mutation/reasons.json\`; do not edit.

Every machine of \`src/core\` is changed in one place at a time (a comparison turned, a branch left out, a text emptied),
and its laws and examples are run until one fails. The score is the share of the changes that were noticed; one that
runs for ever counts as noticed, one that cannot even be loaded is killed. Which tests count: those that import the
machine itself, not those of the machines that use it, with 15 runs of a property and one seed. No kind of change is
left out, the texts of messages included.
`

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ")

const code = (text: string, lengthMax: number): string => {
  const line = cell(text.replaceAll(/\s+/g, " "))
  return `\`\` ${line.length > lengthMax ? `${line.slice(0, lengthMax - 1)}…` : line} \`\``
}

export const page = (
  findings: Readonly<Record<string, Finding>>,
  reasons: ReadonlyArray<Reason>
): { readonly text: string; readonly unexplained: ReadonlyArray<Survivor> } => {
  const reasonOf = (survivor: Survivor): string | undefined =>
    reasons.find(
      ({ file, code: line, to }) =>
        survivor.file.endsWith(file) && line === survivor.code && (to === undefined || to === survivor.replacement)
    )?.reason
  const names = Object.keys(findings).sort()
  const rows = names.map((name) => {
    const { ranAt, killed, timedOut, untried, survivors } = findings[name]!
    const noticed = killed + timedOut
    const all = noticed + survivors.length
    const explained = survivors.filter((each) => reasonOf(each) !== undefined).length
    const score = all === 0 ? "-" : ((100 * noticed) / all).toFixed(1)
    return `| ${name} | ${all} | ${killed} | ${timedOut} | ${survivors.length} | ${explained} | ${untried} | ${score} % | ${ranAt} |`
  })
  const total = Object.values(findings)
  const noticed = total.reduce((sum, { killed, timedOut }) => sum + killed + timedOut, 0)
  const all = total.reduce((sum, { survivors }) => sum + survivors.length, noticed)
  const sections = names
    .filter((name) => findings[name]!.survivors.length > 0)
    .map((name) => {
      const lines = findings[name]!.survivors.map((survivor) => {
        const { file, line, replacement, isReached } = survivor
        const reason = reasonOf(survivor) ?? (isReached ? "not looked into" : "no test reaches it")
        const place = `${file.slice("src/core/".length)}:${line}`
        return `| ${place} | ${code(survivor.code, 70)} | ${code(replacement, 50)} | ${cell(reason)} |`
      })
      return `### ${name}\n\n| where | line | changed to | why it is not noticed |\n|---|---|---|---|\n${lines.join("\n")}\n`
    })
  const text = `${head}
## Score

| machine | changes tried | killed | ran for ever | survived | of which with a reason | not tried | score | run on |
|---|---|---|---|---|---|---|---|---|
${rows.join("\n")}

Together ${noticed} of ${all}: ${((100 * noticed) / all).toFixed(1)} %.

## What survives

${sections.join("\n")}`
  const unexplained = total.flatMap(({ survivors }) => survivors).filter((each) => reasonOf(each) === undefined)
  return { text, unexplained }
}
