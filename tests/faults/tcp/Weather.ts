/**
 * Faults of a network over time, by a seed: the same seed does the same things in the same order.
 *
 * @module
 */
import type { Random } from "../../chaos/Random.ts"
import type { Direction, Faults, TcpFaults } from "./TcpFaults.ts"

export interface Weather {
  /** Faults so far. */
  readonly count: () => number
  /** Ends with all faults healed; answers how many there were. */
  readonly clear: () => Promise<number>
}

export type Fault =
  | { readonly kind: "set"; readonly direction: Direction | "both"; readonly faults: Partial<Faults> }
  | { readonly kind: "reset"; readonly count: number }
  | { readonly kind: "heal" }

const directions = ["up", "down", "both"] as const

export const choose = (random: Random): Fault => {
  const direction = random.pick(directions) ?? "both"
  const set = (faults: Partial<Faults>): Fault => ({ kind: "set", direction, faults })
  const choices: ReadonlyArray<() => Fault> = [
    () => set({ latencyMs: 5 + random.below(60), jitterMs: random.below(60) }),
    () => set({ bytesPerSecond: 20_000 + random.below(400_000) }),
    () => set({ sliceBytesMax: 1 + random.below(40), jitterMs: 2 }),
    () => set({ slowCloseMs: 50 + random.below(200) }),
    () => set({ paused: true }),
    () => set({ blackhole: true }),
    () => ({ kind: "reset", count: 1 + random.below(4) }),
    () => ({ kind: "heal" })
  ]
  return random.pick(choices)?.() ?? { kind: "heal" }
}

/** A fault follows the other after `pauseMs` up to twice that. */
export const begin = (proxy: TcpFaults, random: Random, pauseMs: number): Weather => {
  let isOver = false
  let wake = () => {}
  let count = 0
  const changing = (async () => {
    while (!isOver) {
      const fault = choose(random)
      if (fault.kind === "set") proxy.set(fault.direction, fault.faults)
      else if (fault.kind === "reset") proxy.reset(fault.count)
      else proxy.heal()
      count++
      await new Promise<void>((resolve) => {
        wake = resolve
        setTimeout(resolve, pauseMs + random.below(pauseMs))
      })
    }
    proxy.heal()
    return count
  })()
  return {
    count: () => count,
    clear: () => {
      isOver = true
      wake()
      return changing
    }
  }
}
