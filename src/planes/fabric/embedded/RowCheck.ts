/**
 * A number that says whether a row is as it was written. SQLite itself notices a torn page and a broken tree, not a bit
 * that turned over in a value: the row would be read back as another one.
 *
 * @module
 */
import { crc32 } from "node:zlib"

export type Field = number | string | Uint8Array | null

/** The file holds something else than what was written. */
export class RowDamaged extends Error {
  constructor(where: string) {
    super(`${where} in millrace.db does not match its checksum: the file is damaged, put a whole copy of it back`)
  }
}

const number = Buffer.alloc(9)

const tagged = (tag: number, value: number): Buffer => {
  number[0] = tag
  number.writeDoubleLE(value, 1)
  return number
}

/** CRC-32 over the fields, each with its kind and its length, so that no two lists of fields look the same. */
export const of = (...fields: ReadonlyArray<Field>): number => {
  let sum = 0
  for (const field of fields) {
    if (field === null) sum = crc32(tagged(0, 0), sum)
    else if (typeof field === "number") sum = crc32(tagged(1, field), sum)
    else {
      const bytes = typeof field === "string" ? Buffer.from(field, "utf8") : field
      sum = crc32(bytes, crc32(tagged(typeof field === "string" ? 2 : 3, bytes.byteLength), sum))
    }
  }
  return sum
}

/** Throws `RowDamaged` when `found` is not the sum of the fields. `where`: for people. */
export const require = (found: unknown, where: string, ...fields: ReadonlyArray<Field>): void => {
  if (found !== of(...fields)) throw new RowDamaged(where)
}
