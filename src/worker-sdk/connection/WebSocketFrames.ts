/**
 * The framing of RFC 6455 as a client needs it: parse what a server sends, write binary and control frames.
 *
 * Why our own: a worker speaks to one server with binary messages only; a general client would add about 35 ms to each
 * cold start by what it loads (http, tls, crypto, zlib). Frames carry the all-zero mask: masking protects proxies from
 * scripts in browsers, not us, and the XOR would cost both ends a pass over every byte.
 *
 * Bounds: a message of at most `messageBytesMax` bytes; fragments are joined within that bound. Never throws.
 *
 * @module
 */

/** Longest header of a client's frame: 2 bytes, 8 of length, 4 of mask. */
export const frameHeaderBytesMax = 14

export type Opcode = "continuation" | "binary" | "close" | "ping" | "pong"

const opcodes: Record<Opcode, number> = { continuation: 0, binary: 2, close: 8, ping: 9, pong: 10 }

/**
 * Turns `buffer`, whose first `frameHeaderBytesMax` bytes are free, into one final client frame. Returns the part of it
 * to send.
 */
export const sealFrame = (buffer: Buffer, opcode: Opcode): Buffer => {
  const length = buffer.length - frameHeaderBytesMax
  const lengthBytes = length < 126 ? 0 : length < 0x10000 ? 2 : 8
  const start = frameHeaderBytesMax - 6 - lengthBytes
  buffer[start] = 0x80 | opcodes[opcode]
  buffer[start + 1] = 0x80 | (lengthBytes === 0 ? length : lengthBytes === 2 ? 126 : 127)
  if (lengthBytes === 2) buffer.writeUInt16BE(length, start + 2)
  if (lengthBytes === 8) {
    buffer.writeUInt32BE(Math.floor(length / 0x100000000), start + 2)
    buffer.writeUInt32BE(length >>> 0, start + 6)
  }
  buffer.fill(0, start + 2 + lengthBytes, frameHeaderBytesMax)
  return buffer.subarray(start)
}

export const controlFrame = (opcode: Opcode, payload: Uint8Array): Buffer => {
  const buffer = Buffer.alloc(frameHeaderBytesMax + Math.min(payload.length, 125))
  buffer.set(payload.subarray(0, 125), frameHeaderBytesMax)
  return sealFrame(buffer, opcode)
}

export const closeFrame = (code: number, reason: string): Buffer => {
  // 123 bytes are left beside the code; a reason that is cut may end in half a character, so it is cut by characters.
  let text = reason.slice(0, 123)
  while (Buffer.byteLength(text) > 123) text = text.slice(0, -1)
  const payload = Buffer.alloc(2 + Buffer.byteLength(text))
  payload.writeUInt16BE(code, 0)
  payload.write(text, 2)
  return controlFrame("close", payload)
}

export interface FrameHandler {
  readonly onBinary: (payload: Buffer) => void
  readonly onPing: (payload: Buffer) => void
  readonly onClose: (code: number, reason: string) => void
  readonly onProtocolError: (reason: string) => void
}

const nothing = Buffer.alloc(0)

/** Feeds on socket chunks and calls the handler per message. After a fault or a close it takes nothing more. */
export class FrameParser {
  private readonly handler: FrameHandler
  private readonly messageBytesMax: number
  private pending: Array<Buffer> = []
  private pendingBytes = 0
  private wantedBytes = 2
  private fragments: Array<Buffer> = []
  private fragmentBytes = 0
  private done = false

  constructor(messageBytesMax: number, handler: FrameHandler) {
    this.messageBytesMax = messageBytesMax
    this.handler = handler
  }

  push(chunk: Buffer): void {
    if (this.done) return
    if (this.pendingBytes === 0) {
      this.consume(chunk)
      return
    }
    this.pending.push(chunk)
    this.pendingBytes += chunk.length
    // Joining only when a whole frame is there keeps a large frame from being copied once per chunk.
    if (this.pendingBytes < this.wantedBytes) return
    const joined = Buffer.concat(this.pending, this.pendingBytes)
    this.pending = []
    this.pendingBytes = 0
    this.consume(joined)
  }

  private consume(input: Buffer): void {
    let at = 0
    while (!this.done) {
      const left = input.length - at
      const header = left >= 2 ? headerBytes(input, at) : 2
      if (left < header) {
        this.keep(input, at, header)
        return
      }
      const length = payloadBytes(input, at)
      if (length > this.messageBytesMax) {
        this.fail(`a frame of ${length} bytes exceeds ${this.messageBytesMax}`)
        return
      }
      if (left < header + length) {
        this.keep(input, at, header + length)
        return
      }
      const start = at + header
      at = start + length
      this.frame(input[start - header] ?? 0, input[start - header + 1] ?? 0, input.subarray(start, at))
      if (at === input.length) return
    }
  }

  private keep(input: Buffer, at: number, wantedBytes: number): void {
    this.wantedBytes = wantedBytes
    if (at === input.length) return
    this.pending.push(at === 0 ? input : input.subarray(at))
    this.pendingBytes = input.length - at
  }

  private fail(reason: string): void {
    this.done = true
    this.pending = []
    this.fragments = []
    this.handler.onProtocolError(reason)
  }

  private frame(first: number, second: number, payload: Buffer): void {
    const final = (first & 0x80) !== 0
    const opcode = first & 0x0f
    if ((first & 0x70) !== 0) return this.fail("a frame with an extension that was not agreed on")
    if ((second & 0x80) !== 0) return this.fail("a masked frame from a server")
    if (opcode >= 8 && (!final || payload.length > 125)) return this.fail("a control frame that is cut or too long")
    switch (opcode) {
      case opcodes.binary:
        if (this.fragments.length > 0) return this.fail("a new message inside a fragmented one")
        if (final) return this.handler.onBinary(payload)
        return this.fragment(payload)
      case opcodes.continuation:
        if (this.fragments.length === 0) return this.fail("a continuation of nothing")
        this.fragment(payload)
        if (!final || this.done) return
        return this.joinFragments()
      case opcodes.ping:
        return this.handler.onPing(payload)
      case opcodes.pong:
        return
      case opcodes.close:
        this.done = true
        return this.handler.onClose(
          payload.length >= 2 ? payload.readUInt16BE(0) : 1005,
          payload.length > 2 ? payload.toString("utf8", 2) : ""
        )
      default:
        return this.fail(`a frame with opcode ${opcode}`)
    }
  }

  private fragment(payload: Buffer): void {
    this.fragments.push(payload.length === 0 ? nothing : payload)
    this.fragmentBytes += payload.length
    if (this.fragmentBytes > this.messageBytesMax || this.fragments.length > fragmentsMax) {
      this.fail("a fragmented message that is too large")
    }
  }

  private joinFragments(): void {
    const whole = Buffer.concat(this.fragments, this.fragmentBytes)
    this.fragments = []
    this.fragmentBytes = 0
    this.handler.onBinary(whole)
  }
}

/** A peer that sends its message byte by byte would make us keep a list as long as the message. */
const fragmentsMax = 4096

const headerBytes = (input: Buffer, at: number): number => {
  const second = input[at + 1] ?? 0
  const short = second & 0x7f
  return 2 + (short < 126 ? 0 : short === 126 ? 2 : 8) + ((second & 0x80) !== 0 ? 4 : 0)
}

const payloadBytes = (input: Buffer, at: number): number => {
  const short = (input[at + 1] ?? 0) & 0x7f
  if (short < 126) return short
  if (short === 126) return input.readUInt16BE(at + 2)
  return input.readUInt32BE(at + 2) * 0x100000000 + input.readUInt32BE(at + 6)
}
