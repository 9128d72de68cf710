/**
 * Rows of numbers and ids by id, outside the engine's heap: about what their content takes, whatever their number, and
 * nothing for the garbage collector to walk through.
 *
 * An id is a UUID in its usual form, in small letters; no other text is one here. A row is a number from 0 on, good until
 * it is removed; later ones may get it again.
 *
 * Laws (`property-tests/RegistryRows.laws.test.ts`): I1 it is the same as a map from ids to lists of values. I2 a text that
 * is no such id is told, and an id comes back as the text that it was.
 *
 * @module
 */

/** What a row has beside its id. Fields of a kind are told by their number, from 0 on. */
export interface Layout {
  readonly ids: number
  /** Of 64 bits. */
  readonly floats: number
  /** Of 32 bits, with a sign. */
  readonly ints: number
}

interface Page {
  readonly words: Uint32Array
  readonly ints: Int32Array
  readonly floats: Float64Array
}

const pageBits = 8
const pageRows = 1 << pageBits
const wordsOfAnId = 4
const slotsMin = 64

/** By character code; -1: no hexadecimal digit in small letters. */
const digitOf = Int8Array.from({ length: 128 }, (_, code) =>
  code >= 0x30 && code <= 0x39 ? code - 0x30 : code >= 0x61 && code <= 0x66 ? code - 0x57 : -1
)
const codeOf = Uint8Array.from("0123456789abcdef", (digit) => digit.charCodeAt(0))
const dash = 0x2d
const idLength = 36
const isDashAt = (index: number): boolean => index === 8 || index === 13 || index === 18 || index === 23

/** The words of an id: four numbers of 32 bits. */
export type IdWords = Uint32Array

export const makeWords = (): IdWords => new Uint32Array(wordsOfAnId)

/** Below 0: other than digits. */
const digits4 = (text: string, at: number): number => {
  const first = digitOf[text.charCodeAt(at)] ?? -1
  const second = digitOf[text.charCodeAt(at + 1)] ?? -1
  const third = digitOf[text.charCodeAt(at + 2)] ?? -1
  const fourth = digitOf[text.charCodeAt(at + 3)] ?? -1
  return (first << 12) | (second << 8) | (third << 4) | fourth
}

const isDash = (text: string, at: number): boolean => text.charCodeAt(at) === dash

/** The id that begins at `at`. False: there is none, and `into` is anything. */
export const parseId = (text: string, into: IdWords, at = 0): boolean => {
  if (text.length < at + idLength) return false
  if (!isDash(text, at + 8) || !isDash(text, at + 13) || !isDash(text, at + 18) || !isDash(text, at + 23)) return false
  const a = digits4(text, at)
  const b = digits4(text, at + 4)
  const c = digits4(text, at + 9)
  const d = digits4(text, at + 14)
  const e = digits4(text, at + 19)
  const f = digits4(text, at + 24)
  const g = digits4(text, at + 28)
  const h = digits4(text, at + 32)
  if ((a | b | c | d | e | f | g | h) < 0) return false
  into[0] = (a << 16) | b
  into[1] = (c << 16) | d
  into[2] = (e << 16) | f
  into[3] = (g << 16) | h
  return true
}

/** The text is an id and nothing else. */
export const parseWholeId = (text: string, into: IdWords): boolean => text.length === idLength && parseId(text, into)

/** Whether the words are those of a UUID as RFC 9562 makes them: of version 1 to 8, in its variant. */
export const isStandard = (words: IdWords): boolean => {
  const version = (words[1]! >>> 12) & 15
  return version >= 1 && version <= 8 && words[2]! >>> 30 === 2
}

const written = Buffer.alloc(idLength, dash)

/** `words`: from `at` on. */
export const formatId = (words: Uint32Array, at = 0): string => {
  let digits = 0
  for (let index = 0; index < idLength; index++) {
    if (isDashAt(index)) continue
    const word = words[at + (digits >> 3)]!
    written[index] = codeOf[(word >>> (28 - 4 * (digits & 7))) & 15]!
    digits += 1
  }
  return written.toString("latin1")
}

const hashOf = (words: Uint32Array, at: number): number => {
  // Ids that were made one after the other share their beginnings.
  const mixed = Math.imul(words[at]! ^ Math.imul(words[at + 1]!, 0x85ebca6b), 0x9e3779b1) ^ words[at + 2]!
  return Math.imul(mixed ^ (mixed >>> 15) ^ words[at + 3]!, 0xc2b2ae35) >>> 0
}

/** For four numbers a call of `set` costs more than they do. */
const copyId = (from: Uint32Array, fromAt: number, to: Uint32Array, toAt: number): void => {
  to[toAt] = from[fromAt]!
  to[toAt + 1] = from[fromAt + 1]!
  to[toAt + 2] = from[fromAt + 2]!
  to[toAt + 3] = from[fromAt + 3]!
}

export class IdRows {
  readonly #rowWords: number
  readonly #floatsAt: number
  readonly #intsAt: number
  readonly #pages: Array<Page> = []
  /** Rows that are free below `#end`. */
  readonly #free: Array<number> = []
  #end = 0
  /** Row + 1 by hash, with the next ones behind it where that place was taken; 0: nothing. Its length is a power of two. */
  #slots = new Int32Array(slotsMin)
  #size = 0

  constructor(layout: Layout) {
    this.#floatsAt = wordsOfAnId * (1 + layout.ids)
    this.#intsAt = this.#floatsAt + 2 * layout.floats
    // One more that says whether the row is taken, and whole pairs, so that floats lie where the engine wants them.
    this.#rowWords = 2 * Math.ceil((this.#intsAt + layout.ints + 1) / 2)
  }

  get size(): number {
    return this.#size
  }

  /** -1: there is none. */
  find(id: IdWords): number {
    const slot = this.#slotOf(id)
    return this.#slots[slot]! - 1
  }

  /** The row of the id, a new one with zeros when there was none. */
  take(id: IdWords): number {
    const found = this.find(id)
    if (found >= 0) return found
    if (2 * (this.#size + 1) > this.#slots.length) this.#grow()
    const row = this.#free.pop() ?? this.#end++
    if (row >> pageBits >= this.#pages.length) this.#pages.push(this.#makePage())
    const { words } = this.#pageOf(row)
    const at = this.#startOf(row)
    copyId(id, 0, words, at)
    words[at + this.#rowWords - 1] = 1
    this.#slots[this.#slotOf(id)] = row + 1
    this.#size += 1
    return row
  }

  remove(row: number): void {
    const { words } = this.#pageOf(row)
    const at = this.#startOf(row)
    this.#clearSlot(this.#slotOf(words.subarray(at, at + wordsOfAnId)))
    words.fill(0, at, at + this.#rowWords)
    this.#free.push(row)
    this.#size -= 1
  }

  /** In no order that means anything. The row may be removed by `visit`, and none may be added. */
  forEach(visit: (row: number) => void): void {
    for (let row = 0; row < this.#end; row++) {
      if (this.#pageOf(row).words[this.#startOf(row) + this.#rowWords - 1] === 1) visit(row)
    }
  }

  /** Of the rows from `from` on the first that is taken; -1: there is none. */
  nextRow(from: number): number {
    for (let row = from; row < this.#end; row++) {
      if (this.#pageOf(row).words[this.#startOf(row) + this.#rowWords - 1] === 1) return row
    }
    return -1
  }

  /** Of all rows, in no order that means anything. */
  ids(): ReadonlyArray<string> {
    const found: Array<string> = []
    this.forEach((row) => void found.push(this.id(row)))
    return found
  }

  /** The id of the row itself. */
  id(row: number): string {
    return formatId(this.#pageOf(row).words, this.#startOf(row))
  }

  /** Into `into`: the id of the row itself. */
  readId(row: number, into: IdWords): void {
    const at = this.#startOf(row)
    copyId(this.#pageOf(row).words, at, into, 0)
  }

  readIdField(row: number, field: number, into: IdWords): void {
    const at = this.#startOf(row) + wordsOfAnId * (1 + field)
    copyId(this.#pageOf(row).words, at, into, 0)
  }

  idField(row: number, field: number): string {
    return formatId(this.#pageOf(row).words, this.#startOf(row) + wordsOfAnId * (1 + field))
  }

  setIdField(row: number, field: number, id: IdWords): void {
    copyId(id, 0, this.#pageOf(row).words, this.#startOf(row) + wordsOfAnId * (1 + field))
  }

  float(row: number, field: number): number {
    return this.#pageOf(row).floats[(this.#startOf(row) + this.#floatsAt) / 2 + field]!
  }

  setFloat(row: number, field: number, value: number): void {
    this.#pageOf(row).floats[(this.#startOf(row) + this.#floatsAt) / 2 + field] = value
  }

  int(row: number, field: number): number {
    return this.#pageOf(row).ints[this.#startOf(row) + this.#intsAt + field]!
  }

  setInt(row: number, field: number, value: number): void {
    this.#pageOf(row).ints[this.#startOf(row) + this.#intsAt + field] = value
  }

  #makePage(): Page {
    const bytes = new ArrayBuffer(4 * this.#rowWords * pageRows)
    return { words: new Uint32Array(bytes), ints: new Int32Array(bytes), floats: new Float64Array(bytes) }
  }

  #pageOf(row: number): Page {
    return this.#pages[row >> pageBits]!
  }

  #startOf(row: number): number {
    return (row & (pageRows - 1)) * this.#rowWords
  }

  /** Where the id is, or belongs. */
  #slotOf(id: IdWords): number {
    const slots = this.#slots
    const mask = slots.length - 1
    let slot = hashOf(id, 0) & mask
    while (slots[slot] !== 0) {
      const row = slots[slot]! - 1
      const { words } = this.#pageOf(row)
      const at = this.#startOf(row)
      if (words[at] === id[0] && words[at + 1] === id[1] && words[at + 2] === id[2] && words[at + 3] === id[3]) break
      slot = (slot + 1) & mask
    }
    return slot
  }

  #hashOfRow(row: number): number {
    return hashOf(this.#pageOf(row).words, this.#startOf(row))
  }

  /** What lies behind it and belongs further to the front moves up: there are no gaps to look across. */
  #clearSlot(slot: number): void {
    const slots = this.#slots
    const mask = slots.length - 1
    let gap = slot
    for (let next = (slot + 1) & mask; slots[next] !== 0; next = (next + 1) & mask) {
      const home = this.#hashOfRow(slots[next]! - 1) & mask
      if (((next - home) & mask) < ((next - gap) & mask)) continue
      slots[gap] = slots[next]!
      gap = next
    }
    slots[gap] = 0
  }

  #grow(): void {
    const before = this.#slots
    const slots = new Int32Array(2 * before.length)
    const mask = slots.length - 1
    for (const entry of before) {
      if (entry === 0) continue
      let slot = this.#hashOfRow(entry - 1) & mask
      while (slots[slot] !== 0) slot = (slot + 1) & mask
      slots[slot] = entry
    }
    this.#slots = slots
  }
}
