/**
 * How much of the processors' time the host of a virtual machine gave to others: what was measured meanwhile says little.
 *
 * @module
 */
import { readFileSync } from "node:fs"

/** By the kernel since it started, in its ticks; undefined where it does not tell. Source: proc(5), `/proc/stat`. */
const ticks = (): { readonly all: number; readonly stolen: number } | undefined => {
  try {
    const fields = readFileSync("/proc/stat", "utf8").split("\n")[0]?.trim().split(/\s+/).slice(1, 9).map(Number) ?? []
    const stolen = fields[7]
    return stolen === undefined ? undefined : { all: fields.reduce((sum, field) => sum + field, 0), stolen }
  } catch {
    return undefined
  }
}

/** Answers the share since this call, 0 to 1; undefined where nobody knows. */
export const start = (): (() => number | undefined) => {
  const before = ticks()
  return () => {
    const after = ticks()
    if (before === undefined || after === undefined || after.all === before.all) return undefined
    return (after.stolen - before.stolen) / (after.all - before.all)
  }
}
