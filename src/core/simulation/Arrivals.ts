/**
 * Where requests come from: a source that gives one arrival after the other, so that ten million of them need no memory.
 *
 * A source fills the same object again and again: take what you need of it before you ask for the next one.
 *
 * @module
 */
import * as Distribution from "./Distribution.ts"
import * as Random from "./Random.ts"

/** One request. */
export interface Arrival {
  /** From the start of the run; never falls. */
  atMs: number
  /** Index into the functions of the scenario. */
  function: number
  /** Time in a worker. */
  serviceMs: number
}

/** `undefined`: no more. */
export type Source = () => Arrival | undefined

/** From arrays of equal length, `atMs` rising. */
export const fromArrays = (arrays: {
  readonly atMs: ArrayLike<number>
  readonly functions: ArrayLike<number>
  readonly serviceMs: ArrayLike<number>
}): Source => {
  const arrival: Arrival = { atMs: 0, function: 0, serviceMs: 0 }
  let next = 0
  return () => {
    if (next >= arrays.atMs.length) return undefined
    arrival.atMs = arrays.atMs[next]!
    arrival.function = arrays.functions[next]!
    arrival.serviceMs = arrays.serviceMs[next]!
    next += 1
    return arrival
  }
}

export interface Pattern {
  /** Of all functions together, before the wave and the bursts. */
  readonly perSecond: number
  readonly untilMs: number
  /** Shares of the functions; they need not add up to 1. */
  readonly weights: ReadonlyArray<number>
  readonly service: Distribution.Distribution
  /** A day that rises and falls: rate × (1 + depth · sin). `depth` 0 to 1. */
  readonly wave?: { readonly periodMs: number; readonly depth: number }
  /** Times of a multiplied rate, exponentially long and apart. `factor` at least 1. */
  readonly bursts?: { readonly everyMs: number; readonly lengthMs: number; readonly factor: number }
}

/**
 * A Poisson process, made uneven by a wave and by bursts: candidates come at the greatest rate and are thinned to the
 * present one (Lewis and Shedler), so the process is exact.
 */
export const poisson = (seed: Random.Random, pattern: Pattern): Source => {
  const { wave, bursts, untilMs } = pattern
  const time = Random.split(seed, "time")
  const choice = Random.split(seed, "function")
  const service = Random.split(seed, "service")
  const burst = Random.split(seed, "burst")
  const pick = alias(pattern.weights)
  const peak = pattern.perSecond * (1 + (wave?.depth ?? 0)) * Math.max(1, bursts?.factor ?? 1)
  const meanGapMs = 1_000 / peak
  const arrival: Arrival = { atMs: 0, function: 0, serviceMs: 0 }
  let nowMs = 0
  let burstFromMs = bursts === undefined ? Number.POSITIVE_INFINITY : Random.exponential(burst, bursts.everyMs)
  let burstToMs = bursts === undefined ? 0 : burstFromMs + Random.exponential(burst, bursts.lengthMs)
  return () => {
    for (;;) {
      nowMs += Random.exponential(time, meanGapMs)
      if (nowMs >= untilMs) return undefined
      while (bursts !== undefined && nowMs >= burstToMs) {
        burstFromMs = burstToMs + Random.exponential(burst, bursts.everyMs)
        burstToMs = burstFromMs + Random.exponential(burst, bursts.lengthMs)
      }
      const swell = wave === undefined ? 1 : 1 + wave.depth * Math.sin((2 * Math.PI * nowMs) / wave.periodMs)
      const factor = bursts !== undefined && nowMs >= burstFromMs ? bursts.factor : 1
      if (Random.uniform(time) * peak >= pattern.perSecond * swell * factor) continue
      arrival.atMs = nowMs
      arrival.function = pick(choice)
      arrival.serviceMs = Math.max(0, Distribution.draw(service, pattern.service))
      return arrival
    }
  }
}

/** Shares that fall like 1 / rank^exponent: few functions have most of the calls. */
export const zipf = (count: number, exponent: number): ReadonlyArray<number> =>
  Array.from({ length: count }, (_, index) => 1 / (index + 1) ** exponent)

/** Walker's alias method: one draw in constant time, however many there are. */
const alias = (weights: ReadonlyArray<number>): ((random: Random.Random) => number) => {
  const count = weights.length
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  const shares = Float64Array.from(weights, (weight) => (weight / total) * count)
  const others = new Int32Array(count)
  const small: Array<number> = []
  const large: Array<number> = []
  for (let index = 0; index < count; index++) (shares[index]! < 1 ? small : large).push(index)
  while (small.length > 0 && large.length > 0) {
    const less = small.pop()!
    const more = large.pop()!
    others[less] = more
    shares[more] = shares[more]! + shares[less]! - 1
    ;(shares[more]! < 1 ? small : large).push(more)
  }
  // Rounding leaves some that are as good as full.
  for (const index of [...small, ...large]) shares[index] = 1
  return (random) => {
    const index = Random.index(random, count)
    return Random.uniform(random) < shares[index]! ? index : others[index]!
  }
}

/** Several sources in order of time; of the same time, in order of the list. For tens of sources. */
export const merge = (sources: ReadonlyArray<Source>): Source => {
  const heads = sources.map((source) => ({ source, head: copyOf(source()) }))
  const arrival: Arrival = { atMs: 0, function: 0, serviceMs: 0 }
  return () => {
    let least: (typeof heads)[number] | undefined
    for (const each of heads) {
      if (each.head !== undefined && (least?.head === undefined || each.head.atMs < least.head.atMs)) least = each
    }
    if (least?.head === undefined) return undefined
    Object.assign(arrival, least.head)
    least.head = copyOf(least.source())
    return arrival
  }
}

const copyOf = (arrival: Arrival | undefined): Arrival | undefined =>
  arrival === undefined ? undefined : { atMs: arrival.atMs, function: arrival.function, serviceMs: arrival.serviceMs }
