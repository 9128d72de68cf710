import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { serialize } from "node:v8"
import { crc32 } from "node:zlib"
import * as fc from "fast-check"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import * as SnapshotFile from "./SnapshotFile.ts"
import type { StoredChunk } from "./StoredRecords.ts"

const head = { area: "functions", position: "here", revision: 7 }

const chunk = (count: number): StoredChunk => ({
  form: "usual",
  count,
  ids: Uint32Array.from({ length: 4 * count }, (_, index) => index),
  numbers: Float64Array.from({ length: count }, (_, index) => index / 2),
  texts: Array.from({ length: count }, (_, index) => `text ${index}`),
  shared: ["é", ""]
})

const chunks = [chunk(3), chunk(1), { ...chunk(2), form: "odd" as const }]

describe("a snapshot as a file", () => {
  let folder = ""
  beforeEach(async () => {
    folder = await fs.mkdtemp(join(tmpdir(), "millrace-snapshot-"))
  })
  afterEach(() => fs.rm(folder, { recursive: true, force: true }))

  const path = () => join(folder, "functions.snapshot")
  const read = async () => {
    const found = await SnapshotFile.read(path(), "functions")
    return found === undefined ? undefined : { ...found, chunks: [...found.chunks] }
  }
  const whole = { ...head, form: 1, chunks }

  it("F1: comes back as it was written, and for nobody but its owner to read", async () => {
    assert.isUndefined(await read())
    await SnapshotFile.write(path(), head, chunks)
    assert.deepStrictEqual(await read(), whole)
    assert.strictEqual((await fs.stat(path())).mode & 0o777, 0o600)
    assert.isUndefined(await SnapshotFile.read(path(), "versions"))
    await SnapshotFile.write(path(), { ...head, position: "there" }, [])
    assert.deepStrictEqual(await read(), { ...whole, position: "there", chunks: [] })
  })

  it("F1: one that is cut short or damaged is none", async () => {
    await SnapshotFile.write(path(), head, chunks)
    const bytes = await fs.readFile(path())
    const place = fc.nat({ max: bytes.byteLength - 1 })
    await fc.assert(
      fc.asyncProperty(place, fc.integer({ min: 1, max: 255 }), fc.boolean(), async (at, odd, isCut) => {
        const spoiled = isCut ? bytes.subarray(0, at) : Buffer.from(bytes)
        if (!isCut) spoiled[at] = spoiled[at]! ^ odd
        await fs.writeFile(path(), spoiled)
        assert.isUndefined(await read())
      })
    )
  })

  it("F1: one of another form is none, nor is one of an engine that is newer", async () => {
    await SnapshotFile.write(path(), { ...head, form: 0 } as typeof head, chunks)
    assert.isUndefined(await read())
    const [, version = 0] = serialize({})
    const content = serialize(head)
    content[1] = version + 1
    const frameHead = Buffer.alloc(8)
    frameHead.writeUInt32LE(content.byteLength, 0)
    frameHead.writeUInt32LE(crc32(content), 4)
    await fs.writeFile(path(), Buffer.concat([frameHead, content]))
    assert.isUndefined(await read())
  })

  it("F2: a writer that fails in the middle leaves the one that was there, and nothing else", async () => {
    await SnapshotFile.write(path(), head, chunks)
    const failing = function* () {
      yield chunk(1)
      throw new Error("a record that cannot be written")
    }
    const failure = await SnapshotFile.write(path(), { ...head, position: "later" }, failing()).catch(String)
    assert.include(String(failure), "cannot be written")
    assert.deepStrictEqual(await read(), whole)
    assert.deepStrictEqual(await fs.readdir(folder), ["functions.snapshot"])
    // What one left that was killed, beside what another one is writing.
    const names = ["functions.snapshot.killed", "functions.snapshot.present", "versions.snapshot.killed"]
    for (const name of names) await fs.writeFile(join(folder, name), "")
    for (const name of [names[0] ?? "", names[2] ?? ""]) await fs.utimes(join(folder, name), 1, 1)
    await SnapshotFile.write(path(), head, chunks)
    assert.sameMembers(await fs.readdir(folder), ["functions.snapshot", ...names.slice(1)])
  })
})
