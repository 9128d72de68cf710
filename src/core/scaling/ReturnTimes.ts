/**
 * How soon a need comes back: for each size of need, the times between its end and its return, and from them for how
 * long instances that are not needed should stay.
 *
 * To stay costs the time that is waited for the return. To go costs a start when the need returns: the instance's own
 * time, and that of those who wait for it. The stay is the one that would have cost least over the returns that were seen
 * (the rent-or-buy problem with a learned distribution). Few returns, or no start that was seen: the whole idle window.
 *
 * Needs are told apart by bands, each a quarter larger than the one before, so memory grows with the logarithm of the
 * need. Returns fade: the last 64 count most. What fell into a time in which the demand was unknown is no return.
 *
 * Laws: K1 of a need that was there within the idle window at least one instance is left, never more than the need, and less
 * and less; a stay is never above the idle window nor below the smaller of it and 2 s, and the whole of it for a need of one,
 * after few returns, and before a start was seen. K2 a need that returns in time to be worth the wait is waited for, and one that never does in time is
 * not. K3 plain data: a copy by way of JSON goes on as the original does.
 *
 * @module
 */
export interface ReturnTimes {
  /** Of the last look; null: nothing is known since. */
  readonly atMs: number | null
  readonly need: number
  readonly ready: number
  readonly starting: number
  /** Time in which instances started, summed since one became ready. */
  readonly startingMs: number
  /** Mean time of a start, faded like the returns; null: none was seen. */
  readonly startMs: number | null
  /** By band. */
  readonly bands: ReadonlyArray<Band>
}

interface Band {
  /** When the need fell below it; null: it is needed, or nobody knows. */
  readonly leftAtMs: number | null
  /** Faded counts of returns by `boundsMs`; the last one has those beyond. */
  readonly returns: ReadonlyArray<number>
  readonly count: number
  /** What was best under the idle window of the last return. */
  readonly stayMs: number
}

export interface Look {
  readonly nowMs: number
  /** Instances. */
  readonly need: number
  readonly ready: number
  readonly starting: number
  readonly idleWindowMs: number
}

export const empty: ReturnTimes = {
  atMs: null,
  need: 0,
  ready: 0,
  starting: 0,
  startingMs: 0,
  startMs: null,
  bands: []
}

/** A second that somebody waits is worth so many of an instance, beside the one that starts. */
const waitWeight = 4
/** Fewer returns are chance. */
const returnsMin = 3
const fade = 1 - 1 / 64
/** Figures come ten times a second: what is shorter was no end. */
const shortestMs = 100
/** However cheap a start is: what comes and goes faster than this is one load. */
const shortestStayMs = 2_000
/** 250 ms to about 70 minutes. */
const boundsMs: ReadonlyArray<number> = Array.from({ length: 25 }, (_, index) => Math.round(250 * 1.5 ** index))
const tried = [...boundsMs.filter((boundMs) => boundMs >= shortestStayMs), Number.POSITIVE_INFINITY]
const noReturns: ReadonlyArray<number> = new Array(boundsMs.length + 1).fill(0)
const freshBand: Band = { leftAtMs: null, returns: noReturns, count: 0, stayMs: 0 }

/** What is left of a need that ended `sinceMs` ago, in instances, and in how many milliseconds that gets less. */
export interface Left {
  readonly need: number
  /** 0 when nothing is left. */
  readonly forMs: number
}

/** The greatest part of a need that is still waited for; of any need one instance stays for the whole idle window. */
export const leftOf = (times: ReturnTimes, need: number, sinceMs: number, idleWindowMs: number): Left => {
  const wholeMs = stayMs(times, need, idleWindowMs)
  if (sinceMs < wholeMs) return { need, forMs: wholeMs - sinceMs }
  for (let band = bandOf(need); band >= 0; band--) {
    const part = sizeOf(band)
    const forMs = stayMs(times, part, idleWindowMs) - sinceMs
    if (forMs > 0) return { need: part, forMs }
  }
  return { need: 0, forMs: 0 }
}

/** For how long after its end a need of so many instances is waited for. */
export const stayMs = (times: ReturnTimes, need: number, idleWindowMs: number): number => {
  const band = need <= 1 ? undefined : times.bands[bandOf(need)]
  return band === undefined || band.count < returnsMin || times.startMs === null
    ? idleWindowMs
    : Math.min(band.stayMs, idleWindowMs)
}

/** The need of the last look lasted until this one. */
export const observe = (times: ReturnTimes, look: Look): ReturnTimes => {
  const { nowMs, need, ready, starting } = look
  const elapsedMs = times.atMs === null ? 0 : Math.max(0, nowMs - times.atMs)
  const startingMs = times.startingMs + times.starting * elapsedMs
  const became = times.atMs === null ? 0 : Math.max(0, ready - times.ready)
  const startMs = became === 0 ? times.startMs : meanOf(times.startMs, startingMs / became, fade ** became)
  const costMs = (startMs ?? 0) * (1 + waitWeight)
  // A need of one stays for the whole window, whatever its returns were: nothing has to be kept of them.
  const isSame = need === times.need || Math.max(need, times.need) <= 1
  const bands = isSame ? times.bands : moved(times, look, costMs)
  return { atMs: nowMs, need, ready, starting, startingMs: became === 0 ? startingMs : 0, startMs, bands }
}

const meanOf = (before: number | null, sample: number, kept: number): number =>
  before === null ? sample : before * kept + sample * (1 - kept)

/** The demand is unknown: whatever ends and returns until it is known again was not seen. */
export const interrupted = (times: ReturnTimes): ReturnTimes =>
  times.atMs === null
    ? times
    : { ...times, atMs: null, need: 0, starting: 0, bands: times.bands.map((band) => ({ ...band, leftAtMs: null })) }

/** Bands between the need of the last look and this one have ended or returned. */
const moved = ({ bands, need: before }: ReturnTimes, look: Look, costMs: number): ReadonlyArray<Band> => {
  const { nowMs, need, idleWindowMs } = look
  const next = [...bands]
  if (need < before) {
    for (let index = bandOf(before); index >= 0 && sizeOf(index) > need; index--) {
      // What was needed has its place.
      next[index] = { ...next[index]!, leftAtMs: nowMs }
    }
    return next
  }
  for (let index = bandOf(need); index >= 0 && sizeOf(index) > before; index--) {
    const band = next[index] ?? freshBand
    next[index] = band.leftAtMs === null ? band : returned(band, nowMs - band.leftAtMs, costMs, idleWindowMs)
  }
  // A band that was never needed has no place of its own before those that were.
  for (let index = 0; index < next.length; index++) next[index] ??= freshBand
  return next
}

const returned = (band: Band, afterMs: number, costMs: number, idleWindowMs: number): Band => {
  if (afterMs < shortestMs) return { ...band, leftAtMs: null }
  const found = boundsMs.findIndex((boundMs) => afterMs <= boundMs)
  const bin = found === -1 ? boundsMs.length : found
  const returns = band.returns.map((count, index) => count * fade + (index === bin ? 1 : 0))
  return { leftAtMs: null, returns, count: band.count * fade + 1, stayMs: cheapest(returns, costMs, idleWindowMs) }
}

/** The stay that these returns would have cost least with; of two that cost the same the shorter one. */
const cheapest = (returns: ReadonlyArray<number>, costMs: number, idleWindowMs: number): number => {
  let best = idleWindowMs
  let least = Number.POSITIVE_INFINITY
  for (const longMs of tried) {
    // The whole window is the last that is tried; what is longer than it never is.
    const stay = Math.min(longMs, idleWindowMs)
    const sum = costOf(returns, stay, costMs)
    if (sum < least) {
      best = stay
      least = sum
    }
    if (stay === idleWindowMs) break
  }
  return best
}

/** What these returns would have cost with this stay. */
const costOf = (returns: ReadonlyArray<number>, stay: number, costMs: number): number => {
  let sum = 0
  for (let index = 0; index < returns.length; index++) {
    // A return is taken to be as late as its bin allows.
    const afterMs = boundsMs[index] ?? Number.POSITIVE_INFINITY
    sum += returns[index]! * (afterMs <= stay ? afterMs : stay + costMs)
  }
  return sum
}

/** Every need up to this has a band of its own. */
const singleMax = 4
const growth = 1.25

/** The smallest need of a band, from 1 on. */
const sizeOf = (band: number): number =>
  band < singleMax ? band + 1 : Math.ceil(singleMax * growth ** (band - singleMax + 1))

/** The band of a need; -1: of none. */
const bandOf = (need: number): number => {
  if (need <= singleMax) return Math.floor(need) - 1
  let band = Math.floor(Math.log(need / singleMax) / Math.log(growth)) + singleMax - 1
  // Rounding may have been off by one either way.
  while (sizeOf(band + 1) <= need) band++
  while (sizeOf(band) > need) band--
  return band
}
