import { once } from "node:events"
import * as http from "node:http"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { afterEach, describe, expect, it } from "vitest"
import * as Api from "./Api.ts"
import * as Informer from "./Informer.ts"

const timing = { tryMs: 300, deadlineMs: 3_000, backoffMs: 5, backoffMaxMs: 20 }
const servers: Array<http.Server> = []

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

type Answer = (response: http.ServerResponse, request: http.IncomingMessage) => void

/** A server that answers its n-th request with the n-th of these, and the last one for ever. */
const serve = async (...answers: ReadonlyArray<Answer>) => {
  let count = 0
  const server = http.createServer((request, response) => {
    request.resume()
    const answer = answers[Math.min(count, answers.length - 1)]
    count++
    answer?.(response, request)
  })
  servers.push(server.listen(0, "127.0.0.1"))
  await once(server, "listening")
  const address = server.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  const api = Api.make(async () => ({ server: new URL(`http://127.0.0.1:${port}`), options: {} }), timing)
  return { api, count: () => count }
}

const json =
  (status: number, body: unknown, headers: http.OutgoingHttpHeaders = {}): Answer =>
  (response) =>
    void response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body))

const hang: Answer = () => {}
const get = { method: "GET", path: "/api" } as const

describe("the API server, asked", () => {
  it("A2: 500, a lost connection and a hang are tried again, and the answer is that of the last try", async () => {
    const { api, count } = await serve(json(500, {}), (response) => response.destroy(), hang, json(200, { fine: true }))
    expect(await Effect.runPromise(api.call(get))).toEqual({ fine: true })
    expect(count()).toBe(4)
    expect(api.requestCount()).toBe(4)
  })

  it("A2: 429 is tried again, and not before the server has said", async () => {
    const { api } = await serve(json(429, {}, { "retry-after": "1" }), json(200, {}))
    const from = performance.now()
    await Effect.runPromise(api.call(get))
    expect(performance.now() - from).toBeGreaterThanOrEqual(990)
  })

  it("A1: a server that answers nothing but errors is given up at the deadline, with its last words", async () => {
    const { api, count } = await serve(json(503, { reason: "Busy", message: "not now" }))
    const failure = await Effect.runPromise(Effect.flip(api.call(get)))
    expect([failure.status, failure.reason, failure.detail]).toEqual([503, "Busy", "not now"])
    expect(count()).toBeGreaterThan(3)
  })

  it("A1: a wait that is longer than the deadline is not waited", async () => {
    const { api, count } = await serve(json(429, {}, { "retry-after": "3600" }))
    expect((await Effect.runPromise(Effect.flip(api.call(get)))).status).toBe(429)
    expect(count()).toBe(1)
  })

  it("A3: what trying again cannot mend is told at once", async () => {
    for (const status of [400, 401, 403, 404, 409, 410, 422]) {
      const { api, count } = await serve(json(status, { reason: "Reason", message: "why" }))
      const failure = await Effect.runPromise(Effect.flip(api.call(get)))
      expect([failure.status, failure.reason, count()]).toEqual([status, "Reason", 1])
    }
  })

  it("what is not there is found to be nothing, and other failures stay failures", async () => {
    const { api } = await serve(json(404, {}), json(403, {}))
    expect(await Effect.runPromise(api.find(get))).toBeUndefined()
    expect((await Effect.runPromise(Effect.flip(api.find(get)))).status).toBe(403)
  })

  it("lines come whole, however they were cut, and silence ends them", async () => {
    const { api } = await serve((response) => {
      response.write("on")
      setTimeout(() => response.write("e\ntwo\nth"), 30)
      setTimeout(() => response.write("ree\n"), 60)
    })
    const seen: Array<string> = []
    const failure = await Effect.runPromise(
      Effect.flip(api.lines(get, { idleMs: 400, onLine: (line) => seen.push(line) }))
    )
    expect(seen).toEqual(["one", "two", "three"])
    expect(failure.status).toBe(0)
  })
})

const object = (name: string, resourceVersion: number) => ({
  metadata: { name, uid: `uid-${name}`, resourceVersion: String(resourceVersion) }
})

const list = (resourceVersion: number, ...items: ReadonlyArray<unknown>) =>
  json(200, { metadata: { resourceVersion: String(resourceVersion) }, items })

const decode = (one: unknown): Informer.Named => (one as { readonly metadata: Informer.Named }).metadata

const events =
  (...all: ReadonlyArray<readonly [string, unknown]>): Answer =>
  (response) => {
    for (const [type, of] of all) response.write(`${JSON.stringify({ type, object: of })}\n`)
    response.end()
  }

describe("what an informer knows", () => {
  /** Follows until `count` requests were made, then says what changed, where a gap was, and what was asked. */
  const follow = async (count: number, ...answers: ReadonlyArray<Answer>) => {
    const told: Array<string> = []
    const asked: Array<string> = []
    const server = await serve(
      ...answers.map(
        (answer): Answer =>
          (response, request) => {
            asked.push(new URL(request.url ?? "", "http://h").searchParams.get("resourceVersion") ?? "list")
            answer(response, request)
          }
      )
    )
    const program = Effect.gen(function* () {
      const informer = yield* Informer.start(server.api, {
        path: "/api",
        decode,
        idleMs: 500,
        backoffMaxMs: 60,
        onChange: ({ before, after, last }) =>
          told.push(`${before === undefined ? "+" : after === undefined ? "-" : "~"}${last.name}`),
        onGap: () => told.push("gap")
      })
      const untilMs = performance.now() + 8_000
      while (server.count() < count && performance.now() < untilMs) yield* Effect.sleep(10)
      return [...informer.all()].map((one) => one.name).toSorted()
    })
    const fiber = Effect.runFork(Effect.scoped(program))
    const known = await Effect.runPromise(Fiber.join(fiber))
    return { told, asked, known }
  }

  it("I1: a watch that was cut off goes on from the last version that it saw", async () => {
    const first = events(["ADDED", object("b", 5)], ["BOOKMARK", object("", 6)])
    const { told, asked, known } = await follow(
      4,
      list(3, object("a", 1)),
      first,
      events(["DELETED", object("a", 7)]),
      hang
    )
    expect(told).toEqual(["+a", "+b", "-a"])
    expect(asked.slice(0, 4)).toEqual(["list", "3", "6", "7"])
    expect(known).toEqual(["b"])
  })

  it("I2: after 410 it lists anew, tells what differs and that something may be missing", async () => {
    for (const gone of [events(["ERROR", { code: 410 }]), json(410, { reason: "Expired" })]) {
      const again = list(20, object("b", 12), object("a", 15))
      const { told } = await follow(4, list(3, object("a", 1), object("c", 2)), gone, again, hang)
      expect(told).toEqual(["+a", "+c", "-c", "+b", "~a", "gap"])
    }
  })

  it("I3: a watch on which nothing comes is given up", async () => {
    const { told } = await follow(4, list(3), hang, events(["ADDED", object("late", 9)]), hang)
    expect(told).toEqual(["+late"])
  })

  it("I4: errors of the server do not end it, and nothing is told twice", async () => {
    const { told } = await follow(
      5,
      list(3, object("a", 1)),
      json(500, {}),
      events(["ADDED", object("a", 1)]),
      json(403, {}),
      hang
    )
    expect(told).toEqual(["+a"])
  })
})
