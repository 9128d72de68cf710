/**
 * Keys, values and revisions in SQLite. Runs in the store thread, inside its transactions.
 *
 * Laws: T5 a revision is never given twice, also after a deletion and a restart: the counter is written in the same
 * transaction. T6 a prefix is matched as text: keys are walked in order from the prefix to the first that lacks it.
 * T9 every row is checked when it is read.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite"
import * as EntryPage from "./EntryPage.ts"
import * as RowCheck from "./RowCheck.ts"
import { done, type StoredEntry, type StoreOrder, type TableAnswer } from "./StoreMessage.ts"

type Order<Tag extends StoreOrder["_tag"]> = Extract<StoreOrder, { readonly _tag: Tag }>

/** Of a page, asked for together. More of small ones: a question costs as much as a few rows. */
const rowsAtFirst = 32
const rowsAtMost = 512
/** So many bytes of values and more are not small ones. */
const largeBytes = 128 * 1024

const checked = (key: unknown, value: unknown, revision: unknown, sum: unknown): StoredEntry => {
  if (typeof key !== "string" || !(value instanceof Uint8Array) || typeof revision !== "number") {
    throw new Error("a row of key_value is not an entry")
  }
  if (sum !== RowCheck.of(key, value, revision)) throw new RowCheck.RowDamaged(`the key ${JSON.stringify(key)}`)
  return { key, value, revision }
}

const entryOf = (row: Record<string, unknown>): StoredEntry =>
  checked(row["key"], row["value"], row["revision"], row["sum"])

export const make = (database: DatabaseSync) => {
  const selectEntry = database.prepare("SELECT key, value, revision, sum FROM key_value WHERE key = ?")
  const selectFrom = database.prepare("SELECT key, value, revision, sum FROM key_value WHERE key >= ? ORDER BY key")
  const selectPage = database.prepare(
    "SELECT key, value, revision, sum FROM key_value WHERE key > ? ORDER BY key LIMIT ?"
  )
  // A third less than rows by name: a hundred thousand functions are half a million rows.
  selectPage.setReturnArrays(true)
  const selectRevision = database.prepare("SELECT revision FROM key_value WHERE key = ?")
  const replaceEntry = database.prepare(
    "INSERT OR REPLACE INTO key_value (key, value, revision, sum) VALUES (?, ?, ?, ?)"
  )
  const deleteEntry = database.prepare("DELETE FROM key_value WHERE key = ?")
  const selectCounter = database.prepare("SELECT revision, sum FROM key_value_revision")
  const updateCounter = database.prepare("UPDATE key_value_revision SET revision = ?, sum = ?")

  const loadCounter = (): number => {
    const row = selectCounter.get()
    const found = Number(row?.["revision"])
    RowCheck.require(row?.["sum"], "the counter of revisions", found)
    return found
  }
  let revision = loadCounter()
  let writtenRevision = revision

  const actualRevision = (key: string): number => Number(selectRevision.get(key)?.["revision"] ?? 0)

  const list = (order: Order<"List">): TableAnswer<"List"> => {
    const entries: Array<StoredEntry> = []
    for (const row of selectFrom.iterate(order.prefix)) {
      const entry = entryOf(row)
      if (!entry.key.startsWith(order.prefix)) break
      entries.push(entry)
    }
    return done(entries)
  }

  const listPage = (order: Order<"ListPage">): TableAnswer<"ListPage"> => {
    const page = EntryPage.make()
    // Nothing that starts with the prefix comes before it, and the prefix itself is asked for apart.
    let last = order.after === "" ? order.prefix : order.after
    const first = order.after === "" && order.prefix !== "" ? selectEntry.get(order.prefix) : undefined
    if (first !== undefined) page.add(entryOf(first))
    let wanted = rowsAtFirst
    while (!page.isFull()) {
      const rows = selectPage.all(last, wanted)
      let bytes = 0
      for (const row of rows) {
        // The columns of `selectPage`, since it returns arrays.
        const [key, value, revision_, sum] = row as unknown as ReadonlyArray<unknown>
        const entry = checked(key, value, revision_, sum)
        if (!entry.key.startsWith(order.prefix)) return done({ bytes: page.bytes(), last: undefined, revision })
        page.add(entry)
        bytes += entry.value.byteLength
        last = entry.key
      }
      if (rows.length < wanted) return done({ bytes: page.bytes(), last: undefined, revision })
      wanted = bytes < largeBytes ? Math.min(2 * wanted, rowsAtMost) : rowsAtFirst
    }
    return done({ bytes: page.bytes(), last, revision })
  }

  const put = (order: Order<"Put">): TableAnswer<"Put"> => {
    if (order.expectedRevision !== undefined) {
      const actual = actualRevision(order.key)
      if (actual !== order.expectedRevision) return { _tag: "Conflict", actual }
    }
    revision += 1
    replaceEntry.run(order.key, order.value, revision, RowCheck.of(order.key, order.value, revision))
    return done(revision)
  }

  const remove = (order: Order<"Remove">): TableAnswer<"Remove"> => {
    const actual = actualRevision(order.key)
    if (order.expectedRevision !== undefined && actual !== order.expectedRevision) return { _tag: "Conflict", actual }
    if (actual === 0) return done(0)
    revision += 1
    deleteEntry.run(order.key)
    return done(revision)
  }

  return {
    get: (order: Order<"Get">): TableAnswer<"Get"> => {
      const row = selectEntry.get(order.key)
      return done(row === undefined ? undefined : entryOf(row))
    },
    /** Of the last change that is in the transaction or on the disk. */
    revision: (): number => revision,
    list,
    listPage,
    put,
    remove,
    /** Writes the counter once for a whole group. */
    beforeCommit: () => {
      if (revision === writtenRevision) return
      updateCounter.run(revision, RowCheck.of(revision))
      writtenRevision = revision
    },
    reload: () => {
      revision = loadCounter()
      writtenRevision = revision
    }
  }
}

export type KeyValueTable = ReturnType<typeof make>
