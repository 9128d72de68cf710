/**
 * `BlobStore` as files of one folder. Laws: see `BlobStore`.
 *
 * A blob is written under `blobs-partial/`, synced, linked into `blobs/` and the folder synced: it is whole or absent.
 * Its last eight bytes are a mark and the CRC-32 of those before; a reader that began at the first byte compares them
 * before it hands out the last piece, so that a damaged blob never comes to its end.
 * What lies in `blobs-partial/` at the start was never finished and is removed; where other processes write to the same
 * folder, only what nobody has touched for a day.
 *
 * @module
 */
import { randomUUID } from "node:crypto"
import * as fs from "node:fs/promises"
import * as path from "node:path"
import { crc32 } from "node:zlib"
import * as Effect from "effect/Effect"
import * as CrashPoint from "../../CrashPoint.ts"
import type { BlobStore, BlobWriter } from "../BlobStore.ts"
import { FabricUnavailable } from "../FabricError.ts"
import { type Place, refuse } from "./Outcome.ts"

const readBytes = 64 * 1024

const trailerBytes = 8
const trailerMark = 0x4d524231

const trailerOf = (sum: number): Buffer => {
  const trailer = Buffer.alloc(trailerBytes)
  trailer.writeUInt32BE(trailerMark, 0)
  trailer.writeUInt32BE(sum, 4)
  return trailer
}

const damaged = (operation: string, file: string, what: string) =>
  refuse(place(operation), `${file} is damaged: ${what}. Put a whole copy of it back, or let the request go`, false)

const place = (operation: string): Place => ({ port: "BlobStore", operation })

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : ""

/** Trying again can help when room is made. */
const retryableCodes: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EMFILE", "ENFILE"])

const unavailable = (operation: string, id: string, error: unknown): FabricUnavailable => {
  // Made by this file: it says what happened better than we could here.
  if (error instanceof FabricUnavailable) return error
  const reason = error instanceof Error ? error.message : String(error)
  return refuse(place(operation), `blob ${id}: ${reason}`, retryableCodes.has(codeOf(error)))
}

const isId = (id: string) => /^[A-Za-z0-9._-]{1,100}$/.test(id) && id !== "." && id !== ".."

const requireId = (operation: string, id: string): void => {
  if (!isId(id)) throw refuse(place(operation), `${JSON.stringify(id.slice(0, 120))} is no id of a blob`, false)
}

const syncFolder = async (folder: string): Promise<void> => {
  const handle = await fs.open(folder, "r")
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Finishes that wait together share one sync of the folder. */
const sharedFolderSync = (folder: string) => {
  let running: Promise<void> | undefined
  let next: Promise<void> | undefined
  const start = (): Promise<void> => {
    running = syncFolder(folder).finally(() => {
      running = undefined
    })
    return running
  }
  return (): Promise<void> => {
    if (running === undefined) return start()
    // The running one may have begun before this caller's file was named.
    next ??= running
      .catch(() => undefined)
      .then(() => {
        next = undefined
        return start()
      })
    return next
  }
}

interface Folders {
  readonly whole: string
  readonly partial: string
  /** Of the process: what another one left unfinished under the same id is not in the way. */
  readonly writerId: string
  readonly syncWhole: () => Promise<void>
}

const writer = async ({ whole, partial, writerId, syncWhole }: Folders, id: string): Promise<BlobWriter> => {
  const temporary = path.join(partial, `${writerId}-${id}`)
  const target = path.join(whole, id)
  const handle = await fs.open(temporary, "wx+")
  CrashPoint.hit("store.blob.created")
  let bytes = 0
  let sum = 0
  let state: "Open" | "Broken" | "Ending" = "Open"

  const requireOpen = (operation: string) => {
    if (state === "Open") return
    const reason = state === "Broken" ? "damaged by a failed write" : "finished or aborted"
    throw refuse(place(operation), `blob ${id} is ${reason}`, false)
  }

  const write = async (chunk: Uint8Array): Promise<void> => {
    requireOpen("write")
    try {
      let offset = 0
      while (offset < chunk.byteLength) {
        offset += (await handle.write(chunk, offset, chunk.byteLength - offset, bytes + offset)).bytesWritten
      }
      bytes += chunk.byteLength
      sum = crc32(chunk, sum)
      CrashPoint.hit("store.blob.written")
    } catch (error) {
      state = "Broken"
      throw error
    }
  }

  const readBack = async (offset: number, bytesMax: number): Promise<Uint8Array> => {
    const length = Math.max(0, Math.min(bytesMax, bytes - offset))
    const chunk = new Uint8Array(length)
    if (length === 0) return chunk
    const { bytesRead } = await handle.read(chunk, 0, length, offset)
    return bytesRead === length ? chunk : chunk.subarray(0, bytesRead)
  }

  /** Not awaited: until `finish` and `abort` have resolved, `readBack` must find the file open. */
  const closeLater = () => void handle.close().catch(() => undefined)

  const finish = async (): Promise<number> => {
    requireOpen("finish")
    state = "Ending"
    try {
      await handle.write(trailerOf(sum), 0, trailerBytes, bytes)
      CrashPoint.hit("store.blob.beforeSync")
      await handle.sync()
      CrashPoint.hit("store.blob.afterSync")
      // Unlike a rename, a link refuses to replace a blob of the same id.
      await fs.link(temporary, target)
      CrashPoint.hit("store.blob.afterLink")
      await fs.rm(temporary, { force: true })
      CrashPoint.hit("store.blob.beforeFolderSync")
      await syncWhole()
      CrashPoint.hit("store.blob.afterFolderSync")
      return bytes
    } catch (error) {
      await fs.rm(temporary, { force: true })
      throw error
    } finally {
      closeLater()
    }
  }

  const abort = async (): Promise<void> => {
    if (state === "Ending") return
    state = "Ending"
    await fs.rm(temporary, { force: true })
    closeLater()
  }

  const wrapped = <A>(operation: string, promise: Promise<A>): Promise<A> =>
    promise.catch((error: unknown) => {
      throw unavailable(operation, id, error)
    })

  return {
    write: (chunk) => wrapped("write", write(chunk)),
    readBack: (offset, bytesMax) => wrapped("readBack", readBack(offset, bytesMax)),
    finish: () => wrapped("finish", finish()),
    abort: () => wrapped("abort", abort())
  }
}

async function* readFile(file: string, id: string, offset: number): AsyncGenerator<Uint8Array> {
  let handle: fs.FileHandle | undefined
  try {
    handle = await fs.open(file, "r")
    const end = (await handle.stat()).size - trailerBytes
    if (end < 0) throw damaged("read", file, "it is shorter than the end of every blob")
    const trailer = Buffer.alloc(trailerBytes)
    await handle.read(trailer, 0, trailerBytes, end)
    let sum = 0
    let position = offset
    while (true) {
      const chunk = new Uint8Array(Math.max(0, Math.min(readBytes, end - position)))
      const { bytesRead } = await handle.read(chunk, 0, chunk.length, position)
      if (bytesRead < chunk.length) throw damaged("read", file, `it ended at byte ${position + bytesRead} of ${end}`)
      position += bytesRead
      // From the middle on only who read the beginning can tell.
      if (offset === 0) sum = crc32(chunk, sum)
      if (position >= end && offset === 0 && !trailer.equals(trailerOf(sum))) {
        throw damaged("read", file, `its ${end} bytes do not match the checksum at byte ${end}`)
      }
      if (bytesRead > 0) yield chunk
      if (position >= end) return
    }
  } catch (error) {
    throw unavailable("read", id, error)
  } finally {
    await handle?.close()
  }
}

const untouchedMs = 24 * 3_600_000

/** By the clock that dates the files, which need not be this machine's. */
const removeUntouched = async (partial: string, writerId: string): Promise<void> => {
  const probe = path.join(partial, writerId)
  await fs.writeFile(probe, "")
  const { mtimeMs: nowMs } = await fs.stat(probe)
  await fs.rm(probe, { force: true })
  for (const name of await fs.readdir(partial)) {
    const file = path.join(partial, name)
    const found = await fs.stat(file).catch((error: unknown) => {
      // Finished, given up, or removed by another that starts.
      if (codeOf(error) === "ENOENT") return undefined
      throw error
    })
    if (found !== undefined && nowMs - found.mtimeMs > untouchedMs) await fs.rm(file, { force: true })
  }
}

/** Makes the folders and removes what was never finished. `isShared`: other processes may be writing there. */
export const make = Effect.fnUntraced(function* (
  directory: string,
  { isShared }: { readonly isShared: boolean }
): Effect.fn.Return<BlobStore["Service"], FabricUnavailable> {
  const writerId = randomUUID()
  const whole = path.join(directory, "blobs")
  const partial = path.join(directory, "blobs-partial")
  yield* Effect.tryPromise({
    try: async () => {
      if (!isShared) await fs.rm(partial, { recursive: true, force: true })
      await fs.mkdir(partial, { recursive: true })
      await fs.mkdir(whole, { recursive: true })
      if (isShared) await removeUntouched(partial, writerId)
      await syncFolder(directory)
    },
    catch: (error) => unavailable("open", "folder", error)
  })
  const folders: Folders = { whole, partial, writerId, syncWhole: sharedFolderSync(whole) }

  const attempt = <A>(operation: string, id: string, run: (file: string) => Promise<A>) =>
    Effect.tryPromise({
      try: async () => {
        requireId(operation, id)
        return await run(path.join(whole, id))
      },
      catch: (error) => unavailable(operation, id, error)
    })

  const exists = async (file: string): Promise<boolean> =>
    fs.access(file).then(
      () => true,
      () => false
    )

  return {
    create: async (id) => {
      try {
        requireId("create", id)
        if (await exists(path.join(whole, id))) throw refuse(place("create"), `blob ${id} exists already`, false)
        return await writer(folders, id)
      } catch (error) {
        throw unavailable("create", id, error)
      }
    },
    read: (id, offset = 0) => {
      requireId("read", id)
      return readFile(path.join(whole, id), id, offset)
    },
    size: (id) =>
      attempt("size", id, async (file) => {
        try {
          const size = (await fs.stat(file)).size - trailerBytes
          if (size < 0) throw damaged("size", file, "it is shorter than the end of every blob")
          return size
        } catch (error) {
          if (codeOf(error) === "ENOENT") return undefined
          throw error
        }
      }),
    remove: (id) => attempt("remove", id, (file) => fs.rm(file, { force: true })),
    list: () =>
      Effect.tryPromise({ try: () => fs.readdir(whole), catch: (error) => unavailable("list", "folder", error) })
  }
})
