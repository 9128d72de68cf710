/**
 * Reads the part of MessagePack that the worker protocol uses, from bytes that may be hostile.
 *
 * - Never throws and never reads outside the frame: the first fault is kept in `fault`, from then on every read gives an
 *   empty value, and the caller looks at `fault` once at the end.
 * - Work is proportional to the bytes of the frame: a length that exceeds what is left is a fault, not an allocation.
 * - Bytes are views into the frame, not copies.
 *
 * @module
 */
const empty = new Uint8Array(0)
/** Deeper nesting than any message has; stops a frame of nested arrays from using up the stack. */
const skipDepthMax = 8

export class MessagepackReader {
  fault: string | undefined = undefined
  private readonly buffer: Buffer
  private position = 0

  constructor(bytes: Uint8Array) {
    this.buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get atEnd(): boolean {
    return this.position >= this.buffer.length
  }

  private fail(reason: string): void {
    this.fault ??= `${reason} at byte ${this.position}`
    this.position = this.buffer.length
  }

  /** True when `bytes` more are there. */
  private has(bytes: number): boolean {
    if (this.buffer.length - this.position >= bytes) return true
    this.fail("truncated")
    return false
  }

  /** Big-endian unsigned integer of 1, 2 or 4 bytes; the caller has checked that they are there. */
  private unsigned(bytes: 1 | 2 | 4): number {
    const { buffer, position } = this
    this.position += bytes
    if (bytes === 1) return buffer[position] ?? 0
    if (bytes === 2) return ((buffer[position] ?? 0) << 8) | (buffer[position + 1] ?? 0)
    return buffer.readUInt32BE(position)
  }

  private lengthOf(bytes: 1 | 2 | 4): number {
    return this.has(bytes) ? this.unsigned(bytes) : 0
  }

  private tag(): number {
    return this.has(1) ? this.unsigned(1) : -1
  }

  /** The length of an array, at most `max` and never more than there are bytes left. */
  array(max = Number.MAX_SAFE_INTEGER): number {
    const tag = this.tag()
    const length =
      (tag & 0xf0) === 0x90 && tag >= 0
        ? tag & 0x0f
        : tag === 0xdc
          ? this.lengthOf(2)
          : tag === 0xdd
            ? this.lengthOf(4)
            : -1
    // Each element takes at least one byte, so this bounds every loop over a length by the size of the frame.
    if (length >= 0 && length <= max && length <= this.buffer.length - this.position) return length
    this.fail(length > max ? `an array of ${length} where ${max} is the most` : "expected an array")
    return 0
  }

  boolean(): boolean {
    const tag = this.tag()
    if (tag !== 0xc2 && tag !== 0xc3) this.fail("expected a boolean")
    return tag === 0xc3
  }

  /** Any finite number. */
  number(): number {
    const tag = this.tag()
    const value = this.numberOf(tag)
    if (Number.isFinite(value)) return value
    this.fail("expected a finite number")
    return 0
  }

  private numberOf(tag: number): number {
    if (tag >= 0 && tag < 0x80) return tag
    if (tag >= 0xe0) return tag - 0x100
    const { buffer } = this
    const width = numberWidth(tag)
    if (width === 0) return Number.NaN
    if (!this.has(width)) return Number.NaN
    const at = this.position
    this.position += width
    switch (tag) {
      case 0xca:
        return buffer.readFloatBE(at)
      case 0xcb:
        return buffer.readDoubleBE(at)
      case 0xcc:
        return buffer.readUInt8(at)
      case 0xcd:
        return buffer.readUInt16BE(at)
      case 0xce:
        return buffer.readUInt32BE(at)
      case 0xcf:
        return buffer.readUInt32BE(at) * 0x100000000 + buffer.readUInt32BE(at + 4)
      case 0xd0:
        return buffer.readInt8(at)
      case 0xd1:
        return buffer.readInt16BE(at)
      case 0xd2:
        return buffer.readInt32BE(at)
      default:
        return buffer.readInt32BE(at) * 0x100000000 + buffer.readUInt32BE(at + 4)
    }
  }

  /** An integer from 0 to `max`, by default the largest that a double holds exactly. */
  natural(max = Number.MAX_SAFE_INTEGER): number {
    const value = this.number()
    if (Number.isInteger(value) && value >= 0 && value <= max) return value
    this.fail(`expected an integer from 0 to ${max}`)
    return 0
  }

  string(): string {
    const tag = this.tag()
    const length =
      tag >= 0xa0 && tag <= 0xbf
        ? tag & 0x1f
        : tag === 0xd9
          ? this.lengthOf(1)
          : tag === 0xda
            ? this.lengthOf(2)
            : tag === 0xdb
              ? this.lengthOf(4)
              : -1
    if (length < 0) this.fail("expected a string")
    if (length <= 0 || !this.has(length)) return ""
    const from = this.position
    this.position += length
    return this.text(from, this.position)
  }

  private text(from: number, to: number): string {
    const { buffer } = this
    if (to - from > 12) return buffer.toString("utf8", from, to)
    let text = ""
    for (let at = from; at < to; at++) {
      const code = buffer[at] ?? 0
      if (code >= 0x80) return buffer.toString("utf8", from, to)
      text += String.fromCharCode(code)
    }
    return text
  }

  bytes(): Uint8Array {
    const tag = this.tag()
    const length =
      tag === 0xc4 ? this.lengthOf(1) : tag === 0xc5 ? this.lengthOf(2) : tag === 0xc6 ? this.lengthOf(4) : -1
    if (length < 0) this.fail("expected bytes")
    if (length <= 0 || !this.has(length)) return empty
    const from = this.position
    this.position += length
    return this.buffer.subarray(from, this.position)
  }

  /** Passes over one value of any kind: a field that a newer peer added. */
  skip(depth = 0): void {
    const tag = this.tag()
    if (tag < 0) return
    if (depth > skipDepthMax) return this.fail("nested too deeply")
    if (tag < 0x80 || tag >= 0xe0 || tag === 0xc0 || tag === 0xc2 || tag === 0xc3) return
    this.position--
    if ((tag & 0xf0) === 0x90 || tag === 0xdc || tag === 0xdd) {
      const length = this.array()
      for (let index = 0; index < length && this.fault === undefined; index++) this.skip(depth + 1)
    } else if (tag >= 0xc4 && tag <= 0xc6) this.bytes()
    else if ((tag >= 0xa0 && tag <= 0xbf) || (tag >= 0xd9 && tag <= 0xdb)) this.string()
    else this.number()
  }
}

const numberWidth = (tag: number): number => {
  switch (tag) {
    case 0xcc:
    case 0xd0:
      return 1
    case 0xcd:
    case 0xd1:
      return 2
    case 0xca:
    case 0xce:
    case 0xd2:
      return 4
    case 0xcb:
    case 0xcf:
    case 0xd3:
      return 8
    default:
      return 0
  }
}
