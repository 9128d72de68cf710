import type { IncomingMessage } from "node:http"
import { describe, expect, it } from "vitest"
import { deploymentDefaults } from "../control/Domain.ts"
import type { Route, RoutingTable } from "../control/RoutingTable.ts"
import * as GatewayRoute from "./GatewayRoute.ts"

const functionId = "11111111-1111-4111-8111-111111111111"
const versionId = "22222222-2222-4222-8222-222222222222"
const otherId = "33333333-3333-4333-8333-333333333333"

const route: Route = {
  tenant: "default",
  functionId,
  functionName: "hello",
  versionId,
  version: { command: ["node"], environment: {}, durability: "accepted", inferencePath: "/infer" },
  deployment: { spec: deploymentDefaults, generation: 1 }
}

const routes: RoutingTable = {
  byName: (name) => (name === "hello" ? route : undefined),
  byFunctionId: (id) => (id === functionId ? route : undefined),
  byVersionId: (id) => (id === versionId ? route : undefined),
  deployedVersionIds: () => [versionId],
  onChange: () => () => {}
}

const resolve = (method: string, url: string, own: Record<string, string> = {}) => {
  const headers = { host: "localhost:8787", ...own }
  const rawHeaders = Object.entries(headers).flat()
  // Only these members are read.
  const request = { method, url, headers, rawHeaders, httpVersionMajor: 1, httpVersionMinor: 1 }
  return GatewayRoute.resolve(request as IncomingMessage, routes)
}

describe("what an address means", () => {
  it.each([
    ["/f/hello", "/"],
    ["/f/hello/", "/"],
    ["/f/hello?a=1", "/?a=1"],
    ["/f/hello/any/path?b=2", "/any/path?b=2"],
    ["/f/hello/../x", "/../x"]
  ])("%s calls the function by name on %s", (url, path) => {
    expect(resolve("PATCH", url)).toMatchObject({ kind: "invoke", surface: "path", path })
  })

  it.each(["GET", "OPTIONS", "PURGE", "HEAD"])(
    "passes the method %s on a function's host to the function",
    (method) => {
      const host = `${functionId}.invocation.localhost:8787`
      expect(resolve(method, "/v2/nvcf/whatever?x", { host })).toMatchObject({
        kind: "invoke",
        surface: "host",
        path: "/v2/nvcf/whatever?x"
      })
    }
  )

  it("takes version and function from a host with both, the version first", () => {
    expect(resolve("GET", "/", { host: `${versionId}.${functionId}.invocation.localhost` })).toMatchObject({
      kind: "invoke",
      surface: "host"
    })
    expect(resolve("GET", "/", { host: `${versionId}.${otherId}.invocation.localhost` })).toMatchObject({
      kind: "problem",
      problem: { status: 404 }
    })
  })

  it("lets the function-id header win over the path", () => {
    expect(resolve("GET", "/health", { "function-id": functionId })).toMatchObject({ surface: "host", path: "/health" })
  })

  it("calls the version's own path through pexec and exec, whatever the query", () => {
    expect(resolve("POST", `/v2/nvcf/pexec/functions/${functionId}?x=1`)).toMatchObject({
      surface: "pexec",
      path: "/infer"
    })
    expect(resolve("POST", `/v2/nvcf/exec/functions/${functionId}/versions/${versionId}`)).toMatchObject({
      surface: "exec",
      path: "/infer"
    })
  })

  it.each([
    ["GET", `/v2/nvcf/pexec/functions/${functionId}`, 405],
    ["POST", "/v2/nvcf/pexec/functions/not-a-uuid", 400],
    ["POST", `/v2/nvcf/pexec/functions/${functionId}/versions/${otherId}`, 404],
    ["POST", `/v2/nvcf/pexec/functions/${otherId}`, 404],
    ["POST", `/v2/nvcf/pexec/status/${otherId}`, 405],
    ["GET", "/v2/nvcf/pexec/status/x", 400],
    ["GET", "/v2/nvcf/worker/request-attach", 501],
    ["POST", "/v2/nvcf/assets", 501],
    ["GET", "/f/unknown", 404],
    ["GET", "/nothing", 404],
    ["GET", "/requests/x", 400],
    ["PUT", `/requests/${otherId}`, 405],
    ["GET", "http://evil.example/f/hello", 400],
    ["GET", "*", 400]
  ])("%s %s is answered with %i", (method, url, status) => {
    expect(resolve(method, url)).toMatchObject({ kind: "problem", problem: { status } })
  })

  it("accepts the absolute form when it names the same host", () => {
    expect(resolve("GET", "http://localhost:8787/f/hello/x")).toMatchObject({ kind: "invoke", path: "/x" })
  })

  it("never throws on a hostile target", () => {
    for (const url of ["", "/", "//", "/f/", "/f", "/f//", "/f/%00", "/requests//", "\\", "/f/hello\u0000", "x:y"]) {
      expect(() => resolve("GET", url)).not.toThrow()
    }
  })
})
