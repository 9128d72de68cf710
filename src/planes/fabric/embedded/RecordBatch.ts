/**
 * The form of a batch in the log: for each record its length (4 bytes, little endian), then its bytes.
 *
 * Laws: decoding what was encoded gives the same records; a batch that was cut short or has bytes too many is refused.
 *
 * @module
 */

const lengthBytes = 4

/** Bytes that `encode` will give. */
export const size = (records: ReadonlyArray<Uint8Array>): number => {
  let total = records.length * lengthBytes
  for (const record of records) total += record.byteLength
  return total
}

/** In memory of its own, so that it can be transferred to a thread. */
export const encode = (records: ReadonlyArray<Uint8Array>): Uint8Array<ArrayBuffer> => {
  const buffer = Buffer.allocUnsafeSlow(size(records))
  let offset = 0
  for (const record of records) {
    buffer.writeUInt32LE(record.byteLength, offset)
    buffer.set(record, offset + lengthBytes)
    offset += lengthBytes + record.byteLength
  }
  return new Uint8Array(buffer.buffer)
}

/** The records are views of `bytes`. Throws when `bytes` is not a batch of `count` records. */
export const decode = (bytes: Uint8Array, count: number): ReadonlyArray<Uint8Array> => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const records: Array<Uint8Array> = []
  let offset = 0
  for (let index = 0; index < count; index++) {
    if (offset + lengthBytes > bytes.byteLength) throw new RangeError(`batch ends before record ${index} of ${count}`)
    const end = offset + lengthBytes + view.getUint32(offset, true)
    if (end > bytes.byteLength) throw new RangeError(`record ${index} of ${count} is longer than its batch`)
    records.push(bytes.subarray(offset + lengthBytes, end))
    offset = end
  }
  if (offset !== bytes.byteLength)
    throw new RangeError(`batch of ${count} records has ${bytes.byteLength - offset} bytes too many`)
  return records
}
