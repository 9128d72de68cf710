/**
 * The configuration of a command: its file, the environment and `--set`, or a failure that tells everything that is wrong.
 *
 * @module
 */
import { readFileSync } from "node:fs"
import * as Result from "effect/Result"
import { CommandFailed, type Input, text, texts, usageError } from "../Command.ts"
import * as Configuration from "./Configuration.ts"

const readFile = (path: string): string => {
  try {
    return readFileSync(path, "utf8")
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error)
    throw usageError(`the configuration ${path} cannot be read (${code})`)
  }
}

/** `file`: absent = the one that `--config` or `MILLRACE_CONFIG` names, if any. */
export const read = (input: Input, file?: string): ReturnType<typeof Configuration.read> => {
  const path = file ?? text(input, "config") ?? (process.env["MILLRACE_CONFIG"] || undefined)
  return Configuration.read({
    file: path === undefined ? undefined : readFile(path),
    environment: process.env,
    set: texts(input, "set")
  })
}

export const line = ({ path, problem }: Configuration.Problem): string =>
  path === "" ? problem : `${path}: ${problem}`

/** What holds; fails with every problem. */
export const load = (input: Input): Configuration.Configuration => {
  const result = read(input)
  if (Result.isSuccess(result)) return result.success
  throw new CommandFailed({
    kind: "configuration",
    message: `the configuration is not in order:\n${result.failure.map((problem) => `  ${line(problem)}`).join("\n")}`
  })
}
