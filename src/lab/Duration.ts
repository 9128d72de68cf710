/**
 * Durations as people write them: `250ms`, `90s`, `10m`, `6h`, `14d`.
 *
 * @module
 */

const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Milliseconds; undefined: it is no duration. */
export const parse = (text: string): number | undefined => {
  const parts = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text)
  if (parts === null) return undefined
  return Number(parts[1]) * units[parts[2] ?? ""]!
}
