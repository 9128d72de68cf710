/** `millrace invoke`. @module */
import { createReadStream, existsSync } from "node:fs"
import type { IncomingMessage } from "node:http"
import type { Readable } from "node:stream"
import { printBody, printJson } from "../Answer.ts"
import { exitCodes, type Input, isSet, required, text, texts, usageError } from "../Command.ts"
import * as Output from "../Output.ts"
import * as Platform from "../RunningPlatform.ts"

const bodyOf = (input: Input): Uint8Array | Readable | undefined => {
  const data = text(input, "data")
  const file = text(input, "data-file")
  const stdin = input.positionals[1]
  if (stdin !== undefined && stdin !== "-")
    throw usageError(`${stdin} is one word too many; a lone - reads standard input`)
  if ([data, file, stdin].filter((source) => source !== undefined).length > 1) {
    throw usageError("--data, --data-file and - are three ways to give one body: choose one")
  }
  if (data !== undefined) return Buffer.from(data)
  if (file !== undefined) {
    if (!existsSync(file)) throw usageError(`there is no file ${file}`)
    return createReadStream(file)
  }
  return stdin === "-" ? process.stdin : undefined
}

const headersOf = (input: Input): Record<string, Array<string>> => {
  const headers: Record<string, Array<string>> = {}
  for (const given of texts(input, "header")) {
    const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):\s*(.*)$/s.exec(given) ?? []
    if (name === undefined || value === undefined || /[\r\n\0]/.test(value)) {
      throw usageError(`--header ${given} is not of the form 'Name: value'`)
    }
    headers[name.toLowerCase()] = [...(headers[name.toLowerCase()] ?? []), value]
  }
  return headers
}

const printHead = (answer: IncomingMessage) => {
  Output.line(`HTTP/${answer.httpVersion} ${answer.statusCode} ${answer.statusMessage}`)
  for (let index = 0; index < answer.rawHeaders.length; index += 2) {
    Output.line(`${answer.rawHeaders[index]}: ${Output.plain(answer.rawHeaders[index + 1] ?? "")}`)
  }
  Output.line("")
}

const printAccepted = async (answer: IncomingMessage) => {
  answer.resume()
  const id = String(answer.headers["nvcf-reqid"] ?? "unknown")
  Output.line(`accepted ${id}`)
  Output.line(`its state:   millrace explain ${id}`)
  Output.line(`its result:  millrace requests result ${id}`)
}

export const run = async (input: Input): Promise<number> => {
  const name = required(input, 0, "the name of the function")
  const platform = Platform.find(input)
  const body = bodyOf(input)
  const path = text(input, "path") ?? "/"
  const headers = headersOf(input)
  if (isSet(input, "async")) headers["prefer"] = [...(headers["prefer"] ?? []), "respond-async"]
  const answer = await Platform.send(platform, {
    method: (text(input, "method") ?? (body === undefined ? "GET" : "POST")).toUpperCase(),
    url: `${platform.gateway}/f/${encodeURIComponent(name)}${path.startsWith("/") ? "" : "/"}${path}`,
    headers,
    ...(body === undefined ? {} : { body })
  })
  const status = answer.statusCode ?? 0
  if (isSet(input, "json")) await printJson(answer)
  else {
    if (isSet(input, "include")) printHead(answer)
    if (status === 202 && isSet(input, "async")) await printAccepted(answer)
    else await printBody(answer)
  }
  return status < 400 ? exitCodes.ok : exitCodes.failure
}
