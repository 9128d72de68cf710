/**
 * A value on its way to whoever reads it: in the same process it arrives as it is, and it becomes bytes only where it
 * leaves the process or must last. A report of every start would otherwise be written and read a dozen times.
 *
 * Both ends hold the same object from then on, so nobody changes it.
 *
 * @module
 */
import type * as Result from "effect/Result"

/** Reads what came as bytes, or says why it cannot. Of a message that was made for this very reader it gives the value. */
export type Read<A> = (payload: Payload) => Result.Result<A, string>

export type Payload = Uint8Array | Message<unknown>

export class Message<out A> {
  /** Who can read it; see `valueFor`. */
  readonly #reader: unknown
  readonly #value: A
  #bytes: Uint8Array | undefined

  /** `value`: what `reader` would read from its JSON. */
  constructor(reader: Read<A>, value: A) {
    this.#reader = reader
    this.#value = value
  }

  /** As JSON; made when they are read for the first time. */
  get bytes(): Uint8Array {
    this.#bytes ??= Buffer.from(JSON.stringify(this.#value))
    return this.#bytes
  }

  /** Undefined: it was made for another reader, which may mean something else by the same fields. */
  valueFor<B>(reader: Read<B>): B | undefined {
    // The same reader is of the same type: the constructor took the value by it.
    return this.#reader === reader ? (this.#value as unknown as B) : undefined
  }
}

export const bytesOf = (payload: Payload): Uint8Array => (payload instanceof Message ? payload.bytes : payload)
