/**
 * The worker in front of any HTTP server, in any language: `millrace worker wrap --forward URL --health PATH [-- command]`.
 *
 * Starts the command if there is one, waits until the health path answers 2xx, then forwards calls as plain HTTP and
 * streams both ways. The server sees `Millrace-Request-Id`, `Millrace-Attempt`, `Millrace-Tenant` and, if there is one,
 * `Millrace-Deadline` (Unix ms). A call that the caller cancels has its connection to the server closed.
 *
 * When the command ends, calls in flight are given back for redelivery and the process ends with the command's code.
 *
 * @module
 */
import type { ChildProcess } from "node:child_process"
import type { ClientRequest, IncomingMessage } from "node:http"
import { LightResponse } from "./fetch-api/LightResponse.ts"
import type { Context, Invoke } from "./Handler.ts"
import { environmentOrExit, launch, log } from "./Launch.ts"
import type { Worker } from "./Worker.ts"
import { systemClock } from "./WorkerClock.ts"
import * as WorkerProcess from "./WorkerProcess.ts"

export interface WrapOptions {
  /** Where the server listens, e.g. `http://127.0.0.1:8000`. A path in it is put before the call's. */
  readonly forward: URL | string
  /** Path that answers 2xx when the server can take calls. */
  readonly health: string
  /** Program and arguments; empty or absent = the server runs already. */
  readonly command?: ReadonlyArray<string>
}

// Not by import: a static import of node:http from an ES module reads all its exports, and one of them loads undici.
const Http = process.getBuiltinModule("node:http")

const healthIntervalMs = 50
const healthTimeoutMs = 5000
/** SIGTERM to SIGKILL for the command, once its calls are done. */
const commandGraceMs = 10_000

/** Of one connection (RFC 9110 section 7.6.1), so never passed on. */
const hopByHop = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade"
])

/** The server did not get to answer: the same call may go well elsewhere. */
class ServerGone extends Error {
  override readonly name = "ServerGone"
  readonly retryable = true
}

type Headers = Array<string>

const requestHeaders = (request: Request, context: Context, host: string): Headers => {
  const named = (request.headers.get("connection") ?? "").toLowerCase().split(/\s*,\s*/)
  const headers: Headers = ["host", host]
  for (const [name, value] of request.headers) {
    if (name !== "host" && name !== "expect" && !hopByHop.has(name) && !named.includes(name)) headers.push(name, value)
  }
  const forwardedHost = request.headers.get("host")
  if (forwardedHost !== null && !request.headers.has("x-forwarded-host"))
    headers.push("x-forwarded-host", forwardedHost)
  headers.push("millrace-request-id", context.requestId, "millrace-attempt", String(context.attempt))
  headers.push("millrace-tenant", context.tenant)
  if (context.deadline !== undefined) headers.push("millrace-deadline", String(context.deadline.getTime()))
  return headers
}

const responseHeaders = (incoming: IncomingMessage): Array<[string, string]> => {
  const named = (incoming.headers.connection ?? "").toLowerCase().split(/\s*,\s*/)
  const pairs: Array<[string, string]> = []
  for (let index = 0; index + 1 < incoming.rawHeaders.length; index += 2) {
    const name = (incoming.rawHeaders[index] ?? "").toLowerCase()
    if (!hopByHop.has(name) && !named.includes(name)) pairs.push([name, incoming.rawHeaders[index + 1] ?? ""])
  }
  return pairs
}

/** Reads from the server as the caller reads from us. */
const bodyOf = (incoming: IncomingMessage): ReadableStream<Uint8Array> => {
  const chunks = incoming[Symbol.asyncIterator]()
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const { done, value } = await chunks.next()
        if (done === true) controller.close()
        else controller.enqueue(value)
      },
      cancel: () => {
        incoming.destroy()
      }
    },
    { highWaterMark: 0 }
  )
}

const sendBody = async (request: Request, outgoing: ClientRequest): Promise<void> => {
  if (request.body !== null) {
    for await (const chunk of request.body) {
      if (!outgoing.write(chunk)) await new Promise((resolve) => outgoing.once("drain", resolve).once("close", resolve))
      if (outgoing.destroyed) return
    }
  }
  outgoing.end()
}

const makeForward = (target: URL): Invoke => {
  const agent = new Http.Agent({ keepAlive: true, maxFreeSockets: 256 })
  const prefix = target.pathname.replace(/\/$/, "")
  const hostname = target.hostname.replace(/^\[(.*)\]$/, "$1")
  return (request, context) =>
    new Promise((resolve, reject) => {
      const { pathname, search } = new URL(request.url)
      const outgoing = Http.request({
        agent,
        host: hostname,
        port: target.port === "" ? 80 : Number(target.port),
        method: request.method,
        path: prefix + pathname + search,
        headers: requestHeaders(request, context, target.host),
        setDefaultHeaders: false
      })
      const stop = () => outgoing.destroy(new ServerGone("the call was cancelled"))
      context.signal.addEventListener("abort", stop, { once: true })
      outgoing.on("response", (incoming) => {
        incoming.once("close", () => context.signal.removeEventListener("abort", stop))
        const status = incoming.statusCode ?? 502
        if (status < 200 || status > 599) {
          incoming.destroy()
          reject(new TypeError(`the server answered with status ${status}`))
          return
        }
        const bodyless = status === 204 || status === 205 || status === 304 || request.method === "HEAD"
        if (bodyless) incoming.resume()
        resolve(new LightResponse(bodyless ? null : bodyOf(incoming), { status, headers: responseHeaders(incoming) }))
      })
      outgoing.on("error", (error) => {
        context.signal.removeEventListener("abort", stop)
        reject(error instanceof ServerGone ? error : new ServerGone(`the server did not answer: ${error.message}`))
      })
      sendBody(request, outgoing).catch((error: unknown) =>
        outgoing.destroy(error instanceof Error ? error : new Error(String(error)))
      )
    })
}

const isHealthy = (url: URL): Promise<boolean> =>
  new Promise((resolve) => {
    const request = Http.get(url, { agent: false, timeout: healthTimeoutMs }, (response) => {
      response.resume()
      const status = response.statusCode ?? 0
      resolve(status >= 200 && status <= 299)
    })
    request.on("timeout", () => request.destroy())
    request.on("error", () => resolve(false))
  })

/** Until it is healthy or `stopped`: how long a start may take is for whoever started us to say. */
const waitUntilHealthy = async (url: URL, stopped: () => boolean): Promise<void> => {
  while (!stopped() && !(await isHealthy(url))) {
    await new Promise<void>((resolve) => void systemClock.after(healthIntervalMs, resolve))
  }
}

const start = async (command: ReadonlyArray<string>): Promise<ChildProcess | undefined> => {
  const [program, ...rest] = command
  if (program === undefined) return undefined
  const { spawn } = await import("node:child_process")
  const { MILLRACE_WORKER_TOKEN: _, ...environment } = process.env
  return spawn(program, rest, { stdio: ["ignore", "inherit", "inherit"], env: environment })
}

/** Ends the command, then the process. */
const leave = (child: ChildProcess | undefined, code: number): void => {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) process.exit(code)
  child.once("exit", () => process.exit(code))
  child.kill("SIGTERM")
  systemClock.after(commandGraceMs, () => child.kill("SIGKILL"))
}

/** Runs until the worker is drained or the command ends; ends the process itself. */
export const wrap = async (options: WrapOptions): Promise<void> => {
  const environment = environmentOrExit()
  const target = new URL(options.forward)
  if (target.protocol !== "http:")
    throw new TypeError(`wrap forwards to http:// addresses, not to ${target.protocol}//`)
  const child = await start(options.command ?? [])
  let worker: Worker | undefined
  let isLeaving = false
  const onCommandEnd = (code: number, text: string) => {
    if (isLeaving) return
    isLeaving = true
    log(text)
    if (worker === undefined) process.exit(code)
    // Its sockets are closed: what was in flight fails as retryable by itself. Then nothing is left to finish.
    worker.drain("the command ended")
    void worker.ended.then(() => process.exit(code))
  }
  child?.once("error", (error) => onCommandEnd(127, `the command did not start: ${error.message}`))
  child?.once("exit", (code, signal) => onCommandEnd(code ?? 1, `the command ended (${signal ?? `code ${code}`})`))
  const terminate = () => {
    isLeaving = true
    leave(child, 0)
  }
  process.once("SIGTERM", terminate).once("SIGINT", terminate)
  await waitUntilHealthy(new URL(options.health, target), () => isLeaving)
  process.off("SIGTERM", terminate).off("SIGINT", terminate)
  if (isLeaving) return
  worker = launch(environment, makeForward(target), systemClock.nowMs())
  WorkerProcess.attach(worker, {
    log,
    onEnded: (code) => {
      if (isLeaving) return
      isLeaving = true
      leave(child, code)
    }
  })
  await worker.ended
}
