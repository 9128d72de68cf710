/**
 * Entries of the key-value store in one piece of memory, which crosses from the store thread to the process as it is.
 *
 * For each entry: the bytes of its key and of its value in 32 bits each, its revision as a double, its key, its value.
 *
 * Law (`EntryPage.test.ts`): E1 what was added comes out, in the same order. A value that came out is a part of the page.
 *
 * @module
 */
import type { StoredEntry } from "./StoreMessage.ts"

/** Smaller ones cost more in turns of two threads, larger ones hold up the event loop. One value may make a page larger. */
const pageBytes = 1024 * 1024
const headBytes = 16

export interface EntryPage {
  readonly add: (entry: StoredEntry) => void
  readonly isFull: () => boolean
  readonly bytes: () => Uint8Array
}

export const make = (): EntryPage => {
  let buffer = Buffer.allocUnsafeSlow(pageBytes)
  let end = 0
  return {
    add: ({ key, value, revision }) => {
      const needed = headBytes + 3 * key.length + value.byteLength
      if (end + needed > buffer.byteLength) {
        const larger = Buffer.allocUnsafeSlow(Math.max(2 * buffer.byteLength, end + needed))
        buffer.copy(larger, 0, 0, end)
        buffer = larger
      }
      const keyBytes = buffer.write(key, end + headBytes, "utf8")
      buffer.writeUInt32LE(keyBytes, end)
      buffer.writeUInt32LE(value.byteLength, end + 4)
      buffer.writeDoubleLE(revision, end + 8)
      end += headBytes + keyBytes
      buffer.set(value, end)
      end += value.byteLength
    },
    isFull: () => end >= (pageBytes * 7) / 8,
    bytes: () => buffer.subarray(0, end)
  }
}

export const forEach = (page: Uint8Array, visit: (entry: StoredEntry) => void): void => {
  const buffer = Buffer.from(page.buffer, page.byteOffset, page.byteLength)
  let at = 0
  while (at < buffer.byteLength) {
    const keyEnd = at + headBytes + buffer.readUInt32LE(at)
    const end = keyEnd + buffer.readUInt32LE(at + 4)
    visit({
      key: buffer.toString("utf8", at + headBytes, keyEnd),
      value: buffer.subarray(keyEnd, end),
      revision: buffer.readDoubleLE(at + 8)
    })
    at = end
  }
}
