/**
 * The small form of `npm run overload -- slow-clients`: all are cut, normal calls go on, and nothing of them is left.
 */
import { afterAll, beforeAll, expect, it } from "vitest"
import { call, open } from "../platform/support/Client.ts"
import { live } from "../platform/support/Given.ts"
import { eventually, start, type TestFunction, type TestPlatform } from "../support/TestPlatform.ts"
import * as SlowClients from "./SlowClients.ts"

let test: TestPlatform
let fn: TestFunction
beforeAll(async () => {
  const gatewayLimits = { headersTimeoutMs: 500, pace: { graceMs: 500, bytesPerSecondMin: 500 } }
  test = await start({ gatewayLimits })
  fn = await test.deploy("slow", { minInstances: 1 })
  await call(`${fn.url}/`)
})
afterAll(() => test.close())

it("slow heads, slow bodies and silence are cut, while every normal call is answered", async () => {
  const url = test.platform.gatewayUrl
  const slow = SlowClients.start({ url, path: "/f/slow/count", count: 80, everyMs: 100, batch: 20 })
  let over = false
  const cuts = slow.cuts.finally(() => {
    over = true
  })
  const answers: Array<string> = []
  while (!over) answers.push((await call(`${fn.url}/echo`, { body: "as ever" })).text)
  expect(new Set(answers)).toEqual(new Set(["as ever"]))
  const said = Object.groupBy(await cuts, ({ kind }) => kind)
  for (const kind of SlowClients.kinds) {
    expect(said[kind]?.length, kind).toBe(20)
    for (const cut of said[kind] ?? []) expect(["HTTP/1.1 408 Request Timeout", ""]).toContain(cut.said)
  }
  // A caller that is cut in its body is told so.
  expect(said["slow-body"]?.some((cut) => cut.said.includes("408"))).toBe(true)
  await eventually("no attempt of them is left", () => live(test, fn.versionId).length === 0 || undefined)
})

it("slow bodies hold at most half of the slots of their function, and each is answered when it is there", async () => {
  const one = await test.deploy("half", { minInstances: 1, maxInstances: 1, concurrency: 4, requestTimeoutMs: 60_000 })
  await call(`${one.url}/`)
  const bytes = Buffer.alloc(2_000)
  const opened = Array.from({ length: 6 }, () => open(`${one.url}/count`))
  for (const each of opened) each.write(bytes)
  await eventually("two have begun", () => live(test, one.versionId).length === 2 || undefined)
  for (let part = 0; part < 4; part++) {
    for (const each of opened) each.write(bytes)
    expect((await call(`${one.url}/echo`, { body: "as ever" })).text).toBe("as ever")
    expect(live(test, one.versionId).length).toBe(2)
  }
  for (const each of opened) each.end()
  for (const each of opened) {
    const answer = await each.answer
    expect(answer.statusCode).toBe(200)
    answer.resume()
  }
})

it("a slow body that comes at the pace is taken", async () => {
  const opened = open(`${fn.url}/count`)
  const bytes = Buffer.alloc(2_000)
  for (let part = 0; part < 6; part++) {
    opened.write(bytes)
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  opened.end()
  const answer = await opened.answer
  expect(answer.statusCode).toBe(200)
  answer.resume()
})
