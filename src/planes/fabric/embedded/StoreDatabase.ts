/**
 * Opens the one database of a state directory and makes sure that it may be trusted. Runs in the store thread.
 *
 * Laws: D1 the journal mode, the synchronous level and the locking mode are read back, and another value refuses the
 * store. D2 one process at a time: the lock is SQLite's own, held by the kernel, so a kill leaves none behind. D3 a store
 * written by a newer Millrace is refused, untouched. D4 a store whose trees or pages are damaged is refused, with the
 * file and the place, before anything is read from it. D5 a store that holds less than was confirmed (`StoreMark`) is
 * refused, and its write-ahead log stays beside it as it was found.
 *
 * @module
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as CrashPoint from "../../CrashPoint.ts"
import * as RowCheck from "./RowCheck.ts"
import type { Confirmed } from "./StoreMark.ts"
import * as StoreMark from "./StoreMark.ts"
import type { OpenRefusal } from "./StoreMessage.ts"
import * as WriteAheadLog from "./WriteAheadLog.ts"

export const databaseFile = "millrace.db"
/** Only told to people; the lock is not in it. */
export const pidFile = "millrace.pid"
export const formatVersion = 2

/** Appends are whole pages in the write-ahead log: 8 KiB was 1.2 to 1.4 times as fast as 4 KiB, 16 KiB no better for one record. */
const pageBytes = 8192

/** Lets a process that is just closing finish; longer would only hide a second process from its user. */
const lockWaitMs = 250

/** Keeps a burst's log file from staying on the disk for good. */
const journalBytesMax = 16 * 1024 * 1024

const sqliteBusy = 5
const sqliteCannotOpen = 14
const sqliteNotADatabase = 26
const sqliteCorrupt = 11

export class StoreRefused extends Error {
  readonly refusal: OpenRefusal
  constructor(refusal: OpenRefusal) {
    super(refusal._tag === "Unsafe" ? `${refusal.setting} is ${refusal.found}` : refusal.reason)
    this.refusal = refusal
  }
}

/** SQLite's primary result code of a thrown value, 0 when it is none. */
export const sqliteCode = (error: unknown): number =>
  error instanceof Error && "errcode" in error && typeof error.errcode === "number" ? error.errcode & 0xff : 0

export const describe = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error)
  const code = "errcode" in error ? ` (SQLite ${String(error.errcode)})` : ""
  return `${error.message}${code}`
}

/** One pragma as SQLite answers it. */
export type ReadPragma = (name: string) => unknown

/** What must be read back, and what it stands for. */
const demanded: ReadonlyArray<readonly [pragma: string, value: string | number, required: string]> = [
  ["journal_mode", "wal", "wal"],
  ["synchronous", 2, "2 (FULL)"],
  ["locking_mode", "exclusive", "exclusive"]
]

/** D1. */
export const requireSafe = (file: string, readPragma: ReadPragma): void => {
  for (const [pragma, value, required] of demanded) {
    const found = readPragma(pragma)
    if (found !== value) {
      throw new StoreRefused({ _tag: "Unsafe", path: file, setting: pragma, found: String(found), required })
    }
  }
}

const pragmaReader =
  (database: DatabaseSync): ReadPragma =>
  (name) =>
    database.prepare(`PRAGMA ${name}`).get()?.[name]

/** Names a folder on the disk for good: its entry lies in its parent. */
const syncFolder = (folder: string): void => {
  const handle = fs.openSync(folder, "r")
  try {
    fs.fsyncSync(handle)
  } finally {
    fs.closeSync(handle)
  }
}

/** For its owner only: requests and keys lie in it. */
const makeFolder = (directory: string): void => {
  const firstMade = fs.mkdirSync(directory, { recursive: true, mode: 0o700 })
  if (firstMade === undefined) return
  const outermost = path.dirname(path.resolve(firstMade))
  for (let folder = path.resolve(directory); folder !== outermost; folder = path.dirname(folder)) syncFolder(folder)
  syncFolder(outermost)
}

const holder = (directory: string): string => {
  try {
    const pid = fs.readFileSync(path.join(directory, pidFile), "utf8").trim()
    return /^\d+$/.test(pid) ? `process ${pid}` : "another process"
  } catch {
    return "another process"
  }
}

const tables = `
  CREATE TABLE log_shard (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    first INTEGER NOT NULL,
    end_floor INTEGER NOT NULL,
    sum INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE log_batch (
    shard INTEGER NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (shard, first)
  ) STRICT;
  CREATE TABLE log_snapshot (
    shard INTEGER PRIMARY KEY,
    snapshot INTEGER NOT NULL,
    position INTEGER NOT NULL,
    sum INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE log_snapshot_part (
    snapshot INTEGER NOT NULL,
    part INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (snapshot, part)
  ) STRICT;
  CREATE TABLE key_value (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL,
    revision INTEGER NOT NULL,
    sum INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE key_value_revision (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL,
    sum INTEGER NOT NULL
  ) STRICT;
  INSERT INTO key_value_revision VALUES (1, 0, ${RowCheck.of(0)});
  CREATE TABLE queue_message (
    sequence INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    message_id TEXT NOT NULL,
    payload BLOB NOT NULL,
    delivery_count INTEGER NOT NULL,
    settled_at_ms INTEGER,
    sum INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE queue_dead_letter (
    sequence INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    message_id TEXT NOT NULL,
    payload BLOB NOT NULL,
    reason TEXT NOT NULL,
    sum INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX queue_dead_letter_queue ON queue_dead_letter (queue, sequence);
  INSERT INTO store_format VALUES (1, ${formatVersion});
`

/** D3, and the tables of a fresh store. The write transaction is also what takes the lock for good. */
const prepareFormat = (database: DatabaseSync, file: string): void => {
  database.exec("BEGIN IMMEDIATE")
  try {
    database.exec(
      "CREATE TABLE IF NOT EXISTS store_format (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL) STRICT"
    )
    const found = database.prepare("SELECT version FROM store_format").get()?.["version"]
    if (found === undefined) database.exec(tables)
    else if (found !== formatVersion) {
      throw new StoreRefused({
        _tag: "Unsafe",
        path: file,
        setting: "store format",
        found: String(found),
        required: `${formatVersion} (it was written by another Millrace: use that one, or an empty state directory)`
      })
    }
    CrashPoint.hit("store.open.beforeCommit")
    database.exec("COMMIT")
  } catch (error) {
    if (database.isTransaction) database.exec("ROLLBACK")
    throw error
  }
}

/** What the tables found when they were read for the first time. */
export const loadRefusal = (error: unknown, directory: string): OpenRefusal =>
  openRefusal(error, directory, path.join(directory, databaseFile))

const openRefusal = (error: unknown, directory: string, file: string): OpenRefusal => {
  if (error instanceof StoreRefused) return error.refusal
  const code = sqliteCode(error)
  if (code === sqliteBusy) {
    return {
      _tag: "Unavailable",
      reason: `the state directory ${directory} is in use by ${holder(directory)}: stop it, or give this one another directory with --state`,
      retryable: true
    }
  }
  if (code === sqliteNotADatabase || code === sqliteCorrupt || error instanceof RowCheck.RowDamaged) {
    return {
      _tag: "Unsafe",
      path: file,
      setting: "content",
      found: describe(error),
      required: wholeDatabase
    }
  }
  const hint = code === sqliteCannotOpen ? ": is the directory writable?" : ""
  return { _tag: "Unavailable", reason: `${file} does not open: ${describe(error)}${hint}`, retryable: false }
}

const logFile = `${databaseFile}-wal`
/** The write-ahead log as it was found, until it is known that nothing confirmed is missing. */
const keptLogFile = `${databaseFile}-wal-kept`

/**
 * SQLite takes what is whole of the log, replaces it when it closes, and with it what a person could look at. Called with
 * the lock held and before anything is written.
 */
const keepLog = (directory: string): void => {
  const log = path.join(directory, logFile)
  if (fs.existsSync(log) && fs.statSync(log).size > 0) fs.copyFileSync(log, path.join(directory, keptLogFile))
}

const wholeDatabase = "a whole database: put a copy of the state directory back that is whole"

/** D4. */
const requireWhole = (database: DatabaseSync, file: string): void => {
  const said = String(database.prepare("PRAGMA integrity_check(1)").get()?.["integrity_check"])
  if (said === "ok") return
  const page = Number(/\bpage (\d+)/i.exec(said)?.[1] ?? 0)
  const place = page > 0 ? ` (page ${page}, from byte ${(page - 1) * pageBytes} on)` : ""
  const found = `${said.replaceAll("\n", " ")}${place}`
  throw new StoreRefused({ _tag: "Unsafe", path: file, setting: "content", found, required: wholeDatabase })
}

/** D5. Throws `StoreRefused`, or answers what a person should know. */
export const requireConfirmed = (directory: string, database: DatabaseSync, holds: Confirmed): string | undefined => {
  const found = StoreMark.read(directory)
  const kept = path.join(directory, keptLogFile)
  if (found._tag === "Read") {
    const { records, revision } = found.confirmed
    if (holds.records < records || holds.revision < revision) {
      const hasLog = fs.existsSync(kept)
      const readable = hasLog ? `, and its write-ahead log is whole up to byte ${WriteAheadLog.wholeBytes(kept)}` : ""
      database.close()
      throw new StoreRefused({
        _tag: "Unsafe",
        path: hasLog ? kept : path.join(directory, databaseFile),
        setting: "content",
        found: `${holds.records} log records and key revision ${holds.revision}${readable}`,
        required:
          `the ${records} records and revision ${revision} that were confirmed (to go on with less, ` +
          `for example with an older copy, delete ${path.join(directory, StoreMark.markFile)})`
      })
    }
  }
  fs.rmSync(kept, { force: true })
  const isUsed = holds.records > 0 || holds.revision > 0
  if (found._tag === "Unreadable" || (found._tag === "Absent" && isUsed)) {
    return `${path.join(directory, StoreMark.markFile)} ${found._tag === "Absent" ? "is missing" : "cannot be read"} and is written anew: whether anything confirmed was missing from the store could not be checked`
  }
  return undefined
}

/** Throws `StoreRefused`. */
export const open = (directory: string): DatabaseSync => {
  const file = path.join(directory, databaseFile)
  let database: DatabaseSync | undefined
  try {
    makeFolder(directory)
    database = new DatabaseSync(file, { timeout: lockWaitMs })
    database.exec(`PRAGMA page_size = ${pageBytes}`)
    // Before the first access to the log file: then its index lives in memory and no second process can map it.
    database.exec("PRAGMA locking_mode = EXCLUSIVE")
    database.exec("PRAGMA journal_mode = WAL")
    database.exec("PRAGMA synchronous = FULL")
    // Where the system's sync stops at the drive's own cache (macOS), ask for the real one.
    database.exec("PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON")
    // A checkpoint inside a commit would stall whoever waits for it; the thread makes them between groups.
    database.exec("PRAGMA wal_autocheckpoint = 0")
    database.exec(`PRAGMA journal_size_limit = ${journalBytesMax}`)
    requireSafe(file, pragmaReader(database))
    CrashPoint.hit("store.open.beforeLock")
    prepareFormat(database, file)
    keepLog(directory)
    requireWhole(database, file)
    CrashPoint.hit("store.open.afterLock")
    fs.writeFileSync(path.join(directory, pidFile), `${process.pid}\n`)
    return database
  } catch (error) {
    database?.close()
    throw new StoreRefused(openRefusal(error, directory, file))
  }
}

/** Moves everything into the database file and gives the lock back. */
export const close = (database: DatabaseSync, directory: string): void => {
  fs.rmSync(path.join(directory, pidFile), { force: true })
  database.close()
}
