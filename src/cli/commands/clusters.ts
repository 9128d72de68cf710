/** `millrace clusters`. @module */
import type { ClusterView } from "../../planes/control/ControlView.ts"
import { exitCodes, type Input, isSet, required, usageError } from "../Command.ts"
import * as Output from "../Output.ts"
import * as Platform from "../RunningPlatform.ts"

const stateOf = ({ state, draining, cordoned }: ClusterView): string =>
  [state, ...(draining ? ["draining"] : cordoned ? ["cordoned"] : [])].join(", ")

const row = (cluster: ClusterView): ReadonlyArray<string> => [
  cluster.name,
  cluster.region,
  stateOf(cluster),
  cluster.backend,
  cluster.instanceTypes.map(({ name, free, total }) => `${name} ${free}/${total}`).join(", "),
  Output.ago(cluster.lastHeardAtMs)
]

export const run = async (input: Input): Promise<number> => {
  const [action = "list"] = input.positionals
  const platform = Platform.find(input)
  if (action === "list") {
    const { items } = await Platform.api<{ readonly items: ReadonlyArray<ClusterView> }>(
      platform,
      "GET",
      "/v1/clusters"
    )
    if (isSet(input, "json")) Output.json(items)
    else if (items.length === 0) Output.line("no clusters: start one with `millrace serve agent`")
    else Output.table(["cluster", "region", "state", "backend", "free", "heard"], items.map(row))
    return exitCodes.ok
  }
  if (!["cordon", "drain", "uncordon"].includes(action)) {
    throw usageError(`${action} is nothing that can be done with a cluster: list, cordon, drain or uncordon`)
  }
  const name = required(input, 1, "the name of the cluster")
  const path = `/v1/clusters/${encodeURIComponent(name)}/${action}`
  const cluster = await Platform.api<ClusterView>(platform, "POST", path)
  if (isSet(input, "json")) Output.json(cluster)
  else Output.line(`${cluster.name}: ${stateOf(cluster)}`)
  return exitCodes.ok
}
