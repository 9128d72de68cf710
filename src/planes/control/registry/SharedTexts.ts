/**
 * Texts that many have, each kept once for as long as somebody has it. A number stands for a text; it is good until the
 * last one who has it has let go, and may stand for another text then.
 *
 * Laws (`property-tests/RegistryRows.laws.test.ts`): S1 equal texts have one number and different ones different numbers. S2
 * what a number stands for does not change while somebody has it, and afterwards nothing of it is left.
 *
 * @module
 */

interface Shared {
  readonly text: string
  owners: number
}

export class SharedTexts {
  readonly #numbers = new Map<string, number>()
  readonly #shared: Array<Shared | undefined> = []
  readonly #free: Array<number> = []

  get size(): number {
    return this.#numbers.size
  }

  /** Its number, when somebody has it. */
  find(text: string): number | undefined {
    return this.#numbers.get(text)
  }

  /** One more has it; its number. */
  take(text: string): number {
    const found = this.#numbers.get(text)
    if (found !== undefined) return this.share(found)
    const number = this.#free.pop() ?? this.#shared.length
    const own = flat(text)
    this.#shared[number] = { text: own, owners: 1 }
    this.#numbers.set(own, number)
    return number
  }

  /** One more has what it stands for. */
  share(number: number): number {
    this.#at(number).owners += 1
    return number
  }

  /** One fewer has it. True: it was the last one. */
  release(number: number): boolean {
    const shared = this.#at(number)
    shared.owners -= 1
    if (shared.owners > 0) return false
    this.#numbers.delete(shared.text)
    this.#shared[number] = undefined
    this.#free.push(number)
    return true
  }

  text(number: number): string {
    return this.#at(number).text
  }

  #at(number: number): Shared {
    const shared = this.#shared[number]
    if (shared === undefined) throw new Error(`the shared text ${number} was let go`)
    return shared
  }
}

/** Texts that stand for values. All who read one at the same time get the same object, and nobody's is not kept. */
export class SharedValues<Value extends object> extends SharedTexts {
  readonly #valueOf: (text: string) => Value
  readonly #values: Array<WeakRef<Value> | undefined> = []

  constructor(valueOf: (text: string) => Value) {
    super()
    this.#valueOf = valueOf
  }

  value(number: number): Value {
    const known = this.#values[number]?.deref()
    if (known !== undefined) return known
    const made = this.#valueOf(this.text(number))
    this.#values[number] = new WeakRef(made)
    return made
  }

  override release(number: number): boolean {
    const isGone = super.release(number)
    if (isGone) this.#values[number] = undefined
    return isGone
  }
}

/** A part of a text keeps the whole of it in memory; this is a text of its own. */
export const flat = (text: string): string =>
  text.isWellFormed() ? Buffer.from(text, "utf8").toString("utf8") : Buffer.from(text, "utf16le").toString("utf16le")
