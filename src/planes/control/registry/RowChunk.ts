/**
 * Some records as columns, for a file: ids, numbers, texts of their own, and texts that several have.
 *
 * Law: C1 what was written comes back in the order of the writing, each kind by itself (`property-tests/RegistryRows.laws.test.ts`).
 *
 * @module
 */
import type { IdWords } from "./IdRows.ts"

export interface RowChunk {
  readonly count: number
  readonly ids: Uint32Array
  readonly numbers: Float64Array
  readonly texts: ReadonlyArray<string>
  /** Texts that a number stands for, its place in here. */
  readonly shared: ReadonlyArray<string>
}

const wordsOfAnId = 4

/** The columns are written for each record in the same order in which they are read. */
export class ChunkWriter {
  readonly #ids: Array<number> = []
  readonly #numbers: Array<number> = []
  readonly #texts: Array<string> = []
  readonly #shared = new Map<string, number>()
  #count = 0

  get count(): number {
    return this.#count
  }

  /** A record is whole. */
  next(): void {
    this.#count += 1
  }

  id(words: IdWords): void {
    for (let index = 0; index < wordsOfAnId; index++) this.#ids.push(words[index]!)
  }

  number(value: number): void {
    this.#numbers.push(value)
  }

  text(text: string): void {
    this.#texts.push(text)
  }

  shared(text: string): void {
    const known = this.#shared.get(text)
    const place = known ?? this.#shared.size
    if (known === undefined) this.#shared.set(text, place)
    this.#numbers.push(place)
  }

  chunk(): RowChunk {
    return {
      count: this.#count,
      ids: Uint32Array.from(this.#ids),
      numbers: Float64Array.from(this.#numbers),
      texts: this.#texts,
      shared: [...this.#shared.keys()]
    }
  }
}

export class ChunkReader {
  readonly #chunk: RowChunk
  #ids = 0
  #numbers = 0
  #texts = 0

  constructor(chunk: RowChunk) {
    this.#chunk = chunk
  }

  get count(): number {
    return this.#chunk.count
  }

  id(into: IdWords): void {
    for (let index = 0; index < wordsOfAnId; index++) into[index] = this.#chunk.ids[this.#ids++]!
  }

  number(): number {
    return this.#chunk.numbers[this.#numbers++]!
  }

  text(): string {
    return this.#chunk.texts[this.#texts++]!
  }

  shared(): string {
    return this.#chunk.shared[this.number()]!
  }
}
