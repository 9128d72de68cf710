/**
 * A disk without room: what is refused, what goes on, and that nothing has to be restarted when there is room again.
 * The store leaves 64 MiB free (`freeBytesMin` of the store thread), so the disk here is a little larger than that.
 */
import { mkdirSync, mkdtempSync, rmSync, statfsSync, unlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { claimUntilEnded } from "../chaos/Caller.ts"
import { call } from "../platform/support/Client.ts"
import { control } from "../platform/support/Control.ts"
import { eventually, start } from "../support/TestPlatform.ts"
import * as DiskWorld from "./DiskWorld.ts"
import { mountTmpfs, skipWithout, tmpfsMissing, unmount } from "./Tools.ts"

const isSkipped = skipWithout("a full disk", tmpfsMissing())
const { asyncPlan } = DiskWorld
const diskMiB = 72

interface SmallDisk extends DiskWorld.DiskWorld {
  /** Leaves so many bytes free. */
  readonly fill: (freeBytes: number) => void
  readonly free: () => void
}

const fillerOf = (mountPoint: string) => join(mountPoint, "filler")

const fillTo = (mountPoint: string, freeBytes: number) => {
  const { bavail, bsize } = statfsSync(mountPoint)
  writeFileSync(fillerOf(mountPoint), Buffer.alloc(Math.max(0, bavail * bsize - freeBytes)), { flag: "a" })
}

const onSmallDisk = async (work: (disk: SmallDisk) => Promise<void>): Promise<void> => {
  const mountPoint = mkdtempSync(join(tmpdir(), "millrace-small-"))
  mountTmpfs(mountPoint, diskMiB)
  const stateDirectory = join(mountPoint, "state")
  mkdirSync(stateDirectory)
  const disk = DiskWorld.open({ stateDirectory })
  try {
    await disk.start()
    await work({
      ...disk,
      fill: (freeBytes) => fillTo(mountPoint, freeBytes),
      free: () => unlinkSync(fillerOf(mountPoint))
    })
  } finally {
    await disk.close()
    unmount(mountPoint)
    rmSync(mountPoint, { recursive: true, force: true })
  }
}

const kindOf = (answer: { readonly text: string }) =>
  String(JSON.parse(answer.text)["type"]).replace("urn:millrace:problem:", "")

describe.skipIf(isSkipped)("a disk that is full", () => {
  it.each([
    ["to the margin that is left free", 32 * 1024 * 1024],
    ["to the last byte", 0]
  ])(
    "%s refuses before it accepts, goes on reading and settling, and takes calls again when there is room",
    (_, freeBytes) =>
      onSmallDisk(async (disk) => {
        const done = await disk.carry(asyncPlan("done", {}, { claimsAtOnce: true }))
        const waits = await disk.carry(asyncPlan("waits", { ms: 600 }))
        disk.fill(freeBytes)
        const promisedBefore = disk.promised.length
        for (let index = 0; index < 3; index++) await disk.carry(asyncPlan(`refused-${index}`))
        expect(disk.promised.length, "accepted on a full disk").toBe(promisedBefore)
        const { gatewayUrl } = disk.life()
        const headers = { prefer: "respond-async" }
        const refused = await call(`${gatewayUrl}/f/any/work`, { body: "{}", headers })
        expect([refused.status, refused.headers["retry-after"] === undefined]).toEqual([503, false])
        expect(kindOf(refused)).toBe("store-full")
        expect((await claimUntilEnded(disk.world, String(done), 5_000))?.kind).toBe("answer")
        // The margin is for this; beyond it the end of what ran waits for room, and is told then.
        if (freeBytes > 0) expect((await claimUntilEnded(disk.world, String(waits), 20_000))?.kind).toBe("answer")
        expect(disk.life().isOver()).toBe(false)
        disk.free()
        let count = 0
        await eventually(
          "a call is accepted again",
          async () => (await disk.carry(asyncPlan(`again-${count++}`))) !== undefined || undefined,
          5_000
        )
        expect((await claimUntilEnded(disk.world, String(waits), 20_000))?.kind).toBe("answer")
        await disk.crash()
        await disk.start()
        expect(await disk.judge()).toEqual([])
      }),
    90_000
  )

  it("sets a request aside that dies meanwhile when there is room, and takes calls again without a restart", async () => {
    const mountPoint = mkdtempSync(join(tmpdir(), "millrace-small-"))
    const gateFolder = mkdtempSync(join(tmpdir(), "millrace-gate-"))
    mountTmpfs(mountPoint, diskMiB)
    const stateDirectory = join(mountPoint, "state")
    const test = await start({ stateDirectory })
    try {
      const fn = await test.deploy("dies", { maxAttempts: 1 })
      const gate = join(gateFolder, "die")
      const dying = `${fn.url}/events?crash=0&gate=${encodeURIComponent(gate)}`
      const accepted = await call(dying, { headers: { prefer: "respond-async" } })
      const id = String(accepted.headers["nvcf-reqid"])
      const look = () => test.platform.directory.get(id)
      await eventually("it runs", () => look()?.state === "leased" || undefined)
      fillTo(mountPoint, 0)
      writeFileSync(gate, "")
      const refused = await eventually("a call is refused", async () => {
        const answer = await call(`${fn.url}/`, { headers: { prefer: "respond-async" } })
        return answer.status === 503 ? answer : undefined
      })
      expect(kindOf(refused)).toBe("store-full")
      unlinkSync(fillerOf(mountPoint))
      await eventually("it is set aside", () => look()?.state === "dead-lettered" || undefined)
      await eventually("a call is accepted again", async () => {
        const answer = await call(`${fn.url}/`, { headers: { prefer: "respond-async" } })
        return answer.status === 202 || undefined
      })
      const letter = await control(stateDirectory, "GET", `/v1/dead-letters/${id}`)
      expect([letter.status, letter.json()["reason"]]).toEqual([200, "attempts-exhausted"])
    } finally {
      await test.close()
      unmount(mountPoint)
      rmSync(mountPoint, { recursive: true, force: true })
      rmSync(gateFolder, { recursive: true, force: true })
    }
  }, 60_000)
})
