/**
 * What was accepted is there after the platform went away, in order or by `kill -9`, and finishes.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { startChild } from "../support/platformChild.ts"
import { eventually, start } from "../support/TestPlatform.ts"
import { type Answer, call, open, readAll } from "./support/Client.ts"
import { peculiar } from "./support/Given.ts"

const idOf = (answer: Answer) => String(answer.headers["nvcf-reqid"])
const respondAsync = { prefer: "respond-async" }

const inDirectory = async (work: (stateDirectory: string) => Promise<void>) => {
  const stateDirectory = mkdtempSync(join(tmpdir(), "millrace-test-"))
  try {
    await work(stateDirectory)
  } finally {
    rmSync(stateDirectory, { recursive: true, force: true })
  }
}

const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe.concurrent("accepted requests", () => {
  it(
    "survive a kill -9 of the whole platform: those that waited, those that ran and those that had ended",
    () =>
      inDirectory(async (stateDirectory) => {
        const first = await startChild(stateDirectory)
        const { probe, peculiar: odd } = first.functions
        const body = Buffer.alloc(500_000, "abcdefghij")
        const done = await call(`${probe!.url}/echo`, { body, headers: respondAsync })
        const answered = await call(`${first.gatewayUrl}/requests/${idOf(done)}/result?wait=60`)
        expect(answered.bytes.equals(body)).toBe(true)
        const keyed = { "idempotency-key": "kept" }
        const once = await call(`${odd!.url}/once?name=kept`, { body: "k", headers: keyed })
        const instancePid = Number(once.json()["pid"])
        const slow = await call(`${probe!.url}/sleep?ms=1500`, { headers: respondAsync })
        const large = await call(`${probe!.url}/sleep?ms=1501`, { body, headers: respondAsync })
        const waiting = await Promise.all(
          Array.from({ length: 40 }, (_, index) =>
            call(`${probe!.url}/inspect?n=${index}`, { body: `body ${index}`, headers: respondAsync })
          )
        )
        for (const answer of [slow, large, ...waiting])
          expect([answer.status, answer.json()["durable"]]).toEqual([202, true])
        await first.kill()
        await eventually("its instances die with it", () => !isAlive(instancePid) || undefined)

        const second = await startChild(stateDirectory)
        try {
          expect(second.recordsReplayed).toBeGreaterThan(40)
          const result = (answer: Answer) => call(`${second.gatewayUrl}/requests/${idOf(answer)}/result?wait=60`)
          expect((await result(done)).bytes.equals(body)).toBe(true)
          expect((await result(slow)).text).toBe("slept 1500")
          expect((await result(large)).text).toBe("slept 1501")
          const results = await Promise.all(waiting.map(result))
          results.forEach((claimed, index) => {
            expect(claimed.json()).toMatchObject({ body: `body ${index}`, requestId: idOf(waiting[index]!) })
          })
          const again = await call(`${second.functions["peculiar"]!.url}/once?name=kept`, { body: "k", headers: keyed })
          expect(again.bytes.equals(once.bytes)).toBe(true)
          expect(again.headers["idempotency-replayed"]).toBe("true")
          const runs = await call(`${second.functions["peculiar"]!.url}/runs?name=kept`)
          expect(runs.json()["runs"]).toBe(0)
        } finally {
          await second.stop()
        }
      }),
    240_000
  )

  it(
    "survive an orderly end: the running ones run again, cancelled ones stay cancelled, attempts are counted on",
    () =>
      inDirectory(async (stateDirectory) => {
        const first = await start({ stateDirectory, drainMs: 200 })
        const fn = await first.deploy("kept", { graceMs: 100 })
        const odd = await first.deploy("odd", { graceMs: 100 }, peculiar)
        await Promise.all([call(`${fn.url}/`), call(`${odd.url}/`)])
        const gone = await call(`${odd.url}/forever?name=gone`, { headers: respondAsync })
        await call(`${first.platform.gatewayUrl}/requests/${idOf(gone)}`, { method: "DELETE" })
        const running = await call(`${odd.url}/forever?name=runs`, { headers: respondAsync })
        await eventually("it runs", () => first.platform.directory.get(idOf(running))?.state === "leased" || undefined)
        const later = await call(`${fn.url}/sleep?ms=2500`, { headers: respondAsync })
        const headers = { ...respondAsync, "millrace-deadline": "1s" }
        const expiring = await call(`${odd.url}/forever?name=expires`, { headers })
        // A synchronous caller that is cut off by the end of the platform finds its request again by the key.
        const keyed = open(`${fn.url}/sleep?ms=2400`, { method: "GET", headers: { "idempotency-key": "cut-off" } })
        keyed.end()
        await eventually(
          "it is stored",
          () =>
            first.platform.directory
              .list({ versionId: fn.versionId, limit: 9 })
              .some((request) => request.path === "/sleep?ms=2400" && request.stored) || undefined
        )
        await first.close({ keep: true })
        await expect(keyed.answer.then((message) => readAll(message))).rejects.toThrow()

        const second = await start({ stateDirectory })
        try {
          const gateway = second.platform.gatewayUrl
          const result = (answer: Answer) => call(`${gateway}/requests/${idOf(answer)}/result?wait=60`)
          expect((await result(gone)).status).toBe(409)
          await eventually("it runs again", () => {
            const found = second.platform.directory.get(idOf(running))
            return (found?.state === "leased" && found.attempt >= 2) || undefined
          })
          await call(`${gateway}/requests/${idOf(running)}`, { method: "DELETE" })
          expect((await result(running)).status).toBe(409)
          expect((await result(later)).text).toBe("slept 2500")
          const expired = await result(expiring)
          expect([expired.status, expired.json()["type"]]).toEqual([504, "urn:millrace:problem:deadline-passed"])
          const again = await call(`${gateway}/f/kept/sleep?ms=2400`, { headers: { "idempotency-key": "cut-off" } })
          expect([again.text, again.headers["idempotency-replayed"]]).toEqual(["slept 2400", "true"])
        } finally {
          await second.close()
        }
      }),
    240_000
  )
})
