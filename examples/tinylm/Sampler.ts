/**
 * Chooses the next token from logits: the likeliest one, or one drawn by weight from the `topK` likeliest.
 *
 * Law: S1 the same seed, options and logits give the same choices.
 *
 * @module
 */

export interface Options {
  /** 0 = always the likeliest; 1 = as the model was trained; more = wilder. 0 to 2. */
  readonly temperature: number
  /** Only this many of the likeliest tokens may be drawn (more when they tie). At least 1. */
  readonly topK: number
  /** 32-bit unsigned. */
  readonly seed: number
}

export type Sampler = (logits: Float32Array) => number

export const make = ({ temperature, topK, seed }: Options): Sampler => {
  if (temperature === 0 || topK === 1) return likeliest
  const random = makeRandom(seed)
  return (logits) => {
    const sorted = logits.slice().sort()
    const highest = sorted.at(-1)!
    const lowest = sorted.at(-topK) ?? Number.NEGATIVE_INFINITY
    const weightOf = (logit: number) => (logit < lowest ? 0 : Math.exp((logit - highest) / temperature))
    let left = random() * sorted.reduce((sum, logit) => sum + weightOf(logit), 0)
    for (let token = 0; token < logits.length; token++) {
      left -= weightOf(logits[token]!)
      if (left < 0) return token
    }
    // Rounding can leave a crumb of `left` after the last token.
    return likeliest(logits)
  }
}

/** Numbers in [0, 1) from a 32-bit seed (mulberry32). */
export const makeRandom = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

const likeliest: Sampler = (logits) => {
  let best = 0
  for (let token = 1; token < logits.length; token++) if (logits[token]! > logits[best]!) best = token
  return best
}
