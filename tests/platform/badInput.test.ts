/**
 * What is refused, with which status and sentence, and that nothing of it was enqueued.
 */
import { randomUUID } from "node:crypto"
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import { defaultTenant } from "../../src/planes/control/Registry.ts"
import { eventually, probe, type TestFunction } from "../support/TestPlatform.ts"
import { type Answer, call, open, raw, readAll } from "./support/Client.ts"
import { givenPlatform, live, peculiar } from "./support/Given.ts"

const given = givenPlatform({ buffer: { pendingCountMax: 3, pendingBytesMax: 1024 * 1024 * 1024 } })
let fn: TestFunction

beforeAll(async () => {
  fn = await given().deploy("strict", { bodyBytesMax: 100_000 })
  await call(`${fn.url}/`)
})

const gateway = () => given().platform.gatewayUrl
const kind = (answer: Answer) => String(answer.json()["type"]).replace("urn:millrace:problem:", "")

const problem = (answer: Answer) => {
  expect(answer.headers["content-type"]).toBe("application/problem+json")
  const { status, title, detail, type } = answer.json()
  expect(status).toBe(answer.status)
  expect(title).not.toBe("Error")
  expect(String(detail).length).toBeGreaterThan(20)
  expect(type).toMatch(/^urn:millrace:problem:/)
  return [answer.status, kind(answer)]
}

/** Neither a request nor a figure nor a file of this path remains. */
const nothingOf = (path: string) => {
  const { directory } = given().platform
  expect(directory.list({ limit: 1000 }).filter((request) => request.path === path)).toEqual([])
}

const arrivals = () => given().platform.directory.list({ limit: 1000 }).length

describe("nothing is enqueued by a call", () => {
  it("of a function that is unknown: 404", async () => {
    const before = arrivals()
    const unknown = randomUUID()
    for (const answer of [
      await call(`${gateway()}/f/nobody/x`),
      await call(`${gateway()}/f/nobody/x`, { body: Buffer.alloc(300_000) }),
      await call(`${gateway()}/`, { host: `${unknown}.invocation.localhost` }),
      await call(`${gateway()}/`, { host: `${unknown}.${fn.functionId}.invocation.localhost` }),
      await call(`${gateway()}/v2/nvcf/pexec/functions/${unknown}`, { body: "" }),
      await call(`${gateway()}/v2/nvcf/exec/functions/${fn.functionId}/versions/${unknown}`, { body: "{}" }),
      await call(`${gateway()}/`, { headers: { "function-id": unknown } })
    ]) {
      expect(problem(answer)).toEqual([404, "unknown-function"])
    }
    expect(problem(await call(`${gateway()}/nowhere`))).toEqual([404, "unknown-route"])
    expect((await call(`${gateway()}/f/%00%1b[31m`)).json()["detail"]).not.toContain("\u001b")
    expect(arrivals()).toBe(before)
  })

  it("of a version that is not deployed: 409", async () => {
    const { registry } = given().platform
    const record = await given().run(registry.createFunction({ tenant: defaultTenant, name: "undeployed" }))
    const spec = { command: ["node", probe], environment: {}, durability: "accepted" as const, inferencePath: "/" }
    const created = await given().run(registry.createVersion({ tenant: defaultTenant, functionId: record.id, spec }))
    const url = `${gateway()}/v2/nvcf/pexec/functions/${record.id}/versions/${created.id}`
    expect(problem(await call(url, { body: "" }))).toEqual([409, "not-deployed"])
    const gone = await given().deploy("undeployed-later")
    await call(`${gone.url}/`)
    await given().run(registry.undeploy(defaultTenant, gone.versionId as never))
    expect(problem(await call(`${gone.url}/after`))).toEqual([409, "not-deployed"])
    nothingOf("/after")
  })

  it("whose body exceeds the limit, announced, chunked, for exec, or with 100-continue: 413", async () => {
    const body = Buffer.alloc(100_001)
    expect(problem(await call(`${fn.url}/announced`, { body }))).toEqual([413, "body-too-large"])
    nothingOf("/announced")
    const exact = await call(`${fn.url}/count`, { body: body.subarray(1) })
    expect(exact.json()).toEqual({ bytes: 100_000 })
    const keyed = await call(`${fn.url}/keyed`, { body, chunked: true, headers: { "idempotency-key": "large" } })
    expect(problem(keyed)).toEqual([413, "body-too-large"])
    nothingOf("/keyed")
    const accepted = await call(`${fn.url}/async`, { body, chunked: true, headers: { prefer: "respond-async" } })
    expect(problem(accepted)).toEqual([413, "body-too-large"])
    nothingOf("/async")
    const exec = `${gateway()}/v2/nvcf/exec/functions/${fn.functionId}`
    expect((await call(exec, { body: JSON.stringify({ requestBody: "x".repeat(100_000) }) })).status).toBe(413)
    const expecting = await raw(
      gateway(),
      "POST /f/strict/expecting HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\nExpect: 100-continue\r\n\r\n"
    )
    expect(expecting).toMatch(/^HTTP\/1\.1 413 /)
    nothingOf("/expecting")
    expect(live(given(), fn.versionId)).toEqual([])
  })

  it("whose chunked body turns out to exceed the limit while the function reads it: 413, and the attempt is stopped", async () => {
    const opened = open(`${fn.url}/count`)
    opened.write(Buffer.alloc(70_000))
    await eventually("it runs", () => live(given(), fn.versionId)[0]?.state === "leased" || undefined)
    opened.write(Buffer.alloc(70_000))
    opened.end()
    expect(problem(await readAll(await opened.answer))).toEqual([413, "body-too-large"])
    await eventually("it ended", () => live(given(), fn.versionId).length === 0 || undefined)
    expect(given().platform.directory.list({ limit: 1 })[0]).toMatchObject({ state: "cancelled" })
  })

  it("when the queue is full: 429 with Retry-After, and the ones in it go on", async () => {
    const one = await given().deploy("narrow", { concurrency: 1, maxInstances: 1 })
    await call(`${one.url}/`)
    const inside = Array.from({ length: 3 }, () => call(`${one.url}/sleep?ms=300`))
    await eventually("three are in", () => live(given(), one.versionId).length === 3 || undefined)
    for (const refused of [
      await call(`${one.url}/over`),
      await call(`${one.url}/over`, { headers: { prefer: "respond-async" } }),
      await call(`${fn.url}/over`, { headers: { "idempotency-key": "over" } })
    ]) {
      expect(problem(refused)).toEqual([429, "queue-full"])
      expect(Number(refused.headers["retry-after"])).toBeGreaterThanOrEqual(1)
    }
    nothingOf("/over")
    expect((await Promise.all(inside)).map((answer) => answer.text)).toEqual(Array(3).fill("slept 300"))
    const later = await call(`${fn.url}/inspect`, { headers: { "idempotency-key": "over" } })
    expect(later.status).toBe(200)
  })

  it("with a header that is none: 400 with what was expected", async () => {
    const bad = [
      ["millrace-deadline", "soon"],
      ["millrace-deadline", "25h"],
      ["millrace-deadline", "0s"],
      ["millrace-deadline", "-1s"],
      ["idempotency-key", ""],
      ["idempotency-key", "x".repeat(256)],
      ["millrace-on-disconnect", "maybe"]
    ] as const
    for (const [name, value] of bad) {
      const answer = await call(`${fn.url}/header`, { headers: { [name]: value } })
      expect(problem(answer)).toEqual([400, "bad-header"])
      expect(answer.json()["detail"]).toContain("expected")
    }
    nothingOf("/header")
  })

  it("whose deadline has passed when it comes: 504", async () => {
    const answer = await call(`${fn.url}/late`, { headers: { "millrace-deadline": "2020-01-01T00:00:00Z" } })
    expect(problem(answer)).toEqual([504, "deadline-passed"])
    nothingOf("/late")
  })

  it("of exec that is no JSON, has no body, or a wrong header: 400", async () => {
    const exec = `${gateway()}/v2/nvcf/exec/functions/${fn.functionId}`
    for (const body of [
      "",
      "{",
      "[]",
      "null",
      '"x"',
      '{"body":1}',
      '{"requestHeader":[],"requestBody":1}',
      '{"requestHeader":{"pollDurationSeconds":-1},"requestBody":1}',
      '{"requestHeader":{"pollDurationSeconds":"1"},"requestBody":1}'
    ]) {
      expect(problem(await call(exec, { body })), body).toEqual([400, "bad-request"])
    }
    const before = arrivals()
    const assets = '{"requestHeader":{"inputAssetReferences":["x"]},"requestBody":1}'
    expect(problem(await call(exec, { body: assets }))).toEqual([501, "not-served"])
    expect(arrivals()).toBe(before)
  })

  it("to a route or with a header of NVCF's that is not served: 501 with a sentence", async () => {
    const before = arrivals()
    for (const [method, path] of [
      ["POST", "/v2/nvcf/assets"],
      ["GET", "/v2/nvcf/functions"],
      ["GET", "/v2/nvcf/worker/request-attach"],
      ["POST", "/v2/nvcf/worker/request-attach"],
      ["GET", "/v2/nvcf/queues/functions/x"]
    ] as const) {
      const answer = await call(`${gateway()}${path}`, { method, ...(method === "POST" ? { body: "" } : {}) })
      expect(problem(answer)).toEqual([501, "not-served"])
      expect(answer.json()["detail"]).toMatch(/is part of the NVCF interface and is not served/)
    }
    const headers = { "nvcf-input-asset-references": randomUUID() }
    const pexec = `${gateway()}/v2/nvcf/pexec/functions/${fn.functionId}`
    expect(problem(await call(pexec, { body: "", headers }))).toEqual([501, "not-served"])
    expect(arrivals()).toBe(before)
  })

  it("with an id that is no UUID: 400", async () => {
    for (const path of [
      "/v2/nvcf/pexec/functions/x",
      `/v2/nvcf/pexec/functions/${fn.functionId}/versions/x`,
      "/v2/nvcf/exec/functions/x"
    ]) {
      expect(problem(await call(`${gateway()}${path}`, { body: "" }))).toEqual([400, "bad-request"])
    }
    expect(problem(await call(`${gateway()}/v2/nvcf/pexec/status/x`))).toEqual([400, "bad-request"])
    expect(problem(await call(`${gateway()}/requests/x/result`))).toEqual([400, "bad-request"])
    const wait = await call(`${gateway()}/requests/${randomUUID()}/result?wait=x`)
    expect([404, 400]).toContain(wait.status)
  })
})

describe("bytes that are no HTTP for us", () => {
  const exchange = async (bytes: string) => {
    const before = arrivals()
    const seen = await raw(gateway(), bytes)
    expect(arrivals(), seen).toBe(before)
    return seen
  }

  it("are an upgrade: 501, and an offer of h2c is declined by plain service", async () => {
    const seen = await exchange(
      "GET /f/strict/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n\r\n"
    )
    expect(seen).toMatch(/^HTTP\/1\.1 501 /)
    expect(seen).toContain("is not served")
    const offer = await raw(
      gateway(),
      "GET /f/strict/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
      "hello from"
    )
    expect(offer).toMatch(/^HTTP\/1\.1 200 /)
  })

  it("are a target with another authority than the host: 400; with the same one it is served", async () => {
    const own = new URL(gateway()).host
    const foreign = await exchange(
      `GET http://evil.example/f/strict/ HTTP/1.1\r\nHost: ${own}\r\nConnection: close\r\n\r\n`
    )
    expect(foreign).toMatch(/^HTTP\/1\.1 400 /)
    expect(foreign).toContain("bad-request")
    const same = await raw(
      gateway(),
      `GET http://${own}/f/strict/ HTTP/1.1\r\nHost: ${own}\r\nConnection: close\r\n\r\n`
    )
    expect(same).toMatch(/^HTTP\/1\.1 200 /)
    const byHost = `${fn.functionId}.invocation.localhost`
    const hosted = await raw(
      gateway(),
      `GET http://${byHost}/x HTTP/1.1\r\nHost: ${byHost}\r\nConnection: close\r\n\r\n`
    )
    expect(hosted).toContain("hello from")
  })

  it("are two hosts: 400, because the two might mean two functions", async () => {
    const seen = await exchange(
      `GET / HTTP/1.1\r\nHost: ${fn.functionId}.localhost\r\nHost: other.example\r\nConnection: close\r\n\r\n`
    )
    expect(seen).toMatch(/^HTTP\/1\.1 400 /)
  })

  it.each([
    ["a line that is no request", "NONSENSE\r\n\r\n"],
    ["a request without a version", "GET /f/strict/\r\n\r\n"],
    ["HTTP/1.1 without a host", "GET /f/strict/ HTTP/1.1\r\n\r\n"],
    ["two lengths", "POST /f/strict/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"],
    [
      "a length and chunks",
      "POST /f/strict/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ],
    ["a length that is none", "POST /f/strict/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"],
    ["a header with a space in its name", "GET /f/strict/ HTTP/1.1\r\nHost: x\r\nbad name: 1\r\n\r\n"],
    ["a TLS hello", "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003"]
  ])("are %s: 400 and a closed connection", async (_, bytes) => {
    const seen = await exchange(bytes)
    expect(seen).toMatch(/^HTTP\/1\.1 400 /)
    expect(seen.toLowerCase()).toContain("connection: close")
    expect(seen).toContain("application/problem+json")
  })

  it("are headers beyond every bound: 431", async () => {
    const seen = await exchange(`GET /f/strict/ HTTP/1.1\r\nHost: x\r\nx: ${"y".repeat(200_000)}\r\n\r\n`)
    expect(seen === "" || seen.startsWith("HTTP/1.1 431 ")).toBe(true)
  })

  it("are chunks that break off in their syntax: the call ends, and its attempt with it", async () => {
    const seen = await raw(
      gateway(),
      "POST /f/strict/count HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZZ\r\n"
    )
    expect(seen === "" || seen.startsWith("HTTP/1.1 400 ")).toBe(true)
    await eventually("it ended", () => live(given(), fn.versionId).length === 0 || undefined)
  })
})

describe("a deadline", () => {
  it("that passes while a request waits ends it with 504, and it never runs", async () => {
    const one = await given().deploy("busy", { concurrency: 1, maxInstances: 1 }, peculiar)
    await call(`${one.url}/`)
    const blocking = open(`${one.url}/forever?name=blocks`, {
      method: "GET",
      headers: { "millrace-on-disconnect": "cancel" }
    })
    blocking.end()
    await eventually("it is busy", () => live(given(), one.versionId)[0]?.state === "leased" || undefined)
    const late = await call(`${one.url}/once?name=late`, { headers: { "millrace-deadline": "2s" } })
    expect(problem(late)).toEqual([504, "deadline-passed"])
    expect(late.wallMs).toBeGreaterThan(290)
    expect(late.headers["nvcf-status"]).toBe("errored")
    blocking.leave()
    await eventually("it is free", () => live(given(), one.versionId).length === 0 || undefined)
    expect((await call(`${one.url}/runs?name=late`)).json()["runs"]).toBe(0)
  })

  it("that passes while it runs ends it with 504, and the function is told", async () => {
    // Long enough to begin on a busy machine: what is read after its deadline is not begun, and not told.
    const answer = await call(`${fn.url}/sleep?ms=20000`, { headers: { "millrace-deadline": "2s" } })
    expect(problem(answer)).toEqual([504, "deadline-passed"])
    expect(answer.wallMs).toBeLessThan(15_000)
    const id = String(answer.headers["nvcf-reqid"])
    await eventually("the signal fired", async () => {
      const [instance] = given().platform.control.instances({ versionId: fn.versionId })
      const lines = await given().run(given().platform.logs.logs(instance!.instanceId))
      return lines.some(({ text }) => text === `aborted ${id}`) || undefined
    })
  })

  it("that passes in the middle of a stream breaks the stream", async () => {
    const broken = call(`${fn.url}/stream?n=100&ms=50`, { headers: { "millrace-deadline": "2s" } })
    await expect(broken).rejects.toThrow(/aborted|hang up|ECONNRESET/)
  })

  it("of the deployment holds where the caller names none", async () => {
    const one = await given().deploy("hurried", { requestTimeoutMs: 400 })
    const cold = await call(`${one.url}/sleep?ms=5000`)
    expect(problem(cold)).toEqual([504, "deadline-passed"])
  })
})

describe("after all that", () => {
  it("nothing waits, nothing runs, and no file is left", async () => {
    await eventually(
      "every figure is zero",
      () =>
        given()
          .platform.directory.backlog()
          .every(({ pending, leased }) => pending + leased === 0) || undefined
    )
    await eventually("no file is left", () => {
      const left = ["blobs", "blobs-partial"]
        .map((folder) => join(given().stateDirectory, folder))
        .flatMap((folder) => (existsSync(folder) ? readdirSync(folder) : []))
      return left.length === 0 || undefined
    })
  })
})
