/**
 * Help pages, made from the table of commands.
 *
 * @module
 */
import { type Command, commonFlags, type Flag } from "./Command.ts"

const flagWords = (flag: Flag) =>
  `${flag.short === undefined ? "    " : `-${flag.short}, `}--${flag.name}${flag.value === undefined ? "" : ` ${flag.value}`}`

const columns = (rows: ReadonlyArray<readonly [string, string]>): string => {
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}\n`).join("")
}

export const overview = (commands: ReadonlyArray<Command>): string =>
  "A serverless runtime for functions that need GPUs or other slow-starting compute.\n\n" +
  "Usage: millrace <command> [flags]\n\n" +
  columns(commands.map(({ name, about }) => [name, about])) +
  "\nFor example:\n" +
  "  millrace init hello && millrace dev hello\n\n" +
  "`millrace <command> --help` says more about one. `--json` prints JSON with every command.\n"

export const page = (command: Command): string =>
  `${command.about.charAt(0).toUpperCase()}${command.about.slice(1)}.\n\nUsage: millrace ${command.name} ${command.usage}\n\n` +
  (command.details === undefined ? "" : `${command.details.join("\n")}\n\n`) +
  columns([...command.flags, ...commonFlags].map((flag) => [flagWords(flag), flag.about])) +
  `\nFor example:\n  ${command.example}\n`
