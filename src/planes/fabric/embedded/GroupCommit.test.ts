import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import type { DatabaseSync } from "node:sqlite"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import * as GroupCommit from "./GroupCommit.ts"
import * as StoreDatabase from "./StoreDatabase.ts"
import { type AnyAnswer, done, type StoreOrder } from "./StoreMessage.ts"

const append = (shard: string, expectedPosition: number, byteCount = 1): StoreOrder => ({
  _tag: "Append",
  shard,
  expectedPosition,
  count: 1,
  bytes: new Uint8Array(byteCount)
})
const put = (key: string, expectedRevision?: number): StoreOrder => ({
  _tag: "Put",
  key,
  value: new Uint8Array([1]),
  expectedRevision
})
const stage = (snapshot: number, part: number): StoreOrder => ({
  _tag: "StageSnapshot",
  shard: "a",
  snapshot,
  part,
  bytes: new Uint8Array(10)
})
const save = (snapshot: number, partCount: number): StoreOrder => ({
  _tag: "SaveSnapshot",
  shard: "a",
  snapshot,
  partCount,
  position: 7
})
const bounds = (shard: string): StoreOrder => ({ _tag: "Bounds", shard })
const tags = (answers: ReadonlyArray<AnyAnswer>) => answers.map((answer) => answer._tag)
const retryable = (answer: AnyAnswer | undefined) => answer?._tag === "Refused" && answer.retryable

describe("GroupCommit", () => {
  let directory: string
  let database: DatabaseSync
  beforeEach(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), "millrace-store-"))
    database = StoreDatabase.open(directory)
  })
  afterEach(() => {
    if (database.isOpen) database.close()
    fs.rmSync(directory, { recursive: true, force: true })
  })

  /** The database, with another way to execute some statements. */
  const withExec = (exec: (sql: string, real: () => void) => void): DatabaseSync =>
    new Proxy(database, {
      get: (target, property) => {
        if (property === "exec") return (sql: string) => exec(sql, () => target.exec(sql))
        const value = Reflect.get(target, property, target)
        return typeof value === "function" ? value.bind(target) : value
      }
    })

  const make = (over: DatabaseSync = database, roomProblem: () => string | undefined = () => undefined) =>
    GroupCommit.make({ database: over, roomProblem })

  it("G1: the orders of a group share one commit", () => {
    const executed: Array<string> = []
    const store = make(
      withExec((sql, real) => {
        executed.push(sql)
        real()
      })
    )
    const answers = store.execute([append("a", 0), append("b", 0), append("a", 1), put("k"), bounds("a")])
    assert.deepStrictEqual(answers, [done(1), done(1), done(2), done(1), done({ first: 0, end: 2 })])
    assert.deepStrictEqual(executed, ["BEGIN IMMEDIATE", "COMMIT"])
  })

  it("G2: an order in conflict writes nothing and leaves the rest of its group alone", () => {
    const store = make()
    const answers = store.execute([append("a", 0), append("a", 0), put("k"), put("k", 0), append("a", 1)])
    assert.deepStrictEqual(answers, [
      done(1),
      { _tag: "Conflict", actual: 1 },
      done(1),
      { _tag: "Conflict", actual: 1 },
      done(2)
    ])
  })

  it("G3: when the disk is full before the commit nothing of the group happened, and the store goes on", () => {
    const store = make()
    store.execute([append("a", 0), put("k")])
    const pages = Number(database.prepare("PRAGMA page_count").get()?.["page_count"])
    database.exec(`PRAGMA max_page_count = ${pages + 4}`)
    const answers = store.execute([append("a", 1), put("k"), append("b", 0, 1_000_000), bounds("a")])
    assert.deepStrictEqual(tags(answers), ["Refused", "Refused", "Refused", "Done"])
    assert.isTrue(retryable(answers[0]))
    assert.deepStrictEqual(answers[3], done({ first: 0, end: 1 }))
    assert.isUndefined(store.failure())
    database.exec("PRAGMA max_page_count = 1000000")
    assert.deepStrictEqual(store.execute([append("a", 1), put("k", 1), append("b", 0)]), [done(2), done(2), done(1)])
  })

  it("G3: when there is nearly no room left, only what gives room back is taken", () => {
    let noRoom: string | undefined
    const store = make(database, () => noRoom)
    store.execute([append("a", 0), put("k")])
    noRoom = "the disk has 5 bytes left"
    const answers = store.execute([append("a", 1), put("k"), { _tag: "Truncate", shard: "a", position: 1 }])
    assert.deepStrictEqual(tags(answers), ["Refused", "Refused", "Done"])
    assert.isTrue(retryable(answers[0]))
    noRoom = undefined
    assert.deepStrictEqual(store.execute([append("a", 1)]), [done(2)])
  })

  it("G4: when the commit fails nobody claims to know, and every later write is refused for good", () => {
    let isBroken = false
    const store = make(
      withExec((sql, real) => {
        if (sql === "COMMIT" && isBroken) throw new Error("disk I/O error")
        real()
      })
    )
    store.execute([append("a", 0)])
    isBroken = true
    assert.deepStrictEqual(tags(store.execute([append("a", 1), put("k")])), ["Unknown", "Unknown"])
    isBroken = false
    const answers = store.execute([append("a", 1), bounds("a")])
    assert.deepStrictEqual(tags(answers), ["Refused", "Done"])
    assert.isFalse(retryable(answers[0]))
    assert.include(store.failure(), "disk I/O error")
  })

  it("G4: a commit that happened and then failed is unknown too, and is there after a restart", () => {
    const store = make(
      withExec((sql, real) => {
        real()
        if (sql === "COMMIT") throw new Error("fsync failed")
      })
    )
    assert.deepStrictEqual(tags(store.execute([append("a", 0)])), ["Unknown"])
    database.close()
    database = StoreDatabase.open(directory)
    assert.deepStrictEqual(make().execute([bounds("a")]), [done({ first: 0, end: 1 })])
  })

  it("G5: another failure before the commit refuses the group and everything after it, and nothing of it is there", () => {
    let isBroken = false
    const store = make(
      withExec((sql, real) => {
        if (sql === "BEGIN IMMEDIATE" && isBroken) throw new Error("disk I/O error")
        real()
      })
    )
    store.execute([append("a", 0)])
    isBroken = true
    assert.deepStrictEqual(tags(store.execute([append("a", 1)])), ["Refused"])
    isBroken = false
    assert.deepStrictEqual(tags(store.execute([append("a", 1), put("k")])), ["Refused", "Refused"])
    database.close()
    database = StoreDatabase.open(directory)
    assert.deepStrictEqual(make().execute([bounds("a")]), [done({ first: 0, end: 1 })])
  })

  it("T2: a truncated shard gives its room back in slices, and the rows that are left are the readable ones", () => {
    const store = make()
    for (let position = 0; position < 200; position++) store.execute([append("a", position)])
    store.execute([{ _tag: "Truncate", shard: "a", position: 150 }])
    const rows = () => Number(database.prepare("SELECT count(*) AS n FROM log_batch").get()?.["n"])
    assert.isAbove(rows(), 50, "everything went at once")
    let slices = 0
    while (store.hasGarbage()) {
      store.collectGarbage()
      slices += 1
    }
    assert.isAbove(slices, 2)
    assert.strictEqual(rows(), 50)
    assert.deepStrictEqual(store.execute([bounds("a")]), [done({ first: 150, end: 200 })])
  })

  it("T3: parts of a snapshot that nobody named are gone after a restart", () => {
    const part = stage(1, 0)
    make().execute([part])
    database.close()
    database = StoreDatabase.open(directory)
    const store = make()
    while (store.hasGarbage()) store.collectGarbage()
    assert.strictEqual(database.prepare("SELECT count(*) AS n FROM log_snapshot_part").get()?.["n"], 0)
    assert.deepStrictEqual(store.execute([{ _tag: "LoadSnapshot", shard: "a" }]), [done(undefined)])
  })

  it("T3: a snapshot whose saving was given up is removed when the next one of its shard begins", () => {
    const store = make()
    store.execute([stage(1, 0), stage(1, 1), stage(2, 0), save(2, 1)])
    while (store.hasGarbage()) store.collectGarbage()
    assert.deepStrictEqual(
      database
        .prepare("SELECT snapshot FROM log_snapshot_part")
        .all()
        .map((row) => row["snapshot"]),
      [2]
    )
  })

  it("T3: a snapshot that lacks a part is refused, and the one before it stays", () => {
    const store = make()
    assert.deepStrictEqual(tags(store.execute([stage(1, 0), save(1, 1), stage(2, 1), save(2, 2)])), [
      "Done",
      "Done",
      "Done",
      "Refused"
    ])
    const [loaded] = store.execute([{ _tag: "LoadSnapshot", shard: "a" }])
    assert.deepStrictEqual(loaded, done({ position: 7, parts: [new Uint8Array(10)] }))
  })

  it("T8: a queue keeps a thousand dead letters, the newest", () => {
    const store = make()
    for (let sequence = 1; sequence <= 1_005; sequence++) {
      store.execute([
        {
          _tag: "Publish",
          sequence,
          queue: "q",
          messageId: `${sequence}`,
          payload: new Uint8Array(1),
          deliveryCount: 1
        },
        { _tag: "DeadLetter", sequence, reason: "no good", settledAtMs: 1 }
      ])
    }
    const [answer] = store.execute([{ _tag: "DeadLetters", queue: "q" }])
    const letters = answer?._tag === "Done" && Array.isArray(answer.value) ? answer.value : []
    assert.strictEqual(letters.length, 1_000)
    assert.deepInclude(letters[0], { messageId: "6" })
  })
})
