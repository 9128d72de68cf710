/**
 * `/healthz` and `/readyz` of one process, on a port of their own, open from its very start.
 *
 * H1 `/healthz` answers 200 as long as the event loop turns. H2 `/readyz` answers 200 only when every check has passed
 * within its time limit just now, and else 503 with the reason of each that did not.
 *
 * @module
 */
import type { Server } from "node:http"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Port from "./Port.ts"

// Not by import: that reads all exports of node:http, one of which loads undici, 100 ms and 13 MB that nobody needs.
const Http = process.getBuiltinModule("node:http")

export interface Check {
  readonly name: string
  /** Why it is not ready; undefined = it is. */
  readonly look: Effect.Effect<string | undefined>
}

export interface Options {
  readonly host: string
  /** 0 = any free one. */
  readonly port: number
  /** Asked at each `/readyz`, so that checks can be added while the process starts. */
  readonly checks: () => ReadonlyArray<Check>
}

export interface Reason {
  readonly check: string
  readonly reason: string
}

const checkLimitMs = 2_000

const reasonsOf = (checks: ReadonlyArray<Check>): Effect.Effect<ReadonlyArray<Reason>> =>
  Effect.forEach(
    checks,
    ({ name, look }) =>
      look.pipe(
        Effect.timeoutOrElse({
          duration: checkLimitMs,
          orElse: () => Effect.succeed(`no answer within ${checkLimitMs} ms`)
        }),
        Effect.catchDefect((defect) => Effect.succeed(String(defect))),
        Effect.map((reason): ReadonlyArray<Reason> => (reason === undefined ? [] : [{ check: name, reason }]))
      ),
    { concurrency: "unbounded" }
  ).pipe(Effect.map((all) => all.flat()))

/** Until the scope closes; answers the port. */
export const listen = ({ host, port, checks }: Options): Effect.Effect<number, Port.CannotListen, Scope.Scope> =>
  Effect.gen(function* () {
    const runPromise = Effect.runPromiseWith(yield* Effect.context<never>())
    const server: Server = Http.createServer((request, response) => {
      const answer = (status: number, body: unknown) => {
        const text = JSON.stringify(body)
        response.writeHead(status, {
          "content-type": "application/json",
          "content-length": Buffer.byteLength(text),
          "cache-control": "no-store"
        })
        response.end(request.method === "HEAD" ? undefined : text)
      }
      const path = (request.url ?? "/").split("?", 1)[0]
      if (path === "/healthz") return answer(200, { status: "alive" })
      if (path !== "/readyz") return answer(404, { status: "not-found", routes: ["/healthz", "/readyz"] })
      runPromise(reasonsOf(checks())).then(
        (reasons) =>
          reasons.length === 0
            ? answer(200, { status: "ready", reasons })
            : answer(503, { status: "not-ready", reasons }),
        () => response.destroy()
      )
    })
    server.requestTimeout = 10_000
    server.maxConnections = 256
    const door = { what: "health port", host, port, flag: "--set health.port=PORT or MILLRACE_HEALTH_PORT" }
    return yield* Effect.acquireRelease(Port.listen(server, door), () =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      })
    )
  })
