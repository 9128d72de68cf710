/**
 * Entries of the key-value store in one piece of memory, which crosses from the store thread to the process as it is.
 *
 * For each entry: the bytes of its key and of its value in 32 bits each, its revision as a double, its key, its value.
 *
 * Laws (`EntryPage.test.ts`): E1 what was added comes out, in the same order. E2 a value that came out does not hold on to
 * the page.
 *
 * @module
 */
import type { StoredEntry } from "./StoreMessage.ts"

/** A tenth of a millisecond to copy; a page of one value may be as large as that is. */
const pageBytes = 256 * 1024
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
      // A copy: who keeps one value would keep the page.
      value: Buffer.from(buffer.subarray(keyEnd, end)),
      revision: buffer.readDoubleLE(at + 8)
    })
    at = end
  }
}
