/**
 * Where the running platform is, and how to speak to it: its addresses come from flags, the environment, or the file
 * `endpoints.json` that it writes into its state directory.
 *
 * @module
 */
import { existsSync, readFileSync } from "node:fs"
import type { IncomingMessage } from "node:http"
import { dirname, join, resolve } from "node:path"
import type { Readable } from "node:stream"
import { CommandFailed, type Input, text, usageError } from "./Command.ts"

// Not by import: that reads all exports of node:http, one of which loads a WebSocket client and takes 100 ms.
const Http = process.getBuiltinModule("node:http")

const defaults = { gateway: "http://127.0.0.1:8787", control: "http://127.0.0.1:8788" }

export interface RunningPlatform {
  readonly gateway: string
  readonly control: string
  readonly stateDirectory: string
  /** Absent: the state directory has none. */
  readonly token: string | undefined
  /** Process that wrote `endpoints.json`, and that is no more. */
  readonly gonePid: number | undefined
}

/** The nearest `.millrace` from here upwards, so that commands work in the folder of a function. */
const nearestState = (): string => {
  for (let directory = process.cwd(); ; directory = dirname(directory)) {
    const candidate = join(directory, ".millrace")
    if (existsSync(candidate)) return candidate
    if (dirname(directory) === directory) return join(process.cwd(), ".millrace")
  }
}

const readText = (path: string): string | undefined => {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return undefined
  }
}

const readEndpoints = (stateDirectory: string): Readonly<Record<string, unknown>> => {
  try {
    const content: unknown = JSON.parse(readText(join(stateDirectory, "endpoints.json")) ?? "{}")
    return typeof content === "object" && content !== null ? { ...content } : {}
  } catch {
    return {}
  }
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM"
  }
}

const address = (given: string | undefined, found: unknown, otherwise: string, what: string): string => {
  const url = given ?? (typeof found === "string" ? found : otherwise)
  if (!URL.canParse(url) || new URL(url).protocol !== "http:") {
    throw usageError(`${url} is not an address for ${what}: it should look like ${otherwise}`)
  }
  return url.replace(/\/+$/, "")
}

export const find = (input: Input): RunningPlatform => {
  const stateDirectory = resolve(text(input, "state") ?? process.env["MILLRACE_STATE"] ?? nearestState())
  const endpoints = readEndpoints(stateDirectory)
  const pid = endpoints["pid"]
  return {
    stateDirectory,
    gateway: address(
      text(input, "gateway") ?? process.env["MILLRACE_GATEWAY_URL"],
      endpoints["gateway"],
      defaults.gateway,
      "a gateway"
    ),
    control: address(
      text(input, "url") ?? process.env["MILLRACE_CONTROL_URL"],
      endpoints["control"],
      defaults.control,
      "a control API"
    ),
    token: process.env["MILLRACE_ADMIN_TOKEN"] ?? readText(join(stateDirectory, "admin-token"))?.trim(),
    gonePid: typeof pid === "number" && !isAlive(pid) ? pid : undefined
  }
}

export interface Call {
  readonly method: string
  readonly url: string
  readonly headers?: Readonly<Record<string, string | Array<string>>>
  readonly body?: Uint8Array | Readable
  readonly signal?: AbortSignal
}

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : String(error)

const nothingAnswers = (platform: RunningPlatform, url: string, code: string): CommandFailed => {
  const { origin } = new URL(url)
  const gone =
    platform.gonePid === undefined
      ? ""
      : ` (the platform that used ${platform.stateDirectory}, process ${platform.gonePid}, is gone)`
  const refused = code === "ECONNREFUSED" || code === "ENOTFOUND" || code === "EADDRNOTAVAIL"
  return refused
    ? new CommandFailed({
        kind: "nothing-answers",
        message: `nothing answers at ${origin}${gone}: start it with \`millrace dev\``
      })
    : new CommandFailed({ kind: "connection-lost", message: `the connection to ${origin} broke (${code})` })
}

/** The answer's head; its body is still to be read. */
export const send = (platform: RunningPlatform, call: Call): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    const request = Http.request(
      call.url,
      {
        method: call.method,
        headers: { ...call.headers },
        agent: false,
        ...(call.signal === undefined ? {} : { signal: call.signal })
      },
      resolve
    )
    request.on("error", (error) => reject(nothingAnswers(platform, call.url, codeOf(error))))
    if (call.body === undefined) request.end()
    else if (call.body instanceof Uint8Array) request.end(call.body)
    else {
      call.body.on("error", (error) => request.destroy(error))
      call.body.pipe(request)
    }
  })

export const readAll = async (message: IncomingMessage): Promise<Buffer> => Buffer.concat(await message.toArray())

/** What the control API says is wrong, as the failure of a command. */
const failureOf = (platform: RunningPlatform, call: Call, status: number, body: string): CommandFailed => {
  if (status === 401) {
    const message =
      platform.token === undefined
        ? `there is no admin token in ${platform.stateDirectory}: say where the platform keeps its state with --state`
        : `the admin token in ${platform.stateDirectory} is not that of the platform at ${platform.control}: ` +
          "say where that platform keeps its state with --state"
    return new CommandFailed({ kind: "unauthorized", message })
  }
  try {
    const problem: unknown = JSON.parse(body)
    if (typeof problem === "object" && problem !== null && "detail" in problem && "type" in problem) {
      const kind = String(problem.type).replace(/^urn:millrace:problem:/, "")
      return new CommandFailed({ kind, message: String(problem.detail) })
    }
  } catch {
    // Not of the control API: said below.
  }
  return new CommandFailed({
    kind: "unexpected-answer",
    message: `${call.method} ${call.url} answered ${status}, which is not an answer of a Millrace control API`
  })
}

const control = async (
  platform: RunningPlatform,
  call: Omit<Call, "url"> & { readonly path: string }
): Promise<IncomingMessage> => {
  const { path, ...rest } = call
  const authorization = platform.token === undefined ? {} : { authorization: `Bearer ${platform.token}` }
  const complete: Call = { ...rest, url: `${platform.control}${path}`, headers: { ...call.headers, ...authorization } }
  const answer = await send(platform, complete)
  const status = answer.statusCode ?? 0
  if (status >= 400) throw failureOf(platform, complete, status, (await readAll(answer)).toString())
  return answer
}

/**
 * One call of the control API. `A` is the shape that the API declares for this route; the server encodes with the schema
 * of that very type, so it is not checked a second time here.
 */
export const api = async <A>(platform: RunningPlatform, method: string, path: string, body?: unknown): Promise<A> => {
  const json = body === undefined ? {} : { body: Buffer.from(JSON.stringify(body)) }
  const headers = { accept: "application/json", ...(body === undefined ? {} : { "content-type": "application/json" }) }
  const answer = await control(platform, { method, path, headers, ...json })
  const content = await readAll(answer)
  return content.length === 0 ? (undefined as A) : (JSON.parse(content.toString()) as A)
}

/** Calls `onLine` for each line of an endless answer, until it ends or `signal` aborts. */
export const follow = async (
  platform: RunningPlatform,
  path: string,
  onLine: (line: string) => void,
  signal: AbortSignal
): Promise<void> => {
  const answer = await control(platform, { method: "GET", path, signal })
  let open = ""
  answer.setEncoding("utf8")
  try {
    for await (const chunk of answer) {
      const lines = `${open}${chunk}`.split("\n")
      open = lines.pop() ?? ""
      for (const line of lines) if (line !== "") onLine(line)
    }
  } catch (error) {
    if (!signal.aborted) throw nothingAnswers(platform, platform.control, codeOf(error))
  }
}

/** Aborts at Ctrl-C; the command then ends as if the other side had ended. */
export const untilInterrupted = (): AbortSignal => {
  const controller = new AbortController()
  process.once("SIGINT", () => controller.abort())
  process.once("SIGTERM", () => controller.abort())
  return controller.signal
}
