/**
 * How long results are kept, how long lost attempts wait, and what becomes of requests whose caller left: as each
 * deployment says.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { eventually, start } from "../support/TestPlatform.ts"
import { type Answer, call, open } from "./support/Client.ts"
import { givenPlatform, live, peculiar } from "./support/Given.ts"
import { connect, mute } from "./support/RawWorker.ts"

const given = givenPlatform()
const respondAsync = { prefer: "respond-async" }
const idOf = (answer: Answer) => String(answer.headers["nvcf-reqid"])
const kind = (answer: Answer) => String(answer.json()["type"]).replace("urn:millrace:problem:", "")
const result = (id: string, gatewayUrl = given().platform.gatewayUrl) =>
  call(`${gatewayUrl}/requests/${id}/result?wait=60`)
const gone = (id: string, gatewayUrl?: string) =>
  eventually("the result is gone", async () => {
    const answer = await result(id, gatewayUrl)
    return answer.status === 200 ? undefined : answer
  })

describe.concurrent("a result", () => {
  it("is there until the time that the 202 told, is gone soon after, and then the answer is 410", async () => {
    const fn = await given().deploy("short-lived", { resultRetentionMs: 1_500 })
    await call(`${fn.url}/`)
    const calledAtMs = Date.now()
    const accepted = await call(`${fn.url}/inspect`, { headers: respondAsync })
    const expiresMs = Date.parse(String(accepted.json()["expires"]))
    expect(expiresMs).toBeGreaterThanOrEqual(calledAtMs + 1_500 - 10)
    expect(expiresMs).toBeLessThanOrEqual(Date.now() + 1_500 + 10)
    const id = idOf(accepted)
    const endedAtMs = await eventually("it ended", () => given().platform.directory.get(id)?.endedAtMs ?? undefined)
    const late = await gone(id)
    expect(Date.now()).toBeGreaterThanOrEqual(expiresMs)
    expect([late.status, kind(late)]).toEqual([410, "result-expired"])
    const polled = await call(`${given().platform.gatewayUrl}/v2/nvcf/pexec/status/${id}`)
    expect([polled.status, kind(polled)]).toEqual([410, "result-expired"])
    const keepUntilMs = Number((await call(`${given().platform.gatewayUrl}/requests/${id}`)).json()["keepUntilMs"])
    expect(keepUntilMs).toBeGreaterThanOrEqual(expiresMs - 10)
    expect(keepUntilMs).toBeLessThanOrEqual(endedAtMs + 1_500)
  })

  it("of a key is forgotten with it: the same key then runs again", async () => {
    const fn = await given().deploy("short-key", { resultRetentionMs: 500 }, peculiar)
    const once = () => call(`${fn.url}/once?name=key`, { body: "k", headers: { "idempotency-key": "again" } })
    expect((await once()).json()["runs"]).toBe(1)
    const again = await eventually("the key is free", async () => {
      const answer = await once()
      return answer.headers["idempotency-replayed"] === undefined ? answer : undefined
    })
    expect(again.json()["runs"]).toBe(2)
  })

  it("has its retention counted on over a restart, and is unknown to the next process when it is over", async () => {
    const stateDirectory = mkdtempSync(join(tmpdir(), "millrace-test-"))
    try {
      const first = await start({ stateDirectory })
      const short = await first.deploy("short", { resultRetentionMs: 1_000, graceMs: 100 })
      const long = await first.deploy("long", { graceMs: 100 })
      const ids = await Promise.all(
        [short, long].map(async ({ url }) => idOf(await call(`${url}/inspect`, { headers: respondAsync })))
      )
      for (const id of ids) await result(id, first.platform.gatewayUrl)
      await first.close({ keep: true })
      const second = await start({ stateDirectory })
      const { gatewayUrl } = second.platform
      const late = await gone(ids[0]!, gatewayUrl)
      expect([404, 410]).toContain(late.status)
      expect((await result(ids[1]!, gatewayUrl)).status).toBe(200)
      await second.close()
    } finally {
      rmSync(stateDirectory, { recursive: true, force: true })
    }
  })

  it("is told to be kept for as long again by every 202 while the request runs", async () => {
    const fn = await given().deploy("still-running", { resultRetentionMs: 60_000 }, peculiar)
    const accepted = await call(`${fn.url}/forever?name=poll`, { headers: respondAsync })
    const polled = await call(`${given().platform.gatewayUrl}/requests/${idOf(accepted)}/result`)
    expect(polled.status).toBe(202)
    const [told, again] = [accepted, polled].map((answer) => Date.parse(String(answer.json()["expires"])))
    expect(again).toBeGreaterThanOrEqual(told ?? Number.NaN)
    await call(`${given().platform.gatewayUrl}/requests/${idOf(accepted)}`, { method: "DELETE" })
  })
})

describe.concurrent("a lost attempt", () => {
  it("is followed by the next one after the delay of its deployment, less up to half, doubled each time", async () => {
    const deployment = { redeliveryDelayMs: 400, redeliveryDelayMaxMs: 800, maxAttempts: 4 }
    const fn = await given().deploy("delayed", deployment, mute)
    const worker = await connect(given(), fn)
    worker.ready()
    const waiting = call(`${fn.url}/x`)
    const waits: Array<number> = []
    let assign = await worker.assigned()
    for (let lost = 0; lost < 3; lost++) {
      const { requestId, token } = assign
      const atMs = performance.now()
      worker.say({ _tag: "Failed", requestId, token, retryable: true, message: "try again" })
      assign = await worker.assigned()
      waits.push(performance.now() - atMs)
    }
    worker.answer(assign, { body: "at last" })
    expect((await waiting).text).toBe("at last")
    for (const [index, wholeMs] of [400, 800, 800].entries()) expect(waits[index]).toBeGreaterThan(wholeMs / 2 - 5)
    worker.vanish()
  })

  it("waits for different times in requests that were lost together", async () => {
    const deployment = { redeliveryDelayMs: 1_000, redeliveryDelayMaxMs: 1_000 }
    const fn = await given().deploy("spread", deployment, mute)
    const worker = await connect(given(), fn)
    worker.ready(12)
    const calls = Array.from({ length: 12 }, (_, index) => call(`${fn.url}/${index}`))
    for (let index = 0; index < 12; index++) {
      const { requestId, token } = await worker.assigned()
      worker.say({ _tag: "Failed", requestId, token, retryable: true, message: "all at once" })
    }
    const times: Array<number> = []
    for (let index = 0; index < 12; index++) {
      worker.answer(await worker.assigned(), { body: "" })
      times.push(performance.now())
    }
    await Promise.all(calls)
    // Twelve uniform draws from 500 ms lie within 150 ms of each other once in a hundred thousand runs.
    expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(150)
    worker.vanish()
  })
})

describe.concurrent("a caller that leaves", () => {
  const leave = async (name: string, onCallerGone: "continue" | "cancel", headers: Record<string, string> = {}) => {
    const fn = await given().deploy(name, { onCallerGone }, peculiar)
    const opened = open(`${fn.url}/once?name=left&ms=700`, { method: "GET", headers })
    opened.end()
    const view = await eventually("it runs", () => {
      const [found] = live(given(), fn.versionId)
      return found?.state === "leased" ? found : undefined
    })
    opened.leave()
    return eventually("it ended", () => {
      const found = given().platform.directory.get(view.requestId)
      return found?.endedAtMs == null ? undefined : found
    })
  }

  it("has its request ended where the deployment says cancel, and kept where it says nothing", async () => {
    expect(await leave("gone-cancel", "cancel")).toMatchObject({ state: "cancelled", reason: "caller-left" })
    expect(await leave("gone-continue", "continue")).toMatchObject({ state: "responded", resultKept: true })
  })

  it("decides itself by a header, whatever the deployment says", async () => {
    const cancel = await leave("asked-cancel", "continue", { "millrace-on-disconnect": "cancel" })
    expect(cancel.state).toBe("cancelled")
    const goOn = await leave("asked-continue", "cancel", { "millrace-on-disconnect": "continue" })
    expect(goOn).toMatchObject({ state: "responded", resultKept: true })
  })
})
