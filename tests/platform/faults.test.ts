/**
 * What breaks in instances and workers, and what their callers see of it: at most one answer, never bytes of two.
 */
import { randomBytes } from "node:crypto"
import { beforeAll, describe, expect, it } from "vitest"
import { eventually, type TestFunction } from "../support/TestPlatform.ts"
import { type Answer, call, open } from "./support/Client.ts"
import { givenPlatform, live } from "./support/Given.ts"
import { connect, mute } from "./support/RawWorker.ts"

const given = givenPlatform({ instancesMax: 32, buffer: { visibilityTimeoutMs: 1_000 } })
let fn: TestFunction

beforeAll(async () => {
  fn = await given().deploy("faulty")
  await call(`${fn.url}/`)
})

const kind = (answer: Answer) => String(answer.json()["type"]).replace("urn:millrace:problem:", "")
const viewOf = (answer: Answer) => given().platform.directory.get(String(answer.headers["nvcf-reqid"]))

/** What a caller gets of an answer until it breaks off or ends. */
const untilBroken = async (url: string) => {
  const opened = open(url, { method: "GET" })
  opened.end()
  const answer = await opened.answer
  let text = ""
  let error: unknown
  try {
    for await (const chunk of answer) text += String(chunk)
  } catch (thrown) {
    error = thrown
  }
  return { text, error, requestId: String(answer.headers["nvcf-reqid"]) }
}

describe.concurrent("an instance that dies", () => {
  it("has its request given to another one, until one answers", async () => {
    const one = await given().deploy("cured", { maxAttempts: 3 })
    const answer = await call(`${one.url}/crash-until?attempt=3`)
    expect([answer.status, answer.json()]).toEqual([200, { attempt: 3 }])
    expect(viewOf(answer)).toMatchObject({ attempt: 3, state: "responded" })
  })

  it("at every attempt ends its request as a dead letter with 502, and the others go on", async () => {
    const one = await given().deploy("poisoned", { maxAttempts: 3, concurrency: 1, maxInstances: 3 })
    const poison = call(`${one.url}/crash`)
    const others = await Promise.all(
      Array.from({ length: 10 }, (_, index) => call(`${one.url}/inspect?n=${index}`, { body: String(index) }))
    )
    others.forEach((answer, index) => {
      expect([answer.status, answer.json()["body"]]).toEqual([200, String(index)])
    })
    const answer = await poison
    expect([answer.status, kind(answer)]).toEqual([502, "attempts-exhausted"])
    expect(viewOf(answer)).toMatchObject({ state: "dead-lettered", attempt: 3 })
    expect((await call(`${one.url}/`)).status).toBe(200)
  })

  it("in the middle of a stream breaks the stream: no end, and no byte of a second attempt", async () => {
    const one = await given().deploy("mid-stream")
    const { text, error, requestId } = await untilBroken(`${one.url}/stream?n=5&ms=60&crash=1`)
    expect(error).toBeInstanceOf(Error)
    expect(text).toBe("data: 0\n\ndata: 1\n\n")
    expect(given().platform.directory.get(requestId)).toMatchObject({ state: "failed", attempt: 1 })
  })

  it("in the middle of a stream that nobody saw has it begun again, and nothing of a broken one is kept", async () => {
    const one = await given().deploy("unseen", { maxAttempts: 2 })
    const headers = { prefer: "respond-async" }
    const accepted = await call(`${one.url}/stream?n=5&ms=30&crash=1`, { headers })
    const id = String(accepted.headers["nvcf-reqid"])
    const claimed = await call(`${given().platform.gatewayUrl}/requests/${id}/result?wait=60`)
    expect([claimed.status, kind(claimed)]).toEqual([502, "attempts-exhausted"])
    expect(claimed.text).not.toContain("data: 0")
    expect(given().platform.directory.get(id)?.attempt).toBe(2)
  })

  it("by a kill -9 while it works has its request answered by the next one", async () => {
    const one = await given().deploy("killed")
    const pid = Number((await call(`${one.url}/inspect`)).json()["pid"])
    const slow = call(`${one.url}/sleep?ms=400`)
    await eventually("it runs", () => live(given(), one.versionId)[0]?.state === "leased" || undefined)
    process.kill(pid, "SIGKILL")
    const answer = await slow
    expect(answer.text).toBe("slept 400")
    expect(viewOf(answer)?.attempt).toBe(2)
    expect(Number((await call(`${one.url}/inspect`)).json()["pid"])).not.toBe(pid)
  })
})

describe.concurrent("a handler", () => {
  it("that throws ends its request with 502 and its message, once, and its neighbours go on", async () => {
    const neighbour = call(`${fn.url}/sleep?ms=200`)
    const answer = await call(`${fn.url}/throw`)
    expect([answer.status, kind(answer)]).toEqual([502, "function-failed"])
    expect(answer.json()["detail"]).toContain("this handler throws on purpose")
    expect(viewOf(answer)).toMatchObject({ state: "failed", reason: "handler-failed", attempt: 1 })
    expect((await neighbour).text).toBe("slept 200")
  })

  it("that answers an error has its own status and body passed through, and is not run again", async () => {
    const answer = await call(`${fn.url}/status?code=500`)
    expect([answer.status, answer.text, answer.headers["x-own"]]).toEqual([500, "as asked", "kept"])
    expect(viewOf(answer)).toMatchObject({ state: "responded", attempt: 1 })
  })
})

describe.concurrent("a command that never becomes a worker", () => {
  it("lets its call end by its deadline and says why it waited", async () => {
    const one = await given().deploy("never-ready", { requestTimeoutMs: 1_000 }, mute)
    const waiting = call(`${one.url}/`)
    const view = await eventually("it waits", () => live(given(), one.versionId)[0])
    expect(view.cause).not.toBe("")
    const answer = await waiting
    expect([answer.status, kind(answer)]).toEqual([504, "deadline-passed"])
  })

  it("that ends at once is not started for ever", async () => {
    const command = ["node", "-e", "process.exit(3)"]
    const one = await given().deploy("ends-at-once", { requestTimeoutMs: 2_500 }, { command })
    const answer = await call(`${one.url}/`)
    expect(answer.status).toBeGreaterThanOrEqual(500)
    expect(given().platform.control.instances({ versionId: one.versionId }).length).toBeLessThan(10)
  })
})

describe.concurrent("a worker that breaks the protocol", () => {
  const garbage: ReadonlyArray<readonly [string, Uint8Array | string]> = [
    ["a text frame", "hello"],
    ["random bytes", randomBytes(300)],
    ["an empty frame", new Uint8Array(0)],
    ["a frame that is no array", Buffer.from([0xc3])],
    ["an unknown kind", Buffer.from([0x91, 0x7f])],
    ["a message without its fields", Buffer.from([0x92, 0x04, 0x01])],
    ["a frame beyond every limit", Buffer.alloc(3 * 1024 * 1024)],
    ["an array of a length that cannot be", Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff])]
  ]
  it.each(garbage)("by %s is closed, and it alone", async (_, bytes) => {
    const slow = call(`${fn.url}/sleep?ms=150`)
    const worker = await connect(given(), fn)
    worker.bytes(bytes)
    expect((await worker.closed).code).toBeGreaterThanOrEqual(1002)
    expect((await slow).text).toBe("slept 150")
    expect((await call(`${fn.url}/inspect`)).status).toBe(200)
  })

  it("by messages out of order is closed, and it alone", async () => {
    const early = await connect(given(), fn)
    early.say({ _tag: "Heartbeat" })
    expect((await early.closed).code).toBe(1002)
    const none = await connect(given(), fn)
    none.ready(0)
    expect((await none.closed).code).toBe(1002)
    expect((await call(`${fn.url}/`)).status).toBe(200)
  })

  it("while it holds a call is closed, and the call goes to a good one", async () => {
    const one = await given().deploy("garbage-in-work", {}, mute)
    const bad = await connect(given(), one)
    bad.ready()
    const waiting = call(`${one.url}/x`)
    await bad.assigned()
    bad.bytes(randomBytes(100))
    await bad.closed
    const good = await connect(given(), one)
    good.ready()
    good.answer(await good.assigned(), { body: "from the good one" })
    expect((await waiting).text).toBe("from the good one")
    good.vanish()
  })

  it("by a forged or borrowed credential is refused", async () => {
    const other = await given().deploy("other", {}, mute)
    const secretless = await connect(given(), fn, { token: "mw1.e30.AAAA" })
    expect((await secretless.closed).code).toBe(4003)
    const borrowed = await connect(given(), other, { of: fn })
    expect((await borrowed.closed).code).toBe(4003)
  })
})

describe.concurrent("a worker whose answer cannot be one", () => {
  const answered = async (
    name: string,
    act: (worker: Awaited<ReturnType<typeof connect>>, assign: Awaited<ReturnType<typeof worker.assigned>>) => void
  ) => {
    const one = await given().deploy(name, { maxAttempts: 1 }, mute)
    const worker = await connect(given(), one)
    worker.ready()
    const waiting = call(`${one.url}/x`)
    act(worker, await worker.assigned())
    const answer = await waiting
    // The shard serves on, and so does this worker.
    const next = call(`${one.url}/next`)
    worker.answer(await worker.assigned(), { body: "fine" })
    expect((await next).text).toBe("fine")
    worker.vanish()
    return answer
  }

  it.each([
    ["status 0", { status: 0 }],
    ["status 101", { status: 101 }],
    ["status 999", { status: 999 }],
    ["a line break in a header", { headers: [["x-a", "1\r\nx-b: 2"] as [string, string]] }],
    ["a header without a name", { headers: [["", "1"] as [string, string]] }],
    ["a space in a header's name", { headers: [["x a", "1"] as [string, string]] }],
    ["a header beyond latin-1", { headers: [["x", "\u4e00"] as [string, string]] }]
  ])("because of %s fails its call with 502 and nothing else", async (what, head) => {
    const name = `impossible-${what.replaceAll(/[^a-z0-9]+/g, "-")}`
    const answer = await answered(name, (worker, assign) => worker.answer(assign, head))
    expect([answer.status, kind(answer)]).toEqual([502, "function-failed"])
    expect(answer.headers["x-b"]).toBeUndefined()
  })

  it("in its length alone, and is there whole, is given its right length", async () => {
    const answer = await answered("wrong-length", (worker, assign) =>
      worker.answer(assign, { headers: [["content-length", "10"]], body: "four" })
    )
    expect([answer.status, answer.headers["content-length"], answer.text]).toEqual([200, "4", "four"])
  })

  it("because it came twice, or its body without a head, fails its call", async () => {
    const headless = await answered("headless", (worker, { requestId, token }) =>
      worker.say({ _tag: "ResponseChunk", requestId, token, bytes: Buffer.from("x") })
    )
    expect(headless.status).toBe(502)
    const endless = await answered("endless", (worker, { requestId, token }) =>
      worker.say({ _tag: "ResponseEnd", requestId, token })
    )
    expect(endless.status).toBe(502)
  })

  it("because it is more than its credit allows breaks off, and takes no memory with it", async () => {
    const one = await given().deploy("greedy", { maxAttempts: 1 }, mute)
    const worker = await connect(given(), one)
    worker.ready()
    const opened = open(`${one.url}/x`, { method: "GET" })
    opened.end()
    const { requestId, token } = await worker.assigned()
    worker.say({
      _tag: "ResponseHead",
      requestId,
      token,
      status: 200,
      headers: [],
      body: new Uint8Array(0),
      end: false
    })
    const answer = await opened.answer
    answer.pause()
    const bytes = new Uint8Array(64 * 1024)
    for (let sent = 0; sent < 16; sent++) worker.say({ _tag: "ResponseChunk", requestId, token, bytes })
    for (let sent = 0; sent < 200; sent++) worker.say({ _tag: "ResponseChunk", requestId, token, bytes })
    await eventually("its call is over", () => live(given(), one.versionId).length === 0 || undefined)
    await expect(
      (async () => {
        for await (const _ of answer);
      })()
    ).rejects.toThrow()
    worker.vanish()
  })
})

describe.concurrent("a worker that falls silent", () => {
  it("loses its lease, another one answers, and its own late answer is refused", async () => {
    const one = await given().deploy("silent", {}, mute)
    const silent = await connect(given(), one)
    silent.ready()
    const waiting = call(`${one.url}/x`)
    const old = await silent.assigned()
    const second = await connect(given(), one)
    second.ready()
    const fresh = await second.assigned()
    expect([fresh.requestId, fresh.attempt]).toEqual([old.requestId, 2])
    expect(fresh.token).toBeGreaterThan(old.token)
    silent.answer(old, { body: "too late" })
    await new Promise((resolve) => setTimeout(resolve, 50))
    second.answer(fresh, { body: "in time" })
    expect((await waiting).text).toBe("in time")
    silent.vanish()
    second.vanish()
  })

  it("cannot speak for a call that another worker holds", async () => {
    const one = await given().deploy("foreign", {}, mute)
    const holder = await connect(given(), one)
    holder.ready()
    const waiting = call(`${one.url}/x`)
    const assign = await holder.assigned()
    const stranger = await connect(given(), one)
    stranger.ready()
    stranger.answer(assign, { body: "from a stranger" })
    stranger.answer({ ...assign, token: assign.token + 1 }, { body: "from a stranger" })
    await new Promise((resolve) => setTimeout(resolve, 50))
    holder.answer(assign, { body: "from its holder" })
    expect((await waiting).text).toBe("from its holder")
    expect(stranger.isOpen()).toBe(true)
    holder.vanish()
    stranger.vanish()
  })
})
