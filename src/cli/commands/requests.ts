/** `millrace requests`. @module */
import type { RequestView } from "../../planes/invocation/RequestDirectory.ts"
import { printBody, printJson } from "../Answer.ts"
import { CommandFailed, exitCodes, type Input, isSet, required, text, usageError } from "../Command.ts"
import * as Output from "../Output.ts"
import * as Platform from "../RunningPlatform.ts"

const listedDefault = "20"

const row = (request: RequestView): ReadonlyArray<string> => [
  request.requestId,
  request.functionName,
  request.state,
  `${request.attempt}/${request.maxAttempts}`,
  request.position === null ? "-" : String(request.position),
  Output.ago(request.arrivedAtMs),
  request.cause
]

const list = async (platform: Platform.RunningPlatform, input: Input) => {
  const query = new URLSearchParams({ limit: text(input, "limit") ?? listedDefault })
  for (const filter of ["function", "state"]) {
    const value = text(input, filter)
    if (value !== undefined) query.set(filter, value)
  }
  const { items } = await Platform.api<{ readonly items: ReadonlyArray<RequestView> }>(
    platform,
    "GET",
    `/v1/requests?${query}`
  )
  if (isSet(input, "json")) Output.json(items)
  else if (items.length === 0) Output.line("no requests")
  else Output.table(["request", "function", "state", "attempt", "before it", "arrived", "why"], items.map(row))
}

const show = async (platform: Platform.RunningPlatform, input: Input, id: string) => {
  const request = await Platform.api<RequestView>(platform, "GET", `/v1/requests/${encodeURIComponent(id)}`)
  if (isSet(input, "json")) return Output.json(request)
  const rows: ReadonlyArray<readonly [string, string]> = [
    ["request", request.requestId],
    ["function", `${request.functionName}, version ${request.versionId}`],
    ["call", `${request.method} ${request.path} (${request.mode})`],
    ["state", `${request.state}: ${request.cause}`],
    ["attempt", `${request.attempt} of ${request.maxAttempts}`],
    ["arrived", Output.ago(request.arrivedAtMs)],
    ["instance", request.instanceId ?? "none"],
    ["stored", request.stored ? "yes" : "no"],
    ["result", request.resultKept ? `kept: millrace requests result ${request.requestId}` : "not kept"]
  ]
  for (const [name, value] of rows) Output.line(`${name.padEnd(9)} ${Output.plain(value)}`)
}

const cancel = async (platform: Platform.RunningPlatform, input: Input, id: string) => {
  await Platform.api(platform, "DELETE", `/v1/requests/${encodeURIComponent(id)}`)
  if (isSet(input, "json")) Output.json({ requestId: id, cancelled: true })
  else Output.line(`cancelled ${Output.plain(id)}`)
}

const result = async (platform: Platform.RunningPlatform, input: Input, id: string) => {
  const url = `${platform.gateway}/requests/${encodeURIComponent(id)}/result`
  const answer = await Platform.send(platform, { method: "GET", url })
  const status = answer.statusCode ?? 0
  if (status === 202) {
    answer.resume()
    throw new CommandFailed({
      kind: "not-ready",
      message: `request ${id} has no result yet: \`millrace explain ${id}\``
    })
  }
  await (isSet(input, "json") ? printJson : printBody)(answer)
  return status < 400 ? exitCodes.ok : exitCodes.failure
}

export const run = async (input: Input): Promise<number> => {
  const [what = "list"] = input.positionals
  const platform = Platform.find(input)
  if (what === "list") {
    await list(platform, input)
    return exitCodes.ok
  }
  if (what !== "show" && what !== "cancel" && what !== "result") {
    throw usageError(`requests ${what} does not exist: it is list, show, result or cancel`)
  }
  const id = required(input, 1, "the request id")
  if (what === "result") return result(platform, input, id)
  await (what === "show" ? show : cancel)(platform, input, id)
  return exitCodes.ok
}
