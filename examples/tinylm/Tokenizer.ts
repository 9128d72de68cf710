/**
 * Text to token numbers and back: byte-level BPE over ASCII.
 *
 * Laws: T1 `decode(encode(text)) === text` for ASCII text. T2 each token decodes by itself, so a stream can be printed
 * token by token.
 *
 * @module
 */
import type { Weights } from "./Weights.ts"

export interface Tokenizer {
  /** Throws `RangeError` on text that is not ASCII: ask `isEncodable` first. */
  readonly encode: (text: string) => Array<number>
  /** Text of one token; end of text is the empty string. */
  readonly decodeToken: (token: number) => string
  readonly decode: (tokens: Iterable<number>) => string
}

export const isEncodable = (text: string): boolean => {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false
  return true
}

export const make = ({ pieces, merges }: Pick<Weights, "pieces" | "merges">): Tokenizer => {
  const texts = pieces.map((bytes) => String.fromCharCode(...bytes))
  const tokens = new Map(texts.map((text, token) => [text, token]))
  // No piece contains a NUL next to another byte, so a pair joined by NUL cannot be mistaken for another pair.
  const ranks = new Map(merges.map(([left, right], rank) => [pairKey(textOf(left), textOf(right)), rank]))
  const words = new Map<string, ReadonlyArray<number>>()

  const encodeWord = (word: string): ReadonlyArray<number> => {
    const known = words.get(word)
    if (known !== undefined) return known
    const encoded = mergeAll([...word], ranks).map((piece) => {
      const token = tokens.get(piece)
      if (token === undefined) throw new RangeError(`${JSON.stringify(piece)} is not ASCII`)
      return token
    })
    if (words.size < rememberedWordsMax) words.set(word, encoded)
    return encoded
  }

  const decodeToken = (token: number) => texts[token] ?? ""
  return {
    encode: (text) => (text.match(wordPattern) ?? []).flatMap(encodeWord),
    decodeToken,
    decode: (sequence) => Array.from(sequence, decodeToken).join("")
  }
}

/** Merges never cross a word, so words are encoded apart (and remembered, as text repeats itself). */
const wordPattern = / ?[A-Za-z]+|[^A-Za-z]/g
const rememberedWordsMax = 10_000

const textOf = (bytes: ReadonlyArray<number>) => String.fromCharCode(...bytes)
const pairKey = (left: string, right: string) => `${left}\0${right}`

/** Joins the pair of the lowest rank, over and over, until no pair is left that may be joined. */
const mergeAll = (pieces: Array<string>, ranks: ReadonlyMap<string, number>): ReadonlyArray<string> => {
  for (;;) {
    let best = Number.POSITIVE_INFINITY
    let at = -1
    for (let i = 0; i + 1 < pieces.length; i++) {
      const rank = ranks.get(pairKey(pieces[i]!, pieces[i + 1]!))
      if (rank !== undefined && rank < best) {
        best = rank
        at = i
      }
    }
    if (at < 0) return pieces
    pieces.splice(at, 2, pieces[at]! + pieces[at + 1]!)
  }
}
