/** `millrace worker wrap`: the worker in front of any HTTP server. @module */
import { exitCodes, type Input, text, usageError } from "../Command.ts"

export const run = async (input: Input): Promise<number> => {
  const [what] = input.positionals
  if (what !== "wrap") throw usageError("worker has one command: `millrace worker wrap`")
  const forward = text(input, "forward")
  const health = text(input, "health")
  if (forward === undefined) throw usageError("--forward is missing: say where the server listens")
  if (health === undefined) throw usageError("--health is missing: say which path answers 200 when the server is ready")
  const { wrap } = await import("../../worker-sdk/wrap.ts")
  await wrap({ forward, health, command: input.rest })
  return exitCodes.ok
}
