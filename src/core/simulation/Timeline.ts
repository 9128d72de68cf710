/**
 * The picture of a run in bounded memory: so many columns over its length, each with the mean of every level and the
 * number of arrivals in it.
 *
 * @module
 */

export const columnCount = 600

export const levels = ["desired", "ready", "starting", "backlog"] as const
export type Level = (typeof levels)[number]

export interface Picture {
  readonly columnMs: number
  readonly arrivals: ReadonlyArray<number>
  readonly means: Readonly<Record<Level, ReadonlyArray<number>>>
}

export class Timeline {
  readonly #columnMs: number
  readonly #arrivals = new Float64Array(columnCount)
  /** Level-milliseconds in each column. */
  readonly #areas: Record<Level, Float64Array>
  readonly #values: Record<Level, number> = { desired: 0, ready: 0, starting: 0, backlog: 0 }
  readonly #sinceMs: Record<Level, number> = { desired: 0, ready: 0, starting: 0, backlog: 0 }

  constructor(lengthMs: number) {
    this.#columnMs = Math.max(1, lengthMs / columnCount)
    this.#areas = {
      desired: new Float64Array(columnCount),
      ready: new Float64Array(columnCount),
      starting: new Float64Array(columnCount),
      backlog: new Float64Array(columnCount)
    }
  }

  arrived(nowMs: number): void {
    const column = Math.floor(nowMs / this.#columnMs)
    if (column < columnCount) this.#arrivals[column]! += 1
  }

  /** The level changed by `by`. */
  change(level: Level, by: number, nowMs: number): void {
    if (by === 0) return
    this.#settle(level, nowMs)
    this.#values[level] += by
  }

  picture(nowMs: number): Picture {
    for (const level of levels) this.#settle(level, nowMs)
    const means = (level: Level) => Array.from(this.#areas[level], (area) => area / this.#columnMs)
    return {
      columnMs: this.#columnMs,
      arrivals: Array.from(this.#arrivals),
      means: {
        desired: means("desired"),
        ready: means("ready"),
        starting: means("starting"),
        backlog: means("backlog")
      }
    }
  }

  #settle(level: Level, nowMs: number): void {
    const areas = this.#areas[level]
    const value = this.#values[level]
    let fromMs = this.#sinceMs[level]
    this.#sinceMs[level] = nowMs
    if (value === 0) return
    while (fromMs < nowMs) {
      const column = Math.floor(fromMs / this.#columnMs)
      if (column >= columnCount) return
      // The next column's begin, computed so that a rounding never stands still.
      const toMs = Math.min(nowMs, Math.max((column + 1) * this.#columnMs, fromMs + 1e-6))
      areas[column]! += value * (toMs - fromMs)
      fromMs = toMs
    }
  }
}
