/**
 * Archives as the Docker Engine takes them: POSIX tar, with pax records for paths that are too long for a plain header.
 * Written as a stream, because a Node executable alone is larger than one wants to hold.
 *
 * @module
 */
import { createReadStream } from "node:fs"
import { Readable } from "node:stream"

interface Common {
  /** Relative, with `/`; folders need none at the end. */
  readonly path: string
  /** Permission bits. */
  readonly mode: number
  /** Default 0 = root. */
  readonly uid?: number
}

export type TarEntry =
  | (Common & { readonly kind: "folder" })
  | (Common & { readonly kind: "link"; readonly target: string })
  | (Common & { readonly kind: "text"; readonly content: string | Uint8Array })
  /** A file of this machine, of exactly `size` bytes. */
  | (Common & { readonly kind: "file"; readonly source: string; readonly size: number })

const blockBytes = 512

const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, "0")}\0`

const typeFlags = { folder: "5", link: "2", text: "0", file: "0", pax: "x" } as const

interface Header {
  readonly path: string
  readonly mode: number
  readonly uid: number
  readonly size: number
  readonly type: keyof typeof typeFlags
  readonly target: string
}

const header = ({ path, mode, uid, size, type, target }: Header): Buffer => {
  const block = Buffer.alloc(blockBytes)
  block.write(path, 0, 100)
  block.write(octal(mode, 7), 100)
  block.write(octal(uid, 7), 108)
  block.write(octal(uid, 7), 116)
  block.write(octal(size, 11), 124)
  // One time for all, so that equal content makes equal archives.
  block.write(octal(0, 11), 136)
  block.write("        ", 148)
  block.write(typeFlags[type], 156)
  block.write(target, 157, 100)
  block.write("ustar\x0000", 257)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${octal(sum, 6)} `, 148)
  return block
}

const padding = (size: number): Buffer => Buffer.alloc((blockBytes - (size % blockBytes)) % blockBytes)

/** `length key=value\n`, where the length counts itself. */
const paxRecord = (key: string, value: string): string => {
  const rest = Buffer.byteLength(` ${key}=${value}\n`)
  let length = rest + String(rest).length
  if (String(length).length !== String(rest).length) length = rest + String(length).length
  return `${length} ${key}=${value}\n`
}

const fits = (text: string): boolean => Buffer.byteLength(text) <= 100

const sizeOf = (entry: TarEntry): number =>
  entry.kind === "text" ? Buffer.byteLength(entry.content) : entry.kind === "file" ? entry.size : 0

const heads = (entry: TarEntry): Buffer => {
  const path = entry.kind === "folder" ? `${entry.path}/` : entry.path
  const target = entry.kind === "link" ? entry.target : ""
  const common = { mode: entry.mode, uid: entry.uid ?? 0 }
  const plain = header({ ...common, path, size: sizeOf(entry), type: entry.kind, target })
  if (fits(path) && fits(target)) return plain
  const records = Buffer.from(
    (fits(path) ? "" : paxRecord("path", path)) + (fits(target) ? "" : paxRecord("linkpath", target))
  )
  const pax = header({ ...common, path: "pax", size: records.length, type: "pax", target: "" })
  return Buffer.concat([pax, records, padding(records.length), plain])
}

async function* chunks(entries: Iterable<TarEntry>): AsyncGenerator<Buffer> {
  for (const entry of entries) {
    yield heads(entry)
    if (entry.kind === "text") yield Buffer.from(entry.content)
    if (entry.kind === "file" && entry.size > 0) {
      let bytes = 0
      for await (const chunk of createReadStream(entry.source, { end: entry.size - 1 })) {
        bytes += chunk.length
        yield chunk
      }
      // A file that was cut meanwhile: the archive must not slip.
      if (bytes < entry.size) yield Buffer.alloc(entry.size - bytes)
    }
    yield padding(sizeOf(entry))
  }
  yield Buffer.alloc(2 * blockBytes)
}

export const pack = (entries: Iterable<TarEntry>): Readable => Readable.from(chunks(entries), { objectMode: false })
