/**
 * The key-value store that holds who owns one shard: reads and compare-and-set, late, lost, or done without an answer.
 *
 * @module
 */
import type * as Lease from "../../../src/core/lease/Lease.ts"
import type { Dice, Timeline } from "./Timeline.ts"
import type { Weather } from "./Weather.ts"

export class SimulatedStore {
  readonly #timeline: Timeline
  readonly #dice: Dice
  readonly #weather: () => Weather
  #seen: Lease.Seen = { record: null, revision: 0 }

  constructor(timeline: Timeline, dice: Dice, weather: () => Weather) {
    this.#timeline = timeline
    this.#dice = dice
    this.#weather = weather
  }

  read(answer: (seen: Lease.Seen) => void): void {
    this.#soon(() => {
      const seen = this.#seen
      if (!this.#isLost()) this.#soon(() => answer(seen))
    })
  }

  compareAndSet(
    { record, expectedRevision }: Extract<Lease.Command, { readonly _tag: "CompareAndSet" }>,
    answer: (result: Lease.Seen | "refused" | "unknown") => void
  ): void {
    const giveUp = () => this.#timeline.after(unknownAfterMs, () => answer("unknown"))
    if (this.#isLost()) return giveUp()
    this.#soon(() => {
      if (this.#seen.revision !== expectedRevision) return this.#soon(() => answer("refused"))
      const seen: Lease.Seen = { record, revision: this.#seen.revision + 1 }
      this.#seen = seen
      if (this.#isLost()) giveUp()
      else this.#soon(() => answer(seen))
    })
  }

  #isLost(): boolean {
    return this.#dice.chance(this.#weather().lostShare)
  }

  #soon(action: () => void): void {
    const { delayMaxMs, lostShare } = this.#weather()
    // Where things get lost they are late as well.
    const late = this.#dice.chance(lostShare) ? this.#dice.between(100, 900) : 0
    this.#timeline.after(late + this.#dice.between(0, delayMaxMs), action)
  }
}

const unknownAfterMs = 250
