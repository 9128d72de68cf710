/**
 * How bad a world is: each seed draws its own mix, so that quiet worlds with one kind of fault are there as well as
 * storms.
 *
 * @module
 */
import type { Dice } from "./Timeline.ts"

export interface Weather {
  /** Mean time between two of a kind, in ms; infinite: never. */
  readonly crashEveryMs: number
  readonly pauseEveryMs: number
  readonly powerCutEveryMs: number
  readonly dropEveryMs: number
  readonly workerDeathEveryMs: number
  readonly workerStallEveryMs: number
  readonly fullDiskEveryMs: number
  readonly removalEveryMs: number
  /** Of the syncs. */
  readonly syncErrorShare: number
  /** Of the answers of the disk and of the lease store, and of the writes to the latter. */
  readonly lostShare: number
  /** Of the appends: so late that another may own the log by then. */
  readonly lateAppendShare: number
  /** One way. */
  readonly delayMaxMs: number
  readonly syncMaxMs: number
  /** The disk confirms before it has synced: a control that must lose. */
  readonly isDiskLying: boolean
  /** The log takes what comes from whoever it comes: a control that must lose. */
  readonly isUnfenced: boolean
}

const never = Number.POSITIVE_INFINITY

export type Controls = Pick<Weather, "isDiskLying" | "isUnfenced">

export const draw = (dice: Dice, { isDiskLying, isUnfenced }: Controls): Weather => {
  const every = (share: number, meanMs: number) => (dice.chance(share) ? meanMs : never)
  return {
    crashEveryMs: every(0.6, 1_500),
    pauseEveryMs: every(0.5, 1_500),
    powerCutEveryMs: every(isDiskLying ? 1 : 0.5, 2_000),
    dropEveryMs: every(0.7, 400),
    workerDeathEveryMs: every(0.6, 800),
    workerStallEveryMs: every(0.6, 800),
    fullDiskEveryMs: every(0.3, 1_500),
    removalEveryMs: every(0.1, 2_500),
    syncErrorShare: dice.chance(0.3) ? 0.03 : 0,
    lostShare: dice.chance(0.4) ? 0.05 : 0,
    lateAppendShare: isUnfenced || dice.chance(0.3) ? 0.15 : 0,
    delayMaxMs: dice.pick([2, 10, 40]),
    syncMaxMs: dice.pick([3, 20, 80]),
    isDiskLying,
    isUnfenced
  }
}

/** The same world when its faults are over. */
export const calm = (weather: Weather): Weather => ({
  ...weather,
  crashEveryMs: never,
  pauseEveryMs: never,
  powerCutEveryMs: never,
  dropEveryMs: never,
  workerDeathEveryMs: never,
  workerStallEveryMs: never,
  fullDiskEveryMs: never,
  removalEveryMs: never,
  syncErrorShare: 0,
  lostShare: 0,
  lateAppendShare: 0
})
