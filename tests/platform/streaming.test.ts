/**
 * Bodies flow both ways as they are produced and as fast as they are read, and what waits in between is bounded.
 */
import { createHash, randomBytes } from "node:crypto"
import { existsSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import { eventually, type TestFunction } from "../support/TestPlatform.ts"
import { call, open, readAll } from "./support/Client.ts"
import { givenPlatform, live, peculiar, printed } from "./support/Given.ts"

const given = givenPlatform()
let fn: TestFunction
let odd: TestFunction

beforeAll(async () => {
  fn = await given().deploy("streaming", { bodyBytesMax: 1024 * 1024 * 1024 })
  odd = await given().deploy("odd", { bodyBytesMax: 1024 * 1024 * 1024 }, peculiar)
  await Promise.all([call(`${fn.url}/`), call(`${odd.url}/`)])
})

const mebibyte = 1024 * 1024
const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

/** Highest resident size above that of the start while `work` runs. */
const growthWhile = async (work: () => Promise<void>): Promise<number> => {
  const before = process.memoryUsage.rss()
  let highest = before
  const timer = setInterval(() => {
    highest = Math.max(highest, process.memoryUsage.rss())
  }, 20)
  await work()
  clearInterval(timer)
  return highest - before
}

const blobsLeft = () =>
  ["blobs", "blobs-partial"].flatMap((folder) => {
    const path = join(given().stateDirectory, folder)
    return existsSync(path) ? readdirSync(path) : []
  })

describe.concurrent("bodies", () => {
  it("of 10 MiB come back byte for byte, with and without an announced length", async () => {
    const body = randomBytes(10 * mebibyte)
    await Promise.all(
      [false, true].map(async (chunked) => {
        const answer = await call(`${fn.url}/echo`, { body, chunked })
        expect([answer.status, answer.bytes.length, digest(answer.bytes)]).toEqual([200, body.length, digest(body)])
      })
    )
  })

  it("of exactly the sizes where the way changes come back byte for byte", async () => {
    for (const size of [1, 65_535, 65_536, 65_537, mebibyte - 1, mebibyte, mebibyte + 1]) {
      const body = randomBytes(size)
      const [whole, chunked] = await Promise.all([
        call(`${fn.url}/echo`, { body }),
        call(`${fn.url}/echo`, { body, chunked: true })
      ])
      expect([size, digest(whole.bytes), digest(chunked.bytes)]).toEqual([size, digest(body), digest(body)])
    }
  })

  it("are a conversation: each chunk is answered before the next one is sent", async () => {
    const opened = open(`${fn.url}/echo`, { headers: { "content-type": "text/plain" } })
    opened.write("one")
    const answer = await opened.answer
    expect(answer.statusCode).toBe(200)
    const chunks = answer[Symbol.asyncIterator]()
    for (const word of ["one", "two", "three"]) {
      if (word !== "one") opened.write(word)
      expect(String((await chunks.next()).value)).toBe(word)
    }
    opened.end()
    expect((await chunks.next()).done).toBe(true)
  })

  it("show an event of a stream when it is produced, not when the stream ends", async () => {
    const gate = join(given().stateDirectory, "gate-")
    const pass = (index: number) => writeFileSync(`${gate}${index}`, "")
    const opened = open(`${fn.url}/stream?n=4&gate=${encodeURIComponent(gate)}`, { method: "GET" })
    opened.end()
    pass(0)
    const answer = await opened.answer
    expect(answer.headers["content-type"]).toBe("text/event-stream")
    const seen: Array<string> = []
    for await (const chunk of answer) {
      seen.push(String(chunk))
      // The next one is not produced before this one was read.
      pass(seen.length)
    }
    expect(seen).toEqual([0, 1, 2, 3].map((index) => `data: ${index}\n\n`))
  })

  it("show the head of a stream before its first byte", async () => {
    const opened = open(`${odd.url}/slow-count?ms=1`, { headers: { "content-type": "text/plain" } })
    opened.end("x")
    expect((await readAll(await opened.answer)).json()).toEqual({ bytes: 1 })
  })
})

describe("memory", () => {
  it("stays bounded while 200 MiB are read slowly, and every byte arrives", async () => {
    const size = 200 * mebibyte
    let bytes = 0
    const growth = await growthWhile(async () => {
      const opened = open(`${fn.url}/bytes?n=${size}`, { method: "GET" })
      opened.end()
      const answer = await opened.answer
      let pauses = 0
      for await (const chunk of answer) {
        bytes += chunk.length
        // A reader that stops now and then for longer than any buffer lasts.
        if (bytes > (pauses + 1) * 10 * mebibyte) {
          pauses++
          await new Promise((resolve) => setTimeout(resolve, 50))
        }
      }
    })
    expect(bytes).toBe(size)
    expect(growth / mebibyte).toBeLessThan(96)
  })

  it("stays bounded while a reader stops altogether, and its worker stops producing", async () => {
    const opened = open(`${fn.url}/bytes?n=${150 * mebibyte}`, { method: "GET" })
    opened.end()
    const growth = await growthWhile(async () => {
      const answer = await opened.answer
      answer.pause()
      await new Promise((resolve) => setTimeout(resolve, 700))
    })
    expect(growth / mebibyte).toBeLessThan(64)
    opened.leave()
    // The rest has nobody to be shown to and is more than is kept; its slot must come free all the same.
    await eventually("the request ends", () => live(given(), fn.versionId).length === 0 || undefined, 15_000)
  })

  it("stays bounded while 100 MiB go to a function that reads slowly, and every byte arrives", async () => {
    const size = 100 * mebibyte
    const growth = await growthWhile(async () => {
      const opened = open(`${odd.url}/slow-count?ms=1`)
      const chunk = Buffer.alloc(mebibyte)
      for (let sent = 0; sent < size; sent += chunk.length) if (!opened.write(chunk)) await opened.drained()
      opened.end()
      expect((await readAll(await opened.answer)).json()).toEqual({ bytes: size })
    })
    expect(growth / mebibyte).toBeLessThan(96)
  })
})

describe("what a stream leaves behind", () => {
  it("is nothing on the disk, also when the function answered without reading", async () => {
    const opened = open(`${odd.url}/unread`)
    opened.write(Buffer.alloc(200_000))
    const answer = readAll(await opened.answer)
    opened.write(Buffer.alloc(200_000))
    opened.end()
    expect((await answer).text).toBe("did not read it")
    const quick = await call(`${odd.url}/unread`, { body: randomBytes(3 * mebibyte) })
    expect(quick.text).toBe("did not read it")
    await eventually("no blob is left", () => blobsLeft().length === 0 || undefined)
  })

  it("is nothing when the caller leaves in the middle of its own body: the attempt is aborted and its slot is free", async () => {
    const opened = open(`${odd.url}/slow-count?ms=5`)
    for (let index = 0; index < 4; index++) opened.write(Buffer.alloc(100_000))
    await eventually("it runs", () => live(given(), odd.versionId).some(({ state }) => state === "leased") || undefined)
    opened.leave()
    await eventually("it ended", () => live(given(), odd.versionId).length === 0 || undefined)
    const [view] = given().platform.directory.list({ versionId: odd.versionId, limit: 1 })
    expect([view?.state, view?.reason]).toEqual(["cancelled", "caller-left"])
    await eventually("no blob is left", () => blobsLeft().length === 0 || undefined)
  })

  it("is a result to claim when the caller leaves in the middle of the answer", async () => {
    const opened = open(`${fn.url}/stream?n=5&ms=100`, { method: "GET" })
    opened.end()
    const answer = await opened.answer
    const requestId = String(answer.headers["nvcf-reqid"])
    await answer[Symbol.asyncIterator]().next()
    opened.leave()
    const claimed = await call(`${given().platform.gatewayUrl}/requests/${requestId}/result?wait=60`)
    expect(claimed.text).toBe([0, 1, 2, 3, 4].map((index) => `data: ${index}\n\n`).join(""))
    expect(claimed.headers["content-type"]).toBe("text/event-stream")
  })

  it("is an honest refusal when more had been shown than is kept", async () => {
    const opened = open(`${fn.url}/bytes?n=${30 * mebibyte}`, { method: "GET" })
    opened.end()
    const answer = await opened.answer
    const requestId = String(answer.headers["nvcf-reqid"])
    let bytes = 0
    for await (const chunk of answer) {
      bytes += chunk.length
      if (bytes > 4 * mebibyte) break
    }
    opened.leave()
    const claimed = await call(`${given().platform.gatewayUrl}/requests/${requestId}/result?wait=60`)
    expect([claimed.status, claimed.json()["type"]]).toEqual([410, "urn:millrace:problem:result-not-kept"])
  })

  it("is silence in the function: its stream is cancelled when the caller asked for that and left", async () => {
    const headers = { "millrace-on-disconnect": "cancel" }
    const opened = open(`${fn.url}/stream?n=1000&ms=20`, { method: "GET", headers })
    opened.end()
    await opened.answer
    opened.leave()
    await eventually("it ended", () => live(given(), fn.versionId).length === 0 || undefined)
    expect(await printed(given(), fn.versionId)).not.toContain("Error")
  })
})
