/**
 * How a call is addressed and what of it reaches the function, and of the answer the caller.
 */
import { beforeAll, describe, expect, it } from "vitest"
import { defaultTenant } from "../../src/planes/control/Registry.ts"
import { eventually, probe, root, type TestFunction } from "../support/TestPlatform.ts"
import { call, open, raw, readAll } from "./support/Client.ts"
import { givenPlatform, peculiar } from "./support/Given.ts"

const given = givenPlatform()
let fn: TestFunction
let odd: TestFunction

beforeAll(async () => {
  fn = await given().deploy("routed")
  odd = await given().deploy("odd", {}, peculiar)
  await Promise.all([call(`${fn.url}/`), call(`${odd.url}/`)])
})

const gateway = () => given().platform.gatewayUrl
const nvcf = (surface: "exec" | "pexec", rest = "") =>
  `${gateway()}/v2/nvcf/${surface}/functions/${fn.functionId}${rest}`
const headerPairs = (value: unknown) => new Map(value as ReadonlyArray<[string, string]>)

describe.concurrent("a call is addressed", () => {
  it("by its path, of which the function sees what follows the name, query included", async () => {
    const answer = (await call(`${fn.url}/inspect?a=1&b=%20x`)).json()
    expect(new URL(String(answer["url"])).pathname + new URL(String(answer["url"])).search).toBe("/inspect?a=1&b=%20x")
    expect((await call(fn.url)).text).toMatch(/^hello from/)
    expect((await call(`${fn.url}?x=1`)).text).toMatch(/^hello from/)
  })

  it("by its host, with any path and any case, also paths that mean something to the gateway", async () => {
    const host = `${fn.functionId}.invocation.localhost`
    const answer = await call(`${gateway()}/inspect?deep=1`, { host })
    expect(new URL(String(answer.json()["url"])).host).toBe(host)
    for (const path of ["/health", "/v2/nvcf/exec/functions/x", "/requests/1", "/f/routed/status?code=418"]) {
      expect((await call(`${gateway()}${path}`, { host: host.toUpperCase() })).text).toMatch(/^hello from/)
    }
  })

  it("by version and function in the host, version first", async () => {
    const answer = await call(`${gateway()}/`, { host: `${fn.versionId}.${fn.functionId}.invocation.localhost:8787` })
    expect(answer.text).toMatch(/^hello from/)
    const wrong = await call(`${gateway()}/`, { host: `${odd.versionId}.${fn.functionId}.invocation.localhost` })
    expect(wrong.status).toBe(404)
  })

  it("by the header function-id, with or without a version", async () => {
    expect((await call(`${gateway()}/x`, { headers: { "function-id": fn.functionId } })).text).toMatch(/^hello from/)
    const headers = { "function-id": fn.functionId, "function-version-id": fn.versionId }
    expect((await call(`${gateway()}/x`, { headers })).text).toMatch(/^hello from/)
    const ignored = { "function-id": fn.functionId, "function-version-id": "no uuid" }
    expect((await call(`${gateway()}/x`, { headers: ignored })).status).toBe(200)
  })

  it("by pexec, with or without a version, on the version's inference path and never on the caller's", async () => {
    for (const url of [nvcf("pexec", "?own=1"), nvcf("pexec", `/versions/${fn.versionId}`)]) {
      const answer = await call(url, { body: '{"a":1}' })
      expect(answer.status).toBe(200)
      expect(new URL(String(answer.json()["url"])).pathname).toBe("/inspect")
      expect(new URL(String(answer.json()["url"])).search).toBe("")
      expect(answer.json()).toMatchObject({ method: "POST", body: '{"a":1}' })
      expect(answer.headers["nvcf-status"]).toBe("fulfilled")
      expect(answer.headers["nvcf-reqid"]).toBe(answer.json()["requestId"])
      expect(answer.headers["access-control-expose-headers"]).toContain("nvcf-reqid")
    }
  })

  it("by exec, whose call and answer are wrapped in JSON", async () => {
    for (const url of [nvcf("exec"), nvcf("exec", `/versions/${fn.versionId}`)]) {
      const body = JSON.stringify({ requestHeader: { pollDurationSeconds: 30 }, requestBody: { q: ["a", 1] } })
      const answer = await call(url, { body, headers: { "x-own": "1", "content-type": "application/json" } })
      const { response, ...wrapper } = answer.json() as { response: Record<string, unknown> }
      expect(answer.status).toBe(200)
      expect(wrapper).toEqual({ reqId: response["requestId"], status: "fulfilled", percentComplete: 100 })
      expect(response).toMatchObject({ method: "POST", body: '{"q":["a",1]}' })
      const headers = headerPairs(response["headers"])
      expect(headers.get("content-type")).toBe("application/json")
      expect(headers.has("x-own")).toBe(false)
      expect(answer.headers["nvcf-reqid"]).toBeUndefined()
    }
  })

  it("to another version than the active one, when it is named", async () => {
    const { registry } = given().platform
    const page = await given().run(
      registry.listVersions({ tenant: defaultTenant, functionId: fn.functionId, limit: 9 })
    )
    const { spec } = page.items[0]!
    const second = await given().run(
      registry.createVersion({
        tenant: defaultTenant,
        functionId: fn.functionId,
        spec: { ...spec, environment: { WHICH: "second" }, inferencePath: "/environment" }
      })
    )
    expect((await call(nvcf("pexec", `/versions/${second.id}`), { body: "" })).status).toBe(409)
    const deployment = (await given().run(registry.getDeployment(defaultTenant, fn.versionId))).spec
    await given().run(registry.deploy({ tenant: defaultTenant, versionId: second.id, spec: deployment }))
    const named = await call(nvcf("pexec", `/versions/${second.id}`), { body: "" })
    expect(named.json()["WHICH"]).toBe("second")
    const first = await call(nvcf("pexec", `/versions/${fn.versionId}`), { body: "" })
    expect(first.json()["method"]).toBe("POST")
  })
})

describe.concurrent("what reaches the function", () => {
  it.each(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY"])(
    "is the verb %s",
    async (method) => {
      const answer = await call(`${fn.url}/inspect`, { method, ...(method === "GET" ? {} : { body: "b" }) })
      expect(answer.json()).toMatchObject({ method, body: method === "GET" ? "" : "b" })
    }
  )

  it("is the path as it was sent, byte for byte, also where a URL parser would tidy it up", async () => {
    const seen = await raw(
      gateway(),
      "GET /f/routed/inspect?q=%zz&x=[1]|{} HTTP/1.1\r\nHost: h.example\r\nConnection: close\r\n\r\n"
    )
    expect(seen).toContain("%zz&x=[1]")
  })

  it("are all headers but those of the connection, repeated ones repeated", async () => {
    const answer = await call(`${fn.url}/inspect`, {
      headers: {
        "X-Mixed-Case": "kept",
        "x-many": ["1", "2"],
        accept: "text/plain",
        connection: "x-hop, close",
        "x-hop": "hidden",
        te: "trailers",
        "proxy-authorization": "Basic x",
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
      }
    })
    const headers = headerPairs(answer.json()["headers"])
    expect(headers.get("x-mixed-case")).toBe("kept")
    expect(headers.get("x-many")).toBe("1, 2")
    expect(headers.get("traceparent")).toContain("0af7651916cd43dd")
    for (const gone of ["x-hop", "connection", "te", "proxy-authorization", "transfer-encoding"]) {
      expect(headers.has(gone), gone).toBe(false)
    }
  })

  it("is any content type and any bytes, whole and chunked, empty and large", async () => {
    const every = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
    for (const [type, body] of [
      ["application/octet-stream", every],
      ["image/png", Buffer.concat(Array.from({ length: 300 }, () => every))],
      ["application/x-ndjson; charset=utf-8", Buffer.from('{"a":1}\n{"a":2}\n')],
      ["multipart/form-data; boundary=x", Buffer.from("--x\r\n\r\n\0\xff--x--", "latin1")],
      ["weird", Buffer.alloc(0)]
    ] as const) {
      for (const chunked of [false, true]) {
        const answer = await call(`${fn.url}/echo`, { body, chunked, headers: { "content-type": type } })
        expect(answer.headers["content-type"]).toBe(type)
        expect(answer.bytes.equals(body)).toBe(true)
      }
    }
  })

  it("is who asks, the attempt and the deadline", async () => {
    const sentAtMs = Date.now()
    const answer = await call(`${fn.url}/inspect`, { headers: { "millrace-deadline": "30s" } })
    const { attempt, deadline, tenant, requestId } = answer.json()
    expect({ attempt, tenant, requestId }).toEqual({
      attempt: 1,
      tenant: defaultTenant,
      requestId: answer.headers["nvcf-reqid"]
    })
    expect(Math.abs(Number(deadline) - sentAtMs - 30_000)).toBeLessThan(2_000)
  })
})

describe.concurrent("what reaches the caller", () => {
  it("is the function's own status, headers and body, also when it is an error", async () => {
    for (const code of [200, 201, 299, 301, 307, 400, 404, 409, 413, 429, 500, 502, 503, 504, 599]) {
      const answer = await call(`${fn.url}/status?code=${code}`)
      expect(answer.status).toBe(code)
      expect(answer.text).toBe("as asked")
      expect(answer.headers["x-own"]).toBe("kept")
      expect(answer.headers["nvcf-status"]).toBe(code < 400 ? "fulfilled" : "errored")
    }
  })

  it("is every set-cookie on a line of its own, and no header of the worker's connection", async () => {
    expect((await call(`${fn.url}/cookies`)).headers["set-cookie"]).toEqual(["a=1", "b=2"])
    const answer = await call(`${odd.url}/headers`)
    expect(answer.headers["x-many"]).toBe("1, 2")
    expect(answer.headers["keep-alive"]).not.toBe("timeout=1")
    expect(answer.headers["x-latin"]).toBe("caf\u00e9")
  })

  it("has no body for HEAD, 204, 205 and 304, and the connection stays usable", async () => {
    const head = await call(`${fn.url}/status?code=200`, { method: "HEAD" })
    expect([head.status, head.bytes.length, head.headers["x-own"]]).toEqual([200, 0, "kept"])
    for (const code of [204, 205, 304]) {
      const answer = await call(`${odd.url}/bodyless?code=${code}`)
      expect([answer.status, answer.bytes.length, answer.headers.etag]).toEqual([code, 0, '"one"'])
    }
    const lines = (path: string, method: string) => `${method} ${path} HTTP/1.1\r\nHost: x\r\n\r\n`
    const seen = await raw(
      gateway(),
      lines("/f/odd/bodyless?code=204", "GET") +
        lines("/f/routed/status", "HEAD") +
        lines("/f/odd/bodyless?code=304", "GET") +
        lines("/f/routed/", "GET"),
      "hello from"
    )
    expect(seen.match(/HTTP\/1\.1 (\d+)/g)).toEqual(["HTTP/1.1 204", "HTTP/1.1 200", "HTTP/1.1 304", "HTTP/1.1 200"])
  })

  it("is answered in order when calls are pipelined", async () => {
    const line = (path: string) => `GET /f/routed${path} HTTP/1.1\r\nHost: x\r\n\r\n`
    const seen = await raw(gateway(), line("/sleep?ms=150") + line("/status?code=418") + line("/"), "hello from")
    expect(seen.indexOf("slept 150")).toBeLessThan(seen.indexOf("HTTP/1.1 418"))
    expect(seen.indexOf("HTTP/1.1 418")).toBeLessThan(seen.indexOf("hello from"))
  })

  it("breaks off when the function announced another length than it sent, or has the right one if it was there whole: what follows is never misread", async () => {
    const lie = (bytes: number, said: number) =>
      `GET /f/odd/lie?bytes=${bytes}&said=${said} HTTP/1.1\r\nHost: x\r\n\r\nGET /f/routed/ HTTP/1.1\r\nHost: x\r\n\r\n`
    for (const [bytes, said] of [
      [10, 4],
      [4, 10]
    ] as const) {
      const seen = await raw(gateway(), lie(bytes, said), "hello from")
      const [first = "", ...others] = seen.split(/(?=HTTP\/1\.1 200)/)
      if (others.length === 0) expect(seen).not.toContain("hello from")
      else expect(first).toMatch(new RegExp(`\\r\\ncontent-length: ${bytes}\\r\\n[^]*\\r\\n\\r\\nx{${bytes}}$`))
      const text = await call(`${odd.url}/lie?bytes=${bytes}&said=${said}`).then(
        (answer) => answer.text,
        () => "broken off"
      )
      expect(["broken off", "x".repeat(bytes)]).toContain(text)
    }
    expect((await call(`${odd.url}/lie?bytes=7&said=7`)).text).toBe("xxxxxxx")
  })

  it("says where its time went on every answer of every kind", async () => {
    const accepted = await call(`${fn.url}/`, { headers: { prefer: "respond-async" } })
    const id = String(accepted.json()["requestId"])
    const cors = { method: "OPTIONS", headers: { origin: "https://x.example" } }
    const answers = await Promise.all([
      call(`${fn.url}/`),
      call(`${fn.url}/stream`),
      call(`${fn.url}/throw`),
      call(nvcf("exec"), { body: '{"requestBody":1}' }),
      call(nvcf("exec"), { body: "no json" }),
      call(`${gateway()}/health`),
      call(`${gateway()}/nowhere`),
      call(`${gateway()}/f/nobody/`),
      call(`${gateway()}/requests/${id}`),
      call(`${gateway()}/requests/${id}/result?wait=5`),
      call(`${gateway()}/v2/nvcf/pexec/status/${id}`),
      call(`${gateway()}/v2/nvcf/assets`),
      call(nvcf("pexec"), { method: "GET" }),
      call(nvcf("pexec"), cors),
      call(`${fn.url}/`, { headers: { "millrace-deadline": "never" } }),
      Promise.resolve(accepted)
    ])
    for (const answer of answers) {
      expect(answer.headers["server-timing"], `${answer.status} ${answer.text}`).toMatch(
        /^admit;dur=[\d.]+.*total;dur=/
      )
    }
  })
})

describe.concurrent("what NVCF's callers rely on", () => {
  it("answers any preflight of the path router with 200 and mirrors it, the function's own OPTIONS by host", async () => {
    const headers = {
      origin: "https://app.example",
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,nvcf-poll-seconds"
    }
    const answer = await call(nvcf("pexec"), { method: "OPTIONS", headers })
    expect([answer.status, answer.bytes.length]).toEqual([200, 0])
    expect(answer.headers).toMatchObject({
      "access-control-allow-origin": "https://app.example",
      "access-control-allow-credentials": "true",
      "access-control-allow-methods": "POST",
      "access-control-allow-headers": "authorization,nvcf-poll-seconds",
      "access-control-max-age": "86400",
      vary: "origin, access-control-request-method, access-control-request-headers",
      allow: "POST"
    })
    const own = await call(`${gateway()}/inspect`, { method: "OPTIONS", headers, host: `${fn.functionId}.localhost` })
    expect(own.json()["method"]).toBe("OPTIONS")
  })

  it("lets a page of another origin read the answers of the path router", async () => {
    const headers = { origin: "https://app.example" }
    for (const answer of [
      await call(nvcf("pexec"), { body: "{}", headers }),
      await call(nvcf("exec"), { body: '{"requestBody":1}', headers }),
      await call(`${gateway()}/v2/nvcf/pexec/status/00000000-0000-7000-8000-000000000000`, { headers })
    ]) {
      expect(answer.headers["access-control-allow-origin"]).toBe("https://app.example")
      expect(answer.headers["access-control-allow-credentials"]).toBe("true")
    }
    const byHost = await call(`${gateway()}/`, { headers, host: `${fn.functionId}.localhost` })
    expect(byHost.headers["access-control-allow-origin"]).toBeUndefined()
  })

  it("answers 405 with Allow for a wrong method on a known path", async () => {
    const answer = await call(nvcf("pexec"), { method: "GET" })
    expect([answer.status, answer.headers.allow]).toEqual([405, "POST"])
    const status = await call(`${gateway()}/v2/nvcf/exec/status/${fn.functionId}`, { method: "POST", body: "" })
    expect([status.status, status.headers.allow]).toEqual([405, "GET"])
  })

  it("wraps what exec cannot pass on: another status, a body that is not JSON", async () => {
    const asked = async (inferencePath: string) => {
      const one = await given().deploy(`exec${inferencePath.replaceAll(/[^a-z0-9]/g, "-")}`, {}, { inferencePath })
      return call(`${gateway()}/v2/nvcf/exec/functions/${one.functionId}`, { body: '{"requestBody":1}' })
    }
    const [teapot, text] = await Promise.all([asked("/status?code=418"), asked("/status?code=200")])
    expect(teapot.status).toBe(418)
    expect(teapot.json()).toMatchObject({ status: "errored", errorCode: 418 })
    expect(text.status).toBe(500)
    expect(text.json()["detail"]).toContain("not JSON")
  })

  it("says health", async () => {
    expect((await call(`${gateway()}/health`)).json()).toEqual({ status: "OK" })
  })

  it("waits for a body of which it said 100 Continue, and reads it", async () => {
    const opened = open(`${fn.url}/count`, { headers: { expect: "100-continue", "content-length": "5" } })
    opened.end("12345")
    expect((await readAll(await opened.answer)).json()).toEqual({ bytes: 5 })
  })
})

describe("the version's own settings", () => {
  it("reach the instance: command, folder and environment", async () => {
    const one = await given().deploy("own-environment", {}, { environment: { GREETING: "hi" }, workingDirectory: root })
    const environment = (await call(`${one.url}/environment`)).json()
    expect(environment["GREETING"]).toBe("hi")
    expect(probe).toContain("probe.ts")
    await eventually("an instance of it is there", () =>
      given().platform.control.instances({ versionId: one.versionId }).length === 1 ? true : undefined
    )
  })
})
