/** `millrace explain`. @module */
import type { Explanation } from "../../planes/control/ControlViews.ts"
import { exitCodes, type Input, isSet, required } from "../Command.ts"
import * as Output from "../Output.ts"
import * as Platform from "../RunningPlatform.ts"

export const run = async (input: Input): Promise<number> => {
  const id = required(input, 0, "the request id")
  const platform = Platform.find(input)
  const explanation = await Platform.api<Explanation>(platform, "GET", `/v1/requests/${encodeURIComponent(id)}/explain`)
  if (isSet(input, "json")) {
    Output.json(explanation)
    return exitCodes.ok
  }
  const { request } = explanation
  Output.line(
    Output.plain(
      `${request.method} ${request.path} of ${request.functionName}, arrived ${Output.ago(request.arrivedAtMs)}`
    )
  )
  for (const line of explanation.lines) Output.line(`  ${Output.plain(line)}`)
  return exitCodes.ok
}
