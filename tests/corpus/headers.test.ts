/**
 * Throws headers that mean something to Millrace at the gateway, with values that do not: the right status, a sentence
 * that names the header and what it should be, and nothing enqueued.
 */
import { randomUUID } from "node:crypto"
import { afterAll, describe, expect, it } from "vitest"
import { type HeaderCase, headerCases } from "./headers/headers.ts"
import { exchange, healthSentinel } from "./support/Exchange.ts"
import { type Ground, givenGround, settled, worksAsEver } from "./support/Ground.ts"
import { problemOf } from "./support/Problem.ts"

const ground = givenGround()

const lineOf = (on: HeaderCase["on"], { fn }: Ground): string => {
  switch (on) {
    case "pexec":
      return `POST /v2/nvcf/pexec/functions/${fn.functionId}`
    case "result":
      return `GET /requests/${randomUUID()}/result`
    case "host":
      return "POST /inspect"
    default:
      return "POST /f/corpus/inspect"
  }
}

describe("a call with", () => {
  it.each(headerCases)("$name: $status", async ({ headers, on, status, says }) => {
    const before = await settled(ground().test)
    const { functionId } = ground().fn
    const own = headers.map(([name, value]) => `${name}: ${value.replace("FUNCTION", functionId)}\r\n`).join("")
    const bytes = `${lineOf(on, ground())} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n${own}\r\n`
    const url = ground().test.platform.gatewayUrl
    const { answers } = await exchange(url, bytes, { count: 1, sentinel: healthSentinel })
    const [answer] = answers
    expect(answer?.status).toBe(status)
    // The connection is as good as before.
    expect(answers.at(-1)?.body).toBe('{"status":"OK"}\n')
    const after = await settled(ground().test)
    if (answer === undefined || status < 400) return expect(after.requests - before.requests).toBe(1)
    const { detail } = problemOf(answer)
    if (says !== undefined) expect(detail).toMatch(says)
    expect(after).toEqual(before)
  })

  afterAll(() => worksAsEver(ground()))
})

it("has at least sixty cases, each of its own", () => {
  expect(headerCases.length).toBeGreaterThanOrEqual(60)
  expect(new Set(headerCases.map(({ name }) => name)).size).toBe(headerCases.length)
})
