/**
 * A store that was damaged while nobody looked: the next start finds everything, or says which file is damaged and where.
 * Never less in silence.
 */
import { cpSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { makePast } from "../chaos/CrashPoints.ts"
import * as Random from "../chaos/Random.ts"
import { type Content, choose, contentOf, type Damage, type Fate, fateOf } from "./AtRest.ts"

const damagesCount = 200
const seed = Number(process.env["MILLRACE_SEED"] ?? Date.now() % 1_000_000)

let root: string
/** As a kill left it, with a write-ahead log; and as an orderly end left it. */
let crashed: string
let closed: string
let expected: Content

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "millrace-rest-"))
  mkdirSync(join(root, "past"))
  await makePast(join(root, "past"))
  crashed = join(root, "past/state")
  closed = join(root, "closed")
  cpSync(crashed, closed, { recursive: true })
  expected = await contentOf(closed)
}, 60_000)
afterAll(() => rmSync(root, { recursive: true, force: true }))

const damaged = async (original: string, damage: Damage): Promise<Fate> => {
  const copy = join(root, "copy")
  try {
    return await fateOf(original, expected, damage, copy)
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}

const show = ({ file, kind, offset, bit }: Damage) =>
  `${kind} of ${file} at ${offset}${kind === "flip" ? `.${bit}` : ""}`

describe("a store at rest", () => {
  it("holds something worth damaging", () => {
    const names = [...expected.keys()].map((name) => name.split(" ")[0])
    expect(new Set(names)).toEqual(new Set(["snapshot", "bounds", "record", "key", "blob"]))
    expect(statSync(join(crashed, "millrace.db-wal")).size).toBeGreaterThan(10_000)
  })

  it(`D6: after one damage of ${damagesCount} is whole or refused with the file named (seed ${seed})`, async () => {
    const random = Random.make(seed)
    const fates = { whole: 0, refused: 0 }
    for (let index = 0; index < damagesCount; index++) {
      const original = index % 2 === 0 ? crashed : closed
      const damage = choose(random, original)
      const fate = await damaged(original, damage)
      const what = `${index % 2 === 0 ? "crashed" : "closed"}: ${show(damage)}`
      expect(fate.kind === "silent" ? `${what}: ${fate.what}` : "", `seed ${seed}`).toBe("")
      if (fate.kind === "refused") expect(fate.message, what).toMatch(/millrace\.db|blobs\//)
      if (fate.kind !== "silent") fates[fate.kind]++
    }
    // Both happen: damage where nothing is, and damage where something is.
    expect(Math.min(fates.whole, fates.refused)).toBeGreaterThan(20)
  }, 180_000)

  it("names the byte at which its write-ahead log stops being whole", async () => {
    const fate = await damaged(crashed, { file: "millrace.db-wal", kind: "flip", offset: 40, bit: 3 })
    expect(fate).toMatchObject({ kind: "refused" })
    expect(fate.kind === "refused" && fate.message).toMatch(/millrace\.db-wal-kept .* whole up to byte 32 .* confirmed/)
    // In its first frame: how much of the file is in use depends on when the database last began it anew.
    const cut = await damaged(crashed, { file: "millrace.db-wal", kind: "truncate", offset: 100, bit: 0 })
    expect(cut.kind).toBe("refused")
  })
})
