/** `millrace config`. @module */
import * as Result from "effect/Result"
import { exitCodes, type Input, isSet, required, usageError } from "../Command.ts"
import * as ConfigFile from "../config/ConfigFile.ts"
import * as Output from "../Output.ts"

const check = (input: Input): number => {
  const file = required(input, 1, "the file to check")
  const result = ConfigFile.read(input, file)
  const problems = Result.isFailure(result) ? result.failure : []
  if (isSet(input, "json")) Output.json({ problems })
  else if (problems.length === 0) Output.line(`${file} is in order`)
  else for (const problem of problems) Output.line(ConfigFile.line(problem))
  return problems.length === 0 ? exitCodes.ok : exitCodes.failure
}

const show = (input: Input): number => {
  const held = ConfigFile.load(input).held.map(({ path, value, source, isSecret }) => {
    const isGiven = value !== undefined && !(Array.isArray(value) && value.length === 0)
    return { setting: path, value: isSecret && isGiven ? "(hidden)" : (value ?? null), source }
  })
  if (isSet(input, "json")) Output.json(held)
  else {
    const rows = held.map(({ setting, value, source }) => [setting, JSON.stringify(value), source])
    Output.table(["setting", "value", "from"], rows)
  }
  return exitCodes.ok
}

export const run = async (input: Input): Promise<number> => {
  const [action] = input.positionals
  if (action === "check") return check(input)
  if (action === "show" && input.positionals.length === 1) return show(input)
  throw usageError("say `millrace config check FILE` or `millrace config show --config FILE`")
}
