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

/** Calls into zlib cost more than the bytes of most rows: they are put together here first. */
const gathered = Buffer.alloc(16 * 1024)
const tagBytes = 9
/** What is longer is summed where it lies. */
const gatheredMax = 4 * 1024

/** CRC-32 over the fields, each with its kind and its length, so that no two lists of fields look the same. */
export const of = (...fields: ReadonlyArray<Field>): number => {
  let sum = 0
  let filled = 0
  const tag = (kind: number, value: number) => {
    gathered[filled] = kind
    gathered.writeDoubleLE(value, filled + 1)
    filled += tagBytes
  }
  const take = () => {
    if (filled > 0) sum = crc32(gathered.subarray(0, filled), sum)
    filled = 0
  }
  for (const field of fields) {
    if (filled + 2 * tagBytes + 3 * gatheredMax > gathered.byteLength) take()
    if (field === null) tag(0, 0)
    else if (typeof field === "number") tag(1, field)
    else if (typeof field === "string" && field.length <= gatheredMax) {
      const bytes = gathered.write(field, filled + tagBytes, "utf8")
      tag(2, bytes)
      filled += bytes
    } else {
      const bytes = typeof field === "string" ? Buffer.from(field, "utf8") : field
      tag(typeof field === "string" ? 2 : 3, bytes.byteLength)
      if (bytes.byteLength <= gatheredMax) {
        gathered.set(bytes, filled)
        filled += bytes.byteLength
      } else {
        take()
        sum = crc32(bytes, sum)
      }
    }
  }
  take()
  return sum
}

/** Throws `RowDamaged` when `found` is not the sum of the fields. `where`: for people. */
export const require = (found: unknown, where: string, ...fields: ReadonlyArray<Field>): void => {
  if (found !== of(...fields)) throw new RowDamaged(where)
}
