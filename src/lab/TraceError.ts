/**
 * A trace that cannot be read: which file, which line, what was expected there and what is there.
 *
 * @module
 */

export class TraceError extends Error {
  readonly _tag = "TraceError"
  readonly file: string
  /** From 1; 0 = the file as a whole. */
  readonly line: number
  constructor(options: {
    readonly file: string
    readonly line: number
    readonly expected: string
    readonly found: string
  }) {
    const { file, line, expected, found } = options
    super(`${file}${line === 0 ? "" : `, line ${line}`}: expected ${expected}, found ${shown(found)}`)
    this.file = file
    this.line = line
  }
}

const shownMax = 80

/** Enough to recognise it; nothing that could move the cursor of a terminal. */
const shown = (text: string): string => {
  const plain = text.replace(/\p{Cc}/gu, "·")
  return plain === "" ? "nothing" : `"${plain.length > shownMax ? `${plain.slice(0, shownMax)}…` : plain}"`
}
