/**
 * Callers for the runs of overload: closed loops, an open loop at a rate, and what became of each call.
 *
 * @module
 */
import { Agent, request as httpRequest } from "node:http"

export interface Seen {
  readonly status: number
  readonly retryAfter: string | undefined
  readonly ms: number
}

export interface CallerOptions {
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** Callers that share kept-alive connections. */
export class Callers {
  readonly #agent: Agent
  readonly #url: URL

  constructor(url: string, connections: number) {
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections, scheduling: "fifo" })
    this.#url = new URL(url)
  }

  /** Status 0: the connection broke. */
  call({ headers = {}, body = "" }: CallerOptions = {}): Promise<Seen> {
    const startedMs = performance.now()
    return new Promise((resolve) => {
      const seen = (status: number, retryAfter?: string) =>
        resolve({ status, retryAfter, ms: performance.now() - startedMs })
      const { hostname, port, pathname, search } = this.#url
      const request = httpRequest(
        {
          hostname,
          port,
          path: `${pathname}${search}`,
          method: "POST",
          agent: this.#agent,
          headers: { "content-length": Buffer.byteLength(body), ...headers }
        },
        (response) => {
          response.resume()
          response.on("end", () => seen(response.statusCode ?? 0, response.headers["retry-after"]))
          response.on("error", () => seen(0))
        }
      )
      request.on("error", () => seen(0))
      request.end(body)
    })
  }

  /** So many at a time, until `isOver`. */
  async closedLoop(width: number, isOver: () => boolean, options?: CallerOptions): Promise<ReadonlyArray<Seen>> {
    const all: Array<Seen> = []
    const loop = async () => {
      while (!isOver()) all.push(await this.call(options))
    }
    await Promise.all(Array.from({ length: width }, loop))
    return all
  }

  /** So many a second, whatever becomes of them. */
  async openLoop(perSecond: number, forMs: number, options?: CallerOptions): Promise<ReadonlyArray<Seen>> {
    const calls: Array<Promise<Seen>> = []
    const startedMs = performance.now()
    for (;;) {
      const elapsedMs = performance.now() - startedMs
      if (elapsedMs >= forMs) return Promise.all(calls)
      while (calls.length < (elapsedMs / 1000) * perSecond) calls.push(this.call(options))
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  close(): void {
    this.#agent.destroy()
  }
}

export const quantile = (values: ReadonlyArray<number>, q: number): number => {
  const sorted = [...values].sort((left, right) => left - right)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0
}
