/**
 * What is common to the stored records of the registry: how a text becomes a record, and the few records that do not
 * have the usual form.
 *
 * A record has the usual form when it is what this Millrace writes: ids in small letters, times as `toISOString` writes
 * them. It is kept as numbers, and made anew each time it is read. Every other readable record is kept as it was decoded.
 *
 * Laws (`property-tests/RegistryRows.laws.test.ts`): S3 whatever its form, a record is read as its schema decodes what was put
 * last; S4 one that the schema refuses is told when it is put, with the reason, and is not there; S5 records made of the
 * chunks of others are the same.
 *
 * @module
 */
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import { ChunkReader, ChunkWriter, type RowChunk } from "./RowChunk.ts"

export interface Stored<A> {
  readonly value: A
  readonly revision: number
}

export interface StoredChunk extends RowChunk {
  /** `usual`: packed rows; `odd`: ids and texts. */
  readonly form: "usual" | "odd"
}

export interface Unreadable {
  readonly id: string
  readonly reason: string
}

export type Decode<A> = (text: string) => Result.Result<A, Schema.SchemaError>

export abstract class StoredRecords<A extends object> {
  readonly #decode: Decode<A>
  readonly #odd = new Map<string, Stored<A>>()

  constructor(decode: Decode<A>) {
    this.#decode = decode
  }

  get(id: string): Stored<A> | undefined {
    return this.unpack(id) ?? (this.#odd.size === 0 ? undefined : this.#odd.get(id))
  }

  has(id: string): boolean {
    return this.isPacked(id) || this.#odd.has(id)
  }

  /** Answers why it cannot be read; then it is not there any more. */
  put(id: string, text: string, revision: number): string | undefined {
    if (this.packText(id, text, revision)) {
      if (this.#odd.size > 0) this.#odd.delete(id)
      return undefined
    }
    this.remove(id)
    const decoded = this.#decode(text)
    if (Result.isFailure(decoded)) return decoded.failure.message
    if (!this.packRecord(id, decoded.success, text, revision)) this.#odd.set(id, { value: decoded.success, revision })
    return undefined
  }

  remove(id: string): void {
    this.unpackAndForget(id)
    if (this.#odd.size > 0) this.#odd.delete(id)
  }

  get size(): number {
    return this.packedCount() + this.#odd.size
  }

  /** In no order. */
  ids(): ReadonlyArray<string> {
    return [...this.packedIds(), ...this.#odd.keys()]
  }

  odd(): Iterable<readonly [id: string, stored: Stored<A>]> {
    return this.#odd
  }

  /**
   * Those of the usual form, in chunks of at most `rowsMax`, then the others, as texts for `put`. Between two chunks
   * anything may change: what was there all the time is told, as it was at some moment.
   */
  *chunks(rowsMax: number, textOf: (value: A) => string): Generator<StoredChunk> {
    for (let from = 0; from >= 0; ) {
      const into = new ChunkWriter()
      from = this.writePacked(into, from, rowsMax)
      if (into.count > 0) yield { form: "usual", ...into.chunk() }
    }
    const into = new ChunkWriter()
    for (const [id, { value, revision }] of this.#odd) {
      into.text(id)
      into.text(textOf(value))
      into.number(revision)
      into.next()
    }
    if (into.count > 0) yield { form: "odd", ...into.chunk() }
  }

  /** Answers the ids of those that cannot be read, and why; they are not there then. */
  putChunk(chunk: StoredChunk): ReadonlyArray<Unreadable> {
    const unreadable: Array<Unreadable> = []
    const from = new ChunkReader(chunk)
    for (let left = from.count; left > 0; left--) {
      const problem = chunk.form === "usual" ? this.packNext(from) : this.#putNext(from)
      if (problem !== undefined) unreadable.push(problem)
    }
    return unreadable
  }

  #putNext(from: ChunkReader): Unreadable | undefined {
    const id = from.text()
    const reason = this.put(id, from.text(), from.number())
    return reason === undefined ? undefined : { id, reason }
  }

  protected abstract isPacked(id: string): boolean
  protected abstract packedCount(): number
  protected abstract packedIds(): Iterable<string>
  protected abstract unpack(id: string): Stored<A> | undefined
  protected abstract unpackAndForget(id: string): void
  /** In place of what was packed under the id. False: that takes the schema to say. Nothing has changed then. */
  protected abstract packText(id: string, text: string, revision: number): boolean
  /** Nothing is packed under the id. False: it has not the usual form. Nothing has changed then. */
  protected abstract packRecord(id: string, record: A, text: string, revision: number): boolean
  /** From this row on; answers the one that is next, and -1 when there is none. */
  protected abstract writePacked(into: ChunkWriter, from: number, rowsMax: number): number
  /** One that `writePacked` wrote, in place of what is packed under its id. */
  protected abstract packNext(from: ChunkReader): Unreadable | undefined
}
