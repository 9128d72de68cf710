/**
 * What a verdict is about, for whoever has to find out why.
 *
 * @module
 */
import type { Verdict } from "../history/Checker.ts"
import type { Entry, History } from "../history/History.ts"

const entriesMax = 60

/** The verdict, and every entry of its item and request, with the crashes between them. */
export const explain = (history: History, verdict: Verdict): ReadonlyArray<string> => {
  const { law, where, about, what } = verdict
  const names = new Set([about])
  // From request to item to calls and runs, and back: two rounds find all of them.
  for (let round = 0; round < 2; round++) {
    for (const entry of history) {
      const own = namesOf(entry)
      if (own.some((name) => names.has(name))) for (const name of own) names.add(name)
    }
  }
  const lines = history
    .filter((entry) => entry._tag === "Crashed" || namesOf(entry).some((name) => names.has(name)))
    .map((entry) => `    ${entry.atMs.toFixed(1)} ${JSON.stringify(entry)}`)
  const first = lines.findIndex((line) => !line.includes("Crashed"))
  const shown = lines.slice(Math.max(0, first), Math.max(0, first) + entriesMax)
  return [`${law}${where === undefined ? "" : ` (${where})`}: ${about}: ${what}`, ...shown]
}

const namesOf = (entry: Entry): ReadonlyArray<string> => {
  const names: Array<string> = []
  if ("call" in entry) names.push(entry.call)
  if ("item" in entry) names.push(entry.item)
  if ("requestId" in entry) names.push(entry.requestId)
  if ("run" in entry) names.push(entry.run)
  return names
}
