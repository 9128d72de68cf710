/**
 * Quantiles of a stream in bounded memory: a histogram whose buckets grow by 2 %, after DDSketch (Masson et al., 2019).
 *
 * Laws: K1 a quantile is within 1 % of the value of that rank (values below 0.01 count as 0, those above 10^9 as 10^9).
 * K2 merging two sketches is the same as one sketch of both streams. K3 count, sum and maximum are exact (the sum as far
 * as doubles add).
 *
 * @module
 */

const ratio = 1.02
const logRatio = Math.log(ratio)
const least = 0.01
const greatest = 1e9
/** 1,280 buckets: 10 KiB. */
const bucketCount = Math.ceil(Math.log(greatest / least) / logRatio) + 1

export class QuantileSketch {
  readonly #counts = new Float64Array(bucketCount)
  #zeros = 0
  count = 0
  sum = 0
  max = 0

  /** `value` from 0 on. */
  add(value: number): void {
    this.count += 1
    this.sum += value
    if (value > this.max) this.max = value
    if (value < least) this.#zeros += 1
    else this.#counts[bucketOf(value)]! += 1
  }

  merge(other: QuantileSketch): void {
    this.count += other.count
    this.sum += other.sum
    this.max = Math.max(this.max, other.max)
    this.#zeros += other.#zeros
    for (let bucket = 0; bucket < bucketCount; bucket++) this.#counts[bucket]! += other.#counts[bucket]!
  }

  /** The value that the share `part` (0 to 1) does not exceed, by the nearest rank; 0 of nothing. */
  quantile(part: number): number {
    const rank = Math.max(1, Math.ceil(part * this.count))
    let seen = this.#zeros
    if (this.count === 0 || seen >= rank) return 0
    let bucket = 0
    while (bucket < bucketCount - 1 && seen + this.#counts[bucket]! < rank) seen += this.#counts[bucket++]!
    return Math.min(this.max, middleOf(bucket))
  }

  /** Share of the values up to `value`, by whole buckets; 1 of nothing. */
  shareUpTo(value: number): number {
    if (this.count === 0) return 1
    if (value >= this.max) return 1
    let seen = this.#zeros
    for (let bucket = 0; bucket < bucketCount && middleOf(bucket) <= value; bucket++) seen += this.#counts[bucket]!
    return seen / this.count
  }

  get mean(): number {
    return this.count === 0 ? 0 : this.sum / this.count
  }
}

const bucketOf = (value: number): number =>
  Math.min(bucketCount - 1, Math.max(0, Math.floor(Math.log(value / least) / logRatio)))

/** Equally far from both ends, by ratio: within 1 % of everything in the bucket. */
const middleOf = (bucket: number): number => least * ratio ** (bucket + 0.5)
