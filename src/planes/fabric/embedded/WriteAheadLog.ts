/**
 * Reads SQLite's write-ahead log as SQLite would, to say up to which byte it is whole. SQLite takes what comes before the
 * first bad frame and forgets the rest without a word; that is right for a commit that was cut off, and wrong for one
 * that had been confirmed.
 *
 * Source: https://www.sqlite.org/fileformat2.html#the_write_ahead_log
 *
 * @module
 */
import * as fs from "node:fs"

const headerBytes = 32
const frameHeaderBytes = 24

/** The two running sums over pairs of words. */
const sum = (bytes: Buffer, isBigEndian: boolean, [first, second]: readonly [number, number]): [number, number] => {
  let [a, b] = [first, second]
  for (let at = 0; at + 8 <= bytes.length; at += 8) {
    a = (a + (isBigEndian ? bytes.readUInt32BE(at) : bytes.readUInt32LE(at)) + b) >>> 0
    b = (b + (isBigEndian ? bytes.readUInt32BE(at + 4) : bytes.readUInt32LE(at + 4)) + a) >>> 0
  }
  return [a, b]
}

const equals = (bytes: Buffer, at: number, [a, b]: readonly [number, number]) =>
  bytes.readUInt32BE(at) === a && bytes.readUInt32BE(at + 4) === b

/** Offset of the first byte that is no longer part of a whole frame; 0 when the head itself is not whole. */
export const wholeBytes = (file: string): number => {
  let bytes: Buffer
  try {
    bytes = fs.readFileSync(file)
  } catch {
    return 0
  }
  if (bytes.length < headerBytes) return 0
  const magic = bytes.readUInt32BE(0)
  if (magic !== 0x377f0682 && magic !== 0x377f0683) return 0
  const isBigEndian = magic === 0x377f0683
  const pageBytes = bytes.readUInt32BE(8)
  let sums = sum(bytes.subarray(0, 24), isBigEndian, [0, 0])
  if (pageBytes < 512 || pageBytes > 65_536 || !equals(bytes, 24, sums)) return 0
  const salts = bytes.subarray(16, 24)
  let at = headerBytes
  while (at + frameHeaderBytes + pageBytes <= bytes.length) {
    const frame = bytes.subarray(at, at + frameHeaderBytes + pageBytes)
    if (!frame.subarray(8, 16).equals(salts)) break
    const next = sum(frame.subarray(frameHeaderBytes), isBigEndian, sum(frame.subarray(0, 8), isBigEndian, sums))
    if (!equals(frame, 16, next)) break
    sums = next
    at += frameHeaderBytes + pageBytes
  }
  return at
}
