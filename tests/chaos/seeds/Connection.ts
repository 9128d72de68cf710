/**
 * A connection between two simulated processes: in order each way, late, and gone without the two ends hearing of it at
 * the same time.
 *
 * @module
 */
import type { Dice, Timeline } from "./Timeline.ts"
import type { Weather } from "./Weather.ts"

export interface End {
  /** Runs it when the process at this end gets to it: later when it is paused, never when it is gone. */
  readonly receive: (action: () => void) => void
  readonly gone: () => void
}

export class Connection {
  isOpen = true
  readonly #timeline: Timeline
  readonly #dice: Dice
  readonly #weather: () => Weather
  readonly #ends: readonly [client: End, server: End]
  readonly #lastAtMs: [number, number] = [0, 0]

  constructor(timeline: Timeline, dice: Dice, weather: () => Weather, ends: readonly [client: End, server: End]) {
    this.#timeline = timeline
    this.#dice = dice
    this.#weather = weather
    this.#ends = ends
  }

  toClient(action: () => void): void {
    this.#send(0, action)
  }

  toServer(action: () => void): void {
    this.#send(1, action)
  }

  /** What is under way is lost. */
  drop(): void {
    if (!this.isOpen) return
    this.isOpen = false
    for (const end of this.#ends) {
      this.#timeline.after(this.#dice.between(0, noticeMaxMs), () => end.receive(end.gone))
    }
  }

  #send(to: 0 | 1, action: () => void): void {
    if (!this.isOpen) return
    const { nowMs } = this.#timeline
    const atMs = Math.max(this.#lastAtMs[to], nowMs + this.#dice.between(0, this.#weather().delayMaxMs))
    this.#lastAtMs[to] = atMs
    this.#timeline.after(atMs - nowMs, () => {
      if (!this.isOpen) return
      this.#ends[to].receive(() => {
        if (this.isOpen) action()
      })
    })
  }
}

const noticeMaxMs = 150
