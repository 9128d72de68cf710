/**
 * A snapshot of one area of the registry as a file: what a watch goes on from, so that a start does not read what this process,
 * or one before it, has read already.
 *
 * Laws (`SnapshotFile.test.ts`): F1 what was written comes back, or nothing: a file that is cut short, damaged or of another
 * form is none. F2 a process that dies while it writes leaves the file that was there, and what it had begun does not stay.
 *
 * A file is frames: length and CRC-32 of what follows, then that, as the engine serializes it. The first is the head, the last
 * says how many there are.
 *
 * @module
 */
import { randomUUID } from "node:crypto"
import * as fs from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { setImmediate as turn } from "node:timers/promises"
import { deserialize, serialize } from "node:v8"
import { crc32 } from "node:zlib"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { StoredChunk } from "./StoredRecords.ts"

/** Raise it when anything is written in another way. */
const form = 1
const frameHeadBytes = 8
const unfinishedMsMax = 3_600_000

const Head = Schema.Struct({
  form: Schema.Literal(form),
  area: Schema.String,
  position: Schema.String,
  revision: Schema.Number
})
const End = Schema.Struct({ chunks: Schema.Int })
const decodeHead = Schema.decodeUnknownResult(Head)
const decodeEnd = Schema.decodeUnknownResult(End)

export interface SnapshotHead {
  readonly area: string
  /** Where the watch stood when the writing began; chunks may be newer. */
  readonly position: string
  /** Highest of the area, then. */
  readonly revision: number
}

export interface Snapshot extends SnapshotHead {
  /** Each is made when it is asked for. */
  readonly chunks: Iterable<StoredChunk>
}

const frame = (content: object): ReadonlyArray<Buffer> => {
  const bytes = serialize(content)
  const head = Buffer.alloc(frameHeadBytes)
  head.writeUInt32LE(bytes.byteLength, 0)
  head.writeUInt32LE(crc32(bytes), 4)
  return [head, bytes]
}

/** What is in each. Undefined: damaged. */
const frames = (bytes: Buffer): Array<Buffer> | undefined => {
  const found: Array<Buffer> = []
  for (let at = 0; at < bytes.byteLength; ) {
    if (at + frameHeadBytes > bytes.byteLength) return undefined
    const from = at + frameHeadBytes
    const to = from + bytes.readUInt32LE(at)
    const content = bytes.subarray(from, to)
    if (to > bytes.byteLength || crc32(content) !== bytes.readUInt32LE(at + 4)) return undefined
    found.push(content)
    at = to
  }
  return found
}

/** Undefined too: an engine wrote it that is newer. */
const contentOf = (frame: Buffer | undefined): unknown => {
  try {
    return frame === undefined ? undefined : deserialize(frame)
  } catch {
    return undefined
  }
}

function* chunksOf(frames: ReadonlyArray<Buffer>): Generator<StoredChunk> {
  // The head says in which form they were written, and their sums that they are what was written.
  for (const frame of frames) yield deserialize(frame) as StoredChunk
}

/** What a writer left that died: others may write at the same time, also on other machines. */
const removeUnfinished = async (path: string): Promise<void> => {
  const oldestMs = Date.now() - unfinishedMsMax
  for (const name of await fs.readdir(dirname(path))) {
    if (!name.startsWith(`${basename(path)}.`)) continue
    const other = join(dirname(path), name)
    const isOld = await fs.stat(other).then(
      ({ mtimeMs }) => mtimeMs < oldestMs,
      () => false
    )
    if (isOld) await fs.rm(other, { force: true })
  }
}

/** Lets others run between two chunks. Throws what the disk says. */
export const write = async (path: string, head: SnapshotHead, chunks: Iterable<StoredChunk>): Promise<void> => {
  await removeUnfinished(path)
  const fresh = `${path}.${randomUUID()}`
  const file = await fs.open(fresh, "wx", 0o600)
  try {
    await file.writev(frame({ form, ...head }))
    let count = 0
    for (const chunk of chunks) {
      await file.writev(frame(chunk))
      count += 1
      await turn()
    }
    await file.writev(frame({ chunks: count }))
    await file.close()
    await fs.rename(fresh, path)
  } catch (error) {
    await file.close().catch(() => undefined)
    await fs.rm(fresh, { force: true })
    throw error
  }
}

/** Undefined: there is none that can be used. */
export const read = async (path: string, area: string): Promise<Snapshot | undefined> => {
  const bytes = await fs.readFile(path).catch(() => undefined)
  const [first, ...rest] = (bytes === undefined ? undefined : frames(bytes)) ?? []
  const head = decodeHead(contentOf(first))
  const end = decodeEnd(contentOf(rest.pop()))
  if (Result.isFailure(head) || Result.isFailure(end)) return undefined
  if (head.success.area !== area || end.success.chunks !== rest.length) return undefined
  return { ...head.success, chunks: chunksOf(rest) }
}
