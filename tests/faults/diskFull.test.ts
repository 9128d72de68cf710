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
import { eventually } from "../support/TestPlatform.ts"
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

const onSmallDisk = async (work: (disk: SmallDisk) => Promise<void>): Promise<void> => {
  const mountPoint = mkdtempSync(join(tmpdir(), "millrace-small-"))
  mountTmpfs(mountPoint, diskMiB)
  const stateDirectory = join(mountPoint, "state")
  mkdirSync(stateDirectory)
  const disk = DiskWorld.open({ stateDirectory })
  const filler = join(mountPoint, "filler")
  try {
    await disk.start()
    await work({
      ...disk,
      fill: (freeBytes) => {
        const { bavail, bsize } = statfsSync(mountPoint)
        writeFileSync(filler, Buffer.alloc(Math.max(0, bavail * bsize - freeBytes)), { flag: "a" })
      },
      free: () => unlinkSync(filler)
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
})
