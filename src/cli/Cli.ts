/**
 * From words to a command: finds it, reads its flags, runs it, and turns every failure into a sentence and an exit code.
 *
 * @module
 */
import { parseArgs } from "node:util"
import { type Command, CommandFailed, commonFlags, exitCodes, type Flag, type Input, usageError } from "./Command.ts"
import { commands } from "./Commands.ts"
import * as Help from "./Help.ts"

const outputFailed = (error: Error & { readonly code?: string }): void => {
  // The reader of a pipe had enough (`| head`): nothing is wrong.
  if (error.code === "EPIPE") process.exit(exitCodes.ok)
  throw error
}

/** Runs one command line; answers the exit code. */
export const main = async (words: ReadonlyArray<string>): Promise<number> => {
  if (!process.stdout.listeners("error").includes(outputFailed)) process.stdout.on("error", outputFailed)
  const json = words.slice(0, words.includes("--") ? words.indexOf("--") : undefined).includes("--json")
  try {
    return await dispatch(words)
  } catch (error) {
    return report(error, json)
  }
}

const dispatch = async (words: ReadonlyArray<string>): Promise<number> => {
  const [first, ...rest] = words
  if (first === undefined || first === "--help" || first === "-h" || (first === "help" && rest.length === 0)) {
    process.stdout.write(Help.overview(commands))
    // Without a command there was nothing to do, which a script should notice.
    return first === undefined ? exitCodes.usage : exitCodes.ok
  }
  if (first === "--version" || first === "-V" || first === "version") {
    process.stdout.write(`${await version()}\n`)
    return exitCodes.ok
  }
  if (first === "help") return help(find(rest[0] ?? ""))
  const command = find(first)
  const input = parse(command, rest)
  if (input.values["help"] === true) return help(command)
  const { run } = await command.load()
  return run(input)
}

const help = (command: Command): number => {
  process.stdout.write(Help.page(command))
  return exitCodes.ok
}

const find = (name: string): Command => {
  const command = commands.find((candidate) => candidate.name === name)
  if (command !== undefined) return command
  const near = commands.filter((candidate) => candidate.name.startsWith(name.slice(0, 3))).map((one) => one.name)
  const hint = near.length === 0 ? "`millrace --help` lists all" : `did you mean ${near.join(" or ")}?`
  throw usageError(
    name.startsWith("-")
      ? `${name} stands before a command: name the command first`
      : `there is no command ${name}: ${hint}`
  )
}

const optionOf = (flag: Flag) => ({
  type: flag.value === undefined ? ("boolean" as const) : ("string" as const),
  ...(flag.short === undefined ? {} : { short: flag.short }),
  ...(flag.multiple === true ? { multiple: true } : {})
})

const parse = (command: Command, words: ReadonlyArray<string>): Input => {
  const end = command.takesRest === true ? words.indexOf("--") : -1
  const own = end === -1 ? words : words.slice(0, end)
  const flags = [...command.flags, ...commonFlags]
  try {
    const { values, positionals } = parseArgs({
      args: [...own],
      options: Object.fromEntries(flags.map((flag) => [flag.name, optionOf(flag)])),
      allowPositionals: true,
      strict: true
    })
    if (positionals.length > command.positionalsMax) {
      throw usageError(`${positionals[command.positionalsMax]} is one word too many`)
    }
    return { values: { ...values }, positionals, rest: end === -1 ? [] : words.slice(end + 1) }
  } catch (error) {
    if (error instanceof CommandFailed) throw withHint(error, command)
    // The only thing `parseArgs` throws; its first sentence says what is wrong.
    const [message = ""] = String(error instanceof Error ? error.message : error).split(". ")
    throw withHint(usageError(`${message.charAt(0).toLowerCase()}${message.slice(1)}`), command)
  }
}

const withHint = (error: CommandFailed, command: Command) =>
  usageError(`${error.message}: \`millrace ${command.name} --help\` shows how`)

const report = (error: unknown, json: boolean): number => {
  const failed =
    error instanceof CommandFailed
      ? error
      : new CommandFailed({
          kind: "defect",
          message: error instanceof Error ? (error.stack ?? error.message) : String(error)
        })
  const { kind, message, exitCode } = failed
  process.stderr.write(json ? `${JSON.stringify({ error: { kind, message } })}\n` : `millrace: ${message}\n`)
  return exitCode
}

const version = async (): Promise<string> => {
  const { readFile } = await import("node:fs/promises")
  const content: unknown = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"))
  return typeof content === "object" && content !== null && "version" in content ? String(content.version) : "unknown"
}
