/**
 * Texts that come out of a decoded record share one long text of the whole record and keep it in memory. Those that stay
 * are made their own here; those that many requests have in common are one text.
 *
 * @module
 */

/** Names of tenants, functions and versions, and methods: few, but a caller chooses paths. */
const sharedCountMax = 4_096
const sharedLengthMax = 200

export class Texts {
  readonly #shared = new Map<string, string>()

  /** For what many requests have in common. */
  shared(text: string): string {
    const known = this.#shared.get(text)
    if (known !== undefined) return known
    const own = ownText(text)
    if (this.#shared.size < sharedCountMax && text.length <= sharedLengthMax) this.#shared.set(own, own)
    return own
  }
}

/** The same text, and nothing else behind it. */
export const ownText = (text: string): string => Buffer.from(text, "utf8").toString("utf8")
