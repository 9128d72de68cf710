/**
 * Fields of one line of a CSV without quotes, each refused with a sentence when it is not what it should be.
 *
 * @module
 */
import { TraceError } from "./TraceError.ts"

export interface Line {
  readonly file: string
  /** From 1. */
  readonly line: number
  readonly text: string
}

/** Lines that are not empty, with their numbers. The first `skip` are left out. */
export function* lines(file: string, all: ReadonlyArray<string>, skip: number): Generator<Line> {
  for (let index = skip; index < all.length; index++) {
    const text = all[index]!.trim()
    if (text !== "") yield { file, line: index + 1, text }
  }
}

export const wrong = ({ file, line, text }: Line, expected: string): TraceError =>
  new TraceError({ file, line, expected, found: text })

/** The fields of a line that has as many as `names` says. */
export const fields = (line: Line, names: ReadonlyArray<string>): ReadonlyArray<string> => {
  const found = line.text.split(",").map((field) => field.trim())
  if (found.length !== names.length) {
    throw wrong(line, `${names.length} fields (${names.join(", ")})`)
  }
  return found
}

/** A finite number that is not below `least`. */
export const number = (line: Line, name: string, text: string | undefined, least = 0): number => {
  const value = text === undefined || text === "" ? Number.NaN : Number(text)
  if (Number.isFinite(value) && value >= least) return value
  throw new TraceError({ ...line, expected: `${name} to be a number from ${least} on`, found: text ?? "" })
}
