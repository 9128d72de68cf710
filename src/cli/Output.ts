/**
 * What commands print: tables for people, JSON for programs.
 *
 * @module
 */

export const line = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

export const json = (value: unknown): void => line(JSON.stringify(value, null, 2))

/** Names and paths come from callers: what could move the cursor or colour the terminal is shown as it is. */
export const plain = (value: string): string =>
  value.replace(/\p{Cc}/gu, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`)

/** Columns as wide as needed, the last one as it is. */
export const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): void => {
  const cells = [head.map((title) => title.toUpperCase()), ...rows.map((row) => row.map(plain))]
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)))
  for (const row of cells) {
    line(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd()
    )
  }
}

/** `842 ms`, `3.2 s`, `5 min`, `2 h`, `4 d`. */
export const duration = (ms: number): string => {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`
  return ms < 86_400_000 ? `${Math.round(ms / 3_600_000)} h` : `${Math.round(ms / 86_400_000)} d`
}

export const ago = (atMs: number): string => `${duration(Math.max(0, Date.now() - atMs))} ago`
