/**
 * Laws C1 to C3 of the control server: whatever is sent, the answer is JSON or problem details, nothing is created by
 * what was refused, and the next request is answered.
 *
 * Bodies are random bytes, random JSON, and good bodies with one thing broken; paths mix known routes with rubbish. Of
 * the bodies about one in ten is accepted, so that both sides are reached.
 */
import { connect } from "node:net"
import * as fc from "fast-check"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import * as ControlHarness from "./ControlHarness.ts"

let harness: ControlHarness.Harness
let versionId: string
beforeAll(async () => {
  harness = await ControlHarness.start()
  await harness.call("POST", "/v1/functions", { json: { name: "hello" } })
  versionId = (await harness.call("POST", "/v1/functions/hello/versions", { json: { command: ["x"] } })).json.id
})
afterAll(() => harness.close())

const statuses = new Set([200, 201, 204, 400, 401, 403, 404, 405, 409, 413, 415, 431])

const check = (answer: ControlHarness.Answer, what: string) => {
  assert.isTrue(statuses.has(answer.status), `${what} answered ${answer.status}: ${answer.text}`)
  if (answer.status < 400) return
  assert.strictEqual(answer.headers.get("content-type"), "application/problem+json", what)
  assert.strictEqual(answer.json.status, answer.status)
  assert.match(answer.json.type, /^urn:millrace:problem:[a-z-]+$/)
}

const good: Readonly<Record<string, unknown>> = {
  "POST /v1/functions": { name: "fine" },
  "POST /v1/functions/hello/versions": { command: ["node"], environment: { A: "b" }, durability: "always" },
  "PUT /v1/functions/hello/active-version": { versionId: null },
  "PUT /v1/versions/VERSION/deployment": { minInstances: 0, maxInstances: 3, gpu: { kind: "H100", count: 1 } }
}

const strange = fc.oneof(
  fc.constantFrom<unknown>(null, -1, 1e308, "", "\u0000", "__proto__", [], {}, true, "x".repeat(5_000)),
  fc.jsonValue({ maxDepth: 4 })
)
/** A good body in which one member is replaced, added or missing. */
const broken = (body: unknown) =>
  fc
    .tuple(fc.constantFrom(...Object.keys(body as object), "__proto__", "constructor", "extra"), strange)
    .map(([key, value]) => JSON.stringify(Object.fromEntries([...Object.entries(body as object), [key, value]])))

const body = (good: unknown) =>
  fc.oneof(
    fc.constant(new TextEncoder().encode(JSON.stringify(good))),
    broken(good).map((text) => new TextEncoder().encode(text)),
    fc.json().map((text) => new TextEncoder().encode(text)),
    fc.uint8Array({ maxLength: 2_000 }).map((bytes) => Uint8Array.from(bytes)),
    fc.constant(new TextEncoder().encode(`${"[".repeat(50_000)}${"]".repeat(50_000)}`)),
    fc.constant(new TextEncoder().encode(`{"a":${'{"a":'.repeat(5_000)}1${"}".repeat(5_000)}}`))
  )

describe("the control server", () => {
  it("C1, C3: no body crashes it, and every refusal is problem details", async () => {
    const seen = { accepted: 0, refused: 0 }
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...Object.entries(good)).chain(([route, good]) => fc.tuple(fc.constant(route), body(good))),
        async ([route, bytes]) => {
          const [method = "", path = ""] = route.split(" ")
          const answer = await harness.call(method, path.replace("VERSION", versionId), {
            body: bytes,
            headers: { "content-type": "application/json" }
          })
          check(answer, route)
          if (answer.status < 400) seen.accepted += 1
          else seen.refused += 1
        }
      ),
      { numRuns: 300 }
    )
    assert.isAbove(seen.accepted, 5)
    assert.isAbove(seen.refused, 100)
    assert.strictEqual((await harness.call("GET", "/v1/functions/hello")).status, 200)
  })

  it("C1, C3: no path, query or method crashes it", async () => {
    const segment = fc.oneof(
      fc.constantFrom("v1", "functions", "hello", "versions", "..", ".", "%2e%2e", "%00", "%ff", "*", ":function", ""),
      fc.webSegment()
    )
    const query = fc.oneof(
      fc.constantFrom("", "?", "?limit=-1", "?limit=1&limit=2", "?a[b]=c", "?%", "?force=yes"),
      fc.webQueryParameters().map((text) => `?${text}`)
    )
    const method = fc.constantFrom("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")
    await fc.assert(
      fc.asyncProperty(method, fc.array(segment, { maxLength: 6 }), query, async (method, segments, query) => {
        const answer = await harness.call(method, `/${segments.join("/")}${query}`)
        if (method === "HEAD") assert.isBelow(answer.status, 500)
        else check(answer, `${method} /${segments.join("/")}${query}`)
      }),
      { numRuns: 300 }
    )
    assert.strictEqual((await harness.call("GET", "/v1/functions/hello")).status, 200)
  })

  it("C2: without the token no path but the three public ones answers, whatever is sent", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.webPath(),
        fc
          .oneof(fc.string(), fc.constantFrom("", "Bearer", "Bearer  ", "Basic QQ=="))
          .filter((text) => /^[\x20-\x7e]*$/.test(text)),
        async (path, authorization) => {
          fc.pre(!["/healthz", "/openapi.json", "/docs"].includes(path) && path.startsWith("/"))
          const answer = await harness.call("GET", path, { headers: { authorization } })
          assert.strictEqual(answer.status, 401, path)
        }
      ),
      { numRuns: 100 }
    )
  })

  it("C3: bytes that are no HTTP, and connections that end in the middle, harm nobody else", async () => {
    const preface = fc.constantFrom(
      "",
      "GET /healthz HTTP/1.1\r\nHost: localhost\r\n",
      `POST /v1/functions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${ControlHarness.adminToken}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n`,
      `POST /v1/functions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${ControlHarness.adminToken}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`
    )
    await fc.assert(
      fc.asyncProperty(preface, fc.uint8Array({ maxLength: 300 }), async (preface, bytes) => {
        await new Promise<void>((resolve) => {
          const socket = connect(harness.port, "127.0.0.1", () => {
            socket.write(preface)
            socket.end(bytes)
          })
          socket.on("error", () => resolve())
          socket.on("close", () => resolve())
          socket.resume()
        })
        assert.strictEqual((await harness.call("GET", "/healthz")).status, 200)
      }),
      { numRuns: 100 }
    )
  })
})
