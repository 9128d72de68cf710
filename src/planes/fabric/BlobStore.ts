/**
 * Bodies that are too large for the log: files, written whole and fsynced (file and folder) before they are named.
 *
 * Laws (`tests/fabric/blobStoreLaws.ts`): B1 a finished blob is read back byte for byte, also after a kill. B2 an
 * unfinished one is never visible and leaves nothing after the next start. B3 removing is idempotent. B4 reading starts
 * anywhere and backpressure reaches the file.
 *
 * @module
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { FabricUnavailable } from "./FabricError.ts"

/** One blob being written. Calls are in order; `write` resolves when more may come. */
export interface BlobWriter {
  readonly write: (chunk: Uint8Array) => Promise<void>
  /**
   * What was written so far, from `offset`, at most `bytesMax`; empty at the end of it. Works until `finish` or `abort`
   * has resolved, so that a body can be worked on while it still comes in.
   */
  readonly readBack: (offset: number, bytesMax: number) => Promise<Uint8Array>
  /** On stable storage when it resolves; answers the size in bytes. */
  readonly finish: () => Promise<number>
  /** Leaves nothing. */
  readonly abort: () => Promise<void>
}

export class BlobStore extends Context.Service<
  BlobStore,
  {
    /** `id`: 1 to 100 of `[A-Za-z0-9._-]`, chosen by the caller, unique. */
    readonly create: (id: string) => Promise<BlobWriter>
    readonly read: (id: string, offset?: number) => AsyncIterable<Uint8Array>
    readonly size: (id: string) => Effect.Effect<number | undefined, FabricUnavailable>
    readonly remove: (id: string) => Effect.Effect<void, FabricUnavailable>
    readonly list: () => Effect.Effect<ReadonlyArray<string>, FabricUnavailable>
  }
>()("millrace/planes/fabric/BlobStore") {}
