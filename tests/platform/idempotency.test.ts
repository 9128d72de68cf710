/**
 * One key, one request, one answer: now, at the same time, and after a restart (`restart.test.ts`).
 */
import { beforeAll, describe, expect, it } from "vitest"
import { eventually, type TestFunction } from "../support/TestPlatform.ts"
import { type Answer, call, open } from "./support/Client.ts"
import { givenPlatform, peculiar } from "./support/Given.ts"

const given = givenPlatform()
let odd: TestFunction

beforeAll(async () => {
  odd = await given().deploy(
    "odd",
    { bodyBytesMax: 10_000_000 },
    { ...peculiar, inferencePath: "/once?name=nvcf&ms=1500" }
  )
  await call(`${odd.url}/`)
})

const gateway = () => given().platform.gatewayUrl
const idOf = (answer: Answer) => String(answer.headers["nvcf-reqid"])
const key = (name: string) => ({ "idempotency-key": name })
const runs = async (name: string) => (await call(`${odd.url}/runs?name=${name}`)).json()["runs"]
const requestsAt = (path: string) =>
  given()
    .platform.directory.list({ versionId: odd.versionId, limit: 1000 })
    .filter((request) => request.path === path)

describe.concurrent("a second call with the same key", () => {
  it("gets the same bytes, status and id, says that it is a replay, and runs nothing", async () => {
    const send = () => call(`${odd.url}/once?name=same&code=201`, { body: "b", headers: key("same") })
    const first = await send()
    expect(first.status).toBe(201)
    expect(first.headers["idempotency-replayed"]).toBeUndefined()
    for (let time = 0; time < 3; time++) {
      const again = await send()
      expect([again.status, again.bytes.equals(first.bytes), idOf(again)]).toEqual([201, true, idOf(first)])
      expect(again.headers["idempotency-replayed"]).toBe("true")
    }
    expect(await runs("same")).toBe(1)
    expect(given().platform.directory.get(idOf(first))).toMatchObject({ stored: true, resultKept: true })
  })

  it("at the same time waits for the one that runs, of however many", async () => {
    const send = () => call(`${odd.url}/once?name=together&ms=300`, { body: "b", headers: key("together") })
    const answers = await Promise.all(Array.from({ length: 8 }, send))
    expect(new Set(answers.map((answer) => answer.text)).size).toBe(1)
    expect(new Set(answers.map(idOf)).size).toBe(1)
    expect(answers.filter((answer) => answer.headers["idempotency-replayed"] === "true")).toHaveLength(7)
    expect(await runs("together")).toBe(1)
    expect(requestsAt("/once?name=together&ms=300")).toHaveLength(1)
  })

  it("and another body, path or method is refused with 409, and nothing runs", async () => {
    const url = `${odd.url}/once?name=conflict`
    const first = await call(url, { body: "one", headers: key("conflict") })
    const large = Buffer.alloc(300_000)
    for (const answer of await Promise.all([
      call(url, { body: "two", headers: key("conflict") }),
      call(url, { body: "", headers: key("conflict") }),
      call(url, { body: large, chunked: true, headers: key("conflict") }),
      call(`${url}&x=1`, { body: "one", headers: key("conflict") }),
      call(url, { method: "PUT", body: "one", headers: key("conflict") }),
      call(url, { body: "two", headers: { ...key("conflict"), prefer: "respond-async" } })
    ])) {
      expect([answer.status, answer.json()["type"]]).toEqual([409, "urn:millrace:problem:idempotency-conflict"])
    }
    expect(await runs("conflict")).toBe(1)
    expect(requestsAt("/once?name=conflict")).toHaveLength(1)
    expect((await call(url, { body: "one", headers: key("conflict") })).bytes.equals(first.bytes)).toBe(true)
  })

  it("compares large bodies by their content, announced or chunked", async () => {
    const url = `${odd.url}/once?name=large`
    const body = Buffer.alloc(400_000, "x")
    const first = await call(url, { body, headers: key("large") })
    const again = await call(url, { body, chunked: true, headers: key("large") })
    expect(again.bytes.equals(first.bytes)).toBe(true)
    body[399_999] = 0
    expect((await call(url, { body, headers: key("large") })).status).toBe(409)
    expect(await runs("large")).toBe(1)
  })

  it("of another version is another request", async () => {
    const other = await given().deploy("other", {}, peculiar)
    const answers = await Promise.all(
      [odd, other].map((fn) => call(`${fn.url}/once?name=scoped`, { body: "b", headers: key("scoped") }))
    )
    expect(new Set(answers.map(idOf)).size).toBe(2)
    expect(answers.map((answer) => answer.headers["idempotency-replayed"])).toEqual([undefined, undefined])
  })

  it("of an accepted one is accepted again with the same id, before and after its end", async () => {
    const headers = { ...key("async"), prefer: "respond-async" }
    const send = () => call(`${odd.url}/once?name=async&ms=200`, { body: "b", headers })
    const answers = await Promise.all([send(), send(), send()])
    const id = idOf(answers[0]!)
    for (const answer of answers) {
      expect([answer.status, answer.json()["requestId"], answer.headers.location]).toEqual([202, id, `/requests/${id}`])
    }
    const claimed = await call(`${gateway()}/requests/${id}/result?wait=60`)
    expect(claimed.json()["runs"]).toBe(1)
    expect([(await send()).status, idOf(await send())]).toEqual([202, id])
    const sync = await call(`${odd.url}/once?name=async&ms=200`, { body: "b", headers: key("async") })
    expect(sync.bytes.equals(claimed.bytes)).toBe(true)
    expect(await runs("async")).toBe(1)
  })

  it("after the first caller left gets what that one would have got", async () => {
    const opened = open(`${odd.url}/once?name=left&ms=400`, { method: "GET", headers: key("left") })
    opened.end()
    await eventually("it runs", () => requestsAt("/once?name=left&ms=400")[0]?.state === "leased" || undefined)
    opened.leave()
    const again = await call(`${odd.url}/once?name=left&ms=400`, { headers: key("left") })
    expect([again.json()["runs"], again.headers["idempotency-replayed"]]).toEqual([1, "true"])
  })

  it("of a failed one hears the same failure", async () => {
    const probe = await given().deploy("probe")
    const send = () => call(`${probe.url}/throw`, { body: "b", headers: key("throws") })
    const first = await send()
    const again = await send()
    expect([first.status, again.status, idOf(again)]).toEqual([502, 502, idOf(first)])
    expect(again.json()["detail"]).toBe(first.json()["detail"])
  })

  it("keeps an answer of several megabytes and a streamed one", async () => {
    const send = () => call(`${odd.url}/once?name=big&n=2000000`, { body: "b", headers: key("big") })
    const [first, again] = [await send(), await send()]
    expect(first.bytes.length).toBeGreaterThan(2_000_000)
    expect(again.bytes.equals(first.bytes)).toBe(true)
    const probe = await given().deploy("streams")
    const stream = () => call(`${probe.url}/stream?n=3&ms=10`, { headers: key("stream") })
    expect((await stream()).text).toBe("data: 0\n\ndata: 1\n\ndata: 2\n\n")
    expect((await stream()).headers["idempotency-replayed"]).toBe("true")
  })
})

describe.concurrent("a key on NVCF's routes", () => {
  it("wraps the replay of exec, and sees another body", async () => {
    const one = await given().deploy("exec", {}, { ...peculiar, inferencePath: "/once?name=exec&n=100000" })
    const send = (requestBody: number) =>
      call(`${gateway()}/v2/nvcf/exec/functions/${one.functionId}`, {
        body: JSON.stringify({ requestBody }),
        headers: key("exec")
      })
    const first = await send(1)
    const again = await send(1)
    expect(first.json()).toMatchObject({ status: "fulfilled", response: { runs: 1, body: "1" } })
    expect(again.json()).toEqual(first.json())
    expect((await send(2)).status).toBe(409)
  })

  it("answers a second caller 202 after its own poll time", async () => {
    const send = () =>
      call(`${gateway()}/v2/nvcf/pexec/functions/${odd.functionId}`, {
        body: "b",
        headers: { ...key("poll"), "nvcf-poll-seconds": "1" }
      })
    const [first, second] = await Promise.all([send(), send()])
    expect([first.status, second.status, idOf(second)]).toEqual([202, 202, idOf(first)])
    const claimed = await call(`${gateway()}/v2/nvcf/pexec/status/${idOf(first)}`)
    expect(claimed.json()["runs"]).toBe(1)
  })
})
