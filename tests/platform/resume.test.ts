/**
 * Event streams are read again after the last event that was seen: no event is lost, none comes twice, whatever cuts the
 * reader off; and what broke off is never continued by another attempt.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as fc from "fast-check"
import { beforeAll, describe, expect, it } from "vitest"
import { startChild } from "../support/platformChild.ts"
import { eventually, start, type TestFunction } from "../support/TestPlatform.ts"
import { type Answer, call, open } from "./support/Client.ts"
import { givenPlatform, peculiar } from "./support/Given.ts"

const given = givenPlatform({ instancesMax: 32 })
let fn: TestFunction

beforeAll(async () => {
  fn = await given().deploy("events")
  await call(`${fn.url}/`)
})

const respondAsync = { prefer: "respond-async" }
const eventStream = { accept: "text/event-stream" }
const withIds = { "millrace-event-ids": "true" }
const idOf = (answer: Answer) => String(answer.headers["nvcf-reqid"])
const kind = (answer: Answer) => String(answer.json()["type"]).replace("urn:millrace:problem:", "")
const resultUrl = (id: string, gatewayUrl = given().platform.gatewayUrl) => `${gatewayUrl}/requests/${id}/result`

/** Everything up to and including a blank line. */
const framesOf = (text: string): ReadonlyArray<string> => text.match(/(?:.+\n)+\n/g) ?? []
const lastIdOf = (frame: string): string | undefined => /^id: ?(.*)$/m.exec(frame)?.[1]
const withoutIds = (text: string, requestId: string) =>
  text.replaceAll(new RegExp(`^id: ${requestId}:\\d+\\n`, "gm"), "")

interface Reading {
  readonly status: number
  readonly requestId: string
  /** Whole frames only, as an `EventSource` counts: what comes after the last blank line is forgotten. */
  readonly frames: ReadonlyArray<string>
  /** What came after them. */
  readonly rest: string
  readonly end: "ended" | "broken" | "left"
}

/** Reads, and leaves once so many bytes have come. */
const readUntil = async (
  url: string,
  headers: Readonly<Record<string, string>>,
  bytesMax = Number.POSITIVE_INFINITY,
  onBytes: (text: string) => void = () => {}
): Promise<Reading> => {
  const opened = open(url, { method: "GET", headers })
  opened.end()
  const answer = await opened.answer
  let text = ""
  let end: Reading["end"] = "ended"
  try {
    for await (const chunk of answer) {
      text += String(chunk)
      onBytes(text)
      if (text.length < bytesMax) continue
      end = "left"
      opened.leave()
      break
    }
  } catch {
    end = "broken"
  }
  const frames = framesOf(text)
  const requestId = String(answer.headers["nvcf-reqid"])
  return { status: answer.statusCode ?? 0, requestId, frames, rest: text.slice(frames.join("").length), end }
}

/** Comes back again and again, each time for some bytes, until the stream ends. */
const readAgain = async (url: string, lastId: string | undefined, cuts: ReadonlyArray<number>) => {
  const seen: Array<string> = []
  let last = lastId
  for (let turn = 0; turn < 100; turn++) {
    const headers = { ...eventStream, ...withIds, ...(last === undefined ? {} : { "last-event-id": last }) }
    const reading = await readUntil(url, headers, cuts[turn] ?? Number.POSITIVE_INFINITY)
    if (reading.status !== 200) return { seen, status: reading.status }
    seen.push(...reading.frames)
    last = lastIdOf(reading.frames.at(-1) ?? "") ?? last
    if (reading.end === "ended") return { seen: [...seen, reading.rest], status: 200 }
  }
  throw new Error("the stream never ended")
}

describe.concurrent("a reader that comes back", () => {
  it("after random cuts has seen the stream, whether the function gives ids or we do", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          own: fc.constantFrom(0, 1, 3),
          count: fc.integer({ min: 1, max: 40 }),
          size: fc.integer({ min: 1, max: 200 }),
          ms: fc.constantFrom(0, 2),
          mode: fc.constantFrom("sync", "async"),
          cuts: fc.array(fc.integer({ min: 1, max: 600 }), { maxLength: 8 })
        }),
        async ({ own, count, size, ms, mode, cuts }) => {
          const url = `${fn.url}/events?n=${count}&own=${own}&size=${Math.max(size, count)}&ms=${ms}`
          let id: string
          let first: ReadonlyArray<string> = []
          let isWhole = false
          if (mode === "async") id = idOf(await call(url, { headers: respondAsync }))
          else {
            const reading = await readUntil(url, withIds, cuts[0] ?? 100)
            id = reading.requestId
            first = reading.frames
            isWhole = reading.end === "ended"
          }
          const again = isWhole ? { seen: [] } : await readAgain(resultUrl(id), lastIdOf(first.at(-1) ?? ""), cuts)
          const seen = withoutIds([...first, ...again.seen].join(""), id)
          let expected = ""
          for (let i = 1; i <= count; i++) {
            if (own > 0 && i % own === 0) expected += `id: own-${i}\n`
            if (i % 7 === 0) expected += ": keep-alive\n\n"
            expected += `event: tick\ndata: ${i} of ${id} 1\n\n`
          }
          expect(seen).toBe(expected)
        }
      ),
      { numRuns: 40 }
    )
  }, 60_000)

  it("without ids gets the bytes as the function sent them, and can count to say where it was", async () => {
    const url = `${fn.url}/events?n=12&ms=5`
    const plain = await call(url)
    expect(plain.text).not.toContain("id:")
    const reading = await readUntil(url, {}, 150)
    const id = reading.requestId
    const rest = await readUntil(resultUrl(id), { "last-event-id": `${id}:${reading.frames.length}` })
    expect(rest.end).toBe("ended")
    expect([...reading.frames, ...rest.frames].join("")).toBe(plain.text.replaceAll(idOf(plain), id))
  })

  it("follows live: an event reaches it while the function is still streaming", async () => {
    const accepted = await call(`${fn.url}/events?n=6&size=60&ms=250`, { headers: respondAsync })
    const opened = open(resultUrl(idOf(accepted)), { method: "GET", headers: eventStream })
    opened.end()
    const answer = await opened.answer
    expect([answer.statusCode, answer.headers["content-type"]]).toEqual([200, "text/event-stream; charset=utf-8"])
    const first = String((await answer[Symbol.asyncIterator]().next()).value)
    expect(first).toContain("data: 1 of")
    expect(given().platform.directory.get(idOf(accepted))?.state).toBe("responding")
    opened.leave()
    // Nobody reads, and the whole is kept all the same.
    const claimed = await call(`${resultUrl(idOf(accepted))}?wait=60`)
    expect(framesOf(claimed.text)).toHaveLength(6)
  })

  it("and others read the same stream side by side, each from where it was", async () => {
    const accepted = await call(`${fn.url}/events?n=20&ms=10`, { headers: respondAsync })
    const id = idOf(accepted)
    const { frames } = await readUntil(resultUrl(id), eventStream, 500)
    expect(frames.length).toBeGreaterThan(5)
    const from = [0, 3, frames.length]
    const readers = await Promise.all(
      from.map((index) => readUntil(resultUrl(id), index === 0 ? eventStream : { "last-event-id": `${id}:${index}` }))
    )
    const [whole] = readers
    expect(whole?.frames).toHaveLength(22)
    expect(readers.map((reader) => reader.frames)).toEqual(from.map((index) => whole?.frames.slice(index)))
  })

  it("waits for a stream that has not begun, and hears 204 when it has seen all of it", async () => {
    const one = await given().deploy("cold-stream")
    const accepted = await call(`${one.url}/events?n=3`, { headers: respondAsync })
    const id = idOf(accepted)
    const reading = await readUntil(resultUrl(id), eventStream)
    expect(reading.frames).toHaveLength(3)
    const over = await call(resultUrl(id), { headers: { "last-event-id": `${id}:3` } })
    expect([over.status, over.text]).toEqual([204, ""])
  })

  it("with an id that is none of this stream is told so, and with a wrong wish too", async () => {
    const accepted = await call(`${fn.url}/events?n=3&own=1`, { headers: respondAsync })
    const id = idOf(accepted)
    await call(`${resultUrl(id)}?wait=60`)
    for (const lastEventId of ["own-9", `${id}:9`, `${crypto.randomUUID()}:1`, "\u00e9"]) {
      const answer = await call(resultUrl(id), { headers: { "last-event-id": lastEventId } })
      expect([answer.status, kind(answer)]).toEqual([409, "unknown-event"])
    }
    const wrong = await call(resultUrl(id), { headers: { ...eventStream, "millrace-event-ids": "maybe" } })
    expect([wrong.status, kind(wrong)]).toEqual([400, "bad-header"])
    const unknown = await call(resultUrl(crypto.randomUUID()), { headers: { "last-event-id": "1" } })
    expect(unknown.status).toBe(404)
  })

  it("gets what is no event stream as a claim does", async () => {
    const accepted = await call(`${fn.url}/sleep?ms=200`, { headers: respondAsync })
    const answer = await call(resultUrl(idOf(accepted)), { headers: { "last-event-id": "1" } })
    expect([answer.status, answer.text]).toEqual([200, "slept 200"])
  })

  it("a short while after a synchronous stream has ended finds it; after its time it is gone", async () => {
    const { url, close } = await (async () => {
      const platform = await start({ eventStreams: { retentionMs: 1_000 } })
      const one = await platform.deploy("short-events", { graceMs: 100 })
      await call(`${one.url}/`)
      return { url: one.url, close: () => platform.close() }
    })()
    try {
      const whole = await call(`${url}/events?n=4`)
      const result = new URL(url).origin
      const reading = await readUntil(resultUrl(idOf(whole), result), { "last-event-id": `${idOf(whole)}:2` })
      expect(reading.frames.join("")).toBe(framesOf(whole.text).slice(2).join(""))
      await eventually("it is gone", async () => {
        const answer = await call(resultUrl(idOf(whole), result), { headers: { "last-event-id": `${idOf(whole)}:2` } })
        return answer.status === 404 || undefined
      })
    } finally {
      await close()
    }
  })

  it("of a replayed key gets ids too when it asks for them", async () => {
    const headers = { "idempotency-key": "stream", ...withIds }
    const [first, again] = [
      await call(`${fn.url}/events?n=3`, { headers }),
      await call(`${fn.url}/events?n=3`, { headers })
    ]
    expect(framesOf(first.text).map(lastIdOf)).toEqual([1, 2, 3].map((index) => `${idOf(first)}:${index}`))
    expect(again.text).toBe(first.text)
  })
})

describe.concurrent("a stream whose attempt is lost", () => {
  it("ends with an error for whoever read it, and no other attempt continues or replaces it", async () => {
    const one = await given().deploy("lost-stream", { maxAttempts: 3 })
    await call(`${one.url}/`)
    // Ids of the function, which a second attempt would give again.
    const gate = join(given().stateDirectory, "lost-stream")
    const path = `/events?n=30&own=1&ms=10&crash=600&gate=${encodeURIComponent(gate)}`
    const accepted = await call(`${one.url}${path}`, { headers: respondAsync })
    const id = idOf(accepted)
    const reading = await readUntil(resultUrl(id), eventStream, Number.POSITIVE_INFINITY, (text) => {
      if (framesOf(text).length > 3) writeFileSync(gate, "")
    })
    expect(reading.end).toBe("broken")
    expect(reading.frames.length).toBeGreaterThan(3)
    expect(reading.frames.join("")).not.toMatch(/ [23]\n/)
    const last = lastIdOf(reading.frames.at(-1) ?? "") ?? ""
    const [resumed, claimed] = [
      await call(resultUrl(id), { headers: { "last-event-id": last } }),
      await call(`${resultUrl(id)}?wait=60`)
    ]
    for (const answer of [resumed, claimed]) expect([answer.status, kind(answer)]).toEqual([502, "stream-broken"])
    expect(given().platform.directory.get(id)).toMatchObject({ state: "failed", attempt: 1 })
    // What was seen is there for those who were not as far.
    const behind = await readUntil(resultUrl(id), { "last-event-id": "own-2" })
    expect([behind.frames.join(""), behind.end]).toEqual([reading.frames.slice(2).join(""), "broken"])
  })

  it("that nobody read is begun again, and its readers see the second attempt from its beginning", async () => {
    const one = await given().deploy("unread-stream", { maxAttempts: 2, redeliveryDelayMs: 10 }, peculiar)
    const accepted = await call(`${one.url}/events-once?n=5`, { headers: respondAsync })
    const id = idOf(accepted)
    await eventually("the second attempt runs", () => given().platform.directory.get(id)?.attempt === 2 || undefined)
    const reading = await readUntil(resultUrl(id), eventStream)
    expect(reading.end).toBe("ended")
    expect(reading.frames.join("")).toBe([1, 2, 3, 4, 5].map((i) => `data: ${i} of attempt 2\n\n`).join(""))
  })
})

const inDirectory = async (work: (stateDirectory: string) => Promise<void>) => {
  const stateDirectory = mkdtempSync(join(tmpdir(), "millrace-test-"))
  try {
    await work(stateDirectory)
  } finally {
    rmSync(stateDirectory, { recursive: true, force: true })
  }
}

describe("event streams over a kill -9 of the platform", () => {
  it(
    "end where they were: what is there is a beginning, a reader is told, and nothing runs again",
    () =>
      inDirectory(async (stateDirectory) => {
        const first = await startChild(stateDirectory)
        const url = `${first.functions["probe"]!.url}/events`
        await call(`${first.functions["probe"]!.url}/`)
        const done = await call(`${url}?n=5`, { headers: respondAsync })
        const whole = await call(`${resultUrl(idOf(done), first.gatewayUrl)}?wait=60`)
        const unread = await call(`${url}?n=20&ms=50`, { headers: respondAsync })
        const followed = await call(`${url}?n=200&ms=20&own=1`, { headers: respondAsync })
        const [reader, sync] = [
          readUntil(resultUrl(idOf(followed), first.gatewayUrl), eventStream),
          readUntil(`${url}?n=200&ms=20`, withIds)
        ]
        await new Promise((resolve) => setTimeout(resolve, 1_000))
        await first.kill()
        const readings = await Promise.all([reader, sync])
        for (const { end, frames } of readings) {
          expect(end).toBe("broken")
          expect(frames.length).toBeGreaterThan(3)
        }

        const second = await startChild(stateDirectory)
        try {
          for (const { requestId, frames } of readings) {
            const lastId = lastIdOf(frames[1] ?? "") ?? ""
            const again = await readUntil(resultUrl(requestId, second.gatewayUrl), {
              "last-event-id": lastId,
              ...withIds
            })
            expect([again.status, again.end]).toEqual([200, "broken"])
            expect(again.frames.length).toBeGreaterThan(0)
            // What the reader had seen and what is stored are beginnings of one stream.
            const seen = frames.slice(2).join("")
            const stored = withoutIds(again.frames.join(""), requestId)
            const [short, long] = [withoutIds(seen, requestId), stored].sort((a, b) => a.length - b.length)
            expect(long?.startsWith(short ?? "-")).toBe(true)
            const last = lastIdOf(again.frames.at(-1) ?? "") ?? ""
            const over = await call(resultUrl(requestId, second.gatewayUrl), { headers: { "last-event-id": last } })
            expect([over.status, kind(over)]).toEqual([502, "stream-broken"])
            const claimed = await call(`${resultUrl(requestId, second.gatewayUrl)}?wait=60`)
            expect([claimed.status, kind(claimed)]).toEqual([502, "stream-broken"])
            const view = (await call(`${second.gatewayUrl}/requests/${requestId}`)).json()
            expect([view["state"], view["attempt"]]).toEqual(["failed", 1])
          }
          // What had ended is there whole, and what nobody had seen runs again from its beginning.
          const kept = await readUntil(resultUrl(idOf(done), second.gatewayUrl), { "last-event-id": `${idOf(done)}:2` })
          expect(kept.frames.join("")).toBe(framesOf(whole.text).slice(2).join(""))
          const again = await readUntil(resultUrl(idOf(unread), second.gatewayUrl), eventStream)
          expect([again.end, again.frames.length]).toEqual(["ended", 22])
          expect(again.frames[0]).toMatch(/ 2\n/)
        } finally {
          await second.stop()
        }
      }),
    60_000
  )
})
