/**
 * Large bodies whose folder breaks while they come in: their callers are told, and nothing waits for ever. And those that are
 * taken in before their call is refused.
 */
import { mkdirSync, readdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { beforeAll, beforeEach, describe, expect, it } from "vitest"
import { eventually, type TestFunction } from "../support/TestPlatform.ts"
import { type Answer, call, open, readAll } from "./support/Client.ts"
import { givenPlatform } from "./support/Given.ts"

const given = givenPlatform()
let fn: TestFunction

beforeAll(async () => {
  fn = await given().deploy("large")
  await call(`${fn.url}/`)
})

const partial = () => join(given().stateDirectory, "blobs-partial")
beforeEach(() => void mkdirSync(partial(), { recursive: true }))

const kind = (answer: Answer) => String(answer.json()["type"]).replace("urn:millrace:problem:", "")

describe("a body that the disk does not take whole", () => {
  for (const [mode, headers] of [
    ["waits", {}],
    ["has a key", { "idempotency-key": "large" }],
    ["does not wait", { prefer: "respond-async" }]
  ] as const) {
    it(`is told to a caller that ${mode}, and no answer comes of it`, async () => {
      const opened = open(`${fn.url}/inspect`, { headers: { ...headers, "content-length": "200000" } })
      opened.write(Buffer.alloc(100_000))
      await eventually("it is being written", () => readdirSync(partial()).length > 0 || undefined)
      rmSync(partial(), { recursive: true })
      opened.write(Buffer.alloc(100_000))
      opened.end()
      const answer = await opened.answer
      const { text } = await readAll(answer)
      expect([answer.statusCode, answer.headers["retry-after"]]).toEqual([503, "5"])
      expect(JSON.parse(text)).toMatchObject({ type: "urn:millrace:problem:store-failed" })
      expect(text).toContain("could not take the body of this call")
      const requestId = String(answer.headers["nvcf-reqid"])
      expect(["cancelled", undefined]).toContain(given().platform.directory.get(requestId)?.state)
    })
  }

  it("is told also when it cannot be begun, and the next one is taken once the folder is back", async () => {
    rmSync(partial(), { recursive: true })
    const body = Buffer.alloc(100_000)
    const refused = await call(`${fn.url}/echo`, { body, headers: { prefer: "respond-async" } })
    expect([refused.status, kind(refused)]).toEqual([503, "store-failed"])
    expect(refused.text).toContain("Nothing was enqueued")
    mkdirSync(partial())
    expect((await call(`${fn.url}/echo`, { body })).bytes.length).toBe(body.length)
  })
})

describe("a body that came in whole before its call was refused", () => {
  it("leaves nothing", async () => {
    const headers = { "idempotency-key": "taken" }
    expect((await call(`${fn.url}/inspect`, { headers, body: Buffer.alloc(100_000, 1) })).status).toBe(200)
    const other = await call(`${fn.url}/inspect`, { headers, body: Buffer.alloc(100_000, 2) })
    expect([other.status, kind(other)]).toEqual([409, "idempotency-conflict"])
    // The kept answer of the first one may be a blob as well.
    const bodies = () => readdirSync(join(given().stateDirectory, "blobs")).filter((name) => name.endsWith(".call"))
    await eventually("no body is there", () => (bodies().length === 0 ? true : undefined))
  })
})
