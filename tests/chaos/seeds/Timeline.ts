/**
 * Virtual time of one simulated world: what will happen, in order, and the dice. Nothing here knows a real clock.
 *
 * @module
 */
import { EventQueue } from "../../../src/core/simulation/EventQueue.ts"
import * as Random from "../../../src/core/simulation/Random.ts"

/** Numbers of one concern, so that what one draws changes no other. */
export class Dice {
  readonly #random: Random.Random

  constructor(random: Random.Random) {
    this.#random = random
  }

  chance(share: number): boolean {
    return Random.uniform(this.#random) < share
  }

  /** Whole, from `least` to `most`. */
  between(least: number, most: number): number {
    return least + Random.index(this.#random, most - least + 1)
  }

  pick<A>(values: readonly [A, ...ReadonlyArray<A>]): A {
    return values[Random.index(this.#random, values.length)] ?? values[0]
  }

  /** Whole and at least 1. */
  exponential(mean: number): number {
    return Math.ceil(Random.exponential(this.#random, mean))
  }
}

export class Timeline {
  nowMs = 1_000
  /** What happened so far. */
  eventCount = 0
  readonly #random: Random.Random
  readonly #queue = new EventQueue()
  readonly #actions = new Map<number, () => void>()
  #lastId = 0

  constructor(seed: number) {
    this.#random = Random.make(seed)
  }

  dice(concern: string): Dice {
    return new Dice(Random.split(this.#random, concern))
  }

  after(delayMs: number, action: () => void): void {
    this.#actions.set(++this.#lastId, action)
    this.#queue.put(this.nowMs + delayMs, 0, this.#lastId)
  }

  /** Until that time, or until `isOver` says so after an event. */
  run(untilMs: number, isOver: () => boolean = () => false): void {
    while (this.#queue.nextMs <= untilMs && this.#queue.take()) {
      this.nowMs = this.#queue.atMs
      this.eventCount++
      const id = this.#queue.first
      const action = this.#actions.get(id)
      this.#actions.delete(id)
      action?.()
      if (isOver()) return
    }
    this.nowMs = Math.max(this.nowMs, untilMs)
  }
}
