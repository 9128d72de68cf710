/**
 * The disk that forgets, without a kernel: what survives a cut and what does not.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as Random from "../../chaos/Random.ts"
import { PowerCut, PowerCutDisk, rootId, type Survival, survivals } from "./PowerCutDisk.ts"

const diskOf = (survival: Survival, cutAt?: number, seed = 1) =>
  new PowerCutDisk({ cutAt, survival, random: Random.make(seed) })

/** Content by path; folders as undefined. */
const survivorsOf = (disk: PowerCutDisk): ReadonlyMap<string, Buffer> => {
  const directory = mkdtempSync(join(tmpdir(), "millrace-survivors-"))
  try {
    disk.saveSurvivors(directory)
    const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    return new Map(
      files.map(({ parentPath, name }) => {
        const path = join(parentPath, name)
        return [path.slice(directory.length + 1), readFileSync(path)]
      })
    )
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

const make = (disk: PowerCutDisk, name: string, text: string) => {
  const { id } = disk.create(rootId, name, "file", 0o600)
  disk.write(id, 0, Buffer.from(text))
  return id
}

describe("a disk whose power is cut", () => {
  it.each(survivals)("P1: keeps what was synced with its name, whatever else is %s", (survival) => {
    const disk = diskOf(survival)
    const id = make(disk, "a", "synced")
    disk.sync(id)
    disk.sync(rootId)
    disk.write(id, 6, Buffer.from(" and not"))
    expect(survivorsOf(disk).get("a")?.subarray(0, 6).toString()).toBe("synced")
  })

  it("P2: forgets a name whose folder was not synced, and undoes a rename", () => {
    const disk = diskOf("lost")
    disk.sync(make(disk, "a", "one"))
    disk.sync(rootId)
    const b = make(disk, "b", "two")
    disk.sync(b)
    disk.rename(rootId, "b", rootId, "a")
    expect(disk.find(rootId, "a").id).toBe(b)
    const survivors = survivorsOf(disk)
    expect([...survivors.keys()]).toEqual(["a"])
    expect(survivors.get("a")?.toString()).toBe("one")
  })

  it("P3: has a file of zeros where a name and a length survive and the data does not", () => {
    const disk = diskOf("hollow")
    make(disk, "a", "data")
    expect(survivorsOf(disk).get("a")).toEqual(Buffer.alloc(4))
  })

  it("P3: shows neither what was cut away nor what lay there before, when a file grows again", () => {
    const disk = diskOf("lost")
    const id = make(disk, "a", "x".repeat(2000))
    disk.sync(id)
    disk.sync(rootId)
    disk.resize(id, 10)
    disk.resize(id, 3000)
    expect(
      disk
        .read(id, 0, 3000)
        .subarray(10)
        .every((byte) => byte === 0)
    ).toBe(true)
    disk.sync(id)
    const survivor = survivorsOf(disk).get("a") ?? Buffer.alloc(0)
    expect(survivor.subarray(0, 10).toString()).toBe("x".repeat(10))
    expect(survivor.length).toBe(3000)
    expect(survivor.subarray(10).every((byte) => byte === 0)).toBe(true)
  })

  it("P4: does not answer what the cut met", () => {
    const disk = diskOf("torn", 3)
    const id = make(disk, "a", "data")
    expect(() => disk.sync(id)).toThrow(PowerCut)
    expect(disk.operations).toBe(3)
  })

  it("P1, P3: after any writes, cuts of the length and syncs every byte is one that was written there, or a zero", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("write" as const), at: fc.nat(4000), length: fc.integer({ min: 1, max: 1500 }) }),
      fc.record({ kind: fc.constant("resize" as const), at: fc.nat(5000), length: fc.constant(0) }),
      fc.record({ kind: fc.constant("sync" as const), at: fc.constant(0), length: fc.constant(0) })
    )
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 20 }),
        fc.constantFrom(...survivals),
        fc.nat(),
        (steps, survival, seed) => {
          const disk = diskOf(survival, undefined, seed)
          const { id } = disk.create(rootId, "a", "file", 0o600)
          disk.sync(rootId)
          let synced = Buffer.alloc(0)
          /** Since the last sync, each byte that ever was at an offset. */
          const seen = new Map<number, Set<number>>()
          steps.forEach(({ kind, at, length }, index) => {
            if (kind === "write") disk.write(id, at, Buffer.alloc(length, index + 1))
            else if (kind === "resize") disk.resize(id, at)
            else {
              disk.sync(id)
              synced = Buffer.from(disk.read(id, 0, 10_000))
              seen.clear()
            }
            disk.read(id, 0, 10_000).forEach((byte, offset) => {
              seen.set(offset, (seen.get(offset) ?? new Set<number>()).add(byte))
            })
          })
          const survivor = survivorsOf(disk).get("a") ?? Buffer.alloc(0)
          const wrong: Array<string> = []
          survivor.forEach((byte, offset) => {
            if (byte === 0 || byte === synced[offset] || seen.get(offset)?.has(byte) === true) return
            wrong.push(`byte ${byte} at ${offset}`)
          })
          expect(wrong).toEqual([])
          if (survival === "lost") expect(survivor.equals(synced)).toBe(true)
        }
      ),
      { numRuns: 50 }
    )
  })
})
