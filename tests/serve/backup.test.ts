/**
 * A whole installation is saved while it works, its servers are lost, and it goes on from the backup on new ones.
 */
import { appendFileSync, cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { natsIsMissing, type RunningNats, startNats } from "../services/RunningNats.ts"
import { eventually } from "../support/TestPlatform.ts"
import * as Services from "./Services.ts"

const prefix = "backup"
const large = "b".repeat(200_000)

describe.skipIf(natsIsMissing)("a backup", () => {
  let old: RunningNats
  let next: RunningNats
  let before: Services.Services
  let after: Services.Services
  let folder = ""
  const backup = () => join(folder, "monday")
  const waiting = new Map<string, string>()

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "millrace-backup-"))
    ;[old, next] = await Promise.all([startNats(), startNats()])
    before = Services.make(old, prefix)
    after = Services.make(next, prefix)
  }, 60_000)
  afterAll(async () => {
    await before?.close()
    await after?.close()
    await Promise.all([old?.remove(), next?.remove()])
    rmSync(folder, { recursive: true, force: true })
  })

  it("is made while calls come in, and holds all that had been accepted", async () => {
    const [invocation, control] = await Promise.all([before.start("invocation"), before.start("control")])
    // In a folder that is there afterwards too, as a disk that the servers do not stand on.
    await before.cli(control, "deploy", after.functionFolder("probe"))
    const send = async (body: string) => {
      const url = `${invocation.facts["gateway"]}/f/probe/echo`
      const response = await fetch(url, { method: "POST", body, headers: { prefer: "respond-async" } })
      const text = await response.text()
      return response.status === 202 ? String(JSON.parse(text).requestId) : undefined
    }
    const first = await eventually("the gateway has heard of it", () => send("first"))
    waiting.set(first, "first")
    for (let index = 0; index < 30; index++) waiting.set((await send(`body ${index}`))!, `body ${index}`)
    // Beyond what a log holds: it lies in the folder of bodies.
    waiting.set((await send(large))!, large)
    let isDone = false
    const meanwhile = (async () => {
      while (!isDone) await send("meanwhile")
    })()
    const said = await before.offline("backup", backup())
    isDone = true
    await meanwhile
    assert.match(said, /saved \d+ streams \(\d+ messages, \d+ bytes\) and \d+ large bodies/)
    assert.isFalse(waiting.has("undefined"))
    await before.close()
  }, 60_000)

  it("that is damaged, never finished, of something else or in the way of something is refused, and changes nothing", async () => {
    const refused = async (...words: ReadonlyArray<string>) => {
      try {
        await after.offline(...words)
      } catch (error) {
        return error instanceof Error ? error.message : String(error)
      }
      throw new Error(`${words.join(" ")} was not refused`)
    }
    assert.include(await refused("restore", join(folder, "nothing")), "is no backup, or one that was never finished")
    const damaged = join(folder, "damaged")
    cpSync(backup(), damaged, { recursive: true })
    appendFileSync(join(damaged, "stream-0"), "x")
    assert.match(
      await refused("restore", damaged),
      /stream-0 \(KV_backup\) is not what was saved: nothing was restored/
    )
    writeFileSync(join(damaged, "backup.json"), "{}")
    assert.include(await refused("restore", damaged), "is not a list of a backup")
    assert.include(await refused("backup", backup()), "is not empty")
    assert.include(await refused("backup", join(folder, "empty")), "there are no streams whose names begin with backup")
    const other = await refused("restore", backup(), "--set", "nats.prefix=other")
    assert.include(other, "is of an installation with nats.prefix backup, and this one has other")
  }, 60_000)

  it("is restored to new servers, where every request that it held is answered", async () => {
    assert.match(await after.offline("restore", backup()), /restored \d+ streams/)
    const again = await after.offline("restore", backup()).catch((error: unknown) => String(error))
    assert.match(again, /KV_backup.* are there already/)
    const [invocation] = await Promise.all([after.start("invocation"), after.start("control"), after.start("agent")])
    for (const [id, body] of waiting) {
      const url = `${invocation.facts["gateway"]}/requests/${id}/result?wait=20`
      const text = await eventually(
        `${id} is answered`,
        async () => {
          const response = await fetch(url)
          const text = await response.text()
          return response.status === 200 ? text : undefined
        },
        30_000
      )
      assert.strictEqual(text, body)
    }
  }, 120_000)
})
