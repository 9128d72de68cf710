/**
 * The fingerprint of a run: 64 bits over every event and every decision in their order. Two runs with the same
 * fingerprint did the same, with a chance of error of about 2^-64; it is no protection against a forger.
 *
 * @module
 */

export class LogHash {
  readonly #number = new Float64Array(1)
  readonly #words = new Int32Array(this.#number.buffer)
  #low = 0x2545f491
  #high = 0x6c078965 | 0
  /** Facts that went in. */
  count = 0

  add(kind: number, atMs: number, first: number, second: number): void {
    this.count += 1
    this.#word(kind)
    this.#double(atMs)
    this.#double(first)
    this.#double(second)
  }

  text(value: string): void {
    for (let index = 0; index < value.length; index++) this.#word(value.charCodeAt(index))
    this.#word(-value.length)
  }

  /** 16 hexadecimal digits. */
  get hex(): string {
    return [finish(this.#high ^ this.count), finish(this.#low)]
      .map((word) => (word >>> 0).toString(16).padStart(8, "0"))
      .join("")
  }

  #double(value: number): void {
    // Whole small numbers are what most facts are made of.
    if (value === (value | 0)) return this.#word(value)
    this.#number[0] = value
    this.#word(this.#words[0]!)
    this.#word(this.#words[1]!)
  }

  #word(value: number): void {
    const low = Math.imul(this.#low ^ value, 0x01000193)
    const high = Math.imul(this.#high ^ ((value << 16) | (value >>> 16)), 0x85ebca6b)
    this.#low = (low ^ (high >>> 15)) | 0
    this.#high = ((high << 7) | (high >>> 25)) ^ low
  }
}

const finish = (word: number): number => {
  const once = Math.imul(word ^ (word >>> 16), 0x85ebca6b)
  const twice = Math.imul(once ^ (once >>> 13), 0xc2b2ae35)
  return twice ^ (twice >>> 16)
}
