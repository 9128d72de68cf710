/**
 * Answers of functions, printed: as they come for people, as one JSON object for programs.
 *
 * @module
 */
import type { IncomingMessage } from "node:http"
import { pipeline } from "node:stream/promises"
import * as Output from "./Output.ts"
import * as Platform from "./RunningPlatform.ts"

/** A body that is not UTF-8 is given in base64. */
export const printJson = async (answer: IncomingMessage) => {
  const body = await Platform.readAll(answer)
  const decoded = body.toString("utf8")
  const isText = Buffer.from(decoded, "utf8").equals(body)
  Output.json({
    status: answer.statusCode,
    requestId: answer.headers["nvcf-reqid"] ?? null,
    headers: answer.headers,
    ...(isText ? { body: decoded } : { bodyBase64: body.toString("base64") })
  })
}

/** As it comes. On a terminal the prompt then starts on a line of its own. */
export const printBody = async (answer: IncomingMessage) => {
  let last: number | undefined
  answer.on("data", (chunk: Buffer) => {
    last = chunk.at(-1)
  })
  await pipeline(answer, process.stdout, { end: false })
  if (process.stdout.isTTY && last !== undefined && last !== 0x0a) Output.line("")
}
