/**
 * Request ids: UUID version 7, so that ids sort by arrival and an index over them grows at one end. The six bits after the
 * variant say in which shard the request is: whoever has an id finds its owner without asking around. Ids of before that
 * have chance there; they are of stores with one shard, where every number means it.
 *
 * @module
 */
import { randomFillSync } from "node:crypto"

const poolBytes = 4096
const pool = Buffer.allocUnsafe(poolBytes)
let used = poolBytes

const hex: ReadonlyArray<string> = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))

/** As many as six bits can tell apart. */
export const shardsMax = 64

/** `unixMs` becomes the first 48 bits, `shard` (0 to 63) six more; the other 68 free bits are random. */
export const make = (unixMs: number, shard: number): string => {
  // One call of the random source for 409 ids: the call itself costs more than all the rest.
  if (used + 10 > poolBytes) {
    randomFillSync(pool)
    used = 0
  }
  const high = Math.floor(unixMs / 0x1_0000_0000)
  const low = Math.floor(unixMs) % 0x1_0000_0000
  const at = (offset: number) => hex[pool[used + offset] ?? 0]
  const id = `${hex[(high >> 8) & 255]}${hex[high & 255]}${hex[(low >>> 24) & 255]}${hex[(low >>> 16) & 255]}-${
    hex[(low >>> 8) & 255]
  }${hex[low & 255]}-7${hex[(pool[used] ?? 0) & 15]?.[1]}${at(1)}-${hex[(shard & 0x3f) | 0x80]}${at(
    3
  )}-${at(4)}${at(5)}${at(6)}${at(7)}${at(8)}${at(9)}`
  used += 10
  return id
}

/** Of an id in a store of `count` shards; 0 for what is none. */
export const shardOf = (id: string, count: number): number => {
  const bits = Number.parseInt(id.slice(19, 21), 16) & 0x3f
  return Number.isNaN(bits) ? 0 : bits % count
}

const pattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

export const isUuid = (text: string): boolean => text.length === 36 && pattern.test(text)
