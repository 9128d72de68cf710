/**
 * Calls whose answer is fetched later: accepted, polled, claimed, looked at, cancelled, abandoned.
 */
import { beforeAll, describe, expect, it } from "vitest"
import { eventually, type TestFunction } from "../support/TestPlatform.ts"
import { type Answer, call, open } from "./support/Client.ts"
import { givenPlatform, peculiar, printed } from "./support/Given.ts"

const given = givenPlatform()
let fn: TestFunction
let odd: TestFunction

beforeAll(async () => {
  fn = await given().deploy("claimed")
  odd = await given().deploy("odd", {}, peculiar)
  await Promise.all([call(`${fn.url}/`), call(`${odd.url}/`)])
})

const gateway = () => given().platform.gatewayUrl
const respondAsync = { prefer: "respond-async" }
const idOf = (answer: Answer) => String(answer.headers["nvcf-reqid"])
const result = (id: string, wait = 60) => call(`${gateway()}/requests/${id}/result?wait=${wait}`)
const view = async (id: string) => (await call(`${gateway()}/requests/${id}`)).json()
const known = (id: string) => given().platform.directory.get(id)

/** The id of a call that is still open, known by what the directory sees. */
const running = (path: string): Promise<string> =>
  eventually(`${path} runs`, () => {
    const found = given()
      .platform.directory.list({ limit: 1000 })
      .find((request) => request.path === path && request.state === "leased")
    return found?.requestId
  })

describe.concurrent("Prefer: respond-async", () => {
  it("is answered 202 with the id and where to ask, and the result is claimed as often as one likes", async () => {
    const answer = await call(`${fn.url}/cookies`, { method: "POST", body: "x", headers: respondAsync })
    const id = idOf(answer)
    expect(answer.status).toBe(202)
    expect(answer.headers).toMatchObject({ location: `/requests/${id}`, "nvcf-status": "in-progress" })
    expect(answer.json()).toEqual({
      requestId: id,
      status: "in-progress",
      statusUrl: `${gateway()}/requests/${id}`,
      resultUrl: `${gateway()}/requests/${id}/result`,
      cancelUrl: `${gateway()}/requests/${id}/cancel`,
      durable: true,
      expires: expect.stringMatching(/^\d{4}-.*Z$/)
    })
    const first = await result(id)
    const polled = await call(`${gateway()}/v2/nvcf/pexec/status/${id}`)
    for (const claimed of [first, polled, await result(id)]) {
      expect([claimed.status, claimed.text]).toEqual([200, "two cookies"])
      expect(claimed.headers["set-cookie"]).toEqual(["a=1", "b=2"])
      expect(claimed.headers).toMatchObject({ "nvcf-reqid": id, "nvcf-status": "fulfilled" })
    }
  })

  it("is on stable storage when the 202 is told", async () => {
    const answer = await call(`${fn.url}/sleep?ms=300`, { headers: respondAsync })
    expect(known(idOf(answer))).toMatchObject({ stored: true, mode: "async" })
  })

  it("says in-progress until there is a result, and with wait=10 answers after that long", async () => {
    const answer = await call(`${fn.url}/sleep?ms=600`, { headers: respondAsync })
    const early = await result(idOf(answer), 0)
    expect([early.status, early.headers["retry-after"], early.headers["nvcf-status"]]).toEqual([
      202,
      "1",
      "in-progress"
    ])
    expect((await result(idOf(answer))).text).toBe("slept 600")
    const late = await call(`${fn.url}/sleep?ms=1600`, { headers: { prefer: "respond-async, wait=1" } })
    expect(late.status).toBe(202)
    expect(late.wallMs).toBeGreaterThan(900)
    expect((await result(idOf(late))).text).toBe("slept 1600")
    const soon = await call(`${fn.url}/sleep?ms=10`, { headers: { prefer: "respond-async, wait=10" } })
    expect([soon.status, soon.text]).toEqual([200, "slept 10"])
  })

  it("keeps a body and a result of several megabytes, and an error as it was", async () => {
    const body = Buffer.alloc(3_000_000, "0123456789")
    const large = await call(`${fn.url}/echo`, { body, headers: respondAsync })
    const claimed = await result(idOf(large))
    expect(claimed.bytes.equals(body)).toBe(true)
    expect(claimed.headers["content-length"]).toBe(String(body.length))
    const teapot = await call(`${fn.url}/status?code=418`, { headers: respondAsync })
    const failed = await result(idOf(teapot))
    expect([failed.status, failed.text, failed.headers["nvcf-status"]]).toEqual([418, "as asked", "errored"])
    const thrown = await result(idOf(await call(`${fn.url}/throw`, { headers: respondAsync })))
    expect([thrown.status, thrown.json()["type"]]).toEqual([502, "urn:millrace:problem:function-failed"])
    expect(thrown.text).toContain("on purpose")
  })

  it("says in the 202 when nothing was stored because the version's durability is memory", async () => {
    const memory = await given().deploy("memory", {}, { durability: "memory" })
    const answer = await call(`${memory.url}/inspect`, { headers: respondAsync })
    expect([answer.status, answer.json()["durable"]]).toEqual([202, false])
    expect((await result(idOf(answer))).status).toBe(200)
    expect(known(idOf(answer))?.stored).toBe(false)
  })

  it("is written before it is dispatched when the durability is always, also for synchronous calls", async () => {
    const always = await given().deploy("always", {}, { durability: "always" })
    await call(`${always.url}/`)
    const answer = await call(`${always.url}/inspect`)
    const history = known(idOf(answer))?.history ?? []
    const at = (what: string) => history.findIndex((event) => event.what === what)
    expect(at("on stable storage")).toBeGreaterThanOrEqual(0)
    expect(at("on stable storage")).toBeLessThan(at("first leased to a worker"))
    // The disk may be faster than the function, but not each time.
    await eventually("one that is answered before it is written", async () => {
      const accepted = await call(`${fn.url}/inspect`)
      return known(idOf(accepted))?.stored === false
    })
  })
})

describe.concurrent("NVCF's polling", () => {
  const pexec = async (inferencePath: string, seconds: string) => {
    const name = `poll${inferencePath.replaceAll(/[^a-z0-9]/g, "-")}`
    const one = await given().deploy(name, {}, { inferencePath })
    await call(`${one.url}/`)
    return call(`${gateway()}/v2/nvcf/pexec/functions/${one.functionId}`, {
      body: "{}",
      headers: { "nvcf-poll-seconds": seconds }
    })
  }

  it("answers 202 after NVCF-POLL-SECONDS, then the status route waits as long as it is told", async () => {
    const answer = await pexec("/sleep?ms=2400", "1")
    expect(answer.status).toBe(202)
    expect(answer.headers["nvcf-status"]).toBe("in-progress")
    expect(answer.wallMs).toBeGreaterThan(950)
    expect(known(idOf(answer))?.stored).toBe(true)
    const poll = (headers = {}) => call(`${gateway()}/v2/nvcf/pexec/status/${idOf(answer)}`, { headers })
    const again = await poll({ "nvcf-poll-seconds": "0" })
    expect([again.status, idOf(again)]).toEqual([202, idOf(answer)])
    const last = await poll()
    expect([last.status, last.text, last.headers["nvcf-status"]]).toEqual([200, "slept 2400", "fulfilled"])
  })

  it("answers the function when it is faster than the poll time, and refuses a poll time that is none", async () => {
    expect((await pexec("/sleep?ms=5", "5")).text).toBe("slept 5")
    for (const seconds of ["3601", "-1", "1.5", "x"]) {
      const url = `${gateway()}/v2/nvcf/pexec/functions/${fn.functionId}`
      const answer = await call(url, { body: "", headers: { "nvcf-poll-seconds": seconds } })
      expect(answer.status).toBe(400)
      expect(answer.json()["detail"]).toMatch(/^failed to parse poll duration/)
    }
  })

  it("wraps for exec: 202 in JSON, then the result of any size in JSON", async () => {
    const inferencePath = "/once?name=exec&ms=1500&n=200000"
    const one = await given().deploy("exec-poll", {}, { ...peculiar, inferencePath })
    await call(`${one.url}/`)
    const body = JSON.stringify({ requestHeader: { pollDurationSeconds: 1 }, requestBody: 7 })
    const answer = await call(`${gateway()}/v2/nvcf/exec/functions/${one.functionId}`, { body })
    expect(answer.status).toBe(202)
    const { reqId, status } = answer.json()
    expect(status).toBe("in-progress")
    const claimed = await call(`${gateway()}/v2/nvcf/exec/status/${String(reqId)}`)
    expect(claimed.status).toBe(200)
    expect(claimed.json()).toMatchObject({ reqId, status: "fulfilled", response: { runs: 1, body: "7" } })
    expect(claimed.headers["nvcf-reqid"]).toBeUndefined()
  })

  it("knows nothing of an id that never was, and of a call that was answered to its caller", async () => {
    const answered = await call(`${fn.url}/`)
    for (const id of ["00000000-0000-7000-8000-000000000000", idOf(answered)]) {
      expect((await call(`${gateway()}/v2/nvcf/pexec/status/${id}`)).status).toBe(404)
      expect((await result(id)).status).toBe(404)
    }
    expect((await call(`${gateway()}/requests/nonsense`)).status).toBe(400)
    expect((await call(`${gateway()}/requests/${idOf(answered)}`)).json()["state"]).toBe("responded")
  })

  it("shows progress while one polls", async () => {
    const answer = await call(`${fn.url}/progress?ms=700`, { headers: respondAsync })
    const shown = await eventually("progress is shown", async () => {
      const polled = await result(idOf(answer), 0)
      return polled.headers["nvcf-percent-complete"] === undefined ? undefined : polled
    })
    expect(shown.headers["nvcf-percent-complete"]).toBe("40")
    expect((await view(idOf(answer)))["progress"]).toEqual({ percent: 40, note: "two fifths" })
    expect((await result(idOf(answer))).text).toBe("done")
  })
})

describe.concurrent("a request is cancelled", () => {
  it("by DELETE while it runs: the handler's signal fires, the waiting caller gets 409", async () => {
    const waiting = call(`${odd.url}/forever?name=deleted`)
    const id = await running("/forever?name=deleted")
    const cancelled = await call(`${gateway()}/requests/${id}`, { method: "DELETE" })
    expect(cancelled.json()).toEqual({ requestId: id, outcome: "cancelled" })
    const answer = await waiting
    expect([answer.status, answer.json()["type"]]).toEqual([409, "urn:millrace:problem:cancelled"])
    await eventually(
      "the signal fired",
      async () => (await printed(given(), odd.versionId)).includes("aborted deleted") || undefined
    )
    const again = await call(`${gateway()}/requests/${id}`, { method: "DELETE" })
    expect(again.json()["outcome"]).toBe("ended")
    expect(await view(id)).toMatchObject({ state: "cancelled", reason: "caller-cancelled" })
  })

  it("by POST to /cancel while it runs accepted; whoever claims it hears that", async () => {
    const accepted = await call(`${fn.url}/sleep?ms=20000`, { headers: respondAsync })
    const id = idOf(accepted)
    await eventually("it runs", () => known(id)?.state === "leased" || undefined)
    const claiming = result(id, 20)
    const cancelled = await call(`${gateway()}/requests/${id}/cancel`, { method: "POST" })
    expect([cancelled.status, cancelled.json()["outcome"]]).toEqual([200, "cancelled"])
    expect((await claiming).status).toBe(409)
    await eventually(
      "the handler saw it",
      async () => (await printed(given(), fn.versionId)).includes(`aborted ${id}`) || undefined
    )
  })

  it("while it waits: it never runs", async () => {
    const one = await given().deploy("one-at-a-time", { concurrency: 1, maxInstances: 1 }, peculiar)
    const first = call(`${one.url}/forever?name=first`)
    const id = await running("/forever?name=first")
    const second = call(`${one.url}/forever?name=second`)
    const pending = await eventually(
      "the second waits",
      () => given().platform.directory.list({ versionId: one.versionId, state: "pending", limit: 9 })[0]
    )
    expect(pending.cause).toContain("it is next")
    expect(pending.position).toBe(0)
    await call(`${gateway()}/requests/${pending.requestId}`, { method: "DELETE" })
    expect((await second).status).toBe(409)
    await call(`${gateway()}/requests/${id}`, { method: "DELETE" })
    expect((await first).status).toBe(409)
    expect((await call(`${one.url}/`)).status).toBe(200)
    expect(await printed(given(), one.versionId)).not.toContain("started second")
    expect(given().platform.directory.get(pending.requestId)).toMatchObject({ state: "cancelled", attempt: 0 })
  })

  it("never, when its id is unknown or the method is wrong", async () => {
    const unknown = await call(`${gateway()}/requests/00000000-0000-7000-8000-000000000000`, { method: "DELETE" })
    expect(unknown.status).toBe(404)
    const put = await call(`${gateway()}/requests/00000000-0000-7000-8000-000000000000`, { method: "PUT", body: "" })
    expect([put.status, put.headers.allow]).toEqual([405, "GET, HEAD, DELETE"])
  })
})

describe.concurrent("a caller leaves", () => {
  const leaving = async (url: string, path: string, headers: Readonly<Record<string, string>> = {}) => {
    const opened = open(`${url}${path}`, { method: "GET", headers })
    opened.end()
    const id = await running(path)
    opened.leave()
    return id
  }

  it("and its result can be claimed by the id afterwards", async () => {
    const id = await leaving(fn.url, "/sleep?ms=501")
    expect((await result(id)).text).toBe("slept 501")
    expect((await result(id)).text).toBe("slept 501")
  })

  it("while its request still waits, and it runs all the same", async () => {
    const one = await given().deploy("left-pending")
    const opened = open(`${one.url}/sleep?ms=11`, { method: "GET" })
    opened.end()
    const pending = await eventually(
      "it is there",
      () => given().platform.directory.list({ versionId: one.versionId, limit: 1 })[0]
    )
    opened.leave()
    expect((await result(pending.requestId)).text).toBe("slept 11")
  })

  it("and had asked to cancel then: the handler's signal fires", async () => {
    const id = await leaving(odd.url, "/forever?name=left", { "millrace-on-disconnect": "cancel" })
    await eventually(
      "the signal fired",
      async () => (await printed(given(), odd.versionId)).includes("aborted left") || undefined
    )
    expect(known(id)).toMatchObject({ state: "cancelled", reason: "caller-left" })
  })
})
