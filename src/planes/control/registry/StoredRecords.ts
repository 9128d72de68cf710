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

/** The usual form of an id; the schema takes more. */
const usualId = /^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
export const isUsualId = (value: unknown): value is string => typeof value === "string" && usualId.test(value)

/** Unix ms; undefined: not in the usual form. */
export const timeOf = (text: string): number | undefined => {
  const ms = text.length === 24 ? Date.parse(text) : Number.NaN
  return Number.isFinite(ms) && new Date(ms).toISOString() === text ? ms : undefined
}

/** Members by name; undefined: it is no JSON object. */
export const parseMembers = (text: string): Readonly<Record<string, unknown>> | undefined => {
  try {
    const parsed: unknown = JSON.parse(text)
    // An object that JSON.parse made has no other members than those of the text.
    return typeof parsed === "object" && parsed !== null ? (parsed as Readonly<Record<string, unknown>>) : undefined
  } catch {
    return undefined
  }
}

const specMember = ',"spec":{'

/** A record whose last member is `spec`, and the text of that; undefined: it is another one. */
export const splitSpec = (
  text: string
): { readonly members: Readonly<Record<string, unknown>>; readonly specText: string } | undefined => {
  // Inside a text the quotes would be escaped, so this is a member.
  const at = text.indexOf(specMember)
  if (at < 0 || !text.endsWith("}}")) return undefined
  const members = parseMembers(`${text.slice(0, at)}}`)
  return members && { members, specText: text.slice(at + specMember.length - 1, -1) }
}

/** `Packed`: what a record is when it is to be kept as numbers. */
export abstract class StoredRecords<A extends object> {
  readonly #decode: Decode<A>
  readonly #odd = new Map<string, Stored<A>>()

  constructor(decode: Decode<A>) {
    this.#decode = decode
  }

  get(id: string): Stored<A> | undefined {
    return this.unpack(id) ?? (this.#odd.size === 0 ? undefined : this.#odd.get(id))
  }

  /** Answers why it cannot be read; then it is not there any more. */
  put(id: string, text: string, revision: number): string | undefined {
    this.remove(id)
    if (this.packText(id, text, revision)) return undefined
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

  odd(): Iterable<readonly [id: string, stored: Stored<A>]> {
    return this.#odd
  }

  protected abstract packedCount(): number
  protected abstract unpack(id: string): Stored<A> | undefined
  protected abstract unpackAndForget(id: string): void
  /** False: that takes the schema to say. Nothing has changed then. */
  protected abstract packText(id: string, text: string, revision: number): boolean
  /** False: it has not the usual form. Nothing has changed then. */
  protected abstract packRecord(id: string, record: A, text: string, revision: number): boolean
}
