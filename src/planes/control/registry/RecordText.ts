/**
 * Reads a record's text from front to back, as long as it is written the way Millrace writes it: members in order, no white
 * space, nothing escaped. Whatever is written in another way is not for here: JSON and the schema read that.
 *
 * Laws: see `StoredRecords` (S3: what is read here is what they would read).
 *
 * @module
 */
import { type IdWords, isStandard, parseId } from "./IdRows.ts"

const idLength = 36
const timeLength = 24
/** So many digits are a whole number for certain. */
const digitsMax = 15
const zero = 0x30
const quote = 0x22
const backslash = 0x5c

const daysBefore = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334]
const daysOf = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
/** From the year 0 to 1970. */
const daysToEpoch = 719_528

const isLeap = (year: number): boolean => year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)

/** -1: other than digits. */
const numberAt = (text: string, from: number, to: number): number => {
  let value = 0
  for (let index = from; index < to; index++) {
    const digit = text.charCodeAt(index) - zero
    if (!(digit >= 0 && digit <= 9)) return -1
    value = 10 * value + digit
  }
  return value
}

/** Unix ms of a time as `toISOString` writes it in the years 0 to 9999; undefined: not written like that. */
export const timeAt = (text: string, at: number): number | undefined => {
  const has = (offset: number, mark: string) => text[at + offset] === mark
  if (
    !has(4, "-") ||
    !has(7, "-") ||
    !has(10, "T") ||
    !has(13, ":") ||
    !has(16, ":") ||
    !has(19, ".") ||
    !has(23, "Z")
  ) {
    return undefined
  }
  const year = numberAt(text, at, at + 4)
  const month = numberAt(text, at + 5, at + 7)
  const day = numberAt(text, at + 8, at + 10)
  const hour = numberAt(text, at + 11, at + 13)
  const minute = numberAt(text, at + 14, at + 16)
  const second = numberAt(text, at + 17, at + 19)
  const ms = numberAt(text, at + 20, at + 23)
  if (year < 0 || month < 1 || month > 12 || day < 1 || hour < 0 || hour > 23) return undefined
  if (minute < 0 || minute > 59 || second < 0 || second > 59 || ms < 0) return undefined
  const leapDay = isLeap(year) ? 1 : 0
  if (day > daysOf[month - 1]! + (month === 2 ? leapDay : 0)) return undefined
  // Leap days of the years before this one; the year 0 is one of them.
  const leapDays =
    year === 0 ? 0 : 1 + Math.floor((year - 1) / 4) - Math.floor((year - 1) / 100) + Math.floor((year - 1) / 400)
  const days = 365 * year + leapDays + daysBefore[month - 1]! + (month > 2 ? leapDay : 0) + day - 1 - daysToEpoch
  return ((days * 24 + hour) * 60 + minute) * 60_000 + second * 1_000 + ms
}

/** Unix ms; undefined: not as `toISOString` writes it in the years 0 to 9999. */
export const timeOf = (text: string): number | undefined => (text.length === timeLength ? timeAt(text, 0) : undefined)

/** What it answers after the first part that is not there means nothing: `isAsWritten` tells in the end. */
export class RecordText {
  #text = ""
  #at = 0
  #isAsWritten = true

  begin(text: string): void {
    this.#text = text
    this.#at = 0
    this.#isAsWritten = true
  }

  isAsWritten(): boolean {
    return this.#isAsWritten
  }

  /** Where the next part begins. */
  at(): number {
    return this.#at
  }

  isAtEnd(): boolean {
    return this.#at === this.#text.length
  }

  /** Exactly this comes next. */
  expect(literal: string): void {
    if (this.#text.startsWith(literal, this.#at)) this.#at += literal.length
    else this.#isAsWritten = false
  }

  has(literal: string): boolean {
    return this.#text.startsWith(literal, this.#at)
  }

  id(into: IdWords): void {
    if (!parseId(this.#text, into, this.#at) || !isStandard(into)) this.#isAsWritten = false
    this.#at += idLength
  }

  time(): number {
    const ms = timeAt(this.#text, this.#at)
    if (ms === undefined) this.#isAsWritten = false
    this.#at += timeLength
    return ms ?? 0
  }

  /** Up to the next quote. */
  string(): string {
    const from = this.#at
    for (; this.#at < this.#text.length; this.#at++) {
      const code = this.#text.charCodeAt(this.#at)
      if (code === quote) return this.#text.slice(from, this.#at)
      if (code === backslash || code < 0x20) break
    }
    this.#isAsWritten = false
    return ""
  }

  /** From 0 on. */
  integer(): number {
    const from = this.#at
    let value = 0
    for (; this.#at < this.#text.length; this.#at++) {
      const digit = this.#text.charCodeAt(this.#at) - zero
      if (!(digit >= 0 && digit <= 9)) break
      value = 10 * value + digit
    }
    const digits = this.#at - from
    const isOne = digits > 0 && digits <= digitsMax && (digits === 1 || this.#text.charCodeAt(from) !== zero)
    if (!isOne) this.#isAsWritten = false
    return value
  }
}
