/**
 * What a command of the CLI is: a line in a table for help and parsing, and code that is loaded only when it runs, so
 * that `millrace --help` and a worker's start do not wait for what they do not use.
 *
 * @module
 */

export interface Flag {
  readonly name: string
  readonly short?: string
  /** What stands for its value in help; absent = the flag has no value. */
  readonly value?: string
  /** May be given several times. */
  readonly multiple?: boolean
  readonly about: string
}

export interface Input {
  /** Values of flags that were given, by name. */
  readonly values: Readonly<Record<string, string | boolean | ReadonlyArray<string | boolean> | undefined>>
  readonly positionals: ReadonlyArray<string>
  /** Everything after `--`. */
  readonly rest: ReadonlyArray<string>
}

export interface Command {
  /** One word, or two as in `worker wrap`. */
  readonly name: string
  /** After the name: `[dir]`, `<name>`. */
  readonly usage: string
  readonly about: string
  /** More for its own help page; lines. */
  readonly details?: ReadonlyArray<string>
  readonly flags: ReadonlyArray<Flag>
  /** One line that works as it stands. */
  readonly example: string
  readonly positionalsMax: number
  /** Takes words after `--`. */
  readonly takesRest?: boolean
  readonly load: () => Promise<{ readonly run: (input: Input) => Promise<number> }>
}

/** Exit codes: the command worked; it failed; it was called wrongly. */
export const exitCodes = { ok: 0, failure: 1, usage: 2 } as const

/** Every command takes these. */
export const commonFlags: ReadonlyArray<Flag> = [
  { name: "json", about: "print JSON" },
  { name: "help", short: "h", about: "show this page" }
]

/** Where to find the running platform. */
export const platformFlags: ReadonlyArray<Flag> = [
  {
    name: "state",
    value: "DIR",
    about: "state directory of the platform (MILLRACE_STATE; default: the nearest .millrace)"
  },
  { name: "url", value: "URL", about: "its control API (MILLRACE_CONTROL_URL)" },
  { name: "gateway", value: "URL", about: "its gateway (MILLRACE_GATEWAY_URL)" }
]

/** A failure that a person should read. `exitCode`: 1 unless the call itself was wrong. */
export class CommandFailed extends Error {
  readonly _tag = "CommandFailed"
  readonly exitCode: number
  /** A program can compare it. */
  readonly kind: string
  constructor(options: { readonly kind: string; readonly message: string; readonly exitCode?: number }) {
    super(options.message)
    this.kind = options.kind
    this.exitCode = options.exitCode ?? exitCodes.failure
  }
}

export const usageError = (message: string): CommandFailed =>
  new CommandFailed({ kind: "usage", message, exitCode: exitCodes.usage })

export const text = (input: Input, name: string): string | undefined => {
  const value = input.values[name]
  return typeof value === "string" ? value : undefined
}

export const isSet = (input: Input, name: string): boolean => input.values[name] === true

export const texts = (input: Input, name: string): ReadonlyArray<string> => {
  const value = input.values[name]
  return Array.isArray(value) ? value.filter((one) => typeof one === "string") : []
}

/** The positional that the command cannot do without. */
export const required = (input: Input, index: number, what: string): string => {
  const value = input.positionals[index]
  if (value === undefined) throw usageError(`${what} is missing`)
  return value
}
