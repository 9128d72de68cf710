/** `millrace delete`. @module */
import { exitCodes, type Input, isSet, required } from "../Command.ts"
import * as Output from "../Output.ts"
import * as Platform from "../RunningPlatform.ts"

export const run = async (input: Input): Promise<number> => {
  const name = required(input, 0, "the name of the function")
  const platform = Platform.find(input)
  const force = isSet(input, "force") ? "?force=true" : ""
  await Platform.api(platform, "DELETE", `/v1/functions/${encodeURIComponent(name)}${force}`)
  if (isSet(input, "json")) Output.json({ name, deleted: true })
  else Output.line(`deleted ${name}`)
  return exitCodes.ok
}
