/**
 * A disk whose calls fail while the platform runs: what is accepted then, what callers hear, and what is there after a
 * restart on a disk that works again.
 */
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { call } from "../platform/support/Client.ts"
import * as DiskWorld from "./DiskWorld.ts"
import { fiuControl, fiuMissing, fiuRun, skipWithout } from "./Tools.ts"

const isSkipped = skipWithout("a disk whose calls fail", fiuMissing())
const { asyncPlan } = DiskWorld
/** Else libfiu draws one: a disk that is full is another fault. */
const eio = 5

interface Faulty extends DiskWorld.DiskWorld {
  readonly control: (command: string) => Promise<void>
}

const withFaults = async (work: (disk: Faulty) => Promise<void>): Promise<void> => {
  const disk = DiskWorld.open()
  const controlPath = join(disk.directory, "fiu")
  try {
    await disk.start(fiuRun(controlPath))
    await work({ ...disk, control: (command) => fiuControl(controlPath, disk.life().pid, command) })
  } finally {
    await disk.close()
  }
}

/** Some that ended, and some that wait behind one that runs. */
const before = async ({ carry }: DiskWorld.DiskWorld) => {
  for (let index = 0; index < 5; index++) await carry(asyncPlan(`ended-${index}`, {}, { claimsAtOnce: true }))
  for (let index = 0; index < 4; index++) await carry(asyncPlan(`waits-${index}`, { ms: 400 }, { path: "lane" }))
}

const kindOf = (answer: { readonly text: string }) =>
  String(JSON.parse(answer.text)["type"]).replace("urn:millrace:problem:", "")

describe.skipIf(isSkipped)("after the first failed call of the disk", () => {
  it.each([
    ["fsync", "posix/io/sync/fsync"],
    ["write", "posix/io/rw/pwrite"]
  ])(
    "to %s nothing more is accepted, callers hear why, and a restart has everything that was",
    (_, point) =>
      withFaults(async (disk) => {
        await before(disk)
        const promisedBefore = disk.promised.length
        await disk.control(`enable name=${point},failinfo=${eio}`)
        for (let index = 0; index < 5; index++) {
          const plan = asyncPlan(`refused-${index}`)
          await disk.carry(plan)
        }
        expect(disk.promised.length, "accepted on a broken disk").toBe(promisedBefore)
        const { gatewayUrl } = disk.life()
        const headers = { prefer: "respond-async" }
        const refused = await call(`${gatewayUrl}/f/any/work`, { body: "{}", headers })
        expect([refused.status, kindOf(refused)]).toEqual([503, "store-failed"])
        expect(refused.json()["detail"]).toContain("restart it")
        expect(refused.headers["retry-after"]).toBeDefined()
        // A disk that works again does not make what the page cache lost come back.
        await disk.control(`disable name=${point}`)
        const still = await call(`${gatewayUrl}/f/any/work`, { body: "{}", headers })
        expect(still.status).toBe(503)
        expect(disk.life().isOver()).toBe(false)
        await disk.crash()
        await disk.start()
        expect(await disk.judge()).toEqual([])
      }),
    60_000
  )
})

describe.skipIf(isSkipped)("a disk that takes fewer bytes than it is given", () => {
  it(
    "loses nothing and is asked for the rest",
    () =>
      withFaults(async (disk) => {
        await disk.control("enable_random name=posix/io/rw/pwrite/reduce,probability=0.3")
        await before(disk)
        for (let index = 0; index < 5; index++) {
          await disk.carry(asyncPlan(`large-${index}`, { padding: "p".repeat(120_000), bytes: 120_000 }))
        }
        expect(disk.promised.length).toBe(14)
        await disk.crash()
        await disk.start()
        expect(await disk.judge()).toEqual([])
      }),
    60_000
  )
})

describe.skipIf(isSkipped)("a disk on which no file can be opened", () => {
  it(
    "refuses the calls that need one, and takes them again when it can",
    () =>
      withFaults(async (disk) => {
        await before(disk)
        const large = (item: string) => asyncPlan(item, { padding: "p".repeat(120_000) })
        await disk.control(`enable name=posix/io/oc/open,failinfo=${eio}`)
        expect(await disk.carry(large("refused"))).toBeUndefined()
        await disk.control("disable name=posix/io/oc/open")
        expect(await disk.carry(large("taken"))).toBeDefined()
        expect(await disk.carry(asyncPlan("small"))).toBeDefined()
        await disk.crash()
        await disk.start()
        expect(await disk.judge()).toEqual([])
      }),
    60_000
  )
})
