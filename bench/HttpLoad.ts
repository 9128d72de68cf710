/**
 * A closed-loop HTTP/1.1 load: each connection sends its next request when the answer to the last one is whole.
 *
 * Straight on sockets, because a client library would cost more than the servers that are measured beside it on the
 * same cores. Reads answers with `Content-Length` or in chunks, and nothing else.
 *
 * @module
 */
import { connect, type Socket } from "node:net"
import * as CpuTime from "./CpuTime.ts"

export interface LoadOptions {
  readonly host: string
  readonly port: number
  readonly method: string
  /** Path and query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
  readonly connections: number
  /** Answers in the first part are not counted. */
  readonly warmUpMs: number
  readonly durationMs: number
  /** Any other status counts as an error. */
  readonly status: number
  /** Whose processor time is told for each answer. */
  readonly pids: ReadonlyArray<number>
}

export interface LoadResult {
  readonly requestsPerSecond: number
  /** Milliseconds from the write of a request to the last byte of its answer. */
  readonly latencies: ReadonlyArray<number>
  /** Processor time of `pids` for each answer, in microseconds; NaN where the system does not tell. */
  readonly cpuUs: number
  /** Answers with another status, broken connections. */
  readonly errors: number
  /** The head of the first answer that was an error. */
  readonly firstError: string | undefined
}

const headEnd = Buffer.from("\r\n\r\n")
const lengthPattern = /\r\ncontent-length: *(\d+)/i
const chunkedPattern = /\r\ntransfer-encoding: *chunked/i

class Connection {
  readonly #socket: Socket
  readonly #request: Buffer
  readonly #onAnswer: (status: number, latencyMs: number, head: () => string) => boolean
  #pending: Buffer = Buffer.alloc(0)
  #sentAtMs = 0

  constructor(
    options: LoadOptions,
    request: Buffer,
    onAnswer: (status: number, latencyMs: number, head: () => string) => boolean,
    onClose: () => void
  ) {
    this.#request = request
    this.#onAnswer = onAnswer
    this.#socket = connect({ host: options.host, port: options.port, noDelay: true })
    this.#socket.on("connect", () => this.#send())
    this.#socket.on("data", (chunk: Buffer) => this.#receive(chunk))
    this.#socket.on("error", () => this.#socket.destroy())
    this.#socket.on("close", onClose)
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #send(): void {
    this.#sentAtMs = performance.now()
    this.#socket.write(this.#request)
  }

  #receive(chunk: Buffer): void {
    const bytes = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    const end = bytes.indexOf(headEnd)
    const total = end < 0 ? undefined : answerBytes(bytes, end)
    if (total === undefined || bytes.length < total) {
      this.#pending = bytes
      return
    }
    this.#pending = bytes.length === total ? Buffer.alloc(0) : bytes.subarray(total)
    const status = Number(bytes.toString("latin1", 9, 12))
    const goesOn = this.#onAnswer(status, performance.now() - this.#sentAtMs, () => bytes.toString("latin1", 0, 400))
    if (goesOn) this.#send()
    else this.#socket.destroy()
  }
}

/** Of the answer that begins at 0; undefined while that cannot be known. */
const answerBytes = (bytes: Buffer, end: number): number | undefined => {
  const head = bytes.toString("latin1", 0, end)
  const length = lengthPattern.exec(head)
  if (length !== null) return end + 4 + Number(length[1])
  if (!chunkedPattern.test(head)) return end + 4
  for (let at = end + 4; ; ) {
    const line = bytes.indexOf("\r\n", at)
    if (line < 0) return undefined
    const size = Number.parseInt(bytes.toString("latin1", at, line), 16)
    at = line + 2 + size + 2
    if (size === 0) return at
    if (at > bytes.length) return undefined
  }
}

const requestOf = ({ method, path, host, port, headers, body }: LoadOptions): Buffer => {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const head = `${method} ${path} HTTP/1.1\r\nhost: ${host}:${port}\r\n${lines.join("")}content-length: ${body.length}\r\n\r\n`
  return Buffer.concat([Buffer.from(head, "latin1"), body])
}

/** Runs the load once. Rejects when no connection is left before the time is over. */
export const run = (options: LoadOptions): Promise<LoadResult> =>
  new Promise((resolve, reject) => {
    const request = requestOf(options)
    const latencies: Array<number> = []
    const connections: Array<Connection> = []
    const startedAtMs = performance.now()
    const countFromMs = startedAtMs + options.warmUpMs
    const untilMs = countFromMs + options.durationMs
    let errors = 0
    let firstError: string | undefined
    let open = options.connections
    let lastMs = countFromMs
    let settled = false

    const onAnswer = (status: number, latencyMs: number, head: () => string): boolean => {
      const nowMs = performance.now()
      if (status !== options.status) {
        errors++
        firstError ??= head()
      } else if (nowMs >= countFromMs && nowMs <= untilMs) {
        latencies.push(latencyMs)
        lastMs = nowMs
      }
      return nowMs < untilMs
    }
    let cpuFromMs = Number.NaN
    setTimeout(() => {
      cpuFromMs = CpuTime.spentMs(options.pids)
    }, options.warmUpMs)
    const finish = () => {
      if (settled) return
      settled = true
      const cpuMs = CpuTime.spentMs(options.pids) - cpuFromMs
      for (const connection of connections) connection.destroy()
      const seconds = (lastMs - countFromMs) / 1000
      if (latencies.length === 0) {
        reject(new Error(`no answer of ${options.host}:${options.port}${options.path} was right; first: ${firstError}`))
      } else {
        const cpuUs = (cpuMs * 1000) / latencies.length
        resolve({ requestsPerSecond: latencies.length / seconds, latencies, cpuUs, errors, firstError })
      }
    }
    const onClose = () => {
      if (!settled && performance.now() < untilMs) errors++
      if (--open === 0) finish()
    }
    for (let index = 0; index < options.connections; index++) {
      connections.push(new Connection(options, request, onAnswer, onClose))
    }
    // An answer that never comes must not hold the bench.
    setTimeout(finish, untilMs - startedAtMs + 2_000)
  })
