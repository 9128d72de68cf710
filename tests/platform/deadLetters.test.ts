/**
 * Requests whose every attempt was lost are kept whole, and can be replayed: once, and across every restart.
 */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { startChild } from "../support/platformChild.ts"
import { eventually, start, type TestPlatform } from "../support/TestPlatform.ts"
import { type Answer, call } from "./support/Client.ts"
import { control } from "./support/Control.ts"
import { givenPlatform } from "./support/Given.ts"

const given = givenPlatform({ instancesMax: 32 })
const respondAsync = { prefer: "respond-async" }
const idOf = (answer: Answer) => String(answer.headers["nvcf-reqid"])
const kind = (answer: Answer) => String(answer.json()["type"]).replace("urn:millrace:problem:", "")

type Letter = Readonly<Record<string, unknown>> & {
  readonly requestId: string
  readonly replay: { requestId: string } | null
}

const lettersOf = async (stateDirectory: string, query = "") =>
  (await control(stateDirectory, "GET", `/v1/dead-letters?limit=1000${query}`)).json() as unknown as {
    readonly items: ReadonlyArray<Letter>
    readonly next: string | null
  }

const cure = ({ stateDirectory }: Pick<TestPlatform, "stateDirectory">, name: string) => {
  const file = join(stateDirectory, `cure-${name}`)
  return { file, path: `/crash-without?file=${encodeURIComponent(file)}`, apply: () => writeFileSync(file, "") }
}

const result = (gatewayUrl: string, id: string) => call(`${gatewayUrl}/requests/${id}/result?wait=60`)

/** Accepted, and dead. */
const die = async (test: TestPlatform, url: string, body: string | Uint8Array) => {
  const accepted = await call(url, {
    body,
    headers: { ...respondAsync, "content-type": "text/x-own", cookie: "secret=1" }
  })
  const claimed = await result(test.platform.gatewayUrl, idOf(accepted))
  expect([claimed.status, kind(claimed)]).toEqual([502, "attempts-exhausted"])
  return idOf(accepted)
}

describe.concurrent("a dead letter", () => {
  it("is kept with its reason, its attempts, its history and the whole request", async () => {
    const fn = await given().deploy("kept-letter", { maxAttempts: 2 })
    const { path } = cure(given(), "never")
    const id = await die(given(), `${fn.url}${path}`, "the body")
    const { items } = await lettersOf(given().stateDirectory, "&function=kept-letter")
    expect(items).toHaveLength(1)
    expect(items[0]).toMatchObject({
      requestId: id,
      functionName: "kept-letter",
      method: "POST",
      path,
      attempts: 2,
      maxAttempts: 2,
      reason: "attempts-exhausted",
      bodyBytes: 8,
      bodyKept: true,
      replay: null
    })
    const shown = (await control(given().stateDirectory, "GET", `/v1/dead-letters/${id}`)).json()
    expect(shown["body"]).toEqual({ encoding: "utf8", content: "the body", isTruncated: false })
    expect(shown["headers"]).toContainEqual(["content-type", "text/x-own"])
    expect(shown["headers"]).toContainEqual(["cookie", "(hidden)"])
    expect(JSON.stringify(shown["history"])).toMatch(/attempt 1 was lost: instance .* is gone/)
    expect(Number(shown["keepUntilMs"]) - Number(shown["deadAtMs"])).toBe(7 * 24 * 3_600_000)
  })

  it("is there when a synchronous caller hears of it", async () => {
    const fn = await given().deploy("sync-letter", { maxAttempts: 1 })
    const answer = await call(`${fn.url}/crash`, { body: "x" })
    expect([answer.status, kind(answer)]).toEqual([502, "attempts-exhausted"])
    const shown = await control(given().stateDirectory, "GET", `/v1/dead-letters/${idOf(answer)}`)
    expect([shown.status, shown.json()["mode"]]).toEqual([200, "sync"])
  })

  it("is not made of a request whose version writes nothing, but of one with a key", async () => {
    const fn = await given().deploy("memory-letter", { maxAttempts: 1 }, { durability: "memory" })
    expect((await call(`${fn.url}/crash`)).status).toBe(502)
    expect((await call(`${fn.url}/crash`, { headers: { "idempotency-key": "k" } })).status).toBe(502)
    expect((await lettersOf(given().stateDirectory, "&function=memory-letter")).items).toHaveLength(1)
  })

  it("is replayed as a new request with the old body, and replaying again runs nothing", async () => {
    const fn = await given().deploy("replayed", { maxAttempts: 1 })
    const { path, apply } = cure(given(), "replayed")
    const body = Buffer.alloc(300_000, "0123456789")
    const [small, large] = [
      await die(given(), `${fn.url}${path}`, "small"),
      await die(given(), `${fn.url}${path}`, body)
    ]
    apply()
    const { gatewayUrl } = given().platform
    for (const [id, sent] of [
      [small, Buffer.from("small")],
      [large, body]
    ] as const) {
      const both = await Promise.all(
        [1, 2].map(() => control(given().stateDirectory, "POST", `/v1/dead-letters/${id}/replay`))
      )
      const again = await control(given().stateDirectory, "POST", `/v1/dead-letters/${id}/replay`)
      const newId = String(again.json()["requestId"])
      expect(both.map((answer) => [answer.status, answer.json()["requestId"]])).toEqual([
        [200, newId],
        [200, newId]
      ])
      expect([...both, again].map((answer) => answer.json()["isNew"]).filter(Boolean)).toHaveLength(1)
      expect(newId).not.toBe(id)
      const claimed = await result(gatewayUrl, newId)
      expect([claimed.status, claimed.bytes.equals(sent), claimed.headers["x-attempt"]]).toEqual([200, true, "1"])
      expect(given().platform.directory.get(newId)).toMatchObject({ replayOf: id, stored: true })
      const shown = (await control(given().stateDirectory, "GET", `/v1/dead-letters/${id}`)).json()
      expect(shown["replay"]).toMatchObject({ requestId: newId })
    }
    const left = await lettersOf(given().stateDirectory, "&function=replayed&replayed=false")
    expect(left.items).toEqual([])
  })

  it("goes to the version that is active now, or to the one that is named, and never to another function", async () => {
    const fn = await given().deploy("fixed-later", { maxAttempts: 1 })
    const other = await given().deploy("another")
    const id = await die(given(), `${fn.url}/crash`, "x")
    const replay = (query = "") => control(given().stateDirectory, "POST", `/v1/dead-letters/${id}/replay${query}`)
    expect((await replay(`?versionId=${other.versionId}`)).status).toBe(409)
    expect((await replay("?versionId=00000000-0000-4000-8000-000000000000")).status).toBe(404)
    await given().run(given().platform.registry.undeploy("default", fn.versionId))
    expect(kind(await replay())).toBe("not-deployed")
    expect((await control(given().stateDirectory, "GET", `/v1/dead-letters/${id}`)).json()["replay"]).toBeNull()
  })

  it("is dropped with its body, and dropping or replaying it then answers 404", async () => {
    const fn = await given().deploy("dropped", { maxAttempts: 1 })
    const id = await die(given(), `${fn.url}/crash`, Buffer.alloc(200_000, "x"))
    const blobs = () => readdirSync(join(given().stateDirectory, "blobs")).filter((name) => name.startsWith(id))
    expect(blobs()).toHaveLength(1)
    expect((await control(given().stateDirectory, "DELETE", `/v1/dead-letters/${id}`)).status).toBe(204)
    await eventually("its body is gone", () => blobs().length === 0 || undefined)
    for (const [method, path] of [
      ["GET", ""],
      ["DELETE", ""],
      ["POST", "/replay"]
    ] as const) {
      const answer = await control(given().stateDirectory, method, `/v1/dead-letters/${id}${path}`)
      expect([answer.status, kind(answer)]).toEqual([404, "dead-letter-not-found"])
    }
  })

  it("is listed in pages that neither repeat nor leave out, and a page that is none is refused", async () => {
    const fn = await given().deploy("paged", { maxAttempts: 1, concurrency: 1, maxInstances: 5 })
    const ids = await Promise.all(Array.from({ length: 5 }, () => die(given(), `${fn.url}/crash`, "x")))
    const seen: Array<string> = []
    let after = ""
    for (;;) {
      const answer = await control(given().stateDirectory, "GET", `/v1/dead-letters?function=paged&limit=2${after}`)
      const { items, next } = answer.json() as unknown as { items: ReadonlyArray<Letter>; next: string | null }
      seen.push(...items.map(({ requestId }) => requestId))
      if (next === null) break
      after = `&after=${next}`
    }
    expect(seen).toHaveLength(5)
    expect(new Set(seen)).toEqual(new Set(ids))
    expect((await control(given().stateDirectory, "GET", "/v1/dead-letters?after=nonsense")).status).toBe(400)
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

describe.concurrent("dead letters over restarts", () => {
  it(
    "survive a kill -9 with what became of them, and a replay that was cut off becomes exactly one request",
    () =>
      inDirectory(async (stateDirectory) => {
        const first = await start({ stateDirectory })
        const fn = await first.deploy("poison", { maxAttempts: 1, concurrency: 1, maxInstances: 8, graceMs: 100 })
        const { path, apply } = cure(first, "all")
        const ids = await Promise.all(
          Array.from({ length: 8 }, (_, index) =>
            die(first, `${fn.url}${path}`, index === 0 ? Buffer.alloc(200_000, "y") : `body ${index}`)
          )
        )
        const dropped = ids[7]!
        await control(stateDirectory, "DELETE", `/v1/dead-letters/${dropped}`)
        await first.close({ keep: true })
        apply()

        // Replays under way, and the platform killed in the middle of them, again and again.
        for (let round = 0; round < 3; round++) {
          const child = await startChild(stateDirectory)
          const replays = ids.slice(0, 7).map((id) => control(stateDirectory, "POST", `/v1/dead-letters/${id}/replay`))
          await Promise.race([...replays, new Promise((resolve) => setTimeout(resolve, 5 * round))])
          await child.kill()
          await Promise.allSettled(replays)
        }

        const last = await start({ stateDirectory })
        try {
          expect((await control(stateDirectory, "GET", `/v1/dead-letters/${dropped}`)).status).toBe(404)
          const { items } = await lettersOf(stateDirectory)
          expect(new Set(items.map(({ requestId }) => requestId))).toEqual(new Set(ids.slice(0, 7)))
          for (const [index, id] of ids.slice(0, 7).entries()) {
            const answer = await control(stateDirectory, "POST", `/v1/dead-letters/${id}/replay`)
            const claimed = await result(last.platform.gatewayUrl, String(answer.json()["requestId"]))
            expect(claimed.text).toBe(index === 0 ? "y".repeat(200_000) : `body ${index}`)
          }
          const replays = last.platform.directory.list({ limit: 1000 }).filter(({ replayOf }) => replayOf !== null)
          expect(replays.map(({ replayOf }) => replayOf).sort()).toEqual(ids.slice(0, 7).sort())
        } finally {
          await last.close()
        }
      }),
    240_000
  )

  it(
    "go when their time is over, and the oldest when there are too many, also over a restart",
    () =>
      inDirectory(async (stateDirectory) => {
        const deadLetters = { retentionMs: 10_000, countMax: 2 }
        const first = await start({ stateDirectory, deadLetters })
        const fn = await first.deploy("brief", { maxAttempts: 1, graceMs: 100 })
        const ids: Array<string> = []
        for (let index = 0; index < 3; index++)
          ids.push(await die(first, `${fn.url}/crash`, Buffer.alloc(100_000, "z")))
        expect((await lettersOf(stateDirectory)).items.map(({ requestId }) => requestId)).toEqual([ids[2], ids[1]])
        await first.close({ keep: true })
        const second = await start({ stateDirectory, deadLetters })
        try {
          expect((await lettersOf(stateDirectory)).items.map(({ requestId }) => requestId)).not.toContain(ids[0])
          await eventually(
            "all are gone",
            async () => (await lettersOf(stateDirectory)).items.length === 0 || undefined
          )
          await eventually(
            "and their bodies",
            () => readdirSync(join(stateDirectory, "blobs")).length === 0 || undefined
          )
        } finally {
          await second.close()
        }
      }),
    240_000
  )
})
