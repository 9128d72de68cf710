/**
 * What the tried laws reported, and a table of it for people.
 *
 * @module
 */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import * as Mix from "./Mix.ts"
import type { Report } from "./upholds.ts"

export const readReports = (folder: string | undefined): ReadonlyArray<Report> =>
  folder === undefined
    ? []
    : readdirSync(folder).flatMap((file) => {
        const lines = readFileSync(join(folder, file), "utf8").split("\n")
        // What follows the last end of line is being written. The others were written by `upholds`.
        return lines.slice(0, -1).map((line) => JSON.parse(line) as Report)
      })

export const total = (reports: ReadonlyArray<Report>): Mix.Mix =>
  reports.map(({ mix }) => mix).reduce(Mix.sum, Mix.none)

/** For each file how much was tried, how long the sequences were, and what happened in which share. */
export const table = (reports: ReadonlyArray<Report>): ReadonlyArray<string> => {
  const byFile = Map.groupBy(reports, ({ file }) => file)
  return [...byFile]
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .flatMap(([file, mine]) => {
      const mix = total(mine)
      const counts = `${number(mix.inputs)} inputs, ${number(mix.sequences)} of them sequences`
      const lengths =
        mix.sequences === 0 ? "" : ` of ${(mix.length / mix.sequences).toFixed(1)} on average, ${mix.longest} at most`
      return [`${file}: ${counts}${lengths}`, ...(mix.sequences === 0 ? [] : [`    ${shares(mix)}`])]
    })
}

const number = (count: number): string => count.toLocaleString("en")

const shares = ({ kinds, length }: Mix.Mix): string =>
  Object.entries(kinds)
    .toSorted(([, one], [, other]) => other - one)
    .map(([kind, count]) => `${kind} ${((100 * count) / length).toFixed(1)} %`)
    .join(", ")
