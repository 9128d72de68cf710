/**
 * Speaks the kernel's FUSE protocol (7.31) on `/dev/fuse` for a `PowerCutDisk`: as much of it as one machine's programs
 * need that read, write, link, rename and sync.
 *
 * The loop blocks its process, which does nothing else. Writes come at once (no write-back in the kernel), so that the
 * disk sees each operation in the order in which it was asked for.
 *
 * @module
 */
import { readSync, writeSync } from "node:fs"
import { beginMount, openDevice, transferBytesMax } from "./Fuse.ts"
import { DiskError, type File, type Node, type PowerCutDisk } from "./PowerCutDisk.ts"

const headBytes = 40
const replyHeadBytes = 16
/** Only this kernel changes anything, so that it may believe what it knows. */
const validSeconds = 3600n
const noSystemCall = 38

const [folderType, fileType] = [0o040000, 0o100000]

/** Who answers nothing. */
const silentOpcodes: ReadonlySet<number> = new Set([2, 36, 42])

/** Mounts, and answers the kernel until the power is cut (then `PowerCut` is thrown) or the file system is unmounted. */
export const serve = (disk: PowerCutDisk, mountPoint: string): void => {
  const device = openDevice()
  beginMount(device, mountPoint).unref()
  const buffer = Buffer.alloc(transferBytesMax + 4096)
  for (;;) {
    let length: number
    try {
      length = readSync(device, buffer)
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : ""
      // Not mounted yet, or a request that was taken back.
      if (code === "EPERM" || code === "EINTR" || code === "ENOENT" || code === "EAGAIN") {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
        continue
      }
      if (code === "ENODEV") return
      throw error
    }
    const opcode = buffer.readUInt32LE(4)
    if (silentOpcodes.has(opcode)) continue
    const unique = buffer.readBigUInt64LE(8)
    let body: Buffer = Buffer.alloc(0)
    let errno = 0
    try {
      const answered = answer(disk, opcode, Number(buffer.readBigUInt64LE(16)), buffer.subarray(headBytes, length))
      if (answered === undefined) errno = noSystemCall
      else body = answered
    } catch (error) {
      if (!(error instanceof DiskError)) throw error
      errno = error.errno
    }
    const reply = Buffer.alloc(replyHeadBytes + body.length)
    reply.writeUInt32LE(reply.length, 0)
    reply.writeInt32LE(-errno, 4)
    reply.writeBigUInt64LE(unique, 8)
    body.copy(reply, replyHeadBytes)
    try {
      writeSync(device, reply)
    } catch (error) {
      // Whoever asked was killed meanwhile.
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error
    }
  }
}

const empty = Buffer.alloc(0)

/** Undefined: not known here. The kernel then does without, or tells its caller. */
const answer = (disk: PowerCutDisk, opcode: number, id: number, input: Buffer): Buffer | undefined => {
  const u32 = (at: number) => input.readUInt32LE(at)
  const u64 = (at: number) => Number(input.readBigUInt64LE(at))
  const names = (at: number) => input.toString("utf8", at).split("\0")
  const name = (at: number) => names(at)[0] ?? ""
  switch (opcode) {
    case 1: // lookup
      return entryOf(disk.find(id, name(0)))
    case 3: // getattr
      return attributesOf(disk.node(id))
    case 4: {
      // setattr
      const valid = u32(0)
      if ((valid & 1) !== 0) disk.node(id).mode = u32(68) & 0o7777
      if ((valid & 8) !== 0) disk.resize(id, u64(16))
      return attributesOf(disk.node(id))
    }
    case 8: // mknod
      return entryOf(disk.create(id, name(16), "file", u32(0) & 0o7777))
    case 9: // mkdir
      return entryOf(disk.create(id, name(8), "folder", u32(0) & 0o7777))
    case 10: // unlink
      disk.remove(id, name(0), "file")
      return empty
    case 11: // rmdir
      disk.remove(id, name(0), "folder")
      return empty
    case 12: {
      // rename
      const [from = "", to = ""] = names(8)
      disk.rename(id, from, u64(0), to)
      return empty
    }
    case 45: {
      // rename2; its flags (exchange, no replace) are not known here
      if (u32(8) !== 0) return undefined
      const [from = "", to = ""] = names(16)
      disk.rename(id, from, u64(0), to)
      return empty
    }
    case 13: // link
      return entryOf(disk.link(u64(0), id, name(8)))
    case 14: // open
    case 27: // opendir
      disk.node(id)
      return Buffer.alloc(16)
    case 15: // read
      return disk.read(id, u64(8), u32(16))
    case 16: {
      // write
      const size = u32(16)
      disk.write(id, u64(8), input.subarray(40, 40 + size))
      const written = Buffer.alloc(8)
      written.writeUInt32LE(size, 0)
      return written
    }
    case 17: // statfs
      return room()
    case 18: // release
    case 25: // flush
    case 29: // releasedir
      return empty
    case 20: // fsync
    case 30: // fsyncdir
      disk.sync(id)
      return empty
    case 26: // init
      return greeting(u32(8))
    case 28: // readdir
      return entriesOf(disk, id, u64(8), u32(16))
    case 35: // create
      return Buffer.concat([entryOf(disk.create(id, name(16), "file", u32(4) & 0o7777)), Buffer.alloc(16)])
    case 38: // destroy
      return empty
    default:
      return undefined
  }
}

const greeting = (readAheadBytes: number): Buffer => {
  const bytes = Buffer.alloc(64)
  bytes.writeUInt32LE(7, 0)
  bytes.writeUInt32LE(31, 4)
  bytes.writeUInt32LE(readAheadBytes, 8)
  bytes.writeUInt32LE(1 << 5, 12) // writes larger than a page
  bytes.writeUInt16LE(16, 16)
  bytes.writeUInt16LE(12, 18)
  bytes.writeUInt32LE(transferBytesMax, 20)
  bytes.writeUInt32LE(1, 24)
  return bytes
}

const room = (): Buffer => {
  const bytes = Buffer.alloc(80)
  const blocks = BigInt(1024 * 1024)
  for (const at of [0, 8, 16, 24, 32]) bytes.writeBigUInt64LE(blocks, at)
  bytes.writeUInt32LE(4096, 40)
  bytes.writeUInt32LE(255, 44)
  bytes.writeUInt32LE(4096, 48)
  return bytes
}

const sizeOf = (node: Node): number => (node.kind === "file" ? node.size : 4096)
const linksOf = (node: Node): number => (node.kind === "file" ? Math.max(0, node.links) : 2)

const putAttributes = (bytes: Buffer, at: number, node: File | Node): void => {
  const seconds = BigInt(Math.floor(node.changedMs / 1000))
  const nanoseconds = (node.changedMs % 1000) * 1_000_000
  bytes.writeBigUInt64LE(BigInt(node.id), at)
  bytes.writeBigUInt64LE(BigInt(sizeOf(node)), at + 8)
  bytes.writeBigUInt64LE(BigInt(Math.ceil(sizeOf(node) / 512)), at + 16)
  for (const field of [24, 32, 40]) bytes.writeBigUInt64LE(seconds, at + field)
  for (const field of [48, 52, 56]) bytes.writeUInt32LE(nanoseconds, at + field)
  bytes.writeUInt32LE((node.kind === "file" ? fileType : folderType) | node.mode, at + 60)
  bytes.writeUInt32LE(linksOf(node), at + 64)
  bytes.writeUInt32LE(4096, at + 80)
}

const attributesOf = (node: Node): Buffer => {
  const bytes = Buffer.alloc(104)
  bytes.writeBigUInt64LE(validSeconds, 0)
  putAttributes(bytes, 16, node)
  return bytes
}

const entryOf = (node: Node): Buffer => {
  const bytes = Buffer.alloc(128)
  bytes.writeBigUInt64LE(BigInt(node.id), 0)
  bytes.writeBigUInt64LE(validSeconds, 16)
  bytes.writeBigUInt64LE(validSeconds, 24)
  putAttributes(bytes, 40, node)
  return bytes
}

const entriesOf = (disk: PowerCutDisk, id: number, offset: number, bytesMax: number): Buffer => {
  const all: ReadonlyArray<readonly [string, number]> = [[".", id], ["..", id], ...disk.folder(id).names]
  const parts: Array<Buffer> = []
  let length = 0
  for (let index = offset; index < all.length; index++) {
    const [name, nodeId] = all[index] ?? ["", 0]
    const nameBytes = Buffer.from(name)
    const entry = Buffer.alloc(Math.ceil((24 + nameBytes.length) / 8) * 8)
    entry.writeBigUInt64LE(BigInt(nodeId), 0)
    entry.writeBigUInt64LE(BigInt(index + 1), 8)
    entry.writeUInt32LE(nameBytes.length, 16)
    entry.writeUInt32LE((disk.node(nodeId).kind === "file" ? fileType : folderType) >> 12, 20)
    nameBytes.copy(entry, 24)
    if (length + entry.length > bytesMax) break
    length += entry.length
    parts.push(entry)
  }
  return Buffer.concat(parts)
}
