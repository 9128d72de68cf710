/**
 * What is common to the stored records of the registry: how a text becomes a record, and the few records that do not
 * have the usual form.
 *
 * A record has the usual form when it is what this Millrace writes: ids in small letters, times as `toISOString` writes
 * them. It is kept as numbers, and made anew each time it is read. Every other readable record is kept as it was decoded.
 *
 * Laws (`property-tests/RegistryRows.laws.test.ts`): S3 whatever its form, a record is read as its schema decodes what was put
 * last; S4 one that the schema refuses is told when it is put, with the reason, and is not there.
 *
 * @module
 */
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"

export interface Stored<A> {
  readonly value: A
  readonly revision: number
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

  protected abstract isPacked(id: string): boolean
  protected abstract packedCount(): number
  protected abstract packedIds(): Iterable<string>
  protected abstract unpack(id: string): Stored<A> | undefined
  protected abstract unpackAndForget(id: string): void
  /** In place of what was packed under the id. False: that takes the schema to say. Nothing has changed then. */
  protected abstract packText(id: string, text: string, revision: number): boolean
  /** Nothing is packed under the id. False: it has not the usual form. Nothing has changed then. */
  protected abstract packRecord(id: string, record: A, text: string, revision: number): boolean
}
