/**
 * A small file that says how much was confirmed, so that a store which holds less is noticed: a log file that was cut
 * short, a bit turned over in it, an older copy put back. Runs in the store thread.
 *
 * Laws: K1 the mark never says more than what is on stable storage: it is written after the commit, and not synced, so
 * after a power cut it may say less. K2 it is written before anybody is told of the commit. K3 a mark that cannot be read
 * proves nothing: that is reported, and the store begins a new one.
 *
 * @module
 */
import * as fs from "node:fs"
import * as path from "node:path"
import * as RowCheck from "./RowCheck.ts"

export const markFile = "millrace.mark"

/** Numbers that only grow, and never before the commit that makes them true. */
export interface Confirmed {
  /** Records in all shard logs, since the beginning of the store. */
  readonly records: number
  /** Of the key-value store. */
  readonly revision: number
}

export type Found =
  | { readonly _tag: "Read"; readonly confirmed: Confirmed }
  | { readonly _tag: "Absent" }
  | { readonly _tag: "Unreadable" }

const lengthBytes = 20

const encode = ({ records, revision }: Confirmed, into: Buffer): void => {
  into.writeDoubleLE(records, 0)
  into.writeDoubleLE(revision, 8)
  into.writeUInt32LE(RowCheck.of(records, revision), 16)
}

export const read = (directory: string): Found => {
  let bytes: Buffer
  try {
    bytes = fs.readFileSync(path.join(directory, markFile))
  } catch (error) {
    const isAbsent = error instanceof Error && "code" in error && error.code === "ENOENT"
    return { _tag: isAbsent ? "Absent" : "Unreadable" }
  }
  if (bytes.length !== lengthBytes) return { _tag: "Unreadable" }
  const confirmed = { records: bytes.readDoubleLE(0), revision: bytes.readDoubleLE(8) }
  const isWhole = bytes.readUInt32LE(16) === RowCheck.of(confirmed.records, confirmed.revision)
  return isWhole ? { _tag: "Read", confirmed } : { _tag: "Unreadable" }
}

export interface StoreMark {
  readonly write: (confirmed: Confirmed) => void
  readonly close: () => void
}

export const open = (directory: string): StoreMark => {
  const handle = fs.openSync(path.join(directory, markFile), fs.constants.O_RDWR | fs.constants.O_CREAT, 0o600)
  const buffer = Buffer.alloc(lengthBytes)
  let written: Confirmed = { records: -1, revision: -1 }
  return {
    write: (confirmed) => {
      if (confirmed.records === written.records && confirmed.revision === written.revision) return
      written = confirmed
      encode(confirmed, buffer)
      try {
        fs.writeSync(handle, buffer, 0, lengthBytes, 0)
      } catch {
        // The mark then says less than there is, which K1 allows.
      }
    },
    close: () => fs.closeSync(handle)
  }
}
