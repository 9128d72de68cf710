/**
 * `millrace worker wrap`: the worker in front of any HTTP server.
 *
 * Runs in every instance of such a function, so it loads nothing but the worker.
 *
 * @module
 */
import { createServer } from "node:net"
import { exitCodes, type Input, text, usageError } from "../Command.ts"

const placeholder = "{port}"

/** Free at this moment; the server takes it at once. */
const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(address !== null && typeof address === "object" ? address.port : 0))
    })
  })

/** Several instances run on one machine, so each gets a port of its own, in the words and as PORT. */
const withPort = async (words: ReadonlyArray<string>): Promise<ReadonlyArray<string>> => {
  if (!words.some((word) => word.includes(placeholder))) return words
  const port = String(await freePort())
  process.env["PORT"] = port
  return words.map((word) => word.replaceAll(placeholder, port))
}

export const run = async (input: Input): Promise<number> => {
  const [what] = input.positionals
  if (what !== "wrap") throw usageError("worker has one command: `millrace worker wrap`")
  const forward = text(input, "forward")
  const health = text(input, "health")
  if (forward === undefined) throw usageError("--forward is missing: say where the server listens")
  if (health === undefined) throw usageError("--health is missing: say which path answers 200 when the server is ready")
  const { wrap } = await import("../../worker-sdk/wrap.ts")
  const [target = forward, ...command] = await withPort([forward, ...input.rest])
  if (!URL.canParse(target) || new URL(target).protocol !== "http:") {
    throw usageError(`--forward ${forward} is not an address such as http://127.0.0.1:8000`)
  }
  await wrap({ forward: target, health, command })
  return exitCodes.ok
}
