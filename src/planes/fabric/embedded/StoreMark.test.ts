import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import * as RowCheck from "./RowCheck.ts"
import * as StoreDatabase from "./StoreDatabase.ts"
import * as StoreMark from "./StoreMark.ts"
import * as WriteAheadLog from "./WriteAheadLog.ts"

let directory: string
beforeEach(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-mark-"))
})
afterEach(() => fs.rmSync(directory, { recursive: true, force: true }))

describe("StoreMark", () => {
  it("reads back what was written last", () => {
    const mark = StoreMark.open(directory)
    mark.write({ records: 7, revision: 3 })
    mark.write({ records: 2 ** 40 + 1, revision: 4 })
    mark.close()
    const confirmed = { records: 2 ** 40 + 1, revision: 4 }
    assert.deepStrictEqual(StoreMark.read(directory), { _tag: "Read", confirmed })
  })

  it("K3: is absent, or unreadable, and never another number", () => {
    assert.strictEqual(StoreMark.read(directory)._tag, "Absent")
    const mark = StoreMark.open(directory)
    mark.write({ records: 7, revision: 3 })
    mark.close()
    const file = path.join(directory, StoreMark.markFile)
    const whole = fs.readFileSync(file)
    for (let at = 0; at < whole.length; at++) {
      const flipped = Buffer.from(whole)
      flipped[at] = (flipped[at] ?? 0) ^ 1
      fs.writeFileSync(file, flipped)
      assert.strictEqual(StoreMark.read(directory)._tag, "Unreadable", `bit turned over in byte ${at}`)
      fs.writeFileSync(file, whole.subarray(0, at))
      assert.strictEqual(StoreMark.read(directory)._tag, "Unreadable", `cut at ${at}`)
    }
  })
})

describe("StoreDatabase.requireConfirmed", () => {
  const marked = (records: number) => {
    const mark = StoreMark.open(directory)
    mark.write({ records, revision: 0 })
    mark.close()
  }

  it("D5: refuses a store with less than was confirmed, and takes one with as much or more", () => {
    marked(5)
    for (const records of [5, 6]) {
      const database = StoreDatabase.open(directory)
      assert.isUndefined(StoreDatabase.requireConfirmed(directory, database, { records, revision: 0 }))
      StoreDatabase.close(database, directory)
    }
    const database = StoreDatabase.open(directory)
    const holds = { records: 4, revision: 0 }
    assert.throws(() => StoreDatabase.requireConfirmed(directory, database, holds), StoreDatabase.StoreRefused)
  })

  it("K3: says that it could not check when a store in use has no mark that can be read", () => {
    const database = StoreDatabase.open(directory)
    const confirmed = { records: 4, revision: 0 }
    assert.include(StoreDatabase.requireConfirmed(directory, database, confirmed), "is missing")
    fs.writeFileSync(path.join(directory, StoreMark.markFile), "nonsense")
    assert.include(StoreDatabase.requireConfirmed(directory, database, confirmed), "cannot be read")
    fs.rmSync(path.join(directory, StoreMark.markFile))
    const fresh = { records: 0, revision: 0 }
    assert.isUndefined(StoreDatabase.requireConfirmed(directory, database, fresh))
    StoreDatabase.close(database, directory)
  })
})

describe("WriteAheadLog", () => {
  it("is whole up to the frame in which a bit turned over, and no further", () => {
    const file = path.join(directory, "any.db")
    const database = new DatabaseSync(file)
    database.exec("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (v BLOB)")
    for (let row = 0; row < 5; row++) database.prepare("INSERT INTO t VALUES (?)").run(Buffer.alloc(5_000, row))
    const log = `${file}-wal`
    const copy = path.join(directory, "copy")
    const whole = fs.readFileSync(log)
    assert.strictEqual(WriteAheadLog.wholeBytes(log), whole.length)
    const frameBytes = 24 + 4096
    for (const offset of [3, 20, 40, 32 + frameBytes + 1000, whole.length - 1]) {
      const flipped = Buffer.from(whole)
      flipped[offset] = (flipped[offset] ?? 0) ^ 4
      fs.writeFileSync(copy, flipped)
      const expected = offset < 32 ? 0 : 32 + Math.floor((offset - 32) / frameBytes) * frameBytes
      assert.strictEqual(WriteAheadLog.wholeBytes(copy), expected, `byte ${offset}`)
    }
    assert.strictEqual(WriteAheadLog.wholeBytes(path.join(directory, "none")), 0)
    database.close()
  })
})

describe("RowCheck", () => {
  it("tells lists of fields apart whose bytes are the same", () => {
    const sums = [
      RowCheck.of("ab", "c"),
      RowCheck.of("a", "bc"),
      RowCheck.of("abc"),
      RowCheck.of(Buffer.from("abc")),
      RowCheck.of(),
      RowCheck.of(null),
      RowCheck.of(0),
      RowCheck.of("")
    ]
    assert.strictEqual(new Set(sums).size, sums.length)
    assert.throws(() => RowCheck.require(RowCheck.of("a"), "the key", "b"), /the key .* is damaged/)
  })
})
