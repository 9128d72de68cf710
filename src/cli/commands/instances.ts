/** `millrace instances`. @module */
import type { InstanceReport } from "../../planes/compute/AgentMessage.ts"
import { exitCodes, type Input, isSet } from "../Command.ts"
import * as Output from "../Output.ts"
import * as Platform from "../RunningPlatform.ts"

const since = (one: InstanceReport) => one.endedAtMs ?? one.readyAtMs ?? one.startedAtMs ?? one.requestedAtMs

const row = (one: InstanceReport): ReadonlyArray<string> => [
  one.instanceId,
  one.state,
  one.phase,
  one.cluster,
  one.pid === null ? "-" : String(one.pid),
  Output.ago(since(one)),
  one.detail.split("\n", 1)[0] ?? ""
]

export const run = async (input: Input): Promise<number> => {
  const platform = Platform.find(input)
  const [name] = input.positionals
  const query = name === undefined ? "" : `?${new URLSearchParams({ function: name })}`
  const { items } = await Platform.api<{ readonly items: ReadonlyArray<InstanceReport> }>(
    platform,
    "GET",
    `/v1/instances${query}`
  )
  const shown = items.filter(({ endedAtMs }) => endedAtMs === null || isSet(input, "all"))
  if (isSet(input, "json")) Output.json(shown)
  else if (shown.length === 0) Output.line("no instances: a request wakes them")
  else Output.table(["instance", "state", "phase", "cluster", "pid", "since", "detail"], shown.map(row))
  return exitCodes.ok
}
