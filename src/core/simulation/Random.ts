/**
 * Random numbers of the simulation: xoshiro128** (Blackman and Vigna), seeded by name.
 *
 * Splittable: `split(random, label)` depends on the names alone, never on what was drawn, so a simulation that draws one
 * number more for its faults has the same arrivals as before.
 *
 * Laws: S1 the same seed and labels give the same numbers, on every machine with the same V8. S2 drawing from one
 * generator changes no other.
 *
 * @module
 */

export interface Random {
  /** Two words of 32 bits: what its children are named after. */
  readonly key: readonly [number, number]
  readonly words: Int32Array
}

export const make = (seed: number): Random =>
  fromKey(mix(Math.floor(seed / 2 ** 32), 0x9e3779b9), mix(seed | 0, 0x85ebca6b))

/** A generator of its own for each label; the parent is not touched. */
export const split = (random: Random, label: string | number): Random => {
  let [high, low] = random.key
  const text = String(label)
  for (let index = 0; index < text.length; index++) {
    high = mix(high ^ text.charCodeAt(index), 0x9e3779b9)
    low = mix(low + text.charCodeAt(index), high)
  }
  return fromKey(mix(high, text.length + 1), mix(low, high))
}

const fromKey = (high: number, low: number): Random => {
  const words = new Int32Array(4)
  let state = high
  for (let index = 0; index < 4; index++) {
    state = mix(state + 0x9e3779b9, low + index)
    words[index] = state
  }
  // All zero is the one state that it never leaves.
  /* v8 ignore next -- @preserve: one key in 2^128 gives it, and none is known. */
  if ((words[0]! | words[1]! | words[2]! | words[3]!) === 0) words[0] = 1
  return { key: [high, low], words }
}

/** The finalizer of MurmurHash3 over both words. */
const mix = (value: number, salt: number): number => {
  let hash = (value ^ salt) | 0
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) | 0
}

/** 32 random bits as a signed number. */
const bits = ({ words }: Random): number => {
  const second = words[1]!
  const five = Math.imul(second, 5)
  const answer = Math.imul((five << 7) | (five >>> 25), 9)
  words[2]! ^= words[0]!
  words[3]! ^= second
  words[1]! ^= words[2]!
  words[0]! ^= words[3]!
  words[2]! ^= second << 9
  const last = words[3]!
  words[3] = (last << 11) | (last >>> 21)
  return answer
}

/** In [0, 1), with 53 random bits. */
export const uniform = (random: Random): number => {
  const high = bits(random) >>> 5
  const low = bits(random) >>> 6
  return (high * 67_108_864 + low) / 9_007_199_254_740_992
}

/** A whole number in [0, count). */
export const index = (random: Random, count: number): number => Math.floor(uniform(random) * count)

export const exponential = (random: Random, mean: number): number => -mean * Math.log(1 - uniform(random))

/** Standard normal, by Box and Muller; the second of the pair is not kept, so that there is no hidden state. */
export const normal = (random: Random): number =>
  Math.sqrt(-2 * Math.log(1 - uniform(random))) * Math.cos(2 * Math.PI * uniform(random))

/** `median` and the standard deviation of the logarithm. */
export const logNormal = (random: Random, median: number, sigma: number): number =>
  median * Math.exp(sigma * normal(random))

export const weibull = (random: Random, shape: number, scale: number): number =>
  scale * (-Math.log(1 - uniform(random))) ** (1 / shape)

/** Marsaglia and Tsang; below shape 1 with their power correction. */
export const gamma = (random: Random, shape: number, scale: number): number => {
  if (shape < 1) return gamma(random, shape + 1, scale) * (1 - uniform(random)) ** (1 / shape)
  const d = shape - 1 / 3
  const c = 1 / Math.sqrt(9 * d)
  for (;;) {
    const x = normal(random)
    const v = (1 + c * x) ** 3
    if (v <= 0) continue
    const u = 1 - uniform(random)
    if (Math.log(u) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v * scale
  }
}
