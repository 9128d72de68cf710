/**
 * Which changes a random sample has.
 *
 * @module
 */
import { createHash } from "node:crypto"
import type { Mutant } from "@stryker-mutator/api/core"

/** Of all changes, those that were drawn: each with this chance. */
export interface Sample {
  readonly share: number
  readonly seed: number
}

/** As Stryker has it while it runs: lines and columns from 0. */
export type Change = Pick<Mutant, "location" | "mutatorName" | "replacement" | "fileName">

/** Each mutant by itself, by what it is and the seed: the same ones in every run. */
export const isDrawn = ({ share, seed }: Sample, { location, mutatorName, replacement, fileName }: Change): boolean => {
  const { start, end } = location
  const place = [start.line, start.column, end.line, end.column].join()
  const name = [seed, fileName.slice(fileName.indexOf("src/core/")), place, mutatorName, replacement].join("/")
  return createHash("sha256").update(name).digest().readUInt32BE(0) < share * 2 ** 32
}
