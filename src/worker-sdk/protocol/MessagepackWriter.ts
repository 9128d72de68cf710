/**
 * Writes the part of MessagePack that the worker protocol uses: arrays, integers, floats, booleans, strings, bytes.
 *
 * Why not a library: this is on the cold-start path of every function (loading one costs more than the rest of the SDK),
 * and a frame of known shape needs no type dispatch. What it writes is plain MessagePack; a test reads it with msgpackr.
 *
 * Chunks are filled from front to back, and never again where bytes were given away, so a frame may wait in a socket while
 * the next one is written. A writer has a part of a chunk only while it writes a frame: ten thousand idle connections have
 * none, and ten thousand that begin a frame in the same turn share their chunks. A frame that is alone has the whole chunk.
 *
 * @module
 */
const chunkBytes = 64 * 1024
/** A frame begins with so much of a chunk, and with the rest of it when it needs that and nobody else has it. */
const partBytes = 2 * 1024
/** A frame does not begin where less is left. */
const roomMin = 1024
/** Frames that are written at the same time are few. */
const partlyFilledMax = 16

/** Bytes from `position` to `end` are nobody's. */
interface Part {
  readonly buffer: Buffer
  readonly position: number
  readonly end: number
}

/** The last one is the next to be filled. */
const partlyFilled: Array<Part> = []
const none: Buffer = Buffer.allocUnsafeSlow(0)

const giveBack = (part: Part): void => {
  if (part.end - part.position >= roomMin && partlyFilled.length < partlyFilledMax) partlyFilled.push(part)
}

export class MessagepackWriter {
  /** `none` between frames. */
  private buffer: Buffer = none
  private start = 0
  private position = 0
  private end = 0
  private reserved = 0

  /** Begins a frame; `headroom` bytes before it are left for the carrier's own header. */
  begin(headroom: number): void {
    const found = partlyFilled.pop()
    const hasRoom = found !== undefined && found.end - found.position >= roomMin + headroom
    const part = hasRoom ? found : { buffer: Buffer.allocUnsafeSlow(chunkBytes), position: 0, end: chunkBytes }
    this.buffer = part.buffer
    this.start = part.position
    this.position = part.position + headroom
    const cut = this.position + partBytes
    this.end = part.end - cut >= roomMin ? cut : part.end
    this.reserved = headroom
    giveBack({ buffer: part.buffer, position: this.end, end: part.end })
  }

  /** Bytes of the frame so far, without the headroom. */
  get size(): number {
    return this.position - this.start - this.reserved
  }

  /** Gives the frame away, headroom included. */
  finish(): Buffer {
    this.takeRest()
    const { buffer, position, end } = this
    const frame = buffer.subarray(this.start, position)
    giveBack({ buffer, position, end })
    this.buffer = none
    this.start = 0
    this.position = 0
    this.end = 0
    this.reserved = 0
    return frame
  }

  /** What lies behind its part, if that is still the next to be filled. */
  private takeRest(): void {
    const next = partlyFilled.at(-1)
    if (next === undefined || next.buffer !== this.buffer || next.position !== this.end) return
    this.end = next.end
    partlyFilled.pop()
  }

  private ensure(bytes: number): void {
    if (this.end - this.position >= bytes) return
    this.takeRest()
    if (this.end - this.position >= bytes) return
    const used = this.position - this.start
    const larger = Buffer.allocUnsafeSlow(Math.max(chunkBytes, 2 * (used + bytes)))
    this.buffer.copy(larger, 0, this.start, this.position)
    this.buffer = larger
    this.start = 0
    this.position = used
    this.end = larger.length
  }

  array(length: number): void {
    this.ensure(5)
    if (length < 16) this.buffer[this.position++] = 0x90 | length
    else if (length < 0x10000) {
      this.buffer[this.position] = 0xdc
      this.position = this.buffer.writeUInt16BE(length, this.position + 1)
    } else {
      this.buffer[this.position] = 0xdd
      this.position = this.buffer.writeUInt32BE(length, this.position + 1)
    }
  }

  boolean(value: boolean): void {
    this.ensure(1)
    this.buffer[this.position++] = value ? 0xc3 : 0xc2
  }

  /** Safe integers in their shortest form, everything else as a 64-bit float. */
  number(value: number): void {
    this.ensure(9)
    const { buffer } = this
    if (Number.isInteger(value) && !Object.is(value, -0)) {
      if (value >= 0 && value < 0x80) {
        buffer[this.position++] = value
        return
      }
      if (value >= 0 && value < 0x10000) {
        buffer[this.position] = 0xcd
        this.position = buffer.writeUInt16BE(value, this.position + 1)
        return
      }
      if (value >= 0 && value < 0x100000000) {
        buffer[this.position] = 0xce
        this.position = buffer.writeUInt32BE(value, this.position + 1)
        return
      }
      if (value >= 0 && value <= Number.MAX_SAFE_INTEGER) {
        buffer[this.position] = 0xcf
        buffer.writeUInt32BE(Math.floor(value / 0x100000000), this.position + 1)
        this.position = buffer.writeUInt32BE(value >>> 0, this.position + 5)
        return
      }
    }
    buffer[this.position] = 0xcb
    this.position = buffer.writeDoubleBE(value, this.position + 1)
  }

  string(value: string): void {
    const { length } = value
    if (length < 64) {
      // Short ASCII (names, ids) is copied here: a call into the runtime costs more than the loop.
      this.ensure(2 + 3 * length)
      const { buffer } = this
      const at = this.position + (length < 32 ? 1 : 2)
      let index = 0
      for (; index < length; index++) {
        const code = value.charCodeAt(index)
        if (code >= 0x80) break
        buffer[at + index] = code
      }
      if (index === length) {
        if (length < 32) buffer[this.position] = 0xa0 | length
        else {
          buffer[this.position] = 0xd9
          buffer[this.position + 1] = length
        }
        this.position = at + length
        return
      }
    }
    const bytes = Buffer.byteLength(value)
    this.ensure(5 + bytes)
    if (bytes < 0x100) {
      this.buffer[this.position++] = 0xd9
      this.buffer[this.position++] = bytes
    } else if (bytes < 0x10000) {
      this.buffer[this.position] = 0xda
      this.position = this.buffer.writeUInt16BE(bytes, this.position + 1)
    } else {
      this.buffer[this.position] = 0xdb
      this.position = this.buffer.writeUInt32BE(bytes, this.position + 1)
    }
    this.buffer.write(value, this.position, bytes, "utf8")
    this.position += bytes
  }

  bytes(value: Uint8Array): void {
    const { length } = value
    this.ensure(5 + length)
    if (length < 0x100) {
      this.buffer[this.position++] = 0xc4
      this.buffer[this.position++] = length
    } else if (length < 0x10000) {
      this.buffer[this.position] = 0xc5
      this.position = this.buffer.writeUInt16BE(length, this.position + 1)
    } else {
      this.buffer[this.position] = 0xc6
      this.position = this.buffer.writeUInt32BE(length, this.position + 1)
    }
    this.buffer.set(value, this.position)
    this.position += length
  }
}
