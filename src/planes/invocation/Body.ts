/**
 * A body of a call or an answer, wherever its bytes are: in memory, in a finished blob, or in a blob that is still being
 * written while somebody already reads it.
 *
 * @module
 */
import type { BlobStore, BlobWriter } from "../fabric/BlobStore.ts"

export type Body =
  | { readonly kind: "inline"; readonly bytes: Uint8Array }
  | { readonly kind: "blob"; readonly id: string }
  | SpoolBody

export interface SpoolBody {
  readonly kind: "spool"
  readonly id: string
  readonly spool: Spool
}

export const emptyBytes = new Uint8Array(0)
export const emptyBody: Body = { kind: "inline", bytes: emptyBytes }

const chunkBytes = 64 * 1024

/** A body that is still coming in. Readers follow the writer; each starts at the first byte. */
export class Spool {
  readonly #writer: BlobWriter
  #written = 0
  #state: "open" | "complete" | "broken" = "open"
  #waiting: Array<() => void> = []
  #finishing: Promise<number> | undefined

  constructor(writer: BlobWriter) {
    this.#writer = writer
  }

  get state(): "open" | "complete" | "broken" {
    return this.#state
  }

  get written(): number {
    return this.#written
  }

  async write(chunk: Uint8Array): Promise<void> {
    await this.#writer.write(chunk)
    this.#written += chunk.length
    this.#wake()
  }

  /** On stable storage when it resolves; answers the size. */
  async finish(): Promise<number> {
    this.#finishing = this.#writer.finish()
    const size = await this.#finishing
    this.#state = "complete"
    this.#wake()
    return size
  }

  async abort(): Promise<void> {
    this.#state = "broken"
    this.#wake()
    await this.#writer.abort()
  }

  /** Nobody wants it any more. When it resolves, nothing is written any more, and what is there can be removed. */
  async discard(): Promise<void> {
    if (this.#finishing !== undefined) await this.#finishing.catch(() => {})
    else if (this.#state === "open") await this.abort()
  }

  /** Ends when the body is complete; throws `BodyBroken` when it never will be. */
  async *chunks(finished: (offset: number) => AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    let offset = 0
    for (;;) {
      if (this.#state === "broken") throw new BodyBroken()
      // The temporary file has its final name now, so the rest is read from there.
      if (this.#state === "complete") return yield* finished(offset)
      if (offset < this.#written) {
        const bytes = await this.#writer.readBack(offset, chunkBytes)
        offset += bytes.length
        if (bytes.length > 0) yield bytes
        continue
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }
}

/** The caller went away before its body was complete. */
export class BodyBroken extends Error {
  constructor() {
    super("the body of the request ended before it was complete")
  }
}

export async function* chunks(blobs: BlobStore["Service"], body: Body): AsyncGenerator<Uint8Array> {
  switch (body.kind) {
    case "inline":
      for (let at = 0; at < body.bytes.length; at += chunkBytes) yield body.bytes.subarray(at, at + chunkBytes)
      return
    case "blob":
      return yield* blobs.read(body.id)
    case "spool":
      return yield* body.spool.chunks((offset) => blobs.read(body.id, offset))
  }
}
