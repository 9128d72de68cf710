/**
 * Who may begin before the body of its call is there. Such a call holds a slot of its function for as long as its caller
 * takes to send, so at most half of the slots of a version, and one at least, are held like that; the others are taken in
 * first and begin when they are whole, or when it is their turn.
 *
 * V1 of a version no more than that begin early at a time. V2 whoever asked first begins first. V3 whoever left, or was
 * begun and left, holds nothing.
 *
 * @module
 */

interface Arriving {
  heldCount: number
  /** In the order in which they asked. */
  readonly waiting: Set<() => void>
}

/** Slots may come without a word to here. */
const lookAgainMs = 100

export class ArrivingBodies {
  readonly #slotsOf: (versionId: string) => number
  readonly #versions = new Map<string, Arriving>()
  #timer: NodeJS.Timeout | undefined

  constructor(slotsOf: (versionId: string) => number) {
    this.#slotsOf = slotsOf
  }

  /** Calls `begin` when it may begin, which may be at once. Answers how to leave: the body is there, or never will be. */
  ask(versionId: string, begin: () => void): () => void {
    const arriving = this.#versions.get(versionId) ?? { heldCount: 0, waiting: new Set() }
    this.#versions.set(versionId, arriving)
    let place: "waits" | "holds" | "left" = "waits"
    const take = () => {
      place = "holds"
      begin()
    }
    arriving.waiting.add(take)
    this.#look(versionId, arriving)
    return () => {
      if (place === "left") return
      if (place === "holds") arriving.heldCount--
      arriving.waiting.delete(take)
      place = "left"
      this.#look(versionId, arriving)
    }
  }

  #look(versionId: string, arriving: Arriving): void {
    for (const take of arriving.waiting) {
      if (arriving.heldCount >= Math.max(1, Math.floor(this.#slotsOf(versionId) / 2))) break
      arriving.heldCount++
      arriving.waiting.delete(take)
      take()
    }
    if (arriving.heldCount === 0 && arriving.waiting.size === 0) this.#versions.delete(versionId)
    if (arriving.waiting.size > 0) this.#timer ??= setTimeout(() => this.#lookAgain(), lookAgainMs).unref()
  }

  #lookAgain(): void {
    this.#timer = undefined
    for (const [versionId, arriving] of this.#versions) this.#look(versionId, arriving)
  }
}
