/** `millrace dead-letters`. @module */
import type { DeadLetterContent } from "../../planes/invocation/DeadLetterDirectory.ts"
import type { DeadLetter, Replay } from "../../planes/invocation/DeadLetters.ts"
import { exitCodes, type Input, isSet, required, text, usageError } from "../Command.ts"
import * as Output from "../Output.ts"
import * as Platform from "../RunningPlatform.ts"

const listedDefault = "20"

const row = (letter: DeadLetter): ReadonlyArray<string> => [
  letter.requestId,
  letter.functionName,
  `${letter.attempts}/${letter.maxAttempts}`,
  Output.ago(letter.deadAtMs),
  letter.replay === null ? "-" : letter.replay.requestId,
  letter.message ?? letter.reason
]

const list = async (platform: Platform.RunningPlatform, input: Input) => {
  const query = new URLSearchParams({ limit: text(input, "limit") ?? listedDefault })
  for (const filter of ["function", "after"]) {
    const value = text(input, filter)
    if (value !== undefined) query.set(filter, value)
  }
  if (isSet(input, "open")) query.set("replayed", "false")
  const page = await Platform.api<{ readonly items: ReadonlyArray<DeadLetter>; readonly next: string | null }>(
    platform,
    "GET",
    `/v1/dead-letters?${query}`
  )
  if (isSet(input, "json")) return Output.json(page)
  if (page.items.length === 0) return Output.line("no dead letters")
  Output.table(["request", "function", "attempts", "died", "replayed as", "why"], page.items.map(row))
  if (page.next !== null) Output.line(`more: millrace dead-letters list --after ${page.next}`)
}

const show = async (platform: Platform.RunningPlatform, input: Input, id: string) => {
  const letter = await Platform.api<DeadLetterContent>(platform, "GET", `/v1/dead-letters/${encodeURIComponent(id)}`)
  if (isSet(input, "json")) return Output.json(letter)
  const { replay, body } = letter
  const rows: ReadonlyArray<readonly [string, string]> = [
    ["request", letter.requestId],
    ["function", `${letter.functionName}, version ${letter.versionId}`],
    ["call", `${letter.method} ${letter.path} (${letter.mode})`],
    ["why", `${letter.reason}${letter.message === null ? "" : `: ${letter.message}`}`],
    ["attempts", `${letter.attempts} of ${letter.maxAttempts}`],
    ["died", Output.ago(letter.deadAtMs)],
    ["kept till", new Date(letter.keepUntilMs).toISOString()],
    ["replayed", replay === null ? "no" : `${Output.ago(replay.atMs)}, as request ${replay.requestId}`],
    ["body", letter.bodyKept ? `${letter.bodyBytes} bytes` : "never came whole"]
  ]
  for (const [name, value] of rows) Output.line(`${name.padEnd(9)} ${Output.plain(value)}`)
  for (const [name, value] of letter.headers) Output.line(`  ${Output.plain(name)}: ${Output.plain(value)}`)
  for (const { atMs, what } of letter.history) Output.line(`${new Date(atMs).toISOString()}  ${Output.plain(what)}`)
  if (body?.encoding === "utf8" && body.content !== "") Output.line(Output.plain(body.content))
}

const replay = async (platform: Platform.RunningPlatform, input: Input, id: string) => {
  const version = text(input, "version")
  const query = version === undefined ? "" : `?versionId=${encodeURIComponent(version)}`
  const path = `/v1/dead-letters/${encodeURIComponent(id)}/replay${query}`
  const made = await Platform.api<Replay & { readonly isNew: boolean }>(platform, "POST", path)
  if (isSet(input, "json")) return Output.json({ deadLetter: id, ...made })
  const what = made.isNew ? "replayed" : "replayed before, nothing runs again:"
  Output.line(`${what} as ${made.requestId}: millrace requests result ${made.requestId}`)
}

const drop = async (platform: Platform.RunningPlatform, input: Input, id: string) => {
  await Platform.api(platform, "DELETE", `/v1/dead-letters/${encodeURIComponent(id)}`)
  if (isSet(input, "json")) Output.json({ deadLetter: id, dropped: true })
  else Output.line(`dropped ${Output.plain(id)}`)
}

const actions = { show, replay, drop }

const isAction = (what: string): what is keyof typeof actions => Object.hasOwn(actions, what)

export const run = async (input: Input): Promise<number> => {
  const [what = "list"] = input.positionals
  const platform = Platform.find(input)
  if (what === "list") await list(platform, input)
  else if (isAction(what)) await actions[what](platform, input, required(input, 1, "the request id"))
  else throw usageError(`dead-letters ${what} does not exist: it is list, show, replay or drop`)
  return exitCodes.ok
}
