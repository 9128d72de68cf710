/**
 * Stands between a backend and the API server and does what servers and networks do at their worst: by a rule that sees
 * each request and says what becomes of it.
 *
 * @module
 */
import { once } from "node:events"
import * as http from "node:http"
import * as https from "node:https"

export type Fate =
  | { readonly kind: "pass" }
  | { readonly kind: "answer"; readonly status: number; readonly retryAfterSeconds?: number }
  /** It is carried out, and its answer is lost. */
  | { readonly kind: "lose-answer" }
  /** No answer ever. */
  | { readonly kind: "hang" }

export interface Asked {
  readonly method: string
  readonly path: string
  readonly isWatch: boolean
}

export interface FaultProxy {
  readonly url: string
  /** Until it is replaced. */
  readonly rule: (fateOf: (asked: Asked) => Fate) => void
  /** Ends all watches that are open. */
  readonly cutWatches: () => number
  readonly asked: ReadonlyArray<Asked>
  readonly stop: () => Promise<void>
}

export const pass: Fate = { kind: "pass" }

export const start = async (server: string): Promise<FaultProxy> => {
  const target = new URL(server)
  const agent =
    target.protocol === "https:" ? new https.Agent({ keepAlive: true, rejectUnauthorized: false }) : undefined
  const asked: Array<Asked> = []
  const watches = new Set<http.ServerResponse>()
  let fateOf: (asked: Asked) => Fate = () => pass

  const proxy = http.createServer((request, response) => {
    const url = request.url ?? "/"
    const one = { method: request.method ?? "GET", path: url, isWatch: url.includes("watch=1") }
    asked.push(one)
    const fate = fateOf(one)
    if (fate.kind === "hang") return
    if (fate.kind === "answer") {
      const after = fate.retryAfterSeconds === undefined ? {} : { "retry-after": String(fate.retryAfterSeconds) }
      response.writeHead(fate.status, { "content-type": "application/json", ...after })
      const reason = fate.status === 410 ? "Expired" : "Fault"
      response.end(JSON.stringify({ kind: "Status", reason, message: "a fault on purpose", code: fate.status }))
      return
    }
    const options = { method: one.method, path: url, headers: { ...request.headers, host: target.host }, agent }
    const upstream = (agent === undefined ? http : https).request(target, options, (answer) => {
      if (fate.kind === "lose-answer") {
        answer.resume()
        response.destroy()
        return
      }
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      if (one.isWatch) watches.add(response)
      answer.on("error", () => response.destroy())
      answer.pipe(response)
    })
    upstream.on("error", () => response.destroy())
    response.on("close", () => {
      watches.delete(response)
      if (!response.writableFinished) upstream.destroy()
    })
    request.pipe(upstream)
  })
  proxy.listen(0, "127.0.0.1")
  await once(proxy, "listening")
  const address = proxy.address()
  const port = typeof address === "object" && address !== null ? address.port : 0

  return {
    url: `http://127.0.0.1:${port}`,
    asked,
    rule: (next) => {
      fateOf = next
    },
    cutWatches: () => {
      const open = [...watches]
      for (const response of open) response.destroy()
      return open.length
    },
    stop: async () => {
      agent?.destroy()
      proxy.closeAllConnections()
      await new Promise((resolve) => proxy.close(resolve))
    }
  }
}
