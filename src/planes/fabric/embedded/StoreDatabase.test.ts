import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import * as StoreDatabase from "./StoreDatabase.ts"
import type { OpenRefusal } from "./StoreMessage.ts"

const refusalOf = (attempt: () => unknown): OpenRefusal => {
  try {
    attempt()
  } catch (error) {
    if (error instanceof StoreDatabase.StoreRefused) return error.refusal
    throw error
  }
  return assert.fail("it was not refused")
}

describe("StoreDatabase", () => {
  let directory: string
  let file: string
  beforeEach(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-store-"))
    file = path.join(directory, StoreDatabase.databaseFile)
  })
  afterEach(() => fs.rmSync(directory, { recursive: true, force: true }))

  it("D1: a store is refused when any of its settings reads back as something else", () => {
    const safe: Record<string, unknown> = { journal_mode: "wal", synchronous: 2, locking_mode: "exclusive" }
    StoreDatabase.requireSafe(file, (name) => safe[name])
    const unsafe: ReadonlyArray<readonly [string, unknown]> = [
      ["journal_mode", "delete"],
      ["synchronous", 1],
      ["synchronous", undefined],
      ["locking_mode", "normal"]
    ]
    for (const [setting, found] of unsafe) {
      const refusal = refusalOf(() =>
        StoreDatabase.requireSafe(file, (name) => (name === setting ? found : safe[name]))
      )
      assert.deepInclude(refusal, { _tag: "Unsafe", setting, found: String(found) })
    }
  })

  it("D1: what is opened has the settings that it claims", () => {
    const database = StoreDatabase.open(directory)
    assert.strictEqual(database.prepare("PRAGMA journal_mode").get()?.["journal_mode"], "wal")
    assert.strictEqual(database.prepare("PRAGMA synchronous").get()?.["synchronous"], 2)
    assert.strictEqual(database.prepare("PRAGMA wal_autocheckpoint").get()?.["wal_autocheckpoint"], 0)
    StoreDatabase.close(database, directory)
  })

  it("D2: a second opening names who holds the directory, and succeeds when that one is closed", () => {
    const first = StoreDatabase.open(directory)
    const refusal = refusalOf(() => StoreDatabase.open(directory))
    assert.deepInclude(refusal, { _tag: "Unavailable", retryable: true })
    assert.include(JSON.stringify(refusal), `process ${process.pid}`)
    assert.include(JSON.stringify(refusal), "--state")
    StoreDatabase.close(first, directory)
    StoreDatabase.close(StoreDatabase.open(directory), directory)
  })

  it("D3: a store of a newer format is refused and left as it is", () => {
    StoreDatabase.close(StoreDatabase.open(directory), directory)
    const newer = new DatabaseSync(file)
    newer.exec("UPDATE store_format SET version = 99")
    newer.close()
    assert.deepInclude(
      refusalOf(() => StoreDatabase.open(directory)),
      { _tag: "Unsafe", setting: "store format", found: "99" }
    )
    const still = new DatabaseSync(file)
    assert.strictEqual(still.prepare("SELECT version FROM store_format").get()?.["version"], 99)
    still.close()
  })

  it("a file that is no database is refused with its name and not overwritten", () => {
    const content = "not a database ".repeat(100)
    fs.writeFileSync(file, content)
    assert.deepInclude(
      refusalOf(() => StoreDatabase.open(directory)),
      { _tag: "Unsafe", path: file }
    )
    assert.strictEqual(fs.readFileSync(file, "utf8"), content)
  })

  it("a directory that cannot be made is refused with a reason", () => {
    fs.writeFileSync(path.join(directory, "file"), "")
    const refusal = refusalOf(() => StoreDatabase.open(path.join(directory, "file", "below")))
    assert.deepInclude(refusal, { _tag: "Unavailable", retryable: false })
  })
})
