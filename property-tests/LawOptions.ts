/**
 * How the laws are tried in this run: the one place that reads it, from the variable that `main.ts` sets. Without it each
 * law is tried as often as it says, with seeds of its own.
 *
 * @module
 */
export interface LawOptions {
  /** So many times as many inputs for each law. */
  readonly factor: number
  /** Also what takes minutes: deeper enumerations. */
  readonly isThorough: boolean
  /** For all laws that have none of their own. */
  readonly seed?: number
  /** With `seed`: the one input that is tried first. */
  readonly path?: string
  /** Folder that takes what was generated and what failed, a line of JSON for each. */
  readonly reports?: string
}

export const variable = "MILLRACE_LAWS"

const given = process.env[variable]

// Written by `main.ts` alone.
export const lawOptions: LawOptions =
  given === undefined ? { factor: 1, isThorough: false } : (JSON.parse(given) as LawOptions)
