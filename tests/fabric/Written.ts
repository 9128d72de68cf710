/**
 * What the writing process writes: every byte follows from its name, so that a reader can check it without being told.
 *
 * @module
 */
import { createHash } from "node:crypto"

export const shards = ["shard-a", "shard-b", "shard-c"]

/** 1 to 3,000 bytes that follow from the name. */
export const bytes = (name: string): Uint8Array => {
  const digest = createHash("sha256").update(name).digest()
  const length = 1 + (digest.readUInt16LE(0) % 3000)
  return Buffer.alloc(length, digest)
}

/** 1 to 40 records. */
export const batchSize = (seed: number, index: number): number =>
  1 + (createHash("sha256").update(`${seed} ${index}`).digest().readUInt16LE(0) % 40)

/** Each record tells the batch that it belongs to, so that half a batch is seen. */
export const batch = (shard: string, first: number, count: number): ReadonlyArray<Uint8Array> =>
  Array.from({ length: count }, (_, index) => {
    const name = `${shard} ${first + index} ${first} ${count}`
    return Buffer.concat([Buffer.from(`${name}\n`), bytes(name)])
  })

/** What is wrong with a record at this place, or nothing. */
export const recordFault = (shard: string, position: number, end: number, record: Uint8Array): string | undefined => {
  const text = Buffer.from(record)
  const name = text.subarray(0, text.indexOf("\n")).toString()
  const [ownShard, ownPosition, first, count] = name.split(" ")
  if (ownShard !== shard || Number(ownPosition) !== position) return `at ${shard} ${position} lies ${name}`
  if (Number(first) + Number(count) > end) return `the batch of ${name} is cut at ${end}`
  const expected = batch(shard, Number(first), Number(count))[position - Number(first)]
  return expected !== undefined && text.equals(expected) ? undefined : `the bytes of ${name} changed`
}
