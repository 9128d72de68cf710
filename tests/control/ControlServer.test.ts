import { request as httpRequest } from "node:http"
import { connect } from "node:net"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import * as ControlServer from "../../src/planes/control/ControlServer.ts"
import * as ControlHarness from "./ControlHarness.ts"
import { instanceReport, requestView } from "./FakeSources.ts"

let harness: ControlHarness.Harness
beforeEach(async () => {
  harness = await ControlHarness.start()
})
afterEach(() => harness.close())

const command = ["node", "server.js"]

/** A function with one deployed version. */
const deployed = async (name = "hello") => {
  const owner = (await harness.call("POST", "/v1/functions", { json: { name } })).json
  const version = (await harness.call("POST", `/v1/functions/${name}/versions`, { json: { command } })).json
  await harness.call("PUT", `/v1/versions/${version.id}/deployment`, { json: { maxInstances: 2 } })
  return { functionId: owner.id as string, versionId: version.id as string }
}

const problemOf = (answer: ControlHarness.Answer) => {
  assert.strictEqual(answer.headers.get("content-type"), "application/problem+json", answer.text)
  for (const field of ["type", "title", "detail", "instance"]) assert.isString(answer.json[field], field)
  assert.strictEqual(answer.json.status, answer.status)
  return answer.json
}

/** Raw bytes in, whole answer out. */
const raw = (bytes: string) =>
  new Promise<string>((resolve, reject) => {
    const socket = connect(harness.port, "127.0.0.1", () => socket.end(bytes))
    const chunks: Array<Buffer> = []
    socket.on("data", (chunk) => chunks.push(chunk))
    socket.on("error", reject)
    socket.on("close", () => resolve(Buffer.concat(chunks).toString()))
  })

describe("a function's life over the API", () => {
  it("keeps an idle connection longer than clients and balancers do", async () => {
    const told = (await harness.call("GET", "/healthz")).headers.get("keep-alive") ?? ""
    assert.isAbove(Number(told.match(/timeout=([0-9]+)/)?.[1]), 60)
  })

  it("a function, a version and a deployment are shown as they were made", async () => {
    const created = await harness.call("POST", "/v1/functions", { json: { name: "hello" } })
    assert.strictEqual(created.status, 201)
    assert.strictEqual(created.json.active, null)
    const version = await harness.call("POST", "/v1/functions/hello/versions", { json: { command } })
    assert.strictEqual(version.status, 201)
    assert.deepStrictEqual(version.json.spec, {
      command,
      environment: {},
      durability: "accepted",
      inferencePath: "/"
    })
    const path = `/v1/versions/${version.json.id}/deployment`
    assert.strictEqual(problemOf(await harness.call("GET", path)).type, "urn:millrace:problem:not-deployed")
    const deployment = await harness.call("PUT", path, { json: { idleWindowMs: 2_000 } })
    assert.strictEqual(deployment.status, 200)
    assert.strictEqual(deployment.json.spec.idleWindowMs, 2_000)
    assert.strictEqual(deployment.json.spec.maxAttempts, 3)
    assert.strictEqual(deployment.json.status.status, "idle")
    const shown = await harness.call("GET", "/v1/functions/hello")
    assert.strictEqual(shown.json.active.versionId, version.json.id)
    assert.strictEqual(shown.json.active.number, 1)
    assert.deepStrictEqual((await harness.call("GET", `/v1/functions/${created.json.id}`)).json, shown.json)
    assert.strictEqual((await harness.call("POST", `${path}/restart`)).json.generation, 2)
    assert.strictEqual((await harness.call("DELETE", path)).status, 204)
    assert.strictEqual((await harness.call("GET", "/v1/functions/hello")).json.active.deployment, null)
  })

  it("a deployed function is deleted only by force", async () => {
    const { versionId } = await deployed()
    const refused = problemOf(await harness.call("DELETE", "/v1/functions/hello"))
    assert.strictEqual(refused.status, 409)
    assert.include(refused.detail, versionId)
    assert.strictEqual((await harness.call("DELETE", "/v1/functions/hello?force=true")).status, 204)
    assert.deepStrictEqual(harness.keyValue.entries(), [])
  })

  it("lists are paged and found by prefix and by name", async () => {
    for (const name of ["b", "ab", "a"]) await harness.call("POST", "/v1/functions", { json: { name } })
    const first = (await harness.call("GET", "/v1/functions?limit=2")).json
    assert.deepStrictEqual(
      first.items.map((one: { name: string }) => one.name),
      ["a", "ab"]
    )
    const rest = (await harness.call("GET", `/v1/functions?limit=2&after=${first.next}`)).json
    assert.deepStrictEqual([rest.items.map((one: { name: string }) => one.name), rest.next], [["b"], null])
    assert.strictEqual((await harness.call("GET", "/v1/functions?prefix=a")).json.items.length, 2)
    assert.strictEqual((await harness.call("GET", "/v1/functions?name=ab")).json.items.length, 1)
    assert.strictEqual((await harness.call("GET", "/v1/functions?name=none")).json.items.length, 0)
  })

  it("another version becomes active only when it is chosen", async () => {
    const { versionId } = await deployed()
    const second = (await harness.call("POST", "/v1/functions/hello/versions", { json: { command } })).json
    await harness.call("PUT", `/v1/versions/${second.id}/deployment`, { json: {} })
    assert.strictEqual((await harness.call("GET", "/v1/functions/hello")).json.activeVersionId, versionId)
    const chosen = await harness.call("PUT", "/v1/functions/hello/active-version", { json: { versionId: second.id } })
    assert.strictEqual(chosen.json.activeVersionId, second.id)
    const versions = (await harness.call("GET", "/v1/functions/hello/versions")).json.items
    assert.deepStrictEqual(
      versions.map((one: { number: number }) => one.number),
      [2, 1]
    )
  })
})

describe("what runs", () => {
  it("instances are filtered, shown, and their output is read", async () => {
    const { functionId, versionId } = await deployed()
    harness.instances.reports.set("i-1", instanceReport({ instanceId: "i-1", functionId, versionId }))
    harness.instances.reports.set("i-2", instanceReport({ instanceId: "i-2", state: "stopped" }))
    harness.logs.write("i-1", { atMs: 2, stream: "stdout", text: "listening" })
    const ids = async (query: string) =>
      (await harness.call("GET", `/v1/instances${query}`)).json.items.map(
        (one: { instanceId: string }) => one.instanceId
      )
    assert.deepStrictEqual(await ids(""), ["i-1", "i-2"])
    assert.deepStrictEqual(await ids("?function=hello"), ["i-1"])
    assert.deepStrictEqual(await ids(`?versionId=${versionId}&state=stopped`), [])
    assert.deepStrictEqual(await ids("?state=stopped"), ["i-2"])
    const lines = (await harness.call("GET", "/v1/functions/hello/logs")).json.items
    assert.deepStrictEqual(lines, [{ instanceId: "i-1", atMs: 2, stream: "stdout", text: "listening" }])
    assert.strictEqual(problemOf(await harness.call("GET", "/v1/instances/i-9/logs")).status, 404)
  })

  it("following gives the kept tail, then each new line once, and ends when the reader leaves", async () => {
    harness.instances.reports.set("i-1", instanceReport({ instanceId: "i-1" }))
    harness.logs.write("i-1", { atMs: 1, stream: "stdout", text: "one" })
    const leave = new AbortController()
    const response = await fetch(`${harness.url}/v1/instances/i-1/logs?follow=true`, {
      headers: { authorization: `Bearer ${ControlHarness.adminToken}` },
      signal: leave.signal
    })
    assert.include(response.headers.get("content-type") ?? "", "application/x-ndjson")
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
    let text = ""
    const until = async (wanted: string) => {
      while (!text.includes(wanted)) {
        const { value, done } = await reader.read()
        assert.isFalse(done, `the stream ended after ${text}`)
        text += value
      }
    }
    await until("one")
    harness.logs.write("i-1", { atMs: 2, stream: "stderr", text: "two" })
    harness.logs.write("i-other", { atMs: 2, stream: "stderr", text: "not ours" })
    harness.logs.write("i-1", { atMs: 3, stream: "stdout", text: "three" })
    await until("three")
    assert.deepStrictEqual(
      text
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line).text),
      ["one", "two", "three"]
    )
    leave.abort()
    const deadline = performance.now() + 5_000
    while (harness.logs.followers.size > 0 && performance.now() < deadline) await new Promise(setImmediate)
    assert.strictEqual(harness.logs.followers.size, 0)
  })

  it("a followed log ends cleanly when the server stops", async () => {
    harness.instances.reports.set("i-1", instanceReport({ instanceId: "i-1" }))
    harness.logs.write("i-1", { atMs: 1, stream: "stdout", text: "one" })
    const response = await fetch(`${harness.url}/v1/instances/i-1/logs?follow=true`, {
      headers: { authorization: `Bearer ${ControlHarness.adminToken}` }
    })
    const before = performance.now()
    const text = response.text()
    await harness.close()
    assert.include(await text, "one")
    assert.isBelow(performance.now() - before, 1_500)
    assert.strictEqual(harness.logs.followers.size, 0)
  })

  it("a cluster is cordoned, drained and taken in again, and what was said stays in the store", async () => {
    const view = {
      name: "east",
      region: "east",
      backend: "process",
      isolation: "none",
      state: "healthy" as const,
      cordoned: false,
      draining: false,
      lastHeardAtMs: 1,
      instanceTypes: []
    }
    harness.instances.clusterViews = [view]
    for (const [action, cordoned, draining] of [
      ["cordon", true, false],
      ["drain", true, true],
      ["uncordon", false, false]
    ] as const) {
      const answer = await harness.call("POST", `/v1/clusters/east/${action}`)
      assert.deepStrictEqual([answer.status, answer.json], [200, { ...view, cordoned, draining }])
      assert.deepStrictEqual(harness.instances.clusterViews, [{ ...view, cordoned, draining }])
      const stored = harness.keyValue.entries().find(({ key }) => key === "cluster-orders/east")
      assert.deepStrictEqual(JSON.parse(Buffer.from(stored?.value ?? "").toString()), { cordoned, draining })
    }
    const unknown = await harness.call("POST", "/v1/clusters/west/drain")
    assert.deepStrictEqual([unknown.status, unknown.json.type], [404, "urn:millrace:problem:cluster-not-found"])
    harness.instances.clusterViews = []
  })

  it("a waiting request says why, an ended one is not cancelled twice", async () => {
    const { functionId, versionId } = await deployed()
    harness.requests.requests.set("r-1", requestView({ requestId: "r-1", functionId, versionId }))
    harness.instances.waiting.set(versionId, "the first instance is starting")
    harness.instances.scaleDecisions = [
      {
        atMs: 1_001,
        versionId,
        from: 0,
        to: 1,
        policy: "demand",
        reason: "1 pending",
        inputs: { pending: 1, last: null }
      }
    ]
    assert.strictEqual((await harness.call("GET", "/v1/requests?function=hello")).json.items.length, 1)
    assert.strictEqual((await harness.call("GET", "/v1/requests/r-1")).json.position, 2)
    const explained = (await harness.call("GET", "/v1/requests/r-1/explain")).json
    assert.strictEqual(explained.waitingFor, "the first instance is starting")
    assert.include(explained.lines.join("\n"), "scaled from 0 to 1: 1 pending")
    assert.strictEqual((await harness.call("DELETE", "/v1/requests/r-1")).status, 204)
    assert.strictEqual(harness.requests.get("r-1")?.state, "cancelled")
    assert.strictEqual(problemOf(await harness.call("POST", "/v1/requests/r-1/cancel")).status, 409)
    assert.strictEqual(problemOf(await harness.call("DELETE", "/v1/requests/r-2")).status, 404)
    assert.strictEqual((await harness.call("GET", `/v1/decisions?versionId=${versionId}`)).json.items.length, 1)
    assert.deepStrictEqual((await harness.call("GET", "/v1/clusters")).json.items, [])
  })
})

describe("what is refused", () => {
  it("a body that does not fit names every wrong field", async () => {
    const { versionId } = await deployed()
    const path = `/v1/versions/${versionId}/deployment`
    const wrong = { minInstances: -1, concurrency: "many", maxinstances: 3 }
    const problem = problemOf(await harness.call("PUT", path, { json: wrong }))
    assert.strictEqual(problem.status, 400)
    assert.sameMembers(
      problem.errors.map((issue: { pointer: string }) => issue.pointer),
      ["/minInstances", "/concurrency", "/maxinstances"]
    )
    assert.strictEqual((await harness.call("GET", path)).json.spec.maxInstances, 2)
    const above = problemOf(await harness.call("PUT", path, { json: { minInstances: 5 } }))
    assert.include(above.detail, "minInstances (5) must not exceed maxInstances (4)")
  })

  it.each([
    ["malformed JSON", "POST", "/v1/functions", { body: "{", headers: { "content-type": "application/json" } }, 400],
    ["no body", "POST", "/v1/functions", {}, 400],
    ["a name that is none", "POST", "/v1/functions", { json: { name: "Hello World" } }, 400],
    ["a misspelt filter", "GET", "/v1/functions?prefxi=a", {}, 400],
    ["a limit of zero", "GET", "/v1/functions?limit=0", {}, 400],
    ["an unknown state", "GET", "/v1/requests?state=sleeping", {}, 400],
    ["an unknown function", "GET", "/v1/functions/none", {}, 404],
    ["an unknown version", "GET", "/v1/versions/none", {}, 404],
    ["an unknown route", "GET", "/v2/functions", {}, 404],
    ["a broken escape", "GET", "/v1/functions/%zz", {}, 404],
    ["an empty command", "POST", "/v1/functions/none/versions", { json: { command: [] } }, 400],
    ["a wrong method", "PATCH", "/v1/functions/hello", { json: {} }, 405],
    ["a method without a route", "OPTIONS", "/v1/functions", {}, 405],
    ["another content type", "POST", "/v1/functions", { body: "name=x" }, 415],
    ["no content type", "POST", "/v1/functions", { body: new TextEncoder().encode('{"name":"x"}') }, 415],
    ["a body above the limit", "POST", "/v1/functions", { json: { name: "x".repeat(ControlServer.bodyBytesMax) } }, 413]
  ])("%s is answered with problem details", async (_, method, path, options, status) => {
    const before = harness.keyValue.entries()
    const answer = await harness.call(method, path, options)
    assert.strictEqual(problemOf(answer).status, status, answer.text)
    assert.deepStrictEqual(harness.keyValue.entries(), before)
  })

  it("405 says what is allowed", async () => {
    const answer = await harness.call("PATCH", "/v1/functions")
    assert.strictEqual(answer.status, 405)
    assert.strictEqual(answer.headers.get("allow"), "POST, GET, HEAD")
  })

  it("a body above the limit is refused also when it does not say its length", async () => {
    const piece = new Uint8Array(65_536)
    let left = 40
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => (left-- > 0 ? controller.enqueue(piece) : controller.close())
    })
    const response = await fetch(`${harness.url}/v1/functions`, {
      method: "POST",
      body,
      duplex: "half",
      headers: { authorization: `Bearer ${ControlHarness.adminToken}`, "content-type": "application/json" }
    } as RequestInit)
    assert.strictEqual(response.status, 413)
  })

  it("a taken name is a conflict that names its owner", async () => {
    const { functionId } = await deployed()
    const problem = problemOf(await harness.call("POST", "/v1/functions", { json: { name: "hello" } }))
    assert.strictEqual(problem.status, 409)
    assert.include(problem.detail, functionId)
  })

  it("a store that is away is 503 with a time to come back", async () => {
    harness.keyValue.failWrite(1)
    const answer = await harness.call("POST", "/v1/functions", { json: { name: "hello" } })
    assert.strictEqual(problemOf(answer).type, "urn:millrace:problem:fabric-unavailable")
    assert.strictEqual(answer.status, 503)
    assert.strictEqual(answer.headers.get("retry-after"), "1")
  })

  it("without the token, or with a wrong one, nothing but the three public paths answers", async () => {
    for (const authorization of ["", "Bearer ", "Bearer wrong", `Basic ${ControlHarness.adminToken}`]) {
      const answer = await harness.call("GET", "/v1/functions", { headers: { authorization } })
      assert.strictEqual(problemOf(answer).status, 401, authorization)
      assert.include(answer.headers.get("www-authenticate") ?? "", "Bearer")
      assert.strictEqual((await harness.call("GET", "/nothing", { headers: { authorization } })).status, 401)
      for (const path of ["/healthz", "/openapi.json", "/docs"]) {
        assert.strictEqual((await harness.call("GET", path, { headers: { authorization } })).status, 200, path)
      }
    }
  })

  it("health counts the messages of workers that were refused because their lease was over", async () => {
    harness.requests.staleMessages = 17
    const answer = await harness.call("GET", "/healthz")
    assert.deepStrictEqual(answer.json, { status: "ok", staleMessagesRefused: 17 })
  })

  it("a name in Host that is not of this machine is refused, so that no web page gets in by DNS", async () => {
    const status = (host: string) =>
      new Promise<number>((resolve, reject) => {
        const request = httpRequest(
          { port: harness.port, host: "127.0.0.1", path: "/healthz", headers: { host }, agent: false },
          (response) => {
            response.resume()
            resolve(response.statusCode ?? 0)
          }
        )
        request.on("error", reject)
        request.end()
      })
    for (const host of ["127.0.0.1", "localhost", `LOCALHOST:${harness.port}`, "[::1]:80", "127.9.9.9"]) {
      assert.strictEqual(await status(host), 200, host)
    }
    for (const host of ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]"]) {
      assert.strictEqual(await status(host), 403, host)
    }
    assert.strictEqual(await status("[::1"), 400)
  })

  it.each([
    ["bytes that are not HTTP", "\u0000\u0001\u0002\r\n\r\n", "400"],
    ["two Host headers", "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", "400"],
    ["no Host header", "GET /healthz HTTP/1.1\r\n\r\n", "400"],
    ["a whole URL as target", "GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "401"],
    ["headers without end", `GET / HTTP/1.1\r\nHost: localhost\r\nx: ${"y".repeat(40_000)}\r\n\r\n`, "431"],
    ["two lengths", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400"]
  ])("%s harms nothing", async (_, bytes, status) => {
    const answer = await raw(bytes)
    assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `))
    assert.strictEqual((await harness.call("GET", "/healthz")).status, 200)
  })
})

describe("the server", () => {
  it("describes itself for programs and for people, without any network", async () => {
    const document = (await harness.call("GET", "/openapi.json")).json
    assert.isAbove(Object.keys(document.paths).length, 10)
    assert.deepStrictEqual(document.security, [{ adminToken: [] }])
    const page = await harness.call("GET", "/docs")
    assert.include(page.headers.get("content-type") ?? "", "text/html")
    for (const path of Object.keys(document.paths)) assert.include(page.text, path)
    assert.notMatch(page.text, /(src|href)="(https?:)?\/\//)
  })

  it("answers HEAD like GET without a body", async () => {
    const answer = await harness.call("HEAD", "/v1/functions")
    assert.deepStrictEqual([answer.status, answer.text], [200, ""])
  })

  it("a taken port and a foreign address are errors that say what to do", async () => {
    const refusal = async (host: string, port: number) => {
      const error = await ControlHarness.start({ host, port }).then(
        () => undefined,
        (cause: Error) => cause
      )
      return error?.message ?? "none"
    }
    assert.include(await refusal("0.0.0.0", 0), "127.0.0.1")
    assert.include(await refusal("192.168.1.5", 0), "tunnel")
    const taken = await refusal("127.0.0.1", harness.port)
    assert.include(taken, `:${harness.port}`)
    assert.include(taken, "--control-port")
  })

  it("after it is closed nothing listens", async () => {
    await harness.close()
    const error = await harness.call("GET", "/healthz").catch((cause: Error) => cause)
    assert.instanceOf(error, Error)
  })
})
